//! activation(norm(convolution(shift(x)) + bias + residual)): builds a layer, and picks how it runs.
//!
//! - Nothing to learn: the norm is folded into weight and bias once, and one pass does it all.
//! - To learn, stored statistics: the same fold, made at every run in operations that lead the gradient back.
//! - To learn, the batch's statistics: convolution and batch norm with its activation, one operation to the graph, for
//!   each tensor in it costs memory and another gradient.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Tensor};
use motion_kernels::{Gradient, Level, Limits, channels_last};

use super::batch_norm::{BatchNorm, moments};
use super::epilogue::{AddActivate, before, limits};
use super::temporal_shift;
use super::values::{filled, slice, tensor, values};
use crate::Result;
use crate::backend::{Activation, ConvInput, ConvParameters, ConvSpec, NormParameters, Statistics};
use crate::config::{BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM};
use crate::plain::{self, activation, check_conv, misshapen};

/// Lengths of one convolution, dense or depthwise.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    /// Frames, lines and columns that come in.
    size: [usize; 3],
    shape: motion_kernels::Shape,
}

impl Geometry {
    /// Length of the output's axes.
    fn out_shape(&self) -> [usize; 4] {
        let ([n, h, w], shape) = (self.size, self.shape);
        [n, shape.out(h), shape.out(w), shape.output]
    }

    /// Positions that go out, over all frames.
    fn positions(&self) -> usize {
        self.out_shape()[..3].iter().product()
    }
}

/// A convolution ready to run.
pub struct Conv {
    spec: ConvSpec,
    /// Norm folded in, weight packed: what inference runs on. Absent where something is to be learnt.
    ready: Option<Ready>,
    /// What it was made of, for the batch's statistics and for learning.
    weight: Tensor,
    bias: Tensor,
    norm: Option<NormParameters<Tensor>>,
}

/// Weight in a checkpoint's order, and bias `[C']`.
struct Folded {
    weight: Tensor,
    bias: Tensor,
}

/// A convolution of which nothing is to be learnt.
enum Ready {
    Dense(motion_kernels::Conv),
    Depthwise(motion_kernels::Depthwise),
}

impl Conv {
    /// Checks the parameters and folds what can be folded.
    pub(super) fn build(spec: ConvSpec, parameters: ConvParameters<Tensor>) -> Result<Self> {
        check_conv(spec, &parameters)?;
        let ConvParameters { weight, bias, norm } = parameters;
        let bias = bias.map_or_else(|| Tensor::zeros(spec.output, DType::F32, &Device::Cpu), Ok)?;
        let learnt = [&weight, &bias].into_iter().chain(norm.iter().flat_map(|n| [&n.scale, &n.shift]));
        let learnt = learnt.into_iter().any(super::learnt);
        let mut conv = Self { spec, ready: None, weight, bias, norm };
        if !learnt {
            conv.ready = Some(conv.pack()?);
        }
        Ok(conv)
    }

    fn shape(&self) -> motion_kernels::Shape {
        let ConvSpec { input, output, kernel, stride, .. } = self.spec;
        motion_kernels::Shape { input, output, kernel, stride }
    }

    /// What inference runs on: weight and bias as in [`Self::fold`], number by number.
    fn pack(&self) -> Result<Ready> {
        let of = |tensor: &Tensor| candle_core::Result::Ok(values(&tensor.contiguous()?)?.to_vec());
        let (mut weight, mut bias) = (of(&self.weight)?, of(&self.bias)?);
        if let Some(NormParameters { scale, shift, mean, variance }) = &self.norm {
            let (scale, shift, mean, variance) = (of(scale)?, of(shift)?, of(mean)?, of(variance)?);
            let filter = weight.len() / bias.len().max(1);
            for (o, (weight, bias)) in weight.chunks_exact_mut(filter.max(1)).zip(&mut bias).enumerate() {
                let factor = scale[o] / (variance[o] + BATCH_NORM_EPSILON as f32).sqrt();
                weight.iter_mut().for_each(|value| *value *= factor);
                *bias = (*bias - mean[o]) * factor + shift[o];
            }
        }
        let (ConvSpec { input, output, kernel, depthwise, .. }, shape) = (self.spec, self.shape());
        let taps = kernel * kernel;
        Ok(if depthwise {
            Ready::Depthwise(motion_kernels::Depthwise::new(
                shape,
                &channels_last(&weight, 1, input, taps),
                &bias,
            ))
        } else {
            Ready::Dense(motion_kernels::Conv::new(
                shape,
                &channels_last(&weight, output, input, taps),
                &bias,
            ))
        })
    }

