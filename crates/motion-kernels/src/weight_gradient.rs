//! Gradient of a dense convolution's weight: `[N, H, W, C]` and the output's gradient `[N, H', W', C']` in,
//! `[C', C, k, k]` out.
//!
//! weight[o, ky, kx, c] = sum over positions of grad[position, o] * x[window of the position, ky, kx, c]
//!
//! As in the convolution itself no matrix of windows is laid out: with a border of zeros around the map, a line of a
//! window is a run of `kernel * C` neighbouring values. A tile of a few values of the run by a few vectors of output
//! channels stays in registers over a block of positions, whose gradient has been copied side by side.
//!
//! Tasks are panels of output channels by chunks of positions; both depend on the lengths alone and the chunks are
//! added up in their order, so that any number of threads gives the same sums.

use crate::conv::ConvInput;
use crate::gradient::Gradient;
use crate::parallel::{Shared, for_each};
use crate::scratch::with_scratch;
use crate::shape::Shape;
use crate::simd::{Kernel, Level, Simd, dispatch};
use crate::winograd::Winograd;

/// Positions that are added up before the sums go back to memory: with two vectors of channels 32 KiB of gradients.
const BLOCK: usize = 256;
/// Tasks, so that many threads find work.
const TASKS: usize = 16;
/// Positions of a map from which on Winograd's patches are filled well enough.
const PATCHED: usize = 36;
/// Output channels that are brought into a checkpoint's order together: as many lines as a cache holds, however far
/// they are apart.
const TURNED: usize = 8;

impl Gradient<'_> {
    /// Gradient of a dense convolution's weight, in a checkpoint's order `[C', C, k, k]`; `x` is what it read,
    /// `[n, h, w, C]`, in clips of `shift` frames if its channels were shifted in time.
    ///
    /// # Panics
    /// When a slice has not the length that the sizes ask for, or this machine has not the instructions.
    pub fn weight(&self, x: &[f32], shift: Option<usize>) -> Vec<f32> {
        self.check();
        let Self { level, shape, size, grad } = *self;
        let [_, h, w] = size;
        let input = ConvInput { x, size, shift, residual: None, limits: crate::Limits::NONE };
        input.check(shape.input);
        if Winograd::suits(shape) && h * w >= PATCHED {
            return self.winograd_weight(&input);
        }
        let staged;
        let (x, lines, row) = if shape.kernel == 1 && shift.is_none() {
            (x, [h, w], w * shape.input)
        } else {
            let border = shape.kernel / 2;
            staged = bordered(&input, shape.input, border);
            (&staged[..], [h + 2 * border, w + 2 * border], (w + 2 * border) * shape.input)
        };
        let sum = Sum {
            level,
            x,
            segments: segments(shape, size, lines),
            step: shape.stride * shape.input,
            lines: shape.kernel,
            run: shape.kernel * shape.input,
            row,
            grad,
            output: shape.output,
        };
        let sums = sum.run();
        let taps = shape.kernel * shape.kernel;
        let mut weight = vec![0.0; shape.output * shape.window()];
        let to = Shared::new(weight.as_mut_ptr());
        for_each(shape.output.div_ceil(TURNED), |block| {
            let channels = block * TURNED..((block + 1) * TURNED).min(shape.output);
            for c in 0..shape.input {
                for tap in 0..taps {
                    let values = sums.values(tap * shape.input + c, channels.start);
                    for (o, value) in channels.clone().zip(values) {
                        // SAFETY: no other task has these output channels, and they lie inside.
                        unsafe { *to.get().add((o * shape.input + c) * taps + tap) = value };
                    }
                }
            }
        });
        weight
    }
}

/// A copy of the whole input with a border of zeros around each frame, its channels shifted where asked for.
fn bordered(input: &ConvInput<'_>, channels: usize, border: usize) -> Vec<f32> {
    let [n, h, w] = input.size;
    let row = (w + 2 * border) * channels;
    let mut staged: Vec<f32> = Vec::with_capacity(n * (h + 2 * border) * row);
    let to = Shared::new(staged.as_mut_ptr());
    for_each(n * (h + 2 * border), |i| {
        // SAFETY: the lines are apart, and there is room for all of them; each is written whole.
        let line = unsafe { std::slice::from_raw_parts_mut(to.get().add(i * row), row) };
        let (frame, y) = (i / (h + 2 * border), i % (h + 2 * border));
        match y.checked_sub(border).filter(|y| *y < h) {
            None => line.fill(0.0),
            Some(y) => {
                line[..border * channels].fill(0.0);
                line[row - border * channels..].fill(0.0);
                input.copy(channels, frame, y, 0..w, &mut line[border * channels..][..w * channels]);
            }
        }
    });
    // SAFETY: every line has been written.
    unsafe { staged.set_len(n * (h + 2 * border) * row) };
    staged
}

/// Neighbouring positions: their windows begin at `at` in the input and follow at equal distances.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    at: usize,
    /// The first one.
    position: usize,
    count: usize,
}

