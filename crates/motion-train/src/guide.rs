//! Guided training: the true flow of the rendered clips says where each position's best match is. The paper trains
//! by the class alone; this is ours.
//!
//! Two terms for every position whose truth is known and inside the search window, both on its P x P correlation:
//! the cross entropy of the true cell under the softmax (a position between cells is shared among the four around
//! it), which has a gradient however far off the map is, and the distance of the shown displacement from the true
//! one, which makes it right between cells. Positions that move count as much, together, as those that do not.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use motion_net::{Estimation, Training};
use rayon::prelude::*;

use crate::error::Result;
use crate::recipe::Guide;

/// A position that moves less, in cells, stands still.
const MOVES: f32 = 0.5;
/// Where few positions move, each counts at most so many times one that stands still.
const WEIGHT_LIMIT: f32 = 8.0;

/// The guide's loss of one stage: `pairs` are unit-length features, `[N, h, w, c]` each, in the order in which the
/// truth runs, `truth` is `[N, h, w, 2]`, (dx, dy) in cells, not finite where there is none.
///
/// # Errors
/// When shapes do not fit or the backend fails.
pub fn loss<B: Training>(
    b: &B,
    (from, to): (&Tensor, &Tensor),
    truth: &[f32],
    guide: &Guide,
    estimation: &Estimation,
) -> Result<Tensor> {
    let radius = estimation.radius() as f32;
    let truth = truth.as_chunks::<2>().0;
    let weights = weights(truth, radius);
    let scores = b.correlation(from, to, estimation.patch)?;
    let (n, h, w, _) = scores.dims4()?;
    // In units of the radius, as the map.
    let target = truth
        .iter()
        .zip(&weights)
        .flat_map(|(d, weight)| d.map(|d| if *weight > 0.0 { d / radius } else { 0.0 }));
    let target = Tensor::from_vec(target.collect(), (n, h, w, 2), b.device())?;
    let found = b.displacement(&scores, estimation)?.displacement;
    // A little more than the square under the root: it has a slope at zero.
    let distance = (((found - target)?.sqr()?.sum(3)? + 1e-6)?.sqrt()? * f64::from(radius))?;
    let end_point = (distance * Tensor::from_vec(weights.clone(), (n, h, w), b.device())?)?.sum_all()?;
    let likelihood = Likelihood {
        truth: inside(truth, [h, w]),
        weights,
        patch: estimation.patch,
        sharpness: (1.0 / guide.temperature) as f32,
    };
    let likelihood = match b.device().is_cpu() {
        true => scores.contiguous()?.apply_op1(likelihood)?.sum_all()?,
        false => likelihood.composed(&scores)?,
    };
    Ok(((end_point * guide.end_point)? + (likelihood * guide.likelihood)?)?)
}

/// The truth as far as it can be found: what leaves the picture leads to the border where it leaves, for there is
/// nothing beyond. Maps that have learnt this point the right way where they cannot know how far.
fn inside(truth: &[[f32; 2]], [height, width]: [usize; 2]) -> Vec<[f32; 2]> {
    let within = |from: usize, d: f32, side: usize| d.clamp(-(from as f32), (side - 1 - from) as f32);
    let found = |(at, d): (usize, &[f32; 2])| {
        let (x, y) = (at % width, at / width % height);
        [within(x, d[0], width), within(y, d[1], height)]
    };
    truth.iter().enumerate().map(found).collect()
}

/// What each position counts, 1 in all; 0 where the truth is unknown or outside the window.
fn weights(truth: &[[f32; 2]], radius: f32) -> Vec<f32> {
    let kind = |d: &[f32; 2]| match d.iter().all(|d| d.abs() <= radius) {
        true => Some(d[0].hypot(d[1]) >= MOVES),
        false => None,
    };
    let count = |moves| truth.iter().filter(|d| kind(d) == Some(moves)).count() as f32;
    let (moving, still) = (count(true), count(false));
    let weight = (still / moving.max(1.0)).clamp(1.0, WEIGHT_LIMIT);
    let all = (moving * weight + still).max(1.0);
    truth.iter().map(|d| kind(d).map_or(0.0, |moves| if moves { weight / all } else { 1.0 / all })).collect()
}

/// Weighted cross entropy of the true cell: scores `[N, h, w, P*P]` in, `[N, h, w]` out.
struct Likelihood {
    truth: Vec<[f32; 2]>,
    weights: Vec<f32>,
    patch: usize,
    sharpness: f32,
}

