//! The weight's gradient of a 3x3 convolution of stride 1 with a quarter of the multiplications: Winograd's F(4x4, 3x3)
//! (`winograd.rs`) the other way round. Patches of the input are transformed as there, those of the output's gradient by
//! `OUTPUT`'s transpose; at each of the 36 places the sum over all patches is a matrix product, and `FILTER`'s transpose
//! brings the places back to nine taps.

use crate::conv::ConvInput;
use crate::gradient::Gradient;
use crate::order::transposed;
use crate::parallel::{Shared, for_each};
use crate::scratch::with_scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::weight_gradient::{Panels, Segment, Sum};
use crate::winograd::{Before, Grid, IN, OUT, TAPS};

/// Values of the patches, transformed, that are there at a time: 16 MiB.
const CHUNK: usize = 4 * 1024 * 1024;
/// Patches that a task transforms.
const PATCHES: usize = 16;
/// Input channels that a task brings back.
const CHANNELS: usize = 8;

impl Gradient<'_> {
    /// As [`Gradient::weight`], whose lengths have been checked.
    pub(crate) fn winograd_weight(&self, input: &ConvInput<'_>) -> Vec<f32> {
        let (level, [n, h, w]) = (self.level, self.size);
        let (from, to) = (self.shape.input, self.shape.output);
        let (down, across) = (h.div_ceil(OUT), w.div_ceil(OUT));
        let patches = n * down * across;
        let chunk = (CHUNK / (IN * IN * (from + to))).clamp(1, patches);
        let panels = Panels::new(level, to);
        let part = from * panels.width;
        let mut sums = vec![0.0; IN * IN * panels.count * part];
        let mut read = vec![0.0; IN * IN * chunk * from];
        let mut written = vec![0.0; IN * IN * chunk * to];
        for start in (0..patches).step_by(chunk) {
            let all = chunk.min(patches - start);
            let (x, grad) = (Shared::new(read.as_mut_ptr()), Shared::new(written.as_mut_ptr()));
            for_each(all.div_ceil(PATCHES), |i| {
                let first = i * PATCHES;
                let grid = Grid { down, across, first: start + first, count: PATCHES.min(all - first) };
                // SAFETY: there is room for all patches of the chunk at each place, and each task has its own.
                let (to_x, to_grad) = unsafe {
                    (Shared::new(x.get().add(first * from)), Shared::new(grad.get().add(first * to)))
                };
                with_scratch(IN * IN * from, |patch| {
                    dispatch(level, Before { input, channels: from, grid, patch, to: to_x, places: all });
                });
                dispatch(level, Spread { gradient: self, grid, to: to_grad, places: all });
            });
            let shared = Shared::new(sums.as_mut_ptr());
            for_each(IN * IN * panels.count, |task| {
                let (place, panel) = (task / panels.count, task % panels.count);
                let sum = Sum {
                    level,
                    x: &read[place * all * from..][..all * from],
                    segments: Segment::line(all, from),
                    step: from,
                    lines: 1,
                    run: from,
                    row: 0,
                    grad: &written[place * all * to..][..all * to],
                    output: to,
                };
                // SAFETY: each task has its own sums, and there is room for them.
                unsafe { sum.panel(&sum.segments, panel, start > 0, shared.get().add(task * part)) };
            });
        }
        let mut rows = vec![0.0; from * TAPS * TAPS * to];
        let shared = Shared::new(rows.as_mut_ptr());
        for_each(from.div_ceil(CHANNELS), |block| {
            for c in block * CHANNELS..((block + 1) * CHANNELS).min(from) {
                dispatch(level, Back { channels: [from, to], panels, sums: &sums, c, to: shared });
            }
        });
        transposed(&rows, from * TAPS * TAPS, to)
    }
}

