//! A random number generator in, surfaces out: procedural colours at every point of the plane.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Split;

/// Red, green, blue in 0..=1, as displayed (not linear light).
pub(crate) type Rgb = [f32; 3];

const SIDE: usize = 128;

/// A table of random numbers that serves as lattice noise of any frequency.
#[derive(Clone)]
pub(crate) struct Noise {
    table: Vec<f32>,
}

impl Noise {
    pub(crate) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self { table: (0..SIDE * SIDE).map(|_| rng.random::<f32>()).collect() }
    }

    /// The random number of a lattice cell, in 0..1.
    #[inline]
    pub(crate) fn cell(&self, x: i32, y: i32) -> f32 {
        self.table[((y & 127) as usize) * SIDE + (x & 127) as usize]
    }

    /// Value noise in 0..1: smooth between lattice points one unit apart.
    #[inline]
    pub(crate) fn value(&self, x: f32, y: f32) -> f32 {
        let (ix, iy) = (floor(x), floor(y));
        let (fx, fy) = (x - ix as f32, y - iy as f32);
        let (fx, fy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
        let top = mix(self.cell(ix, iy), self.cell(ix + 1, iy), fx);
        let bottom = mix(self.cell(ix, iy + 1), self.cell(ix + 1, iy + 1), fx);
        mix(top, bottom, fy)
    }

    /// Octaves of value noise, each twice as fine and `gain` as strong; in 0..1.
    #[inline]
    fn octaves(&self, x: f32, y: f32, count: usize, gain: f32) -> f32 {
        let (mut sum, mut total, mut strength, mut scale) = (0.0, 0.0, 1.0, 1.0);
        for octave in 0..count {
            let offset = octave as f32 * 17.3;
            sum += strength * self.value(x * scale + offset, y * scale + offset);
            total += strength;
            strength *= gain;
            scale *= 2.0;
        }
        sum / total
    }
}

/// Floor by truncation: the coordinates of a scene are far above the offset's negative. Faster than
/// `f32::floor`, which is a library call on the baseline x86-64 target.
#[inline]
fn floor(x: f32) -> i32 {
    (x + 65536.0) as i32 - 65536
}

#[inline]
fn fract(x: f32) -> f32 {
    x - floor(x) as f32
}

#[inline]
pub(crate) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[inline]
pub(crate) fn mix_rgb(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

/// 0 below `low`, 1 above `high`, smooth between.
#[inline]
pub(crate) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Perceived brightness of a colour.
pub(crate) fn luma(c: Rgb) -> f32 {
    0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]
}

/// Hue in turns, saturation and value in 0..=1.
pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> Rgb {
    std::array::from_fn(|c| {
        let k = fract(hue + [0.0, 2.0 / 3.0, 1.0 / 3.0][c]) * 6.0;
        value * (1.0 - saturation * (1.0 - ((k - 3.0).abs() - 1.0).clamp(0.0, 1.0)))
    })
}

/// A random hue. The circle has 24 sectors; training takes the even ones, testing the odd ones.
pub(crate) fn hue(rng: &mut ChaCha8Rng, split: Split) -> f32 {
    let sector = 2 * rng.random_range(0..12) + usize::from(split == Split::Test);
    (sector as f32 + rng.random::<f32>()) / 24.0
}

/// Three colours that may meet on one surface.
pub(crate) fn palette(rng: &mut ChaCha8Rng, split: Split) -> [Rgb; 3] {
    let (saturation, value) = match rng.random_range(0..10) {
        0..5 => (rng.random_range(0.02..0.25), rng.random_range(0.16..0.97)), // walls, asphalt, paper
        5..9 => (rng.random_range(0.2..0.6), rng.random_range(0.15..0.9)),    // wood, cloth
        _ => (rng.random_range(0.6..1.0), rng.random_range(0.35..1.0)),       // toys
    };
    let first_hue = hue(rng, split);
    let first = hsv(first_hue, saturation, value);
    let step = rng.random_range(0.12..0.5) * if value > 0.5 { -1.0 } else { 1.0 };
    let second = hsv(first_hue, (saturation * rng.random_range(0.6..1.3)).min(1.0), value + step);
    let third = hsv(hue(rng, split), rng.random_range(0.2..0.95f32).powi(2), rng.random_range(0.1..1.0));
    [first, second, third]
}

/// Kinds of surface. No kind occurs in both splits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    Clouds,
    Wood,
    Bricks,
    Blotches,
    Specks,
    Wall,
    Weave,
    Marble,
    Pebbles,
    Plaid,
    Streaks,
    Paper,
    Hexagons,
}

