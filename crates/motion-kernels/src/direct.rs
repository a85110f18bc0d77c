//! Dense convolution as the sum that it is: activation(convolution(shift(x)) + bias + residual), `[N, H, W, C]` to `[N, H', W', C']`.
//!
//! No matrix of windows is laid out. With a border of zeros around it, a window of a channels-last map is `kernel`
//! runs of `kernel * C` neighbouring values, so the inner loop walks along the map itself: a tile of a few positions
//! by a few vectors of output channels stays in registers over the whole sum. A band of output lines that fits the
//! cache is copied with its border, and the temporal shift costs nothing more than other places to copy from.
//! A 1x1 convolution needs no border and no copy, unless it shifts.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::conv::ConvInput;
use crate::parallel::{Shared, for_each, threads};
use crate::scratch::with_scratch;
use crate::shape::Shape;
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Values of a band of the input with its border: 1 MiB, half of a core's usual L2 cache.
const BAND: usize = 256 * 1024;
/// Positions that a task should have at least, so that reading the weights pays.
const POSITIONS: usize = 96;

/// Weights packed for one instruction set.
pub(crate) struct Direct {
    shape: Shape,
    level: Level,
    panels: Vec<Panel>,
    /// Panel after panel, each `[k * k * C, width]`, padded with zeros.
    weights: Vec<f32>,
    /// Padded as the weights.
    bias: Vec<f32>,
}

/// Output channels that are worked on together.
#[derive(Clone, Copy)]
struct Panel {
    /// Where its weights begin.
    weights: usize,
    /// Where its bias begins.
    bias: usize,
    /// First output channel.
    first: usize,
    /// Output channels, without padding.
    channels: usize,
    /// Vectors that hold them.
    vectors: usize,
}

/// Values of a window that are added in one turn of the inner loop.
const UNROLL: usize = 4;
/// Values of the largest tile.
const LARGEST_TILE: usize = 12 * 2 * 16;

/// Vectors of a panel, widest first, with the positions of a tile: as many as the registers hold.
const fn tiles(level: Level) -> &'static [(usize, usize)] {
    match level {
        Level::Scalar => &[(4, 4), (1, 4)],
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &[(2, 6), (1, 6)],
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => &[(2, 12), (1, 12)],
        #[cfg(target_arch = "aarch64")]
        Level::Neon => &[(2, 8), (1, 8)],
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Level::Simd128 => &[(3, 4), (2, 5), (1, 6)],
    }
}

impl Direct {
    /// Packs weight `[C', k, k, C]` and bias `[C']`.
    pub(crate) fn new(level: Level, shape: Shape, weight: &[f32], bias: &[f32]) -> Self {
        let window = shape.window();
        Self::packed(level, shape, bias, |first, channels, to, width| {
            transpose(&weight[first * window..][..channels * window], window, to, width);
        })
    }

    /// Packs weight `[C, k, k, C']`, the taps from the last to the first if `turned`, and bias `[C']`.
    pub(crate) fn from_rows(level: Level, shape: Shape, rows: &[f32], turned: bool, bias: &[f32]) -> Self {
        let (taps, row) = (shape.kernel * shape.kernel, shape.output);
        Self::packed(level, shape, bias, |first, channels, to, width| {
            for (i, row) in rows.chunks_exact(row).enumerate() {
                let (c, tap) = (i / taps, i % taps);
                let tap = if turned { taps - 1 - tap } else { tap };
                to[(tap * shape.input + c) * width..][..channels].copy_from_slice(&row[first..][..channels]);
            }
        })
    }

