//! Most likely movement of each position from the scores of its window: softmax over the window, or over the window
//! weighted by a Gaussian around the best match, and the expected cell (paper, Eq. 2 to 4; published code).
//!
//! A line of a window fills whole vectors, with what is beyond its end pushed out of the softmax.

use crate::correlation::{COLUMNS, Search, pitch};
use crate::parallel::{Shared, for_each};
use crate::scratch::with_scratch;
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Positions of a task.
const POSITIONS: usize = 32;

/// What is the same at every position, worked out once.
pub struct Displacement {
    level: Level,
    patch: usize,
    /// 1 / tau.
    sharpness: f32,
    /// The Gaussian of every distance (dy, dx) in -(P-1) ..= P-1, in lines of `reach`; nothing for the soft-argmax.
    gaussian: Option<Vec<f32>>,
    reach: usize,
    /// dx of each column of the window from its centre, 0 beyond its end.
    columns: Vec<f32>,
    /// 0 inside the window, minus infinity beyond its end.
    beyond: Vec<f32>,
}

/// What was found at each position.
pub struct Found<'a> {
    /// `[positions, 2]`: (dx, dy), divided by the radius of the window.
    pub displacement: &'a mut [f32],
    /// `[positions]`: the largest score.
    pub confidence: &'a mut [f32],
    /// `[positions]`: index of the best match, dy-major, the lowest on ties.
    pub argmax: &'a mut [f32],
}

impl Displacement {
    /// For windows of `patch` x `patch` cells: softmax of the scores over `temperature`, weighted by a Gaussian of
    /// this `sigma`, in cells, around the best match, if there is one.
    pub fn new(patch: usize, temperature: f64, sigma: Option<f64>) -> Self {
        Self::with_level(Level::best(), patch, temperature, sigma)
    }

    /// The same on other instructions.
    ///
    /// # Panics
    /// When this machine has not the instructions.
    pub fn with_level(level: Level, patch: usize, temperature: f64, sigma: Option<f64>) -> Self {
        level.check();
        let (pitch, furthest) = (pitch(patch), patch as f64 - 1.0);
        // A line of the window, from any cell on, in whole vectors.
        let reach = patch - 1 + pitch;
        let gaussian = sigma.map(|sigma| {
            let distance = |i: usize| (i as f64 - furthest) / sigma;
            let at = |i: usize| (-(distance(i / reach).powi(2) + distance(i % reach).powi(2)) / 2.0).exp();
            (0..(2 * patch - 1) * reach).map(|i| at(i) as f32).collect()
        });
        let column = |i: usize| if i < patch { i as f32 - (patch / 2) as f32 } else { 0.0 };
        Self {
            level,
            patch,
            // A temperature next to nothing must stay a number in f32.
            sharpness: (1.0 / temperature).min(1e30) as f32,
            gaussian,
            reach,
            columns: (0..pitch).map(column).collect(),
            beyond: (0..pitch).map(|i| if i < patch { 0.0 } else { f32::NEG_INFINITY }).collect(),
        }
    }

