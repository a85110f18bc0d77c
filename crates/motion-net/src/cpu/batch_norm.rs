//! Batch norm with the batch's own statistics: `[N, H, W, C]` in and out, its activation fused.

use motion_kernels::Limits;

use super::epilogue::{PIECE, limits, pass};
use super::parallel::{for_pieces, vectorised};
use super::values::written;
use crate::backend::Activation;
use crate::config::BATCH_NORM_EPSILON;

/// Mean and variance of each channel over all positions.
pub(super) struct Moments {
    /// Mean.
    pub(super) mean: Vec<f32>,
    /// Biased variance: divided by the number of positions.
    pub(super) variance: Vec<f32>,
}

/// One pass over memory: each piece is summed twice while it is in the cache (mean, then squared distances from
/// it), and the pieces are merged in f64 (Chan et al. 1979), so nothing is lost to cancellation.
pub(super) fn moments(x: &[f32], channels: usize) -> Moments {
    let positions = x.len() / channels;
    let rows = (PIECE / channels).max(1);
    let pieces = positions.div_ceil(rows);
    let mut partial = vec![0.0; pieces * 2 * channels];
    for_pieces(&mut partial, 2 * channels, |i, partial| {
        let x = &x[i * rows * channels..((i + 1) * rows).min(positions) * channels];
        let (mean, square) = partial.split_at_mut(channels);
        vectorised(|| {
            for x in x.chunks_exact(channels) {
                for (mean, x) in mean.iter_mut().zip(x) {
                    *mean += x;
                }
            }
            let share = channels as f32 / x.len() as f32;
            for mean in mean.iter_mut() {
                *mean *= share;
            }
            for x in x.chunks_exact(channels) {
                for ((square, mean), x) in square.iter_mut().zip(mean.iter()).zip(x) {
                    *square += (x - mean) * (x - mean);
                }
            }
        });
    });
    let merged = (0..channels).map(|c| {
        let (mut count, mut mean, mut square) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (i, part) in partial.chunks_exact(2 * channels).enumerate() {
            let more = (((i + 1) * rows).min(positions) - i * rows) as f64;
            let distance = f64::from(part[c]) - mean;
            square += f64::from(part[channels + c]) + distance * distance * count * more / (count + more);
            count += more;
            mean += distance * more / count;
        }
        (mean as f32, (square / count) as f32)
    });
    let (mean, variance) = merged.unzip();
    Moments { mean, variance }
}

/// activation(scale * (x - mean) / sqrt(variance + eps) + shift), where mean and variance are those of x itself,
/// with its way back through all of them.
pub(super) struct BatchNorm {
    mean: Vec<f32>,
    /// 1 / sqrt(variance + eps).
    inverse: Vec<f32>,
    limits: Limits,
}

impl BatchNorm {
    /// For an x of these moments.
    pub(super) fn new(moments: &Moments, activation: Activation) -> Self {
        let inverse =
            moments.variance.iter().map(|v| (1.0 / (f64::from(*v) + BATCH_NORM_EPSILON).sqrt()) as f32);
        Self { mean: moments.mean.clone(), inverse: inverse.collect(), limits: limits(activation) }
    }

    /// (factor, term) of each channel: normalised and scaled is `factor * x + term`.
    fn line(&self, scale_and_shift: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (scale, shift) = scale_and_shift.split_at(self.mean.len());
        let factor: Vec<f32> = scale.iter().zip(&self.inverse).map(|(s, i)| s * i).collect();
        let term = shift.iter().zip(&factor).zip(&self.mean).map(|((s, f), m)| s - f * m).collect();
        (factor, term)
    }

