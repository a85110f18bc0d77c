//! A model folder and labelled clips in, figures out.

use std::path::Path;

use motion_clip::Preprocess;
use motion_net::maps::StageMaps;
use motion_net::{Backend, Config, CpuBackend, HostTensor, MsNet, Weights};
use rayon::prelude::*;

use crate::data::{Data, Sample};
use crate::error::{Error, Result, at};
use crate::metrics::{Confusion, EndPointError, Evaluation};
use crate::progress;
use crate::synth::FlowField;
use crate::videos::Choice;

/// Loads a model folder for the CPU.
///
/// # Errors
/// [`Error::File`], or what [`MsNet::load`] gives.
pub fn load_model(folder: &Path) -> Result<MsNet<CpuBackend>> {
    let path = folder.join("config.json");
    let config = Config::from_json(&std::fs::read_to_string(&path).map_err(at(&path))?)?;
    Ok(MsNet::load(&CpuBackend::new(), config, load_weights(folder)?)?)
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
pub(crate) fn normalised(config: &Config, views: &[motion_clip::Frame]) -> Result<HostTensor> {
    host(preprocess(config).clip_of_views(views)?)
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

/// Runs a model folder over a set of clips.
///
/// # Errors
/// When the model or a clip cannot be read, or the classes are not the model's.
pub fn evaluate(model: &Path, data: &Data) -> Result<Evaluation> {
    let net = load_model(model)?;
    let config = net.config();
    let labels: Vec<String> = config.id2label.values().cloned().collect();
    if labels != data.labels() {
        let message = format!(
            "its classes are not the data set's: found {} ({:?}, ...), expected {} ({:?}, ...); evaluate on data of the same classes",
            labels.len(),
            labels.first(),
            data.labels().len(),
            data.labels().first()
        );
        return Err(Error::Data { path: model.join("config.json"), message });
    }
    let bar = progress::bar("evaluating", data.count());
    let parts: Vec<(usize, Vec<f32>, EndPointError)> = (0..data.count())
        .into_par_iter()
        .filter_map(|index| {
            let sample = data.sample(index, config, Choice::Test).transpose()?;
            bar.inc(1);
            Some(sample.and_then(|sample| {
                let found = evaluate_clip(&net, &sample)?;
                Ok((sample.label, found.0, found.1))
            }))
        })
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    let mut confusion = Confusion::new(labels.len());
    let mut epe = EndPointError::default();
    for (label, logits, error) in &parts {
        confusion.add(*label, logits);
        epe.merge(error);
    }
    let skipped = data.videos().map(|videos| videos.skipped_count());
    Ok(Evaluation { skipped, ..confusion.evaluation(&labels, epe) })
}

fn evaluate_clip(net: &MsNet<CpuBackend>, sample: &Sample) -> Result<(Vec<f32>, EndPointError)> {
    let b = CpuBackend::new();
    let config = net.config();
    let estimation = config.motion.as_ref().map(|motion| motion.estimation()).unwrap_or_default();
    let pass = net.forward(&b, &network_input(config, &sample.frames)?, &estimation)?;
    let mut epe = EndPointError::default();
    if let Some((index, motion)) = pass.motions().next() {
        let stage = net.stage_names().nth(index).unwrap_or_default();
        let maps =
            pollster::block_on(motion_net::read_maps(&b, stage, estimation.radius(), &motion.forward))?;
        let transform = preprocess(config);
        for (pair, flow) in sample.flow.iter().enumerate() {
            add_pair(&mut epe, &maps, pair, flow, &transform);
        }
    }
    let logits = match pass.logits() {
        Some(logits) => pollster::block_on(b.read(logits))?.data,
        None => Vec::new(),
    };
    Ok((logits, epe))
}

/// Truth on the map's own grid: the mean flow of a cell's visible pixels.
fn add_pair(
    epe: &mut EndPointError,
    maps: &StageMaps,
    pair: usize,
    flow: &FlowField,
    transform: &Preprocess,
) {
    let truth = flow.to_grid(transform, maps.grid);
    epe.add(&maps.cells(pair), &truth.cells, &truth.counts);
}
