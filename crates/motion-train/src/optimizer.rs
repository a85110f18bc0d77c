//! Gradients in, changed parameters out: AdamW (Loshchilov and Hutter, 2019) with a warm-up and a cosine. Each
//! parameter is read and written once, in place, on all threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var, backprop::GradStore};
use motion_kernels::vectorised;
use motion_net::weights::Role;
use motion_net::{HostTensor, Weights};
use rayon::prelude::*;

use crate::error::Result;
use crate::parameters::Parameters;
use crate::recipe::Recipe;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Values that one task works on: 64 KiB, so that they stay in the cache.
const PIECE: usize = 16 * 1024;

/// Moments of every parameter, and the step that we are at.
pub struct AdamW {
    step: usize,
    moments: BTreeMap<String, Moments>,
}

/// Running means of a parameter's gradient and of its square.
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Moments {
    /// Of nothing seen yet.
    fn zero(length: usize) -> Self {
        Self { first: vec![0.0; length], second: vec![0.0; length] }
    }
}

/// A step of plain gradient descent: each variable less `rate` times its gradient, where it has one.
///
/// # Errors
/// When the backend fails.
pub fn descend(variables: &[Var], gradients: &GradStore, rate: f64) -> Result<()> {
    let rate = rate as f32;
    for variable in variables {
        let Some(gradient) = gradients.get(variable.as_tensor()) else { continue };
        update(variable, gradient, |values, gradient| {
            let pieces = values.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
            pieces.for_each(|(values, gradient)| {
                vectorised(|| {
                    for (value, gradient) in values.iter_mut().zip(gradient) {
                        *value -= rate * gradient;
                    }
                });
            });
        })?;
    }
    Ok(())
}

/// Lets `work(values, gradient)` change a variable where it lies.
fn update(variable: &Var, gradient: &Tensor, work: impl FnOnce(&mut [f32], &[f32]) + Send) -> Result<()> {
    struct Update<F>(Mutex<Option<F>>);
    impl<F: FnOnce(&mut [f32], &[f32]) + Send> InplaceOp2 for Update<F> {
        fn name(&self) -> &'static str {
            "update"
        }

        fn cpu_fwd(
            &self,
            values: &mut CpuStorage,
            values_layout: &Layout,
            gradient: &CpuStorage,
            gradient_layout: &Layout,
        ) -> candle_core::Result<()> {
            let range = |layout: &Layout| {
                let (start, end) = layout
                    .contiguous_offsets()
                    .ok_or(candle_core::Error::RequiresContiguous { op: "update" })?;
                Ok::<_, candle_core::Error>(start..end)
            };
            let gradient = &gradient.as_slice::<f32>()?[range(gradient_layout)?];
            let CpuStorage::F32(values) = values else {
                return Err(candle_core::Error::Msg("update: expected a variable in f32".into()));
            };
            let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(work) = work {
                work(&mut values[range(values_layout)?], gradient);
            }
            Ok(())
        }
    }
    let gradient = gradient.detach().contiguous()?;
    Ok(variable.as_tensor().inplace_op2(&gradient, &Update(Mutex::new(Some(work))))?)
}

