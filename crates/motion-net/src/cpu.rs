//! The network's operations on the CPU: f32, channels-last, on candle's tensors, differentiable (it also trains),
//! natively on all cores and in WebAssembly on one.
//!
//! In: [`HostTensor`]s and parameters. Out: candle tensors whose graph leads gradients back to every candle
//! variable among the parameters. Where nothing is to be learnt no graph is kept and passes are fused.

/// Every way back begins with this: an error where this build has none. A branch on a constant, not a function that fails:
/// what stands behind it is not even compiled then.
macro_rules! learns {
    () => {
        if !$crate::cpu::LEARNS {
            return Err($crate::cpu::cannot_learn().into());
        }
    };
}

mod batch_norm;
mod conv2d;
mod correlation;
mod displacement;
mod epilogue;
mod gemm;
mod linear;
mod max_pool;
mod mean;
mod parallel;
mod temporal_shift;
mod unit_length;
mod values;

use std::sync::atomic::AtomicU64;

use candle_core::{Device, Tensor};

use crate::Result;
use crate::backend::{
    Activation, Backend, ConvInput, ConvParameters, ConvSpec, HostTensor, Match, one_by_one,
};
use crate::config::Estimation;
use crate::dropout;
use crate::plain::{self, activation, check_rows};
pub use conv2d::Conv;
use epilogue::AddActivate;
pub use linear::Linear;
use values::{tensor, values, zeros};

/// Whether there is a way back. The page that only looks is downloaded without it.
const LEARNS: bool = cfg!(feature = "learn");

fn cannot_learn() -> candle_core::Error {
    values::refuse("this build looks, and cannot learn: motion-net's feature `learn` is off")
}

/// Whether a gradient is wanted of what becomes of this.
fn learnt(tensor: &Tensor) -> bool {
    LEARNS && tensor.track_op()
}

/// The CPU.
#[derive(Debug, Default)]
pub struct CpuBackend {
    /// Where dropout's random numbers go on.
    dropout: AtomicU64,
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

impl Backend for CpuBackend {
    type Tensor = Tensor;
    type Parameter = Tensor;
    type Conv = Conv;
    type Linear = Linear;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn upload(&self, host: &HostTensor) -> Result<Tensor> {
        plain::upload(host.clone(), &Device::Cpu)
    }

    async fn read(&self, tensor: &Tensor) -> Result<HostTensor> {
        plain::read(tensor)
    }

    fn shape(&self, tensor: &Tensor) -> Vec<usize> {
        tensor.dims().to_vec()
    }

    fn parameter(&self, host: HostTensor) -> Result<Tensor> {
        plain::upload(host, &Device::Cpu)
    }

    fn conv(&self, spec: ConvSpec, parameters: ConvParameters<Tensor>) -> Result<Conv> {
        Conv::build(spec, parameters)
    }

    fn linear(&self, weight: Tensor, bias: Tensor) -> Result<Linear> {
        Linear::new(&weight, bias)
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
        plain::frame_pairs(x, frames)
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
        if learnt(first) || learnt(second) {
            return self.displacement(&self.correlation(first, second, estimation.patch)?, estimation);
        }
        displacement::match_frames(first, second, estimation)
    }

    fn repeat_last(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        plain::repeat_last(x, frames)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        plain::same_shape("add", a, b)?;
        Ok(a.contiguous()?.apply_op2(&b.contiguous()?, AddActivate(Activation::None))?)
    }

    fn multiply(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        if learnt(a) || learnt(b) {
            return plain::multiply(a, b);
        }
        plain::same_shape("multiply", a, b)?;
        let (a, b) = (a.contiguous()?, b.contiguous()?);
        let (first, second) = (values(&a)?, values(&b)?);
        let mut product = zeros(first.len())?;
        for ((product, first), second) in product.iter_mut().zip(&*first).zip(&*second) {
            *product = first * second;
        }
        Ok(tensor(product, a.dims())?)
    }

    fn concat(&self, parts: &[&Tensor]) -> Result<Tensor> {
        plain::concat(parts)
    }

    fn global_mean(&self, x: &Tensor) -> Result<Tensor> {
        let [n, h, w, c] = activation("global_mean", x)?;
        Ok(mean::middle_mean(&x.reshape((n, h * w, c))?)?)
    }

    fn dropout(&self, x: &Tensor, share: f32) -> Result<Tensor> {
        if share == 0.0 {
            return Ok(x.clone());
        }
        learns!();
        dropout::dropout(x, share, &self.dropout)
    }

    fn linear_forward(&self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        linear.forward(x)
    }

    fn frame_mean(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        let (count, classes) = check_rows(x, frames)?;
        Ok(mean::middle_mean(&x.reshape((count, frames, classes))?)?)
    }
}
