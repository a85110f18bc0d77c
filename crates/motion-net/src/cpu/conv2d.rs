//! activation(norm(convolution(shift(x)) + bias + residual)): builds a layer, and picks how it runs.
//!
//! - Nothing to learn: the norm is folded into weight and bias once, and one pass does it all.
//! - To learn, stored statistics: the same fold, made at every run in operations that lead the gradient back.
//! - To learn, the batch's statistics: convolution, then batch norm with its activation.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Tensor, Var};

use super::batch_norm::{BatchNorm, moments};
use super::dense::{self, Geometry};
use super::depthwise;
use super::epilogue::{AddActivate, before, limits};
use super::values::{activation, filled, misshapen, slice, tensor, values};
use super::{failed, temporal_shift};
use crate::backend::{Activation, ConvInput, ConvParameters, ConvSpec, NormParameters, Statistics};
use crate::config::{BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM};
use crate::{Error, Result};

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

/// Weight `[C', k, k, C]`, or `[k, k, C]` for a depthwise one, and bias `[C']`.
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
        let ConvSpec { input, output, kernel, stride, depthwise, .. } = spec;
        let ConvParameters { weight, bias, norm } = parameters;
        if input * output * stride == 0 || kernel.is_multiple_of(2) || (depthwise && input != output) {
            return Err(misshapen(
                "conv",
                &weight,
                format!(
                    "an odd kernel, a stride and channel counts above 0, and as many channels out as in if \
                     depthwise; the layer asks for kernel {kernel}, stride {stride}, {input} to {output} channels"
                ),
            ));
        }
        let expected = [output, if depthwise { 1 } else { input }, kernel, kernel];
        if weight.dims() != expected || weight.dtype() != DType::F32 {
            return Err(misshapen("conv weight", &weight, format!("{expected:?} in f32")));
        }
        let norms = norm.iter().flat_map(|norm| {
            [
                ("conv norm scale", &norm.scale),
                ("conv norm shift", &norm.shift),
                ("conv norm mean", &norm.mean),
                ("conv norm variance", &norm.variance),
            ]
        });
        for (name, vector) in bias.iter().map(|bias| ("conv bias", bias)).chain(norms) {
            if vector.dims() != [output] || vector.dtype() != DType::F32 {
                return Err(misshapen(name, vector, format!("[{output}] in f32")));
            }
        }
        let bias = bias.map_or_else(|| Tensor::zeros(output, DType::F32, &Device::Cpu), Ok)?;
        let learnt = [&weight, &bias].into_iter().chain(norm.iter().flat_map(|n| [&n.scale, &n.shift]));
        let learnt = learnt.into_iter().any(Tensor::track_op);
        let mut conv = Self { spec, ready: None, weight, bias, norm };
        if !learnt {
            conv.ready = Some(conv.pack()?);
        }
        Ok(conv)
    }

    /// What inference runs on.
    fn pack(&self) -> Result<Ready> {
        let Folded { weight, bias } = self.fold()?;
        let (weight, bias) = (values(&weight)?, values(&bias)?);
        let ConvSpec { input, output, kernel, stride, depthwise, .. } = self.spec;
        let shape = motion_kernels::Shape { input, output, kernel, stride };
        Ok(match depthwise {
            true => Ready::Depthwise(motion_kernels::Depthwise::new(shape, &weight, &bias)),
            false => Ready::Dense(motion_kernels::Conv::new(shape, &weight, &bias)),
        })
    }

    /// The weight with its channels last.
    fn packed(&self, weight: &Tensor) -> Result<Tensor> {
        let ConvSpec { input, output, kernel, depthwise, .. } = self.spec;
        Ok(match (depthwise, kernel) {
            (true, _) => weight.reshape((output, kernel * kernel))?.t()?.contiguous()?,
            (false, 1) => weight.reshape((output, input))?,
            (false, _) => weight.permute((0, 2, 3, 1))?.contiguous()?,
        })
    }

    /// norm(w x + b) = w' x + b' with the stored statistics.
    fn fold(&self) -> Result<Folded> {
        let Some(norm) = &self.norm else {
            return Ok(Folded { weight: self.packed(&self.weight)?, bias: self.bias.clone() });
        };
        let deviation = (norm.variance.detach() + BATCH_NORM_EPSILON)?.sqrt()?;
        let factor = norm.scale.div(&deviation)?;
        let weight = self.weight.broadcast_mul(&factor.reshape((self.spec.output, 1, 1, 1))?)?;
        let bias = ((&self.bias - norm.mean.detach())? * &factor)?;
        Ok(Folded { weight: self.packed(&weight)?, bias: (bias + &norm.shift)? })
    }

    /// `[N, H, W, C]` to `[N, H', W', C']`.
    pub(super) fn forward(&self, input: ConvInput<'_, Tensor>) -> Result<Tensor> {
        let ConvSpec { input: channels, output, kernel, stride, .. } = self.spec;
        let [n, h, w, c] = activation("conv2d", input.x)?;
        if c != channels {
            return Err(misshapen("conv2d", input.x, format!("[N, H, W, {channels}]")));
        }
        let geometry = Geometry { n, h, w, input: channels, output, kernel, stride };
        if let Some(residual) = input.residual
            && residual.dims() != geometry.out_shape()
        {
            return Err(misshapen("conv2d residual", residual, format!("{:?}", geometry.out_shape())));
        }
        let residual = input.residual.map(Tensor::contiguous).transpose()?;
        let shifted = |x: &Tensor| match input.shift {
            Some(frames) => temporal_shift::temporal_shift(x, frames),
            None => Ok(x.contiguous()?),
        };
        if let Some(norm) = self.norm.as_ref().filter(|_| input.statistics == Statistics::Batch) {
            return self.with_batch_statistics(geometry, &shifted(input.x)?, residual, norm);
        }
        let Some(ready) = self.ready(&input) else {
            return self.run(geometry, &shifted(input.x)?, residual, &self.fold()?);
        };
        let residual = residual.as_ref().map(values).transpose()?;
        let (size, limits) = ([n, h, w], limits(self.spec.activation));
        let length = geometry.out_shape().iter().product();
        let out = match ready {
            Ready::Dense(conv) => {
                if let Some(frames) = input.shift {
                    temporal_shift::check(input.x, frames)?;
                }
                let x = input.x.contiguous()?;
                let (x, shift, residual) = (values(&x)?, input.shift, residual.as_deref());
                let input = motion_kernels::ConvInput { x: &x, size, shift, residual, limits };
                filled(length, |out| conv.run(input, out))?
            }
            Ready::Depthwise(conv) => {
                let x = shifted(input.x)?;
                let x = values(&x)?;
                filled(length, |out| conv.run(&x, size, residual.as_deref(), limits, out))?
            }
        };
        Ok(tensor(out, &geometry.out_shape())?)
    }

    /// What runs where nothing is to be learnt.
    fn ready(&self, input: &ConvInput<'_, Tensor>) -> Option<&Ready> {
        let batch = self.norm.is_some() && input.statistics == Statistics::Batch;
        let tracked = [input.x].into_iter().chain(input.residual).any(Tensor::track_op);
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
    fn run(
        &self,
        geometry: Geometry,
        x: &Tensor,
        residual: Option<Tensor>,
        folded: &Folded,
    ) -> Result<Tensor> {
        let inner = if residual.is_some() { Activation::None } else { self.spec.activation };
        let sum = self.convolve(geometry, inner, x, folded)?;
        Ok(match residual {
            Some(residual) => sum.apply_op2(&residual, AddActivate(self.spec.activation))?,
            None => sum,
        })
    }

    fn convolve(
        &self,
        geometry: Geometry,
        activation: Activation,
        x: &Tensor,
        folded: &Folded,
    ) -> Result<Tensor> {
        let Folded { weight, bias } = folded;
        let bias = bias.contiguous()?;
        let depthwise = self.spec.depthwise;
        Ok(x.apply_op3(weight, &bias, Convolution { geometry, activation, depthwise })?)
    }

    fn with_batch_statistics(
        &self,
        geometry: Geometry,
        x: &Tensor,
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
        let plain = Folded { weight: self.packed(&self.weight)?, bias: self.bias.clone() };
        let sum = self.convolve(geometry, Activation::None, x, &plain)?;
        let moments = moments(&values(&sum)?, geometry.output);
        move_towards(&norm.mean, &moments.mean, 1.0)?;
        let positions = geometry.positions() as f64;
        move_towards(&norm.variance, &moments.variance, positions / (positions - 1.0))?;
        let activation = self.spec.activation;
        let inner = if residual.is_some() { Activation::None } else { activation };
        let (scale, shift) = (norm.scale.contiguous()?, norm.shift.contiguous()?);
        let y = sum.apply_op3(&scale, &shift, BatchNorm::new(&moments, inner))?;
        Ok(match residual {
            Some(residual) => y.apply_op2(&residual, AddActivate(activation))?,
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
    let ConvSpec { kernel, stride, .. } = depthwise.spec;
    let geometry = Geometry { n, h, w, input: c, output: project.spec.output, kernel, stride };
    let shape = geometry.out_shape();
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

/// activation(convolution(x, weight) + bias) with its way back.
struct Convolution {
    geometry: Geometry,
    /// What follows the bias.
    activation: Activation,
    /// One filter per channel instead of one per pair of channels.
    depthwise: bool,
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
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let convolve = if self.depthwise { depthwise::convolve } else { dense::convolve };
        let out = convolve(
            self.geometry,
            slice(x, x_layout)?,
            slice(weight, weight_layout)?,
            slice(bias, bias_layout)?,
            self.activation,
        )?;
        Ok((CpuStorage::F32(out), Shape::from(&self.geometry.out_shape()[..])))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let input_gradient = if self.depthwise { depthwise::input_gradient } else { dense::input_gradient };
        let weight_gradient =
            if self.depthwise { depthwise::weight_gradient } else { dense::weight_gradient };
        let grad = before(grad, y, self.activation)?;
        let grad = values(&grad)?;
        let of = |wanted: &Tensor, work: &dyn Fn() -> candle_core::Result<Vec<f32>>| {
            wanted.track_op().then(|| tensor(work()?, wanted.dims())).transpose()
        };
        Ok((
            of(x, &|| input_gradient(self.geometry, &values(weight)?, &grad))?,
            of(weight, &|| Ok(weight_gradient(self.geometry, &values(x)?, &grad)))?,
            of(bias, &|| Ok(dense::bias_gradient(self.geometry.output, &grad)))?,
        ))
    }
}

/// The stored statistic moves a tenth of the way towards the batch's.
fn move_towards(stored: &Tensor, batch: &[f32], factor: f64) -> Result<()> {
    if !stored.is_variable() {
        return Err(failed(
            "batch statistics need running statistics that can be updated; pass them as candle variables, or run \
             with Statistics::Running",
        ));
    }
    let moved = {
        let now = values(stored)?;
        let moved = now.iter().zip(batch).map(|(now, batch)| {
            let (now, batch) = (f64::from(*now), f64::from(*batch) * factor);
            (now + BATCH_NORM_MOMENTUM * (batch - now)) as f32
        });
        tensor(moved.collect(), stored.dims())?
    };
    // `from_tensor` shares the storage of a tensor that is a variable already.
    Var::from_tensor(stored)?.set(&moved).map_err(Error::from)
}
