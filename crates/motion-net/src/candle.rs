//! The network's operations in candle's own, on any device that candle knows: what trains on an NVIDIA card (`cuda`).
//!
//! Every operation is a composition of candle's, so that autograd leads back through all of it. On the CPU it is a
//! slow twin of [`crate::CpuBackend`], against which it is tested; on a card candle's kernels are fast, cuBLAS and, with
//! `cudnn`, cuDNN among them.

use std::sync::atomic::AtomicU64;

use candle_core::{Device, Tensor};

use crate::backend::{
    Activation, Backend, ConvInput, ConvParameters, ConvSpec, HostTensor, Match, NormParameters, Statistics,
};
use crate::config::{
    BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, Estimation, Estimator, SHIFT_DIVISOR, UNIT_LENGTH_EPSILON,
};
use crate::plain::{
    self, Linear, activation, check_conv, check_rows, check_scores, check_search, clips, misshapen,
};
use crate::{CpuBackend, Result, dropout};

/// A backend that trains: its activations and parameters are candle's tensors, and gradients go back through all of its
/// operations to candle's variables.
pub trait Training: Backend<Tensor = Tensor, Parameter = Tensor, Conv: Sync, Linear: Sync> + Sync {
    /// Where its tensors lie.
    fn device(&self) -> &Device;
    /// The same, with dropout's random numbers from this seed.
    #[must_use]
    fn seeded(&self, seed: u64) -> Self;
}

impl Training for CpuBackend {
    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn seeded(&self, seed: u64) -> Self {
        Self::with_seed(seed)
    }
}

/// A device of candle's.
#[derive(Debug)]
pub struct CandleBackend {
    device: Device,
    /// Where dropout's random numbers go on.
    dropout: AtomicU64,
}

impl CandleBackend {
    /// This device, with dropout's random numbers from their beginning.
    pub fn new(device: Device) -> Self {
        Self { device, dropout: AtomicU64::default() }
    }

    /// The first NVIDIA card.
    ///
    /// # Errors
    /// [`crate::Error::Backend`] when there is none, or this program was built without the `cuda` feature.
    pub fn cuda() -> Result<Self> {
        Ok(Self::new(Device::new_cuda(0)?))
    }
}

impl Training for CandleBackend {
    fn device(&self) -> &Device {
        &self.device
    }

    fn seeded(&self, seed: u64) -> Self {
        Self { device: self.device.clone(), dropout: AtomicU64::new(dropout::mix(seed)) }
    }
}

/// A convolution ready to run.
pub struct Conv {
    spec: ConvSpec,
    weight: Tensor,
    bias: Option<Tensor>,
    norm: Option<NormParameters<Tensor>>,
}

impl Conv {
    /// Without bias, norm and what follows.
    fn sums(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let ConvSpec { output, kernel, stride, depthwise, .. } = self.spec;
        if depthwise {
            return self.depthwise(x);
        }
        if kernel > 1 {
            let x = x.permute((0, 3, 1, 2))?.contiguous()?;
            return x.conv2d(&self.weight, kernel / 2, stride, 1, 1)?.permute((0, 2, 3, 1))?.contiguous();
        }
        let x = every(&every(x, 1, stride)?, 2, stride)?;
        let (n, h, w, c) = x.dims4()?;
        let weight = self.weight.reshape((output, c))?;
        x.reshape((n * h * w, c))?.matmul(&weight.t()?)?.reshape((n, h, w, output))
    }

    /// One tap after the other, each times its own weight of every channel: candle runs a convolution in groups group
    /// by group.
    fn depthwise(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let ConvSpec { output, kernel, stride, .. } = self.spec;
        let (_, h, w, _) = x.dims4()?;
        let [out_h, out_w] = [h, w].map(|length| (length - 1) / stride + 1);
        let (before, after) = (kernel / 2, kernel / 2 + stride - 1);
        let x = x.pad_with_zeros(1, before, after)?.pad_with_zeros(2, before, after)?;
        // [taps, C].
        let weight = self.weight.reshape((output, kernel * kernel))?.t()?.contiguous()?;
        let mut sum: Option<Tensor> = None;
        for tap in 0..kernel * kernel {
            let lines = x.narrow(1, tap / kernel, out_h * stride)?;
            let seen = every(&every(&lines, 1, stride)?.narrow(2, tap % kernel, out_w * stride)?, 2, stride)?;
            let part = seen.broadcast_mul(&weight.get(tap)?)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => (sum + part)?,
            });
        }
        sum.ok_or_else(|| candle_core::Error::Msg("a kernel without taps".into()))
    }
}

