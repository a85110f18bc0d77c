//! A random number generator in, sprites out: the things that move, drawn from signed distances.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Split;
use super::place::Affine;
use super::raster::{Raster, Sprite};
use super::texture::{Rgb, Texture, hsv, luma, mix_rgb, palette, smoothstep};

type Point = [f32; 2];

/// Outlines of things, in units of their radius. No kind occurs in both splits.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Disc,
    Polygon { sides: usize, round: f32 },
    Slab { half: Point, round: f32 },
    Blob { waves: [(f32, f32); 3] },
    Bottle,
    Car,
    Person,
    Oval { ratio: f32 },
    Star { points: f32, depth: f32 },
    Mug,
    Pear,
    Cross { arm: f32 },
    Van,
    Doll,
}

impl Shape {
    fn random(rng: &mut ChaCha8Rng, split: Split) -> Self {
        match (split, rng.random_range(0..10)) {
            (Split::Train, 0) => Self::Disc,
            (Split::Train, 1..=2) => {
                Self::Polygon { sides: rng.random_range(3..7), round: rng.random_range(0.05..0.3) }
            }
            (Split::Train, 3..=4) => Self::Slab {
                half: [rng.random_range(0.4..1.0), rng.random_range(0.4..1.0)],
                round: rng.random_range(0.03..0.25),
            },
            (Split::Train, 5) => Self::Blob {
                waves: std::array::from_fn(|_| (rng.random_range(0.02..0.13), rng.random_range(0.0..TAU))),
            },
            (Split::Train, 6..=7) => Self::Bottle,
            (Split::Train, 8) => Self::Car,
            (Split::Train, _) => Self::Person,
            (Split::Test, 0..=1) => Self::Oval { ratio: rng.random_range(0.45..0.85) },
            (Split::Test, 2) => {
                Self::Star { points: rng.random_range(4..9) as f32, depth: rng.random_range(0.12..0.3) }
            }
            (Split::Test, 3..=4) => Self::Mug,
            (Split::Test, 5) => Self::Pear,
            (Split::Test, 6) => Self::Cross { arm: rng.random_range(0.25..0.45) },
            (Split::Test, 7..=8) => Self::Van,
            (Split::Test, _) => Self::Doll,
        }
    }

    /// One that reaches about as far in every direction.
    fn round(rng: &mut ChaCha8Rng, split: Split) -> Self {
        loop {
            let shape = Self::random(rng, split);
            let round = match &shape {
                Self::Disc | Self::Polygon { .. } | Self::Blob { .. } | Self::Star { .. } => true,
                Self::Slab { half, .. } => half[0].min(half[1]) > 0.7,
                Self::Oval { ratio } => *ratio > 0.7,
                _ => false,
            };
            if round {
                return shape;
            }
        }
    }

    /// Half width and half height of a box around the shape.
    fn extent(&self) -> Point {
        match self {
            Self::Slab { half, .. } => *half,
            Self::Blob { .. } => [1.4, 1.4],
            Self::Bottle => [0.42, 1.3],
            Self::Car => [0.62, 1.2],
            Self::Person => [0.6, 1.4],
            Self::Star { depth, .. } => [1.0 + depth; 2],
            Self::Mug => [1.15, 0.9],
            Self::Pear => [0.75, 1.2],
            Self::Van => [1.25, 0.75],
            Self::Doll => [0.75, 1.3],
            _ => [1.0, 1.0],
        }
    }