impl Likelihood {
    /// The cells around a true displacement and what share of it each has.
    fn shares(&self, [dx, dy]: [f32; 2]) -> [(usize, f32); 4] {
        let radius = (self.patch / 2) as f32;
        let split = |d: f32| {
            let low = (d + radius).floor().clamp(0.0, 2.0 * radius - 1.0);
            (low as usize, d + radius - low)
        };
        let ((x, right), (y, down)) = (split(dx), split(dy));
        let cell = y * self.patch + x;
        [
            (cell, (1.0 - right) * (1.0 - down)),
            (cell + 1, right * (1.0 - down)),
            (cell + self.patch, (1.0 - right) * down),
            (cell + self.patch + 1, right * down),
        ]
    }

    /// The sum of what the operation gives, as a composition of candle's own, for other devices than the CPU.
    fn composed(&self, scores: &Tensor) -> candle_core::Result<Tensor> {
        let (n, h, w, area) = scores.dims4()?;
        let positions = n * h * w;
        let shares: Vec<_> = self.truth.iter().map(|truth| self.shares(*truth)).collect();
        let cells = shares.iter().flatten().map(|(cell, _)| *cell as u32).collect();
        let counts = shares.iter().zip(&self.weights);
        let counts = counts.flat_map(|(shares, weight)| shares.map(|(_, share)| share * weight)).collect();
        let of_cells = |device| Tensor::from_vec(cells, (positions, 4), device);
        let of_counts = |device| Tensor::from_vec(counts, (positions, 4), device);
        let sharpened = (scores.reshape((positions, area))? * f64::from(self.sharpness))?;
        let log = candle_nn::ops::log_softmax(&sharpened, 1)?;
        log.gather(&of_cells(scores.device())?, 1)?.mul(&of_counts(scores.device())?)?.sum_all()?.neg()
    }

    /// Fills `terms` with e^(sharpness (score - largest)); gives the largest score and the sum.
    fn weigh(&self, scores: &[f32], terms: &mut Vec<f32>) -> (f32, f32) {
        let largest = scores.iter().copied().fold(f32::MIN, f32::max);
        terms.clear();
        terms.extend(scores.iter().map(|score| ((score - largest) * self.sharpness).exp()));
        (largest, terms.iter().sum())
    }
}

fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let (start, end) =
        layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: "likelihood" })?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

