//! A model on the graphics card. In: a model folder. Out: a network that is compiled for the card, or the processor's
//! where that is faster.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use motion_net::gpu::Precision;
use motion_net::{Backend, CpuBackend, Estimation, GpuBackend, HostTensor};

use super::{AnyModel, Model, ModelArgs, PrecisionName};
use crate::output::{self, note};
use crate::progress::Progress;

/// Side of the probe's frames in pixels.
const PROBE_SIDE: usize = 64;

/// The model on the fastest card.
///
/// # Errors
/// When there is none, or as [`Model::load`].
pub(super) fn load(args: &ModelArgs) -> Result<Model<GpuBackend>> {
    on(args, open(args)?)
}

/// The fastest card, with weights in the precision that was asked for.
fn open(args: &ModelArgs) -> motion_net::Result<GpuBackend> {
    let precision = match args.precision {
        PrecisionName::F32 => Precision::F32,
        PrecisionName::F16 => Precision::F16,
    };
    pollster::block_on(GpuBackend::open_with(None, precision))
}

/// Compiles, runs once, and measures which forms of convolution suit the card where no earlier start did.
fn on(args: &ModelArgs, backend: GpuBackend) -> Result<Model<GpuBackend>> {
    let model = Model::load(args, backend)?;
    let _progress = Progress::wait(&format!("preparing {}", model.backend.adapter()));
    model.backend.prepare()?;
    let stored = stored_tuning(&model.backend, args.precision);
    if let Some(json) = stored.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) {
        model.backend.set_tuning(&json);
    }
    run(&model, model.config().input_size)?;
    if pollster::block_on(model.backend.tune(|| true))? > 0
        && let Some(path) = stored
    {
        // Without the file it is measured again at the next start.
        let json = model.backend.tuning();
        let _ = output::write_atomically(&path, |file| Ok(file.write_all(json.as_bytes())?));
    }
    Ok(model)
}

/// Where the measurements of this card are kept from start to start.
fn stored_tuning(backend: &GpuBackend, precision: PrecisionName) -> Option<PathBuf> {
    let folder = dirs::cache_dir()?.join("motionlens");
    std::fs::create_dir_all(&folder).ok()?;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = backend.adapter().chars().map(plain).collect();
    let precision = if precision == PrecisionName::F16 { "-f16" } else { "" };
    Some(folder.join(format!("gpu-{name}{precision}.json")))
}

/// The model on whichever runs a small clip faster; says which, and why.
///
/// # Errors
/// As [`Model::load`]; that there is no card is a note.
pub(super) fn faster(args: &ModelArgs) -> Result<AnyModel> {
    let cpu = Model::load(args, CpuBackend::new())?;
    let backend = match open(args) {
        Ok(backend) => backend,
        Err(error) => {
            note(&format!("running on the processor: {error}"));
            return Ok(AnyModel::Cpu(Box::new(cpu)));
        }
    };
    let gpu = on(args, backend)?;
    let (on_cpu, on_gpu) = (probe(&cpu)?, probe(&gpu)?);
    let card = gpu.backend.adapter();
    let (where_to, chosen) = match on_gpu < on_cpu {
        true => ("graphics card", AnyModel::Gpu(Box::new(gpu))),
        false => ("processor", AnyModel::Cpu(Box::new(cpu))),
    };
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    note(&format!(
        "running on the {where_to}: a small clip takes the processor {:.1} ms and {card} {:.1} ms",
        ms(on_cpu),
        ms(on_gpu)
    ));
    Ok(chosen)
}

/// Time of a small clip's second run: the first one may compile.
fn probe<B: Backend>(model: &Model<B>) -> Result<Duration> {
    run(model, PROBE_SIDE)?;
    run(model, PROBE_SIDE)
}

/// Time of a clip of some texture.
fn run<B: Backend>(model: &Model<B>, side: usize) -> Result<Duration> {
    let frames = model.config().frames;
    let texture = (0..frames * side * side * 3).map(|i| (i as f32 * 0.37).sin()).collect();
    let clip = HostTensor::new([1, frames, side, side, 3], texture)?;
    let begun = Instant::now();
    let run = model.run(&clip, &Estimation::default())?;
    model.logits(&run.pass)?;
    Ok(begun.elapsed())
}