    /// norm(w x + b) = w' x + b' with the stored statistics, in operations that lead the gradient back.
    fn fold(&self) -> Result<Folded> {
        let Some(norm) = &self.norm else {
            return Ok(Folded { weight: self.weight.contiguous()?, bias: self.bias.contiguous()? });
        };
        let deviation = (norm.variance.detach() + BATCH_NORM_EPSILON)?.sqrt()?;
        let factor = norm.scale.div(&deviation)?;
        let weight = self.weight.broadcast_mul(&factor.reshape((self.spec.output, 1, 1, 1))?)?;
        let bias = ((&self.bias - norm.mean.detach())? * &factor)?;
        Ok(Folded { weight, bias: (bias + &norm.shift)? })
    }

    /// `[N, H, W, C]` to `[N, H', W', C']`.
    pub(super) fn forward(&self, input: ConvInput<'_, Tensor>) -> Result<Tensor> {
        let channels = self.spec.input;
        let [n, h, w, c] = activation("conv2d", input.x)?;
        if c != channels {
            return Err(misshapen("conv2d", input.x, format!("[N, H, W, {channels}]")));
        }
        let geometry = Geometry { size: [n, h, w], shape: self.shape() };
        if let Some(residual) = input.residual
            && residual.dims() != geometry.out_shape()
        {
            return Err(misshapen("conv2d residual", residual, format!("{:?}", geometry.out_shape())));
        }
        let residual = input.residual.map(Tensor::contiguous).transpose()?;
        if let Some(frames) = input.shift {
            temporal_shift::check(input.x, frames)?;
        }
        // A dense one reads its input shifted, a depthwise one wants it so.
        let (x, shift) = match input.shift.filter(|_| self.spec.depthwise) {
            Some(frames) => (temporal_shift::temporal_shift(input.x, frames)?, None),
            None => (input.x.contiguous()?, input.shift),
        };
        if let Some(norm) = self.norm.as_ref().filter(|_| input.statistics == Statistics::Batch) {
            learns!();
            return self.with_batch_statistics(geometry, &x, shift, residual, norm);
        }
        let Some(ready) = self.ready(&input) else {
            learns!();
            return self.learn(geometry, &x, shift, residual);
        };
        let (x, residual) = (values(&x)?, residual.as_ref().map(values).transpose()?);
        let (size, limits) = (geometry.size, limits(self.spec.activation));
        let residual = residual.as_deref();
        let out = filled(geometry.out_shape().iter().product(), |out| match ready {
            Ready::Dense(conv) => {
                conv.run(motion_kernels::ConvInput { x: &x, size, shift, residual, limits }, out);
            }
            Ready::Depthwise(conv) => conv.run(&x, size, residual, limits, out),
        })?;
        Ok(tensor(out, &geometry.out_shape())?)
    }

    /// What runs where nothing is to be learnt.
    fn ready(&self, input: &ConvInput<'_, Tensor>) -> Option<&Ready> {
        let batch = self.norm.is_some() && input.statistics == Statistics::Batch;
        let tracked = [input.x].into_iter().chain(input.residual).any(super::learnt);
        self.ready.as_ref().filter(|_| !batch && !tracked)
    }

    /// The same where it is a pointwise convolution.
    fn ready_pointwise(&self, input: &ConvInput<'_, Tensor>) -> Option<&motion_kernels::Conv> {
        match self.ready(input)? {
            Ready::Dense(dense) if dense.is_pointwise() => Some(dense),
            _ => None,
        }
    }

    /// What is learnt from: with the stored statistics.
    fn learn(
        &self,
        geometry: Geometry,
        x: &Tensor,
        shift: Option<usize>,
        residual: Option<Tensor>,
    ) -> Result<Tensor> {
        let Folded { weight, bias } = self.fold()?;
        let convolution = self.convolution(geometry, shift, residual.is_some());
        self.add(x.apply_op3(&weight, &bias.contiguous()?, convolution)?, residual)
    }

