//! Work in pieces: over all cores natively, one after the other on wasm32 (which has one thread).

use std::ops::Range;

pub(super) use motion_kernels::{threads, vectorised, with_scratch};
#[cfg(not(target_arch = "wasm32"))]
use rayon::prelude::*;

/// Runs `work(index, piece)` for every piece of `size` values; the last piece may be shorter.
pub(super) fn for_pieces<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    #[cfg(not(target_arch = "wasm32"))]
    values.par_chunks_mut(size).enumerate().for_each(|(i, piece)| work(i, piece));
    #[cfg(target_arch = "wasm32")]
    values.chunks_mut(size).enumerate().for_each(|(i, piece)| work(i, piece));
}

/// Adds up what every share of `0..items` contributes to `length` values.
///
/// The shares depend on the number of threads alone, so the same machine gives the same sum each time.
pub(super) fn sum_shares(
    items: usize,
    length: usize,
    work: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let shares = threads().min(items).max(1);
    let mut partial = vec![0.0; shares * length];
    for_pieces(&mut partial, length, |i, sum| work(items * i / shares..items * (i + 1) / shares, sum));
    let (total, rest) = partial.split_at_mut(length);
    for part in rest.chunks_exact(length.max(1)) {
        for (sum, value) in total.iter_mut().zip(part) {
            *sum += value;
        }
    }
    partial.truncate(length);
    partial
}
