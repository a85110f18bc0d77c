//! What follows a convolution's sum: bias, residual, activation; and the way back through an activation.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::parallel::{for_pieces, vectorised};
use super::values::{slice, tensor, values, zeros};
use crate::backend::Activation;

/// Values that one task works on: 64 KiB, so that they stay in the cache.
pub(super) const PIECE: usize = 16 * 1024;

/// Every activation here cuts values off below and above: the same loop runs them all, without a branch.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    low: f32,
    high: f32,
}

impl From<Activation> for Limits {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::None => Self { low: f32::NEG_INFINITY, high: f32::INFINITY },
            Activation::Relu => Self { low: 0.0, high: f32::INFINITY },
            Activation::Relu6 => Self { low: 0.0, high: 6.0 },
        }
    }
}

impl Limits {
    /// The activation of one value. What is no number stays so.
    #[inline(always)]
    pub(super) fn activate(self, x: f32) -> f32 {
        let x = if x < self.low { self.low } else { x };
        if x > self.high { self.high } else { x }
    }

    /// The gradient passes where the activation gave `y`, if that is no limit (at a kink neither, as in PyTorch).
    #[inline(always)]
    pub(super) fn pass(self, grad: f32, y: f32) -> f32 {
        if (y > self.low) & (y < self.high) { grad } else { 0.0 }
    }
}

/// In place, over whole positions: `y = activation(y + bias + residual)`.
pub(super) fn finish(y: &mut [f32], bias: &[f32], residual: Option<&[f32]>, activation: Activation) {
    let (limits, channels) = (Limits::from(activation), bias.len());
    vectorised(|| match residual {
        None => {
            for y in y.chunks_exact_mut(channels) {
                for (y, bias) in y.iter_mut().zip(bias) {
                    *y = limits.activate(*y + bias);
                }
            }
        }
        Some(residual) => {
            for (y, residual) in y.chunks_exact_mut(channels).zip(residual.chunks_exact(channels)) {
                for ((y, bias), residual) in y.iter_mut().zip(bias).zip(residual) {
                    *y = limits.activate(*y + bias + residual);
                }
            }
        }
    });
}

/// The gradient before the activation, from the gradient after it and what came out.
pub(super) fn before(grad: &Tensor, y: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    let grad = grad.contiguous()?;
    if activation == Activation::None {
        return Ok(grad);
    }
    let (g, y, limits) = (values(&grad)?, values(y)?, Limits::from(activation));
    let mut masked = zeros(g.len())?;
    for_pieces(&mut masked, PIECE, |i, masked| {
        let range = i * PIECE..i * PIECE + masked.len();
        let (g, y) = (&g[range.clone()], &y[range]);
        vectorised(|| {
            for ((masked, g), y) in masked.iter_mut().zip(g).zip(y) {
                *masked = limits.pass(*g, *y);
            }
        });
    });
    tensor(masked, grad.dims())
}

/// activation(a + b), element by element, of two contiguous tensors of one shape.
pub(super) struct AddActivate(pub(super) Activation);

impl CustomOp2 for AddActivate {
    fn name(&self) -> &'static str {
        "add_activate"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (a, b, limits) = (slice(a, a_layout)?, slice(b, b_layout)?, Limits::from(self.0));
        let mut sum = zeros(a.len())?;
        for_pieces(&mut sum, PIECE, |i, sum| {
            let range = i * PIECE..i * PIECE + sum.len();
            let (a, b) = (&a[range.clone()], &b[range]);
            vectorised(|| {
                for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
                    *sum = limits.activate(a + b);
                }
            });
        });
        Ok((CpuStorage::F32(sum), a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = before(grad, y, self.0)?;
        Ok((a.track_op().then(|| grad.clone()), b.track_op().then_some(grad)))
    }
}
