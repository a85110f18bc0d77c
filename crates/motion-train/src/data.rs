//! Clips to learn from: rendered on the fly, or a folder that `motionlens synth` wrote.

use std::path::PathBuf;

use motion_clip::Frame;

use crate::error::Result;
use crate::recipe::DataSpec;
use crate::synth::{self, Dataset, FlowField, RenderOptions, Split};

/// One labelled clip.
pub struct Sample {
    /// The sampled frames, T of them.
    pub frames: Vec<Frame>,
    /// Index into [`Data::labels`].
    pub label: usize,
    /// True flow from each frame to the next, T - 1 of them.
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
        /// T.
        frames: usize,
    },
    /// Clips on disk.
    Folder(Dataset),
}

impl Data {
    /// # Errors
    /// When the folder is no data set, or its clips have another number of frames.
    pub fn open(spec: &DataSpec, frames: usize) -> Result<Self> {
        match &spec.folder {
            Some(folder) => Self::folder(folder.clone(), frames),
            None => Ok(Self::Rendered { count: spec.count, seed: spec.seed, split: spec.split, frames }),
        }
    }

    /// # Errors
    /// When the folder is no data set, or its clips have another number of frames.
    pub fn folder(path: PathBuf, frames: usize) -> Result<Self> {
        let dataset = Dataset::open(&path)?;
        if dataset.frames() != frames {
            let message = format!(
                "its clips have {} frames, the model takes {frames}; render it anew",
                dataset.frames()
            );
            return Err(crate::Error::Data { path, message });
        }
        Ok(Self::Folder(dataset))
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
}
