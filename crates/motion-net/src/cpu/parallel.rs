//! Work in pieces: over all cores natively, one after the other on wasm32 (which has one thread).

use std::cell::Cell;
use std::ops::Range;

#[cfg(not(target_arch = "wasm32"))]
use rayon::prelude::*;

/// Cores to share work among.
pub(super) fn threads() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_num_threads();
    #[cfg(target_arch = "wasm32")]
    return 1;
}

/// Runs `work(index, piece)` for every piece of `size` values; the last piece may be shorter.
pub(super) fn for_pieces<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    #[cfg(not(target_arch = "wasm32"))]
    values.par_chunks_mut(size).enumerate().for_each(|(i, piece)| work(i, piece));
    #[cfg(target_arch = "wasm32")]
    values.chunks_mut(size).enumerate().for_each(|(i, piece)| work(i, piece));
}

/// Runs `work` on so many values of memory that this thread keeps; what stands in them is left over.
pub(super) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    }
    let mut scratch = SCRATCH.take();
    if scratch.len() < length {
        scratch.resize(length, 0.0);
    }
    let result = work(&mut scratch[..length]);
    SCRATCH.set(scratch);
    result
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

/// Runs plain loops with the widest vectors of this machine (they are compiled once for each kind).
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    return pulp::Arch::new().dispatch(work);
    #[cfg(not(target_arch = "x86_64"))]
    return work();
}