/// Sum of the squares, piece after piece in their order.
fn square(gradient: &Tensor) -> Result<f64> {
    let values = gradient.detach().contiguous()?;
    let (storage, layout) = values.storage_and_layout();
    let (start, end) =
        layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: "square" })?;
    let candle_core::Storage::Cpu(storage) = &*storage else {
        return Err(candle_core::Error::Msg("square: expected numbers on the cpu".into()).into());
    };
    let pieces = storage.as_slice::<f32>()?[start..end].par_chunks(PIECE);
    let sums: Vec<f64> =
        pieces.map(|piece| piece.iter().map(|value| f64::from(*value) * f64::from(*value)).sum()).collect();
    Ok(sums.into_iter().sum())
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
            square += self::square(gradient)?;
        }
        let shrink = (recipe.gradient_clip / square.sqrt().max(1e-12)).min(1.0);
        let (correct1, correct2) = (1.0 - BETA1.powi(self.step as i32), 1.0 - BETA2.powi(self.step as i32));
        for (name, parameter, variable, gradient) in trained {
            let rate = if parameter.stage.is_some() { rate * recipe.backbone_rate } else { rate };
            let decay = if parameter.role == Role::Weight { recipe.weight_decay } else { 0.0 };
            let moments =
                self.moments.entry(name.clone()).or_insert_with(|| Moments::zero(gradient.elem_count()));
            let (found, expected) = (moments.first.len().min(moments.second.len()), gradient.elem_count());
            if found != expected {
                let message = format!(
                    "optimizer: {found} moments of {name:?}, expected {expected}; is this another run's state? Start anew"
                );
                return Err(candle_core::Error::Msg(message).into());
            }
            // A step of rate * (first / correct1) / (sqrt(second / correct2) + epsilon).
            let (shrink, kept) = (shrink as f32, (1.0 - rate * decay) as f32);
            let (rate, root) = ((rate / correct1) as f32, (1.0 / correct2.sqrt()) as f32);
            let (beta1, beta2, epsilon) = (BETA1 as f32, BETA2 as f32, EPSILON as f32);
            let (new1, new2) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
            update(variable, gradient, |values, gradient| {
                let values = values.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
                let first = moments.first.par_chunks_mut(PIECE);
                let pieces = values.zip(first.zip(moments.second.par_chunks_mut(PIECE)));
                pieces.for_each(|((values, gradient), (first, second))| {
                    vectorised(|| {
                        let moments = first.iter_mut().zip(second);
                        for ((value, gradient), (first, second)) in
                            values.iter_mut().zip(gradient).zip(moments)
                        {
                            let gradient = gradient * shrink;
                            *first = *first * beta1 + gradient * new1;
                            *second = *second * beta2 + gradient * gradient * new2;
                            *value = *value * kept - rate * *first / (second.sqrt() * root + epsilon);
                        }
                    });
                });
            })?;
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
        for (name, Moments { first, second }) in &self.moments {
            for (part, values) in [("first", first), ("second", second)] {
                tensors.insert(format!("{part}.{name}"), HostTensor::new([values.len()], values.clone())?);
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
            if name == "step" {
                restored.step = tensor.data.first().copied().unwrap_or_default() as usize;
            } else if let Some(name) = name.strip_prefix("first.")
                && let Some(second) = state.tensors().get(&format!("second.{name}"))
            {
                let (first, second) = (tensor.data.clone(), second.data.clone());
                restored.moments.insert(name.to_owned(), Moments { first, second });
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
    use candle_core::{Device, Tensor, Var};

    use super::{descend, schedule, square, update};

    #[test]
    fn the_step_size_rises_then_falls() {
        let rates: Vec<f64> = (0..100).map(|step| schedule(step, 100, 0.1)).collect();
        assert!(rates[0] < 0.1 && rates[9] > 0.9 && rates[10] > 0.99 && rates[99] < 0.01);
        assert!(rates[10..].windows(2).all(|pair| pair[1] < pair[0]));
    }

    /// More than one piece.
    fn values() -> Vec<f32> {
        (0..40_000).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect()
    }

    #[test]
    fn descent_goes_down_the_gradient() {
        let variable = Var::from_vec(values(), 40_000, &Device::Cpu).unwrap();
        // The slope of half the square is the value itself.
        let loss = (variable.sqr().unwrap().sum_all().unwrap() * 0.5).unwrap();
        descend(std::slice::from_ref(&variable), &loss.backward().unwrap(), 0.25).unwrap();
        let expected: Vec<f32> = values().iter().map(|value| value - 0.25 * value).collect();
        assert_eq!(variable.to_vec1::<f32>().unwrap(), expected);
    }

    #[test]
    fn a_gradient_is_read_in_its_own_order() {
        let variable = Var::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let gradient = Tensor::arange(0.0_f32, 6.0, &Device::Cpu).unwrap().reshape((3, 2)).unwrap();
        update(&variable, &gradient.t().unwrap(), |values, gradient| values.copy_from_slice(gradient))
            .unwrap();
        assert_eq!(variable.to_vec2::<f32>().unwrap(), [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]);
    }

    #[test]
    fn all_squares_are_added_up() {
        let tensor = Tensor::from_vec(values(), (200, 200), &Device::Cpu).unwrap();
        let expected: f64 = values().iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
        assert!((square(&tensor).unwrap() - expected).abs() < 1e-9 * expected);
    }
}
