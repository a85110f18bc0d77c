//! 3x3 convolution of stride 1 with a quarter of the multiplications: F(4x4, 3x3) of Lavin and Gray, "Fast algorithms
//! for convolutional neural networks" (2016).
//!
//! Each 4x4 patch of the output needs 6x6 of the input. Both the patch and the filter are transformed (`INPUT`,
//! `FILTER`) so that the convolution becomes, at each of the 36 places, a product over channels alone: 36 matrix
//! products for a block of patches. `OUTPUT` brings them back.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::conv::ConvInput;
use crate::direct::Direct;
use crate::parallel::{Shared, for_each, threads};
use crate::scratch::{uninit, with_scratch};
use crate::shape::{Limits, Shape};
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Side of a patch of the output, and of what it reads.
pub(crate) const OUT: usize = 4;
pub(crate) const IN: usize = 6;
/// Side of a filter.
pub(crate) const TAPS: usize = 3;
/// Input channels whose filters a task transforms.
const FILTERS_TOGETHER: usize = 16;
/// Values of a block of patches, transformed, before and after the products: 512 KiB, so that they stay in the cache.
const BLOCK: usize = 128 * 1024;
/// Channels must be whole vectors of any machine.
const CHANNELS: usize = 16;
/// Beyond so many filters their transforms take more memory, and time to read it, than they save.
const FILTERS: usize = 256 * 256;

/// B^T: six values of the input, transformed.
#[inline(always)]
unsafe fn input<S: Simd>(d: [S::Vector; IN]) -> [S::Vector; IN] {
    // SAFETY: the caller's vectors.
    unsafe {
        let (two, four, five) = (S::splat(2.0), S::splat(4.0), S::splat(5.0));
        let (even, odd) = (S::neg_mul_add(four, d[2], d[4]), S::neg_mul_add(four, d[1], d[3]));
        let (even_near, odd_near) = (S::sub(d[4], d[2]), S::mul(two, S::sub(d[3], d[1])));
        [
            S::mul_add(four, d[0], S::neg_mul_add(five, d[2], d[4])),
            S::add(even, odd),
            S::sub(even, odd),
            S::add(even_near, odd_near),
            S::sub(even_near, odd_near),
            S::mul_add(four, d[1], S::neg_mul_add(five, d[3], d[5])),
        ]
    }
}

/// A^T: six products, to four values of the output.
#[inline(always)]
unsafe fn output<S: Simd>(m: [S::Vector; IN]) -> [S::Vector; OUT] {
    // SAFETY: the caller's vectors.
    unsafe {
        let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
        let (near, far) = (S::add(m[1], m[2]), S::add(m[3], m[4]));
        let (near_apart, far_apart) = (S::sub(m[1], m[2]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(near, far)),
            S::mul_add(two, far_apart, near_apart),
            S::mul_add(four, far, near),
            S::add(m[5], S::mul_add(eight, far_apart, near_apart)),
        ]
    }
}

/// G: three values of a filter, to six.
#[inline(always)]
unsafe fn filter<S: Simd>([a, b, c]: [S::Vector; TAPS]) -> [S::Vector; IN] {
    // SAFETY: the caller's vectors.
    unsafe {
        let sixth = S::splat(1.0 / 6.0);
        let (ends, middle) = (S::mul(sixth, S::add(a, c)), S::mul(sixth, b));
        let far = S::mul_add(S::splat(1.0 / 24.0), a, S::mul(sixth, c));
        let half = S::mul(S::splat(1.0 / 12.0), b);
        [
            S::mul(S::splat(0.25), a),
            S::sub(S::splat(0.0), S::add(ends, middle)),
            S::sub(middle, ends),
            S::add(far, half),
            S::sub(far, half),
            c,
        ]
    }
}

/// Transformed filters, packed.
pub(crate) struct Winograd {
    shape: Shape,
    level: Level,
    /// One for each of the 36 places.
    products: Vec<Direct>,
    bias: Vec<f32>,
}

impl Winograd {
    /// Whether it can be used, and pays.
    pub(crate) fn suits(shape: Shape) -> bool {
        let Shape { input, output, kernel, stride } = shape;
        let whole = input.is_multiple_of(CHANNELS) && output.is_multiple_of(CHANNELS);
        kernel == 3 && stride == 1 && whole && input * output <= FILTERS
    }

