//! What can be wrong with frames and with the numbers that describe a clip.

/// Everything that can go wrong between a decoded picture and a clip.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A picture without pixels.
    #[error("frame: {width} x {height} pixels, expected at least 1 x 1; is the picture damaged?")]
    EmptyFrame {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },

    /// The bytes do not fit the size.
    #[error(
        "frame: {found} bytes for {width} x {height} pixels, expected 3 for each pixel (red, green, blue); \
         was the picture cut short, or does it have an alpha channel?"
    )]
    FrameBytes {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Number of bytes given.
        found: usize,
    },

    /// A video without a single frame.
    #[error("video: 0 frames, expected at least 1; is there a picture track, and is the file whole?")]
    NoFrames,

    /// A clip of no frames or a video of no clips was asked for.
    #[error("sampling: {clips} clips of {frames} frames asked for, expected at least 1 of each")]
    NothingAsked {
        /// Clips for each video.
        clips: usize,
        /// Frames of a clip.
        frames: usize,
    },

    /// A picture cannot be resized to nothing.
    #[error("resize: {width} x {height} pixels asked for, expected at least 1 x 1")]
    EmptySize {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },

    /// The part that is cut out does not lie inside the picture.
    #[error(
        "crop: {width} x {height} pixels wanted of a picture of {from_width} x {from_height}; \
         make `input_size` smaller or `resize` larger"
    )]
    Crop {
        /// Pixels across that were wanted.
        width: usize,
        /// Pixels down that were wanted.
        height: usize,
        /// Pixels across that there are.
        from_width: usize,
        /// Pixels down that there are.
        from_height: usize,
    },

    /// A mean that is no number, or a deviation that cannot be divided by.
    #[error("{name}: channel {channel} is {found}, expected a finite number{}", if *.name == "std" { " above 0" } else { "" })]
    Normalisation {
        /// `mean` or `std`.
        name: &'static str,
        /// 0 red, 1 green, 2 blue.
        channel: usize,
        /// The value.
        found: f32,
    },

    /// More than this machine can address.
    #[error(
        "clip: {frames} frames of {size} x {size} pixels do not fit in memory; use fewer frames or a smaller `input_size`"
    )]
    TooLarge {
        /// Frames of the clip.
        frames: usize,
        /// Side of a frame in pixels.
        size: usize,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