    /// Distance to the outline (negative inside) and which part is there: 0 the body, 1 and 2 trimmings.
    fn distance(&self, p: Point) -> (f32, usize) {
        let [x, y] = p;
        let radius = x.hypot(y);
        match self {
            Self::Disc => (radius - 1.0, 0),
            Self::Polygon { sides, round } => {
                let wedge = TAU / *sides as f32;
                let angle = (y.atan2(x) + 2.0 * TAU) % wedge - wedge / 2.0;
                let inner = (1.0 - round) * (wedge / 2.0).cos();
                let (along, across) = (radius * angle.cos() - inner, radius * angle.sin());
                let half = (1.0 - round) * (wedge / 2.0).sin();
                (along.max(0.0).hypot((across.abs() - half).max(0.0)) + along.min(0.0) - round, 0)
            }
            Self::Slab { half, round } => (slab(p, [0.0, 0.0], *half, *round), 0),
            Self::Blob { waves } => {
                let angle = y.atan2(x);
                let bulge: f32 =
                    waves.iter().enumerate().map(|(k, (a, b))| a * ((k + 2) as f32 * angle + b).sin()).sum();
                ((radius - 1.0 - bulge) * 0.9, 0)
            }
            Self::Bottle => nearest(&[
                (slab(p, [0.0, 0.45], [0.42, 0.85], 0.12), 0),
                (slab(p, [0.0, -0.65], [0.17, 0.45], 0.1), 0),
                (slab(p, [0.0, -1.15], [0.2, 0.15], 0.04), 1),
                (slab(p, [0.0, 0.5], [0.43, 0.4], 0.0).max(slab(p, [0.0, 0.45], [0.42, 0.85], 0.12)), 2),
            ]),
            Self::Car => nearest(&[
                (slab(p, [0.0, 0.0], [0.55, 1.2], 0.3), 0),
                (slab(p, [0.0, -0.35], [0.42, 0.16], 0.08), 1),
                (slab(p, [0.0, 0.72], [0.4, 0.14], 0.08), 1),
                (slab(p, [0.5, -0.4], [0.12, 0.06], 0.03), 0),
                (slab(p, [-0.5, -0.4], [0.12, 0.06], 0.03), 0),
            ]),
            Self::Person => nearest(&[
                (capsule(p, [0.0, -0.6], [0.0, 0.1], 0.36), 0),
                (((x * 1.1).hypot(y + 1.15) - 0.24), 1),
                (capsule(p, [0.15, 0.2], [0.18, 1.2], 0.17), 2),
                (capsule(p, [-0.15, 0.2], [-0.2, 1.2], 0.17), 2),
                (capsule(p, [0.36, -0.65], [0.46, 0.0], 0.13), 0),
                (capsule(p, [-0.36, -0.65], [-0.44, 0.0], 0.13), 0),
            ]),
            Self::Oval { ratio } => (x.hypot(y / ratio).mul_add(*ratio, -ratio), 0),
            Self::Star { points, depth } => {
                let bulge = depth * (points * y.atan2(x)).cos();
                ((radius - 0.95 - bulge) * 0.75, 0)
            }
            Self::Mug => nearest(&[
                (slab(p, [-0.25, 0.0], [0.65, 0.85], 0.15), 0),
                (((x - 0.5).hypot(y * 0.9) - 0.45).abs() - 0.12, 1),
                (slab(p, [-0.25, -0.72], [0.62, 0.1], 0.08), 2),
            ]),
            Self::Pear => {
                let (low, high) = (x.hypot(y - 0.4) - 0.7, x.hypot(y + 0.5) - 0.42);
                let blend = (0.5 + 0.5 * (high - low) / 0.4).clamp(0.0, 1.0);
                let body = high + (low - high) * blend - 0.4 * blend * (1.0 - blend);
                nearest(&[(body, 0), (capsule(p, [0.0, -0.9], [0.1, -1.1], 0.06), 1)])
            }
            Self::Cross { arm } => {
                (slab(p, [0.0, 0.0], [1.0, *arm], 0.08).min(slab(p, [0.0, 0.0], [*arm, 1.0], 0.08)), 0)
            }
            Self::Van => nearest(&[
                (slab(p, [0.0, 0.0], [1.2, 0.62], 0.15), 0),
                (slab(p, [0.75, 0.0], [0.12, 0.48], 0.05), 1),
                (slab(p, [-0.3, 0.0], [0.6, 0.4], 0.02), 2),
            ]),
            Self::Doll => nearest(&[
                (triangle(p), 0),
                ((x.hypot(y + 0.85) - 0.4), 1),
                (capsule(p, [-0.6, -0.1], [0.6, -0.1], 0.12), 2),
            ]),
        }
    }
}

