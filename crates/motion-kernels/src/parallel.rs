//! Work in tasks: over all cores natively, one after the other where there is one thread.

/// Threads to share work among.
pub fn threads() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_num_threads();
    #[cfg(target_arch = "wasm32")]
    return 1;
}

/// Runs `work(0)` to `work(count - 1)`.
pub(crate) fn for_each(count: usize, work: impl Fn(usize) + Sync) {
    #[cfg(not(target_arch = "wasm32"))]
    {
        use rayon::prelude::*;
        if count > 1 {
            return (0..count).into_par_iter().for_each(&work);
        }
    }
    (0..count).for_each(work);
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
