//! `motionlens bench --contestant`, for `cargo xtask bench-peers`. In: a model, a clip, and one line on standard input
//! for each run. Out: one line of JSON for each run: how long it took, and what came out.

use std::io;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor, Var};
use motion_net::backend::Statistics;
use motion_net::{CpuBackend, Estimation, HostTensor, Mode, MsNet};
use motion_train::in_place::descend;
use motion_train::parameters::{Frozen, Parameters};
use serde::Serialize;

use super::ms;
use crate::commands::forward::read_clips;
use crate::model::{EstimationArgs, ModelArgs, read_config, read_weights, with_model};
use crate::output;

/// That of `tests/peers/contestant.py`.
const LEARNING_RATE: f64 = 1e-3;

#[derive(Debug, Serialize)]
struct Answer {
    ms: f64,
    /// Logits, or the loss of a training step.
    output: Vec<f32>,
}

/// Answers every line on standard input with a run.
fn answer(mut run: impl FnMut() -> Result<Vec<f32>>) -> Result<()> {
    for line in io::stdin().lines() {
        line.context("cannot read standard input")?;
        let begun = Instant::now();
        let output = run()?;
        output::json(&Answer { ms: ms(begun.elapsed()), output })?;
    }
    Ok(())
}

/// A forward pass of the file's clips for each line.
///
/// # Errors
/// When the model or the clip cannot be read, do not fit, or the backend fails.
pub(super) fn infer(model: &ModelArgs, estimation: &EstimationArgs, clip: &Path) -> Result<()> {
    with_model!(model, |model| {
        let estimation = estimation.over(model.config())?;
        let clips = clips(clip, model.config().frames)?;
        answer(|| Ok(model.logits(&model.run(&clips, &estimation)?.pass)?.data))
    })
}

/// A training step on all the file's clips for each line: forward with the batch's statistics, cross entropy, backward,
/// plain gradient descent. Clip i is of class i.
///
/// # Errors
/// As [`infer`], and for more clips than classes.
pub(super) fn train(model: &ModelArgs, clip: &Path) -> Result<()> {
    let config = read_config(&model.model)?;
    let weights = read_weights(&model.model.join("model.safetensors"))?;
    let clips = clips(clip, config.frames)?;
    let (count, classes) = (clips.shape[0], config.classes());
    ensure!(count <= classes, "{}: {count} clips, expected at most {classes}, one a class", clip.display());
    let backend = CpuBackend::new();
    let mut parameters = Parameters::new(config.backbone, weights, Frozen::default(), 0, &Device::Cpu);
    let net = MsNet::build(&backend, config, &mut parameters)?;
    let variables: Vec<Var> = parameters.iter().filter_map(|(_, p)| p.variable.clone()).collect();
    let truth = Tensor::arange(0, count as u32, &Device::Cpu)?;
    let batch = Statistics::Batch;
    let mode = Mode { stem: batch, backbone: batch, reduction: batch, motion: batch, dropout: 0.0 };
    answer(|| {
        let mut pass = net.begin(&backend, &clips)?;
        while net.advance(&backend, &mut pass, &Estimation::default(), mode)?.is_some() {}
        let logits = pass.logits().context("the pass stopped before the classifier")?;
        let loss = candle_nn::loss::cross_entropy(logits, &truth)?;
        descend(&variables, &loss.backward()?, LEARNING_RATE)?;
        Ok(vec![loss.to_scalar()?])
    })
}

/// The clips of a file as one batch, `[N, T, H, W, 3]`.
fn clips(path: &Path, frames: usize) -> Result<HostTensor> {
    let clips = read_clips(path, frames).with_context(|| format!("clip {}", path.display()))?;
    let mut shape = clips.first().map_or_else(Vec::new, |clip| clip.shape.clone());
    if let Some(count) = shape.first_mut() {
        *count = clips.len();
    }
    Ok(HostTensor::new(shape, clips.into_iter().flat_map(|clip| clip.data).collect())?)
}