impl Segment {
    /// So many positions whose windows follow at this distance.
    pub(crate) fn line(count: usize, step: usize) -> Vec<Self> {
        let block = |position| Self { at: position * step, position, count: BLOCK.min(count - position) };
        (0..count).step_by(BLOCK).map(block).collect()
    }
}

/// All output positions, in order. `[lines, columns]` are a frame's with its border.
fn segments(shape: Shape, [n, h, w]: [usize; 3], [lines, columns]: [usize; 2]) -> Vec<Segment> {
    if shape.kernel == 1 && shape.stride == 1 {
        return Segment::line(n * h * w, shape.input);
    }
    let (out_h, out_w, step) = (shape.out(h), shape.out(w), shape.stride * shape.input);
    let mut segments = Vec::new();
    for line in 0..n * out_h {
        let start = (line / out_h * lines + line % out_h * shape.stride) * columns * shape.input;
        let part = |Segment { at, position, count }| Segment {
            at: start + at,
            position: line * out_w + position,
            count,
        };
        segments.extend(Segment::line(out_w, step).into_iter().map(part));
    }
    segments
}

/// sum[k, o] = sum over positions of x[position's window, k] * grad[position, o].
pub(crate) struct Sum<'a> {
    pub(crate) level: Level,
    pub(crate) x: &'a [f32],
    pub(crate) segments: Vec<Segment>,
    /// From one position of a segment to the next, in `x`.
    pub(crate) step: usize,
    /// A window is so many runs of `run` values,
    pub(crate) lines: usize,
    pub(crate) run: usize,
    /// so far apart.
    pub(crate) row: usize,
    /// `[positions, output]`.
    pub(crate) grad: &'a [f32],
    pub(crate) output: usize,
}

/// Sums of all tasks.
struct Sums {
    /// Chunk after chunk, panel after panel: `[lines * run, width]`.
    parts: Vec<f32>,
    window: usize,
    chunks: usize,
    panels: Panels,
}

/// Output channels in panels: all of `width` but the last one.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    pub(crate) count: usize,
    pub(crate) width: usize,
}

impl Panels {
    pub(crate) fn new(level: Level, output: usize) -> Self {
        let width = vectors(level) * level.lanes();
        Self { count: output.div_ceil(width), width }
    }
}

/// Vectors of a panel, where it is whole.
const fn vectors(level: Level) -> usize {
    match level {
        Level::Scalar => 4,
        _ => 2,
    }
}

/// Values of a window in the tallest tile: as many as the registers hold.
const fn tall(level: Level) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 12,
        #[cfg(target_arch = "aarch64")]
        Level::Neon => 12,
        Level::Scalar => 4,
        #[allow(unreachable_patterns, reason = "not on every processor")]
        _ => 6,
    }
}

impl Sum<'_> {
    fn run(&self) -> Sums {
        let panels = Panels::new(self.level, self.output);
        let window = self.lines * self.run;
        let positions: usize = self.segments.iter().map(|segment| segment.count).sum();
        // Each chunk has some blocks at least, for its sums to pay.
        let chunks =
            TASKS.div_ceil(panels.count).min(positions / (4 * BLOCK)).min(self.segments.len()).max(1);
        let part = window * panels.width;
        let mut parts: Vec<f32> = Vec::with_capacity(chunks * panels.count * part);
        let to = Shared::new(parts.as_mut_ptr());
        for_each(chunks * panels.count, |task| {
            let (chunk, panel) = (task / panels.count, task % panels.count);
            let share = |chunk: usize| self.segments.len() * chunk / chunks;
            let segments = &self.segments[share(chunk)..share(chunk + 1)];
            // SAFETY: the parts are apart, and there is room for all of them; each is written whole.
            unsafe { self.panel(segments, panel, false, to.get().add(task * part)) };
        });
        // SAFETY: every part has been written.
        unsafe { parts.set_len(chunks * panels.count * part) };
        Sums { parts, window, chunks, panels }
    }

    /// The sums of one panel over some segments, added to what is there if `again`.
    ///
    /// # Safety
    /// There is room for `[lines * run, width]` at `to`, where nobody else is at work.
    pub(crate) unsafe fn panel(&self, segments: &[Segment], panel: usize, again: bool, to: *mut f32) {
        let width = Panels::new(self.level, self.output).width;
        with_scratch(BLOCK * width, |packed| {
            let (first, packed) = (panel * width, packed.as_mut_ptr());
            dispatch(self.level, Task { sum: self, segments, first, again, packed, to });
        });
    }
}

