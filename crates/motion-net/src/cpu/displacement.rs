//! Displacement: correlation `[N, H, W, P*P]` in; displacement, confidence and best match of each position out.
//!
//! The best match and the Gaussian around it are constants to the gradient; it flows through the scores of the
//! softmax and through the largest correlation (published code; paper, Eq. 2 to 4).

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::correlation::Search;
use super::parallel::{for_pieces, vectorised};
use super::values::{activation, misshapen, slice, tensor, values, zeros};
use super::vectors::{dot, largest, sum};
use crate::Result;
use crate::backend::Match;
use crate::config::{Estimation, Estimator};

/// See [`crate::Backend::displacement`].
pub(super) fn displacement(scores: &Tensor, estimation: &Estimation) -> Result<Match<Tensor>> {
    estimation.check()?;
    let [n, h, w, area] = activation("displacement", scores)?;
    if area != estimation.patch * estimation.patch {
        let patch = estimation.patch;
        return Err(misshapen("displacement", scores, format!("[N, H, W, {patch} * {patch}]")));
    }
    let scores = scores.contiguous()?;
    let estimate = Estimate::new(estimation);
    if !scores.track_op() {
        let scores = values(&scores)?;
        let mut all = zeros(n * h * w * FOUND)?;
        for_pieces(&mut all, w * FOUND, |line, found| {
            estimate.line(&scores[line * w * area..][..w * area], found);
        });
        return apart([n, h, w], &all);
    }
    let mut argmax = zeros(n * h * w)?;
    {
        let scores = values(&scores)?;
        for_pieces(&mut argmax, w, |line, best| {
            for (column, best) in best.iter_mut().enumerate() {
                *best = best_match(&scores[(line * w + column) * area..][..area]) as f32;
            }
        });
    }
    let found = scores.apply_op1(estimate)?;
    Ok(Match {
        displacement: found.narrow(3, 0, 2)?.contiguous()?,
        confidence: found.narrow(3, 2, 1)?.contiguous()?,
        argmax: tensor(argmax, &[n, h, w, 1])?,
    })
}

/// See [`crate::Backend::match_frames`]: the correlation of one line at a time, never stored.
pub(super) fn match_frames(
    first: &Tensor,
    second: &Tensor,
    estimation: &Estimation,
) -> Result<Match<Tensor>> {
    estimation.check()?;
    let search = Search::new("match_frames", first, second, estimation.patch)?;
    let (first, second) = (first.contiguous()?, second.contiguous()?);
    let (first, second) = (values(&first)?, values(&second)?);
    let estimate = Estimate::new(estimation);
    let mut all = zeros(search.n * search.h * search.w * FOUND)?;
    search.run(&first, &second, &mut all, |scores, found| estimate.line(scores, found));
    apart([search.n, search.h, search.w], &all)
}

/// Values found for a position: dx, dy, confidence, index of the best match.
const FOUND: usize = 4;

/// What was found at every position, value by value.
fn apart([n, h, w]: [usize; 3], all: &[f32]) -> Result<Match<Tensor>> {
    let each = |range: std::ops::Range<usize>| {
        let data = all.chunks_exact(FOUND).flat_map(|found| found[range.clone()].iter().copied());
        tensor(data.collect(), &[n, h, w, range.len()])
    };
    Ok(Match { displacement: each(0..2)?, confidence: each(2..3)?, argmax: each(3..4)? })
}

/// Index of the largest score, the lowest on ties.
#[inline(always)]
fn best_match(scores: &[f32]) -> usize {
    let largest = largest(scores);
    scores.iter().position(|score| *score == largest).unwrap_or(0)
}

/// e^x for x <= 0, within 2e-7 of it relatively, in arithmetic that becomes vectors (the library's is a call for
/// each value). Cephes' `expf`: x = n ln 2 + r, and a polynomial in r.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Below, the result would not be a normal number; it is taken for e^-87, about 1e-38.
    let x = x.max(-87.0);
    let n = (x * std::f32::consts::LOG2_E - 0.5) as i32;
    let whole = n as f32;
    // ln 2 in two parts, the first short enough for an exact product.
    let r = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    (p * r * r + r + 1.0) * f32::from_bits(((n + 127) << 23) as u32)
}

/// What an estimation needs at every position, worked out once.
struct Estimate {
    patch: usize,
    /// 1 / tau.
    sharpness: f32,
    /// The Gaussian of every distance (dy, dx) in -(P-1) ..= P-1, or nothing for the soft-argmax.
    gaussian: Option<Vec<f32>>,
    /// Where each cell of the window is, from its centre.
    cells_x: Vec<f32>,
    cells_y: Vec<f32>,
}

impl Estimate {
    fn new(estimation: &Estimation) -> Self {
        let patch = estimation.patch;
        let reach = 2 * patch - 1;
        let gaussian = (estimation.estimator == Estimator::Kernel).then(|| {
            let distance = |i: usize| (i as f64 - (patch as f64 - 1.0)) / estimation.sigma;
            (0..reach * reach)
                .map(|i| (-(distance(i / reach).powi(2) + distance(i % reach).powi(2)) / 2.0).exp() as f32)
                .collect()
        });
        // A temperature next to nothing must stay a number in f32.
        let sharpness = (1.0 / estimation.temperature).min(1e30) as f32;
        let cells = |of: fn(usize, usize) -> usize| {
            (0..patch * patch).map(|i| of(i, patch) as f32 - (patch / 2) as f32).collect()
        };
        let (cells_x, cells_y) = (cells(|i, patch| i % patch), cells(|i, patch| i / patch));
        Self { patch, sharpness, gaussian, cells_x, cells_y }
    }

