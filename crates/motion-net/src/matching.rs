//! The search of one position, step by step: unit-length features of two frames in; out everything between them and the
//! displacement, for whoever wants to look.
//!
//! Written straight from the definitions, one position at a time; the backends compute the same for all of them at once,
//! and a test holds this against them.

use crate::backend::HostTensor;
use crate::config::Estimation;
use crate::{Error, Result};

/// What a position was compared with, and what became of it. Surfaces are `[P * P]`, dy-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// P: side of the window.
    pub patch: usize,
    /// Whether each cell of the window lies on the map.
    pub inside: Vec<bool>,
    /// relu(<first(y, x), second(y + dy, x + dx)>), 0 outside of the map (paper, Eq. 1).
    pub correlation: Vec<f32>,
    /// Index of the best match, the lowest on ties.
    pub argmax: usize,
    /// The Gaussian around the best match (paper, Eq. 3).
    pub gaussian: Vec<f32>,
    /// Correlation times Gaussian.
    pub masked: Vec<f32>,
    /// Soft-argmax (paper, Eq. 2).
    pub soft: Estimate,
    /// Kernel-soft-argmax (paper, Eq. 3).
    pub kernel: Estimate,
}

/// What an estimator makes of scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Softmax of the scores over the temperature, 1 in all.
    pub weights: Vec<f32>,
    /// (dx, dy) in cells: the weighted mean of the window's cells.
    pub displacement: [f32; 2],
}

impl Matching {
    /// The search of position (`x`, `y`) of frame pair `pair`; the features are `[N, h, w, c]` each. Of `estimation`
    /// window, Gaussian and temperature count: both estimators are worked out.
    ///
    /// # Errors
    /// [`Error::Shape`] when the features do not fit together or have no such position, [`Error::Config`] for an estimation
    /// that is none.
    pub fn of(
        (first, second): (&HostTensor, &HostTensor),
        pair: usize,
        [x, y]: [usize; 2],
        estimation: &Estimation,
    ) -> Result<Self> {
        estimation.check()?;
        let wrong = || Error::Shape {
            operation: "matching",
            found: [&first.shape[..], &second.shape[..]].concat(),
            expected: format!("twice [N, h, w, c] with a pair {pair} and a position ({x}, {y})"),
        };
        let &[pairs, height, width, channels] = first.shape.as_slice() else { return Err(wrong()) };
        if second.shape != first.shape || pair >= pairs || x >= width || y >= height {
            return Err(wrong());
        }
        let features = |of: &HostTensor, [x, y]: [usize; 2]| {
            of.data[((pair * height + y) * width + x) * channels..][..channels].to_vec()
        };
        let here = features(first, [x, y]);
        let Estimation { patch, sigma, temperature, .. } = *estimation;
        let radius = patch / 2;
        let neighbour = |cell: usize| {
            let column = (x + cell % patch).checked_sub(radius).filter(|column| *column < width)?;
            let line = (y + cell / patch).checked_sub(radius).filter(|line| *line < height)?;
            Some([column, line])
        };
        let score = |cell: usize| {
            neighbour(cell).map_or(0.0, |at| {
                here.iter().zip(features(second, at)).map(|(a, b)| a * b).sum::<f32>().max(0.0)
            })
        };
        let cells = 0..patch * patch;
        let correlation: Vec<f32> = cells.clone().map(score).collect();
        let argmax =
            cells.clone().fold(0, |best, i| if correlation[i] > correlation[best] { i } else { best });
        let square = |a: usize, b: usize| (a as f64 - b as f64).powi(2);
        let gaussian: Vec<f32> = cells
            .clone()
            .map(|i| {
                let distance = square(i % patch, argmax % patch) + square(i / patch, argmax / patch);
                (-distance / (2.0 * sigma * sigma)).exp() as f32
            })
            .collect();
        let masked: Vec<f32> = correlation.iter().zip(&gaussian).map(|(score, mask)| score * mask).collect();
        Ok(Self {
            patch,
            inside: cells.map(|cell| neighbour(cell).is_some()).collect(),
            argmax,
            soft: Estimate::of(&correlation, patch, temperature),
            kernel: Estimate::of(&masked, patch, temperature),
            correlation,
            gaussian,
            masked,
        })
    }

