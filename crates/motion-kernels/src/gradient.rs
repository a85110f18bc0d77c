//! The way back through a convolution: gradients of what came in, of the weight and of the bias.

use crate::parallel::{Shared, for_each};
use crate::shape::Shape;
use crate::simd::Level;

/// What the gradients follow from.
#[derive(Clone, Copy)]
pub struct Gradient<'a> {
    /// The instructions to run on.
    pub level: Level,
    /// Lengths of the convolution.
    pub shape: Shape,
    /// Frames, lines and columns that came in.
    pub size: [usize; 3],
    /// Gradient of what went out, before its activation: `[n, h', w', C']`.
    pub grad: &'a [f32],
}

impl Gradient<'_> {
    pub(crate) fn check(&self) {
        self.level.check();
        let ([n, h, w], shape) = (self.size, self.shape);
        let length = n * shape.out(h) * shape.out(w) * shape.output;
        assert_eq!(self.grad.len(), length, "length of the gradient");
    }

    /// Values that came in.
    pub(crate) fn inputs(&self) -> usize {
        self.size.iter().product::<usize>() * self.shape.input
    }
}

/// A weight in a checkpoint's order, `[output, input, taps]`, with its channels last: `[output, taps, input]`, as
/// [`crate::Conv`] reads it; with `output` = 1, that of a depthwise convolution as [`crate::Depthwise`] reads it.
///
/// # Panics
/// When the weight has not that length.
pub fn channels_last(weight: &[f32], output: usize, input: usize, taps: usize) -> Vec<f32> {
    assert_eq!(weight.len(), output * input * taps, "length of the weight");
    rearranged(output, input * taps, |o, to| {
        for (c, from) in weight[o * input * taps..][..input * taps].chunks_exact(taps).enumerate() {
            for (tap, value) in from.iter().enumerate() {
                to[tap * input + c] = *value;
            }
        }
    })
}

/// So many rows, each written by `work(row, values)`, on all threads.
pub(crate) fn rearranged(rows: usize, length: usize, work: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut values = vec![0.0; rows * length];
    let to = Shared::new(values.as_mut_ptr());
    for_each(rows, |row| {
        // SAFETY: the rows are apart, and inside.
        work(row, unsafe { std::slice::from_raw_parts_mut(to.get().add(row * length), length) });
    });
    values
}
