//! `motionlens synth`. In: how many clips and a seed. Out: a folder of labelled clips with their true flow.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use motion_train::synth::{Split, WriteOptions, write_dataset};

use crate::output;
use crate::progress::Progress;

/// A procedural labelled motion data set with ground-truth flow
///
/// Clip i shows class i modulo the number of classes and is rendered from seed + i, so the same options give the
/// same data. An interrupted run is taken up by the same call.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  motionlens synth --out train-set --count 340 --seed 1\n  \
                        motionlens synth --out test-set --count 170 --seed 1 --split test")]
pub(crate) struct Synth {
    /// New or empty folder for the data set
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of clips
    #[arg(long, value_name = "N")]
    count: usize,
    /// Seed of the first clip
    #[arg(long, value_name = "S")]
    seed: u64,
    /// Which textures and shapes; the two splits share none
    #[arg(long, value_enum, default_value_t)]
    split: SplitName,
    /// Frames of a clip
    #[arg(long, value_name = "T", default_value_t = WriteOptions::default().frames)]
    frames: usize,
    /// Width of a frame in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = WriteOptions::default().width)]
    width: usize,
    /// Height of a frame in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = WriteOptions::default().height)]
    height: usize,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum SplitName {
    /// For training
    #[default]
    Train,
    /// For testing
    Test,
}

impl Synth {
    pub(crate) fn run(&self) -> Result<()> {
        let Self { count, seed, frames, width, height, .. } = *self;
        let split = match self.split {
            SplitName::Train => Split::Train,
            SplitName::Test => Split::Test,
        };
        let options = WriteOptions { count, seed, split, frames, width, height };
        let progress = Progress::bar(count, "rendering clips");
        let summary = write_dataset(&self.out, &options, || progress.inc())?;
        drop(progress);
        if self.json {
            return output::json(&summary);
        }
        output::line(&format!(
            "{} clips of {} classes written to {}",
            summary.clips,
            summary.classes,
            summary.folder.display()
        ))
    }
}
