//! The wasm module that runs in the page's worker: a video file in, maps and scores out.
//!
//! In the order of the data: [`demux`] finds the compressed frames (through [`blob`]), [`schedule`] chooses those
//! that go through the browser's decoder, [`orientation`] turns the decoded pictures upright, and [`session`], which
//! is all that JavaScript sees, runs the network and draws its maps as [`message`]s.

pub mod blob;
pub mod demux;
mod error;
pub mod message;
pub mod orientation;
pub mod schedule;
pub mod session;
#[cfg(all(feature = "threads", target_arch = "wasm32"))]
pub mod threads;

pub use error::{Error, Result};
