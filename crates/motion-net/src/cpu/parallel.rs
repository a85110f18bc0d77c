//! Work in pieces: over all cores natively, one after the other on wasm32 (which has one thread).

pub(super) use motion_kernels::vectorised;
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
