//! Parameters step by step in, their exponential moving average out (Polyak and Juditsky, 1992): less noisy than the
//! last step's.

use std::collections::BTreeMap;

use motion_kernels::vectorised;
use rayon::prelude::*;

use crate::error::Result;
use crate::in_place::{PIECE, change, read};
use crate::parameters::Parameters;

/// Averages of every variable, the norms' statistics among them.
#[derive(Debug)]
pub(crate) struct Average {
    pub(crate) decay: f64,
    /// By parameter.
    pub(crate) values: BTreeMap<String, Vec<f32>>,
}

impl Average {
    /// Starts from the values that there are.
    pub(crate) fn new(parameters: &Parameters, decay: f64) -> Result<Self> {
        let values = parameters
            .variables()
            .map(|(name, variable)| Ok((name.clone(), read(variable, <[f32]>::to_vec)?)))
            .collect::<Result<_>>()?;
        Ok(Self { decay, values })
    }

    /// Moves towards the values after step `step` (from 1): average = d average + (1 - d) value with the recipe's d,
    /// less in the first steps, so that the start is soon forgotten: at most (1 + step) / (10 + step).
    pub(crate) fn follow(&mut self, parameters: &Parameters, step: usize) -> Result<()> {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        let new = (1.0 - decay) as f32;
        for (name, variable) in parameters.variables() {
            let Some(average) = self.values.get_mut(name) else { continue };
            read(variable, |values| {
                let pieces = average.par_chunks_mut(PIECE).zip(values.par_chunks(PIECE));
                pieces.for_each(|(average, values)| {
                    vectorised(|| {
                        for (average, value) in average.iter_mut().zip(values) {
                            *average += new * (value - *average);
                        }
                    });
                });
            })?;
        }
        Ok(())
    }

    /// Averages and values change places.
    pub(crate) fn swap(&mut self, parameters: &Parameters) -> Result<()> {
        for (name, variable) in parameters.variables() {
            let Some(average) = self.values.get_mut(name) else { continue };
            change(variable, |values| values.swap_with_slice(average))?;
        }
        Ok(())
    }
}
