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

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use motion_net::config::Backbone;
    use motion_net::weights::{ParameterSource, Role};
    use motion_net::{CpuBackend, Weights};

    use super::*;
    use crate::parameters::Frozen;

    #[test]
    fn an_average_follows_and_changes_places() {
        let mut parameters =
            Parameters::new(Backbone::ResNet18, Weights::default(), Frozen::default(), 0, &Device::Cpu);
        let source: &mut dyn ParameterSource<CpuBackend> = &mut parameters;
        source.parameter("new_fc.bias", &[2], Role::Bias).unwrap();
        let (_, variable) = parameters.variables().next().unwrap();
        let mut average = Average::new(&parameters, 0.9).unwrap();
        change(variable, |values| values.copy_from_slice(&[1.0, -2.0])).unwrap();
        // The first step keeps 2/11 of the start, a late one the recipe's 0.9 of what there was.
        average.follow(&parameters, 1).unwrap();
        average.follow(&parameters, 1000).unwrap();
        let expected = 1.0 - 0.9 * 2.0 / 11.0;
        average.swap(&parameters).unwrap();
        let found = variable.to_vec1::<f32>().unwrap();
        assert!((found[0] - expected).abs() < 1e-6 && (found[1] + 2.0 * expected).abs() < 1e-6, "{found:?}");
        average.swap(&parameters).unwrap();
        assert_eq!(variable.to_vec1::<f32>().unwrap(), [1.0, -2.0]);
    }
}
