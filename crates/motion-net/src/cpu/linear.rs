//! x W^T + b: `[N, C]` in, `[N, K]` out. Where nothing is to be learnt it is a pointwise convolution of one line.

use candle_core::Tensor;
use motion_kernels::{Conv, ConvInput, Limits, Shape, channels_last};

use super::learnt;
use super::values::{filled, tensor, values};
use crate::{Result, plain};

/// A linear layer ready to run.
pub struct Linear {
    plain: plain::Linear,
    /// What inference runs on. Absent where something is to be learnt.
    ready: Option<(Shape, Conv)>,
}

impl Linear {
    /// See [`crate::Backend::linear`].
    pub(super) fn new(weight: &Tensor, bias: Tensor) -> Result<Self> {
        let plain = plain::Linear::new(weight, bias.clone())?;
        let ready = if learnt(weight) || learnt(&bias) {
            None
        } else {
            let (output, input) = weight.dims2()?;
            let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
            let shape = Shape { input, output, kernel: 1, stride: 1 };
            let weight = channels_last(&values(&weight)?, output, input, 1);
            Some((shape, Conv::new(shape, &weight, &values(&bias)?)))
        };
        Ok(Self { plain, ready })
    }

    /// See [`crate::Backend::linear_forward`].
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let rows = self.plain.check(x)?;
        let Some((shape, conv)) = self.ready.as_ref().filter(|_| !learnt(x)) else {
            learns!();
            return self.plain.forward(x);
        };
        let x = x.contiguous()?;
        let x = values(&x)?;
        let input =
            ConvInput { x: &x, size: [1, 1, rows], shift: None, residual: None, limits: Limits::NONE };
        let out = filled(rows * shape.output, |out| conv.run(input, out))?;
        Ok(tensor(out, &[rows, shape.output])?)
    }
}
