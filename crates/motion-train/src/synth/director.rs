//! A class and a seed in, a scene out: the set, what stands on it, hands and people; what they do is in `actions`.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::lens::Lens;
use super::motion::{Arm, CENTRE, Camera, Form, Motion, Pace, Progress, Visit, Wobble};
use super::place::Affine;
use super::raster::{Raster, Sprite};
use super::scene::{Hold, Layer, Part, SIZE, Scene};
use super::shape::{HandLook, Look, hand, object, person};
use super::texture::{Noise, Texture, luma, mix_rgb, smoothstep};
use super::{Action, Split};

/// Pairs of neighbouring frames in a clip of 8: speeds are drawn for these.
pub(super) const PAIRS: f32 = 7.0;

/// Moments of the first and last of 8 frames that segment sampling takes.
pub(super) const SAMPLED: [f32; 2] = [1.0 / 16.0, 15.0 / 16.0];

/// The scene of a class; the same for the same arguments.
pub(crate) fn scene(action: Action, seed: u64, split: Split, clean: bool) -> Scene {
    // Odd constants spread neighbouring seeds, classes and the splits over the generator's states.
    let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in format!("{action:?} {split:?}").bytes() {
        seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Director::new(ChaCha8Rng::seed_from_u64(seed), split, clean).direct(action)
}

/// What is being moved: its motion, and how large it is.
#[derive(Clone, Copy)]
pub(super) struct Actor {
    pub(super) motion: Motion,
    pub(super) radius: f32,
}

/// How a hand takes part.
#[derive(Clone, Copy)]
pub(super) struct Grip {
    /// From the thing's middle towards the arm.
    pub(super) from: [f32; 2],
    /// Where on the thing, in radii along `from`.
    pub(super) at: f32,
    pub(super) visit: Visit,
}

/// Draws the lots for one scene.
pub(super) struct Director {
    pub(super) rng: ChaCha8Rng,
    pub(super) split: Split,
    clean: bool,
    pub(super) layers: Vec<Layer>,
    pub(super) camera: Camera,
    /// Brightness of the background, for contrast.
    behind: f32,
    shadows: Option<(f32, [f32; 2], usize)>,
}

impl Director {
    fn new(mut rng: ChaCha8Rng, split: Split, clean: bool) -> Self {
        let shadows = (rng.random_bool(0.6) && !clean).then(|| {
            let offset = [rng.random_range(-9.0..9.0), rng.random_range(1.0..9.0)];
            (rng.random_range(0.2..0.55), offset, rng.random_range(1..4))
        });
        // Half of the cameras stand on a tripod.
        let shake = match rng.random_range(0..8) {
            0..4 => Wobble::default(),
            4..7 => {
                let pixels = rng.random_range(0.2..1.2);
                Wobble::new(&mut rng, pixels, 0.004, 0.3..4.0)
            }
            _ => {
                let pixels = rng.random_range(1.0..2.5);
                Wobble::new(&mut rng, pixels, 0.01, 0.3..3.0)
            }
        };
        let camera = Camera { shake, ..Camera::still() };
        Self { rng, split, clean, layers: Vec::new(), camera, behind: 0.5, shadows }
    }

    fn direct(mut self, action: Action) -> Scene {
        // The camera first: the background must reach as far as it looks.
        match action {
            Action::Turn { scene } => self.turn(scene),
            Action::Dolly { closer } => self.dolly(closer),
            _ => self.drift(),
        }
        let background = self.background();
        for _ in 0..self.rng.random_range(0..4) {
            self.bystander();
        }
        self.act(action);
        let lens = if self.clean { Lens::CLEAN } else { Lens::random(&mut self.rng) };
        Scene { background, layers: self.layers, camera: self.camera, lens }
    }

    /// Some cameras wander a little while they film something else.
    fn drift(&mut self) {
        if self.chance(0.2) {
            let toward = self.any_direction();
            let way = self.range(3.0, 14.0);
            self.camera.pan = toward.map(|v| v * way);
            self.camera.zoom = self.range(-0.06, 0.06);
            self.camera.progress.pace = Pace::Smooth;
        }
    }

    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        self.rng.random_range(low..high)
    }

    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    /// Between `low` and `high`, small values as likely as large ones by ratio.
    pub(super) fn ratio(&mut self, low: f32, high: f32) -> f32 {
        self.range(low.ln(), high.ln()).exp()
    }

    // ---- The set ---------------------------------------------------------------------------------

    /// One surface, or a wall above a table, as large as the camera ever looks.
    pub(super) fn background(&mut self) -> Sprite {
        let (mut low, mut high) = (CENTRE, CENTRE);
        for step in 0..=24 {
            let view = self.camera.view(step as f32 / 24.0, 1.0).back();
            for corner in [[0.0, 0.0], [SIZE[0], 0.0], [0.0, SIZE[1]], SIZE] {
                let Some(p) = view.apply(corner) else { continue };
                for c in 0..2 {
                    low[c] = low[c].min(p[c]);
                    high[c] = high[c].max(p[c]);
                }
            }
        }
        // A margin for what lies between the moments looked at.
        let (low, high) = (low.map(|v| v - 8.0), high.map(|v| v + 8.0));
        let density = (self.camera.zoom.abs() * 0.25).exp();
        let size = [(high[0] - low[0]) * density, (high[1] - low[1]) * density].map(|v| v.ceil() as usize);
        let feature = self.ratio(12.0, 90.0);
        let wall = Texture::new(&mut self.rng, self.split, feature);
        let feature = self.ratio(12.0, 90.0);
        let table = self.chance(0.45).then(|| Texture::new(&mut self.rng, self.split, feature));
        let edge = self.range(90.0, 190.0);
        let slant = if self.chance(0.5) { 0.0 } else { self.range(-0.25, 0.25) };
        self.behind = match &table {
            Some(table) => 0.5 * (luma(wall.colours[0]) + luma(table.colours[0])),
            None => luma(wall.colours[0]),
        };
        // Uneven light on the set, which stays with it.
        let light = Noise::new(&mut self.rng);
        let uneven = self.range(0.0, 0.5);
        let raster = Raster::paint(size[0], size[1], |[x, y]| {
            let (x, y) = (x / density + low[0], y / density + low[1]);
            let mut colour = match &table {
                None => wall.colour(x, y),
                Some(table) => {
                    let below = y - edge - slant * (x - CENTRE[0]);
                    if below < -1.0 {
                        wall.colour(x, y)
                    } else if below > 1.0 {
                        // A little shade under the edge.
                        table.colour(x, y).map(|c| c * (0.75 + 0.25 * smoothstep(0.0, 7.0, below)))
                    } else {
                        mix_rgb(wall.colour(x, y), table.colour(x, y).map(|c| c * 0.75), 0.5 + 0.5 * below)
                    }
                }
            };
            if uneven > 0.1 {
                let shade = 1.0 + uneven * (light.value(x * 0.008 + 20.0, y * 0.008 + 20.0) - 0.5);
                colour = colour.map(|c| (c * shade).min(1.0));
            }
            [colour[0], colour[1], colour[2], 1.0]
        });
        let to_texels = Affine::shift([-low[0], -low[1]]).then(Affine::scale([density; 2]));
        Sprite::new(raster, to_texels, 1)
    }

    /// Something that has nothing to do with it; some of these are moved by the wind.
    fn bystander(&mut self) {
        let radius = self.ratio(9.0, 40.0);
        let at = [self.range(10.0, 310.0), self.range(20.0, 220.0)];
        let upright = self.chance(0.6);
        let angle = if upright { 0.0 } else { self.range(0.0, TAU) };
        let depth = self.range(1.0, 1.15);
        let form = if self.chance(0.12) { self.soft() } else { Form::RIGID };
        self.put(Actor { motion: Motion { angle, form, ..Motion::still(at) }, radius }, depth, false);
    }

    /// A form that sways or ripples a little by itself.
    pub(super) fn soft(&mut self) -> Form {
        let (cycles, phase) = (self.range(0.5, 2.5), self.range(0.0, TAU));
        if self.chance(0.5) {
            Form { sway: [self.range(8.0, 40.0), cycles, phase], ..Form::RIGID }
        } else {
            Form { wave: [self.range(0.8, 3.0), self.range(25.0, 80.0), cycles, phase], ..Form::RIGID }
        }
    }

    /// How an object of this motion shall look.
    pub(super) fn look(&mut self, actor: &Actor, depth: f32, marked: bool) -> Look {
        let [from, to] = actor.motion.scale;
        let zoom = (self.camera.zoom.abs() * 0.5 * depth).exp();
        Look {
            radius: actor.radius,
            // Somewhat less than the largest it gets: real lenses are softer than that.
            density: (from.max(to) * zoom).clamp(1.0, 2.6) * 0.9,
            behind: self.behind,
            marked,
            round: false,
        }
    }

    /// Adds an object with its shadow.
    pub(super) fn put(&mut self, actor: Actor, depth: f32, marked: bool) {
        let look = self.look(&actor, depth, marked);
        let sprite = object(&mut self.rng, self.split, &look);
        self.add(sprite, actor.motion, Part::Whole, depth);
    }

    /// Adds a person who walks, at so many steps a clip.
    pub(super) fn walker(&mut self, actor: Actor, depth: f32, steps: f32) {
        let look = self.look(&actor, depth, false);
        let (amplitude, phase) = (self.range(0.25, 0.6), self.range(0.0, TAU));
        for limb in person(&mut self.rng, self.split, &look) {
            let swing = [amplitude * limb.swing, steps / 2.0, phase];
            self.add(limb.sprite, actor.motion, Part::Limb { joint: limb.joint, swing }, depth);
        }
    }

    /// Adds a layer before all others, with its shadow.
    pub(super) fn add(&mut self, sprite: Sprite, motion: Motion, part: Part, depth: f32) {
        let shadow = self.shadows.map(|(strength, offset, passes)| (sprite.shadow(strength, passes), offset));
        self.layers.push(Layer { sprite, shadow, motion, part, depth });
    }

    /// Adds a hand that holds or pushes the actor, in front of it or (when `behind`) just below.
    pub(super) fn hand(&mut self, actor: &Actor, grip: &Grip, behind: bool) {
        let from = Self::out(grip.from, 1.0);
        let size = self.range(18.0, 34.0) * (actor.radius / 30.0).clamp(0.8, 1.4);
        let [scale_a, scale_b] = actor.motion.scale;
        let smallest = scale_a.min(scale_b).clamp(0.4, 1.0);
        let at = from.map(|v| v * grip.at * actor.radius);
        // Half of the arms have an elbow in the picture or near it.
        let arm = self.chance(0.5).then(|| {
            let fore = size * self.range(4.5, 7.5);
            let middle = actor.motion.carrier(0.5).apply(at);
            let far = fore * self.range(1.5, 1.9) * smallest.max(0.7);
            let shoulder = std::array::from_fn(|c| middle[c] + from[c] * far + self.range(-40.0, 40.0));
            // Long enough for the rest of the way.
            let side = if self.chance(0.5) { 1.0 } else { -1.0 };
            Arm { shoulder, lengths: [fore, (430.0 - fore).max(fore)], side }
        });
        let look = HandLook {
            size,
            length: arm.map_or(430.0 / smallest, |arm| arm.lengths[0]),
            upper: arm.map(|arm| arm.lengths[1]),
            density: (scale_a.max(scale_b)).clamp(1.0, 2.2) * 0.9,
        };
        let (sprite, upper) = hand(&mut self.rng, self.split, &look);
        let motion = Motion { turn: 0.0, angle: 0.0, form: Form::RIGID, ..actor.motion };
        let hold = Hold { at, from, visit: grip.visit, arm };
        let place = self.layers.len() - usize::from(behind);
        let above = self.layers.split_off(place);
        if let Some(upper) = upper {
            self.add(upper, motion, Part::UpperArm(hold), 1.0);
        }
        self.add(sprite, motion, Part::Hand(hold), 1.0);
        self.layers.extend(above);
    }

    // ---- Courses ---------------------------------------------------------------------------------

    /// When a movement happens: most fill the clip, some begin late or end early, and some are over in two or three frames
    /// of a clip that is still before and after, as where somebody walks into a picture.
    pub(super) fn progress(&mut self) -> Progress {
        let (start, end) = if self.chance(0.2) {
            let lasts = self.range(0.2, 0.42);
            let start = self.range(0.0, 0.98 - lasts);
            (start, start + lasts)
        } else {
            let start = if self.chance(0.35) { self.range(0.0, 0.4) } else { self.range(-0.2, 0.04) };
            let end = if self.chance(0.35) { self.range(0.62, 1.0) } else { self.range(0.96, 1.2) };
            (start, end.max(start + 0.35))
        };
        let pace = match self.rng.random_range(0..8) {
            0..3 => Pace::Even,
            3..6 => Pace::Smooth,
            6 => Pace::Power(self.range(1.2, 1.8)),
            _ => Pace::Slowing(self.range(1.2, 1.8)),
        };
        Progress { start, end, pace }
    }

    /// How much of a change in size fits into a movement: all of it, or in a brief one as much as frames can be matched through.
    pub(super) fn fits(progress: &Progress) -> f32 {
        ((progress.end - progress.start) / 0.6).min(1.0)
    }

    /// Length in pixels of a way at `speed` pixels a pair, at least `least` of it within the clip.
    pub(super) fn way(progress: &Progress, speed: f32, least: f32, most: f32) -> f32 {
        let seen = progress.at(SAMPLED[1]) - progress.at(SAMPLED[0]);
        let way = (speed * PAIRS * (progress.end - progress.start)).min(most);
        way.max(least / seen.max(0.2))
    }

    /// Turns a unit direction by a random angle, mostly small, at most about 25 degrees.
    pub(super) fn slanted(&mut self, [x, y]: [f32; 2]) -> [f32; 2] {
        let angle = (self.range(-0.44, 0.44) + self.range(-0.44, 0.44)) / 2.0;
        let (sin, cos) = angle.sin_cos();
        [x * cos - y * sin, x * sin + y * cos]
    }

    /// So far out in this direction.
    pub(super) fn out([x, y]: [f32; 2], distance: f32) -> [f32; 2] {
        let length = x.hypot(y).max(1e-3);
        [x / length * distance, y / length * distance]
    }

    /// A unit direction at any angle.
    pub(super) fn any_direction(&mut self) -> [f32; 2] {
        let angle = self.range(0.0, TAU);
        [angle.cos(), angle.sin()]
    }

    /// Where arms usually come from: the lower edge, the sides, seldom from above.
    pub(super) fn arm_side(&mut self) -> [f32; 2] {
        let angle = match self.rng.random_range(0..10) {
            0..5 => PI / 2.0 + self.range(-0.7, 0.7),
            5..7 => self.range(-0.5, 0.5),
            7..9 => PI + self.range(-0.5, 0.5),
            _ => -PI / 2.0 + self.range(-0.6, 0.6),
        };
        [angle.cos(), angle.sin()]
    }

    /// Hand movements around a carried way: sometimes it reaches out first, sometimes it lets go after.
    pub(super) fn visit(&mut self, from: [f32; 2], progress: &mut Progress) -> Visit {
        let mut visit = Visit::STAYS;
        let distance = self.range(70.0, 160.0);
        visit.away = [from[0] * distance, from[1] * distance];
        visit.duration = self.range(0.15, 0.35);
        if self.chance(0.14) {
            visit.arrive = self.range(0.15, 0.4);
            let length = (progress.end - progress.start).max(0.4);
            progress.start = visit.arrive;
            progress.end = (progress.start + length).min(1.1);
        } else if self.chance(0.12) {
            visit.leave = self.range(0.65, 0.85);
            let length = (progress.end - progress.start).max(0.4);
            progress.end = visit.leave;
            progress.start = progress.end - length;
        }
        visit
    }

    /// Places a way so that its middle within the clip is near the picture's middle.
    pub(super) fn centred(&mut self, motion: &mut Motion, spread: [f32; 2]) {
        let [first, last] = SAMPLED.map(|t| motion.progress.at(t));
        let middle = 0.5 * (first + last);
        for (c, spread) in spread.into_iter().enumerate() {
            let offset = self.range(-spread, spread);
            motion.start[c] = CENTRE[c] + offset - middle * motion.travel[c];
        }
    }

    /// A gait or a trembling hand on top of the way.
    pub(super) fn unsteady(&mut self) -> Wobble {
        match self.rng.random_range(0..4) {
            0 => Wobble::default(),
            1..3 => {
                let pixels = self.range(0.2, 1.2);
                Wobble::new(&mut self.rng, pixels, 0.02, 0.5..3.0)
            }
            _ => {
                let pixels = self.range(1.0, 3.0);
                Wobble::new(&mut self.rng, pixels, 0.06, 1.0..5.0)
            }
        }
    }

    /// The angle a thing stands at, and what it turns on its way.
    pub(super) fn attitude(&mut self) -> (f32, f32) {
        let angle = if self.chance(0.6) { self.range(-0.15, 0.15) } else { self.range(0.0, TAU) };
        let turn = if self.chance(0.7) { 0.0 } else { self.range(-0.6, 0.6) };
        (angle, turn)
    }
}
