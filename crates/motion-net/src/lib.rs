//! MSNet (MotionSqueeze, ECCV 2020), written once over a small [`Backend`] of named operations.
//!
//! In: a normalised clip `[N, T, H, W, 3]` and a model folder. Out: scores, and per stage the displacement and
//! confidence maps that the network itself works with. [`MsNet::forward`] is the whole network on one screen.

pub mod backbone;
pub mod backend;
pub mod candle;
pub mod checkpoint;
pub mod classifier;
pub mod config;
pub mod cost;
pub mod cpu;
mod dropout;
mod error;
pub mod fusion;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod layers;
pub mod maps;
pub mod matching;
pub mod motion;
pub mod net;
mod plain;
pub mod weights;

pub use backend::{Backend, HostTensor, Match};
pub use candle::{CandleBackend, Training};
pub use config::{Config, Estimation, Estimator};
pub use cpu::CpuBackend;
pub use error::{Error, Result};
#[cfg(feature = "gpu")]
pub use gpu::GpuBackend;
pub use maps::{StageMaps, read_maps};
pub use matching::Matching;
pub use motion::Motion;
pub use net::{Mode, MsNet, Pass, Step};
pub use weights::Weights;