    /// The norm of x, with its activation; `scale_and_shift` is `[2, C]`.
    pub(super) fn forward(&self, x: &[f32], scale_and_shift: &[f32]) -> candle_core::Result<Vec<f32>> {
        let channels = self.mean.len();
        let (factor, term) = self.line(scale_and_shift);
        let size = (PIECE / channels).max(1) * channels;
        let limits = self.limits;
        written(x.len(), size, |i, y| {
            let x = &x[i * size..i * size + y.len()];
            vectorised(|| {
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    let (factor, term, y) = (&factor[..x.len()], &term[..x.len()], &mut y[..x.len()]);
                    for c in 0..x.len() {
                        y[c].write(limits.apply(x[c] * factor[c] + term[c]));
                    }
                }
            });
            // SAFETY: whole positions, each channel of which has been written.
            unsafe { y.assume_init_mut() }
        })
    }

    /// Gradients of x and of scale and shift, `[2, C]`, from that of the output.
    ///
    /// With g the gradient before the activation and z the normalised x, both over M positions:
    /// shift gets sum g, scale gets sum g z, x gets factor (g - sum g / M - z sum(g z) / M)
    /// (Ioffe & Szegedy 2015, Sec. 3).
    pub(super) fn backward(
        &self,
        x: &[f32],
        scale_and_shift: &[f32],
        grad: &[f32],
    ) -> candle_core::Result<(Vec<f32>, Vec<f32>)> {
        let (channels, limits) = (self.mean.len(), self.limits);
        let (factor, term) = self.line(scale_and_shift);
        let rows = (PIECE / channels).max(1);
        let size = rows * channels;
        let positions = x.len() / channels;
        // First sum g, then sum g (x - mean); the factor `inverse` of z comes afterwards. Piece by piece, as above.
        let mut partial = vec![0.0; positions.div_ceil(rows) * 2 * channels];
        for_pieces(&mut partial, 2 * channels, |i, part| {
            let range = i * size..((i + 1) * size).min(x.len());
            let (shifts, scales) = part.split_at_mut(channels);
            vectorised(|| {
                let rows = x[range.clone()].chunks_exact(channels);
                for (x, g) in rows.zip(grad[range].chunks_exact(channels)) {
                    // All of one length, so that the loop needs no checks inside and becomes vectors.
                    let (factor, term, mean) = (&factor[..x.len()], &term[..x.len()], &self.mean[..x.len()]);
                    let (shifts, scales, g) = (&mut shifts[..x.len()], &mut scales[..x.len()], &g[..x.len()]);
                    for c in 0..x.len() {
                        let g = pass(limits, g[c], x[c] * factor[c] + term[c]);
                        shifts[c] += g;
                        scales[c] += g * (x[c] - mean[c]);
                    }
                }
            });
        });
        let mut sums = vec![0.0; 2 * channels];
        for part in partial.chunks_exact(2 * channels) {
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum += part;
            }
        }
        let (shifts, scales) = sums.split_at_mut(channels);
        for (scale, inverse) in scales.iter_mut().zip(&self.inverse) {
            *scale *= inverse;
        }
        let count = positions as f32;
        // x's gradient is factor * g - (slope * x + offset).
        let slope: Vec<f32> =
            (0..channels).map(|c| factor[c] * self.inverse[c] * scales[c] / count).collect();
        let offset: Vec<f32> =
            (0..channels).map(|c| factor[c] * shifts[c] / count - slope[c] * self.mean[c]).collect();
        let grad_x = written(x.len(), size, |i, out| {
            let range = i * size..i * size + out.len();
            let rows = x[range.clone()].chunks_exact(channels);
            let rows = rows.zip(grad[range].chunks_exact(channels));
            vectorised(|| {
                for (out, (x, g)) in out.chunks_exact_mut(channels).zip(rows) {
                    let (factor, term, out) = (&factor[..x.len()], &term[..x.len()], &mut out[..x.len()]);
                    let (slope, offset, g) = (&slope[..x.len()], &offset[..x.len()], &g[..x.len()]);
                    for c in 0..x.len() {
                        let g = pass(limits, g[c], x[c] * factor[c] + term[c]);
                        out[c].write(factor[c] * g - (slope[c] * x[c] + offset[c]));
                    }
                }
            });
            // SAFETY: whole positions, each channel of which has been written.
            unsafe { out.assume_init_mut() }
        })?;
        // Shift comes second.
        Ok((grad_x, [scales, shifts].concat()))
    }
}