    /// `fill(first output channel, channels, weights, width)` fills each panel.
    fn packed(
        level: Level,
        shape: Shape,
        bias: &[f32],
        fill: impl Fn(usize, usize, &mut [f32], usize) + Sync,
    ) -> Self {
        let mut packed = Self::empty(level, shape, bias);
        let to = Shared::new(packed.weights.as_mut_ptr());
        for_each(packed.panels.len(), |i| {
            let panel = packed.panels[i];
            let width = panel.vectors * level.lanes();
            // SAFETY: the panels are apart and inside, and nobody else has the weights yet.
            let to = unsafe {
                std::slice::from_raw_parts_mut(to.get().add(panel.weights), shape.window() * width)
            };
            fill(panel.first, panel.channels, to, width);
        });
        packed
    }

    /// Panels whose weights are still 0.
    pub(crate) fn empty(level: Level, shape: Shape, bias: &[f32]) -> Self {
        let (lanes, window) = (level.lanes(), shape.window());
        let (mut panels, mut weights, mut padded) = (Vec::new(), 0, Vec::new());
        let mut first = 0;
        while first < shape.output {
            let left = shape.output - first;
            // The widest that is filled, or the narrowest that takes the rest.
            let fits = |(vectors, _): &&(usize, usize)| vectors * lanes <= left.next_multiple_of(lanes);
            let vectors = tiles(level).iter().find(fits).map_or(1, |(vectors, _)| *vectors);
            let (width, channels) = (vectors * lanes, left.min(vectors * lanes));
            panels.push(Panel { weights, bias: padded.len(), first, channels, vectors });
            weights += window * width;
            padded.extend_from_slice(&bias[first..first + channels]);
            padded.resize(padded.len() + width - channels, 0.0);
            first += channels;
        }
        Self { shape, level, panels, weights: vec![0.0; weights], bias: padded }
    }

    /// Where the weights of an output channel begin, and how far on those of the next value of the window are.
    pub(crate) fn column(&mut self, output: usize) -> (*mut f32, usize) {
        let holds = |panel: &&Panel| (panel.first..panel.first + panel.channels).contains(&output);
        let panel = self.panels.iter().find(holds).copied();
        let panel = panel.unwrap_or_else(|| panic!("no output channel {output}"));
        let at = panel.weights + output - panel.first;
        (self.weights[at..].as_mut_ptr(), panel.vectors * self.level.lanes())
    }

    /// See [`crate::Conv::run`], which has checked the lengths.
    pub(crate) fn run(&self, input: ConvInput<'_>, out: &mut [MaybeUninit<f32>]) {
        let ([n, h, _], shape) = (input.size, self.shape);
        let out = Shared::new(out.as_mut_ptr().cast());
        let lines = n * shape.out(h);
        let band = self.band_lines(&input);
        let bands = lines.div_ceil(band);
        // Few bands: several tasks share one, each with some of the panels.
        let groups = if bands >= threads() { 1 } else { threads().div_ceil(bands).min(self.panels.len()) };
        for_each(bands * groups, |task| {
            let (band_index, group) = (task / groups, task % groups);
            let lines = band_index * band..((band_index + 1) * band).min(lines);
            let share = |group: usize| self.panels.len() * group / groups;
            let panels = &self.panels[share(group)..share(group + 1)];
            self.band(&input, lines, panels, out);
        });
    }

    /// The same of a line of positions, on this thread.
    pub(crate) fn line(&self, input: ConvInput<'_>, out: &mut [MaybeUninit<f32>]) {
        debug_assert_eq!([input.size[0], input.size[1]], [1, 1], "one line");
        self.band(&input, 0..1, &self.panels, Shared::new(out.as_mut_ptr().cast()));
    }

    /// Output lines that a task works on.
    fn band_lines(&self, input: &ConvInput<'_>) -> usize {
        let ([n, h, w], shape) = (input.size, self.shape);
        let (out_h, out_w) = (shape.out(h), shape.out(w));
        let line = (w + shape.kernel - 1) * shape.input * shape.stride;
        let lines = (BAND / line).max(POSITIONS.div_ceil(out_w)).clamp(1, n * out_h);
        // As many for every core, or some would stand idle at the end.
        let tasks = (n * out_h).div_ceil(lines);
        let even = if tasks > 1 { tasks.next_multiple_of(threads()) } else { 1 };
        (n * out_h).div_ceil(even)
    }

