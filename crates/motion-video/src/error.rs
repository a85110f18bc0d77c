//! What can be wrong with a video, or with the programs that decode it. The messages do not name the video: who asks
//! for it knows its path.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every way in which reading a video fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or a folder cannot be read.
    #[error(transparent)]
    File(#[from] std::io::Error),

    /// Nothing in it.
    #[error("the file is empty (0 bytes), expected a video; was the copy or download cut off?")]
    Empty,

    /// No container that is opened.
    #[error("not a video that can be opened: {reason}; expected a whole MP4, MOV, WebM, MKV, AVI ... file")]
    NotAVideo {
        /// What ffprobe says.
        reason: String,
    },

    /// Sound alone, for example.
    #[error("no video track in the file, expected one; found {found}")]
    NoTrack {
        /// The tracks that there are.
        found: String,
    },

    /// A codec without a decoder.
    #[error(
        "unsupported codec: this ffmpeg has no decoder for the video track ({codec}); convert the video to H.264, VP9 \
         or AV1, or install a newer ffmpeg"
    )]
    Codec {
        /// Its name.
        codec: String,
    },

    /// More pixels than any camera makes.
    #[error(
        "the picture is {width} x {height}, expected at most {most} pixels (8192 x 4320); scale it down, e.g. ffmpeg \
         -i VIDEO -vf scale=1280:-2 small.mp4"
    )]
    TooLarge {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Pixels that are allowed.
        most: usize,
    },

    /// More frames than a clip is cut from.
    #[error(
        "the video has more than {most} frames; cut out the part you mean, e.g. ffmpeg -ss 60 -t 10 -i VIDEO part.mp4"
    )]
    TooLong {
        /// Frames that are allowed.
        most: usize,
    },

    /// Nothing of it decodes.
    #[error("no frame of its video track could be decoded: {reason}")]
    NoFrame {
        /// What ffmpeg says.
        reason: String,
    },

    /// Motion is what changes.
    #[error("only 1 frame, expected at least 2: motion is what changes from one frame to the next")]
    OneFrame,

    /// Two runs of the decoder do not agree.
    #[error("decoding it a second time gave {found} of {expected} frames: {reason}")]
    SecondTime {
        /// Frames that came.
        found: usize,
        /// Frames that the first time gave.
        expected: usize,
        /// What ffmpeg says.
        reason: String,
    },

    /// A child process that does not get on.
    #[error("{program} was stopped after {secs} s without getting on; is the file damaged?")]
    Stopped {
        /// `ffmpeg` or `ffprobe`.
        program: String,
        /// How long it ran.
        secs: u64,
    },

    /// A child process that says something that is not understood.
    #[error("{program} wrote {found}, expected {expected}")]
    Output {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// A line of it.
        found: String,
        /// What should have come.
        expected: &'static str,
    },

    /// A folder without pictures.
    #[error("no frame in the folder, expected .jpg, .jpeg or .png files (sorted by name)")]
    NoPicture,

    /// A picture of a folder that is none.
    #[error("cannot decode {}: {reason}", path.display())]
    Picture {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: image::ImageError,
    },

    /// Two pictures of a folder that differ in size.
    #[error(
        "{} is {} x {}, but {} is {} x {}; the frames of a folder must have one size",
        path.display(), size[0], size[1], first.display(), first_size[0], first_size[1]
    )]
    PictureSize {
        /// A later picture.
        path: PathBuf,
        /// Its width and height.
        size: [usize; 2],
        /// The first one.
        first: PathBuf,
        /// Its width and height.
        first_size: [usize; 2],
    },

    /// A frame that is none.
    #[error(transparent)]
    Frame(#[from] motion_clip::Error),

    /// The decoder is not installed.
    #[error(
        "the program {program:?} is not installed, and videos are decoded with it; install ffmpeg (Debian, Ubuntu: apt \
         install ffmpeg; macOS: brew install ffmpeg; Windows: winget install ffmpeg), or give a folder of frames instead"
    )]
    NotInstalled {
        /// `ffmpeg` or `ffprobe`.
        program: String,
    },

    /// The decoder cannot be started.
    #[error("cannot start {program:?}: {reason}")]
    NotStarted {
        /// `ffmpeg` or `ffprobe`.
        program: String,
        /// The system's own words.
        reason: std::io::Error,
    },

    /// The decoder is older than its options.
    #[error("this ffmpeg knows neither -fps_mode nor -vsync; update it")]
    TooOld,
}

impl Error {
    /// Whether this machine cannot decode, whatever the video: then there is no use in trying the next one.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::NotInstalled { .. } | Self::NotStarted { .. } | Self::TooOld)
    }
}
