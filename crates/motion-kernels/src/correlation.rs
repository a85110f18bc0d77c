//! Correlation of neighbouring frames: relu(<first(y, x), second(y + dy, x + dx)>) over a P x P window, 0 where the
//! neighbour is outside (paper, Eq. 1). The scores of a position are handed over as soon as they are there, so that
//! nobody has to keep them.
//!
//! The second map is laid out with its columns side by side for each channel, between zeros. Then the windows of two
//! neighbouring positions on one line, 16 columns together where P is 15, are a few vectors per channel, and each
//! position's value is all that is multiplied with them. So are those of the two positions below, but for a line at
//! either end: a vector that lies across two lines of the cache is slow to read, and is read half as often.

use crate::parallel::{Shared, for_each};
use crate::scratch::with_scratch;
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Columns that are worked on together.
pub(crate) const COLUMNS: usize = 16;
/// Neighbouring positions that are worked on together.
const POSITIONS: usize = 2;
/// Neighbouring lines that are worked on together: what one reads of the second map, the others read too.
const LINES: usize = 2;

/// Values from one line of a position's scores to the next while they are worked on: whole groups of columns, and room
/// for what stands before and behind the window of a second position.
pub(crate) const fn pitch(patch: usize) -> usize {
    (patch + POSITIONS - 1).next_multiple_of(COLUMNS)
}

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
    /// All scores, `[n, h, w, P * P]`, dy-major, of two maps `[n, h, w, c]`.
    ///
    /// # Panics
    /// When a slice has not the length that the sizes ask for.
    pub fn run(&self, first: &[f32], second: &[f32], out: &mut [f32]) {
        self.run_with_level(Level::best(), first, second, out);
    }

    /// The same on other instructions.
    ///
    /// # Panics
    /// As [`Search::run`], or when this machine has not the instructions.
    pub fn run_with_level(&self, level: Level, first: &[f32], second: &[f32], out: &mut [f32]) {
        let size = self.w * self.patch * self.patch;
        assert_eq!(out.len(), self.n * self.h * size, "length of the output");
        let out = Shared::new(out.as_mut_ptr());
        self.lines(level, first, second, |line, scores| {
            // SAFETY: the lines are apart, and inside.
            let out = unsafe { std::slice::from_raw_parts_mut(out.get().add(line * size), size) };
            for (out, scores) in out.chunks_exact_mut(self.patch).zip(scores.chunks_exact(pitch(self.patch)))
            {
                out.copy_from_slice(&scores[..self.patch]);
            }
        });
    }

    /// Calls `work(line, scores)` for each line of all pairs, with the scores of its positions, `[w, P, pitch]`; what
    /// stands beyond the end of a window's line is some number. Lines come in any order, on any thread.
    pub(crate) fn lines(
        &self,
        level: Level,
        first: &[f32],
        second: &[f32],
        work: impl Fn(usize, &[f32]) + Sync,
    ) {
        level.check();
        let Self { n, h, w, c, patch } = *self;
        for map in [first, second] {
            assert_eq!(map.len(), n * h * w * c, "length of a map");
        }
        // Room for the window of the last column, in whole groups of columns.
        let width = w + pitch(patch);
        with_scratch(n * h * c * width, |second_by_channel| {
            let shared = Shared::new(second_by_channel.as_mut_ptr());
            for_each(n * h, |line| {
                // SAFETY: the lines are apart, and inside.
                let to =
                    unsafe { std::slice::from_raw_parts_mut(shared.get().add(line * c * width), c * width) };
                let from = &second[line * w * c..(line + 1) * w * c];
                for (k, to) in to.chunks_exact_mut(width).enumerate() {
                    let (before, rest) = to.split_at_mut(patch / 2);
                    let (inside, behind) = rest.split_at_mut(w);
                    before.fill(0.0);
                    for (to, from) in inside.iter_mut().zip(from[k..].iter().step_by(c)) {
                        *to = *from;
                    }
                    behind.fill(0.0);
                }
            });
            let second = &*second_by_channel;
            let (bands, size) = (h.div_ceil(LINES), w * patch * pitch(patch));
            for_each(n * bands, |band| {
                let (frame, top) = (band / bands, band % bands * LINES);
                let count = LINES.min(h - top);
                // One value before the first line: the second position's vectors begin there.
                with_scratch(POSITIONS - 1 + count * size, |scores| {
                    dispatch(level, Band { search: self, first, second, width, frame, top, count, scores });
                    for (y, scores) in scores[POSITIONS - 1..].chunks_exact(size).enumerate() {
                        work(frame * h + top + y, scores);
                    }
                });
            });
        });
    }
}

