//! What follows a convolution's sum where something is to be learnt: residual and activation, and the way back.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use motion_kernels::Limits;

use super::parallel::{for_pieces, vectorised};
use super::values::{slice, tensor, values, zeros};
use crate::backend::Activation;

/// Values that one task works on: 64 KiB, so that they stay in the cache.
pub(super) const PIECE: usize = 16 * 1024;

/// Every activation here cuts values off below and above: the same loop runs them all, without a branch.
pub(super) fn limits(activation: Activation) -> Limits {
    match activation {
        Activation::None => Limits::NONE,
        Activation::Relu => Limits::RELU,
        Activation::Relu6 => Limits::RELU6,
    }
}

/// The gradient passes where the activation gave `y`, if that is no limit (at a kink neither, as in PyTorch).
#[inline(always)]
pub(super) fn pass(limits: Limits, grad: f32, y: f32) -> f32 {
    if (y > limits.low) & (y < limits.high) { grad } else { 0.0 }
}

/// The gradient before the activation, from the gradient after it and what came out.
pub(super) fn before(grad: &Tensor, y: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    let grad = grad.contiguous()?;
    if activation == Activation::None {
        return Ok(grad);
    }
    let (g, y, limits) = (values(&grad)?, values(y)?, limits(activation));
    let mut masked = zeros(g.len())?;
    for_pieces(&mut masked, PIECE, |i, masked| {
        let range = i * PIECE..i * PIECE + masked.len();
        let (g, y) = (&g[range.clone()], &y[range]);
        vectorised(|| {
            for ((masked, g), y) in masked.iter_mut().zip(g).zip(y) {
                *masked = pass(limits, *g, *y);
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
        let (a, b, limits) = (slice(a, a_layout)?, slice(b, b_layout)?, limits(self.0));
        let mut sum = zeros(a.len())?;
        for_pieces(&mut sum, PIECE, |i, sum| {
            let range = i * PIECE..i * PIECE + sum.len();
            let (a, b) = (&a[range.clone()], &b[range]);
            vectorised(|| {
                for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
                    *sum = limits.apply(a + b);
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
        learns!();
        let grad = before(grad, y, self.0)?;
        Ok((a.track_op().then(|| grad.clone()), b.track_op().then_some(grad)))
    }
}
