//! Dense convolution and its way back: `[N, H, W, C]` in, `[N, H', W', C']` out.
//!
//! The way back is matrix products: the windows of a band of output lines are laid out as the rows of a matrix
//! (`patches`), small enough to stay in the cache. A 1x1 convolution of stride 1 needs no patches: the activation
//! itself is the matrix. With stride 1 the gradient of the activation is a convolution again.

use super::epilogue::limits;
use super::gemm::{Matrix, multiply, multiply_add, multiply_into};
use super::parallel::{for_pieces, sum_shares, threads, vectorised, with_scratch};
use super::values::{filled, written, zeros};
use crate::backend::Activation;

/// Values of the patches, and of the output, that one task works on at a time: 1 MiB, half of a core's usual L2
/// cache.
const PATCHES: usize = 256 * 1024;
/// Positions below which a matrix product is too small to be fast.
const POSITIONS: usize = 192;

/// Lengths of one convolution, dense or depthwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// Frames.
    pub(super) n: usize,
    /// Lines that come in.
    pub(super) h: usize,
    /// Columns that come in.
    pub(super) w: usize,
    /// Channels that come in.
    pub(super) input: usize,
    /// Channels that go out.
    pub(super) output: usize,
    /// Side of the kernel.
    pub(super) kernel: usize,
    /// Step of the output grid.
    pub(super) stride: usize,
}

impl Geometry {
    /// Lines that go out: with padding `kernel / 2` and an odd kernel, its side does not matter.
    pub(super) fn out_h(&self) -> usize {
        (self.h - 1) / self.stride + 1
    }

    /// Columns that go out.
    pub(super) fn out_w(&self) -> usize {
        (self.w - 1) / self.stride + 1
    }

    /// Positions that go out, over all frames.
    pub(super) fn positions(&self) -> usize {
        self.n * self.out_h() * self.out_w()
    }

    /// Length of the output's axes.
    pub(super) fn out_shape(&self) -> [usize; 4] {
        [self.n, self.out_h(), self.out_w(), self.output]
    }

    pub(super) fn shape(&self) -> motion_kernels::Shape {
        let Self { input, output, kernel, stride, .. } = *self;
        motion_kernels::Shape { input, output, kernel, stride }
    }

    /// Values of one window.
    fn window(&self) -> usize {
        self.kernel * self.kernel * self.input
    }

    /// The activation itself is the matrix of windows.
    fn pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// Output lines in a band that one task works on.
    fn band_lines(&self, lines: usize) -> usize {
        let positions = (PATCHES / self.window().max(self.output)).max(POSITIONS);
        // No longer than a core's share, or some cores would stand idle.
        (positions / self.out_w()).min(lines.div_ceil(threads())).max(1)
    }

    /// Calls `visit(offset in the window, offset in x, length)` for each run of values that the window at output
    /// line `line` (counted over all frames) and column `column` holds of the activation; the rest is padding.
    #[inline(always)]
    fn runs(&self, line: usize, column: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let pad = self.kernel / 2;
        let (n, y) = (line / self.out_h(), line % self.out_h() * self.stride);
        let x = column * self.stride;
        let (from, to) = (x.saturating_sub(pad), (x + pad + 1).min(self.w));
        let skipped = from + pad - x;
        for ky in 0..self.kernel {
            let Some(y) = (y + ky).checked_sub(pad).filter(|y| *y < self.h) else { continue };
            let in_window = (ky * self.kernel + skipped) * self.input;
            visit(in_window, ((n * self.h + y) * self.w + from) * self.input, (to - from) * self.input);
        }
    }

    /// Lays out the windows of some output lines.
    fn lay_out(&self, x: &[f32], first_line: usize, patches: &mut [f32]) {
        let pad = self.kernel / 2;
        let inside = |i: usize, length: usize| (pad..length - pad.min(length)).contains(&(i * self.stride));
        for (i, patch) in patches.chunks_exact_mut(self.window()).enumerate() {
            let (line, column) = (first_line + i / self.out_w(), i % self.out_w());
            if !(inside(line % self.out_h(), self.h) && inside(column, self.w)) {
                patch.fill(0.0);
            }
            self.runs(line, column, |to, from, length| {
                patch[to..to + length].copy_from_slice(&x[from..from + length]);
            });
        }
    }