/// A skirt: wide at the bottom.
fn triangle([x, y]: Point) -> f32 {
    let slope = (x.abs() - 0.25 - (y + 0.5) * 0.28) * 0.96;
    slope.max((y - 0.35).abs() - 0.85)
}

/// A box with rounded corners around a centre.
fn slab([x, y]: Point, centre: Point, half: Point, round: f32) -> f32 {
    let dx = (x - centre[0]).abs() - half[0] + round;
    let dy = (y - centre[1]).abs() - half[1] + round;
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - round
}

/// A thick line from one point to another.
fn capsule([x, y]: Point, from: Point, to: Point, radius: f32) -> f32 {
    let (ax, ay) = (to[0] - from[0], to[1] - from[1]);
    let (px, py) = (x - from[0], y - from[1]);
    let t = ((px * ax + py * ay) / (ax * ax + ay * ay)).clamp(0.0, 1.0);
    (px - t * ax).hypot(py - t * ay) - radius
}

/// Union of parts; where several cover a point, the last one shows.
fn nearest(parts: &[(f32, usize)]) -> (f32, usize) {
    let mut found = (f32::MAX, 0);
    for &(distance, part) in parts {
        if distance < 0.0 || (found.0 >= 0.0 && distance < found.0) {
            found = (distance.min(found.0), part);
        }
    }
    found
}

/// Marks that make an object's rotation visible.
#[derive(Clone, Copy)]
enum Decal {
    None,
    Stripe,
    Half,
    Dot,
}

/// What a thing is drawn with: its surface, trimmings, light and edge.
struct Paint {
    texture: Texture,
    trims: [Rgb; 2],
    decal: Decal,
    decal_angle: f32,
    light: Point,
    rim: f32,
    outline: f32,
}

impl Paint {
    /// `distance` in pixels from the outline (negative inside), `p` in units of the radius.
    fn colour(&self, pixel: Point, p: Point, distance: f32, part: usize, radius: f32) -> Rgb {
        let mut colour = match part {
            0 => self.texture.colour(pixel[0], pixel[1]),
            part => self.trims[part - 1],
        };
        let (sin, cos) = self.decal_angle.sin_cos();
        let (along, across) = (cos * p[0] + sin * p[1], cos * p[1] - sin * p[0]);
        let marked = match self.decal {
            Decal::None => false,
            Decal::Stripe => across.abs() < 0.18,
            Decal::Half => across > 0.1,
            Decal::Dot => (along - 0.45).hypot(across) < 0.25,
        };
        if marked && part == 0 {
            colour = mix_rgb(colour, self.trims[1], 0.85);
        }
        let depth = -distance / radius;
        let round = 1.0 - self.rim * smoothstep(0.5, 0.0, depth);
        let lit = 1.0 + self.light[0] * p[0] + self.light[1] * p[1];
        let edge = 1.0 - self.outline * smoothstep(2.0, 0.5, -distance);
        colour.map(|c| (c * round * lit * edge).clamp(0.0, 1.0))
    }
}

/// Draws a signed distance field. `extent` is the box in units of the radius around `centre`.
fn draw(
    paint: &Paint,
    radius: f32,
    centre: Point,
    extent: Point,
    levels: usize,
    shape: impl Fn(Point) -> (f32, usize),
) -> Sprite {
    // Two texels of air: bilinear reading fades to nothing at the border.
    let half = [extent[0] * radius + 2.0, extent[1] * radius + 2.0];
    let (width, height) = ((2.0 * half[0]).ceil() as usize, (2.0 * half[1]).ceil() as usize);
    let origin = [half[0] - centre[0] * radius, half[1] - centre[1] * radius];
    let raster = Raster::paint(width, height, |[x, y]| {
        let pixel = [x - origin[0], y - origin[1]];
        let p = [pixel[0] / radius, pixel[1] / radius];
        let (distance, part) = shape(p);
        let distance = distance * radius;
        let alpha = (0.5 - distance).clamp(0.0, 1.0);
        if alpha == 0.0 {
            return [0.0; 4];
        }
        let [r, g, b] = paint.colour(pixel, p, distance, part, radius);
        [r * alpha, g * alpha, b * alpha, alpha]
    });
    Sprite::new(raster, Affine::shift(origin), levels)
}