    /// From scores, `[positions, P * P]`, dy-major.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn run(&self, scores: &[f32], found: Found<'_>) {
        let (area, out) =
            (self.patch * self.patch, Out::new(found, scores.len() / (self.patch * self.patch)));
        let room = self.patch * pitch(self.patch);
        for_each(out.positions.div_ceil(POSITIONS), |task| {
            let positions = task * POSITIONS..((task + 1) * POSITIONS).min(out.positions);
            with_scratch(positions.len() * room, |padded| {
                let scores = scores[positions.start * area..positions.end * area].chunks_exact(self.patch);
                for (to, line) in padded.chunks_exact_mut(pitch(self.patch)).zip(scores) {
                    to[..self.patch].copy_from_slice(line);
                    to[self.patch..].fill(0.0);
                }
                self.positions(padded, positions.start, out);
            });
        });
    }

    /// Correlation of two maps and the displacement from it in one pass; the scores are never stored.
    ///
    /// # Panics
    /// When the lengths do not fit, or the search has another window.
    pub fn search(&self, search: &Search, first: &[f32], second: &[f32], found: Found<'_>) {
        assert_eq!(search.patch, self.patch, "side of the window");
        let out = Out::new(found, search.n * search.h * search.w);
        search.lines(self.level, first, second, |line, scores| {
            self.positions(scores, line * search.w, out);
        });
    }

    /// Scores in lines of the pitch, of the positions from `first` on.
    fn positions(&self, scores: &[f32], first: usize, out: Out) {
        dispatch(self.level, Positions { displacement: self, scores, first, out });
    }

    /// d(loss)/d(scores), `[positions, P * P]`, from d(loss)/d(dx, dy, confidence), `[positions, 3]`:
    /// d(dx)/d(score i) = gaussian i / tau * probability i * (dx of cell i - dx) / radius, dy alike, and 1 from the
    /// confidence to the best match's score.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn gradient(&self, scores: &[f32], grad: &[f32], out: &mut [f32]) {
        let area = self.patch * self.patch;
        let positions = scores.len() / area;
        assert_eq!(grad.len(), 3 * positions, "length of the gradient");
        assert_eq!((scores.len(), out.len()), (positions * area, positions * area), "length of the scores");
        let shared = Shared::new(out.as_mut_ptr());
        for_each(positions.div_ceil(POSITIONS), |task| {
            let range = task * POSITIONS..((task + 1) * POSITIONS).min(positions);
            let (from, length) = (range.start * area, range.len() * area);
            // SAFETY: the tasks are apart, and inside.
            let out = unsafe { std::slice::from_raw_parts_mut(shared.get().add(from), length) };
            let (scores, grad) = (&scores[from..from + length], &grad[3 * range.start..3 * range.end]);
            dispatch(self.level, Gradient { displacement: self, scores, grad, out });
        });
    }

    /// Fills `weights` with the softmax's terms e^(score - largest), as the scores in lines of the pitch.
    ///
    /// # Safety
    /// Both have `P` lines of the pitch.
    #[inline(always)]
    unsafe fn weigh<S: Simd>(&self, scores: *const f32, weights: *mut f32) -> Weighed {
        // SAFETY: as the caller promises. A constant makes loops over a line straight code.
        match pitch(self.patch) {
            COLUMNS => unsafe { self.weigh_lines::<S>(scores, weights, COLUMNS) },
            pitch => unsafe { self.weigh_lines::<S>(scores, weights, pitch) },
        }
    }

    #[inline(always)]
    unsafe fn weigh_lines<S: Simd>(&self, scores: *const f32, weights: *mut f32, pitch: usize) -> Weighed {
        let patch = self.patch;
        let vectors = pitch / S::LANES;
        let (columns, beyond) = (self.columns.as_ptr(), self.beyond.as_ptr());
        // SAFETY: the pitch is a whole number of vectors, and so long are the tables.
        unsafe {
            let mut largest = S::splat(f32::NEG_INFINITY);
            for dy in 0..patch {
                for v in 0..vectors {
                    let score = S::load(scores.add(dy * pitch + v * S::LANES));
                    largest = S::max(S::add(score, S::load(beyond.add(v * S::LANES))), largest);
                }
            }
            let best = self.first_equal::<S>(scores, largest_of::<S>(largest));

            let sharpness = S::splat(self.sharpness);
            let mut peak = S::splat(f32::NEG_INFINITY);
            let mut factors = self.factors(best);
            for dy in 0..patch {
                for v in 0..vectors {
                    let at = dy * pitch + v * S::LANES;
                    let mut logit = S::mul(S::load(scores.add(at)), sharpness);
                    if let Some(factors) = factors {
                        logit = S::mul(logit, S::load(factors.add(v * S::LANES)));
                    }
                    logit = S::add(logit, S::load(beyond.add(v * S::LANES)));
                    peak = S::max(logit, peak);
                    S::store(weights.add(at), logit);
                }
                factors = self.next_line(factors);
            }
            let peak = S::splat(largest_of::<S>(peak));
            let one = S::splat(1.0);
            let (mut total, mut x, mut y) = (S::splat(0.0), S::splat(0.0), S::splat(0.0));
            let mut along_y = S::splat(-((patch / 2) as f32));
            for dy in 0..patch {
                for v in 0..vectors {
                    let at = weights.add(dy * pitch + v * S::LANES);
                    let weight = exp::<S>(S::sub(S::load(at), peak));
                    S::store(at, weight);
                    total = S::add(total, weight);
                    x = S::mul_add(weight, S::load(columns.add(v * S::LANES)), x);
                    y = S::mul_add(weight, along_y, y);
                }
                along_y = S::add(along_y, one);
            }
            let total = sum_of::<S>(total);
            let cell = [sum_of::<S>(x) / total, sum_of::<S>(y) / total];
            Weighed { best, confidence: *scores.add(best / patch * pitch + best % patch), total, cell }
        }
    }

    /// The Gaussian's values over the first line of the window, when it stands on the cell `best`.
    #[inline(always)]
    fn factors(&self, best: usize) -> Option<*const f32> {
        let (dy, dx) = (best / self.patch, best % self.patch);
        // All lines of a window from here on are inside, in whole vectors.
        let from = (self.patch - 1 - dy) * self.reach + self.patch - 1 - dx;
        self.gaussian.as_ref().map(|gaussian| gaussian[from..].as_ptr())
    }

    #[inline(always)]
    fn next_line(&self, factors: Option<*const f32>) -> Option<*const f32> {
        factors.map(|factors| factors.wrapping_add(self.reach))
    }

    /// Index of the first score that equals `value`; 0 of none.
    #[inline(always)]
    unsafe fn first_equal<S: Simd>(&self, scores: *const f32, value: f32) -> usize {
        let (patch, pitch) = (self.patch, pitch(self.patch));
        // SAFETY: as the caller promises.
        unsafe {
            let wanted = S::splat(value);
            for dy in 0..patch {
                for v in 0..patch.div_ceil(S::LANES) {
                    let from = dy * pitch + v * S::LANES;
                    if S::any_equal(S::load(scores.add(from)), wanted) {
                        for dx in v * S::LANES..((v + 1) * S::LANES).min(patch) {
                            if *scores.add(dy * pitch + dx) == value {
                                return dy * patch + dx;
                            }
                        }
                    }
                }
            }
        }
        0
    }
}

