//! Convolutions: norm folded and weights packed once, then run in the form that suits the shape.

use super::device::{Bound, Call, failed};
use super::kernels::{CONV2D, CONV2D_SUBGROUP, CONV2D_TILED, Constants, ConvParams, DEPTHWISE, Kernel};
use super::memory::{HEADER, Weights};
use super::profile::Work;
use super::tuning::{ConvShape, Form};
use super::{GpuBackend, GpuTensor, activation, clips, misshapen, quads};
use crate::backend::{Activation, ConvInput, ConvParameters, ConvSpec, HostTensor, Statistics};
use crate::config::{BATCH_NORM_EPSILON, SHIFT_DIVISOR};
use crate::{Error, Result};

/// A convolution ready to run.
pub struct Conv {
    spec: ConvSpec,
    weight: Weights,
    bias: Weights,
    /// Quads of outputs in a row of the packed weight.
    packed: usize,
}

/// Where the activation cuts off: below, above.
fn limits(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::None => [f32::MIN, f32::MAX],
        Activation::Relu => [0.0, f32::MAX],
        Activation::Relu6 => [0.0, 6.0],
    }
}

impl GpuBackend {
    /// Checks the parameters, folds the norm, packs.
    pub(super) fn build_conv(&self, spec: ConvSpec, parameters: ConvParameters<HostTensor>) -> Result<Conv> {
        let ConvSpec { input, output, kernel, stride, depthwise, .. } = spec;
        let ConvParameters { weight, bias, norm } = parameters;
        if input * output * stride == 0 || kernel.is_multiple_of(2) || (depthwise && input != output) {
            let expected = format!(
                "an odd kernel, a stride and channel counts above 0, and as many channels out as in if depthwise; the \
                 layer asks for kernel {kernel}, stride {stride}, {input} to {output} channels"
            );
            return Err(Error::Shape { operation: "conv", found: weight.shape, expected });
        }
        let expected = [output, if depthwise { 1 } else { input }, kernel, kernel];
        if weight.shape != expected {
            return Err(Error::Shape {
                operation: "conv weight",
                found: weight.shape,
                expected: format!("{expected:?}"),
            });
        }
        let vector = |operation, tensor: HostTensor| {
            if tensor.shape != [output] {
                return Err(Error::Shape { operation, found: tensor.shape, expected: format!("[{output}]") });
            }
            Ok(tensor.data)
        };
        let mut bias = bias.map_or_else(|| Ok(vec![0.0; output]), |bias| vector("conv bias", bias))?;
        let mut factor = vec![1.0; output];
        if let Some(norm) = norm {
            let (scale, shift) =
                (vector("conv norm scale", norm.scale)?, vector("conv norm shift", norm.shift)?);
            let mean = vector("conv norm mean", norm.mean)?;
            let variance = vector("conv norm variance", norm.variance)?;
            for o in 0..output {
                factor[o] =
                    (f64::from(scale[o]) / (f64::from(variance[o]) + BATCH_NORM_EPSILON).sqrt()) as f32;
                bias[o] = (bias[o] - mean[o]) * factor[o] + shift[o];
            }
        }
        let taps = kernel * kernel;
        // In fours, for the kernels make up to four quads at a time.
        let packed = if depthwise { quads(output) } else { quads(output).next_multiple_of(4) };
        let (row, inputs) = (4 * packed, if depthwise { 1 } else { 4 * quads(input) });
        let mut rows = vec![0.0; taps * inputs * row];
        let per_output = weight.data.len() / output;
        for (o, filter) in weight.data.chunks_exact(per_output).enumerate() {
            for (i, value) in filter.iter().enumerate() {
                rows[(i % taps * inputs + i / taps) * row + o] = value * factor[o];
            }
        }
        bias.resize(row, 0.0);
        let conv = Conv { spec, weight: self.gpu.weights(&rows), bias: self.gpu.numbers(&bias), packed };
        self.announce(&conv);
        Ok(conv)
    }

    /// Tells which pipelines this layer will need, as far as that is known before its input is.
    fn announce(&self, conv: &Conv) {
        if conv.spec.depthwise {
            self.gpu.pipelines.announce(&DEPTHWISE, common_constants(&conv.spec, false));
            return;
        }
        for form in self.tuning.candidates() {
            let (kernel, constants) = self.dense_pipeline(form, &conv.spec, false, false);
            self.gpu.pipelines.announce(kernel, constants);
        }
    }