/// How an object shall look.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// In pixels, at scale 1.
    pub(crate) radius: f32,
    /// Texels for each pixel at scale 1; above 1 where the object will be drawn enlarged.
    pub(crate) density: f32,
    /// Brightness of what lies behind, to stand out from it.
    pub(crate) behind: f32,
    /// Whether its rotation must be visible.
    pub(crate) marked: bool,
    /// Whether it must reach about as far in every direction: hands hold it at its edge.
    pub(crate) round: bool,
}

impl Paint {
    fn random(rng: &mut ChaCha8Rng, split: Split, look: &Look) -> Self {
        let mut texture = Texture::new(rng, split, look.radius * look.density * rng_feature(look));
        for _ in 0..6 {
            if (luma(texture.colours[0]) - look.behind).abs() > 0.15 {
                break;
            }
            texture.colours = palette(rng, split);
        }
        let trims = [palette(rng, split)[0], palette(rng, split)[1]];
        let decals = [Decal::None, Decal::None, Decal::Stripe, Decal::Half, Decal::Dot];
        Self {
            texture,
            trims,
            decal: decals[rng.random_range(if look.marked { 2..5 } else { 0..5 })],
            decal_angle: rng.random_range(0.0..TAU),
            light: [rng.random_range(-0.25..0.25), rng.random_range(-0.3..0.1)],
            rim: rng.random_range(0.0..0.6),
            outline: if rng.random_bool(0.3) { rng.random_range(0.2..0.7) } else { 0.0 },
        }
    }
}

/// A random thing, centred on the origin of its layer.
pub(crate) fn object(rng: &mut ChaCha8Rng, split: Split, look: &Look) -> Sprite {
    let mut shape = if look.round { Shape::round(rng, split) } else { Shape::random(rng, split) };
    if look.marked && matches!(shape, Shape::Person | Shape::Doll) {
        shape = if split == Split::Train { Shape::Bottle } else { Shape::Cross { arm: 0.3 } };
    }
    let paint = Paint::random(rng, split, look);
    let radius = look.radius * look.density;
    let sprite = draw(&paint, radius, [0.0, 0.0], shape.extent(), 4, |p| shape.distance(p));
    sprite.magnified(look.density)
}

/// A part that is fixed at one end.
#[derive(Clone, Copy)]
pub(crate) enum Piece {
    /// Of a box, a book, a cupboard.
    Lid,
    /// Of a flower.
    Petal,
}

/// A random piece: from the origin of its layer, where it is fixed, along +y; half its width and half its length in
/// pixels. No outline occurs in both splits.
pub(crate) fn piece(rng: &mut ChaCha8Rng, split: Split, piece: Piece, half: Point, look: &Look) -> Sprite {
    let paint = Paint::random(rng, split, look);
    let width = half[0] / half[1];
    let shape = |[x, y]: Point| {
        let distance = match (piece, split) {
            (Piece::Lid, Split::Train) => slab([x, y], [0.0, 1.0], [width, 1.0], 0.1 * width.min(1.0)),
            (Piece::Lid, Split::Test) => {
                (((x / width).powi(4) + (y - 1.0).powi(4)).powf(0.25) - 1.0) * width.min(1.0)
            }
            (Piece::Petal, Split::Train) => 0.8 * (x.abs() - width * (1.0 - (y - 1.0).powi(2))),
            (Piece::Petal, Split::Test) => {
                let along = (y / 2.0).clamp(0.0, 1.0);
                0.7 * (x.abs() - 2.6 * width * along.sqrt() * (1.0 - along)) + (y / 2.0 - along).abs()
            }
        };
        (distance, 0)
    };
    draw(&paint, half[1] * look.density, [0.0, 1.0], [width, 1.0], 4, shape).magnified(look.density)
}

/// A limb or the trunk of a person, with the joint at which it hangs as its layer's origin.
pub(crate) struct Limb {
    pub(crate) sprite: Sprite,
    /// The joint's place on the trunk, in pixels.
    pub(crate) joint: Point,
    /// Swings to the fore with this sign when walking; 0: does not swing.
    pub(crate) swing: f32,
}