    /// Adds windows of some output lines, all of one frame, to that frame's activation.
    fn add_up(&self, patches: &[f32], first_line: usize, frame: &mut [f32]) {
        let start = first_line / self.out_h() * frame.len();
        vectorised(|| {
            for (i, patch) in patches.chunks_exact(self.window()).enumerate() {
                self.runs(first_line + i / self.out_w(), i % self.out_w(), |from, to, length| {
                    let sums = &mut frame[to - start..to - start + length];
                    for (sum, value) in sums.iter_mut().zip(&patch[from..from + length]) {
                        *sum += value;
                    }
                });
            }
        });
    }
}

/// activation(convolution(x) + bias); weight `[C', k*k*C]`, packed for this once.
pub(super) fn convolve(
    geometry: Geometry,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
) -> candle_core::Result<Vec<f32>> {
    let size = [geometry.n, geometry.h, geometry.w];
    let limits = limits(activation);
    let input = motion_kernels::ConvInput { x, size, shift: None, residual: None, limits };
    let conv = motion_kernels::Conv::once(geometry.shape(), weight, bias);
    filled(geometry.out_shape().iter().product(), |out| conv.run(input, out))
}

/// Gradient of the weight: patches^T grad, summed over all positions.
pub(super) fn weight_gradient(geometry: Geometry, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let g = geometry;
    let lines = g.n * g.out_h();
    let band = g.band_lines(lines);
    let per_line = g.out_w();
    sum_shares(lines, g.output * g.window(), |share, sum| {
        for first in share.clone().step_by(band) {
            let positions = band.min(share.end - first) * per_line;
            let grad = &grad[first * per_line * g.output..][..positions * g.output];
            let grad = Matrix::new(grad, positions, g.output).transposed();
            let mut add =
                |patches: &[f32]| multiply_add(grad, Matrix::new(patches, positions, g.window()), sum);
            if g.pointwise() {
                add(&x[first * per_line * g.input..][..positions * g.input]);
            } else {
                with_scratch(positions * g.window(), |patches| {
                    g.lay_out(x, first, patches);
                    add(patches);
                });
            }
        }
    })
}

/// Gradient of the activation: grad weight, each window added where it came from.
pub(super) fn input_gradient(
    geometry: Geometry,
    weight: &[f32],
    grad: &[f32],
) -> candle_core::Result<Vec<f32>> {
    let g = geometry;
    if g.kernel > 1 && g.stride == 1 {
        // A convolution of the gradient, with each filter turned about and the channels changing places.
        let taps = g.kernel * g.kernel;
        let mut turned = vec![0.0; weight.len()];
        for (o, filter) in weight.chunks_exact(g.window()).enumerate() {
            for (tap, values) in filter.chunks_exact(g.input).enumerate() {
                for (i, value) in values.iter().enumerate() {
                    turned[(i * taps + taps - 1 - tap) * g.output + o] = *value;
                }
            }
        }
        let back = Geometry { input: g.output, output: g.input, ..g };
        return convolve(back, grad, &turned, &vec![0.0; g.input], Activation::None);
    }
    let weight = Matrix::new(weight, g.output, g.window());
    let length = g.n * g.h * g.w * g.input;
    if g.pointwise() {
        let band = g.band_lines(g.n * g.h) * g.w;
        return written(length, band * g.input, |i, out| {
            let positions = out.len() / g.input;
            let grad = &grad[i * band * g.output..][..positions * g.output];
            multiply_into(Matrix::new(grad, positions, g.output), weight, out)
        });
    }
    let mut out = zeros(length)?;
    let band = g.band_lines(g.out_h());
    for_pieces(&mut out, g.h * g.w * g.input, |n, frame| {
        for first in (0..g.out_h()).step_by(band) {
            let positions = band.min(g.out_h() - first) * g.out_w();
            let first = n * g.out_h() + first;
            let grad = &grad[first * g.out_w() * g.output..][..positions * g.output];
            with_scratch(positions * g.window(), |patches| {
                multiply(Matrix::new(grad, positions, g.output), weight, patches);
                g.add_up(patches, first, frame);
            });
        }
    });
    Ok(out)
}

/// Sum of the gradient over all positions: the bias's own.
pub(super) fn bias_gradient(channels: usize, grad: &[f32]) -> Vec<f32> {
    let positions = grad.len() / channels;
    sum_shares(positions, channels, |share, sum| {
        vectorised(|| {
            for grad in grad[share.start * channels..share.end * channels].chunks_exact(channels) {
                for (sum, grad) in sum.iter_mut().zip(grad) {
                    *sum += grad;
                }
            }
        });
    })
}
