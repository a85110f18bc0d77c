//! Work in pieces, over all threads that rayon has.

pub(super) use motion_kernels::vectorised;
use rayon::prelude::*;

/// Runs `work(index, piece)` for every piece of `size` values; the last piece may be shorter.
pub(super) fn for_pieces<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    // One copy of rayon for all kinds of work: the page's module is downloaded.
    let work: &(dyn Fn(usize, &mut [T]) + Sync) = &work;
    values.par_chunks_mut(size).enumerate().for_each(|(i, piece)| work(i, piece));
}