impl Sums {
    /// Sums of a value of the window with some output channels from `o`, a multiple of as many, on; what is beyond the
    /// last channel is no number to speak of.
    #[inline(always)]
    fn values(&self, k: usize, o: usize) -> [f32; TURNED] {
        let Panels { count, width, .. } = self.panels;
        let part = self.window * width;
        let mut values = [0.0; TURNED];
        for chunk in 0..self.chunks {
            for i in (0..TURNED).step_by(TURNED.min(width)) {
                let at = (chunk * count + (o + i) / width) * part + k * width + (o + i) % width;
                let Some(from) = self.parts.get(at..at + TURNED.min(width)) else { continue };
                for (value, from) in values[i..].iter_mut().zip(from) {
                    *value += from;
                }
            }
        }
        values
    }
}

/// One panel of one chunk.
struct Task<'a> {
    sum: &'a Sum<'a>,
    segments: &'a [Segment],
    /// First output channel.
    first: usize,
    /// Sums are there already.
    again: bool,
    /// Room for a block's gradients.
    packed: *mut f32,
    to: *mut f32,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let channels = self.sum.output - self.first;
        // The number of vectors must be a constant.
        // SAFETY: there is room for a block of so many vectors, and for the sums of a panel.
        unsafe {
            match self.sum.level {
                Level::Scalar if channels > 1 => self.panel::<S, 4>(),
                level if level != Level::Scalar && channels > S::LANES => self.panel::<S, 2>(),
                _ => self.panel::<S, 1>(),
            }
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    unsafe fn panel<S: Simd, const V: usize>(&self) {
        let Sum { x, lines, run, row, .. } = *self.sum;
        let (tall, width) = (tall(self.sum.level), vectors(self.sum.level) * S::LANES);
        let mut from = 0;
        while from < self.segments.len() {
            let (mut to, mut count) = (from, 0);
            while to < self.segments.len() && count + self.segments[to].count <= BLOCK {
                count += self.segments[to].count;
                to += 1;
            }
            let block = &self.segments[from..to];
            let again = self.again || from > 0;
            from = to;
            // SAFETY: the windows of the block's positions lie inside `x`; there is room for the sums of a window, each
            // of `width` channels.
            unsafe {
                self.pack::<S, V>(block[0].position, count);
                for line in 0..lines {
                    let x = x.as_ptr().add(line * row);
                    let sums = self.to.add(line * run * width);
                    let mut k = 0;
                    while k + tall <= run {
                        let (x, sums) = (x.add(k), sums.add(k * width));
                        match tall {
                            12 => self.tile::<S, V, 12>(block, x, sums, again),
                            6 => self.tile::<S, V, 6>(block, x, sums, again),
                            _ => self.tile::<S, V, 4>(block, x, sums, again),
                        }
                        k += tall;
                    }
                    while k + 4 <= run {
                        self.tile::<S, V, 4>(block, x.add(k), sums.add(k * width), again);
                        k += 4;
                    }
                    while k < run {
                        self.tile::<S, V, 1>(block, x.add(k), sums.add(k * width), again);
                        k += 1;
                    }
                }
            }
        }
    }

    /// Copies the gradients of some positions side by side.
    #[inline(always)]
    unsafe fn pack<S: Simd, const V: usize>(&self, position: usize, count: usize) {
        let (output, width) = (self.sum.output, V * S::LANES);
        let channels = (output - self.first).min(width);
        // SAFETY: the positions and channels lie inside the gradient; the caller promises the room.
        unsafe {
            for i in 0..count {
                let grad = self.sum.grad.as_ptr().add((position + i) * output + self.first);
                let packed = self.packed.add(i * width);
                if channels == width {
                    for v in 0..V {
                        S::store(packed.add(v * S::LANES), S::load(grad.add(v * S::LANES)));
                    }
                } else {
                    for c in 0..width {
                        *packed.add(c) = if c < channels { *grad.add(c) } else { 0.0 };
                    }
                }
            }
        }
    }

    /// Adds up `M` values of the windows of a block by all channels of the panel.
    #[inline(always)]
    unsafe fn tile<S: Simd, const V: usize, const M: usize>(
        &self,
        block: &[Segment],
        x: *const f32,
        to: *mut f32,
        again: bool,
    ) {
        let (step, width) = (self.sum.step, vectors(self.sum.level) * S::LANES);
        let mut grad = self.packed.cast_const();
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; M];
            if again {
                for m in 0..M {
                    for v in 0..V {
                        sums[m][v] = S::load(to.add(m * width + v * S::LANES));
                    }
                }
            }
            for segment in block {
                let mut x = x.add(segment.at);
                for _ in 0..segment.count {
                    let mut g = [S::splat(0.0); V];
                    for v in 0..V {
                        g[v] = S::load(grad.add(v * S::LANES));
                    }
                    for m in 0..M {
                        let value = S::splat(*x.add(m));
                        for v in 0..V {
                            sums[m][v] = S::mul_add(value, g[v], sums[m][v]);
                        }
                    }
                    x = x.wrapping_add(step);
                    grad = grad.add(V * S::LANES);
                }
            }
            for m in 0..M {
                for v in 0..V {
                    S::store(to.add(m * width + v * S::LANES), sums[m][v]);
                }
            }
        }
    }
}
