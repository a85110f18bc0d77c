//! Work in tasks, over all threads that rayon has: one for each core natively, in the browser those of the pool that the
//! page has started, or the one there is.

use rayon::prelude::*;

/// Threads to share work among.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `work(0)` to `work(count - 1)`.
pub(crate) fn for_each(count: usize, work: impl Fn(usize) + Sync) {
    // Not generic from here on: the kernels would be compiled twice into every caller.
    let work: &(dyn Fn(usize) + Sync) = &work;
    if count > 1 && threads() > 1 {
        (0..count).into_par_iter().for_each(work);
    } else {
        (0..count).for_each(work);
    }
}

/// A pointer that tasks share; each writes its own places.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: what is written through it, and that no two tasks write the same place, is for the unsafe code that does so.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(pointer: *mut f32) -> Self {
        Self(pointer)
    }

    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}