    /// (dx, dy) of the best match in cells.
    pub fn best(&self) -> [isize; 2] {
        let radius = (self.patch / 2) as isize;
        [self.argmax % self.patch, self.argmax / self.patch].map(|place| place as isize - radius)
    }

    /// The largest correlation.
    pub fn confidence(&self) -> f32 {
        self.correlation[self.argmax]
    }
}

impl Estimate {
    fn of(scores: &[f32], patch: usize, temperature: f64) -> Self {
        let largest = scores.iter().copied().fold(f32::MIN, f32::max);
        let terms: Vec<f64> =
            scores.iter().map(|score| (f64::from(score - largest) / temperature).exp()).collect();
        let sum: f64 = terms.iter().sum();
        let radius = (patch / 2) as f64;
        let mean = |place: fn(usize, usize) -> usize| {
            terms.iter().enumerate().map(|(i, term)| term * place(i, patch) as f64).sum::<f64>() / sum
                - radius
        };
        let displacement = [mean(|i, patch| i % patch), mean(|i, patch| i / patch)].map(|d| d as f32);
        Self { weights: terms.iter().map(|term| (term / sum) as f32).collect(), displacement }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Estimator;
    use crate::{Backend, CpuBackend};

    fn features(seed: usize) -> HostTensor {
        let data = (0..2 * 5 * 6 * 4).map(|i| ((i * 37 + seed * 101) % 23) as f32 / 23.0 - 0.2).collect();
        HostTensor::new([2, 5, 6, 4], data).unwrap()
    }

    fn read(b: &CpuBackend, tensor: &candle_core::Tensor) -> HostTensor {
        pollster::block_on(b.read(tensor)).unwrap()
    }

    /// Every position finds what the network finds there.
    #[test]
    fn the_story_ends_as_the_network_says() {
        let b = CpuBackend::new();
        let [first, second] = [1, 2].map(|seed| b.unit_length(&b.upload(&features(seed)).unwrap()).unwrap());
        let (first_host, second_host) = (read(&b, &first), read(&b, &second));
        for estimator in [Estimator::Soft, Estimator::Kernel] {
            let estimation = Estimation { estimator, patch: 5, sigma: 1.5, temperature: 0.05 };
            let found = b.match_frames(&first, &second, &estimation).unwrap();
            let [displacement, confidence, argmax] =
                [&found.displacement, &found.confidence, &found.argmax].map(|map| read(&b, map).data);
            for at in 0..2 * 5 * 6 {
                let (pair, y, x) = (at / 30, at / 6 % 5, at % 6);
                let story = Matching::of((&first_host, &second_host), pair, [x, y], &estimation).unwrap();
                let estimate = if estimator == Estimator::Soft { &story.soft } else { &story.kernel };
                for axis in 0..2 {
                    // Sums of 25 terms in another order.
                    let difference = estimate.displacement[axis] - 2.0 * displacement[2 * at + axis];
                    assert!(difference.abs() < 1e-4, "({x}, {y}), pair {pair}: {difference}");
                }
                assert!((story.confidence() - confidence[at]).abs() < 1e-6);
                assert_eq!(story.argmax, argmax[at] as usize);
                assert!((estimate.weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_corner_sees_a_quarter_of_its_window() {
        let (first, second) = (features(1), features(2));
        let estimation = Estimation { patch: 3, ..Estimation::default() };
        let story = Matching::of((&first, &second), 0, [0, 0], &estimation).unwrap();
        assert_eq!(story.inside.iter().filter(|inside| **inside).count(), 4);
        assert!(story.inside.iter().zip(&story.correlation).all(|(inside, score)| *inside || *score == 0.0));
        assert_eq!(story.gaussian[story.argmax], 1.0);
        let [dx, dy] = story.best();
        assert!((0..=1).contains(&dx) && (0..=1).contains(&dy));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let (first, second) = (features(1), features(2));
        for (pair, at) in [(2, [0, 0]), (0, [6, 0]), (0, [0, 5])] {
            let error = Matching::of((&first, &second), pair, at, &Estimation::default()).unwrap_err();
            assert!(error.to_string().contains("a pair"), "{error}");
        }
        let even = Estimation { patch: 4, ..Estimation::default() };
        assert!(Matching::of((&first, &second), 0, [0, 0], &even).is_err());
    }
}