    fn with_batch_statistics(
        &self,
        geometry: Geometry,
        x: &Tensor,
        shift: Option<usize>,
        residual: Option<Tensor>,
        norm: &NormParameters<Tensor>,
    ) -> Result<Tensor> {
        if geometry.positions() < 2 {
            return Err(misshapen(
                "batch norm",
                x,
                "more than one position over the batch to take statistics of; use a larger batch or picture",
            ));
        }
        let mut convolution = self.convolution(geometry, shift, residual.is_some());
        let weight = self.weight.contiguous()?;
        // The bias has no gradient, for the norm takes it away again.
        let sums = convolution.sums(&values(x)?, &values(&weight)?, &values(&self.bias)?, Limits::NONE)?;
        let moments = moments(&sums, geometry.shape.output);
        move_towards(&norm.mean, &moments.mean, 1.0)?;
        let positions = geometry.positions() as f64;
        move_towards(&norm.variance, &moments.variance, positions / (positions - 1.0))?;
        let scale_and_shift = Tensor::stack(&[&norm.scale, &norm.shift], 0)?.contiguous()?;
        convolution.norm = Some((sums, BatchNorm::new(&moments, convolution.activation)));
        self.add(x.apply_op3(&weight, &scale_and_shift, convolution)?, residual)
    }

    /// What the graph is to know; a residual comes before the activation.
    fn convolution(&self, geometry: Geometry, shift: Option<usize>, residual: bool) -> Convolution {
        let activation = if residual { Activation::None } else { self.spec.activation };
        Convolution { geometry, shift, depthwise: self.spec.depthwise, activation, norm: None }
    }

    fn add(&self, y: Tensor, residual: Option<Tensor>) -> Result<Tensor> {
        Ok(match residual {
            Some(residual) => y.apply_op2(&residual, AddActivate(self.spec.activation))?,
            None => y,
        })
    }
}

/// MobileNetV2's block in one go; `None` where these convolutions are none, or something is to be learnt.
pub(super) fn bottleneck(convs: &[&Conv], input: &ConvInput<'_, Tensor>) -> Result<Option<Tensor>> {
    let (expand, depthwise, project) = match *convs {
        [depthwise, project] => (None, depthwise, project),
        [expand, depthwise, project] => (Some(expand), depthwise, project),
        _ => return Ok(None),
    };
    let (Some(Ready::Depthwise(filters)), Some(projection)) =
        (depthwise.ready(input), project.ready_pointwise(input))
    else {
        return Ok(None);
    };
    let expansion = match expand.map(|expand| (expand.ready_pointwise(input), expand)) {
        None => None,
        Some((Some(dense), expand)) => Some((dense, limits(expand.spec.activation))),
        Some((None, _)) => return Ok(None),
    };
    let [n, h, w, c] = activation("bottleneck", input.x)?;
    let filtered = depthwise.shape();
    let shape = [n, filtered.out(h), filtered.out(w), project.spec.output];
    let fits = c == expand.unwrap_or(depthwise).spec.input
        && expand.is_none_or(|expand| expand.spec.output == depthwise.spec.input)
        && project.spec.input == depthwise.spec.output
        && input.residual.is_none_or(|residual| residual.dims() == shape)
        && (expand.is_some() || input.shift.is_none());
    if !fits {
        // It is refused where each of them runs.
        return Ok(None);
    }
    if let Some(frames) = input.shift {
        temporal_shift::check(input.x, frames)?;
    }
    let x = input.x.contiguous()?;
    let residual = input.residual.map(Tensor::contiguous).transpose()?;
    let (x, residual) = (values(&x)?, residual.as_ref().map(values).transpose()?);
    let block = motion_kernels::Bottleneck {
        expand: expansion,
        depthwise: (filters, limits(depthwise.spec.activation)),
        project: projection,
    };
    let input = motion_kernels::ConvInput {
        x: &x,
        size: [n, h, w],
        shift: input.shift,
        residual: residual.as_deref(),
        limits: limits(project.spec.activation),
    };
    Ok(Some(tensor(filled(shape.iter().product(), |out| block.run(input, out))?, &shape)?))
}

