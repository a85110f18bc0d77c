//! What follows a convolution's sum: bias, residual, activation; and the way back through an activation.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::parallel::{for_pieces, vectorised};
use super::values::{slice, tensor, values};
use crate::backend::Activation;

/// Values that one task works on: 64 KiB, so that they stay in the cache.
pub(super) const PIECE: usize = 16 * 1024;

/// The activation of one value.
#[inline(always)]
pub(super) fn activate(x: f32, activation: Activation) -> f32 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
    }
}

/// Whether the gradient passes where the activation gave `y`. At the kinks it does not, as in PyTorch.
#[inline(always)]
pub(super) fn passes(y: f32, activation: Activation) -> bool {
    match activation {
        Activation::None => true,
        Activation::Relu => y > 0.0,
        Activation::Relu6 => y > 0.0 && y < 6.0,
    }
}

/// In place, over whole positions: `y = activation(y + bias + residual)`.
pub(super) fn finish(y: &mut [f32], bias: &[f32], residual: Option<&[f32]>, activation: Activation) {
    /// Each activation is a loop of its own, so that no test is left inside.
    #[inline(always)]
    fn run(y: &mut [f32], bias: &[f32], residual: Option<&[f32]>, activate: impl Fn(f32) -> f32) {
        match residual {
            None => {
                for y in y.chunks_exact_mut(bias.len()) {
                    for (y, bias) in y.iter_mut().zip(bias) {
                        *y = activate(*y + bias);
                    }
                }
            }
            Some(residual) => {
                for (y, residual) in y.chunks_exact_mut(bias.len()).zip(residual.chunks_exact(bias.len())) {
                    for ((y, bias), residual) in y.iter_mut().zip(bias).zip(residual) {
                        *y = activate(*y + bias + residual);
                    }
                }
            }
        }
    }
    vectorised(|| match activation {
        Activation::None => run(y, bias, residual, |x| x),
        Activation::Relu => run(y, bias, residual, |x| activate(x, Activation::Relu)),
        Activation::Relu6 => run(y, bias, residual, |x| activate(x, Activation::Relu6)),
    });
}

/// The gradient before the activation, from the gradient after it and what came out.
pub(super) fn before(grad: &Tensor, y: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    let grad = grad.contiguous()?;
    if activation == Activation::None {
        return Ok(grad);
    }
    let (g, y) = (values(&grad)?, values(y)?);
    let mut masked = vec![0.0; g.len()];
    for_pieces(&mut masked, PIECE, |i, masked| {
        let range = i * PIECE..i * PIECE + masked.len();
        let (g, y) = (&g[range.clone()], &y[range]);
        vectorised(|| {
            for ((masked, g), y) in masked.iter_mut().zip(g).zip(y) {
                *masked = if passes(*y, activation) { *g } else { 0.0 };
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
        let (a, b, activation) = (slice(a, a_layout)?, slice(b, b_layout)?, self.0);
        let mut sum = vec![0.0; a.len()];
        for_pieces(&mut sum, PIECE, |i, sum| {
            let range = i * PIECE..i * PIECE + sum.len();
            let (a, b) = (&a[range.clone()], &b[range]);
            vectorised(|| {
                for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
                    *sum = activate(a + b, activation);
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