/// The windows of all positions of neighbouring lines of a frame.
struct Band<'a> {
    search: &'a Search,
    first: &'a [f32],
    /// `[n, h, c, width]`.
    second: &'a [f32],
    width: usize,
    frame: usize,
    /// The first line.
    top: usize,
    /// Lines, at most [`LINES`].
    count: usize,
    /// `[count, w, P, pitch]`, after one value.
    scores: &'a mut [f32],
}

impl Kernel for Band<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let Search { h, w, patch, .. } = *self.search;
        let (radius, pitch) = (patch / 2, pitch(patch));
        for y in 0..self.count {
            // Lines of the windows that are inside.
            let (from, to) = (radius.saturating_sub(self.top + y), patch.min(h + radius - self.top - y));
            let scores = &mut self.scores[POSITIONS - 1 + y * w * patch * pitch..][..w * patch * pitch];
            for scores in scores.chunks_exact_mut(patch * pitch) {
                scores[..from * pitch].fill(0.0);
                scores[to * pitch..].fill(0.0);
            }
        }
        // A few lines of the second map for all positions, so that they stay in the cache; as many as the registers
        // hold the sums of.
        let mut other = self.top.saturating_sub(radius);
        let end = h.min(self.top + self.count + radius);
        while other < end {
            let lines = (end - other).min(if S::LANES == 16 { 4 } else { 1 });
            for column in (0..w).step_by(POSITIONS) {
                match (S::LANES, lines) {
                    (16, 4) => self.tile::<S, 1, 4, 2>(other, 0, column),
                    (16, 3) => self.tile::<S, 1, 3, 2>(other, 0, column),
                    (16, 2) => self.tile::<S, 1, 2, 2>(other, 0, column),
                    (16, _) => self.tile::<S, 1, 1, 2>(other, 0, column),
                    (8, _) => self.tile::<S, 2, 1, 2>(other, 0, column),
                    _ => {
                        for y in 0..self.count {
                            match S::LANES {
                                4 => self.tile::<S, 4, 1, 1>(other, y, column),
                                _ => self.tile::<S, COLUMNS, 1, 1>(other, y, column),
                            }
                        }
                    }
                }
            }
            other += lines;
        }
    }
}

impl Band<'_> {
    /// `L` lines of the second map, from `other` on, in the windows of two positions of each of `Y` lines, from line
    /// `y` of the band on.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const L: usize, const Y: usize>(
        &mut self,
        other: usize,
        y: usize,
        column: usize,
    ) {
        let Search { h, w, c, patch, .. } = *self.search;
        let (radius, pitch) = (patch / 2, pitch(patch));
        let (last, last_line) = (POSITIONS.min(w - column) - 1, self.count - 1);
        for group in (0..pitch).step_by(COLUMNS) {
            // SAFETY: positions and lines are inside the maps; after the last column there is room for a window. A
            // position's scores are `patch` lines of the pitch; the window of position m begins m columns after the
            // first one's, so its vectors begin m values before the line, where the line before, or the room before
            // all of them, has nothing that counts.
            unsafe {
                let mut acc = [[[[S::splat(0.0); V]; L]; POSITIONS]; Y];
                let mut first = [[self.first.as_ptr(); POSITIONS]; Y];
                for i in 0..Y {
                    let line = self.frame * h + self.top + (y + i).min(last_line);
                    for m in 0..POSITIONS {
                        first[i][m] = first[i][m].add((line * w + column + m.min(last)) * c);
                    }
                }
                let mut second = [self.second.as_ptr(); L];
                for l in 0..L {
                    let line = self.frame * h + other + l;
                    second[l] = second[l].add(line * c * self.width + column + group);
                }
                for k in 0..c {
                    let mut values = [[S::splat(0.0); POSITIONS]; Y];
                    for i in 0..Y {
                        for m in 0..POSITIONS {
                            values[i][m] = S::splat(*first[i][m].add(k));
                        }
                    }
                    for l in 0..L {
                        for v in 0..V {
                            let vector = S::load(second[l].add(k * self.width + v * S::LANES));
                            for i in 0..Y {
                                for m in 0..POSITIONS {
                                    acc[i][m][l][v] = S::mul_add(values[i][m], vector, acc[i][m][l][v]);
                                }
                            }
                        }
                    }
                }
                let zero = S::splat(0.0);
                for i in 0..Y {
                    for l in 0..L {
                        // The line's place in the window; none where the window does not reach it.
                        let dy = (other + l + radius).wrapping_sub(self.top + y + i);
                        if dy >= patch || y + i > last_line {
                            continue;
                        }
                        for m in 0..POSITIONS {
                            if m > last {
                                break;
                            }
                            let position = (y + i) * w + column + m;
                            let to = POSITIONS - 1 + (position * patch + dy) * pitch + group - m;
                            for v in 0..V {
                                let to = self.scores.as_mut_ptr().add(to + v * S::LANES);
                                S::store(to, S::max(acc[i][m][l][v], zero));
                            }
                        }
                    }
                }
            }
        }
    }
}
