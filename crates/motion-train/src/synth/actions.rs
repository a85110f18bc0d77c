//! What happens in the scenes of each class.

use std::f32::consts::TAU;

use rand::Rng;

use super::Action;
use super::director::{Actor, Director, Grip, PAIRS};
use super::motion::{CENTRE, Form, Motion, Pace, Progress, Visit, Wobble};
use super::raster::Sprite;
use super::scene::{Part, SIZE};
use super::shape::{Look, Piece, object, piece};

/// Where fingers hold the edge of a thing, in radii from its middle.
const HELD: f32 = 0.68;

impl Director {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Carry { toward } => self.carry(toward, false),
            Action::Push { toward } => self.carry(toward, true),
            Action::Depth { closer } => self.depth(closer),
            Action::Turn { .. } | Action::Dolly { .. } => self.filmed(),
            Action::Spin => self.spin(),
            Action::Pair { closer } => self.pair(closer),
            Action::Fall => self.fall(),
            Action::Hold => self.hold(),
            Action::Lift { up } => self.lift(up),
            Action::Pass => self.pass(),
            Action::Collide => self.collide(),
            Action::Stretch => self.stretch(),
            Action::Squeeze => self.squeeze(),
            Action::Tear => self.tear(),
            Action::Hinge { opens } => self.hinge(opens),
        }
    }

    /// How a thing may change by the way: mostly not, else it is a little soft or turns out of the picture's plane.
    fn form(&mut self, radius: f32) -> Form {
        match self.rng.random_range(0..10) {
            0 => self.soft(),
            1..3 => Form { tilt: self.tilts(radius), ..Form::RIGID },
            _ => Form::RIGID,
        }
    }

    /// Perspective of a thing of this radius at both ends of its way; for many none.
    fn tilts(&mut self, radius: f32) -> [[f32; 2]; 2] {
        let most = if self.chance(0.4) { 0.3 / radius } else { 0.0 };
        let mut tilt = || std::array::from_fn(|_| most * self.range(-1.0, 1.0));
        [tilt(), tilt()]
    }

    /// One thing goes one way: carried, pushed, or by itself.
    fn carry(&mut self, toward: [f32; 2], pushed: bool) {
        let toward = self.slanted(toward);
        let radius = self.ratio(16.0, 52.0);
        let mut progress = self.progress();
        let by_hand = self.chance(0.62);
        let crossing = !by_hand && self.chance(0.6);
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
        motion.form = self.form(radius);
        self.centred(&mut motion, [52.0, 34.0]);
        let actor = Actor { motion, radius };
        let depth = self.range(1.0, 1.2);
        if crossing && self.chance(0.55) {
            let steps = self.range(4.0, 11.0);
            let radius = self.ratio(26.0, 72.0);
            self.walker(Actor { radius, ..actor }, depth, steps);
            return;
        }
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
        let ratio = ratio.powf(Self::fits(&progress));
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
        motion.form = self.form(radius);
        self.centred(&mut motion, [40.0, 26.0]);
        let actor = Actor { motion, radius };
        self.put(actor, 1.0, false);
        if by_hand {
            let at = self.range(0.5, 0.9);
            let behind = self.chance(0.3);
            self.hand(&actor, &Grip { from: side, at, visit }, behind);
        }
    }

    pub(super) fn turn(&mut self, scene: [f32; 2]) {
        let scene = self.slanted(scene);
        let progress = self.progress();
        // Up to what the paper's window reaches: 7 cells of 8 pixels.
        let speed = self.ratio(5.0, 52.0);
        let way = Self::way(&progress, speed, 38.0, 400.0);
        self.camera.pan = scene.map(|v| v * way);
        self.camera.progress = progress;
        match self.rng.random_range(0..3) {
            // A lens wide enough for its perspective to show.
            0 => self.camera.focal = self.range(260.0, 600.0),
            // Carried along rather than turned: what is nearer goes faster.
            1 => self.camera.parallax = self.range(0.4, 1.2),
            _ => {}
        }
        self.hand_held();
    }

    pub(super) fn dolly(&mut self, closer: bool) {
        let ratio = self.range(1.35, 2.4);
        self.camera.progress = self.progress();
        self.camera.zoom = ratio.ln() * Self::fits(&self.camera.progress) * if closer { 1.0 } else { -1.0 };
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
        let deep = self.camera.zoom != 0.0 || self.camera.parallax > 0.0;
        let count = if self.chance(0.3) { self.rng.random_range(4..10) } else { self.rng.random_range(1..4) };
        let mut depths: Vec<f32> =
            (0..count).map(|_| if deep { self.range(1.0, 1.5) } else { 1.0 }).collect();
        depths.sort_by(f32::total_cmp);
        for (index, depth) in depths.into_iter().enumerate() {
            // Where it is seen at some moment of the clip; the first, in the middle of the picture.
            let moment = self.range(0.1, 0.9);
            let spread = if index == 0 { [45.0, 35.0] } else { [130.0, 90.0] };
            let seen = [
                self.camera.focus[0] + self.range(-spread[0], spread[0]),
                self.camera.focus[1] + self.range(-spread[1], spread[1]),
            ];
            let at = self.camera.view(moment, depth).back().apply(seen).unwrap_or(CENTRE);
            let radius = self.ratio(16.0, 50.0);
            let (angle, _) = self.attitude();
            self.put(Actor { motion: Motion { angle, ..Motion::still(at) }, radius }, depth, false);
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
        motion.form.tilt = self.tilts(radius);
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

    /// A hand comes empty, takes what lies there, and leaves the picture with it; or the same backwards.
    fn lift(&mut self, up: bool) {
        let radius = self.ratio(15.0, 46.0);
        let rest = [CENTRE[0] + self.range(-80.0, 80.0), self.range(130.0, 195.0)];
        let from = [self.range(-0.8, 0.8), if self.chance(0.7) { -1.0 } else { self.range(0.2, 0.7) }];
        let side = [self.range(-70.0, 70.0), -(rest[1] + radius + self.range(20.0, 70.0))];
        // The middle of the clip belongs to the movement that the class names.
        let meets = if up { self.range(0.22, 0.5) } else { self.range(0.5, 0.75) };
        let lasts = self.range(0.3, 0.6);
        let (start, travel, progress) = if up {
            (rest, side, Progress { start: meets + 0.03, end: meets + 0.03 + lasts, pace: Pace::Smooth })
        } else {
            let above = [rest[0] + side[0], rest[1] + side[1]];
            let back = side.map(|v| -v);
            (above, back, Progress { start: meets - lasts, end: meets, pace: Pace::Smooth })
        };
        let distance = self.range(130.0, 240.0);
        let away = Self::out(from, distance);
        let duration = self.range(0.18, 0.34);
        let visit = if up {
            Visit { arrive: meets, leave: 1.0, away, duration }
        } else {
            Visit { arrive: 0.0, leave: meets + 0.04, away, duration }
        };
        let (angle, turn) = self.attitude();
        let bend = self.range(-16.0, 16.0);
        let motion = Motion { travel, bend, progress, angle, turn: turn * 0.5, ..Motion::still(start) };
        let actor = Actor { motion, radius };
        // Sometimes two things at once, a hand each.
        let count = if self.chance(0.15) { 2 } else { 1 };
        for index in 0..count {
            let mut actor = actor;
            if index > 0 {
                actor.motion.start[0] += (2.2 * radius).copysign(CENTRE[0] - rest[0]);
            }
            let depth = self.range(1.0, 1.1);
            self.put(actor, depth, false);
            let at = self.range(0.5, 0.9);
            let behind = self.chance(0.2);
            self.hand(&actor, &Grip { from, at, visit }, behind);
        }
    }

    /// Two things go opposite ways, one past the other.
    fn pass(&mut self) {
        let axis = match self.rng.random_range(0..5) {
            0..3 => self.slanted([1.0, 0.0]),
            3 => self.slanted([0.0, 1.0]),
            _ => self.any_direction(),
        };
        let across = [-axis[1], axis[0]];
        let radii = [self.ratio(14.0, 40.0), self.ratio(14.0, 40.0)];
        // Side by side, or one before the other.
        let gap = (radii[0] + radii[1]) * self.range(0.2, 1.15);
        let progress = self.progress();
        let by_hand = self.chance(0.5);
        let walkers = !by_hand && self.chance(0.35);
        let room = axis[0].abs() * SIZE[0] + axis[1].abs() * SIZE[1];
        let middle = [CENTRE[0] + self.range(-20.0, 20.0), CENTRE[1] + self.range(-18.0, 18.0)];
        for (index, sign) in [-1.0f32, 1.0].into_iter().enumerate() {
            let speed = self.ratio(8.0, 32.0);
            let least = radii[0] + radii[1] + 24.0;
            let way = Self::way(&progress, speed, least, room * if by_hand { 0.7 } else { 1.1 });
            let (angle, turn) = self.attitude();
            let aside = sign * gap / 2.0;
            let motion = Motion {
                start: std::array::from_fn(|c| middle[c] + across[c] * aside - axis[c] * sign * way / 2.0),
                travel: axis.map(|v| v * sign * way),
                progress,
                angle,
                turn: turn * 0.5,
                wobble: self.unsteady(),
                ..Motion::still(middle)
            };
            let actor = Actor { motion, radius: radii[index] };
            let depth = self.range(1.0, 1.15);
            if walkers {
                let steps = self.range(4.0, 11.0);
                self.walker(actor, depth, steps);
                continue;
            }
            self.put(actor, depth, false);
            if by_hand {
                // From the side on which there is room for an arm.
                let from =
                    [across[0] * sign + self.range(-0.4, 0.4), across[1] * sign + self.range(-0.2, 0.6)];
                self.hand(&actor, &Grip { from, at: 0.8, visit: Visit::STAYS }, false);
            }
        }
    }

    /// Two things meet at speed, and go back or are knocked away.
    fn collide(&mut self) {
        let axis = if self.chance(0.8) { self.slanted([1.0, 0.0]) } else { self.any_direction() };
        let radii = [self.ratio(15.0, 38.0), self.ratio(15.0, 38.0)];
        let touch = (radii[0] + radii[1]) * 0.88;
        let meets = self.range(0.4, 0.65);
        let start = self.range(-0.15, meets - 0.32);
        let both = self.chance(0.5);
        let middle = [CENTRE[0] + self.range(-28.0, 28.0), CENTRE[1] + self.range(-28.0, 28.0)];
        for (index, sign) in [-1.0f32, 1.0].into_iter().enumerate() {
            let met: [f32; 2] = std::array::from_fn(|c| middle[c] + sign * axis[c] * touch / 2.0);
            let (angle, turn) = self.attitude();
            let moving = both || index == 0;
            let speed = self.ratio(9.0, 26.0);
            let motion = if moving {
                let way = (speed * PAIRS * (meets - start)).clamp(34.0, 150.0);
                let back = if both { self.range(0.3, 0.7) } else { self.range(0.0, 0.15) };
                Motion {
                    start: std::array::from_fn(|c| met[c] + sign * axis[c] * way),
                    travel: axis.map(|v| -v * sign * way),
                    progress: Progress { start, end: meets, pace: Pace::Rebound { back } },
                    angle,
                    ..Motion::still(met)
                }
            } else {
                // It stood there, and is knocked away.
                let way = self.range(45.0, 130.0);
                let lasts = self.range(0.3, 0.6);
                let power = self.range(1.3, 2.2);
                Motion {
                    start: met,
                    travel: axis.map(|v| v * sign * way),
                    progress: Progress { start: meets, end: meets + lasts, pace: Pace::Slowing(power) },
                    angle,
                    turn: turn * 2.0,
                    ..Motion::still(met)
                }
            };
            let actor = Actor { motion, radius: radii[index] };
            self.put(actor, 1.0, false);
            if moving && self.chance(0.3) {
                // Pushed off by a hand that lets go before they meet.
                let from = [sign * axis[0], sign * axis[1] + self.range(0.0, 0.6)];
                let away = Self::out(from, 130.0);
                let leave = (meets - self.range(0.08, 0.2)).max(start.max(0.0) + 0.05);
                let visit = Visit { arrive: 0.0, leave, away, duration: self.range(0.25, 0.4) };
                self.hand(&actor, &Grip { from, at: 0.9, visit }, false);
            }
        }
    }

    /// Two hands pull the ends of something soft apart.
    fn stretch(&mut self) {
        let radius = self.ratio(22.0, 52.0);
        let axis = if self.chance(0.7) { self.slanted([1.0, 0.0]) } else { self.any_direction() };
        let growth = self.range(0.45, 1.0);
        let mut progress = self.progress();
        if self.chance(0.25) && Self::fits(&progress) == 1.0 {
            progress.pace = Pace::Again { times: if self.chance(0.5) { 1.5 } else { 2.5 } };
        }
        let thinner = self.range(0.15, 0.5) * growth;
        let form = Form {
            growth: [-thinner, growth],
            pinch: self.range(0.0, 0.35),
            waist: radius * self.range(0.4, 0.9),
            ..Form::RIGID
        };
        self.soft_between_hands(radius, axis, form, progress);
    }

    /// A hand, or two, press something soft together.
    fn squeeze(&mut self) {
        let radius = self.ratio(24.0, 62.0);
        let axis = if self.chance(0.6) { self.slanted([1.0, 0.0]) } else { self.any_direction() };
        let growth = -self.range(0.35, 0.85);
        let mut progress = self.progress();
        if self.chance(0.6) && Self::fits(&progress) == 1.0 {
            progress.pace = Pace::Again { times: [1.0, 1.5, 2.0, 3.0][self.rng.random_range(0..4)] };
        }
        let form = Form { growth: [self.range(0.05, 0.35) * -growth, growth], ..Form::RIGID };
        self.soft_between_hands(radius, axis, form, progress);
    }

    /// Something that two hands hold at the ends of an axis, along which its form grows.
    fn soft_between_hands(&mut self, radius: f32, axis: [f32; 2], form: Form, progress: Progress) {
        let at = [CENTRE[0] + self.range(-45.0, 45.0), CENTRE[1] + self.range(-32.0, 32.0)];
        let (angle, _) = self.attitude();
        // From the thing's own y axis, which turns with it, to the direction of the pull.
        let form = Form { axis: (-axis[0]).atan2(axis[1]) - angle, ..form };
        let growth = form.growth[1].exp() - 1.0;
        let wobble = self.unsteady();
        let motion = Motion { angle, progress, form, wobble, ..Motion::still(at) };
        let look = self.look(&Actor { motion, radius }, 1.0, false);
        let thing = object(&mut self.rng, self.split, &Look { round: true, ..look });
        self.add(thing, motion, Part::Whole, 1.0);
        let one_handed = growth < 0.0 && self.chance(0.4);
        let down = self.range(0.0, 0.7);
        for sign in [-1.0f32, 1.0] {
            if one_handed && sign > 0.0 {
                continue;
            }
            let travel = axis.map(|v| v * sign * radius * HELD * growth);
            let motion = Motion { travel, progress, wobble, ..Motion::still(at) };
            self.hand_at_end(Actor { motion, radius }, axis.map(|v| v * sign), down);
        }
    }

    /// A hand that stays where the actor ends in a direction, from there or from further below.
    fn hand_at_end(&mut self, mut actor: Actor, toward: [f32; 2], below: f32) {
        for (start, toward) in actor.motion.start.iter_mut().zip(toward) {
            *start += toward * actor.radius * HELD;
        }
        let from = [toward[0], toward[1] + below];
        self.hand(&actor, &Grip { from, at: 0.0, visit: Visit::STAYS }, false);
    }

    /// Two hands part something along a ragged line.
    fn tear(&mut self) {
        let radius = self.ratio(26.0, 62.0);
        let axis = if self.chance(0.75) { self.slanted([1.0, 0.0]) } else { self.any_direction() };
        let at = [CENTRE[0] + self.range(-40.0, 40.0), CENTRE[1] + self.range(-28.0, 28.0)];
        let start = self.range(-0.05, 0.4);
        let progress = Progress { start, end: start + self.range(0.4, 0.8), pace: Pace::Smooth };
        let (angle, _) = self.attitude();
        let wobble = self.unsteady();
        let still = Motion { angle, progress, wobble, ..Motion::still(at) };
        let look = self.look(&Actor { motion: still, radius }, 1.0, false);
        let whole = object(&mut self.rng, self.split, &Look { round: true, ..look });
        // The line, in the thing's own coordinates.
        let (sin, cos) = (-angle).sin_cos();
        let normal = [axis[0] * cos - axis[1] * sin, axis[0] * sin + axis[1] * cos];
        let ragged = [self.range(1.0, 4.0), self.range(0.1, 0.3), self.range(0.0, TAU)];
        let coarse = [self.range(2.0, 7.0), self.range(0.02, 0.06), self.range(0.0, TAU)];
        let halves = whole.parted(|[x, y]| {
            let along = y * normal[0] - x * normal[1];
            let wave = |[height, rate, phase]: [f32; 3]| height * (rate * along + phase).sin();
            x * normal[0] + y * normal[1] + wave(ragged) + wave(coarse)
        });
        let turn = self.range(0.0, 0.7);
        let way = self.range(22.0, 75.0);
        let sag = self.range(-10.0, 22.0);
        for (sign, half) in [-1.0f32, 1.0].into_iter().zip(halves) {
            let travel = [axis[0] * sign * way, axis[1] * sign * way + sag];
            let motion = Motion { travel, turn: sign * turn, ..still };
            self.add(half, motion, Part::Whole, 1.0);
            let below = self.range(0.0, 0.6);
            self.hand_at_end(Actor { motion, radius }, axis.map(|v| v * sign), below);
        }
    }

    /// Something opens or closes: a lid, two doors, a flower.
    fn hinge(&mut self, opens: bool) {
        let mut progress = self.progress();
        progress.start = progress.start.max(-0.1);
        let at = [CENTRE[0] + self.range(-42.0, 42.0), CENTRE[1] + self.range(-26.0, 26.0)];
        match self.rng.random_range(0..5) {
            0..2 => self.lid(opens, at, progress),
            2 => self.doors(opens, at, progress),
            _ => self.flower(opens, at, progress),
        }
    }

    /// From `a` to `b`, or back where something closes.
    fn ends(opens: bool, a: f32, b: f32) -> [f32; 2] {
        if opens { [a, b] } else { [b, a] }
    }

    /// A plate to be fixed at one end: half its width and half its length.
    fn plate(&mut self, kind: Piece, half: [f32; 2]) -> Sprite {
        let look = self.look(&Actor { motion: Motion::still(CENTRE), radius: half[1] }, 1.0, false);
        piece(&mut self.rng, self.split, kind, half, &look)
    }

    /// Adds a plate, of this half length, that is fixed where its motion starts and turns there; gives the way of its other end.
    fn flap(&mut self, plate: Sprite, half: f32, motion: Motion) -> Motion {
        self.add(plate, motion, Part::Whole, 1.0);
        let (sin, cos) = motion.angle.sin_cos();
        let end = |fold: f32| {
            [motion.start[0] - sin * fold * 2.0 * half, motion.start[1] + cos * fold * 2.0 * half]
        };
        let [from, to] = motion.form.fold.map(end);
        let travel = [to[0] - from[0], to[1] - from[1]];
        Motion { travel, progress: motion.progress, ..Motion::still(from) }
    }

    /// A box or a book seen from above, and its lid.
    fn lid(&mut self, opens: bool, at: [f32; 2], progress: Progress) {
        let half = [self.ratio(28.0, 70.0), self.ratio(18.0, 38.0)];
        let angle = match self.rng.random_range(0..4) {
            0..2 => self.range(-0.3, 0.3),
            2 => TAU / 4.0 + self.range(-0.3, 0.3),
            _ => -TAU / 4.0 + self.range(-0.3, 0.3),
        };
        let (sin, cos) = angle.sin_cos();
        let hinge = [at[0] + sin * half[1], at[1] - cos * half[1]];
        let closed = Motion { angle, progress, ..Motion::still(hinge) };
        let inside = self.plate(Piece::Lid, half);
        self.flap(inside, half[1], closed);
        let open = -self.range(0.25, 0.95);
        let tilt = self.range(0.0, 0.25) / half[0];
        let form = Form {
            fold: Self::ends(opens, 1.0, open),
            tilt: if opens { [[0.0; 2], [0.0, tilt]] } else { [[0.0, tilt], [0.0; 2]] },
            ..Form::RIGID
        };
        let lid = self.plate(Piece::Lid, half);
        let end = self.flap(lid, half[1], Motion { form, ..closed });
        if self.chance(0.75) {
            let from = if self.chance(0.6) { [self.range(-0.7, 0.7), 1.0] } else { self.arm_side() };
            let mut progress = progress;
            let visit = self.visit(from, &mut progress);
            self.hand(
                &Actor { motion: end, radius: half[1] },
                &Grip { from, at: 0.0, visit: Visit { arrive: 0.0, ..visit } },
                false,
            );
        }
    }

    /// Two doors that meet in the middle.
    fn doors(&mut self, opens: bool, at: [f32; 2], progress: Progress) {
        let half = [self.ratio(34.0, 75.0), self.ratio(17.0, 36.0)];
        let by_hand = self.chance(0.5);
        let open = self.range(-0.3, 0.3);
        // What is behind them.
        let inside = self.plate(Piece::Lid, [half[0], 2.0 * half[1]]);
        let edge = Motion { angle: -TAU / 4.0, progress, ..Motion::still([at[0] - 2.0 * half[1], at[1]]) };
        self.flap(inside, 2.0 * half[1], edge);
        let door = self.plate(Piece::Lid, half);
        for sign in [-1.0f32, 1.0] {
            let hinge = [at[0] + sign * 2.0 * half[1], at[1]];
            let form = Form { fold: Self::ends(opens, 1.0, open), ..Form::RIGID };
            let motion = Motion { angle: sign * TAU / 4.0, form, progress, ..Motion::still(hinge) };
            let end = self.flap(door.clone(), half[1], motion);
            if by_hand {
                let from = [sign * self.range(0.2, 0.8), 1.0];
                self.hand(
                    &Actor { motion: end, radius: half[1] },
                    &Grip { from, at: 0.0, visit: Visit::STAYS },
                    false,
                );
            }
        }
    }

    /// Petals around a middle.
    fn flower(&mut self, opens: bool, at: [f32; 2], progress: Progress) {
        let petals = self.rng.random_range(5..10);
        let length = self.ratio(18.0, 48.0);
        let first = self.range(0.0, TAU);
        let closed = self.range(0.2, 0.5);
        let turn = self.range(-0.4, 0.4);
        let wide = self.range(0.3, 0.55);
        // Narrower while closed: petals grow across as the flower opens.
        let across = (1.0 / closed).ln() * 0.7;
        let width = length * wide * if opens { (-across).exp() } else { 1.0 };
        let growth = [if opens { across } else { -across }, 0.0];
        let sway = self.soft().sway;
        let look = self.plate(Piece::Petal, [width, length]);
        for petal in 0..petals {
            let angle = first + TAU * petal as f32 / petals as f32;
            let open = self.range(0.85, 1.1);
            let form = Form { fold: Self::ends(opens, closed, open), growth, sway, ..Form::RIGID };
            let motion = Motion { angle, turn, form, progress, ..Motion::still(at) };
            self.add(look.clone(), motion, Part::Whole, 1.0);
        }
        let heart = Actor { motion: Motion { turn, progress, ..Motion::still(at) }, radius: length * 0.35 };
        self.put(heart, 1.0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::director::{SAMPLED, scene};
    use crate::synth::scene::{Layer, Scene};
    use crate::synth::{ACTIONS, Split};

    /// Displacement of the middle of each thing in the picture, over the sampled part of the clip.
    fn ways(scene: &Scene) -> Vec<[f32; 2]> {
        let place = |layer: &Layer, time| {
            layer.place(time).then_all(&scene.camera.view(time, layer.depth)).apply([0.0; 2]).unwrap()
        };
        let things = scene
            .layers
            .iter()
            .filter(|layer| matches!(layer.part, Part::Whole | Part::Limb { swing: [0.0, ..], .. }));
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
                let scene = scene(action, seed, if seed % 2 == 0 { Split::Train } else { Split::Test }, true);
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
                let scene = scene(Action::Pair { closer }, seed, Split::Train, true);
                let things: Vec<&Layer> = scene
                    .layers
                    .iter()
                    .filter(|l| matches!(l.part, Part::Whole) && l.motion.travel != [0.0; 2])
                    .collect();
                let [a, b] = things[..] else { panic!("{} things move", things.len()) };
                let apart = |time| {
                    let ([ax, ay], [bx, by]) =
                        (a.place(time).apply([0.0; 2]).unwrap(), b.place(time).apply([0.0; 2]).unwrap());
                    (ax - bx).hypot(ay - by)
                };
                let [before, after] = SAMPLED.map(apart);
                assert!(if closer { after < before - 20.0 } else { after > before + 20.0 }, "seed {seed}");
            }
        }
    }

    /// The middles of the things that move by more than trembling, at a time, in the order of the layers.
    fn movers(scene: &Scene, time: f32) -> Vec<[f32; 2]> {
        let moves = |layer: &&Layer| matches!(layer.part, Part::Whole) && layer.motion.travel != [0.0; 2];
        scene.layers.iter().filter(moves).map(|l| l.place(time).apply([0.0; 2]).unwrap()).collect()
    }

    #[test]
    fn what_is_picked_up_leaves_the_picture_and_what_is_put_down_stays() {
        let inside = |p: &[f32; 2]| (0.0..SIZE[0]).contains(&p[0]) && (0.0..SIZE[1]).contains(&p[1]);
        for seed in 0..50 {
            for up in [true, false] {
                let scene = scene(Action::Lift { up }, seed, Split::Test, true);
                let [before, after] = [0.0, 1.0].map(|time| movers(&scene, time).iter().all(inside));
                let left = movers(&scene, if up { 1.05 } else { 0.0 }).iter().all(|p| p[1] < 0.0);
                assert!(if up { before } else { after }, "up {up}, seed {seed}");
                assert!(left, "up {up}, seed {seed}");
            }
        }
    }

    #[test]
    fn two_things_pass_or_collide() {
        for seed in 0..50 {
            let way = |action| {
                let scene = scene(action, seed, Split::Train, true);
                let apart = |time| match movers(&scene, time)[..] {
                    [a, b] => [b[0] - a[0], b[1] - a[1]],
                    ref found => panic!("{} things move", found.len()),
                };
                [0.0, 0.5, 1.0].map(apart)
            };
            let dot = |a: [f32; 2], b: [f32; 2]| a[0] * b[0] + a[1] * b[1];
            // Walkers are many layers: those scenes are left out.
            let walks = |action| {
                let scene = scene(action, seed, Split::Train, true);
                scene.layers.iter().any(|layer| matches!(layer.part, Part::Limb { .. }))
            };
            if !walks(Action::Pass) {
                let [before, _, after] = way(Action::Pass);
                let along = [before[0] - after[0], before[1] - after[1]];
                assert!(dot(before, along) > 0.0 && dot(after, along) < 0.0, "seed {seed}");
            }
            let [before, _, after] = way(Action::Collide);
            assert!(dot(before, after) > 0.0, "seed {seed}: they stay on their sides");
        }
    }

    #[test]
    fn what_is_stretched_grows_and_what_is_squeezed_shrinks() {
        for seed in 0..50 {
            for (action, sign) in [(Action::Stretch, 1.0), (Action::Squeeze, -1.0)] {
                let scene = scene(action, seed, Split::Train, true);
                let soft = scene.layers.iter().find(|layer| layer.motion.form.growth != [0.0; 2]).unwrap();
                let Form { axis, .. } = soft.motion.form;
                let ends = [[-axis.sin(), axis.cos()], [axis.sin(), -axis.cos()]];
                let length = |time| {
                    let [a, b] = ends.map(|end| soft.place(time).apply(end.map(|v| v * 20.0)).unwrap());
                    (a[0] - b[0]).hypot(a[1] - b[1])
                };
                let most = (0..=40).map(|i| sign * (length(i as f32 / 40.0) / length(-0.3)).ln());
                assert!(most.fold(0.0, f32::max) > 0.2, "{action:?}, seed {seed}");
            }
        }
    }
}
