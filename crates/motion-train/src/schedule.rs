//! A step's number in, its step size out, as a share of the top: a warm-up, then one of three ways on.

use serde::Deserialize;

/// How the step size goes on after the warm-up.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Down to 0 along half a cosine (Loshchilov and Hutter, 2017).
    #[default]
    Cosine,
    /// It stays.
    Constant,
    /// Times `factor` after each of these epochs; 20, 30 and 0.1 in the published code for Something-Something.
    Step {
        /// Finished epochs, counted from the start of the run.
        epochs: Vec<usize>,
        /// Above 0, at most 1.
        factor: f64,
    },
}

impl Schedule {
    /// Step size of step `step` (from 0) as a share of its top. The run has `epochs` epochs of `steps` steps; in the
    /// share `warm_up` of them it rises from 0.
    pub fn share(&self, step: usize, steps: usize, epochs: usize, warm_up: f64) -> f64 {
        let progress = (step as f64 + 0.5) / (steps * epochs).max(1) as f64;
        if progress < warm_up {
            return progress / warm_up;
        }
        match self {
            Self::Cosine => {
                0.5 * (1.0 + (std::f64::consts::PI * (progress - warm_up) / (1.0 - warm_up)).cos())
            }
            Self::Constant => 1.0,
            Self::Step { epochs, factor } => {
                let finished = step / steps.max(1);
                factor.powi(epochs.iter().filter(|&&epoch| epoch <= finished).count() as i32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    fn shares(schedule: &Schedule, warm_up: f64) -> Vec<f64> {
        (0..100).map(|step| schedule.share(step, 10, 10, warm_up)).collect()
    }

    #[test]
    fn every_schedule_rises_first() {
        let step = Schedule::Step { epochs: vec![5], factor: 0.1 };
        for schedule in [Schedule::Cosine, Schedule::Constant, step] {
            let shares = shares(&schedule, 0.1);
            assert!(shares[0] < 0.1 && shares[9] > 0.9 && shares[10] > 0.99, "{schedule:?}");
        }
    }

    #[test]
    fn a_cosine_falls_to_nothing() {
        let shares = shares(&Schedule::Cosine, 0.1);
        assert!(shares[10..].windows(2).all(|pair| pair[1] < pair[0]) && shares[99] < 0.01);
    }

    #[test]
    fn steps_are_taken_after_their_epochs() {
        let shares = shares(&Schedule::Step { epochs: vec![2, 7], factor: 0.1 }, 0.0);
        for (step, share) in shares.into_iter().enumerate() {
            let expected = if step < 20 {
                1.0
            } else if step < 70 {
                0.1
            } else {
                0.01
            };
            assert!((share - expected).abs() < 1e-12, "{step}: {share}");
        }
    }
}