impl Family {
    fn of(split: Split) -> &'static [Self] {
        match split {
            Split::Train => &[
                Self::Clouds,
                Self::Wood,
                Self::Bricks,
                Self::Blotches,
                Self::Specks,
                Self::Wall,
                Self::Wall,
                Self::Weave,
            ],
            Split::Test => &[
                Self::Marble,
                Self::Pebbles,
                Self::Plaid,
                Self::Streaks,
                Self::Paper,
                Self::Paper,
                Self::Hexagons,
            ],
        }
    }
}

/// A surface: its colour at every point of the plane.
#[derive(Clone)]
pub(crate) struct Texture {
    family: Family,
    pub(crate) colours: [Rgb; 3],
    /// Rotation and features per pixel.
    cos: f32,
    sin: f32,
    origin: [f32; 2],
    warp: f32,
    aspect: f32,
    detail: f32,
    grain: f32,
    noise: Noise,
}

impl Texture {
    /// A random surface of the split whose features are about `feature` pixels wide.
    pub(crate) fn new(rng: &mut ChaCha8Rng, split: Split, feature: f32) -> Self {
        let families = Family::of(split);
        let angle = match rng.random_range(0..3) {
            0 => 0.0,
            1 => PI / 2.0,
            _ => rng.random_range(0.0..TAU),
        } + rng.random_range(-0.12..0.12);
        let frequency = 1.0 / (feature * rng.random_range(0.6..1.8));
        Self {
            family: families[rng.random_range(0..families.len())],
            colours: palette(rng, split),
            cos: angle.cos() * frequency,
            sin: angle.sin() * frequency,
            origin: [rng.random_range(0.0..100.0), rng.random_range(0.0..100.0)],
            warp: rng.random_range(0.5..3.0),
            aspect: rng.random_range(1.0..3.0),
            detail: rng.random_range(0.45..0.75),
            grain: rng.random_range(0.01..0.07),
            noise: Noise::new(rng),
        }
    }

    /// The colour at a point, in pixels.
    pub(crate) fn colour(&self, x: f32, y: f32) -> Rgb {
        let u = self.cos * x + self.sin * y + self.origin[0];
        let v = self.cos * y - self.sin * x + self.origin[1];
        let colour = self.pattern(u, v);
        // Fine grain everywhere: even a plain wall has something to follow.
        let grain = 1.0 + self.grain * 2.0 * (self.noise.value(x * 0.6 + 31.0, y * 0.6 + 7.0) - 0.5);
        colour.map(|c| (c * grain).clamp(0.0, 1.0))
    }

    fn ramp(&self, t: f32) -> Rgb {
        let [a, b, c] = self.colours;
        if t < 0.6 { mix_rgb(a, b, t.max(0.0) / 0.6) } else { mix_rgb(b, c, ((t - 0.6) / 0.4).min(1.0)) }
    }

