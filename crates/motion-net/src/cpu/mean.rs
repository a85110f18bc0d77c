//! Mean over the middle of `[outer, middle, inner]`: of the positions of a frame, or of the frames of a clip.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::parallel::{for_pieces, vectorised};
use super::values::{slice, tensor, values, zeros};

/// `[outer, middle, inner]` to `[outer, inner]`.
pub(super) fn middle_mean(x: &Tensor) -> candle_core::Result<Tensor> {
    x.contiguous()?.apply_op1(MiddleMean)
}

struct MiddleMean;

impl CustomOp1 for MiddleMean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, (outer, middle, inner)) = (slice(x, layout)?, layout.shape().dims3()?);
        let mut out = zeros(outer * inner)?;
        for_pieces(&mut out, inner, |i, sum| {
            vectorised(|| {
                for x in x[i * middle * inner..(i + 1) * middle * inner].chunks_exact(inner) {
                    for (sum, x) in sum.iter_mut().zip(x) {
                        *sum += x;
                    }
                }
                for sum in sum.iter_mut() {
                    *sum /= middle as f32;
                }
            });
        });
        Ok((CpuStorage::F32(out), Shape::from((outer, inner))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        learns!();
        let (_, middle, inner) = x.dims3()?;
        let grad = grad.contiguous()?;
        let grad = values(&grad)?;
        let mut out = zeros(x.elem_count())?;
        for_pieces(&mut out, middle * inner, |i, out| {
            for out in out.chunks_exact_mut(inner) {
                for (out, grad) in out.iter_mut().zip(&grad[i * inner..(i + 1) * inner]) {
                    *out = grad / middle as f32;
                }
            }
        });
        tensor(out, x.dims()).map(Some)
    }
}
