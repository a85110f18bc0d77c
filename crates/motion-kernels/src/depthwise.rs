//! Depthwise convolution: one filter per channel, `[N, H, W, C]` to `[N, H', W', C]`.
//!
//! A few neighbouring positions by two vectors of channels stay in registers over all taps, so that a tap's weight is
//! read once for all of them. A few channels (a motion module's first layer has 2 or 3) run side by side with those of
//! the next positions, along a line.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::parallel::{Shared, for_each};
use crate::scratch::with_scratch;
use crate::shape::{Limits, Shape};
use crate::simd::{Kernel, Level, Scalar, Simd, dispatch};

/// Positions that are worked on together.
const POSITIONS: usize = 4;
/// Fewer channels than this run side by side with those of the next positions.
const NARROW: usize = 8;
/// Vectors of such a line that are worked on together.
const VECTORS: usize = 2;

/// A depthwise convolution ready to run.
pub struct Depthwise {
    level: Level,
    pub(crate) shape: Shape,
    /// `[k, k, C]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Weights and bias for lines of values, where there are few channels.
    repeated: Option<Repeated>,
}

/// Weights and bias over and over, so that a vector may begin at any channel: `[k * k, length]`, `[length]`.
struct Repeated {
    weight: Vec<f32>,
    bias: Vec<f32>,
    length: usize,
}

impl Repeated {
    fn new(level: Level, weight: &[f32], bias: &[f32]) -> Self {
        let channels = bias.len();
        let length = channels + VECTORS * level.lanes();
        let repeat = |values: &[f32]| -> Vec<f32> {
            let each = values.chunks_exact(channels);
            each.flat_map(|values| values.iter().copied().cycle().take(length)).collect()
        };
        Self { weight: repeat(weight), bias: repeat(bias), length }
    }
}

impl Depthwise {
    /// For weight `[k, k, C]` and bias `[C]`, on the best instructions of this machine.
    ///
    /// # Panics
    /// When the lengths are not those of the shape, it has not as many channels out as in, or this machine has not the
    /// instructions.
    pub fn new(shape: Shape, weight: &[f32], bias: &[f32]) -> Self {
        Self::with_level(Level::best(), shape, weight, bias)
    }

    /// The same for other instructions.
    ///
    /// # Panics
    /// As [`Depthwise::new`].
    pub fn with_level(level: Level, shape: Shape, weight: &[f32], bias: &[f32]) -> Self {
        level.check();
        assert_eq!(shape.input, shape.output, "channels in and out");
        assert_eq!(weight.len(), shape.window(), "length of the weight");
        assert_eq!(bias.len(), shape.input, "length of the bias");
        let narrow = shape.stride == 1 && shape.input < NARROW;
        let repeated = narrow.then(|| Repeated::new(level, weight, bias));
        Self { level, shape, weight: weight.to_vec(), bias: bias.to_vec(), repeated }
    }

    /// Writes activation(convolution + bias + residual), `[n, h', w', C]`, every value of it.
    ///
    /// # Panics
    /// When a slice has not the length that `size` = `[n, h, w]` asks for.
    pub fn run(
        &self,
        x: &[f32],
        size: [usize; 3],
        residual: Option<&[f32]>,
        limits: Limits,
        out: &mut [MaybeUninit<f32>],
    ) {
        let ([n, h, w], shape) = (size, self.shape);
        let line = shape.out(w) * shape.output;
        assert_eq!(x.len(), n * h * w * shape.input, "length of the input");
        assert_eq!(out.len(), n * shape.out(h) * line, "length of the output");
        assert!(residual.is_none_or(|residual| residual.len() == out.len()), "length of the residual");
        let shared = Shared::new(out.as_mut_ptr().cast());
        for_each(n * shape.out(h), |i| {
            // SAFETY: the lines are apart, and inside the output.
            let out = unsafe { std::slice::from_raw_parts_mut(shared.get().add(i * line).cast(), line) };
            let residual = residual.map(|residual| &residual[i * line..(i + 1) * line]);
            match &self.repeated {
                Some(repeated) => self.narrow(repeated, x, [h, w], i, residual, limits, out),
                None => self.lines(x, 0, [h, w], i..i + 1, residual, limits, out),
            }
        });
    }

