//! What can go wrong while training or evaluating.

use std::path::{Path, PathBuf};

/// Training's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which training or evaluating fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe is not what it should be.
    #[error("{}: {message}", path.display())]
    Recipe {
        /// The recipe's file.
        path: PathBuf,
        /// What was found and expected.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A data set is not in the expected form.
    #[error("{}: {message}", path.display())]
    Data {
        /// Where.
        path: PathBuf,
        /// What was found and expected.
        message: String,
    },
    /// A run cannot go on from its state.
    #[error("{}: {message}", path.display())]
    State {
        /// The state's file.
        path: PathBuf,
        /// What was found and expected.
        message: String,
    },
    /// The synthetic data set failed.
    #[error(transparent)]
    Synth(#[from] crate::synth::Error),
    /// The loss is no longer a number.
    #[error(
        "the loss became {loss} in epoch {epoch}; expected a finite number: lower learning_rate in the recipe"
    )]
    Diverged {
        /// In which epoch, from 1.
        epoch: usize,
        /// What it became.
        loss: f32,
    },
    /// A card is asked for that this program cannot use.
    #[error(
        "no CUDA in this program: build it with `cargo build --release --features cuda` on a machine with NVIDIA's \
         toolkit, or train on the CPU"
    )]
    NoCuda,
    /// The network failed.
    #[error(transparent)]
    Net(#[from] motion_net::Error),
    /// Videos cannot be decoded here.
    #[error(transparent)]
    Video(#[from] motion_video::Error),
    /// There are no threads to decode videos with.
    #[error(transparent)]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// Frames could not be prepared.
    #[error(transparent)]
    Clip(#[from] motion_clip::Error),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Net(error.into())
    }
}

/// Attaches a path to an error of the file system.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::File { path: path.to_owned(), source }
}
