//! Model folders and labelled videos in, figures out.

use std::path::{Path, PathBuf};

use motion_clip::{Geometry, Preprocess};
use motion_net::{Backend, Config, CpuBackend, Estimation, HostTensor, MsNet, StageMaps, Weights, read_maps};
use rayon::prelude::*;

use crate::data::{Data, Sample};
use crate::error::{Error, Result, at};
use crate::flow_figures::StageSums;
use crate::metrics::{Confusion, Evaluation};
use crate::progress;
use crate::protocol::{Protocol, View, softmax};
use crate::sampler::Sampler;
use crate::synth::FlowField;

/// Loads a model folder for the CPU.
///
/// # Errors
/// [`Error::File`], or what [`MsNet::load`] gives.
pub fn load_model(folder: &Path) -> Result<MsNet<CpuBackend>> {
    Ok(MsNet::load(&CpuBackend::new(), load_config(folder)?, load_weights(folder)?)?)
}

/// The configuration of a model folder.
pub(crate) fn load_config(folder: &Path) -> Result<Config> {
    let path = folder.join("config.json");
    Ok(Config::from_json(&std::fs::read_to_string(&path).map_err(at(&path))?)?)
}

/// The tensors of a model folder.
pub(crate) fn load_weights(folder: &Path) -> Result<Weights> {
    let path = folder.join("model.safetensors");
    Ok(Weights::from_safetensors(&std::fs::read(&path).map_err(at(&path))?)?)
}

/// The input of a network from the frames of one clip: `[1, T, H, W, 3]`.
///
/// # Errors
/// When the frames cannot be resized.
pub fn network_input(config: &Config, frames: &[motion_clip::Frame]) -> Result<HostTensor> {
    host(preprocess(config).clip(frames)?)
}

/// The same from what the network sees of each frame, `input_size` x `input_size`.
pub(crate) fn normalised(preprocess: &Preprocess, views: &[motion_clip::Frame]) -> Result<HostTensor> {
    host(preprocess.clip_of_views(views)?)
}

fn host(clip: motion_clip::Clip) -> Result<HostTensor> {
    let [t, height, width, channels] = clip.shape;
    Ok(HostTensor::new([1, t, height, width, channels], clip.data)?)
}

/// The configured way from a frame to the network's input.
pub fn preprocess(config: &Config) -> Preprocess {
    let Config { resize, input_size, mean, std, .. } = *config;
    Preprocess { resize, input_size, mean, std }
}

/// Runs models over a set of videos: one model, or several whose scores are averaged.
///
/// # Errors
/// When a model or a clip cannot be read, the classes are not the models', or `protocol` does not suit a model.
pub fn evaluate(models: &[PathBuf], data: &Data, protocol: &Protocol) -> Result<Evaluation> {
    let labels = data.labels();
    let members: Vec<Member> =
        models.iter().map(|folder| Member::load(folder, &labels, protocol)).collect::<Result<_>>()?;
    let bar = progress::bar("evaluating", data.count());
    let found: Vec<Found> = (0..data.count())
        .into_par_iter()
        .filter_map(|index| {
            let found = Found::of(&members, data, index, protocol).transpose();
            bar.inc(1);
            found
        })
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    let mut confusion = Confusion::new(labels.len());
    let mut flow = StageSums::default();
    for Found { label, scores, flow: of_video } in found {
        confusion.add(label, &scores.iter().map(|&score| score as f32).collect::<Vec<_>>());
        flow.merge(&of_video);
    }
    let skipped = data.videos().map(|videos| videos.skipped_count());
    Ok(Evaluation { skipped, ..confusion.evaluation(&labels, flow.figures(models)) })
}

/// A network for the maps of its motion modules.
pub(crate) struct Viewer {
    pub(crate) net: MsNet<CpuBackend>,
    estimation: Estimation,
}

