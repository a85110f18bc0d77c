//! `VIDEO` of every subcommand. In: a video file or a folder of frames. Out: the number of frames, their times and
//! size, and the frames that are asked for, one at a time, while people see how far it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use motion_clip::Frame;
use motion_video::Reading;

use crate::output::note;
use crate::progress::Progress;

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
    source: motion_video::Source,
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
        let name = path.display();
        let progress = Progress::counter(&format!("counting the frames of {name}"));
        let reading = Reading { frames_per_sec: args.fps, threads: None };
        let source = motion_video::Source::open(path, reading, &mut || progress.inc());
        let source = source.with_context(|| name.to_string())?;
        if let Some(said) = source.note() {
            note(&format!("{name}: {said}"));
        }
        Ok(Self { path: path.to_owned(), source })
    }

    /// Number of frames that really decode.
    pub(crate) fn frame_count(&self) -> usize {
        self.source.frame_count()
    }

    /// When each frame is shown, in seconds.
    pub(crate) fn times(&self) -> &[f64] {
        self.source.times()
    }

    /// Width and height as shown.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.source.size()
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
        let progress = Progress::bar(indices.len(), &format!("decoding {}", self.path.display()));
        let visited = self.source.visit(indices, |index, frame| -> Result<()> {
            each(index, frame)?;
            progress.inc();
            Ok(())
        });
        visited.with_context(|| self.path.display().to_string())
    }
}
