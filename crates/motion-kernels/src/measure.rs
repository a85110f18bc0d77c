//! What this machine could do at best: the floor that kernels are measured against.

use std::hint::black_box;
use std::time::Instant;

use crate::parallel::{Shared, for_each, threads};
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Runs, of which the fastest counts: whatever else the machine does only adds to it.
const RUNS: usize = 7;

/// Multiplications and additions a second, with everything in registers, on all threads.
///
/// # Panics
/// When this machine has not the instructions.
pub fn peak(level: Level) -> f64 {
    level.check();
    const STEPS: usize = 400_000;
    struct Registers<'a> {
        operations: &'a mut f64,
    }
    impl Kernel for Registers<'_> {
        #[inline(always)]
        fn run<S: Simd>(self) {
            // SAFETY: no pointer is followed but one to room for a vector.
            unsafe {
                // More than a multiplication's latency times its throughput.
                let mut sums = [S::splat(0.0); 12];
                let (a, b) = (S::splat(black_box(0.5)), S::splat(black_box(0.25)));
                for _ in 0..STEPS {
                    for sum in &mut sums {
                        *sum = S::mul_add(a, *sum, b);
                    }
                }
                let mut room = [0.0_f32; 16];
                for sum in sums {
                    S::store(room.as_mut_ptr(), sum);
                    black_box(room);
                }
            }
            *self.operations = (2 * STEPS * 12 * S::LANES) as f64;
        }
    }
    let mut best = 0.0_f64;
    for _ in 0..RUNS {
        let operations = std::sync::Mutex::new(0.0);
        let start = Instant::now();
        for_each(threads(), |_| {
            let mut mine = 0.0;
            dispatch(level, Registers { operations: &mut mine });
            *operations.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += mine;
        });
        let secs = start.elapsed().as_secs_f64();
        best = best.max(operations.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) / secs);
    }
    best
}

/// Bytes a second, read and written, of a copy that no cache holds, on all threads.
pub fn bandwidth() -> f64 {
    const VALUES: usize = 1 << 24;
    let from = vec![1.0_f32; VALUES];
    let mut to = vec![0.0_f32; VALUES];
    let mut best = 0.0_f64;
    for _ in 0..RUNS {
        let part = VALUES / threads();
        let shared = Shared::new(to.as_mut_ptr());
        let start = Instant::now();
        for_each(threads(), |i| {
            // SAFETY: the parts are apart, and inside.
            let to = unsafe { std::slice::from_raw_parts_mut(shared.get().add(i * part), part) };
            to.copy_from_slice(&from[i * part..(i + 1) * part]);
        });
        best = best.max((2 * 4 * part * threads()) as f64 / start.elapsed().as_secs_f64());
        black_box(&to);
    }
    best
}
