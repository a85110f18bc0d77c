//! Why a file was not written.

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which writing fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk is full, or whatever is written to says no.
    #[error(transparent)]
    Write(#[from] std::io::Error),
    /// The archive could not be written.
    #[error(transparent)]
    Zip(#[from] rawzip::Error),
    /// More than one file should hold.
    #[error(
        "maps.npz would have {gigabytes} GB, expected at most {limit}; write .flo files, keep the map's own grid, or take a shorter video"
    )]
    TooLarge {
        /// How large.
        gigabytes: u64,
        /// How large it may be.
        limit: u64,
    },
}
