//! What can go wrong between a file and its maps, each as the sentence that the page shows.

/// The module's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which a video or a model is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing in the file.
    #[error("The file is empty (0 bytes), expected a video. Was the download or copy cut off?")]
    Empty,
    /// A file of another kind, whatever its name says.
    #[error("This is {found}, not a video, whatever its name says. Choose a video file.")]
    NotVideo {
        /// What its first bytes say, with its article.
        found: &'static str,
    },
    /// Neither MP4/MOV nor WebM/MKV.
    #[error("This container is not known here (expected MP4, MOV, WebM or MKV).")]
    UnknownContainer,
    /// The container's own structure is broken.
    #[error("The {container} file is damaged: {what}. Was the download or copy cut off?")]
    Damaged {
        /// `MP4` or `Matroska`.
        container: &'static str,
        /// What was found.
        what: String,
    },
    /// Sound only, or nothing at all.
    #[error("The {container} file has no video track (found: {found}). Choose a file with pictures.")]
    NoVideoTrack {
        /// `MP4` or `Matroska`.
        container: &'static str,
        /// What tracks there are.
        found: String,
    },
    /// A track that is there but cannot be taken apart here.
    #[error("Its video track is {codec}, which is not opened here.")]
    Codec {
        /// The codec's name or four letters.
        codec: String,
    },
    /// More than this module is willing to hold.
    #[error("{what}: found {found}, the limit is {limit}. Cut or shrink the video first.")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large.
        found: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A track without a single frame.
    #[error("The video track has no frame that can be shown.")]
    NoFrames,
    /// A picture, as it were.
    #[error(
        "The video has only 1 frame, expected at least 2: motion is what changes from one frame to the next."
    )]
    OneFrame,
    /// What one clip has, asked for where every frame is looked at.
    #[error(
        "{0} is there for one clip only, found every frame looked at: choose \"spread over it\" beside the video's track."
    )]
    EveryFrame(&'static str),
    /// Two models that cannot be held beside each other.
    #[error(
        "The other model sees {found} of a frame, this one {expected}: only models that see the same can be compared."
    )]
    Other {
        /// What it sees.
        found: String,
        /// What the model in use sees.
        expected: String,
    },
    /// Maps that cannot be held beside each other.
    #[error(
        "The other model's map of this stage has {found} cells, this one {expected}: choose a stage of which they are as large."
    )]
    OtherGrid {
        /// Its width and height.
        found: String,
        /// Those of the map that is shown.
        expected: String,
    },
    /// A part of a video without motion.
    #[error(
        "Between {from:.2} and {to:.2} s the video has {found} of its {frames} frames, expected at least 2. Choose a longer part."
    )]
    Part {
        /// Where it begins, in seconds.
        from: f64,
        /// Where it ends, in seconds.
        to: f64,
        /// Frames in it.
        found: usize,
        /// Frames of the video.
        frames: usize,
    },
    /// Nothing could be decoded.
    #[error("No frame of the video could be decoded ({codec}): {reason}.")]
    NotDecoded {
        /// The codec string.
        codec: String,
        /// The decoder's words.
        reason: String,
    },
    /// The graphics card had the frames and is not there any more: they have to be decoded again.
    #[error("The frames were on the graphics card; they have to be decoded again.")]
    FramesGone,
    /// A call that needs something before it.
    #[error("{0}")]
    Order(&'static str),
    /// The browser could not hand over bytes of the file.
    #[error("The file cannot be read: {0}. Was it moved or changed since it was chosen?")]
    Read(#[from] std::io::Error),
    /// Something about frames.
    #[error("{0}")]
    Clip(#[from] motion_clip::Error),
    /// Something about the model.
    #[error("{0}")]
    Net(#[from] motion_net::Error),
    /// Something about the pictures of maps.
    #[error("{0}")]
    View(#[from] motion_view::Error),
    /// A file of maps could not be put together.
    #[error("{0}")]
    Export(#[from] motion_export::Error),
    /// A value that the estimation cannot work with.
    #[error("This setting does not work: {0}.")]
    Settings(String),
    /// A message from the page that this module does not understand.
    #[error("The page sent {what}: found {found}, expected {expected}.")]
    Message {
        /// Which part of the message.
        what: &'static str,
        /// What came.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
}

impl Error {
    /// Whether the browser's own player may still open what this module refused.
    pub fn worth_a_video_element(&self) -> bool {
        matches!(
            self,
            Self::UnknownContainer
                | Self::Damaged { .. }
                | Self::Codec { .. }
                | Self::NotDecoded { .. }
                | Self::NoFrames
                | Self::TooLarge { .. }
        )
    }
}
