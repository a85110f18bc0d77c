//! A class and a seed in, a scene out: which things there are, how they and the camera move, and its pictures.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::flow::FlowField;
use super::lens::Lens;
use super::motion::{CENTRE, Camera, Motion, Pace, Progress, Visit, Wobble};
use super::raster::{Affine, Canvas, Raster, Sprite};
use super::shape::{Look, arm_angle, hand, object};
use super::texture::{Noise, Texture, luma, mix_rgb, smoothstep};
use super::{Action, Split};

/// Width and height of the scene's own pixels; other picture sizes are scaled from it.
pub(crate) const SIZE: [f32; 2] = [320.0, 240.0];

/// Pairs of neighbouring frames in a clip of 8: speeds are drawn for these.
const PAIRS: f32 = 7.0;

/// Moments of the first and last of 8 frames that segment sampling takes.
const SAMPLED: [f32; 2] = [1.0 / 16.0, 15.0 / 16.0];

/// One thing of the scene.
pub(crate) struct Layer {
    sprite: Sprite,
    /// Dark copy and its offset in pixels, drawn just before the thing.
    shadow: Option<(Sprite, [f32; 2])>,
    motion: Motion,
    /// For hands: where on the carried thing, and how they come and leave.
    held: Option<(Affine, Visit)>,
    /// 1 is the background; nearer things have more.
    depth: f32,
}

impl Layer {
    fn pose(&self, time: f32) -> Affine {
        match &self.held {
            Some((place, visit)) => {
                let [dx, dy] = visit.offset(time);
                place.then(self.motion.carrier(time)).then(Affine::shift([dx, dy]))
            }
            None => self.motion.pose(time),
        }
    }
}

/// Everything a clip shows.
pub(crate) struct Scene {
    background: Sprite,
    /// From back to front.
    layers: Vec<Layer>,
    camera: Camera,
    lens: Lens,
}

/// One picture of a scene and what is needed for its flow.
pub(crate) struct View {
    /// Index of the front-most layer at each pixel; 0 is the background.
    owner: Vec<u8>,
    /// Layer coordinates -> pixels, for each layer, the background first.
    to_screen: Vec<Affine>,
}

impl Scene {
    /// The scene of a class; the same for the same arguments.
    pub(crate) fn new(action: Action, seed: u64, split: Split, clean: bool) -> Self {
        // Odd constants spread neighbouring seeds, classes and the splits over the generator's states.
        let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in format!("{action:?} {split:?}").bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Director::new(ChaCha8Rng::seed_from_u64(seed), split, clean).direct(action)
    }

    /// The same scene without the camera's flaws.
    pub(crate) fn through_a_clear_lens(self) -> Self {
        Self { lens: Lens::CLEAN, ..self }
    }

    /// Draws the scene at a time in 0..=1: RGB bytes, and the view for [`flow`].
    pub(crate) fn frame(&self, width: usize, height: usize, time: f32, index: usize) -> (Vec<u8>, View) {
        let mut view = View { owner: Vec::new(), to_screen: Vec::new() };
        let mut canvas = self.composite(width, height, time, Some(&mut view));
        let mut pictures = 1.0;
        if self.lens.shutter > 0.0 {
            for moment in [-0.5, 0.5] {
                let blurred = self.composite(width, height, time + moment * self.lens.shutter, None);
                canvas.add(&blurred);
                pictures += 1.0;
            }
        }
        (self.lens.expose(&mut canvas, 1.0 / pictures, time, index), view)
    }

    fn composite(&self, width: usize, height: usize, time: f32, view: Option<&mut View>) -> Canvas {
        let enlarge = Affine::scale([width as f32 / SIZE[0], height as f32 / SIZE[1]]);
        let mut canvas = Canvas::new(width, height);
        let mut to_screen = vec![self.camera.view(time, 1.0).then(enlarge)];
        canvas.draw(&self.background, to_screen[0], None);
        let track = view.is_some();
        for (index, layer) in self.layers.iter().enumerate() {
            let pose = layer.pose(time);
            let camera = self.camera.view(time, layer.depth).then(enlarge);
            if let Some((shadow, [dx, dy])) = &layer.shadow {
                canvas.draw(shadow, pose.then(Affine::shift([*dx, *dy])).then(camera), None);
            }
            let place = pose.then(camera);
            canvas.draw(&layer.sprite, place, track.then_some(index as u8 + 1));
            to_screen.push(place);
        }
        if let Some(view) = view {
            view.owner.clone_from(&canvas.owner);
            view.to_screen = to_screen;
        }
        canvas
    }
}

