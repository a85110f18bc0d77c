//! A video file or a folder of frames, whichever it is.

use std::path::Path;

use motion_clip::Frame;

use crate::error::{Error, Result};
use crate::frames_folder::FramesFolder;
use crate::video::Video;

/// How to read a video.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Frames per second of a folder of frames; a video file knows its own times.
    pub frames_per_sec: f64,
    /// Threads of a file's decoder; as many as it likes where absent. Who reads many videos at once gives each one
    /// thread: it is faster, and a damaged file then gives the same frames on every machine.
    pub threads: Option<usize>,
}

/// A video file or a folder of frames, whose frames have been counted.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    File(Video),
    Folder(FramesFolder),
}

impl Source {
    /// Opens a video and finds out how many frames it has: at least two, since one frame shows no motion. Of a file
    /// every frame is decoded for that; `counted` hears of each.
    ///
    /// # Errors
    /// When there is no such file or folder, it cannot be decoded, or has less than two frames.
    pub fn open(path: &Path, reading: Reading, counted: &mut dyn FnMut()) -> Result<Self> {
        let is_folder = std::fs::metadata(path)?.is_dir();
        let source = Self(if is_folder {
            Kind::Folder(FramesFolder::open(path, reading.frames_per_sec)?)
        } else {
            Kind::File(Video::open(path, reading.threads, counted)?)
        });
        if source.frame_count() < 2 { Err(Error::OneFrame) } else { Ok(source) }
    }

    /// Whether it is a file; to open a folder again costs next to nothing.
    pub fn is_file(&self) -> bool {
        matches!(self.0, Kind::File(_))
    }

    /// Number of frames that really decode.
    pub fn frame_count(&self) -> usize {
        self.times().len()
    }

    /// When each frame is shown, in seconds.
    pub fn times(&self) -> &[f64] {
        match &self.0 {
            Kind::File(video) => &video.times,
            Kind::Folder(folder) => &folder.times,
        }
    }

    /// Width and height as shown.
    pub fn size(&self) -> [usize; 2] {
        match &self.0 {
            Kind::File(video) => video.size,
            Kind::Folder(folder) => folder.size,
        }
    }

    /// What people should know of it, though it can be read.
    pub fn note(&self) -> Option<&str> {
        match &self.0 {
            Kind::File(video) => video.note.as_deref(),
            Kind::Folder(folder) => folder.note.as_deref(),
        }
    }

    /// Hands over the frames at `indices` (increasing, within [`Self::frame_count`]), one at a time.
    ///
    /// # Errors
    /// When a frame cannot be decoded or `each` fails.
    pub fn visit<E: From<Error>>(
        &self,
        indices: &[usize],
        each: impl FnMut(usize, Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.0 {
            Kind::File(video) => video.visit(indices, each),
            Kind::Folder(folder) => folder.visit(indices, each),
        }
    }
}
