//! Depthwise convolution: `[N, H, W, C]` and weight `[k, k, C]` in, `[N, H', W', C]` out, in plain loops over
//! neighbouring channels.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::dense::Geometry;
use super::epilogue::limits;
use super::parallel::{sum_shares, vectorised};
use super::values::{filled, written};
use crate::backend::Activation;

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

/// `sums[c] = sum over terms (a, b) of left[a + c] * right[b + c]`, for all channels. Gives the sums back written.
#[inline(always)]
fn weighted<'a>(
    sums: &'a mut [MaybeUninit<f32>],
    left: &[f32],
    right: &[f32],
    terms: &[(usize, usize)],
) -> &'a mut [f32] {
    let mut c = 0;
    while c + 32 <= sums.len() {
        lanes::<32>(&mut sums[c..c + 32], left, right, terms, c);
        c += 32;
    }
    if c + 16 <= sums.len() {
        lanes::<16>(&mut sums[c..c + 16], left, right, terms, c);
        c += 16;
    }
    if c + 8 <= sums.len() {
        lanes::<8>(&mut sums[c..c + 8], left, right, terms, c);
        c += 8;
    }
    while c < sums.len() {
        lanes::<1>(&mut sums[c..=c], left, right, terms, c);
        c += 1;
    }
    // SAFETY: `c` has gone over all channels, and each is written with the lanes that it falls in.
    unsafe { sums.assume_init_mut() }
}

/// The sums of `L` channels from `c` on, kept in registers.
#[inline(always)]
fn lanes<const L: usize>(
    sums: &mut [MaybeUninit<f32>],
    left: &[f32],
    right: &[f32],
    terms: &[(usize, usize)],
    c: usize,
) {
    let mut sum = [0.0_f32; L];
    for &(a, b) in terms {
        let (left, right) = (&left[a + c..a + c + L], &right[b + c..b + c + L]);
        for i in 0..L {
            sum[i] += left[i] * right[i];
        }
    }
    sums.write_copy_of_slice(&sum);
}

/// A line of positions, each of `weighted` sums; `terms(column, list)` lists a position's terms.
///
/// From one position to the next of those `inside`, the terms stay what they are, `step` values further on: there
/// they are listed only once.
#[inline(always)]
fn line_of_sums<'a>(
    sums: &'a mut [MaybeUninit<f32>],
    channels: usize,
    left: &[f32],
    right: &[f32],
    (inside, step): (Range<usize>, usize),
    terms: impl Fn(usize, &mut Vec<(usize, usize)>),
) -> &'a mut [f32] {
    let mut list = Vec::new();
    for (column, sums) in sums.chunks_exact_mut(channels).enumerate() {
        let is_inside = inside.contains(&column);
        if !is_inside || column == inside.start {
            list.clear();
            terms(column, &mut list);
        }
        let further = if is_inside { (column - inside.start) * step } else { 0 };
        weighted(sums, &left[further..], right, &list);
    }
    // SAFETY: the line is whole positions, and all channels of each have been written.
    unsafe { sums.assume_init_mut() }
}

/// activation(convolution(x) + bias); weight `[k, k, C]`.
pub(super) fn convolve(
    geometry: Geometry,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
) -> candle_core::Result<Vec<f32>> {
    let size = [geometry.n, geometry.h, geometry.w];
    let conv = motion_kernels::Depthwise::new(geometry.shape(), weight, bias);
    filled(geometry.out_shape().iter().product(), |out| conv.run(x, size, None, limits(activation), out))
}

/// Gradient of the activation: each position gathers from the outputs that read it.
pub(super) fn input_gradient(
    geometry: Geometry,
    weight: &[f32],
    grad: &[f32],
) -> candle_core::Result<Vec<f32>> {
    let g = geometry;
    let c = g.output;
    let (out_h, out_w, pad) = (g.out_h(), g.out_w(), g.kernel / 2);
    // With stride 1 every position inside is read in the same way; with a larger one, neighbours differ.
    let inside = if g.stride == 1 { pad..g.w.saturating_sub(pad) } else { 0..0 };
    written(g.n * g.h * g.w * c, g.w * c, |line, out| {
        let (n, y) = (line / g.h, line % g.h);
        vectorised(|| {
            line_of_sums(out, c, grad, weight, (inside.clone(), c), |column, terms| {
                for (ky, y) in readers(y, g.kernel, g.stride, out_h) {
                    terms.extend(
                        readers(column, g.kernel, g.stride, out_w)
                            .map(|(kx, x)| (((n * out_h + y) * out_w + x) * c, (ky * g.kernel + kx) * c)),
                    );
                }
            })
        })
    })
}

/// Gradient of the weight.
pub(super) fn weight_gradient(geometry: Geometry, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let g = geometry;
    let c = g.output;
    let (out_h, out_w) = (g.out_h(), g.out_w());
    sum_shares(g.n * out_h, g.kernel * g.kernel * c, |share, sum| {
        let mut line_sum = vec![MaybeUninit::uninit(); c];
        let (mut terms, pad) = (Vec::new(), g.kernel / 2);
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
                        let line_sum = weighted(&mut line_sum, x, grad, &terms);
                        let tap = &mut sum[(ky * g.kernel + kx) * c..][..c];
                        for (sum, value) in tap.iter_mut().zip(line_sum) {
                            *sum += *value;
                        }
                    }
                }
            }
        });
    })
}
