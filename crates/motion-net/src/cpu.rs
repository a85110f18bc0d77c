//! The network's operations on the CPU: f32, channels-last, on candle's tensors, differentiable (it also trains),
//! natively on all cores and in WebAssembly on one.
//!
//! In: [`HostTensor`]s and parameters. Out: candle tensors whose graph leads gradients back to every candle
//! variable among the parameters. Where nothing is to be learnt no graph is kept and passes are fused.

mod batch_norm;
mod conv2d;
mod correlation;
mod displacement;
mod dropout;
mod epilogue;
mod gemm;
mod max_pool;
mod mean;
mod parallel;
mod temporal_shift;
mod unit_length;
mod values;

use std::sync::atomic::AtomicU64;

use candle_core::{D, Device, Tensor};

use crate::backend::{Backend, ConvInput, ConvParameters, ConvSpec, HostTensor, Match, one_by_one};
use crate::config::Estimation;
use crate::{Error, Result};
pub use conv2d::Conv;
use values::{activation, clips, misshapen};

/// The CPU.
#[derive(Debug, Default)]
pub struct CpuBackend {
    /// Where dropout's random numbers go on.
    dropout: AtomicU64,
}

/// A linear layer ready to run.
pub struct Linear {
    /// `[C, K]`.
    weight: Tensor,
    bias: Tensor,
}

impl CpuBackend {
    /// The CPU, with dropout's random numbers from their beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// The CPU, with dropout's random numbers from this seed.
    pub fn with_seed(seed: u64) -> Self {
        Self { dropout: AtomicU64::new(dropout::mix(seed)) }
    }

    /// Threads that an operation is shared among.
    pub fn threads(&self) -> usize {
        motion_kernels::threads()
    }
}

fn failed(message: impl Into<String>) -> Error {
    Error::Backend { backend: "cpu", message: message.into() }
}

fn same_shape(operation: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() != b.dims() {
        return Err(misshapen(operation, b, format!("{:?}, as the first", a.dims())));
    }
    Ok(())
}

impl Backend for CpuBackend {
    type Tensor = Tensor;
    type Parameter = Tensor;
    type Conv = Conv;
    type Linear = Linear;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn upload(&self, host: &HostTensor) -> Result<Tensor> {
        // Checked again: its fields are public.
        let HostTensor { shape, data } = HostTensor::new(host.shape.clone(), host.data.clone())?;
        Ok(Tensor::from_vec(data, shape, &Device::Cpu)?)
    }

    async fn read(&self, tensor: &Tensor) -> Result<HostTensor> {
        HostTensor::new(tensor.dims(), tensor.flatten_all()?.to_vec1()?)
    }

    fn shape(&self, tensor: &Tensor) -> Vec<usize> {
        tensor.dims().to_vec()
    }

    fn parameter(&self, host: HostTensor) -> Result<Tensor> {
        let HostTensor { shape, data } = HostTensor::new(host.shape, host.data)?;
        Ok(Tensor::from_vec(data, shape, &Device::Cpu)?)
    }

    fn conv(&self, spec: ConvSpec, parameters: ConvParameters<Tensor>) -> Result<Conv> {
        Conv::build(spec, parameters)
    }

    fn linear(&self, weight: Tensor, bias: Tensor) -> Result<Linear> {
        let [outputs, _] = *weight.dims() else {
            return Err(misshapen("linear weight", &weight, "[output, input]"));
        };
        if bias.dims() != [outputs] {
            return Err(misshapen("linear bias", &bias, format!("[{outputs}]")));
        }
        Ok(Linear { weight: weight.t()?, bias })
    }

    fn conv2d(&self, conv: &Conv, input: ConvInput<'_, Tensor>) -> Result<Tensor> {
        conv.forward(input)
    }

    fn conv_chain(&self, convs: &[&Conv], input: ConvInput<'_, Tensor>) -> Result<Tensor> {
        match conv2d::bottleneck(convs, &input)? {
            Some(y) => Ok(y),
            None => one_by_one(self, convs, input),
        }
    }