/// activation(convolution(shift(x), weight) + bias), or activation(norm(convolution(shift(x), weight))), with its way
/// back. Weight in a checkpoint's order; the third input is the bias `[C']`, or the norm's scale and shift `[2, C']`.
struct Convolution {
    geometry: Geometry,
    /// Frames of a clip whose channels are shifted.
    shift: Option<usize>,
    /// One filter per channel instead of one per pair of channels.
    depthwise: bool,
    activation: Activation,
    /// What the convolution gave, and the norm that follows.
    norm: Option<(Vec<f32>, BatchNorm)>,
}

impl Convolution {
    /// The convolution, its bias and what limits it.
    fn sums(&self, x: &[f32], weight: &[f32], bias: &[f32], limits: Limits) -> candle_core::Result<Vec<f32>> {
        let Geometry { size, shape } = self.geometry;
        filled(self.geometry.out_shape().iter().product(), |out| {
            if self.depthwise {
                let weight = channels_last(weight, 1, shape.input, shape.kernel * shape.kernel);
                motion_kernels::Depthwise::new(shape, &weight, bias).run(x, size, None, limits, out);
            } else {
                let input = motion_kernels::ConvInput { x, size, shift: self.shift, residual: None, limits };
                motion_kernels::Conv::once(Level::best(), shape, size, weight, bias).run(input, out);
            }
        })
    }

    /// Gradients of input and weight from that of the sums.
    fn back(
        &self,
        x: &Tensor,
        weight: &Tensor,
        gradient: Gradient<'_>,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let of_x = x.track_op().then(|| {
            let weight = values(weight)?;
            let out = filled(x.elem_count(), |out| match self.depthwise {
                true => gradient.depthwise_input(&weight, out),
                false => gradient.input(&weight, self.shift, out),
            })?;
            tensor(out, x.dims())
        });
        let of_weight = weight.track_op().then(|| {
            let x = values(x)?;
            let of_weight = match self.depthwise {
                true => gradient.depthwise_weight(&x),
                false => gradient.weight(&x, self.shift),
            };
            tensor(of_weight, weight.dims())
        });
        Ok((of_x.transpose()?, of_weight.transpose()?))
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        if self.depthwise { "depthwise" } else { "conv2d" }
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        third: &CpuStorage,
        third_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let third = slice(third, third_layout)?;
        let out = match &self.norm {
            Some((sums, norm)) => norm.forward(sums, third)?,
            None => {
                let (x, weight) = (slice(x, x_layout)?, slice(weight, weight_layout)?);
                self.sums(x, weight, third, limits(self.activation))?
            }
        };
        Ok((CpuStorage::F32(out), Shape::from(&self.geometry.out_shape()[..])))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        third: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        learns!();
        let Geometry { size, shape } = self.geometry;
        let gradient = |grad| Gradient { level: Level::best(), shape, size, grad };
        let of_third = |values| third.track_op().then(|| tensor(values, third.dims())).transpose();
        if let Some((sums, norm)) = &self.norm {
            let grad = grad.contiguous()?;
            let (of_sums, of_norm) = norm.backward(sums, &values(third)?, &values(&grad)?)?;
            let (of_x, of_weight) = self.back(x, weight, gradient(&of_sums))?;
            return Ok((of_x, of_weight, of_third(of_norm)?));
        }
        let grad = before(grad, y, self.activation)?;
        let grad = values(&grad)?;
        let (of_x, of_weight) = self.back(x, weight, gradient(&grad))?;
        Ok((of_x, of_weight, of_third(gradient(&grad).bias())?))
    }
}

/// The stored statistic moves a tenth of the way towards the batch's.
fn move_towards(stored: &Tensor, batch: &[f32], factor: f64) -> Result<()> {
    let variable = plain::stored(stored)?;
    let moved = {
        let now = values(stored)?;
        let moved = now.iter().zip(batch).map(|(now, batch)| {
            let (now, batch) = (f64::from(*now), f64::from(*batch) * factor);
            (now + BATCH_NORM_MOMENTUM * (batch - now)) as f32
        });
        tensor(moved.collect(), stored.dims())?
    };
    Ok(variable.set(&moved)?)
}
