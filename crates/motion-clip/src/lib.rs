//! Pixels in, tensor data out: which frames make a clip, and how a frame becomes what the network sees.
//!
//! In the order of the data: [`sample`] picks frame indices, [`windows`] all of them, the host decodes those frames into [`Frame`]s,
//! [`Preprocess`] resizes ([`resize`]), crops ([`crop`]) and normalises them into a [`Clip`], and
//! [`Geometry`] leads from the maps that come out back to the pixels that went in.
//! No GPU, no browser, no files.

pub mod crop;
mod error;
mod frame;
mod geometry;
mod normalise;
pub mod resize;
pub mod sample;
pub mod windows;

pub use error::{Error, Result};
pub use frame::Frame;
pub use geometry::{Geometry, Rect};
pub use normalise::{Clip, Preprocess};
pub use sample::Sampling;