    fn max_pool(&self, x: &Tensor) -> Result<Tensor> {
        max_pool::max_pool(x)
    }

    fn temporal_shift(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        temporal_shift::temporal_shift(x, frames)
    }

    fn unit_length(&self, x: &Tensor) -> Result<Tensor> {
        unit_length::unit_length(x)
    }

    fn frame_pairs(&self, x: &Tensor, frames: usize) -> Result<(Tensor, Tensor)> {
        let [n, h, w, c] = activation("frame_pairs", x)?;
        if frames < 2 {
            return Err(misshapen("frame_pairs", x, format!("clips of at least 2 frames, not {frames}")));
        }
        let count = clips("frame_pairs", x, frames)?;
        let by_clip = x.reshape((count, frames, h * w * c))?;
        let from = |first| by_clip.narrow(1, first, frames - 1)?.contiguous()?.reshape((n - count, h, w, c));
        Ok((from(0)?, from(1)?))
    }

    fn correlation(&self, first: &Tensor, second: &Tensor, patch: usize) -> Result<Tensor> {
        correlation::correlation(first, second, patch)
    }

    fn displacement(&self, scores: &Tensor, estimation: &Estimation) -> Result<Match<Tensor>> {
        displacement::displacement(scores, estimation)
    }

    fn match_frames(
        &self,
        first: &Tensor,
        second: &Tensor,
        estimation: &Estimation,
    ) -> Result<Match<Tensor>> {
        if first.track_op() || second.track_op() {
            return self.displacement(&self.correlation(first, second, estimation.patch)?, estimation);
        }
        displacement::match_frames(first, second, estimation)
    }

    fn repeat_last(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        let [_, h, w, c] = activation("repeat_last", x)?;
        let pairs = frames.saturating_sub(1);
        let count = clips("repeat_last", x, pairs)?;
        let by_clip = x.reshape((count, pairs, h * w * c))?;
        let last = by_clip.narrow(1, pairs - 1, 1)?;
        Ok(Tensor::cat(&[&by_clip, &last], 1)?.reshape((count * frames, h, w, c))?)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        same_shape("add", a, b)?;
        Ok((a + b)?)
    }

    fn multiply(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        same_shape("multiply", a, b)?;
        Ok((a * b)?)
    }

    fn concat(&self, parts: &[&Tensor]) -> Result<Tensor> {
        let Some(first) = parts.first() else { return Err(failed("concat of nothing")) };
        let [n, h, w, _] = activation("concat", first)?;
        for part in parts {
            let [n_, h_, w_, _] = activation("concat", part)?;
            if [n, h, w] != [n_, h_, w_] {
                return Err(misshapen("concat", part, format!("[{n}, {h}, {w}, C], as the first")));
            }
        }
        Ok(Tensor::cat(parts, D::Minus1)?)
    }

    fn global_mean(&self, x: &Tensor) -> Result<Tensor> {
        let [n, h, w, c] = activation("global_mean", x)?;
        Ok(mean::middle_mean(&x.reshape((n, h * w, c))?)?)
    }

    fn dropout(&self, x: &Tensor, share: f32) -> Result<Tensor> {
        dropout::dropout(x, share, &self.dropout)
    }

    fn linear_forward(&self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        let inputs = linear.weight.dims()[0];
        if !matches!(*x.dims(), [n, c] if n > 0 && c == inputs) {
            return Err(misshapen("linear", x, format!("[N, {inputs}]")));
        }
        Ok(x.matmul(&linear.weight)?.broadcast_add(&linear.bias)?)
    }

    fn frame_mean(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        let [_, classes] = *x.dims() else {
            return Err(misshapen("frame_mean", x, "[B*T, K]"));
        };
        let count = clips("frame_mean", x, frames)?;
        Ok(mean::middle_mean(&x.reshape((count, frames, classes))?)?)
    }
}
