//! x / sqrt(sum over c of x^2 + 1e-6), per position: `[N, H, W, C]` in and out.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::parallel::{for_pieces, vectorised};
use super::values::{slice, tensor, values, zeros};
use crate::Result;
use crate::config::UNIT_LENGTH_EPSILON;
use crate::plain::activation;

/// See [`crate::Backend::unit_length`].
pub(super) fn unit_length(x: &Tensor) -> Result<Tensor> {
    activation("unit_length", x)?;
    Ok(x.contiguous()?.apply_op1(UnitLength)?)
}

struct UnitLength;

/// Positions that one task works on.
const POSITIONS: usize = 256;

/// Lanes: one vector of AVX-512, two of AVX2, four of SSE and of WebAssembly.
const LANES: usize = 16;

/// Sum of the products, in lanes side by side: a loop that the compiler may turn into vectors, which one running
/// sum in a fixed order may not become. The rounding is smaller, too.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, rest_a) = a.as_chunks::<LANES>();
    let (b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[inline(always)]
fn inverse_length(x: &[f32]) -> f32 {
    1.0 / (dot(x, x) + UNIT_LENGTH_EPSILON as f32).sqrt()
}

impl CustomOp1 for UnitLength {
    fn name(&self) -> &'static str {
        "unit_length"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, (_, _, _, c)) = (slice(x, layout)?, layout.shape().dims4()?);
        let mut out = zeros(x.len())?;
        for_pieces(&mut out, POSITIONS * c, |i, out| {
            let x = &x[i * POSITIONS * c..][..out.len()];
            vectorised(|| {
                for (out, x) in out.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                    let scale = inverse_length(x);
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = x * scale;
                    }
                }
            });
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// (g - y <g, y>) / length.
    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        learns!();
        let (_, _, _, c) = x.dims4()?;
        let grad = grad.contiguous()?;
        let (all_x, all_y, grad) = (values(x)?, values(y)?, values(&grad)?);
        let mut out = zeros(all_x.len())?;
        for_pieces(&mut out, POSITIONS * c, |i, out| {
            let range = i * POSITIONS * c..i * POSITIONS * c + out.len();
            let rows = all_x[range.clone()].chunks_exact(c).zip(all_y[range.clone()].chunks_exact(c));
            let rows = rows.zip(grad[range].chunks_exact(c));
            vectorised(|| {
                for (out, ((x, y), grad)) in out.chunks_exact_mut(c).zip(rows) {
                    let (scale, along) = (inverse_length(x), dot(grad, y));
                    for ((out, y), grad) in out.iter_mut().zip(y).zip(grad) {
                        *out = scale * (grad - y * along);
                    }
                }
            });
        });
        tensor(out, x.dims()).map(Some)
    }
}
