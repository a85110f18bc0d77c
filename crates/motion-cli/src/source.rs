//! `VIDEO` of every subcommand. In: a video file or a folder of frames. Out: the number of frames, their times and
//! size, and the frames that are asked for, one at a time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use motion_clip::Frame;

use crate::frames_folder::FramesFolder;
use crate::video::Video;

/// How to read a video.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// Frames per second of a folder of frames (a video file knows its own times)
    #[arg(long, value_name = "RATE", default_value_t = 12.0)]
    pub(crate) fps: f64,
}

/// A video file or a folder of frames.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Video(Video),
    Folder(FramesFolder),
}

impl Source {
    /// Opens it and finds out how many frames it has: at least two, since one frame shows no motion.
    ///
    /// # Errors
    /// When there is no such file or folder, it cannot be decoded, or has less than two frames.
    pub(crate) fn open(path: &Path, args: &SourceArgs) -> Result<Self> {
        ensure!(
            args.fps.is_finite() && args.fps > 0.0,
            "--fps is {}, expected a number of frames per second above 0",
            args.fps
        );
        let open = || -> Result<Kind> {
            let is_folder = std::fs::metadata(path)?.is_dir();
            Ok(if is_folder {
                Kind::Folder(FramesFolder::open(path, args.fps)?)
            } else {
                Kind::Video(Video::open(path)?)
            })
        };
        let kind = open().with_context(|| path.display().to_string())?;
        let source = Self { path: path.to_owned(), kind };
        ensure!(
            source.frame_count() >= 2,
            "{}: only 1 frame, expected at least 2: motion is what changes from one frame to the next",
            path.display()
        );
        Ok(source)
    }

    /// Number of frames that really decode.
    pub(crate) fn frame_count(&self) -> usize {
        self.times().len()
    }

    /// When each frame is shown, in seconds.
    pub(crate) fn times(&self) -> &[f64] {
        match &self.kind {
            Kind::Video(video) => &video.times,
            Kind::Folder(folder) => &folder.times,
        }
    }

    /// Width and height as shown.
    pub(crate) fn size(&self) -> [usize; 2] {
        match &self.kind {
            Kind::Video(video) => video.size,
            Kind::Folder(folder) => folder.size,
        }
    }

    /// Hands over the frames at `indices` (increasing, within [`Self::frame_count`]), one at a time.
    ///
    /// # Errors
    /// When a frame cannot be decoded or `each` fails.
    pub(crate) fn visit(
        &self,
        indices: &[usize],
        each: &mut dyn FnMut(usize, Frame) -> Result<()>,
    ) -> Result<()> {
        match &self.kind {
            Kind::Video(video) => video.visit(indices, each),
            Kind::Folder(folder) => folder.visit(indices, each),
        }
        .with_context(|| self.path.display().to_string())
    }
}