    /// Some output lines of some panels: stages their input, where it needs a border or a shift.
    fn band(&self, input: &ConvInput<'_>, lines: Range<usize>, panels: &[Panel], out: Shared) {
        let ([_, h, w], shape) = (input.size, self.shape);
        if shape.kernel == 1 && input.shift.is_none() {
            let step = shape.stride;
            let base = |line: usize| (line / shape.out(h) * h + line % shape.out(h) * step) * w * shape.input;
            return self.tiles(input, lines, panels, input.x, base, 0, out);
        }
        let border = shape.kernel / 2;
        let row = (w + 2 * border) * shape.input;
        // Each frame's part of the band has its own border.
        let (out_h, first) = (shape.out(h), lines.start);
        let rows_of = |lines: usize| (lines - 1) * shape.stride + shape.kernel;
        let parts = || {
            let (mut line, end) = (lines.start, lines.end);
            std::iter::from_fn(move || {
                (line < end).then(|| {
                    let part = line..((line / out_h + 1) * out_h).min(end);
                    line = part.end;
                    part
                })
            })
        };
        let rows: usize = parts().map(|part| rows_of(part.len())).sum();
        with_scratch(rows * row, |staged| {
            let mut to = 0;
            for part in parts() {
                let (frame, top) = (part.start / out_h, part.start % out_h * shape.stride);
                for y in top..top + rows_of(part.len()) {
                    let line = &mut staged[to..to + row];
                    match y.checked_sub(border).filter(|y| *y < h) {
                        None => line.fill(0.0),
                        Some(y) => {
                            line[..border * shape.input].fill(0.0);
                            line[row - border * shape.input..].fill(0.0);
                            input.copy(
                                shape.input,
                                frame,
                                y,
                                0..w,
                                &mut line[border * shape.input..][..w * shape.input],
                            );
                        }
                    }
                    to += row;
                }
            }
            // Output line to its first row among the staged ones: the first part may begin inside a frame.
            let head = ((first / out_h + 1) * out_h).min(lines.end) - first;
            let whole = rows_of(out_h);
            let base = |line: usize| {
                let (line, frame) = (line - first, line / out_h - first / out_h);
                let row_of = match frame {
                    0 => line * shape.stride,
                    _ => rows_of(head) + (frame - 1) * whole + (line - head) % out_h * shape.stride,
                };
                row_of * row
            };
            self.tiles(input, lines.clone(), panels, staged, base, row, out);
        });
    }

    /// All tiles of some lines and panels. `base` says where in `x` the first window of a line begins; from one line
    /// of a window to the next it is `row` values.
    #[allow(clippy::too_many_arguments, reason = "two places call it")]
    fn tiles(
        &self,
        input: &ConvInput<'_>,
        lines: Range<usize>,
        panels: &[Panel],
        x: &[f32],
        base: impl Fn(usize) -> usize,
        row: usize,
        out: Shared,
    ) {
        let bases = lines.clone().map(base).collect();
        dispatch(self.level, Tiles { conv: self, input, lines, panels, x, bases, row, out });
    }
}

/// Rows of `length` values become columns of rows of `width`, a few at a time so that both stay in the cache.
fn transpose(rows: &[f32], length: usize, to: &mut [f32], width: usize) {
    const BLOCK: usize = 16;
    for block in (0..length).step_by(BLOCK) {
        let end = (block + BLOCK).min(length);
        for (c, row) in rows.chunks_exact(length).enumerate() {
            for (k, value) in row[block..end].iter().enumerate() {
                to[(block + k) * width + c] = *value;
            }
        }
    }
}

fn positions_of(level: Level, vectors: usize) -> usize {
    tiles(level).iter().find(|tile| tile.0 == vectors).map_or(1, |tile| tile.1)
}