/// True displacement from one view to the next of the same size: that of the layer seen at each pixel.
///
/// A pixel is visible if its point lands inside the next picture on a pixel of the same layer.
pub(crate) fn flow(now: &View, next: &View, width: usize, height: usize) -> FlowField {
    let moves: Vec<Affine> =
        now.to_screen.iter().zip(&next.to_screen).map(|(a, b)| a.inverse().then(*b)).collect();
    let mut uv = vec![0.0; width * height * 2];
    let mut visible = vec![0; width * height];
    let (columns, rows) = (width as f32, height as f32);
    for (i, ((uv, visible), &owner)) in uv.chunks_exact_mut(2).zip(&mut visible).zip(&now.owner).enumerate() {
        let from = [(i % width) as f32 + 0.5, (i / width) as f32 + 0.5];
        let [x, y] = moves[owner as usize].apply(from);
        uv[0] = x - from[0];
        uv[1] = y - from[1];
        if x >= 0.0 && y >= 0.0 && x < columns && y < rows {
            *visible = u8::from(next.owner[y as i32 as usize * width + x as i32 as usize] == owner);
        }
    }
    FlowField { width, height, uv, visible }
}

/// What is being moved: its motion, and how large it is.
#[derive(Clone, Copy)]
struct Actor {
    motion: Motion,
    radius: f32,
}

/// How a hand takes part.
struct Grip {
    /// From the thing's middle towards the arm.
    from: [f32; 2],
    /// Where on the thing, in radii along `from`.
    at: f32,
    visit: Visit,
}

