//! The way back through a depthwise convolution, one filter `[k, k]` per channel.
//!
//! What it read gathers from the outputs that read it; with stride 1 that is a depthwise convolution with its filters
//! turned about. The weight's gradient keeps the sums of nine taps in registers along a line.

use std::mem::MaybeUninit;

use crate::depthwise::Depthwise;
use crate::gradient::Gradient;
use crate::order::{channels_last, rearranged};
use crate::parallel::{Shared, for_each};
use crate::shape::{Limits, Shape};
use crate::simd::{Kernel, Scalar, Simd, dispatch};

/// Side of the square of taps whose sums stay in registers.
const SIDE: usize = 3;
/// Tasks that the lines are shared among, so that many threads find work.
const TASKS: usize = 32;

impl Gradient<'_> {
    /// Writes the gradient of what a depthwise convolution with this weight, `[C, 1, k, k]`, read: every value of it.
    ///
    /// # Panics
    /// When a slice has not the length that the sizes ask for, or this machine has not the instructions.
    pub fn depthwise_input(&self, weight: &[f32], out: &mut [MaybeUninit<f32>]) {
        self.check();
        let Shape { input: channels, kernel, stride, .. } = self.shape;
        let ([n, h, w], taps) = (self.size, kernel * kernel);
        assert_eq!(out.len(), self.inputs(), "length of the input's gradient");
        let weight = channels_last(weight, 1, channels, taps);
        if stride == 1 {
            let turned: Vec<f32> = weight.chunks_exact(channels).rev().flatten().copied().collect();
            let back = Depthwise::with_level(self.level, self.shape, &turned, &vec![0.0; channels]);
            return back.run(self.grad, self.size, None, Limits::NONE, out);
        }
        let out = Shared::new(out.as_mut_ptr().cast());
        let (out_h, out_w) = (self.shape.out(h), self.shape.out(w));
        for_each(n * h, |line| {
            let (frame, y) = (line / h, line % h);
            // For each column the outputs that read it, and the taps with which they do.
            let (mut terms, mut ends) = (Vec::new(), Vec::with_capacity(w));
            for x in 0..w {
                for (ky, y) in readers(y, kernel, stride, out_h) {
                    for (kx, x) in readers(x, kernel, stride, out_w) {
                        let at = ((frame * out_h + y) * out_w + x) * channels;
                        terms.push((at, (ky * kernel + kx) * channels));
                    }
                }
                ends.push(terms.len());
            }
            // SAFETY: the lines are apart, and inside.
            let out = unsafe { out.get().add(line * w * channels) };
            let (grad, weight, terms, ends) = (self.grad, &weight[..], &terms[..], &ends[..]);
            dispatch(self.level, Gather { channels, grad, weight, terms, ends, out });
        });
    }

    /// Gradient of a depthwise convolution's weight, in a checkpoint's order `[C, 1, k, k]`; `x` is what it read,
    /// `[n, h, w, C]`.
    ///
    /// # Panics
    /// As [`Gradient::depthwise_input`].
    pub fn depthwise_weight(&self, x: &[f32]) -> Vec<f32> {
        self.check();
        assert_eq!(x.len(), self.inputs(), "length of the input");
        let Shape { input: channels, kernel, .. } = self.shape;
        let taps = kernel * kernel;
        let lines = self.size[0] * self.shape.out(self.size[1]);
        // They depend on the lengths alone, and are added up in their order.
        let tasks = lines.min(TASKS);
        let parts = rearranged(tasks, taps * channels, |task, sums| {
            let lines = lines * task / tasks..lines * (task + 1) / tasks;
            for line in lines {
                dispatch(self.level, Line { gradient: self, x, line, sums });
            }
        });
        let total = |at: usize| parts.iter().skip(at).step_by(taps * channels).sum::<f32>();
        (0..channels * taps).map(|i| total(i % taps * channels + i / taps)).collect()
    }
}

/// Along an axis, the taps that read position `at`, and the outputs that they belong to.
fn readers(at: usize, kernel: usize, stride: usize, length: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel).filter_map(move |k| {
        let start = (at + kernel / 2).checked_sub(k)?;
        (start.is_multiple_of(stride) && start / stride < length).then_some((k, start / stride))
    })
}

/// A line of positions, each the sum of its terms: a gradient times a tap's weight.
struct Gather<'a> {
    channels: usize,
    grad: &'a [f32],
    weight: &'a [f32],
    /// Where gradient and weight begin.
    terms: &'a [(usize, usize)],
    /// Where the terms of each position end.
    ends: &'a [usize],
    out: *mut f32,
}

