//! Weights in other orders.

use crate::parallel::{Shared, for_each};

/// Rows that are written together: as many lines as a cache holds, however far they are apart.
const TOGETHER: usize = 8;

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

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transposed(from: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    reversed(from, [rows, 1, columns])
}

/// `[a, b, c]` to `[c, b, a]`.
pub(crate) fn reversed(from: &[f32], [a, b, c]: [usize; 3]) -> Vec<f32> {
    let mut to = vec![0.0; a * b * c];
    let shared = Shared::new(to.as_mut_ptr());
    for_each(c.div_ceil(TOGETHER), |block| {
        let last = block * TOGETHER..((block + 1) * TOGETHER).min(c);
        for middle in 0..b {
            for first in 0..a {
                let from = &from[(first * b + middle) * c..][last.clone()];
                for (i, value) in from.iter().enumerate() {
                    // SAFETY: no other task has these, and they lie inside.
                    unsafe { *shared.get().add(((last.start + i) * b + middle) * a + first) = *value };
                }
            }
        }
    });
    to
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
