//! Maps in, RGBA out: what a displacement or a confidence looks like.
//!
//! In the order of the data: [`scale`] finds the one length that a clip is drawn with, [`wheel`] turns
//! displacements into colours and [`heat`] confidences, [`overlay`] enlarges a map and lays it over its frame,
//! [`describe()`] says in words where it moves, [`difference`] how far two maps are apart, `figure` (feature `figure`,
//! on by default) sets everything as the paper's Fig. 6 does.
//! No GPU, no browser, no files.

pub mod describe;
pub mod difference;
mod error;
#[cfg(feature = "figure")]
pub mod figure;
pub mod heat;
pub mod overlay;
mod picture;
pub mod scale;
#[cfg(feature = "figure")]
mod text;
pub mod wheel;

pub use describe::describe;
pub use error::{Error, Result};
pub use picture::Picture;
pub use scale::{Scale, clip_scale};