impl CustomOp1 for Likelihood {
    fn name(&self) -> &'static str {
        "likelihood"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (n, h, w, area) = layout.shape().dims4()?;
        let scores = numbers(scores, layout)?;
        let out: Vec<f32> = scores
            .par_chunks_exact(area)
            .zip(&self.weights)
            .zip(&self.truth)
            .map_init(Vec::new, |terms, ((scores, &weight), &truth)| {
                if weight == 0.0 {
                    return 0.0;
                }
                let (largest, sum) = self.weigh(scores, terms);
                let mean: f32 =
                    self.shares(truth).iter().map(|(cell, share)| share * (scores[*cell] - largest)).sum();
                weight * (sum.ln() - self.sharpness * mean)
            })
            .collect();
        Ok((CpuStorage::F32(out), Shape::from((n, h, w))))
    }

    /// d/d(score i) = weight / tau (probability i - share of cell i).
    fn bwd(&self, scores: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let area = self.patch * self.patch;
        let (storage, layout) = scores.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else { return Ok(None) };
        let scores_in = numbers(storage, layout)?;
        let grad = grad.flatten_all()?.to_vec1::<f32>()?;
        let mut out = vec![0.0; scores_in.len()];
        out.par_chunks_exact_mut(area).zip(scores_in.par_chunks_exact(area)).enumerate().for_each_init(
            Vec::new,
            |terms, (at, (out, scores))| {
                let scale = grad[at] * self.weights[at] * self.sharpness;
                if scale == 0.0 {
                    return;
                }
                let (_, sum) = self.weigh(scores, terms);
                out.iter_mut().zip(terms.iter()).for_each(|(out, term)| *out = scale * term / sum);
                for (cell, share) in self.shares(self.truth[at]) {
                    out[cell] -= scale * share;
                }
            },
        );
        Tensor::from_vec(out, scores.shape(), scores.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use motion_net::{Backend, CpuBackend};

    const GUIDE: Guide = Guide { likelihood: 1.0, temperature: 0.05, end_point: 0.5 };

    fn features(seed: u32) -> Vec<f32> {
        (0..2 * 6 * 6 * 4).map(|i| ((i * 37 + seed * 101) % 23) as f32 / 23.0).collect()
    }

    fn estimation() -> Estimation {
        Estimation { patch: 5, ..Estimation::default() }
    }

    fn value(from: &[f32], to: &[f32], truth: &[f32]) -> f32 {
        let tensor = |data: &[f32]| Tensor::from_slice(data, (2, 6, 6, 4), &Device::Cpu).unwrap();
        let b = CpuBackend::new();
        let unit = |data| b.unit_length(&tensor(data)).unwrap();
        loss(&b, (&unit(from), &unit(to)), truth, &GUIDE, &estimation()).unwrap().to_scalar().unwrap()
    }

    /// What trains on a card does as what trains on the CPU, its gradient too.
    #[test]
    fn the_composed_likelihood_is_the_same() {
        let scores = Tensor::rand(0f32, 1.0, (2, 3, 4, 25), &Device::Cpu).unwrap();
        let likelihood = || Likelihood {
            truth: (0..24).map(|i| [(i % 5) as f32 * 0.9 - 2.0, (i % 3) as f32 * 0.7 - 0.6]).collect(),
            weights: (0..24).map(|i| (i % 4) as f32).collect(),
            patch: 5,
            sharpness: 20.0,
        };
        let (first, second) = (Var::from_tensor(&scores).unwrap(), Var::from_tensor(&scores).unwrap());
        let one = first.as_tensor().clone().apply_op1(likelihood()).unwrap().sum_all().unwrap();
        let other = likelihood().composed(second.as_tensor()).unwrap();
        let value = |loss: &Tensor| loss.to_scalar::<f32>().unwrap();
        // Sums of 24 terms of up to 60.
        assert!((value(&one) - value(&other)).abs() < 1e-3, "{one} {other}");
        let gradient = |loss: &Tensor, of: &Var| {
            loss.backward().unwrap().get(of).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        for (one, other) in gradient(&one, &first).iter().zip(gradient(&other, &second)) {
            assert!((one - other).abs() < 1e-3, "{one} {other}");
        }
    }

    #[test]
    fn truth_costs_less_than_falsehood() {
        let first = features(1);
        // Everything moves one cell to the right.
        let mut second = first.clone();
        for line in 0..12 {
            second[line * 24 + 4..(line + 1) * 24].copy_from_slice(&first[line * 24..line * 24 + 20]);
        }
        let all = |d: [f32; 2]| [d; 72].as_flattened().to_vec();
        let right = value(&first, &second, &all([1.0, 0.0]));
        assert!(right < value(&first, &second, &all([-1.0, 0.0])) - 1.0);
        // Nothing is known, or it is out of reach: nothing to say.
        assert_eq!(value(&first, &second, &all([f32::NAN; 2])), 0.0);
        assert_eq!(value(&first, &second, &all([3.0, 0.0])), 0.0);
    }

    #[test]
    fn what_leaves_the_picture_leads_to_its_border() {
        let truth = [[-2.0, 0.5], [1.5, -1.0], [0.5, 1.0], [f32::NAN, 0.0]];
        let found = inside(&truth, [2, 2]);
        assert_eq!(found[..3], [[0.0, 0.5], [0.0, 0.0], [0.5, 0.0]]);
    }

    #[test]
    fn moving_positions_weigh_as_much_as_still_ones() {
        let truth = [[1.0, 0.0], [0.0, 0.0], [0.1, 0.0], [0.0, -0.2], [f32::NAN, 0.0], [9.0, 0.0]];
        assert_eq!(weights(&truth, 7.0), [0.5, 0.5 / 3.0, 0.5 / 3.0, 0.5 / 3.0, 0.0, 0.0]);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let truth: Vec<f32> = (0..144).map(|i| ((i * 13) % 41) as f32 / 10.0 - 2.05).collect();
        let start: Vec<f32> = (0..2 * 36 * 25).map(|i| ((i * 29) % 31) as f32 / 31.0).collect();
        let op = || {
            let truth = truth.as_chunks::<2>().0.to_vec();
            let weights = weights(&truth, 2.0);
            Likelihood { truth, weights, patch: 5, sharpness: 10.0 }
        };
        let shaped = |data: &[f32]| Tensor::from_slice(data, (2, 6, 6, 25), &Device::Cpu).unwrap();
        let value = |data: &[f32]| -> f32 {
            shaped(data).apply_op1(op()).unwrap().sum_all().unwrap().to_scalar().unwrap()
        };
        let variable = Var::from_tensor(&shaped(&start)).unwrap();
        let sum = variable.apply_op1(op()).unwrap().sum_all().unwrap();
        let gradients = sum.backward().unwrap();
        let gradient = gradients.get(&variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for i in (0..start.len()).step_by(7) {
            let at = |step: f32| {
                let mut moved = start.clone();
                moved[i] += step;
                value(&moved)
            };
            let difference = (at(5e-3) - at(-5e-3)) / 1e-2;
            assert!((gradient[i] - difference).abs() < 2e-4, "{i}: {} {difference}", gradient[i]);
        }
    }
}