/// A random person who can walk, from the limbs behind the trunk to those before it; the hips are about the origin. A
/// person is about 2.7 radii tall; those of the splits are built differently.
pub(crate) fn person(rng: &mut ChaCha8Rng, split: Split, look: &Look) -> Vec<Limb> {
    let [skin, shirt, trousers] = [0.3, 0.8, 0.8]
        .map(|radius| Paint::random(rng, split, &Look { radius: look.radius * radius, ..*look }));
    let unit = look.radius * look.density;
    let (shoulder, hip) = (rng.random_range(0.26..0.38), rng.random_range(0.1..0.18));
    let (leg, arm) = (rng.random_range(1.0..1.25), rng.random_range(0.75..0.95));
    let bar = |paint: &Paint, to: f32, thick: f32| {
        let shape = |p: Point| {
            let distance = match split {
                Split::Train => capsule(p, [0.0, 0.0], [0.0, to - thick], thick),
                Split::Test => slab(p, [0.0, to / 2.0 - thick / 2.0], [thick, to / 2.0 + thick / 2.0], 0.04),
            };
            (distance, 0)
        };
        let extent = [thick, (to + thick) / 2.0];
        draw(paint, unit, [0.0, (to - thick) / 2.0], extent, 4, shape).magnified(look.density)
    };
    let head = |[x, y]: Point| match split {
        Split::Train => (x * 1.15).hypot(y + 1.2) - 0.24,
        Split::Test => slab([x, y], [0.0, -1.2], [0.2, 0.25], 0.1),
    };
    let trunk = |p: Point| {
        let body = match split {
            Split::Train => capsule(p, [0.0, -0.62], [0.0, 0.0], 0.33),
            Split::Test => slab(p, [0.0, -0.35], [0.36, 0.52], 0.12),
        };
        nearest(&[(body, 0), (head(p), 1)])
    };
    let [face, neck, _] = skin.texture.colours;
    let trunk_paint = Paint { trims: [face, neck], ..shirt };
    let leg = |side: f32| Limb {
        sprite: bar(&trousers, leg, 0.16),
        joint: [side * hip * look.radius, 0.1 * look.radius],
        swing: side,
    };
    let arm = |side: f32| Limb {
        sprite: bar(&trunk_paint, arm, 0.12),
        joint: [side * shoulder * look.radius, -0.62 * look.radius],
        swing: -side,
    };
    let body = draw(&trunk_paint, unit, [0.0, -0.6], [0.45, 0.95], 4, trunk).magnified(look.density);
    let body = Limb { sprite: body, joint: [0.0; 2], swing: 0.0 };
    vec![arm(-1.0), leg(-1.0), leg(1.0), body, arm(1.0)]
}

/// Features of an object's surface relative to its radius: small things carry coarser patterns.
fn rng_feature(look: &Look) -> f32 {
    if look.radius < 25.0 { 0.6 } else { 0.4 }
}

/// How a hand shall look.
pub(crate) struct HandLook {
    /// Width of the palm, in pixels.
    pub(crate) size: f32,
    /// From the fingertips to the elbow, or to where a straight arm ends.
    pub(crate) length: f32,
    /// Length of the upper arm where the elbow bends; `None` for a straight arm.
    pub(crate) upper: Option<f32>,
    pub(crate) density: f32,
}