/// The softmax of a position.
struct Weighed {
    best: usize,
    confidence: f32,
    /// Sum of the terms.
    total: f32,
    /// The expected cell (x, y), from the window's centre.
    cell: [f32; 2],
}

/// Writes the fold of a vector's values to one.
macro_rules! fold {
    ($(#[$doc:meta])* $name:ident, $a:ident, $b:ident, $of:expr) => {
        $(#[$doc])*
        #[inline(always)]
        unsafe fn $name<S: Simd>(vector: S::Vector) -> f32 {
            let mut values = [0.0_f32; COLUMNS];
            // SAFETY: no vector has more values.
            unsafe { S::store(values.as_mut_ptr(), vector) };
            let mut length = S::LANES;
            while length > 1 {
                length /= 2;
                for i in 0..length {
                    let ($a, $b) = (values[i], values[i + length]);
                    values[i] = $of;
                }
            }
            values[0]
        }
    };
}
fold!(
    /// The sum of a vector's values.
    sum_of, a, b, a + b
);
fold!(
    /// The largest of a vector's values.
    largest_of, a, b, if a > b { a } else { b }
);

/// e^x for x <= 0, within 2e-7 of it relatively. Cephes' `expf`: x = n ln 2 + r, and a polynomial in r.
#[inline(always)]
unsafe fn exp<S: Simd>(x: S::Vector) -> S::Vector {
    /// Added and taken away again, it leaves a whole number.
    const WHOLE: f32 = 12_582_912.0;
    // SAFETY: arithmetic alone.
    unsafe {
        // Below, the result would not be a normal number; it is taken for e^-87, about 1e-38.
        let x = S::max(x, S::splat(-87.0));
        let whole = S::mul_add(x, S::splat(std::f32::consts::LOG2_E), S::splat(WHOLE));
        let n = S::sub(whole, S::splat(WHOLE));
        // ln 2 in two parts, the first short enough for an exact product.
        let r = S::neg_mul_add(n, S::splat(0.693_359_4), x);
        let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
        let p = S::splat(1.987_569_1e-4);
        let p = S::mul_add(p, r, S::splat(1.398_199_9e-3));
        let p = S::mul_add(p, r, S::splat(8.333_452e-3));
        let p = S::mul_add(p, r, S::splat(4.166_579_6e-2));
        let p = S::mul_add(p, r, S::splat(1.666_666_5e-1));
        let p = S::mul_add(p, r, S::splat(0.5));
        let p = S::mul_add(S::mul(p, r), r, S::add(r, S::splat(1.0)));
        S::mul(p, S::power_of_two(n))
    }
}

/// Where tasks write what they found.
#[derive(Clone, Copy)]
struct Out {
    displacement: Shared,
    confidence: Shared,
    argmax: Shared,
    positions: usize,
}

impl Out {
    fn new(found: Found<'_>, positions: usize) -> Self {
        let lengths = [found.displacement.len(), found.confidence.len(), found.argmax.len()];
        assert_eq!(lengths, [2 * positions, positions, positions], "lengths of what is found");
        Self {
            displacement: Shared::new(found.displacement.as_mut_ptr()),
            confidence: Shared::new(found.confidence.as_mut_ptr()),
            argmax: Shared::new(found.argmax.as_mut_ptr()),
            positions,
        }
    }
}

/// Some positions, from their scores in lines of the pitch.
struct Positions<'a> {
    displacement: &'a Displacement,
    scores: &'a [f32],
    first: usize,
    out: Out,
}

impl Kernel for Positions<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Displacement { patch, .. } = *self.displacement;
        let room = patch * pitch(patch);
        let radius = (patch / 2) as f32;
        let mut weights = vec![0.0; room];
        for i in 0..self.scores.len() / room {
            let at = self.first + i;
            assert!(at < self.out.positions, "a position too many");
            // SAFETY: there are so many lines of scores, and places are inside and this task's own.
            unsafe {
                let found =
                    self.displacement.weigh::<S>(self.scores.as_ptr().add(i * room), weights.as_mut_ptr());
                *self.out.displacement.get().add(2 * at) = found.cell[0] / radius;
                *self.out.displacement.get().add(2 * at + 1) = found.cell[1] / radius;
                *self.out.confidence.get().add(at) = found.confidence;
                *self.out.argmax.get().add(at) = found.best as f32;
            }
        }
    }
}