    /// An output line, counted over all frames, of few channels.
    #[allow(clippy::too_many_arguments, reason = "one place calls it")]
    fn narrow(
        &self,
        repeated: &Repeated,
        x: &[f32],
        [h, w]: [usize; 2],
        line: usize,
        residual: Option<&[f32]>,
        limits: Limits,
        out: &mut [MaybeUninit<f32>],
    ) {
        let Shape { input: channels, kernel, .. } = self.shape;
        let (block, border) = (VECTORS * self.level.lanes(), kernel / 2 * channels);
        let length = (w * channels).next_multiple_of(block);
        let row = length + 2 * border;
        with_scratch(kernel * row + length, |scratch| {
            let (rows, sums) = scratch.split_at_mut(kernel * row);
            for (ky, to) in rows.chunks_exact_mut(row).enumerate() {
                let y = (line % h + ky).wrapping_sub(kernel / 2);
                to.fill(0.0);
                if y < h {
                    let from = &x[(line / h * h + y) * w * channels..][..w * channels];
                    to[border..border + w * channels].copy_from_slice(from);
                }
            }
            dispatch(self.level, Narrow { shape: self.shape, repeated, rows, row, sums });
            for (i, (out, sum)) in out.iter_mut().zip(&*sums).enumerate() {
                let sum = sum + residual.map_or(0.0, |residual| residual[i]);
                out.write(limits.apply(sum));
            }
        });
    }

    /// Some output lines, counted over all frames, on this thread. The frames' lines of the input begin `origin` values
    /// after the beginning of `x` (before it, if negative): only those that these output lines read must be there.
    #[allow(clippy::too_many_arguments, reason = "two places call it")]
    pub(crate) fn lines(
        &self,
        x: &[f32],
        origin: isize,
        [h, w]: [usize; 2],
        lines: Range<usize>,
        residual: Option<&[f32]>,
        limits: Limits,
        out: &mut [MaybeUninit<f32>],
    ) {
        assert_eq!(out.len(), lines.len() * self.shape.out(w) * self.shape.output, "length of the output");
        let out = Shared::new(out.as_mut_ptr().cast());
        dispatch(
            self.level,
            Lines { depthwise: self, x, origin, size: [h, w], lines, residual, limits, out },
        );
    }
}

/// A line of values, whatever their channels are.
struct Narrow<'a> {
    shape: Shape,
    repeated: &'a Repeated,
    /// The lines of the input under the kernel, with a border of zeros.
    rows: &'a [f32],
    row: usize,
    /// Whole blocks of values.
    sums: &'a mut [f32],
}

impl Kernel for Narrow<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { input: channels, kernel, .. } = self.shape;
        let Repeated { weight, bias, length } = self.repeated;
        let block = VECTORS * S::LANES;
        for start in (0..self.sums.len()).step_by(block) {
            let phase = start % channels;
            // SAFETY: the weights are as long as a block from any channel on; a row is as long as the sums and its
            // border, and the last tap begins a border's two sides later.
            unsafe {
                let mut sums = [S::splat(0.0); VECTORS];
                for v in 0..VECTORS {
                    sums[v] = S::load(bias.as_ptr().add(phase + v * S::LANES));
                }
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let weight = weight.as_ptr().add((ky * kernel + kx) * length + phase);
                        let x = self.rows.as_ptr().add(ky * self.row + start + kx * channels);
                        for v in 0..VECTORS {
                            let x = S::load(x.add(v * S::LANES));
                            sums[v] = S::mul_add(x, S::load(weight.add(v * S::LANES)), sums[v]);
                        }
                    }
                }
                for v in 0..VECTORS {
                    S::store(self.sums.as_mut_ptr().add(start + v * S::LANES), sums[v]);
                }
            }
        }
    }
}

struct Lines<'a> {
    depthwise: &'a Depthwise,
    x: &'a [f32],
    origin: isize,
    size: [usize; 2],
    lines: Range<usize>,
    residual: Option<&'a [f32]>,
    limits: Limits,
    out: Shared,
}

