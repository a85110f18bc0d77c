//! `motionlens bench --backend gpu`: where the time goes on the graphics card, by its own clock, and how near each
//! kernel comes to its floor: its operations over the card's peak, or its bytes over the bandwidth, both measured. And
//! how much memory activations take beside what one layer cannot do without.

use std::collections::BTreeMap;

use anyhow::Result;
use motion_net::gpu::{Peak, Work};
use motion_net::{CpuBackend, Estimation, GpuBackend, HostTensor};
use serde::Serialize;

use crate::model::{Model, ModelArgs};
use crate::output;

/// Passes that are timed; each kernel's time is its median.
const PASSES: usize = 3;

/// What the card did.
#[derive(Debug, Serialize)]
pub(super) struct Card {
    adapter: String,
    /// Largest difference of the scores from the processor's, in units of the largest score.
    difference: f32,
    peak_gflops: f64,
    bandwidth_gbs: f64,
    weights_mb: f64,
    /// The most that activations took.
    activations_mb: f64,
    /// Input and output of one layer together, where they are largest.
    largest_pair_mb: f64,
    /// Sum over the kernels.
    kernels_ms: f64,
    /// Share of the sum that the floors are.
    floor_share: f64,
    kernels: Vec<Row>,
}

/// One kernel on one shape.
#[derive(Debug, Serialize)]
struct Row {
    kernel: &'static str,
    shape: String,
    times: usize,
    ms: f64,
    gflops: f64,
    floor_share: f64,
}

/// How far the scores are from the processor's: a fast kernel that is wrong is no kernel.
fn difference(
    args: &ModelArgs,
    model: &Model<GpuBackend>,
    clip: &HostTensor,
    estimation: &Estimation,
) -> Result<f32> {
    let found = model.logits(&model.run(clip, estimation)?.pass)?;
    let twin = Model::load(args, CpuBackend::new())?;
    let twin = twin.logits(&twin.run(clip, estimation)?.pass)?;
    let largest = twin.data.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    let differences = found.data.iter().zip(&twin.data).map(|(a, b)| (a - b).abs() / largest);
    Ok(differences.fold(0.0, f32::max))
}

/// Bytes of what a layer reads and writes, channels in vectors of four. A convolution's work counts its weights and its
/// residual as well, so there they are read off its shape.
fn pair_bytes(work: &Work) -> u64 {
    convolution_bytes(&work.detail).unwrap_or(work.bytes)
}

/// The same of `3x3/2 64 to 128 at 8x56x56, direct`: kernel, stride, channels in and out, frames, height, width.
fn convolution_bytes(shape: &str) -> Option<u64> {
    let numbers = shape.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    let numbers: Vec<u64> = numbers.collect();
    let &[_, _, stride, input, output, n, h, w, ..] = numbers.as_slice() else { return None };
    let bytes = |h: u64, w: u64, channels: u64| n * h * w * 4 * channels.next_multiple_of(4);
    Some(bytes(h, w, input) + bytes(h.div_ceil(stride), w.div_ceil(stride), output))
}

impl Card {
    /// Times every kernel of a pass.
    ///
    /// # Errors
    /// When the adapter has no clock or fails.
    pub(super) fn measure(
        args: &ModelArgs,
        model: &Model<GpuBackend>,
        clip: &HostTensor,
        estimation: &Estimation,
    ) -> Result<Self> {
        let b = &model.backend;
        let difference = difference(args, model, clip, estimation)?;
        let memory = b.memory();
        let peak = pollster::block_on(b.peak())?;
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            b.start_times()?;
            model.run(clip, estimation)?;
            passes.push(pollster::block_on(b.times())?);
        }
        let largest_pair = passes[0].iter().map(|timed| pair_bytes(&timed.work)).max().unwrap_or_default();
        let mut rows: BTreeMap<(&'static str, String), Row> = BTreeMap::new();
        let (mut total, mut floors) = (0.0, 0.0);
        for (index, timed) in passes[0].iter().enumerate() {
            let mut times: Vec<f64> =
                passes.iter().filter_map(|pass| Some(pass.get(index)?.nanoseconds)).collect();
            let time = super::median(&mut times);
            total += time;
            floors += peak.floor(&timed.work);
            let work = &timed.work;
            let row = rows.entry((work.kernel, work.detail.clone())).or_insert_with(|| Row {
                kernel: work.kernel,
                shape: work.detail.clone(),
                times: 0,
                ms: 0.0,
                // Sums, until all are known.
                gflops: 0.0,
                floor_share: 0.0,
            });
            row.times += 1;
            row.ms += time * 1e-6;
            row.gflops += work.operations as f64 * 1e-9;
            row.floor_share += peak.floor(work) * 1e-6;
        }
        let mut kernels: Vec<Row> = rows
            .into_values()
            .map(|row| Row {
                gflops: row.gflops / (row.ms * 1e-3).max(1e-9),
                floor_share: row.floor_share / row.ms.max(1e-9),
                ..row
            })
            .collect();
        kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        let Peak { operations, bytes } = peak;
        Ok(Self {
            adapter: b.adapter(),
            difference,
            peak_gflops: operations * 1e-9,
            bandwidth_gbs: bytes * 1e-9,
            weights_mb: memory.weights as f64 * 1e-6,
            activations_mb: memory.activations_peak as f64 * 1e-6,
            largest_pair_mb: largest_pair as f64 * 1e-6,
            kernels_ms: total * 1e-6,
            floor_share: floors / total.max(1.0),
            kernels,
        })
    }

    /// Prints it.
    ///
    /// # Errors
    /// When nobody reads it.
    pub(super) fn tell(&self) -> Result<()> {
        output::line(&format!(
            "  {}: {:.0} GFLOP/s and {:.1} GB/s at most",
            self.adapter, self.peak_gflops, self.bandwidth_gbs
        ))?;
        output::line(&format!(
            "  {:.1} MB weights; {:.1} MB activations, {:.2} times the largest input and output of a layer, {:.1} MB",
            self.weights_mb,
            self.activations_mb,
            self.activations_mb / self.largest_pair_mb,
            self.largest_pair_mb
        ))?;
        output::line(&format!("  scores within {:.1e} of the processor's", self.difference))?;
        output::line(&format!(
            "  kernels {:.2} ms, the floor is {:.0} % of that",
            self.kernels_ms,
            100.0 * self.floor_share
        ))?;
        for row in &self.kernels {
            output::line(&format!(
                "    {:9.3} ms {:3} x {:14} {:44} {:8.1} GFLOP/s {:4.0} % of the floor's speed",
                row.ms,
                row.times,
                row.kernel,
                row.shape,
                row.gflops,
                100.0 * row.floor_share
            ))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolutions_weights_are_no_activations() {
        let work = |detail: &str| Work { kernel: "any", detail: detail.to_owned(), operations: 0, bytes: 7 };
        let floats = 8 * 224 * 224 * 4 + 8 * 112 * 112 * 64;
        assert_eq!(pair_bytes(&work("7x7/2 3 to 64 at 8x224x224, direct")), 4 * floats);
        assert_eq!(pair_bytes(&work("[8, 56, 56, 64]")), 7);
        assert_eq!(pair_bytes(&work("7x28x28x64, patch 15")), 7);
    }
}
