//! Gradients in, changed parameters out: AdamW (Loshchilov and Hutter, 2019) with a warm-up and a cosine.

use std::collections::BTreeMap;

use candle_core::{Tensor, backprop::GradStore};
use motion_net::weights::Role;
use motion_net::{HostTensor, Weights};

use crate::error::Result;
use crate::parameters::Parameters;
use crate::recipe::Recipe;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Moments of every parameter, and the step that we are at.
pub struct AdamW {
    step: usize,
    moments: BTreeMap<String, (Tensor, Tensor)>,
}

/// Step size as a share of its top: a rise from 0, then a cosine down to 0.
pub fn schedule(step: usize, steps: usize, warm_up: f64) -> f64 {
    let progress = (step as f64 + 0.5) / steps.max(1) as f64;
    if progress < warm_up {
        progress / warm_up
    } else {
        0.5 * (1.0 + (std::f64::consts::PI * (progress - warm_up) / (1.0 - warm_up)).cos())
    }
}

impl AdamW {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { step: 0, moments: BTreeMap::new() }
    }

    /// One step down the gradients, of `steps` in all.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &GradStore,
        recipe: &Recipe,
        steps: usize,
    ) -> Result<()> {
        let rate = recipe.learning_rate * schedule(self.step, steps, recipe.warm_up);
        self.step += 1;
        let trained: Vec<_> = parameters
            .iter()
            .filter_map(|(name, parameter)| {
                let variable = parameter.variable.as_ref()?;
                Some((name, parameter, variable, gradients.get(variable.as_tensor())?))
            })
            .collect();
        let mut square = 0.0;
        for (.., gradient) in &trained {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let shrink = (recipe.gradient_clip / square.sqrt().max(1e-12)).min(1.0);
        let (correct1, correct2) = (1.0 - BETA1.powi(self.step as i32), 1.0 - BETA2.powi(self.step as i32));
        for (name, parameter, variable, gradient) in trained {
            let gradient = (gradient.detach() * shrink)?;
            let (first, second) = match self.moments.remove(name) {
                Some(moments) => moments,
                None => (gradient.zeros_like()?, gradient.zeros_like()?),
            };
            let first = ((first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            let second = ((second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let update = ((&first / correct1)? / ((&second / correct2)?.sqrt()? + EPSILON)?)?;
            let rate = if parameter.stage.is_some() { rate * recipe.backbone_rate } else { rate };
            let decay = if parameter.role == Role::Weight { recipe.weight_decay } else { 0.0 };
            let kept = (variable.as_tensor().detach() * (1.0 - rate * decay))?;
            variable.set(&(kept - (update * rate)?)?)?;
            self.moments.insert(name.clone(), (first, second));
        }
        Ok(())
    }

    /// Everything needed to go on later.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn state(&self) -> Result<Weights> {
        let mut tensors =
            BTreeMap::from([("step".to_owned(), HostTensor::new([1], vec![self.step as f32])?)]);
        for (name, (first, second)) in &self.moments {
            for (part, tensor) in [("first", first), ("second", second)] {
                let values = tensor.flatten_all()?.to_vec1()?;
                tensors.insert(format!("{part}.{name}"), HostTensor::new(tensor.dims(), values)?);
            }
        }
        Ok(Weights::new(tensors))
    }

    /// Goes on from [`Self::state`].
    ///
    /// # Errors
    /// When the backend fails.
    pub fn restore(state: &Weights) -> Result<Self> {
        let mut restored = Self::new();
        for (name, tensor) in state.tensors() {
            let read = |tensor: &HostTensor| {
                Tensor::from_slice(&tensor.data, tensor.shape.as_slice(), &candle_core::Device::Cpu)
            };
            if name == "step" {
                restored.step = tensor.data.first().copied().unwrap_or_default() as usize;
            } else if let Some(name) = name.strip_prefix("first.")
                && let Some(second) = state.tensors().get(&format!("second.{name}"))
            {
                restored.moments.insert(name.to_owned(), (read(tensor)?, read(second)?));
            }
        }
        Ok(restored)
    }
}

impl Default for AdamW {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::schedule;

    #[test]
    fn the_step_size_rises_then_falls() {
        let rates: Vec<f64> = (0..100).map(|step| schedule(step, 100, 0.1)).collect();
        assert!(rates[0] < 0.1 && rates[9] > 0.9 && rates[10] > 0.99 && rates[99] < 0.01);
        assert!(rates[10..].windows(2).all(|pair| pair[1] < pair[0]));
    }
}