    /// Transforms and packs weight `[C, 3, 3, C']`, the taps from the last to the first if `turned`, and bias `[C']`.
    pub(crate) fn from_rows(level: Level, shape: Shape, rows: &[f32], turned: bool, bias: &[f32]) -> Self {
        let Shape { input, output, .. } = shape;
        let (pointwise, zeros) = (Shape { kernel: 1, ..shape }, vec![0.0; output]);
        let mut products: Vec<Direct> =
            (0..IN * IN).map(|_| Direct::empty(level, pointwise, &zeros)).collect();
        // Where each place's weights go, for each vector of output channels.
        let columns: Vec<(Vec<Shared>, usize)> = (0..output)
            .step_by(level.lanes())
            .map(|o| {
                let columns: Vec<_> = products.iter_mut().map(|product| product.column(o)).collect();
                (columns.iter().map(|column| Shared::new(column.0)).collect(), columns[0].1)
            })
            .collect();
        for_each(input.div_ceil(FILTERS_TOGETHER), |block| {
            let channels = block * FILTERS_TOGETHER..((block + 1) * FILTERS_TOGETHER).min(input);
            dispatch(level, Filters { output, rows, turned, channels, columns: &columns });
        });
        Self { shape, level, products, bias: bias.to_vec() }
    }

    /// See [`crate::Conv::run`], which has checked the lengths.
    pub(crate) fn run(&self, input: ConvInput<'_>, out: &mut [MaybeUninit<f32>]) {
        let [n, h, w] = input.size;
        let (down, across) = (h.div_ceil(OUT), w.div_ceil(OUT));
        let patches = n * down * across;
        let Shape { input: from, output: to, .. } = self.shape;
        let most = (BLOCK / (IN * IN * (from + to))).max(24);
        // As many blocks for every core.
        let blocks = patches.div_ceil(most).next_multiple_of(threads());
        let block = patches.div_ceil(blocks);
        let out = Shared::new(out.as_mut_ptr().cast());
        for_each(patches.div_ceil(block), |i| {
            let first = i * block;
            let count = block.min(patches - first);
            let grid = Grid { down, across, first, count };
            with_scratch(IN * IN * (count * (from + to) + from), |scratch| {
                let (before, rest) = scratch.split_at_mut(IN * IN * count * from);
                let (after, patch) = rest.split_at_mut(IN * IN * count * to);
                let room = Shared::new(before.as_mut_ptr());
                dispatch(
                    self.level,
                    Before { input: &input, channels: from, grid, patch, to: room, places: count },
                );
                for (place, product) in self.products.iter().enumerate() {
                    let x = &before[place * count * from..][..count * from];
                    let line = ConvInput {
                        x,
                        size: [1, 1, count],
                        shift: None,
                        residual: None,
                        limits: Limits::NONE,
                    };
                    let after = &mut after[place * count * to..][..count * to];
                    product.line(line, uninit(after));
                }
                dispatch(self.level, After { winograd: self, input: &input, grid, from: after, out });
            });
        });
    }
}

/// Filters of some input channels to the 36 places.
struct Filters<'a> {
    output: usize,
    /// `[C, 3, 3, C']`.
    rows: &'a [f32],
    turned: bool,
    channels: Range<usize>,
    /// For each vector of output channels where its weights begin at each place, and how far on the next input channel's
    /// are.
    columns: &'a [(Vec<Shared>, usize)],
}

impl Kernel for Filters<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (i, (columns, step)) in self.columns.iter().enumerate() {
            for c in self.channels.clone() {
                // SAFETY: the channels are whole vectors, and no other task has these input channels.
                unsafe {
                    let rows = self.rows.as_ptr().add(c * TAPS * TAPS * self.output + i * S::LANES);
                    let mut lines = [[S::splat(0.0); IN]; TAPS];
                    for y in 0..TAPS {
                        let mut line = [S::splat(0.0); TAPS];
                        for x in 0..TAPS {
                            let tap = TAPS * y + x;
                            let tap = if self.turned { TAPS * TAPS - 1 - tap } else { tap };
                            line[x] = S::load(rows.add(tap * self.output));
                        }
                        lines[y] = filter::<S>(line);
                    }
                    for x in 0..IN {
                        let column = filter::<S>([lines[0][x], lines[1][x], lines[2][x]]);
                        for y in 0..IN {
                            S::store(columns[IN * y + x].get().add(c * step), column[y]);
                        }
                    }
                }
            }
        }
    }
}

