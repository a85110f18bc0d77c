//! Clips to learn from: rendered on the fly, a folder that `motionlens synth` wrote, or anybody's videos.

use std::path::PathBuf;
use std::sync::Arc;

use motion_clip::Frame;
use motion_net::Config;

use crate::error::{Error, Result};
use crate::lists;
use crate::recipe::DataSpec;
use crate::synth::{self, Dataset, FlowField, RenderOptions, Split};
use crate::videos::{Choice, Videos};

/// One labelled clip.
pub struct Sample {
    /// The sampled frames, T of them.
    pub frames: Vec<Frame>,
    /// Index into [`Data::labels`].
    pub label: usize,
    /// True flow from each frame to the next, T - 1 of them; none where it is not known.
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
    /// Clips on disk, with their true flow.
    Folder(Dataset),
    /// Videos of any length, or folders of frames.
    Videos(Arc<Videos>),
}

impl Data {
    /// Opens a set. The classes of videos whose `labels` no file names are `labels`, or where absent those of their
    /// list.
    ///
    /// # Errors
    /// When a list or the folder is not as it should be, or the clips have another number of frames.
    pub fn open(spec: &DataSpec, frames: usize, labels: Option<&[String]>) -> Result<Self> {
        let Some(folder) = &spec.folder else {
            return Ok(Self::Rendered { count: spec.count, seed: spec.seed, split: spec.split, frames });
        };
        if spec.list.is_none() && folder.join("list.json").is_file() {
            return Self::folder(folder.clone(), frames);
        }
        let labels = match &spec.labels {
            Some(file) => Some(lists::read_labels(file)?),
            None => labels.map(<[String]>::to_vec),
        };
        let listed = lists::read(folder, spec.list.as_deref(), labels, spec.split)?;
        Ok(Self::Videos(Arc::new(Videos::new(spec.list.as_ref().unwrap_or(folder), listed)?)))
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
            return Err(Error::Data { path, message });
        }
        Ok(Self::Folder(dataset))
    }

    /// Class names, in the order of the labels.
    pub fn labels(&self) -> Vec<String> {
        match self {
            Self::Rendered { .. } => synth::CLASSES.iter().map(|&name| name.to_owned()).collect(),
            Self::Folder(dataset) => dataset.labels().to_vec(),
            Self::Videos(videos) => videos.labels().to_vec(),
        }
    }

    /// How many clips.
    pub fn count(&self) -> usize {
        match self {
            Self::Rendered { count, .. } => *count,
            Self::Folder(dataset) => dataset.count(),
            Self::Videos(videos) => videos.count(),
        }
    }

    /// Clip `index` for a network; `choice` says which frames of a video it takes. `None` where the video cannot be
    /// used and is left out.
    ///
    /// # Errors
    /// When a file of a rendered set cannot be read, no video can be decoded here, or too many are left out.
    pub fn sample(&self, index: usize, config: &Config, choice: Choice) -> Result<Option<Sample>> {
        let rendered = match self {
            Self::Rendered { seed, split, frames, .. } => {
                let options = RenderOptions { frames: *frames, ..RenderOptions::default() };
                synth::render(index % synth::CLASSES.len(), seed + index as u64, *split, &options)?
            }
            Self::Folder(dataset) => dataset.read(index)?,
            Self::Videos(videos) => {
                let frames = videos.clip(index, config, choice)?;
                let label = videos.label(index);
                return Ok(frames.map(|frames| Sample { frames, label, flow: Vec::new() }));
            }
        };
        Ok(Some(Sample { frames: rendered.frames, label: rendered.label, flow: rendered.flow }))
    }

    /// The videos, where it is a set of them.
    pub fn videos(&self) -> Option<&Arc<Videos>> {
        match self {
            Self::Videos(videos) => Some(videos),
            _ => None,
        }
    }
}
