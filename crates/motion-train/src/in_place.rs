//! Variables in, the same variables changed where they lie, on all threads: each value is read and written once. Those of
//! a graphics card are fetched and sent back: a step's parameters are few beside what the card works through for it.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor, Var, backprop::GradStore};
use motion_kernels::vectorised;
use rayon::prelude::*;

use crate::error::Result;

/// Values that one task works on: 64 KiB, so that they stay in the cache.
pub(crate) const PIECE: usize = 16 * 1024;

/// Lets `work` change a variable's values.
pub(crate) fn change(variable: &Var, work: impl FnOnce(&mut [f32]) + Send) -> Result<()> {
    struct Change<F>(Mutex<Option<F>>);
    impl<F: FnOnce(&mut [f32]) + Send> InplaceOp1 for Change<F> {
        fn name(&self) -> &'static str {
            "change"
        }

        fn cpu_fwd(&self, values: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            let range = range(layout)?;
            let CpuStorage::F32(values) = values else {
                return Err(candle_core::Error::Msg("change: expected a variable in f32".into()));
            };
            let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(work) = work {
                work(&mut values[range]);
            }
            Ok(())
        }
    }
    if !variable.device().is_cpu() {
        let mut values = variable.flatten_all()?.to_vec1::<f32>()?;
        work(&mut values);
        return Ok(variable.set(&Tensor::from_vec(values, variable.dims(), variable.device())?)?);
    }
    Ok(variable.as_tensor().inplace_op1(&Change(Mutex::new(Some(work))))?)
}

/// Lets `work(values, gradient)` change a variable's values.
pub(crate) fn update(
    variable: &Var,
    gradient: &Tensor,
    work: impl FnOnce(&mut [f32], &[f32]) + Send,
) -> Result<()> {
    read(gradient, |gradient| change(variable, |values| work(values, gradient)))?
}

/// Lets `work` read a tensor's values in their order.
pub(crate) fn read<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.detach().to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(candle_core::Error::Msg("expected numbers on the cpu".into()).into());
    };
    Ok(work(&storage.as_slice::<f32>()?[range(layout)?]))
}

fn range(layout: &Layout) -> candle_core::Result<std::ops::Range<usize>> {
    let (start, end) =
        layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: "change" })?;
    Ok(start..end)
}

/// Sum of the squares, piece after piece in their order.
pub(crate) fn square(tensor: &Tensor) -> Result<f64> {
    read(tensor, |values| {
        let sum = |piece: &[f32]| piece.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
        values.par_chunks(PIECE).map(sum).collect::<Vec<f64>>().into_iter().sum()
    })
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};

    use super::{descend, square, update};

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
        let variable = Var::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
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