impl Viewer {
    /// Loads a model folder.
    ///
    /// # Errors
    /// As [`load_model`].
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let net = load_model(folder)?;
        let estimation = net.config().motion.as_ref().map(|motion| motion.estimation()).unwrap_or_default();
        Ok(Self { net, estimation })
    }

    /// The scores of a clip `[1, T, H, W, 3]`, and the maps of every motion stage.
    ///
    /// # Errors
    /// When the network fails.
    pub(crate) fn look(&self, clip: &HostTensor) -> Result<(Vec<f32>, Vec<StageMaps>)> {
        let b = CpuBackend::new();
        let pass = self.net.forward(&b, clip, &self.estimation)?;
        let maps = pass.motions().map(|(index, motion)| {
            let stage = self.net.stage_names().nth(index).unwrap_or_default();
            Ok(pollster::block_on(read_maps(&b, stage, self.estimation.radius(), &motion.forward))?)
        });
        let maps = maps.collect::<Result<_>>()?;
        let scores = match pass.logits() {
            Some(logits) => pollster::block_on(b.read(logits))?.data,
            None => Vec::new(),
        };
        Ok((scores, maps))
    }
}

/// A model of the test.
struct Member {
    viewer: Viewer,
    sampler: Sampler,
    views: Vec<View>,
}

impl Member {
    fn load(folder: &Path, labels: &[String], protocol: &Protocol) -> Result<Self> {
        let viewer = Viewer::load(folder)?;
        let config = viewer.net.config();
        let wrong = |message| Error::Data { path: folder.join("config.json"), message };
        let own: Vec<&String> = config.id2label.values().collect();
        if own != labels.iter().collect::<Vec<_>>() {
            return Err(wrong(format!(
                "its classes are not the data set's: found {} ({:?}, ...), expected {} ({:?}, ...); evaluate on data of \
                 the same classes",
                own.len(),
                own.first(),
                labels.len(),
                labels.first()
            )));
        }
        let views = protocol.crops.views(config)?.ok_or_else(|| {
            let [height, width] = config.resize;
            wrong(format!(
                "resize is {height} x {width} (height x width), three crops need a picture wider than high; take 1 crop"
            ))
        })?;
        let sampler = Sampler::new(config, protocol.clips);
        Ok(Self { viewer, sampler, views })
    }

    /// What this model, the `model`th of the test, finds of a video over all its clips and crops; `None` where the video
    /// is left out.
    fn look(&self, model: usize, data: &Data, index: usize) -> Result<Option<Found>> {
        let config = self.viewer.net.config();
        let (mut label, mut scores, mut looks) = (0, vec![0.0; config.classes()], 0.0);
        let mut flow = StageSums::default();
        let Some(clips) = data.clips(index, config, &self.sampler)? else { return Ok(None) };
        for clip in clips {
            label = clip.label;
            for view in &self.views {
                let (found, maps) = self.viewer.look(&view.input(config, &clip.frames)?)?;
                scores.iter_mut().zip(found).for_each(|(sum, score)| *sum += f64::from(score));
                looks += 1.0;
                flow.merge(&errors(model, &maps, &clip, |flow| {
                    view.geometry(config, flow.width, flow.height)
                }));
            }
        }
        scores.iter_mut().for_each(|sum| *sum /= looks);
        Ok(Some(Found { label, scores, flow }))
    }
}

/// The errors of a clip's maps, where its true flow is known.
fn errors(
    model: usize,
    maps: &[StageMaps],
    clip: &Sample,
    geometry: impl Fn(&FlowField) -> Geometry,
) -> StageSums {
    let mut sums = StageSums::default();
    for maps in maps {
        for (pair, flow) in clip.flow.iter().enumerate() {
            sums.add(model, maps, pair, &flow.seen_by(&geometry(flow), maps.grid));
        }
    }
    sums
}

/// What a test found of one video.
struct Found {
    label: usize,
    scores: Vec<f64>,
    flow: StageSums,
}

impl Found {
    /// By all models together.
    fn of(members: &[Member], data: &Data, index: usize, protocol: &Protocol) -> Result<Option<Self>> {
        let mut all = Self { label: 0, scores: Vec::new(), flow: StageSums::default() };
        for (model, member) in members.iter().enumerate() {
            let Some(Self { label, mut scores, flow }) = member.look(model, data, index)? else {
                return Ok(None);
            };
            if protocol.softmax {
                scores = softmax(&scores);
            }
            all.label = label;
            all.scores.resize(scores.len(), 0.0);
            all.scores.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score / members.len() as f64);
            all.flow.merge(&flow);
        }
        Ok(Some(all))
    }
}
