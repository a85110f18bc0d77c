//! Correlation of neighbouring frames: relu(<first(y, x), second(y + dy, x + dx)>) over a P x P window, 0 where the
//! neighbour is outside (paper, Eq. 1). The scores of a position are handed over as soon as they are there, so that
//! nobody has to keep them.
//!
//! The second map is laid out with its columns side by side for each channel, between zeros. Then the windows of two
//! neighbouring positions on one line, 16 columns together where P is 15, are a few vectors per channel, and each
//! position's value is all that is multiplied with them.

use crate::parallel::{Shared, for_each};
use crate::scratch::with_scratch;
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Columns that are worked on together.
const COLUMNS: usize = 16;
/// Positions that are worked on together.
const POSITIONS: usize = 2;

/// Lengths of a search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Frame pairs.
    pub n: usize,
    /// Lines.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Side P of the window, odd.
    pub patch: usize,
}

impl Search {
    /// Calls `work(scores, out)` for each line of all pairs, with the scores of its positions, `[w, P * P]`, dy-major,
    /// and its part of `out`, which it shall fill. Lines come in any order, on any thread. Both maps are
    /// `[n, h, w, c]`.
    ///
    /// # Panics
    /// When a map has not the length that the sizes ask for, or `out` is not as much for every line.
    pub fn run(
        &self,
        first: &[f32],
        second: &[f32],
        out: &mut [f32],
        work: impl Fn(&[f32], &mut [f32]) + Sync,
    ) {
        self.run_with_level(Level::best(), first, second, out, work);
    }

    /// The same on other instructions.
    ///
    /// # Panics
    /// As [`Search::run`].
    pub fn run_with_level(
        &self,
        level: Level,
        first: &[f32],
        second: &[f32],
        out: &mut [f32],
        work: impl Fn(&[f32], &mut [f32]) + Sync,
    ) {
        level.check();
        let Self { n, h, w, c, patch } = *self;
        for map in [first, second] {
            assert_eq!(map.len(), n * h * w * c, "length of a map");
        }
        let size = out.len() / (n * h).max(1);
        assert_eq!(out.len(), n * h * size, "length of the output");
        // Room for the window of the last column, in whole groups of columns.
        let width = w + (patch + 1).next_multiple_of(COLUMNS);
        let mut laid_out: Vec<f32> = vec![0.0; n * h * c * width];
        let shared = Shared::new(laid_out.as_mut_ptr());
        for_each(n * h, |line| {
            // SAFETY: the lines are apart, and inside.
            let to = unsafe { std::slice::from_raw_parts_mut(shared.get().add(line * c * width), c * width) };
            for (x, values) in second[line * w * c..(line + 1) * w * c].chunks_exact(c).enumerate() {
                for (c, value) in values.iter().enumerate() {
                    to[c * width + patch / 2 + x] = *value;
                }
            }
        });
        let out = Shared::new(out.as_mut_ptr());
        for_each(n * h, |line| {
            // SAFETY: the lines are apart, and inside.
            let out = unsafe { std::slice::from_raw_parts_mut(out.get().add(line * size), size) };
            with_scratch(w * patch * patch, |scores| {
                dispatch(level, Line { search: self, first, second: &laid_out, width, line, scores });
                work(scores, out);
            });
        });
    }
}

/// The windows of all positions of one line.
struct Line<'a> {
    search: &'a Search,
    first: &'a [f32],
    /// `[n, h, c, width]`.
    second: &'a [f32],
    width: usize,
    line: usize,
    /// `[w, P * P]`.
    scores: &'a mut [f32],
}

impl Kernel for Line<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let Search { h, w, patch, .. } = *self.search;
        let (frame, y) = (self.line / h, self.line % h);
        let radius = patch / 2;
        // Lines of the windows that are inside; for each few of them all positions, so that they stay in the cache.
        let (from, to) = (radius.saturating_sub(y), patch.min(h + radius - y));
        for scores in self.scores.chunks_exact_mut(patch * patch) {
            scores[..from * patch].fill(0.0);
            scores[to * patch..].fill(0.0);
        }
        let mut dy = from;
        while dy < to {
            let other = frame * h + y + dy - radius;
            let lines = match (S::LANES, to - dy) {
                (16, 4..) => 4,
                (8, 3..) => 3,
                _ => 1,
            };
            for column in (0..w).step_by(POSITIONS) {
                match (S::LANES, lines) {
                    (16, 4) => self.tile::<S, 1, 4>(other, dy, column),
                    (16, _) => self.tile::<S, 1, 1>(other, dy, column),
                    (8, 3) => self.tile::<S, 2, 3>(other, dy, column),
                    (8, _) => self.tile::<S, 2, 1>(other, dy, column),
                    (4, _) => self.tile::<S, 4, 1>(other, dy, column),
                    _ => self.tile::<S, COLUMNS, 1>(other, dy, column),
                }
            }
            dy += lines;
        }
    }
}

impl Line<'_> {
    /// `L` lines of the windows of two positions, from the line `other` of the second map, which stands at `dy`.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const L: usize>(&mut self, other: usize, dy: usize, column: usize) {
        let Search { w, c, patch, .. } = *self.search;
        let last = POSITIONS.min(w - column) - 1;
        for group in (0..patch + POSITIONS - 1).step_by(COLUMNS) {
            let mut sums = [[0.0_f32; COLUMNS]; 8];
            // SAFETY: positions and lines are inside the maps; after the last column there is room for a window.
            unsafe {
                let mut acc = [[[S::splat(0.0); V]; L]; POSITIONS];
                let first = self.first.as_ptr().add((self.line * w + column) * c);
                let mut second = [self.second.as_ptr(); L];
                for l in 0..L {
                    second[l] = second[l].add((other + l) * c * self.width + column + group);
                }
                for k in 0..c {
                    let mut values = [S::splat(0.0); POSITIONS];
                    for m in 0..POSITIONS {
                        values[m] = S::splat(*first.add(m.min(last) * c + k));
                    }
                    for l in 0..L {
                        for v in 0..V {
                            let vector = S::load(second[l].add(k * self.width + v * S::LANES));
                            for m in 0..POSITIONS {
                                acc[m][l][v] = S::mul_add(values[m], vector, acc[m][l][v]);
                            }
                        }
                    }
                }
                let zero = S::splat(0.0);
                for m in 0..POSITIONS {
                    for l in 0..L {
                        for v in 0..V {
                            let to = sums[m * L + l].as_mut_ptr().add(v * S::LANES);
                            S::store(to, S::max(acc[m][l][v], zero));
                        }
                    }
                }
            }
            let scores = self.scores.chunks_exact_mut(patch * patch).skip(column).take(POSITIONS);
            for (m, scores) in scores.enumerate() {
                for l in 0..L {
                    // The window of position m begins m columns after the first one's.
                    let sums = &sums[m * L + l];
                    let from = group.max(m);
                    let to = (group + COLUMNS).min(patch + m);
                    let line = &mut scores[(dy + l) * patch..(dy + l + 1) * patch];
                    if from < to {
                        line[from - m..to - m].copy_from_slice(&sums[from - group..to - group]);
                    }
                }
            }
        }
    }
}
