//! `motionlens forward`. In: a normalised clip as safetensors. Out: scores, maps and motion features as safetensors,
//! named and shaped as in the contract; for comparing the network with other implementations.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use motion_net::{Backend, HostTensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;

use crate::model::{EstimationArgs, Model, ModelArgs, with_model};
use crate::output;
use crate::progress::Progress;

/// Raw tensors in, raw tensors out: to check the network against other implementations
///
/// The clip file holds one tensor `clip`, f32, [T, 3, H, W] or [N, T, 3, H, W], already normalised. Written are
/// `logits` [N, classes] and, per stage with a motion module, `displacement.<stage>` [N, T-1, 2, h, w] in units of
/// the radius, `confidence.<stage>` and `argmax.<stage>` [N, T-1, 1, h, w] and `motion.<stage>` [N, T, C, h, w].
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  motionlens forward --model model --clip clip.safetensors --out result.safetensors"
)]
pub(crate) struct Forward {
    #[command(flatten)]
    model: ModelArgs,
    /// Clip to read
    #[arg(long, value_name = "IN.safetensors")]
    clip: PathBuf,
    /// File to write
    #[arg(long, value_name = "OUT.safetensors")]
    out: PathBuf,
    #[command(flatten)]
    estimation: EstimationArgs,
    /// Say what was written as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    out: &'a Path,
    tensors: BTreeMap<&'a str, &'a [usize]>,
    backend: &'static str,
    ms: f64,
}

impl Forward {
    pub(crate) fn run(&self) -> Result<()> {
        with_model!(&self.model, |model| self.on(&model))
    }

    fn on<B: Backend>(&self, model: &Model<B>) -> Result<()> {
        let estimation = self.estimation.over(model.config())?;
        let clips = read_clips(&self.clip, model.config().frames)
            .with_context(|| format!("clip {}", self.clip.display()))?;
        let progress = Progress::bar(clips.len(), "clips");
        let (mut results, mut time) = (Results::default(), Duration::ZERO);
        for clip in &clips {
            let begun = Instant::now();
            let run = model.run(clip, &estimation)?;
            results.append("logits", model.logits(&run.pass)?)?;
            time += begun.elapsed();
            for (index, stage) in model.net.stage_names().enumerate() {
                let Some(motion) = run.pass.motion(index) else { continue };
                let mut add = |name: &str, tensor| -> Result<()> {
                    results.append(&format!("{name}.{stage}"), channels_first(&model.read(tensor)?)?)
                };
                add("displacement", &motion.forward.displacement)?;
                add("confidence", &motion.forward.confidence)?;
                add("argmax", &motion.forward.argmax)?;
                add("motion", &motion.features)?;
            }
            progress.inc();
        }
        drop(progress);
        results.write(&self.out)?;
        let tensors =
            results.0.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice())).collect();
        let (backend, ms) = (model.backend.name(), time.as_secs_f64() * 1e3);
        if self.json {
            return output::json(&Report { out: &self.out, tensors, backend, ms });
        }
        for (name, shape) in tensors {
            output::line(&format!("{name} {shape:?}"))?;
        }
        output::line(&format!("written to {} ({backend}, {ms:.0} ms)", self.out.display()))
    }
}

/// Tensors by their contract names, the clips along the first axis.
#[derive(Default)]
struct Results(BTreeMap<String, HostTensor>);

impl Results {
    /// Puts one clip's tensor after those of the clips before it.
    fn append(&mut self, name: &str, tensor: HostTensor) -> Result<()> {
        // Maps come as [frames or pairs, C, h, w] and become [1, ...]; logits are [1, K] already.
        let shape = if name == "logits" { tensor.shape } else { [&[1], tensor.shape.as_slice()].concat() };
        match self.0.get_mut(name) {
            None => {
                self.0.insert(name.to_owned(), HostTensor { shape, data: tensor.data });
            }
            Some(before) => {
                ensure!(before.shape[1..] == shape[1..], "{name} differs in shape from clip to clip");
                before.shape[0] += 1;
                before.data.extend(tensor.data);
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<()> {
        let raw: Vec<(&str, &[usize], Vec<u8>)> = self
            .0
            .iter()
            .map(|(name, tensor)| {
                let bytes = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
                (name.as_str(), tensor.shape.as_slice(), bytes)
            })
            .collect();
        let views = raw
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let bytes = safetensors::serialize(views, None)?;
        output::write_atomically(path, |file| Ok(file.write_all(&bytes)?))
    }
}

/// The clips of a file, each `[1, T, H, W, 3]`.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub(crate) fn read_clips(path: &Path, frames: usize) -> Result<Vec<HostTensor>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes).context("not a safetensors file, or cut short")?;
    let Ok(clip) = file.tensor("clip") else {
        bail!("no tensor \"clip\" in it, expected one; found {:?}", file.names());
    };
    ensure!(clip.dtype() == Dtype::F32, "\"clip\" is {:?}, expected F32", clip.dtype());
    let (n, [t, height, width]) = match *clip.shape() {
        [t, 3, height, width] => (1, [t, height, width]),
        [n, t, 3, height, width] => (n, [t, height, width]),
        ref other => bail!("\"clip\" is {other:?}, expected [T, 3, H, W] or [N, T, 3, H, W]"),
    };
    ensure!(
        t == frames,
        "\"clip\" has {t} frames (shape {:?}), expected {frames} as config.json says; choose {frames} frames or \
         another model",
        clip.shape()
    );
    ensure!(n > 0 && height * width > 0, "\"clip\" is empty (shape {:?})", clip.shape());
    let values: Vec<f32> = clip.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    if let Some((index, value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        bail!("\"clip\" holds {value} at element {index}, expected finite numbers");
    }
    let one = |values: &[f32]| {
        Ok(HostTensor::new([1, t, height, width, 3], transpose(values, t, 3, height * width))?)
    };
    values.chunks_exact(t * 3 * height * width).map(one).collect()
}

/// `[frames, h, w, C]` to `[frames, C, h, w]`.
fn channels_first(tensor: &HostTensor) -> Result<HostTensor> {
    let &[frames, height, width, channels] = tensor.shape.as_slice() else {
        bail!("a map is {:?}, expected [frames, h, w, C]", tensor.shape);
    };
    let data = transpose(&tensor.data, frames, height * width, channels);
    Ok(HostTensor::new([frames, channels, height, width], data)?)
}

/// `[n, a, b]` to `[n, b, a]`.
fn transpose(values: &[f32], n: usize, a: usize, b: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for block in values.chunks_exact(a * b).take(n) {
        for j in 0..b {
            out.extend((0..a).map(|i| block[i * b + j]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_is_nothing() {
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let turned = transpose(&values, 2, 3, 4);
        assert_eq!(turned[..5], [0.0, 4.0, 8.0, 1.0, 5.0]);
        assert_eq!(transpose(&turned, 2, 4, 3), values);
    }
}