/// Every `stride`-th element along an axis, from the first.
fn every(x: &Tensor, axis: usize, stride: usize) -> candle_core::Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    let count = dims[axis].div_ceil(stride);
    let x = x.pad_with_zeros(axis, 0, count * stride - dims[axis])?;
    dims[axis] = count;
    dims.insert(axis + 1, stride);
    x.reshape(dims)?.narrow(axis + 1, 0, 1)?.squeeze(axis + 1)?.contiguous()
}

/// Mean over all positions, `[N, H, W, C]` to `[C]`, as a product with ones: cuBLAS adds long columns up faster.
fn channel_mean(x: &Tensor) -> candle_core::Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let positions = n * h * w;
    let share = Tensor::full(1.0 / positions as f32, (1, positions), x.device())?;
    share.matmul(&x.reshape((positions, c))?)?.squeeze(0)
}

impl NormParameters<Tensor> {
    fn forward(&self, x: &Tensor, statistics: Statistics) -> Result<Tensor> {
        let (centred, variance) = match statistics {
            Statistics::Running => (x.broadcast_sub(&self.mean.detach())?, self.variance.detach()),
            Statistics::Batch => {
                let [n, h, w, _] = activation("batch norm", x)?;
                let positions = (n * h * w) as f64;
                if positions < 2.0 {
                    return Err(misshapen(
                        "batch norm",
                        x,
                        "more than one position over the batch to take statistics of; use a larger batch or picture",
                    ));
                }
                let mean = channel_mean(x)?;
                let centred = x.broadcast_sub(&mean)?;
                let variance = channel_mean(&centred.sqr()?)?;
                move_towards(&self.mean, &mean)?;
                move_towards(&self.variance, &(variance.detach() * (positions / (positions - 1.0)))?)?;
                (centred, variance)
            }
        };
        let factor = self.scale.div(&(variance + BATCH_NORM_EPSILON)?.sqrt()?)?;
        Ok(centred.broadcast_mul(&factor)?.broadcast_add(&self.shift)?)
    }
}

/// The stored statistic moves a tenth of the way towards the batch's.
fn move_towards(stored: &Tensor, batch: &Tensor) -> Result<()> {
    let (variable, now) = (plain::stored(stored)?, stored.detach());
    let moved = (&now + ((batch.detach() - &now)? * BATCH_NORM_MOMENTUM)?)?;
    Ok(variable.set(&moved)?)
}

/// Moves `channels` of whole clips, `[B, T, ...]`, by a frame: what comes in at the end is zero.
fn moved(x: &Tensor, forward: bool) -> candle_core::Result<Tensor> {
    let frames = x.dim(1)?;
    match forward {
        true => x.narrow(1, 0, frames - 1)?.pad_with_zeros(1, 1, 0),
        false => x.narrow(1, 1, frames - 1)?.pad_with_zeros(1, 0, 1),
    }
}

/// For each position of a map of (h, w) cells and each cell of its window the position that it lies on, or h * w outside
/// the map: `[h * w, P * P]`.
fn neighbours(h: usize, w: usize, patch: usize, device: &Device) -> candle_core::Result<Tensor> {
    let radius = patch / 2;
    let at = |i: usize| {
        let (position, cell) = (i / (patch * patch), i % (patch * patch));
        let (y, x) = (position / w + cell / patch, position % w + cell % patch);
        let inside = (radius..h + radius).contains(&y) && (radius..w + radius).contains(&x);
        if inside { ((y - radius) * w + x - radius) as u32 } else { (h * w) as u32 }
    };
    Tensor::from_vec((0..h * w * patch * patch).map(at).collect(), (h * w, patch * patch), device)
}

