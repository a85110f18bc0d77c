//! Largest of each 3 x 3 window, stride 2, padding 1: `[N, H, W, C]` to `[N, ceil(H/2), ceil(W/2), C]`.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::parallel::{for_pieces, vectorised};
use super::values::{slice, tensor, values, zeros};
use crate::Result;
use crate::plain::activation;

/// See [`crate::Backend::max_pool`].
pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    activation("max_pool", x)?;
    Ok(x.contiguous()?.apply_op1(MaxPool)?)
}

struct MaxPool;

/// Lines (or columns) of the window around line `2 * out`.
fn window(out: usize, length: usize) -> std::ops::Range<usize> {
    (2 * out).saturating_sub(1)..(2 * out + 2).min(length)
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, (n, h, w, c)) = (slice(x, layout)?, layout.shape().dims4()?);
        let (out_h, out_w) = (h.div_ceil(2), w.div_ceil(2));
        let mut out = zeros(n * out_h * out_w * c)?;
        for_pieces(&mut out, out_w * c, |line, out| {
            out.fill(f32::NEG_INFINITY);
            let (n, y) = (line / out_h, line % out_h);
            vectorised(|| {
                for (column, out) in out.chunks_exact_mut(c).enumerate() {
                    for y in window(y, h) {
                        for column in window(column, w) {
                            let x = &x[((n * h + y) * w + column) * c..][..c];
                            for (out, x) in out.iter_mut().zip(x) {
                                *out = if *x > *out { *x } else { *out };
                            }
                        }
                    }
                }
            });
        });
        Ok((CpuStorage::F32(out), Shape::from((n, out_h, out_w, c))))
    }

    /// The gradient goes to the first largest value of each window, as in PyTorch.
    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        learns!();
        let (_, h, w, c) = x.dims4()?;
        let (_, out_h, out_w, _) = y.dims4()?;
        let grad = grad.contiguous()?;
        let (all_x, all_y, grad) = (values(x)?, values(y)?, values(&grad)?);
        let mut out = zeros(all_x.len())?;
        for_pieces(&mut out, h * w * c, |n, out| {
            let x = &all_x[n * h * w * c..][..h * w * c];
            let mut left = vec![0.0; c];
            for (i, (y, grad)) in all_y[n * out_h * out_w * c..][..out_h * out_w * c]
                .chunks_exact(c)
                .zip(grad[n * out_h * out_w * c..].chunks_exact(c))
                .enumerate()
            {
                // What is left to hand out in this window: nothing, once the largest value was met.
                left.copy_from_slice(grad);
                for line in window(i / out_w, h) {
                    for column in window(i % out_w, w) {
                        let at = (line * w + column) * c;
                        let (x, out) = (&x[at..at + c], &mut out[at..at + c]);
                        for (((out, x), y), left) in out.iter_mut().zip(x).zip(y).zip(&mut left) {
                            if x == y {
                                *out += *left;
                                *left = 0.0;
                            }
                        }
                    }
                }
            }
        });
        tensor(out, x.dims()).map(Some)
    }
}