impl Kernel for Gather<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut first = 0;
        for (position, end) in self.ends.iter().enumerate() {
            let terms = &self.terms[first..*end];
            first = *end;
            let mut c = 0;
            // SAFETY: so many channels are left; terms begin where all channels of a position or tap do.
            unsafe {
                while c + 2 * S::LANES <= self.channels {
                    self.vectors::<S, 2>(position, terms, c);
                    c += 2 * S::LANES;
                }
                while c + S::LANES <= self.channels {
                    self.vectors::<S, 1>(position, terms, c);
                    c += S::LANES;
                }
                while c < self.channels {
                    self.vectors::<Scalar, 1>(position, terms, c);
                    c += 1;
                }
            }
        }
    }
}

impl Gather<'_> {
    #[inline(always)]
    unsafe fn vectors<S: Simd, const V: usize>(&self, position: usize, terms: &[(usize, usize)], c: usize) {
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [S::splat(0.0); V];
            for (grad, weight) in terms {
                let (grad, weight) = (self.grad.as_ptr().add(grad + c), self.weight.as_ptr().add(weight + c));
                for v in 0..V {
                    let weight = S::load(weight.add(v * S::LANES));
                    sums[v] = S::mul_add(S::load(grad.add(v * S::LANES)), weight, sums[v]);
                }
            }
            for v in 0..V {
                S::store(self.out.add(position * self.channels + c + v * S::LANES), sums[v]);
            }
        }
    }
}

/// What one output line adds to the taps' sums, `[k * k, C]`.
struct Line<'a> {
    gradient: &'a Gradient<'a>,
    x: &'a [f32],
    line: usize,
    sums: &'a mut [f32],
}

impl Kernel for Line<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let channels = self.gradient.shape.input;
        let mut c = 0;
        // SAFETY: so many channels are left.
        unsafe {
            while c + S::LANES <= channels {
                self.channels::<S>(c);
                c += S::LANES;
            }
            while c < channels {
                self.channels::<Scalar>(c);
                c += 1;
            }
        }
    }
}

impl Line<'_> {
    /// A vector of channels from `c` on.
    #[inline(always)]
    unsafe fn channels<S: Simd>(&mut self, c: usize) {
        let Gradient { shape, size: [_, h, w], grad, .. } = *self.gradient;
        let Shape { input: channels, kernel, stride, .. } = shape;
        let (out_h, out_w, pad) = (shape.out(h), shape.out(w), kernel / 2);
        let (frame, top) = (self.line / out_h, self.line % out_h * stride);
        // SAFETY: a vector of channels from `c` on is there for each position and tap; the rows and columns of `x` that
        // are read lie inside.
        unsafe {
            let grad = grad.as_ptr().add(self.line * out_w * channels + c);
            for first_y in (0..kernel).step_by(SIDE) {
                // Lines of the map that the square's lie on, where they are inside.
                let mut rows = [std::ptr::null(); SIDE];
                for i in 0..SIDE {
                    let y = (top + first_y + i).wrapping_sub(pad);
                    if first_y + i < kernel && y < h {
                        rows[i] = self.x.as_ptr().add((frame * h + y) * w * channels + c);
                    }
                }
                for first_x in (0..kernel).step_by(SIDE) {
                    self.square::<S>(grad, rows, [first_y, first_x], c);
                }
            }
        }
    }

    /// The taps of one square.
    #[inline(always)]
    unsafe fn square<S: Simd>(
        &mut self,
        grad: *const f32,
        rows: [*const f32; SIDE],
        [first_y, first_x]: [usize; 2],
        c: usize,
    ) {
        let Gradient { shape, size: [_, _, w], .. } = *self.gradient;
        let Shape { input: channels, kernel, stride, .. } = shape;
        let (out_w, pad) = (shape.out(w), kernel / 2);
        let whole =
            first_x + SIDE <= kernel && !rows[0].is_null() && !rows[1].is_null() && !rows[2].is_null();
        // SAFETY: as above; what is outside is not read.
        unsafe {
            let mut sums = [[S::splat(0.0); SIDE]; SIDE];
            for column in 0..out_w {
                let g = S::load(grad.add(column * channels));
                let left = (column * stride + first_x).wrapping_sub(pad);
                if whole && left < w && left + SIDE <= w {
                    for i in 0..SIDE {
                        let x = rows[i].add(left * channels);
                        for j in 0..SIDE {
                            sums[i][j] = S::mul_add(g, S::load(x.add(j * channels)), sums[i][j]);
                        }
                    }
                } else {
                    for i in 0..SIDE {
                        for j in 0..SIDE {
                            let x = left.wrapping_add(j);
                            if !rows[i].is_null() && first_x + j < kernel && x < w {
                                let x = S::load(rows[i].add(x * channels));
                                sums[i][j] = S::mul_add(g, x, sums[i][j]);
                            }
                        }
                    }
                }
            }
            for i in 0..SIDE.min(kernel - first_y) {
                for j in 0..SIDE.min(kernel - first_x) {
                    let tap = (first_y + i) * kernel + first_x + j;
                    let to = self.sums.as_mut_ptr().add(tap * channels + c);
                    S::store(to, S::add(S::load(to), sums[i][j]));
                }
            }
        }
    }
}