    /// The Gaussian's values over line `dy` of the window when it stands on the cell `best`.
    #[inline(always)]
    fn factors(&self, best: usize, dy: usize) -> Option<&[f32]> {
        let (patch, reach) = (self.patch, 2 * self.patch - 1);
        let from = (dy + patch - 1 - best / patch) * reach + patch - 1 - best % patch;
        self.gaussian.as_ref().map(|g| &g[from..from + patch])
    }

    /// Fills `weights` with the softmax's terms e^(score - largest). Gives the best match, their sum, and the
    /// expected cell (x, y) from the window's centre.
    #[inline(always)]
    fn weigh(&self, scores: &[f32], weights: &mut Vec<f32>) -> (usize, f32, [f32; 2]) {
        let patch = self.patch;
        weights.resize(patch * patch, 0.0);
        let best = best_match(scores);
        for dy in 0..patch {
            let line = dy * patch..(dy + 1) * patch;
            let (weights, scores) = (&mut weights[line.clone()], &scores[line]);
            match self.factors(best, dy) {
                Some(factors) => {
                    for ((weight, score), factor) in weights.iter_mut().zip(scores).zip(factors) {
                        *weight = score * factor * self.sharpness;
                    }
                }
                None => {
                    for (weight, score) in weights.iter_mut().zip(scores) {
                        *weight = score * self.sharpness;
                    }
                }
            }
        }
        let peak = largest(weights);
        for weight in weights.iter_mut() {
            *weight = exp(*weight - peak);
        }
        let total = sum(weights);
        (best, total, [dot(weights, &self.cells_x) / total, dot(weights, &self.cells_y) / total])
    }

    /// The positions of a line.
    fn line(&self, scores: &[f32], found: &mut [f32]) {
        let area = self.patch * self.patch;
        let each = found.len() / (scores.len() / area);
        let mut scratch = Vec::new();
        for (scores, found) in scores.chunks_exact(area).zip(found.chunks_exact_mut(each)) {
            self.run(scores, found, &mut scratch);
        }
    }

    /// One position: dx, dy, confidence and, where there is room for it, the best match.
    fn run(&self, scores: &[f32], found: &mut [f32], scratch: &mut Vec<f32>) {
        let (best, _, [x, y]) = vectorised(|| self.weigh(scores, scratch));
        let radius = (self.patch / 2) as f32;
        let all = [x / radius, y / radius, scores[best], best as f32];
        found.copy_from_slice(&all[..found.len()]);
    }
}

impl CustomOp1 for Estimate {
    fn name(&self) -> &'static str {
        "displacement"
    }

    /// `[N, H, W, 3]`: dx, dy, confidence.
    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (scores, (n, h, w, area)) = (slice(scores, layout)?, layout.shape().dims4()?);
        let mut out = zeros(n * h * w * 3)?;
        for_pieces(&mut out, w * 3, |line, out| self.line(&scores[line * w * area..][..w * area], out));
        Ok((CpuStorage::F32(out), Shape::from((n, h, w, 3))))
    }

    /// d(dx)/d(score i) = gaussian i / tau * probability i * (dx of cell i - dx) / radius, dy alike, and 1 from
    /// the confidence to the best match's score.
    fn bwd(&self, scores: &Tensor, _found: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (_, _, w, area) = scores.dims4()?;
        let grad = grad.contiguous()?;
        let (all, grad) = (values(scores)?, values(&grad)?);
        let (patch, radius) = (self.patch, (self.patch / 2) as f32);
        let mut out = zeros(all.len())?;
        for_pieces(&mut out, w * area, |line, out| {
            let mut weights = Vec::new();
            for (column, out) in out.chunks_exact_mut(area).enumerate() {
                let at = line * w + column;
                let scores = &all[at * area..(at + 1) * area];
                let [grad_x, grad_y, grad_confidence] = [grad[3 * at], grad[3 * at + 1], grad[3 * at + 2]];
                vectorised(|| {
                    let (best, total, [x, y]) = self.weigh(scores, &mut weights);
                    let scale = self.sharpness / (total * radius);
                    for (dy, (out, weights)) in
                        out.chunks_exact_mut(patch).zip(weights.chunks_exact(patch)).enumerate()
                    {
                        let along_y = grad_y * (dy as f32 - radius - y);
                        for (dx, (out, weight)) in out.iter_mut().zip(weights).enumerate() {
                            *out = scale * weight * (grad_x * (dx as f32 - radius - x) + along_y);
                        }
                        if let Some(factors) = self.factors(best, dy) {
                            for (out, factor) in out.iter_mut().zip(factors) {
                                *out *= factor;
                            }
                        }
                    }
                    out[best] += grad_confidence;
                });
            }
        });
        tensor(out, scores.dims()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_the_exponential() {
        for i in 0..=87_000 {
            let x = -(i as f32) / 1000.0;
            let expected = f64::from(x).exp();
            let relative = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(relative < 2e-7, "exp({x}) is off by {relative:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        // Nothing beside any other term, and a number.
        assert!((0.0..1e-37).contains(&exp(f32::NEG_INFINITY)) && exp(-1e30) < 1e-37);
    }
}