/// All tiles of some lines and panels.
struct Tiles<'a> {
    conv: &'a Direct,
    input: &'a ConvInput<'a>,
    lines: Range<usize>,
    panels: &'a [Panel],
    /// The input, as it came or staged.
    x: &'a [f32],
    /// Where in `x` the first window of each line begins.
    bases: Vec<usize>,
    /// From one line of a window to the next.
    row: usize,
    out: Shared,
}

impl Kernel for Tiles<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let conv = self.conv;
        for panel in self.panels {
            let weights = &conv.weights[panel.weights..][..conv.shape.window() * panel.vectors * S::LANES];
            let bias = &conv.bias[panel.bias..][..panel.vectors * S::LANES];
            // The tile's sizes must be constants.
            macro_rules! with {
                ($($vectors:literal x $positions:literal)*) => {
                    match (panel.vectors, positions_of(conv.level, panel.vectors)) {
                        $(($vectors, $positions) => self.panel::<S, $vectors, $positions>(panel, weights, bias),)*
                        (vectors, positions) => unreachable!("a tile of {vectors} x {positions}"),
                    }
                };
            }
            with!(4 x 4  1 x 4  3 x 4  2 x 5  2 x 6  1 x 6  2 x 8  1 x 8  2 x 12  1 x 12);
        }
    }
}

impl Tiles<'_> {
    /// One panel: a tile of `M` positions by `V` vectors at a time.
    #[inline(always)]
    fn panel<S: Simd, const V: usize, const M: usize>(&self, panel: &Panel, weights: &[f32], bias: &[f32]) {
        let shape = self.conv.shape;
        let out_w = shape.out(self.input.size[2]);
        let step = shape.stride * shape.input;
        let run = shape.kernel * shape.input;
        let count = self.lines.len() * out_w;
        let (mut line, mut column) = (0, 0);
        let mut sums = [0.0; LARGEST_TILE];
        let mut done = 0;
        while done < count {
            let tile = M.min(count - done);
            let mut windows = [self.x.as_ptr(); M];
            for window in windows.iter_mut().take(tile) {
                if column == out_w {
                    (line, column) = (line + 1, 0);
                }
                let at = self.bases[line] + column * step;
                debug_assert!(
                    at + (shape.kernel - 1) * self.row + run <= self.x.len(),
                    "a window ends outside"
                );
                // SAFETY: a window that begins here ends inside `x` (see `base`).
                *window = unsafe { self.x.as_ptr().add(at) };
                column += 1;
            }
            // What is left over runs along with the first window, and is not stored.
            let first = windows[0];
            windows.iter_mut().skip(tile).for_each(|window| *window = first);
            let at = (self.lines.start * out_w + done) * shape.output + panel.first;
            // SAFETY: every window has `kernel` runs inside `x`; the panel has as many weights; the sums have room for
            // any tile; these positions and channels are inside the output, and this task's own.
            unsafe {
                let (weights, bias) = (weights.as_ptr(), bias.as_ptr());
                let found = sum::<S, V, M>(windows, shape.kernel, run, self.row, weights, bias);
                if tile == M && panel.channels == V * S::LANES {
                    self.store_whole::<S, V, M>(found, at);
                } else {
                    for m in 0..M {
                        for v in 0..V {
                            S::store(sums.as_mut_ptr().add((m * V + v) * S::LANES), found[m][v]);
                        }
                    }
                    self.store::<S, V>(&sums, tile, at, panel.channels);
                }
            }
            done += tile;
        }
    }

    /// Residual, activation, and out, straight from the registers.
    #[inline(always)]
    unsafe fn store_whole<S: Simd, const V: usize, const M: usize>(
        &self,
        sums: [[S::Vector; V]; M],
        at: usize,
    ) {
        let ConvInput { residual, limits, .. } = self.input;
        // SAFETY: the caller promises that `M` positions from `at` on, each with `V` vectors, are inside.
        unsafe {
            let (low, high) = (S::splat(limits.low), S::splat(limits.high));
            for m in 0..M {
                for v in 0..V {
                    let at = at + m * self.conv.shape.output + v * S::LANES;
                    let mut sum = sums[m][v];
                    if let Some(residual) = residual {
                        sum = S::add(sum, S::load(residual.as_ptr().add(at)));
                    }
                    S::store(self.out.get().add(at), S::min(high, S::max(low, sum)));
                }
            }
        }
    }

    /// The same of a part of a tile or of a panel.
    #[inline(always)]
    unsafe fn store<S: Simd, const V: usize>(&self, sums: &[f32], tile: usize, at: usize, channels: usize) {
        let ConvInput { residual, limits, .. } = self.input;
        let width = V * S::LANES;
        for (m, sums) in sums.chunks_exact(width).take(tile).enumerate() {
            let at = at + m * self.conv.shape.output;
            // SAFETY: the caller promises that `tile` positions from `at` on, each with so many channels, are inside.
            unsafe {
                let out = self.out.get().add(at);
                let residual = residual.map(|residual| residual.as_ptr().add(at));
                let whole = channels / S::LANES * S::LANES;
                let (low, high) = (S::splat(limits.low), S::splat(limits.high));
                for c in (0..whole).step_by(S::LANES) {
                    let mut sum = S::load(sums.as_ptr().add(c));
                    if let Some(residual) = residual {
                        sum = S::add(sum, S::load(residual.add(c)));
                    }
                    S::store(out.add(c), S::min(high, S::max(low, sum)));
                }
                for c in whole..channels {
                    let sum = sums[c] + residual.map_or(0.0, |residual| *residual.add(c));
                    *out.add(c) = limits.apply(sum);
                }
            }
        }
    }
}

