//! What can be wrong with maps and pictures.

/// Everything that can go wrong between a map and its picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The number of values does not fit the size that was named.
    #[error(
        "{what}: {found} values, expected {expected}; do the map's grid and the number of frames belong together?"
    )]
    Length {
        /// Which values.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many the size asks for.
        expected: usize,
    },

    /// A side of 0, or more pixels than fit in memory.
    #[error(
        "picture: {width} x {height} pixels, expected at least 1 x 1 and no more than {} in all",
        crate::picture::MAX_PIXELS
    )]
    Size {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },

    /// A figure needs two frames to show a displacement between them.
    #[error("figure: {found} frames, expected at least 2; a displacement leads from one frame to the next")]
    TooFewFrames {
        /// How many there are.
        found: usize,
    },

    /// A frame that does not fit its own size.
    #[error(transparent)]
    Frame(#[from] motion_clip::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
