//! Data in, batches of prepared clips out: kept in memory, or read beside the training and no faster than it eats.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use half::f16;
use motion_clip::Geometry;
use motion_net::{HostTensor, Training};
use rayon::prelude::*;

use crate::augment::Crop;
use crate::data::{Data, Sample};
use crate::error::Result;
use crate::example::{Example, Look, Truth, View};
use crate::learner::Run;
use crate::skipped::Skipped;
use crate::synth::{FlowField, FlowGrid, Symmetry};
use crate::videos::{Choice, Videos};
use crate::{evaluate, progress};

/// The clips of a set.
pub(crate) enum Clips {
    /// Prepared once.
    Kept(Vec<Arc<Example>>),
    /// Prepared when their turn comes.
    Read(Data),
}

impl Clips {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Kept(examples) => examples.len(),
            Self::Read(data) => data.count(),
        }
    }

    /// The videos, where it is a set of them.
    fn videos(&self) -> Option<&Arc<Videos>> {
        match self {
            Self::Kept(_) => None,
            Self::Read(data) => data.videos(),
        }
    }
}

impl<B: Training> Run<B> {
    /// A set's clips. With `keep` every one is rendered or read once, and what the trained part of the network reads
    /// is kept; not of videos, whose clips are others in every epoch. `known` are videos that are to be left out.
    pub(crate) fn clips(
        &self,
        data: Data,
        keep: bool,
        what: &'static str,
        known: &[Skipped],
    ) -> Result<Clips> {
        if let Some(videos) = data.videos() {
            videos.prepare(known)?;
        }
        if !keep || data.videos().is_some() {
            return Ok(Clips::Read(data));
        }
        let bar = progress::bar(what, data.count());
        let examples = (0..data.count())
            .into_par_iter()
            .filter_map(|index| {
                let sample = data.sample(index, &self.config, Choice::Test).transpose()?;
                let example = sample.and_then(|sample| self.example(sample, None));
                bar.inc(1);
                Some(example.map(Arc::new))
            })
            .collect::<Result<_>>();
        bar.finish_and_clear();
        Ok(Clips::Kept(examples?))
    }

    /// Gives `work` the clips of these views, `size` at a time, or fewer where videos among them are left out. While it
    /// works, the next are prepared; there are never more than two batches waiting.
    pub(crate) fn for_each_batch(
        &self,
        clips: &Clips,
        views: &[View],
        size: usize,
        mut work: impl FnMut(Vec<Look>) -> Result<()>,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(1);
            scope.spawn(move || {
                for views in views.chunks(size) {
                    let looks = || -> Result<Vec<Look>> {
                        views.par_iter().filter_map(|view| self.look(clips, view).transpose()).collect()
                    };
                    let looks = match clips.videos() {
                        Some(videos) => videos.with_decoders(looks),
                        None => looks(),
                    };
                    // Nobody waits for it any more where the work has failed.
                    if send.send(looks).is_err() {
                        return;
                    }
                }
            });
            receive.into_iter().try_for_each(|looks| work(looks?))
        })
    }

    /// A clip as a step sees it; `None` where its video is left out.
    fn look(&self, clips: &Clips, &view: &View) -> Result<Option<Look>> {
        let example = match clips {
            Clips::Kept(examples) => examples[view.index].clone(),
            Clips::Read(data) => match data.sample(view.index, &self.config, view.choice)? {
                Some(sample) => Arc::new(self.example(sample, view.crop)?),
                None => return Ok(None),
            },
        };
        Ok(Some(match self.label(example.label, view.seen) {
            Some(label) => Look { example, view, label },
            None => {
                let label = example.label;
                Look { example, view: View { seen: Symmetry::default(), ..view }, label }
            }
        }))
    }

    /// What the trained part of the network reads of a clip.
    fn example(&self, sample: Sample, crop: Option<Crop>) -> Result<Example> {
        let preprocess = evaluate::preprocess(&self.config);
        let clip = match crop {
            None => evaluate::network_input(&self.config, &sample.frames)?,
            Some(crop) => {
                let views = sample.frames.iter().map(|frame| crop.view(frame, &preprocess));
                evaluate::normalised(&preprocess, &views.collect::<Result<Vec<_>>>()?)?
            }
        };
        let geometry = |flow: &FlowField| match crop {
            None => preprocess.geometry(flow.width, flow.height),
            Some(crop) => {
                Geometry::of_crop(crop.of_frame(flow.width, flow.height, &preprocess), self.config.input_size)
            }
        };
        let truth = |&grid| {
            let pairs = sample.flow.iter().map(|flow| flow.seen_by(&geometry(flow), grid));
            Truth { grid, cells: pairs.flat_map(known).map(f16::from_f32).collect() }
        };
        let truth = if sample.flow.is_empty() { Vec::new() } else { self.grids.iter().map(truth).collect() };
        let (shape, values) = self.input(clip)?;
        let values = values.into_iter().map(f16::from_f32).collect();
        Ok(Example { shape, values, truth, label: sample.label })
    }

    /// The clip itself, or its features where everything before them is frozen; shape and values.
    fn input(&self, clip: HostTensor) -> Result<(Vec<usize>, Vec<f32>)> {
        let Some(start) = self.start else { return Ok((clip.shape[1..].to_vec(), clip.data)) };
        let features = self.net.features(&self.backend, &clip, start, &self.estimation)?;
        Ok((features.dims().to_vec(), features.flatten_all()?.to_vec1()?))
    }
}

/// True displacements of one pair, not finite where a cell does not count.
fn known(flow: FlowGrid) -> impl Iterator<Item = f32> {
    let counts = flow.counts.into_iter().flat_map(|counts| [counts; 2]);
    flow.cells.into_iter().zip(counts).map(|(d, counts)| if counts { d } else { f32::NAN })
}
