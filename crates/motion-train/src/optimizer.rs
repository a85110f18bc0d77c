//! Gradients in, changed parameters out: AdamW (Loshchilov and Hutter, 2019), or stochastic gradient descent with
//! momentum as PyTorch has it.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use motion_kernels::vectorised;
use motion_net::weights::Role;
use rayon::prelude::*;
use serde::Deserialize;

use crate::error::Result;
use crate::in_place::{PIECE, square, update};
use crate::parameters::{Parameter, Parameters};
use crate::recipe::Recipe;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Steps of about one size for every parameter; weight decay apart from the gradient.
    #[default]
    Adamw,
    /// Momentum, Nesterov's unless the recipe says otherwise; weight decay is part of the gradient (published code).
    Sgd,
}

/// What the optimizer remembers of every parameter, and the step that it is at.
#[derive(Debug, Default)]
pub struct Optimizer {
    /// Steps taken.
    pub(crate) step: usize,
    /// By parameter.
    pub(crate) moments: BTreeMap<String, Moments>,
}

/// Running means of a parameter's gradient and of its square.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    /// AdamW: mean of the gradient; SGD: the momentum.
    pub(crate) first: Vec<f32>,
    /// AdamW: mean of its square; SGD: empty.
    pub(crate) second: Vec<f32>,
}

impl Moments {
    /// Of nothing seen yet.
    fn zero(method: Method, length: usize) -> Self {
        let second = if method == Method::Adamw { length } else { 0 };
        Self { first: vec![0.0; length], second: vec![0.0; second] }
    }
}

/// Numbers of one parameter's step.
struct Step {
    rate: f64,
    decay: f64,
    /// What its gradient is multiplied by, so that all together are not longer than the recipe's `gradient_clip`.
    shrink: f32,
}

impl Optimizer {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One step down the gradients; `share` is the schedule's part of the step size.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &GradStore,
        recipe: &Recipe,
        share: f64,
    ) -> Result<()> {
        self.step += 1;
        let trained: Vec<_> = parameters
            .iter()
            .filter_map(|(name, parameter)| {
                let variable = parameter.variable.as_ref()?;
                Some((name, parameter, variable, gradients.get(variable.as_tensor())?))
            })
            .collect();
        let mut length = 0.0;
        for (.., gradient) in &trained {
            length += square(gradient)?;
        }
        let shrink = (recipe.gradient_clip / length.sqrt().max(1e-12)).min(1.0) as f32;
        for (name, parameter, variable, gradient) in trained {
            let count = gradient.elem_count();
            let fresh = Moments::zero(recipe.optimizer, count);
            let expected = (fresh.first.len(), fresh.second.len());
            let moments = self.moments.entry(name.clone()).or_insert(fresh);
            if (moments.first.len(), moments.second.len()) != expected {
                let message = format!(
                    "optimizer: {} moments of {name:?}, expected {count}; is this another run's state? Start anew",
                    moments.first.len()
                );
                return Err(candle_core::Error::Msg(message).into());
            }
            let (rate, decay) = group(parameter, recipe);
            let step = Step { rate: recipe.learning_rate * share * rate, decay, shrink };
            update(variable, gradient, |values, gradient| match recipe.optimizer {
                Method::Adamw => adamw(values, gradient, moments, &step, self.step),
                Method::Sgd => sgd(values, gradient, moments, &step, recipe),
            })?;
        }
        Ok(())
    }
}

/// Step size of a parameter as a share of the others', and its weight decay.
fn group(parameter: &Parameter, recipe: &Recipe) -> (f64, f64) {
    let backbone = if parameter.stage.is_some() { recipe.backbone_rate } else { 1.0 };
    match parameter.role {
        Role::Weight => (backbone, recipe.weight_decay),
        Role::Bias => (backbone * recipe.bias_rate, 0.0),
        _ => (backbone, 0.0),
    }
}