/// dx and dy of each cell of a window from its centre, in units of the radius: `[P * P, 2]`.
fn offsets(patch: usize, device: &Device) -> candle_core::Result<Tensor> {
    let radius = (patch / 2) as f32;
    let offset = |i: usize| [(i % patch) as f32 / radius - 1.0, (i / patch) as f32 / radius - 1.0];
    Tensor::from_vec((0..patch * patch).flat_map(offset).collect(), (patch * patch, 2), device)
}

/// The Gaussian around each cell of a window: `[P * P, P * P]`.
fn gaussians(patch: usize, sigma: f64, device: &Device) -> candle_core::Result<Tensor> {
    let area = patch * patch;
    let at = |i: usize| {
        let (centre, cell) = (i / area, i % area);
        let square = |a: usize, b: usize| (a as f64 - b as f64).powi(2);
        let distance = square(centre / patch, cell / patch) + square(centre % patch, cell % patch);
        (-distance / (2.0 * sigma * sigma)).exp() as f32
    };
    Tensor::from_vec((0..area * area).map(at).collect(), (area, area), device)
}

impl Backend for CandleBackend {
    type Tensor = Tensor;
    type Parameter = Tensor;
    type Conv = Conv;
    type Linear = Linear;

    fn name(&self) -> &'static str {
        if self.device.is_cuda() { "cuda" } else { "candle" }
    }

    fn upload(&self, host: &HostTensor) -> Result<Tensor> {
        plain::upload(host.clone(), &self.device)
    }

    async fn read(&self, tensor: &Tensor) -> Result<HostTensor> {
        plain::read(tensor)
    }

    fn shape(&self, tensor: &Tensor) -> Vec<usize> {
        tensor.dims().to_vec()
    }

    fn parameter(&self, host: HostTensor) -> Result<Tensor> {
        plain::upload(host, &self.device)
    }

    fn conv(&self, spec: ConvSpec, parameters: ConvParameters<Tensor>) -> Result<Conv> {
        check_conv(spec, &parameters)?;
        let ConvParameters { weight, bias, norm } = parameters;
        Ok(Conv { spec, weight, bias, norm })
    }

    fn linear(&self, weight: Tensor, bias: Tensor) -> Result<Linear> {
        Linear::new(&weight, bias)
    }

    fn conv2d(&self, conv: &Conv, input: ConvInput<'_, Tensor>) -> Result<Tensor> {
        let ConvSpec { input: channels, activation: limit, .. } = conv.spec;
        if activation("conv2d", input.x)?[3] != channels {
            return Err(misshapen("conv2d", input.x, format!("[N, H, W, {channels}]")));
        }
        let mut y = match input.shift {
            Some(frames) => conv.sums(&self.temporal_shift(input.x, frames)?)?,
            None => conv.sums(input.x)?,
        };
        if let Some(bias) = &conv.bias {
            y = y.broadcast_add(bias)?;
        }
        if let Some(norm) = &conv.norm {
            y = norm.forward(&y, input.statistics)?;
        }
        if let Some(residual) = input.residual {
            y = plain::add(residual, &y)?;
        }
        Ok(match limit {
            Activation::None => y,
            Activation::Relu => y.relu()?,
            // Two of the one: its gradient at 0 is 0, as everywhere else.
            Activation::Relu6 => (y.relu()? - (y - 6.0)?.relu()?)?,
        })
    }

    fn max_pool(&self, x: &Tensor) -> Result<Tensor> {
        let [_, h, w, _] = activation("max_pool", x)?;
        // What stands at the border stands beyond it, too: it is in the window already.
        let x = x.pad_with_same(1, 1, 2)?.pad_with_same(2, 1, 2)?;
        let largest = |axis: usize, x: &Tensor, length: usize| -> candle_core::Result<Tensor> {
            let [first, second, third] =
                [0, 1, 2].map(|from| every(&x.narrow(axis, from, 2 * length.div_ceil(2))?, axis, 2));
            first?.maximum(&second?)?.maximum(&third?)
        };
        Ok(largest(2, &largest(1, &x, h)?, w)?)
    }

    fn temporal_shift(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        let [n, h, w, c] = activation("temporal_shift", x)?;
        let count = clips("temporal_shift", x, frames)?;
        if !c.is_multiple_of(SHIFT_DIVISOR) {
            return Err(misshapen("temporal_shift", x, format!("a multiple of {SHIFT_DIVISOR} channels")));
        }
        let fold = c / SHIFT_DIVISOR;
        let x = x.reshape((count, frames, h * w, c))?;
        let next = moved(&x.narrow(3, 0, fold)?, false)?;
        let before = moved(&x.narrow(3, fold, fold)?, true)?;
        Ok(Tensor::cat(&[next, before, x.narrow(3, 2 * fold, c - 2 * fold)?], 3)?.reshape((n, h, w, c))?)
    }

    fn unit_length(&self, x: &Tensor) -> Result<Tensor> {
        activation("unit_length", x)?;
        Ok(x.broadcast_div(&(x.sqr()?.sum_keepdim(3)? + UNIT_LENGTH_EPSILON)?.sqrt()?)?)
    }

    fn frame_pairs(&self, x: &Tensor, frames: usize) -> Result<(Tensor, Tensor)> {
        plain::frame_pairs(x, frames)
    }

    /// All pairs of positions in one product, and of each its window.
    fn correlation(&self, first: &Tensor, second: &Tensor, patch: usize) -> Result<Tensor> {
        let [n, h, w, c] = check_search("correlation", first, second, patch)?;
        let [first, second] = [first, second].map(|x| x.reshape((n, h * w, c)));
        // What lies outside is the last.
        let products = first?.matmul(&second?.t()?)?.pad_with_zeros(2, 0, 1)?;
        let window = neighbours(h, w, patch, &self.device)?.unsqueeze(0)?;
        let window = window.broadcast_as((n, h * w, patch * patch))?.contiguous()?;
        Ok(products.gather(&window, 2)?.relu()?.reshape((n, h, w, patch * patch))?)
    }

    fn displacement(&self, scores: &Tensor, estimation: &Estimation) -> Result<Match<Tensor>> {
        estimation.check()?;
        let Estimation { patch, estimator, sigma, temperature, .. } = *estimation;
        let [n, h, w] = check_scores(scores, patch)?;
        let scores = scores.reshape((n * h * w, patch * patch))?;
        let argmax = scores.detach().argmax_keepdim(1)?;
        let confidence = scores.gather(&argmax, 1)?;
        let weighed = match estimator {
            Estimator::Soft => scores,
            Estimator::Kernel => {
                (scores * gaussians(patch, sigma, &self.device)?.index_select(&argmax.flatten_all()?, 0)?)?
            }
        };
        // Against its largest, so that no exponential is infinite; a constant to the gradient.
        let weighed = weighed.broadcast_sub(&weighed.detach().max_keepdim(1)?)?;
        let terms = (weighed * (1.0 / temperature).min(1e30))?.exp()?;
        let probability = terms.broadcast_div(&terms.sum_keepdim(1)?)?;
        let displacement = probability.matmul(&offsets(patch, &self.device)?)?;
        Ok(Match {
            displacement: displacement.reshape((n, h, w, 2))?,
            confidence: confidence.reshape((n, h, w, 1))?,
            argmax: argmax.to_dtype(candle_core::DType::F32)?.reshape((n, h, w, 1))?,
        })
    }

    fn repeat_last(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        plain::repeat_last(x, frames)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        plain::add(a, b)
    }

    fn multiply(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        plain::multiply(a, b)
    }

    fn concat(&self, parts: &[&Tensor]) -> Result<Tensor> {
        plain::concat(parts)
    }

    fn global_mean(&self, x: &Tensor) -> Result<Tensor> {
        activation("global_mean", x)?;
        Ok(x.mean((1, 2))?)
    }

    fn dropout(&self, x: &Tensor, share: f32) -> Result<Tensor> {
        dropout::dropout(x, share, &self.dropout)
    }

    fn linear_forward(&self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        linear.forward(x)
    }

    fn frame_mean(&self, x: &Tensor, frames: usize) -> Result<Tensor> {
        let (count, classes) = check_rows(x, frames)?;
        Ok(x.reshape((count, frames, classes))?.mean(1)?)
    }
}
