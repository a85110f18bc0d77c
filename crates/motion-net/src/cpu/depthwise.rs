//! Depthwise convolution: `[N, H, W, C]` and weight `[k, k, C]` in, `[N, H', W', C]` out, in plain loops over
//! neighbouring channels.

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use super::dense::{Geometry, bias_gradient};
use super::epilogue::{before, finish};
use super::parallel::{for_pieces, sum_shares, vectorised};
use super::values::{slice, tensor, values, zeros};
use crate::backend::Activation;

/// Channels that are summed in registers at a time.
const LANES: usize = 32;

/// The kernel's taps `(ky, y)` whose line `y` lies in the map, for the output line at `y * stride`.
#[inline(always)]
fn taps(centre: usize, kernel: usize, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let pad = kernel / 2;
    let first = pad.saturating_sub(centre);
    let last = kernel.min(length + pad - centre);
    (first..last).map(move |k| (k, centre + k - pad))
}

/// The output's taps `(ky, line)` that read the input line `y`.
#[inline(always)]
fn readers(y: usize, kernel: usize, stride: usize, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let pad = kernel / 2;
    (0..kernel).filter_map(move |k| {
        let centre = (y + pad).checked_sub(k)?;
        (centre.is_multiple_of(stride) && centre / stride < length).then_some((k, centre / stride))
    })
}

/// `sums[c] = sum over terms (a, b) of left[a + c] * right[b + c]`.
#[inline(always)]
fn weighted(sums: &mut [f32], left: &[f32], right: &[f32], terms: &[(usize, usize)]) {
    let channels = sums.len();
    let whole = channels / LANES * LANES;
    for c in (0..whole).step_by(LANES) {
        let mut sum = [0.0_f32; LANES];
        for &(a, b) in terms {
            let (left, right) = (&left[a + c..a + c + LANES], &right[b + c..b + c + LANES]);
            for i in 0..LANES {
                sum[i] += left[i] * right[i];
            }
        }
        sums[c..c + LANES].copy_from_slice(&sum);
    }
    if whole < channels {
        let sums = &mut sums[whole..];
        sums.fill(0.0);
        for &(a, b) in terms {
            let (left, right) = (&left[a + whole..a + channels], &right[b + whole..b + channels]);
            for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
                *sum += left * right;
            }
        }
    }
}

/// activation(convolution(x) + bias + residual).
pub(super) fn convolve(
    geometry: Geometry,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
) -> candle_core::Result<Vec<f32>> {
    let g = geometry;
    let c = g.output;
    let (out_h, out_w) = (g.out_h(), g.out_w());
    let mut out = zeros(g.positions() * c)?;
    let size = out_w * c;
    for_pieces(&mut out, size, |line, out| {
        let (n, y) = (line / out_h, line % out_h);
        vectorised(|| {
            let mut terms = Vec::with_capacity(g.kernel * g.kernel);
            for (column, sums) in out.chunks_exact_mut(c).enumerate() {
                terms.clear();
                for (ky, y) in taps(y * g.stride, g.kernel, g.h) {
                    terms.extend(
                        taps(column * g.stride, g.kernel, g.w)
                            .map(|(kx, x)| (((n * g.h + y) * g.w + x) * c, (ky * g.kernel + kx) * c)),
                    );
                }
                weighted(sums, x, weight, &terms);
            }
        });
        finish(out, bias, residual.map(|r| &r[line * size..(line + 1) * size]), activation);
    });
    Ok(out)
}

/// Gradient of the activation: each position gathers from the outputs that read it.
fn input_gradient(geometry: Geometry, weight: &[f32], grad: &[f32]) -> candle_core::Result<Vec<f32>> {
    let g = geometry;
    let c = g.output;
    let (out_h, out_w) = (g.out_h(), g.out_w());
    let mut out = zeros(g.n * g.h * g.w * c)?;
    for_pieces(&mut out, g.w * c, |line, out| {
        let (n, y) = (line / g.h, line % g.h);
        vectorised(|| {
            let mut terms = Vec::with_capacity(g.kernel * g.kernel);
            for (column, sums) in out.chunks_exact_mut(c).enumerate() {
                terms.clear();
                for (ky, y) in readers(y, g.kernel, g.stride, out_h) {
                    terms.extend(
                        readers(column, g.kernel, g.stride, out_w)
                            .map(|(kx, x)| (((n * out_h + y) * out_w + x) * c, (ky * g.kernel + kx) * c)),
                    );
                }
                weighted(sums, grad, weight, &terms);
            }
        });
    });
    Ok(out)
}

/// Gradient of the weight.
fn weight_gradient(geometry: Geometry, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let g = geometry;
    let c = g.output;
    let (out_h, out_w) = (g.out_h(), g.out_w());
    sum_shares(g.n * out_h, g.kernel * g.kernel * c, |share, sum| {
        let (mut line_sum, mut terms, pad) = (vec![0.0; c], Vec::new(), g.kernel / 2);
        vectorised(|| {
            for line in share {
                let (n, y) = (line / out_h, line % out_h);
                for (ky, y) in taps(y * g.stride, g.kernel, g.h) {
                    for kx in 0..g.kernel {
                        terms.clear();
                        terms.extend((0..out_w).filter_map(|column| {
                            let x = (column * g.stride + kx).checked_sub(pad).filter(|x| *x < g.w)?;
                            Some((((n * g.h + y) * g.w + x) * c, (line * out_w + column) * c))
                        }));
                        weighted(&mut line_sum, x, grad, &terms);
                        let tap = &mut sum[(ky * g.kernel + kx) * c..][..c];
                        for (sum, value) in tap.iter_mut().zip(&line_sum) {
                            *sum += value;
                        }
                    }
                }
            }
        });
    })
}

/// activation(convolution(x, weight) + bias) with its way back.
pub(super) struct Depthwise {
    /// Its lengths.
    pub(super) geometry: Geometry,
    /// What follows the bias.
    pub(super) activation: Activation,
}

impl CustomOp3 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
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
        let out = convolve(
            self.geometry,
            slice(x, x_layout)?,
            slice(weight, weight_layout)?,
            slice(bias, bias_layout)?,
            None,
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
        let grad = before(grad, y, self.activation)?;
        let grad = values(&grad)?;
        let of = |wanted: &Tensor, work: &dyn Fn() -> candle_core::Result<Vec<f32>>| {
            wanted.track_op().then(|| tensor(work()?, wanted.dims())).transpose()
        };
        Ok((
            of(x, &|| input_gradient(self.geometry, &values(weight)?, &grad))?,
            of(weight, &|| Ok(weight_gradient(self.geometry, &values(x)?, &grad)))?,
            of(bias, &|| Ok(bias_gradient(self.geometry.output, &grad)))?,
        ))
    }
}