/// A: four gradients of the output, to six places.
#[inline(always)]
unsafe fn spread<S: Simd>(g: [S::Vector; OUT]) -> [S::Vector; IN] {
    // SAFETY: the caller's vectors.
    unsafe {
        let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
        let (even, odd) = (S::add(g[0], g[2]), S::add(g[1], g[3]));
        let (even_far, odd_far) = (S::mul_add(four, g[2], g[0]), S::mul_add(eight, g[3], S::mul(two, g[1])));
        [
            g[0],
            S::add(even, odd),
            S::sub(even, odd),
            S::add(even_far, odd_far),
            S::sub(even_far, odd_far),
            g[3],
        ]
    }
}

/// G^T: six places, to three taps.
#[inline(always)]
unsafe fn taps<S: Simd>(m: [S::Vector; IN]) -> [S::Vector; TAPS] {
    // SAFETY: the caller's vectors.
    unsafe {
        let (sixth, twelfth) = (S::splat(1.0 / 6.0), S::splat(1.0 / 12.0));
        let (near, far) = (S::add(m[1], m[2]), S::add(m[3], m[4]));
        let apart = S::mul(twelfth, S::sub(m[3], m[4]));
        [
            S::mul_add(S::splat(0.25), m[0], S::neg_mul_add(sixth, near, S::mul(S::splat(1.0 / 24.0), far))),
            S::mul_add(sixth, S::sub(m[2], m[1]), apart),
            S::mul_add(sixth, S::sub(far, near), m[5]),
        ]
    }
}

/// Patches of the output's gradient to the 36 places.
struct Spread<'a> {
    gradient: &'a Gradient<'a>,
    grid: Grid,
    to: Shared,
    /// Patches from one place to the next.
    places: usize,
}

impl Kernel for Spread<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { gradient, grid, to, places } = self;
        let ([_, h, w], channels) = (gradient.size, gradient.shape.output);
        for index in 0..grid.count {
            let [frame, top, left] = grid.at(index);
            for c in (0..channels).step_by(S::LANES) {
                // SAFETY: `c` and a whole vector after it are channels; what is read lies inside the map, and what is
                // written is this task's own.
                unsafe {
                    let mut lines = [[S::splat(0.0); IN]; OUT];
                    for y in 0..OUT {
                        let mut line = [S::splat(0.0); OUT];
                        for x in 0..OUT {
                            if top + y < h && left + x < w {
                                let at = ((frame * h + top + y) * w + left + x) * channels + c;
                                line[x] = S::load(gradient.grad.as_ptr().add(at));
                            }
                        }
                        lines[y] = spread::<S>(line);
                    }
                    for x in 0..IN {
                        let mut column = [S::splat(0.0); OUT];
                        for y in 0..OUT {
                            column[y] = lines[y][x];
                        }
                        let column = spread::<S>(column);
                        for y in 0..IN {
                            let at = ((IN * y + x) * places + index) * channels + c;
                            S::store(to.get().add(at), column[y]);
                        }
                    }
                }
            }
        }
    }
}

/// The 36 places of an input channel to its taps, `[C, 3, 3, C']`.
struct Back<'a> {
    /// That come in, and that go out.
    channels: [usize; 2],
    panels: Panels,
    /// Place after place, panel after panel: `[C, width]`.
    sums: &'a [f32],
    c: usize,
    to: Shared,
}

impl Kernel for Back<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { channels: [from, output], panels: Panels { count, width }, sums, c, to } = self;
        for o in (0..output).step_by(S::LANES) {
            // SAFETY: `o` and a whole vector after it are channels, all in one panel.
            unsafe {
                let sums = sums.as_ptr().add((o / width * from + c) * width + o % width);
                let mut lines = [[S::splat(0.0); TAPS]; IN];
                for y in 0..IN {
                    let mut line = [S::splat(0.0); IN];
                    for x in 0..IN {
                        line[x] = S::load(sums.add((IN * y + x) * count * from * width));
                    }
                    lines[y] = taps::<S>(line);
                }
                for x in 0..TAPS {
                    let mut column = [S::splat(0.0); IN];
                    for y in 0..IN {
                        column[y] = lines[y][x];
                    }
                    let column = taps::<S>(column);
                    for y in 0..TAPS {
                        let at = ((c * TAPS + y) * TAPS + x) * output + o;
                        S::store(to.get().add(at), column[y]);
                    }
                }
            }
        }
    }
}