/// The way back of some positions.
struct Gradient<'a> {
    displacement: &'a Displacement,
    scores: &'a [f32],
    grad: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Gradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Displacement { patch, .. } = *self.displacement;
        let (area, pitch) = (patch * patch, pitch(patch));
        let radius = (patch / 2) as f32;
        let mut padded = vec![0.0; patch * pitch];
        let mut weights = vec![0.0; patch * pitch];
        for i in 0..self.scores.len() / area {
            let out = &mut self.out[i * area..(i + 1) * area];
            for dy in 0..patch {
                let line = &self.scores[i * area + dy * patch..][..patch];
                padded[dy * pitch..dy * pitch + patch].copy_from_slice(line);
            }
            let [grad_x, grad_y, grad_confidence] =
                [self.grad[3 * i], self.grad[3 * i + 1], self.grad[3 * i + 2]];
            // SAFETY: both have so many lines.
            let found = unsafe { self.displacement.weigh::<S>(padded.as_ptr(), weights.as_mut_ptr()) };
            let scale = self.displacement.sharpness / (found.total * radius);
            let mut factors = self.displacement.factors(found.best);
            for dy in 0..patch {
                let along_y = grad_y * (dy as f32 - radius - found.cell[1]);
                let line = &mut weights[dy * pitch..(dy + 1) * pitch];
                for v in 0..pitch / S::LANES {
                    // SAFETY: the pitch is a whole number of vectors, and so long are the tables.
                    unsafe {
                        let column = S::load(self.displacement.columns.as_ptr().add(v * S::LANES));
                        let from_x = S::sub(column, S::splat(found.cell[0]));
                        let at = line.as_mut_ptr().add(v * S::LANES);
                        let mut value = S::mul_add(S::splat(grad_x), from_x, S::splat(along_y));
                        value = S::mul(value, S::mul(S::load(at), S::splat(scale)));
                        if let Some(factors) = factors {
                            value = S::mul(value, S::load(factors.add(v * S::LANES)));
                        }
                        S::store(at, value);
                    }
                }
                factors = self.displacement.next_line(factors);
                out[dy * patch..(dy + 1) * patch].copy_from_slice(&line[..patch]);
            }
            out[found.best] += grad_confidence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, Simd, dispatch, exp};
    use crate::Level;

    /// e^x of 16 numbers.
    struct Exp<'a>(&'a mut [f32; 16]);

    impl Kernel for Exp<'_> {
        #[inline(always)]
        fn run<S: Simd>(self) {
            for i in (0..16).step_by(S::LANES) {
                // SAFETY: 16 numbers are whole vectors of every level.
                unsafe {
                    let at = self.0.as_mut_ptr().add(i);
                    S::store(at, exp::<S>(S::load(at)));
                }
            }
        }
    }

    #[test]
    fn exp_is_the_exponential() {
        for level in Level::available() {
            for i in 0..=5_500 {
                let x: [f32; 16] = std::array::from_fn(|k| -((16 * i + k) as f32) / 1012.0);
                let mut found = x;
                dispatch(level, Exp(&mut found));
                for (x, found) in x.iter().zip(found) {
                    let expected = f64::from(x.max(-87.0)).exp();
                    let relative = (f64::from(found) / expected - 1.0).abs();
                    assert!(relative < 2e-7, "{level:?}: exp({x}) is off by {relative:e}");
                }
            }
            let mut found = [0.0; 16];
            (found[1], found[2]) = (f32::NEG_INFINITY, -1e30);
            dispatch(level, Exp(&mut found));
            assert_eq!(found[0], 1.0);
            // Nothing beside any other term, and a number.
            assert!(
                (0.0..1e-37).contains(&found[1]) && (0.0..1e-37).contains(&found[2]),
                "{level:?}: {found:?}"
            );
        }
    }
}