    fn pattern(&self, u: f32, v: f32) -> Rgb {
        let noise = &self.noise;
        let [first, second, third] = self.colours;
        match self.family {
            Family::Clouds => self.ramp((noise.octaves(u, v, 4, self.detail) - 0.5) * 1.9 + 0.45),
            Family::Wood => {
                let rings = v * 1.6 + self.warp * noise.octaves(u * 0.25, v * 0.5, 2, 0.5);
                let saw = (fract(rings) - 0.5).abs() * 2.0;
                let fibre = noise.value(u * 0.7, v * 9.0);
                mix_rgb(mix_rgb(first, second, saw * 0.8), second, fibre * 0.4)
            }
            Family::Bricks => {
                let row = floor(v);
                let along = u / self.aspect + 0.5 * (row & 1) as f32;
                let column = floor(along);
                let (fx, fy) = (fract(along), fract(v));
                let edge = (fx.min(1.0 - fx) * self.aspect).min(fy.min(1.0 - fy));
                let brick = mix_rgb(first, second, noise.cell(column * 3, row * 7));
                let worn = brick.map(|c| c * (0.85 + 0.3 * noise.value(u * 3.0, v * 3.0)));
                mix_rgb(third, worn, smoothstep(0.03, 0.09, edge))
            }
            Family::Blotches => {
                let n = noise.octaves(u, v, 3, self.detail);
                let base = mix_rgb(first, second, smoothstep(0.47, 0.52, n));
                mix_rgb(base, third, smoothstep(0.6, 0.64, noise.octaves(u * 1.3 + 9.0, v * 1.3, 2, 0.5)))
            }
            Family::Specks => {
                let base = mix_rgb(first, second, noise.value(u * 0.15, v * 0.15));
                let (ix, iy) = (floor(u), floor(v));
                let (cx, cy) = (noise.cell(ix, iy), noise.cell(ix + 40, iy + 9));
                let (dx, dy) = (fract(u) - 0.25 - 0.5 * cx, fract(v) - 0.25 - 0.5 * cy);
                let size = 0.05 + 0.2 * noise.cell(ix + 11, iy + 71);
                mix_rgb(third, base, smoothstep(size * 0.8, size * 1.2, (dx * dx + dy * dy).sqrt()))
            }
            Family::Wall => {
                let n = noise.octaves(u * 0.3, v * 0.3, 2, 0.5) * 0.7 + noise.value(u * 2.0, v * 2.0) * 0.3;
                mix_rgb(first, second, (n - 0.5) * 0.7 + 0.2)
            }
            Family::Weave => {
                let over = (fract(u * 2.0) - 0.5).abs() * 2.0;
                let under = (fract(v * 2.0) - 0.5).abs() * 2.0;
                let up = (floor(u * 2.0) + floor(v * 2.0)) & 1 == 0;
                let thread = if up { over } else { under };
                let patch = noise.octaves(u * 0.2, v * 0.2, 2, 0.5);
                mix_rgb(mix_rgb(first, second, thread), third, smoothstep(0.45, 0.75, patch) * 0.6)
            }
            Family::Marble => {
                let vein =
                    (u * 2.0 + self.warp * 2.0 * noise.octaves(u * 0.6, v * 0.6, 3, self.detail)).sin();
                self.ramp(vein.abs().sqrt() * 0.65 + 0.1 * noise.value(u * 4.0, v * 4.0))
            }
            Family::Pebbles => {
                let (ix, iy) = (floor(u), floor(v));
                let (mut nearest, mut next, mut stone) = (f32::MAX, f32::MAX, 0.0);
                for j in iy - 1..=iy + 1 {
                    for i in ix - 1..=ix + 1 {
                        let dx = i as f32 + noise.cell(i, j) - u;
                        let dy = j as f32 + noise.cell(i + 50, j + 21) - v;
                        let distance = dx * dx + dy * dy;
                        if distance < nearest {
                            (next, nearest, stone) = (nearest, distance, noise.cell(i + 5, j + 90));
                        } else if distance < next {
                            next = distance;
                        }
                    }
                }
                let gap = smoothstep(0.02, 0.14, next.sqrt() - nearest.sqrt());
                mix_rgb(third, mix_rgb(first, second, stone), gap)
            }
            Family::Plaid => {
                let band = |t: f32| {
                    let f = fract(t * 0.5);
                    0.5 * smoothstep(0.1, 0.13, f) * smoothstep(0.45, 0.42, f)
                        + 0.35 * smoothstep(0.7, 0.72, f) * smoothstep(0.78, 0.76, f)
                };
                mix_rgb(mix_rgb(first, second, band(u) * 1.2), third, band(v))
            }
            Family::Streaks => {
                let long = noise.octaves(u * 0.2, v * 1.7, 3, self.detail);
                self.ramp((long - 0.5) * 2.2 + 0.5)
            }
            Family::Paper => {
                let crease = (noise.octaves(u * 0.4, v * 0.4, 3, 0.6) - 0.5).abs();
                mix_rgb(
                    first,
                    second,
                    0.45 * smoothstep(0.09, 0.0, crease) + 0.2 * noise.value(u * 0.1, v * 0.1),
                )
            }
            Family::Hexagons => {
                let v = v * 1.1547;
                let shifted = |du: f32, dv: f32| {
                    let (a, b) = (fract(u + du) - 0.5, (fract((v + dv) * 0.5) - 0.5) * 2.0 / 1.1547);
                    (a, b, a * a + b * b)
                };
                let (one, two) = (shifted(0.0, 0.0), shifted(0.5, 1.0));
                let (a, b, cell) = if one.2 < two.2 {
                    (one.0, one.1, noise.cell(floor(u), floor(v * 0.5)))
                } else {
                    (two.0, two.1, noise.cell(floor(u + 0.5) + 33, floor((v + 1.0) * 0.5) + 57))
                };
                let edge = 0.5 - a.abs().max(0.5 * a.abs() + 0.866 * b.abs());
                mix_rgb(third, mix_rgb(first, second, cell), smoothstep(0.015, 0.06, edge))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_splits_share_no_surface_and_no_hue() {
        for family in Family::of(Split::Train) {
            assert!(!Family::of(Split::Test).contains(family), "{family:?} is in both");
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            assert_eq!((hue(&mut rng, Split::Train) * 24.0) as usize % 2, 0);
            assert_eq!((hue(&mut rng, Split::Test) * 24.0) as usize % 2, 1);
        }
    }

    #[test]
    fn colours_stay_displayable() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for split in [Split::Train, Split::Test] {
            for _ in 0..40 {
                let texture = Texture::new(&mut rng, split, 30.0);
                for i in 0..200 {
                    let colour = texture.colour(i as f32 * 7.3 - 400.0, i as f32 * 3.1 - 200.0);
                    assert!(colour.iter().all(|c| (0.0..=1.0).contains(c)), "{colour:?}");
                }
            }
        }
    }
}
