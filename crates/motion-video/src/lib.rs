//! A video file or a folder of frames in, its frames out: how many there are, their times and size, and those that are
//! asked for, one at a time. Files are not trusted: what decodes them is a child process on a short lead.

mod child;
mod error;
mod frames_folder;
mod source;
mod video;

pub use error::{Error, Result};
pub use source::{Reading, Source};