/// The taps along an axis of so many positions whose places lie inside, for the window that begins at `start`.
#[inline(always)]
fn taps(start: isize, kernel: usize, length: usize) -> Range<usize> {
    let first = (-start).clamp(0, kernel as isize) as usize;
    let last = (length as isize - start).clamp(0, kernel as isize) as usize;
    first..last.max(first)
}

impl Kernel for Lines<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { input: channels, kernel, stride, .. } = self.depthwise.shape;
        let [h, w] = self.size;
        let (out_h, out_w) = (self.depthwise.shape.out(h), self.depthwise.shape.out(w));
        let pad = (kernel / 2) as isize;
        // Columns whose whole window lies inside.
        let inside =
            (kernel / 2).div_ceil(stride)..((w + kernel / 2 + 1).saturating_sub(kernel)).div_ceil(stride);
        for (i, line) in self.lines.clone().enumerate() {
            let (frame, top) = (line / out_h, (line % out_h * stride) as isize - pad);
            let rows = taps(top, kernel, h);
            let row = self.origin + (frame * h * w * channels) as isize + top * (w * channels) as isize;
            let mut column = 0;
            while column < out_w {
                let left = (column * stride) as isize - pad;
                let at = row + left * channels as isize;
                let out = (i * out_w + column) * channels;
                if inside.contains(&column) && column + POSITIONS <= inside.end {
                    let window = Window { at, out, rows: rows.clone(), columns: 0..kernel };
                    self.positions::<S, POSITIONS>(&window);
                    column += POSITIONS;
                } else {
                    let window = Window { at, out, rows: rows.clone(), columns: taps(left, kernel, w) };
                    self.positions::<S, 1>(&window);
                    column += 1;
                }
            }
        }
    }
}

/// Where neighbouring positions read and write.
struct Window {
    /// Where the first one's window begins, counted from the beginning of `x`.
    at: isize,
    out: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Lines<'_> {
    #[inline(always)]
    fn positions<S: Simd, const M: usize>(&self, window: &Window) {
        let channels = self.depthwise.shape.input;
        let mut c = 0;
        while c + 2 * S::LANES <= channels {
            // SAFETY: so many channels are left.
            unsafe { self.vectors::<S, M, 2>(window, c) };
            c += 2 * S::LANES;
        }
        while c + S::LANES <= channels {
            // SAFETY: so many channels are left.
            unsafe { self.vectors::<S, M, 1>(window, c) };
            c += S::LANES;
        }
        while c < channels {
            // SAFETY: a channel is left.
            unsafe { self.vectors::<Scalar, M, 1>(window, c) };
            c += 1;
        }
    }

    /// `V` vectors of channels from `c` on, of `M` positions.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const M: usize, const V: usize>(&self, window: &Window, c: usize) {
        let Shape { input: channels, kernel, stride, .. } = self.depthwise.shape;
        let width = self.size[1] * channels;
        // SAFETY: the taps of the window lie inside `x` (checked by hand in `run`, and by the tests against the plain
        // sum); positions and channels lie inside the output, which is as long as the residual.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; M];
            for v in 0..V {
                let bias = S::load(self.depthwise.bias.as_ptr().add(c + v * S::LANES));
                for m in 0..M {
                    sums[m][v] = bias;
                }
            }
            for ky in window.rows.clone() {
                for kx in window.columns.clone() {
                    let weight = self.depthwise.weight.as_ptr().add((ky * kernel + kx) * channels + c);
                    let at = window.at + (ky * width + kx * channels + c) as isize;
                    let x = self.x.as_ptr().offset(at);
                    for v in 0..V {
                        let weight = S::load(weight.add(v * S::LANES));
                        for m in 0..M {
                            let x = S::load(x.add(m * stride * channels + v * S::LANES));
                            sums[m][v] = S::mul_add(x, weight, sums[m][v]);
                        }
                    }
                }
            }
            let (low, high) = (S::splat(self.limits.low), S::splat(self.limits.high));
            for m in 0..M {
                for v in 0..V {
                    let at = window.out + m * channels + c + v * S::LANES;
                    let mut sum = sums[m][v];
                    if let Some(residual) = self.residual {
                        sum = S::add(sum, S::load(residual.as_ptr().add(at)));
                    }
                    let out = self.out.get().add(at);
                    S::store(out, S::min(high, S::max(low, sum)));
                }
            }
        }
    }
}