/// bias + the sum over `lines` runs of `run` values, each window's own, times the panel's weights.
#[inline(always)]
unsafe fn sum<S: Simd, const V: usize, const M: usize>(
    mut windows: [*const f32; M],
    lines: usize,
    run: usize,
    row: usize,
    mut weights: *const f32,
    bias: *const f32,
) -> [[S::Vector; V]; M] {
    // SAFETY: the caller promises that all of it is there.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; M];
        for v in 0..V {
            let bias = S::load(bias.add(v * S::LANES));
            for m in 0..M {
                sums[m][v] = bias;
            }
        }
        for _ in 0..lines {
            // Several values a turn: then they lie at fixed distances from the pointers.
            for _ in 0..run / UNROLL {
                for i in 0..UNROLL {
                    step::<S, V, M>(&mut sums, &windows, i, weights.add(i * V * S::LANES));
                }
                for window in &mut windows {
                    *window = window.add(UNROLL);
                }
                weights = weights.add(UNROLL * V * S::LANES);
            }
            for i in 0..run % UNROLL {
                step::<S, V, M>(&mut sums, &windows, i, weights);
                weights = weights.add(V * S::LANES);
            }
            for window in &mut windows {
                *window = window.wrapping_add(row).wrapping_sub(run - run % UNROLL);
            }
        }
        sums
    }
}

/// Adds each window's value at `i` times its weights.
#[inline(always)]
unsafe fn step<S: Simd, const V: usize, const M: usize>(
    sums: &mut [[S::Vector; V]; M],
    windows: &[*const f32; M],
    i: usize,
    weights: *const f32,
) {
    // SAFETY: the caller promises that all of it is there.
    unsafe {
        let mut w = [S::splat(0.0); V];
        for v in 0..V {
            w[v] = S::load(weights.add(v * S::LANES));
        }
        for m in 0..M {
            let value = S::splat(*windows[m].add(i));
            for v in 0..V {
                sums[m][v] = S::mul_add(value, w[v], sums[m][v]);
            }
        }
    }
}