/// A step of rate * (first / correct1) / (sqrt(second / correct2) + epsilon).
fn adamw(values: &mut [f32], gradient: &[f32], moments: &mut Moments, step: &Step, number: usize) {
    let (correct1, correct2) = (1.0 - BETA1.powi(number as i32), 1.0 - BETA2.powi(number as i32));
    let (shrink, kept) = (step.shrink, (1.0 - step.rate * step.decay) as f32);
    let (rate, root) = ((step.rate / correct1) as f32, (1.0 / correct2.sqrt()) as f32);
    let (beta1, beta2, epsilon) = (BETA1 as f32, BETA2 as f32, EPSILON as f32);
    let (new1, new2) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
    let values = values.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
    let first = moments.first.par_chunks_mut(PIECE);
    let pieces = values.zip(first.zip(moments.second.par_chunks_mut(PIECE)));
    pieces.for_each(|((values, gradient), (first, second))| {
        vectorised(|| {
            let moments = first.iter_mut().zip(second);
            for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                let gradient = gradient * shrink;
                *first = *first * beta1 + gradient * new1;
                *second = *second * beta2 + gradient * gradient * new2;
                *value = *value * kept - rate * *first / (second.sqrt() * root + epsilon);
            }
        });
    });
}

/// first = momentum * first + gradient; a step of rate * first, Nesterov's of rate * (gradient + momentum * first)
/// (Sutskever et al., 2013, as PyTorch writes it).
fn sgd(values: &mut [f32], gradient: &[f32], moments: &mut Moments, step: &Step, recipe: &Recipe) {
    let (shrink, rate, decay) = (step.shrink, step.rate as f32, step.decay as f32);
    let momentum = recipe.momentum as f32;
    let (own, remembered) = if recipe.nesterov { (1.0, momentum) } else { (0.0, 1.0) };
    let values = values.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
    values.zip(moments.first.par_chunks_mut(PIECE)).for_each(|((values, gradient), first)| {
        vectorised(|| {
            for ((value, gradient), first) in values.iter_mut().zip(gradient).zip(first) {
                let gradient = gradient * shrink + *value * decay;
                *first = *first * momentum + gradient;
                *value -= rate * (own * gradient + remembered * *first);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::{Moments, Step, adamw, sgd};
    use crate::recipe::Recipe;

    /// Five steps from 1 and -2 on the slope `value`, with a weight decay of 0.1 and a step size of 0.1.
    fn steps(mut step: impl FnMut(&mut [f32], &[f32], &mut Moments, usize), second: usize) -> [f32; 2] {
        let mut values = [1.0, -2.0];
        let mut moments = Moments { first: vec![0.0; 2], second: vec![0.0; second] };
        for number in 1..=5 {
            let gradient = values;
            step(&mut values, &gradient, &mut moments, number);
        }
        values
    }

    const STEP: Step = Step { rate: 0.1, decay: 0.1, shrink: 1.0 };

    // PyTorch 2.15's steps in f64: torch.optim.SGD([v], lr=0.1, momentum=0.9, nesterov=..., weight_decay=0.1) and
    // torch.optim.AdamW([v], lr=0.1, weight_decay=0.1) on (v ** 2).sum() / 2.
    const SGD: [(bool, [f32; 2]); 2] =
        [(true, [-0.163_249, 0.326_498]), (false, [-0.103_588_84, 0.207_177_68])];
    const ADAMW: [f32; 2] = [0.469_952_66, -1.415_566_5];

    fn close(found: [f32; 2], expected: [f32; 2]) {
        // Five steps in f32 against PyTorch's.
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-6, "{found} {expected}");
        }
    }

    #[test]
    fn sgd_takes_pytorchs_steps() {
        for (nesterov, expected) in SGD {
            let recipe = Recipe { nesterov, ..Recipe::example() };
            close(steps(|v, g, m, _| sgd(v, g, m, &STEP, &recipe), 0), expected);
        }
    }

    #[test]
    fn adamw_takes_pytorchs_steps() {
        close(steps(|v, g, m, number| adamw(v, g, m, &STEP, number), 2), ADAMW);
    }
}