/// A hand with its arm: the fingertips at the layer's origin, the arm away along +y; and the upper arm, if there is one,
/// from the elbow at its layer's origin along +y.
pub(crate) fn hand(rng: &mut ChaCha8Rng, split: Split, look: &HandLook) -> (Sprite, Option<Sprite>) {
    let &HandLook { size, length, upper, density } = look;
    let skin = match split {
        Split::Train => {
            hsv(rng.random_range(0.02..0.075), rng.random_range(0.25..0.6), rng.random_range(0.35..0.95))
        }
        Split::Test => {
            hsv(rng.random_range(0.04..0.09), rng.random_range(0.3..0.5), rng.random_range(0.3..0.9))
        }
    };
    let mut texture = Texture::new(rng, split, size * density);
    // A surface of the split in the colours of skin, low in contrast.
    texture.colours = [skin, skin.map(|c| c * 0.9), skin.map(|c| (c * 1.06).min(1.0))];
    let sleeve = palette(rng, split)[0];
    let paint = Paint {
        texture,
        trims: [sleeve, sleeve],
        decal: Decal::None,
        decal_angle: 0.0,
        light: [rng.random_range(-0.1..0.1), 0.0],
        rim: rng.random_range(0.15..0.45),
        outline: 0.0,
    };
    let cuff = rng.random_range(2.4..6.0);
    let spread = rng.random_range(0.6..1.3);
    let curl = rng.random_range(0.35..1.0);
    let thumb = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let wrist = rng.random_range(0.32..0.42);
    let lean = if upper.is_some() { 0.0 } else { rng.random_range(-0.08..0.08) };
    let end = length / size;
    let shape = |p: Point| {
        let mut parts = [(f32::MAX, 0); 9];
        for (finger, part) in parts.iter_mut().take(4).enumerate() {
            let side = (finger as f32 - 1.5) * 0.24;
            let tip = [side * spread, 0.12 + 0.06 * (finger as f32 - 1.4).powi(2) + (1.0 - curl) * 0.4];
            *part = (capsule(p, tip, [side * 0.9, 1.0], 0.115), 0);
        }
        parts[4] = (capsule(p, [0.55 * thumb * spread, 0.45], [0.3 * thumb, 1.15], 0.13), 0);
        parts[5] = (capsule(p, [0.0, 1.05], [0.0, 1.35], 0.46), 0);
        parts[6] = (capsule(p, [0.0, 1.5], [lean * 10.0, end], wrist), 0);
        let sleeve = capsule(p, [lean * cuff * 0.8, cuff], [lean * 10.0, end], wrist * 1.25);
        parts[7] = (sleeve.max(cuff - p[1]), 1);
        nearest(&parts)
    };
    let middle = end / 2.0;
    let extent = [1.6, middle + 0.6];
    let fore = draw(&paint, size * density, [0.0, middle], extent, 4, shape).magnified(density);
    let upper = upper.map(|length| {
        let (end, thick) = (length / size, wrist * 1.4);
        // Where the sleeve does not reach, it is the skin that shows.
        let part = usize::from(cuff < look.length / size);
        let shape = |p: Point| (capsule(p, [0.0, 0.0], [0.0, end], thick), part);
        let extent = [thick, end / 2.0 + thick];
        draw(&paint, size * density, [0.0, end / 2.0], extent, 4, shape).magnified(density)
    });
    (fore, upper)
}

/// Where an arm that comes from this side of the picture points, as the angle for [`hand`]'s layer.
pub(crate) fn arm_angle(from: Point) -> f32 {
    // The arm runs along +y; a turn by the angle brings +y to `from`.
    from[1].atan2(from[0]) - PI / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_splits_share_no_outline() {
        let names = |split| -> Vec<String> {
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            (0..300)
                .map(|_| {
                    let name = format!("{:?}", Shape::random(&mut rng, split));
                    name.split(' ').next().unwrap_or_default().to_owned()
                })
                .collect()
        };
        let test = names(Split::Test);
        assert!(names(Split::Train).iter().all(|name| !test.contains(name)));
    }

    #[test]
    fn shapes_fit_their_box() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for split in [Split::Train, Split::Test] {
            for _ in 0..100 {
                let shape = Shape::random(&mut rng, split);
                let [w, h] = shape.extent();
                for i in 0..400 {
                    let t = i as f32 / 400.0 * 2.0 - 1.0;
                    for p in [[w + 0.03, t * h], [-w - 0.03, t * h], [t * w, h + 0.03], [t * w, -h - 0.03]] {
                        assert!(shape.distance(p).0 > 0.0, "{shape:?} reaches {p:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_arm_points_where_it_comes_from() {
        let [x, y] = Affine::turn(arm_angle([1.0, 0.0])).apply([0.0, 5.0]);
        assert!((x - 5.0).abs() < 1e-4 && y.abs() < 1e-4, "{x} {y}");
    }
}
