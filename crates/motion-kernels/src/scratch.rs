//! Memory that a thread keeps from one task to the next.

use std::cell::Cell;
use std::mem::MaybeUninit;

/// Runs `work` on so many values of this thread's memory; what stands in them is left over.
pub fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
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

/// Numbers as room for numbers.
pub(crate) fn uninit(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: they are as good, as long as nothing but numbers is written there, and kernels write nothing else.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>]) }
}