/// Some patches of all frames, counted along lines.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) down: usize,
    pub(crate) across: usize,
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Grid {
    /// Frame, line and column where a patch's output begins.
    #[inline(always)]
    pub(crate) fn at(&self, patch: usize) -> [usize; 3] {
        let (line, column) = ((self.first + patch) / self.across, (self.first + patch) % self.across);
        [line / self.down, line % self.down * OUT, column * OUT]
    }
}

/// Patches of the input to the 36 places: `[36, count, C]`.
pub(crate) struct Before<'a> {
    pub(crate) input: &'a ConvInput<'a>,
    pub(crate) channels: usize,
    pub(crate) grid: Grid,
    /// Room for one patch, `[6, 6, C]`.
    pub(crate) patch: &'a mut [f32],
    pub(crate) to: Shared,
    /// Patches from one place to the next.
    pub(crate) places: usize,
}

impl Kernel for Before<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { input: source, channels, grid, patch, to, places } = self;
        let [_, h, w] = source.size;
        for index in 0..grid.count {
            let [frame, top, left] = grid.at(index);
            // One line and one column before the output's.
            let columns = left.max(1) - 1..(left + IN - 1).min(w);
            let skipped = usize::from(left == 0);
            for (y, line) in patch.chunks_exact_mut(IN * channels).enumerate() {
                match (top + y).checked_sub(1).filter(|y| *y < h) {
                    None => line.fill(0.0),
                    Some(y) => {
                        let inside = skipped * channels..(skipped + columns.len()) * channels;
                        line[..inside.start].fill(0.0);
                        line[inside.end..].fill(0.0);
                        source.copy(channels, frame, y, columns.clone(), &mut line[inside]);
                    }
                }
            }
            for c in (0..channels).step_by(S::LANES) {
                // SAFETY: `c` and a whole vector after it are channels; the patch has 36 positions of them, and so
                // has each patch in `to`.
                unsafe {
                    let patch = patch.as_ptr().add(c);
                    let mut lines = [[S::splat(0.0); IN]; IN];
                    for y in 0..IN {
                        let mut line = [S::splat(0.0); IN];
                        for x in 0..IN {
                            line[x] = S::load(patch.add((IN * y + x) * channels));
                        }
                        lines[y] = input::<S>(line);
                    }
                    for x in 0..IN {
                        let mut column = [S::splat(0.0); IN];
                        for y in 0..IN {
                            column[y] = lines[y][x];
                        }
                        let column = input::<S>(column);
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

/// The 36 products back to patches of the output.
struct After<'a> {
    winograd: &'a Winograd,
    input: &'a ConvInput<'a>,
    grid: Grid,
    /// `[36, count, C']`.
    from: &'a [f32],
    out: Shared,
}

impl Kernel for After<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { winograd, input: source, grid, from, out } = self;
        let ([_, h, w], channels) = (source.size, winograd.shape.output);
        for index in 0..grid.count {
            let [frame, top, left] = grid.at(index);
            for c in (0..channels).step_by(S::LANES) {
                // SAFETY: `c` and a whole vector after it are channels; `from` has 36 places of `count` patches; what is
                // written lies inside the map, in this task's own patches.
                unsafe {
                    let bias = S::load(winograd.bias.as_ptr().add(c));
                    let (low, high) = (S::splat(source.limits.low), S::splat(source.limits.high));
                    let mut lines = [[S::splat(0.0); OUT]; IN];
                    for y in 0..IN {
                        let mut line = [S::splat(0.0); IN];
                        for x in 0..IN {
                            line[x] = S::load(
                                from.as_ptr().add(((IN * y + x) * grid.count + index) * channels + c),
                            );
                        }
                        lines[y] = output::<S>(line);
                    }
                    for x in 0..OUT {
                        let mut column = [S::splat(0.0); IN];
                        for y in 0..IN {
                            column[y] = lines[y][x];
                        }
                        let column = output::<S>(column);
                        for y in 0..OUT {
                            if top + y >= h || left + x >= w {
                                continue;
                            }
                            let at = ((frame * h + top + y) * w + left + x) * channels + c;
                            let mut sum = S::add(column[y], bias);
                            if let Some(residual) = source.residual {
                                sum = S::add(sum, S::load(residual.as_ptr().add(at)));
                            }
                            S::store(out.get().add(at), S::min(high, S::max(low, sum)));
                        }
                    }
                }
            }
        }
    }
}