    /// activation(convolution(shift(x)) + bias + residual).
    pub(super) fn run_conv(&self, conv: &Conv, input: ConvInput<'_, GpuTensor>) -> Result<GpuTensor> {
        let ConvInput { x, shift, residual, statistics } = input;
        let ConvSpec { input: channels, output, kernel, stride, .. } = conv.spec;
        if statistics == Statistics::Batch {
            return Err(failed("the gpu infers with stored statistics only; train on the cpu"));
        }
        let [n, h, w, c] = activation("conv2d", x)?;
        if c != channels {
            return Err(misshapen("conv2d", x, format!("[N, H, W, {channels}]")));
        }
        let shape = [n, h.div_ceil(stride), w.div_ceil(stride), output];
        if let Some(residual) = residual
            && residual.shape != shape
        {
            return Err(misshapen("conv2d residual", residual, format!("{shape:?}")));
        }
        let fold = c / SHIFT_DIVISOR;
        if let Some(frames) = shift {
            clips("temporal_shift", x, frames)?;
            if conv.spec.depthwise || !fold.is_multiple_of(4) || !c.is_multiple_of(SHIFT_DIVISOR) {
                // Quads that look both ways are taken apart by a kernel of their own.
                let shifted = self.shift_in_time(x, frames)?;
                return self.run_conv(conv, ConvInput { x: &shifted, shift: None, residual, statistics });
            }
        }
        let y = self.empty(shape)?;
        let positions = n * shape[1] * shape[2];
        // A buffer must be bound in any case; it is not read.
        let beside = residual.unwrap_or(x);
        let buffers = [
            Bound::Whole(&x.loan.buffer),
            Bound::Whole(&conv.weight.buffer),
            Bound::Whole(&conv.bias.buffer),
            Bound::Values(&beside.loan.buffer),
            Bound::Values(&y.loan.buffer),
        ];
        let [low, high] = limits(conv.spec.activation);
        let values = positions * output * (1 + usize::from(residual.is_some())) + n * h * w * c;
        let inputs = if conv.spec.depthwise { 1 } else { c };
        let operations = 2 * positions * output * kernel * kernel * inputs;
        let work = |kernel: &'static str, form: &str| Work {
            kernel,
            detail: format!("{k}x{k}/{stride} {c} to {output} at {n}x{h}x{w}{form}", k = conv.spec.kernel),
            operations: operations as u64,
            bytes: 4 * values as u64 + conv.weight.buffer.size(),
        };
        let params = ConvParams {
            height: h as u32,
            width: w as u32,
            channels: quads(c) as u32,
            out_height: shape[1] as u32,
            out_width: shape[2] as u32,
            outputs: quads(output) as u32,
            positions: positions as u32,
            packed: conv.packed as u32,
            clip: shift.unwrap_or(1) as u32,
            fold: (fold / 4) as u32,
            low,
            high,
        };
        let params = bytemuck::bytes_of(&params);
        if conv.spec.depthwise {
            let groups = (positions.div_ceil(4) * quads(c)).div_ceil(64);
            let [columns, rows] = self.gpu.spread(groups as u32);
            self.gpu.record(Call {
                kernel: &DEPTHWISE,
                constants: common_constants(&conv.spec, residual.is_some()),
                params,
                buffers: &buffers,
                groups: [columns, rows, 1],
                work: work("depthwise", ""),
            })?;
            return Ok(y);
        }
        let form = self.tuning.form(&ConvShape { kernel, stride, input: c, output, size: [n, h, w] });
        let (kernel, constants) = self.dense_pipeline(form, &conv.spec, shift.is_some(), residual.is_some());
        let [outputs_each, positions_each] = match form {
            Form::Direct => [2 * self.span(form, output), 16 * 64 / self.span(form, output)],
            Form::Wide => [4 * self.span(form, output), 16 * 64 / self.span(form, output)],
            Form::Subgroup => [2 * self.span(form, output), 4 * 64 / self.span(form, output)],
            Form::Tiled => [16, 64],
            Form::Tall => [16, 128],
        };
        let [rows, layers] = self.gpu.spread(positions.div_ceil(positions_each) as u32);
        self.gpu.record(Call {
            kernel,
            constants,
            params,
            buffers: &buffers,
            groups: [quads(output).div_ceil(outputs_each) as u32, rows, layers],
            work: work("conv2d", form.suffix()),
        })?;
        Ok(y)
    }

    fn dense_pipeline(
        &self,
        form: Form,
        spec: &ConvSpec,
        shift: bool,
        residual: bool,
    ) -> (&'static Kernel, Constants) {
        let span = ("SPAN", self.span(form, spec.output) as u32);
        let (kernel, own) = match form {
            Form::Direct => (&CONV2D, vec![("WIDE", 0), span]),
            Form::Wide => (&CONV2D, vec![("WIDE", 1), span]),
            Form::Tiled => (&CONV2D_TILED, vec![("TALL", 0)]),
            Form::Tall => (&CONV2D_TILED, vec![("TALL", 1)]),
            Form::Subgroup => (&CONV2D_SUBGROUP, vec![span]),
        };
        let mut constants = common_constants(spec, residual);
        constants.push(("SHIFT", shift.into()));
        constants.extend(own);
        (kernel, constants)
    }

    /// Columns of outputs that a workgroup without workgroup memory spans: those of a subgroup, or so many that few are
    /// left without work.
    fn span(&self, form: Form, output: usize) -> usize {
        let columns = quads(output).div_ceil(if form == Form::Wide { 4 } else { 2 });
        if form == Form::Subgroup {
            return columns.next_power_of_two().clamp(4, self.gpu.smallest_subgroup().clamp(4, 64));
        }
        let wasteful = |span: &usize| 8 * columns.next_multiple_of(*span) > 9 * columns;
        [8, 4, 2].into_iter().find(|span| !wasteful(span)).unwrap_or(1)
    }
}

/// Constants of every convolution.
fn common_constants(spec: &ConvSpec, residual: bool) -> Constants {
    vec![
        ("HEADER", HEADER),
        ("KERNEL", spec.kernel as u32),
        ("STRIDE", spec.stride as u32),
        ("RESIDUAL", residual.into()),
    ]
}
