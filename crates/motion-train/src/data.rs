//! Clips to learn from: rendered on the fly, or a folder that `motionlens synth` wrote.

use std::path::PathBuf;

use motion_clip::Frame;

use crate::error::{Error, Result};
use crate::recipe::DataSpec;
use crate::sampler::Sampler;
use crate::synth::{self, Dataset, FlowField, RenderOptions, Split};

/// One labelled clip.
pub struct Sample {
    /// Its frames.
    pub frames: Vec<Frame>,
    /// Index into [`Data::labels`].
    pub label: usize,
    /// True flow from each frame to the next, one fewer than frames; empty where it is not known.
    pub flow: Vec<FlowField>,
}

/// A set of labelled clips.
pub enum Data {
    /// Clip i is class i modulo the number of classes, rendered from seed + i.
    Rendered {
        /// How many.
        count: usize,
        /// The first clip's seed.
        seed: u64,
        /// Which materials and shapes.
        split: Split,
        /// Of each clip.
        frames: usize,
    },
    /// Clips on disk.
    Folder(Dataset),
}

impl Data {
    /// Clips of `frames` frames to train on.
    ///
    /// # Errors
    /// When the folder is no data set, or its clips have another number of frames.
    pub fn open(spec: &DataSpec, frames: usize) -> Result<Self> {
        let Some(folder) = &spec.folder else {
            return Ok(Self::Rendered { count: spec.count, seed: spec.seed, split: spec.split, frames });
        };
        let dataset = Dataset::open(folder)?;
        match dataset.frames() == frames {
            true => Ok(Self::Folder(dataset)),
            false => Err(wrong_frames(folder.clone(), &dataset, frames)),
        }
    }

    /// Clips of at least `frames` frames to evaluate on.
    ///
    /// # Errors
    /// When the folder is no data set, or its clips have fewer frames.
    pub fn folder(path: PathBuf, frames: usize) -> Result<Self> {
        let dataset = Dataset::open(&path)?;
        match dataset.frames() >= frames {
            true => Ok(Self::Folder(dataset)),
            false => Err(wrong_frames(path, &dataset, frames)),
        }
    }

    /// Class names, in the order of the labels.
    pub fn labels(&self) -> Vec<String> {
        match self {
            Self::Rendered { .. } => synth::CLASSES.iter().map(|&name| name.to_owned()).collect(),
            Self::Folder(dataset) => dataset.labels().to_vec(),
        }
    }

    /// How many clips.
    pub fn count(&self) -> usize {
        match self {
            Self::Rendered { count, .. } => *count,
            Self::Folder(dataset) => dataset.count(),
        }
    }

    /// Clip `index`.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn sample(&self, index: usize) -> Result<Sample> {
        let rendered = match self {
            Self::Rendered { seed, split, frames, .. } => {
                let options = RenderOptions { frames: *frames, ..RenderOptions::default() };
                synth::render(index % synth::CLASSES.len(), seed + index as u64, *split, &options)?
            }
            Self::Folder(dataset) => dataset.read(index)?,
        };
        Ok(Sample { frames: rendered.frames, label: rendered.label, flow: rendered.flow })
    }

    /// The clips that a test takes of video `index`, at least one.
    ///
    /// # Errors
    /// As [`Self::sample`] and [`Sampler::indices`].
    pub fn clips(&self, index: usize, sampler: &Sampler) -> Result<Vec<Sample>> {
        sampler.cut(self.sample(index)?)
    }
}

fn wrong_frames(path: PathBuf, dataset: &Dataset, frames: usize) -> Error {
    let message =
        format!("its clips have {} frames, the model takes {frames}; render it anew", dataset.frames());
    Error::Data { path, message }
}
