//! Clips to learn from: rendered on the fly, a folder that `motionlens synth` wrote, or anybody's videos.

use std::path::PathBuf;
use std::sync::Arc;

use motion_clip::Frame;
use motion_net::Config;

use crate::error::{Error, Result};
use crate::lists;
use crate::recipe::DataSpec;
use crate::sampler::Sampler;
use crate::synth::{self, Dataset, FlowField, RenderOptions, Split};
use crate::videos::{Choice, Videos};

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
    /// The classes take turns; clip i is rendered from seed + i.
    Rendered {
        /// Which, in their order; one that is named twice comes twice as often.
        classes: Vec<usize>,
        /// How many.
        count: usize,
        /// The first clip's seed.
        seed: u64,
        /// Which materials and shapes.
        split: Split,
        /// Of each clip.
        frames: usize,
    },
    /// Clips on disk, with their true flow.
    Folder(Dataset),
    /// Videos of any length, or folders of frames.
    Videos(Arc<Videos>),
}

/// How many frames the clips of a rendered set must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// To train on, so many.
    Exactly(usize),
    /// To evaluate on: of more, so many are taken.
    AtLeast(usize),
}

impl Data {
    /// Opens a set. The classes of videos whose `labels` no file names are `labels`, or where absent those of their
    /// list.
    ///
    /// # Errors
    /// When a list or the folder is not as it should be, or rendered clips have another number of frames.
    pub fn open(spec: &DataSpec, frames: Frames, labels: Option<&[String]>) -> Result<Self> {
        let Some(folder) = &spec.folder else {
            let (Frames::Exactly(frames) | Frames::AtLeast(frames)) = frames;
            let &DataSpec { count, seed, split, .. } = spec;
            return Ok(Self::Rendered { classes: spec.rendered_classes(), count, seed, split, frames });
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

    /// A folder that `motionlens synth` wrote.
    fn folder(path: PathBuf, frames: Frames) -> Result<Self> {
        let dataset = Dataset::open(&path)?;
        let found = dataset.frames();
        let (suits, expected) = match frames {
            Frames::Exactly(frames) => (found == frames, frames),
            Frames::AtLeast(frames) => (found >= frames, frames),
        };
        if !suits {
            let message =
                format!("its clips have {found} frames, the model takes {expected}; render it anew");
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
            Self::Rendered { classes, seed, split, frames, .. } => {
                let options = RenderOptions { frames: *frames, ..RenderOptions::default() };
                synth::render(classes[index % classes.len()], seed + index as u64, *split, &options)?
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

    /// The clips that a test takes of video `index` for a network, at least one; `None` where the video cannot be used and
    /// is left out.
    ///
    /// # Errors
    /// As [`Self::sample`] and [`Sampler::indices`].
    pub fn clips(&self, index: usize, config: &Config, sampler: &Sampler) -> Result<Option<Vec<Sample>>> {
        let Self::Videos(videos) = self else {
            let whole = self.sample(index, config, Choice::Test)?;
            return whole.map(|whole| sampler.cut(whole)).transpose();
        };
        let all = |count| sampler.indices(count).unwrap_or_default().concat();
        let frames = videos.frames(index, config.resize, all)?;
        let label = videos.label(index);
        let clip = |frames: &[Frame]| Sample { frames: frames.to_vec(), label, flow: Vec::new() };
        Ok(frames.map(|frames| frames.chunks(sampler.frames).map(clip).collect()))
    }
}