/// Draws the lots for one scene.
struct Director {
    rng: ChaCha8Rng,
    split: Split,
    clean: bool,
    layers: Vec<Layer>,
    camera: Camera,
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
        let camera = Camera {
            pan: [0.0; 2],
            zoom: 0.0,
            focus: CENTRE,
            progress: Progress { start: 0.0, end: 1.0, pace: Pace::Even },
            shake,
        };
        Self { rng, split, clean, layers: Vec::new(), camera, behind: 0.5, shadows }
    }

    fn direct(mut self, action: Action) -> Scene {
        // The camera first: the background must reach as far as it looks.
        match action {
            Action::Turn { scene } => self.turn(scene),
            Action::Dolly { closer } => self.dolly(closer),
            _ => {}
        }
        let background = self.background();
        let bystanders = self.rng.random_range(0..3);
        for _ in 0..bystanders {
            self.bystander();
        }
        match action {
            Action::Carry { toward } => self.carry(toward, false),
            Action::Push { toward } => self.carry(toward, true),
            Action::Depth { closer } => self.depth(closer),
            Action::Turn { .. } | Action::Dolly { .. } => self.filmed(),
            Action::Spin => self.spin(),
            Action::Pair { closer } => self.pair(closer),
            Action::Fall => self.fall(),
            Action::Hold => self.hold(),
        }
        let lens = if self.clean { Lens::CLEAN } else { Lens::random(&mut self.rng) };
        Scene { background, layers: self.layers, camera: self.camera, lens }
    }

    fn range(&mut self, low: f32, high: f32) -> f32 {
        self.rng.random_range(low..high)
    }

    fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    /// Between `low` and `high`, small values as likely as large ones by ratio.
    fn ratio(&mut self, low: f32, high: f32) -> f32 {
        self.range(low.ln(), high.ln()).exp()
    }

    // ---- The set ---------------------------------------------------------------------------------

    /// One surface, or a wall above a table, as large as the camera ever looks.
    fn background(&mut self) -> Sprite {
        let (mut low, mut high) = (CENTRE, CENTRE);
        for step in 0..=24 {
            let view = self.camera.view(step as f32 / 24.0, 1.0).inverse();
            for corner in [[0.0, 0.0], [SIZE[0], 0.0], [0.0, SIZE[1]], SIZE] {
                let p = view.apply(corner);
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

    /// Something that has nothing to do with it.
    fn bystander(&mut self) {
        let radius = self.ratio(9.0, 34.0);
        let at = [self.range(10.0, 310.0), self.range(20.0, 220.0)];
        let upright = self.chance(0.6);
        let angle = if upright { 0.0 } else { self.range(0.0, TAU) };
        let depth = self.range(1.0, 1.15);
        self.put(Actor { motion: Motion { angle, ..Motion::still(at) }, radius }, depth, false);
    }

    /// Adds an object with its shadow.
    fn put(&mut self, actor: Actor, depth: f32, marked: bool) {
        let [from, to] = actor.motion.scale;
        let zoom = (self.camera.zoom.abs() * 0.5 * depth).exp();
        let look = Look {
            radius: actor.radius,
            // Somewhat less than the largest it gets: real lenses are softer than that.
            density: (from.max(to) * zoom).clamp(1.0, 2.6) * 0.9,
            behind: self.behind,
            marked,
        };
        let sprite = object(&mut self.rng, self.split, &look);
        let shadow = self.shadow(&sprite);
        self.layers.push(Layer { sprite, shadow, motion: actor.motion, held: None, depth });
    }

    fn shadow(&mut self, sprite: &Sprite) -> Option<(Sprite, [f32; 2])> {
        self.shadows.map(|(strength, offset, passes)| (sprite.shadow(strength, passes), offset))
    }

    /// Adds a hand that holds or pushes the actor, in front of it or (when `behind`) just below.
    fn hand(&mut self, actor: &Actor, grip: &Grip, behind: bool) {
        let [x, y] = grip.from;
        let length = x.hypot(y).max(1e-3);
        let from = [x / length, y / length];
        let size = self.range(18.0, 34.0) * (actor.radius / 30.0).clamp(0.8, 1.4);
        let [scale_a, scale_b] = actor.motion.scale;
        let reach = 430.0 / scale_a.min(scale_b).clamp(0.4, 1.0);
        let sprite =
            hand(&mut self.rng, self.split, size, reach, (scale_a.max(scale_b)).clamp(1.0, 2.2) * 0.9);
        let place = Affine::turn(arm_angle(from))
            .then(Affine::shift([from[0] * grip.at * actor.radius, from[1] * grip.at * actor.radius]));
        let shadow = self.shadow(&sprite);
        let motion = Motion { turn: 0.0, angle: 0.0, ..actor.motion };
        let layer = Layer { sprite, shadow, motion, held: Some((place, grip.visit)), depth: 1.0 };
        let at = self.layers.len() - usize::from(behind);
        self.layers.insert(at, layer);
    }

    // ---- Courses ---------------------------------------------------------------------------------

    /// When a movement happens: most fill the clip, some begin late or end early.
    fn progress(&mut self) -> Progress {
        let start = if self.chance(0.35) { self.range(0.0, 0.4) } else { self.range(-0.2, 0.04) };
        let end = if self.chance(0.35) { self.range(0.62, 1.0) } else { self.range(0.96, 1.2) };
        let pace = match self.rng.random_range(0..8) {
            0..3 => Pace::Even,
            3..6 => Pace::Smooth,
            6 => Pace::Power(self.range(1.2, 1.8)),
            _ => Pace::Slowing(self.range(1.2, 1.8)),
        };
        Progress { start, end: end.max(start + 0.35), pace }
    }

    /// Length in pixels of a way at `speed` pixels a pair, at least `least` of it within the clip.
    fn way(progress: &Progress, speed: f32, least: f32, most: f32) -> f32 {
        let seen = progress.at(SAMPLED[1]) - progress.at(SAMPLED[0]);
        let way = (speed * PAIRS * (progress.end - progress.start)).min(most);
        way.max(least / seen.max(0.2))
    }

    /// Turns a unit direction by a random angle, mostly small, at most about 25 degrees.
    fn slanted(&mut self, [x, y]: [f32; 2]) -> [f32; 2] {
        let angle = (self.range(-0.44, 0.44) + self.range(-0.44, 0.44)) / 2.0;
        let (sin, cos) = angle.sin_cos();
        [x * cos - y * sin, x * sin + y * cos]
    }

    /// A unit direction at any angle.
    fn any_direction(&mut self) -> [f32; 2] {
        let angle = self.range(0.0, TAU);
        [angle.cos(), angle.sin()]
    }

    /// Where arms usually come from: the lower edge, the sides, seldom from above.
    fn arm_side(&mut self) -> [f32; 2] {
        let angle = match self.rng.random_range(0..10) {
            0..5 => PI / 2.0 + self.range(-0.7, 0.7),
            5..7 => self.range(-0.5, 0.5),
            7..9 => PI + self.range(-0.5, 0.5),
            _ => -PI / 2.0 + self.range(-0.6, 0.6),
        };
        [angle.cos(), angle.sin()]
    }

    /// Hand movements around a carried way: sometimes it reaches out first, sometimes it lets go after.
    fn visit(&mut self, from: [f32; 2], progress: &mut Progress) -> Visit {
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
    fn centred(&mut self, motion: &mut Motion, spread: [f32; 2]) {
        let [first, last] = SAMPLED.map(|t| motion.progress.at(t));
        let middle = 0.5 * (first + last);
        for (c, spread) in spread.into_iter().enumerate() {
            let offset = self.range(-spread, spread);
            motion.start[c] = CENTRE[c] + offset - middle * motion.travel[c];
        }
    }

    /// A gait or a trembling hand on top of the way.
    fn unsteady(&mut self) -> Wobble {
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
    fn attitude(&mut self) -> (f32, f32) {
        let angle = if self.chance(0.6) { self.range(-0.15, 0.15) } else { self.range(0.0, TAU) };
        let turn = if self.chance(0.7) { 0.0 } else { self.range(-0.6, 0.6) };
        (angle, turn)
    }

    // ---- The actions -----------------------------------------------------------------------------

    /// One thing goes one way: carried, pushed, or by itself.
    fn carry(&mut self, toward: [f32; 2], pushed: bool) {
        let toward = self.slanted(toward);
        let radius = self.ratio(16.0, 52.0);
        let mut progress = self.progress();
        let by_hand = self.chance(0.62);
        let crossing = !by_hand && self.chance(0.5);
        let side = if pushed && self.chance(0.6) {
            // Behind what it pushes.
            let [x, y] = self.slanted([-toward[0], -toward[1]]);
            [x, y + self.range(0.0, 0.7)]
        } else {
            self.arm_side()
        };
        let visit = if by_hand { self.visit(side, &mut progress) } else { Visit::STAYS };
        let along = toward[0].abs() * SIZE[0] + toward[1].abs() * SIZE[1];
        let speed = self.ratio(5.0, if crossing { 42.0 } else { 32.0 });
        let most = if crossing { along + 2.0 * radius } else { along * 0.75 };
        let way = Self::way(&progress, speed, 38.0, most);
        let (angle, turn) = self.attitude();
        let mut motion = Motion {
            travel: [toward[0] * way, toward[1] * way],
            bend: self.range(-0.12, 0.12) * way,
            progress,
            angle,
            turn,
            wobble: self.unsteady(),
            ..Motion::still(CENTRE)
        };
        if self.chance(0.3) {
            // A little nearer or farther on the way.
            motion.scale = [1.0, self.range(0.85, 1.18)];
        }
        self.centred(&mut motion, [52.0, 34.0]);
        let actor = Actor { motion, radius };
        let depth = self.range(1.0, 1.2);
        self.put(actor, depth, false);
        if by_hand {
            let grip = Grip { from: side, at: if pushed { 0.9 } else { 0.55 }, visit };
            let behind = self.chance(0.25);
            self.hand(&actor, &grip, behind);
        }
    }

    /// One thing comes nearer or goes away.
    fn depth(&mut self, closer: bool) {
        let largest = self.ratio(38.0, 105.0);
        let ratio = self.range(1.7, 3.6);
        let mut progress = self.progress();
        let side = self.arm_side();
        let by_hand = self.chance(0.62);
        let visit = if by_hand { self.visit(side, &mut progress) } else { Visit::STAYS };
        let drift = self.any_direction();
        let way = self.range(0.0, 26.0);
        let radius = largest / ratio;
        let (angle, turn) = self.attitude();
        let mut motion = Motion {
            travel: [drift[0] * way, drift[1] * way],
            progress,
            angle,
            turn: turn * 0.5,
            scale: if closer { [1.0, ratio] } else { [ratio, 1.0] },
            wobble: self.unsteady(),
            ..Motion::still(CENTRE)
        };
        self.centred(&mut motion, [40.0, 26.0]);
        let actor = Actor { motion, radius };
        self.put(actor, 1.0, false);
        if by_hand {
            let at = self.range(0.5, 0.9);
            let behind = self.chance(0.3);
            self.hand(&actor, &Grip { from: side, at, visit }, behind);
        }
    }

    fn turn(&mut self, scene: [f32; 2]) {
        let scene = self.slanted(scene);
        let progress = self.progress();
        let speed = self.ratio(5.0, 34.0);
        let way = Self::way(&progress, speed, 38.0, 280.0);
        self.camera.pan = [scene[0] * way, scene[1] * way];
        self.camera.progress = progress;
        self.hand_held();
    }

    fn dolly(&mut self, closer: bool) {
        let ratio = self.range(1.35, 2.4);
        self.camera.zoom = ratio.ln() * if closer { 1.0 } else { -1.0 };
        self.camera.progress = self.progress();
        self.camera.focus = [CENTRE[0] + self.range(-30.0, 30.0), CENTRE[1] + self.range(-22.0, 22.0)];
        self.hand_held();
    }

    /// Who turns or carries a camera seldom does so without shaking it.
    fn hand_held(&mut self) {
        if self.chance(0.7) {
            let pixels = self.range(0.3, 2.2);
            self.camera.shake = Wobble::new(&mut self.rng, pixels, 0.01, 0.3..4.0);
        }
    }

    /// The still things that a moving camera films.
    fn filmed(&mut self) {
        let zooming = self.camera.zoom != 0.0;
        let count = self.rng.random_range(1..4);
        for index in 0..count {
            // Where it is seen at some moment of the clip; the first, in the middle of the picture.
            let moment = self.range(0.1, 0.9);
            let spread = if index == 0 { [45.0, 35.0] } else { [130.0, 90.0] };
            let seen = [
                self.camera.focus[0] + self.range(-spread[0], spread[0]),
                self.camera.focus[1] + self.range(-spread[1], spread[1]),
            ];
            let depth = if zooming { self.range(1.0, 1.4) } else { 1.0 };
            let at = self.camera.view(moment, depth).inverse().apply(seen);
            let radius = self.ratio(16.0, 50.0);
            let (angle, _) = self.attitude();
            let actor = Actor { motion: Motion { angle, ..Motion::still(at) }, radius };
            self.put(actor, depth, false);
        }
    }

    /// One thing turns on the spot and goes on turning.
    fn spin(&mut self) {
        let radius = self.ratio(26.0, 68.0);
        let rate = self.range(0.22, 0.9).min(38.0 / radius);
        let start = if self.chance(0.4) { self.range(0.0, 0.3) } else { self.range(-0.3, 0.0) };
        let end = self.range(1.0, 1.4);
        let pace = if self.chance(0.5) { Pace::Even } else { Pace::Slowing(self.range(1.1, 1.6)) };
        let sign = if self.chance(0.5) { 1.0 } else { -1.0 };
        let drift = self.any_direction();
        let way = if self.chance(0.6) { 0.0 } else { self.range(3.0, 26.0) };
        let squash = if self.chance(0.5) { 1.0 } else { self.range(0.5, 0.95) };
        let mut motion = Motion {
            travel: [drift[0] * way, drift[1] * way],
            progress: Progress { start, end, pace },
            angle: self.range(0.0, TAU),
            turn: sign * rate * PAIRS * (end - start),
            squash,
            wobble: self.unsteady(),
            ..Motion::still(CENTRE)
        };
        self.centred(&mut motion, [42.0, 28.0]);
        let actor = Actor { motion, radius };
        self.put(actor, 1.0, true);
        if self.chance(0.5) {
            // The hand that set it going leaves.
            let from = self.arm_side();
            let visit = Visit {
                arrive: 0.0,
                leave: start.max(0.0) + self.range(0.0, 0.12),
                away: [from[0] * 150.0, from[1] * 150.0],
                duration: self.range(0.15, 0.4),
            };
            self.hand(&actor, &Grip { from, at: 0.85, visit }, false);
        }
    }

    /// Two things come together or part.
    fn pair(&mut self, closer: bool) {
        let radii = [self.ratio(15.0, 36.0), self.ratio(15.0, 36.0)];
        let axis = if self.chance(0.75) { self.slanted([1.0, 0.0]) } else { self.any_direction() };
        let mut progress = self.progress();
        let with_hands = self.chance(0.55);
        let sides = if self.chance(0.5) {
            [[-axis[0], -axis[1]], axis]
        } else {
            [[axis[0] * -0.5, 1.0 - axis[1] * 0.5], [axis[0] * 0.5, 1.0 + axis[1] * 0.5]]
        };
        let visit = if with_hands { self.visit(sides[0], &mut progress) } else { Visit::STAYS };
        let gap = (radii[0] + radii[1]) * self.range(0.85, 1.25);
        let room = axis[0].abs() * 125.0 + axis[1].abs() * 105.0 - 0.5 * gap;
        let speed = self.ratio(3.5, 17.0);
        let share = self.range(0.35, 0.65);
        let middle = [CENTRE[0] + self.range(-22.0, 22.0), CENTRE[1] + self.range(-20.0, 20.0)];
        for (index, (sign, share)) in [(-1.0, share), (1.0, 1.0 - share)].into_iter().enumerate() {
            let way = (Self::way(&progress, speed, 24.0, room.max(30.0)) * 2.0 * share).max(18.0);
            let (near, far) = (0.5 * gap, 0.5 * gap + way);
            let (from, to) = if closer { (far, near) } else { (near, far) };
            let (angle, turn) = self.attitude();
            let motion = Motion {
                start: [middle[0] + sign * axis[0] * from, middle[1] + sign * axis[1] * from],
                travel: [sign * axis[0] * (to - from), sign * axis[1] * (to - from)],
                bend: self.range(-0.08, 0.08) * way,
                progress,
                angle,
                turn: turn * 0.5,
                wobble: self.unsteady(),
                ..Motion::still(middle)
            };
            let actor = Actor { motion, radius: radii[index] };
            self.put(actor, 1.0, false);
            if with_hands {
                let from = sides[index];
                let distance = visit.away[0].hypot(visit.away[1]);
                let away = [from[0] * distance, from[1] * distance];
                self.hand(&actor, &Grip { from, at: 0.8, visit: Visit { away, ..visit } }, false);
            }
        }
    }

    /// From rest, faster and faster, to a stop or out of the picture.
    fn fall(&mut self) {
        let radius = self.ratio(14.0, 36.0);
        let start = self.range(-0.1, 0.4);
        let end = start + self.range(0.38, 0.75);
        let floor = if self.chance(0.25) { 300.0 } else { self.range(165.0, 222.0) };
        let top = self.range(-10.0, 70.0);
        let bounce = if self.chance(0.6) { self.range(0.01, 0.09) } else { 0.0 };
        let turn = if self.chance(0.7) { self.range(-4.0, 4.0) } else { 0.0 };
        let motion = Motion {
            start: [CENTRE[0] + self.range(-75.0, 75.0), top],
            travel: [self.range(-28.0, 28.0), floor - top],
            progress: Progress { start, end, pace: Pace::Fall { bounce } },
            angle: self.range(0.0, TAU),
            turn,
            ..Motion::still(CENTRE)
        };
        let actor = Actor { motion, radius };
        self.put(actor, 1.0, false);
        if start > 0.05 && self.chance(0.6) {
            // The hand that lets go stays above; it does not follow the fall.
            let from = [self.range(-1.0, 1.0), self.range(-1.0, -0.1)];
            let leave = if self.chance(0.5) { 1.0 } else { start + 0.05 };
            let visit = Visit { arrive: 0.0, leave, away: [from[0] * 90.0, from[1] * 90.0], duration: 0.4 };
            let still = Motion { travel: [0.0; 2], turn: 0.0, ..motion };
            self.hand(&Actor { motion: still, radius }, &Grip { from, at: 0.5, visit }, false);
        }
    }

    /// A hand that holds something as still as hands can.
    fn hold(&mut self) {
        let radius = self.ratio(18.0, 62.0);
        let pixels = self.range(0.2, 2.2);
        let (angle, _) = self.attitude();
        let motion = Motion {
            angle,
            wobble: Wobble::new(&mut self.rng, pixels, 0.02, 0.3..4.0),
            ..Motion::still([CENTRE[0] + self.range(-55.0, 55.0), CENTRE[1] + self.range(-35.0, 35.0)])
        };
        let actor = Actor { motion, radius };
        self.put(actor, 1.0, false);
        if self.chance(0.85) {
            let from = self.arm_side();
            let at = self.range(0.4, 0.9);
            let behind = self.chance(0.3);
            self.hand(&actor, &Grip { from, at, visit: Visit::STAYS }, behind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::ACTIONS;

    /// Displacement of the middle of each thing in the picture, over the sampled part of the clip.
    fn ways(scene: &Scene) -> Vec<[f32; 2]> {
        let place =
            |layer: &Layer, time| layer.pose(time).then(scene.camera.view(time, layer.depth)).apply([0.0; 2]);
        let things = scene.layers.iter().filter(|layer| layer.held.is_none());
        things
            .map(|layer| {
                let [from, to] = SAMPLED.map(|time| place(layer, time));
                [to[0] - from[0], to[1] - from[1]]
            })
            .collect()
    }

    #[test]
    fn what_a_directed_class_moves_goes_its_way_in_every_clip() {
        for (name, action) in ACTIONS {
            let (toward, everything) = match action {
                Action::Carry { toward } | Action::Push { toward } => (toward, false),
                Action::Turn { scene } => (scene, true),
                Action::Fall => ([0.0, 1.0], false),
                _ => continue,
            };
            for seed in 0..50 {
                let scene =
                    Scene::new(action, seed, if seed % 2 == 0 { Split::Train } else { Split::Test }, true);
                let ways = ways(&scene);
                let right = |[x, y]: &[f32; 2]| {
                    let (with, across) = (x * toward[0] + y * toward[1], x * toward[1] - y * toward[0]);
                    with > 25.0 && across.abs() < 0.75 * with
                };
                let going = ways.iter().filter(|way| right(way)).count();
                let wanted = if everything { ways.len() } else { 1 };
                assert_eq!(going, wanted, "{name}, seed {seed}: {ways:?}");
            }
        }
    }

    #[test]
    fn two_things_meet_or_part_in_every_clip() {
        for seed in 0..50 {
            for closer in [true, false] {
                let scene = Scene::new(Action::Pair { closer }, seed, Split::Train, true);
                let things: Vec<&Layer> =
                    scene.layers.iter().filter(|l| l.held.is_none() && l.motion.travel != [0.0; 2]).collect();
                let [a, b] = things[..] else { panic!("{} things move", things.len()) };
                let apart = |time| {
                    let ([ax, ay], [bx, by]) = (a.pose(time).apply([0.0; 2]), b.pose(time).apply([0.0; 2]));
                    (ax - bx).hypot(ay - by)
                };
                let [before, after] = SAMPLED.map(apart);
                assert!(if closer { after < before - 20.0 } else { after > before + 20.0 }, "seed {seed}");
            }
        }
    }
}
