//! Time in, poses out: how the things of a scene and its camera move. Time runs from 0 to 1 over a clip.

use std::f32::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::place::{Affine, Place, Warp};
use super::texture::smoothstep;

/// The middle of the picture, in the scene's pixels.
pub(crate) const CENTRE: [f32; 2] = [160.0, 120.0];

/// How much of a movement is done at a time: 0 before `start`, 1 after `end` (a fall bounces there).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) start: f32,
    pub(crate) end: f32,
    pub(crate) pace: Pace,
}

/// The course between start and end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// The same speed throughout.
    Even,
    /// From rest to rest.
    Smooth,
    /// `x^power`: above 1 it accelerates.
    Power(f32),
    /// Fast first, slowing down: `1 - (1 - x)^power`.
    Slowing(f32),
    /// From rest with constant acceleration; then one bounce of this height (share of the way).
    Fall { bounce: f32 },
    /// Even, and back by this share after the end, as after a collision.
    Rebound { back: f32 },
    /// There and back so many times, from rest to rest: squeezed again and again.
    Again { times: f32 },
}

impl Progress {
    pub(crate) fn at(&self, time: f32) -> f32 {
        let x = (time - self.start) / (self.end - self.start);
        if let Pace::Fall { bounce } = self.pace {
            if x <= 1.0 {
                return x.max(0.0).powi(2);
            }
            // A parabola under the same gravity: its duration follows from its height.
            let duration = 2.0 * bounce.sqrt();
            let u = (x - 1.0) / duration.max(1e-3);
            return if u < 1.0 { 1.0 - 4.0 * bounce * u * (1.0 - u) } else { 1.0 };
        }
        if let Pace::Rebound { back } = self.pace
            && x > 1.0
        {
            // Slowing down as it goes back.
            return 1.0 - back * (1.0 - (2.0 - x).max(0.0).powi(2));
        }
        let x = x.clamp(0.0, 1.0);
        match self.pace {
            Pace::Smooth => smoothstep(0.0, 1.0, x),
            Pace::Power(power) => x.powf(power),
            Pace::Slowing(power) => 1.0 - (1.0 - x).powf(power),
            Pace::Again { times } => 0.5 - 0.5 * (TAU * times * x).cos(),
            Pace::Even | Pace::Fall { .. } | Pace::Rebound { .. } => x,
        }
    }

    /// The course without a bounce's way back: how far something has tumbled.
    fn done(&self, time: f32) -> f32 {
        if time >= self.end { 1.0 } else { self.at(time) }
    }
}

/// Small irregular movement: two sines for each of x, y and the angle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wobble {
    /// (amplitude, cycles a clip, phase) for x, x, y, y (pixels) and the angle, angle (radians).
    waves: [(f32, f32, f32); 6],
}

impl Wobble {
    /// `pixels` is the typical excursion, `radians` that of the angle; `cycles` the frequencies' range.
    pub(crate) fn new(rng: &mut ChaCha8Rng, pixels: f32, radians: f32, cycles: std::ops::Range<f32>) -> Self {
        let mut wave = |amplitude: f32| {
            (
                amplitude * rng.random_range(0.4..1.0),
                rng.random_range(cycles.clone()),
                rng.random_range(0.0..TAU),
            )
        };
        Self { waves: [wave(pixels), wave(pixels), wave(pixels), wave(pixels), wave(radians), wave(radians)] }
    }

    /// Offset in pixels and angle in radians.
    fn at(&self, time: f32) -> ([f32; 2], f32) {
        let wave =
            |(amplitude, cycles, phase): (f32, f32, f32)| amplitude * (TAU * cycles * time + phase).sin();
        let sum = |i: usize| wave(self.waves[i]) + wave(self.waves[i + 1]);
        ([sum(0), sum(2)], sum(4))
    }
}

/// How a thing changes its form on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Direction in which it is stretched or squeezed, in radians from the thing's y axis.
    pub(crate) axis: f32,
    /// Natural logarithm of the growth across and along the axis, at progress 1.
    pub(crate) growth: [f32; 2],
    /// What it loses of its width at its middle by then, and half the length of that part in pixels.
    pub(crate) pinch: f32,
    pub(crate) waist: f32,
    /// Its bending to and fro: half the height of the arc over 100 pixels, cycles a clip and phase.
    pub(crate) sway: [f32; 3],
    /// Waves that run through it: amplitude and length in pixels, cycles a clip and phase.
    pub(crate) wave: [f32; 4],
    /// Share of its height, from the origin, at progress 0 and 1: a lid that opens. Negative when it lies on its back.
    pub(crate) fold: [f32; 2],
    /// By what share its distance grows for each pixel right and down, at progress 0 and 1.
    pub(crate) tilt: [[f32; 2]; 2],
}

impl Form {
    /// What stays as it is.
    pub(crate) const RIGID: Self = Self {
        axis: 0.0,
        growth: [0.0; 2],
        pinch: 0.0,
        waist: 1.0,
        sway: [0.0; 3],
        wave: [0.0, 1.0, 0.0, 0.0],
        fold: [1.0; 2],
        tilt: [[0.0; 2]; 2],
    };

    /// Its own plane at a progress and time.
    fn place(&self, progress: f32, time: f32) -> Place {
        let &Self { axis, growth, pinch, waist, sway, wave, fold, .. } = self;
        let folded = between(fold[0], fold[1], progress);
        // Edge on there is still a sliver to see.
        let folded = if folded.abs() < 0.06 { 0.06f32.copysign(folded) } else { folded };
        let warp = Warp {
            pinch: pinch * progress,
            width: waist,
            bend: sway[0] * 1e-4 * (TAU * sway[1] * time + sway[2]).sin(),
            wave: [wave[0], TAU / wave[1], TAU * wave[2] * time + wave[3]],
        };
        Place::from(Affine::scale([1.0, folded]))
            .then(Affine::turn(-axis))
            .then(Affine::scale(growth.map(|growth| (growth * progress).exp())))
            .warped(warp)
            .then(Affine::turn(axis))
    }
}

fn between(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

/// The way of a thing through the scene.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Motion {
    /// Position at progress 0 and the way to progress 1.
    pub(crate) start: [f32; 2],
    pub(crate) travel: [f32; 2],
    /// Sideways bulge of the way, in pixels at its middle.
    pub(crate) bend: f32,
    pub(crate) progress: Progress,
    /// Angle at the start and turned until the end.
    pub(crate) angle: f32,
    pub(crate) turn: f32,
    /// Scale at progress 0 and 1; between them the distance to the camera changes evenly.
    pub(crate) scale: [f32; 2],
    /// Vertical foreshortening of what turns, as seen obliquely from above.
    pub(crate) squash: f32,
    pub(crate) wobble: Wobble,
    pub(crate) form: Form,
}

impl Motion {
    /// Something that stays where it is.
    pub(crate) fn still(at: [f32; 2]) -> Self {
        Self {
            start: at,
            travel: [0.0; 2],
            bend: 0.0,
            progress: Progress { start: 0.0, end: 1.0, pace: Pace::Even },
            angle: 0.0,
            turn: 0.0,
            scale: [1.0; 2],
            squash: 1.0,
            wobble: Wobble::default(),
            form: Form::RIGID,
        }
    }

    /// The thing's coordinates -> the world, without its own turning and form: what a hand that holds it follows.
    pub(crate) fn carrier(&self, time: f32) -> Affine {
        let s = self.progress.at(time);
        let length = self.travel[0].hypot(self.travel[1]).max(1e-3);
        let bulge = 4.0 * s * (1.0 - s) * self.bend / length;
        let (offset, angle) = self.wobble.at(time);
        let x = self.start[0] + s * self.travel[0] - bulge * self.travel[1] + offset[0];
        let y = self.start[1] + s * self.travel[1] + bulge * self.travel[0] + offset[1];
        let scale = 1.0 / between(1.0 / self.scale[0], 1.0 / self.scale[1], s);
        Affine::scale([scale; 2]).then(Affine::turn(angle)).then(Affine::shift([x, y]))
    }

    /// The thing's coordinates -> the world.
    pub(crate) fn place(&self, time: f32) -> Place {
        let progress = self.progress.at(time);
        let [from, to] = self.form.tilt;
        self.form
            .place(progress, time)
            .then(Affine::turn(self.angle + self.turn * self.progress.done(time)))
            .then(Affine::scale([1.0, self.squash]))
            .tilted([between(from[0], to[0], progress), between(from[1], to[1], progress)])
            .then(self.carrier(time))
    }
}

/// A hand comes before it carries, and leaves after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// Arrived from this time on; 0 or less: always there.
    pub(crate) arrive: f32,
    /// Leaves from this time on; 1 or more: stays.
    pub(crate) leave: f32,
    /// The way out, in pixels, walked within `duration`.
    pub(crate) away: [f32; 2],
    pub(crate) duration: f32,
}

impl Visit {
    pub(crate) const STAYS: Self = Self { arrive: 0.0, leave: 1.0, away: [0.0; 2], duration: 1.0 };

    /// How the hand is displaced from where it holds.
    pub(crate) fn offset(&self, time: f32) -> [f32; 2] {
        let before = if self.arrive > 0.0 {
            1.0 - smoothstep(self.arrive - self.duration, self.arrive, time)
        } else {
            0.0
        };
        let after =
            if self.leave < 1.0 { smoothstep(self.leave, self.leave + self.duration, time) } else { 0.0 };
        let share = before.max(after);
        [share * self.away[0], share * self.away[1]]
    }
}

/// An upper arm and a forearm between a shoulder that rests and a hand that moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm {
    pub(crate) shoulder: [f32; 2],
    /// From the fingertips to the elbow and from there to the shoulder, in pixels.
    pub(crate) lengths: [f32; 2],
    /// To which side the elbow goes, 1 or -1.
    pub(crate) side: f32,
}

impl Arm {
    /// Where the elbow is when the fingertips are here. An arm that is too short for it is pulled straight.
    pub(crate) fn elbow(&self, hand: [f32; 2]) -> [f32; 2] {
        let [fore, upper] = self.lengths;
        let way = [self.shoulder[0] - hand[0], self.shoulder[1] - hand[1]];
        let far = way[0].hypot(way[1]).max(1e-3);
        let distance = far.clamp((fore - upper).abs() + 1e-3, fore + upper);
        let along = (fore * fore - upper * upper + distance * distance) / (2.0 * distance);
        let aside = (fore * fore - along * along).max(0.0).sqrt() * self.side;
        let [x, y] = way.map(|v| v / far);
        [hand[0] + along * x - aside * y, hand[1] + along * y + aside * x]
    }
}

/// How the camera moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Camera {
    /// The way of the picture over the whole movement, in pixels: opposite to the camera's turn.
    pub(crate) pan: [f32; 2],
    /// How much more of it nearer things go, for each unit of depth: 0 where the camera turns on the spot.
    pub(crate) parallax: f32,
    /// Focal length in pixels: a camera that turns shows things the larger the farther from its axis they come; 0
    /// where that is too little to be seen.
    pub(crate) focal: f32,
    /// Natural logarithm of the magnification over the whole movement; positive approaches.
    pub(crate) zoom: f32,
    /// What stays in place while zooming.
    pub(crate) focus: [f32; 2],
    pub(crate) progress: Progress,
    pub(crate) shake: Wobble,
}

impl Camera {
    /// One that stands and does nothing.
    pub(crate) fn still() -> Self {
        Self {
            pan: [0.0; 2],
            parallax: 0.0,
            focal: 0.0,
            zoom: 0.0,
            focus: CENTRE,
            progress: Progress { start: 0.0, end: 1.0, pace: Pace::Even },
            shake: Wobble::default(),
        }
    }

    /// World -> picture for things at a depth: 1 is the background, nearer things have more (parallax).
    pub(crate) fn view(&self, time: f32, depth: f32) -> Place {
        let s = self.progress.at(time) - 0.5;
        let (offset, roll) = self.shake.at(time);
        let zoom = (self.zoom * s * depth).exp();
        let pan = self.pan.map(|way| way * s * (1.0 + self.parallax * (depth - 1.0)));
        let tilt = pan.map(|pan| if self.focal > 0.0 { -pan / self.focal.powi(2) } else { 0.0 });
        Place::from(Affine::shift([-self.focus[0], -self.focus[1]]))
            .then(Affine::scale([zoom; 2]))
            .then(Affine::turn(roll))
            .tilted(tilt)
            .then(Affine::shift(std::array::from_fn(|c| self.focus[c] + pan[c] + offset[c])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_accelerates_bounces_and_rests() {
        let fall = Progress { start: 0.2, end: 0.7, pace: Pace::Fall { bounce: 0.04 } };
        assert_eq!(fall.at(0.1), 0.0);
        let (early, late) = (fall.at(0.3) - fall.at(0.2), fall.at(0.7) - fall.at(0.6));
        assert!(late > 5.0 * early, "{early} {late}");
        assert!(fall.at(0.8) < 1.0 && fall.at(0.8) > 0.95, "{}", fall.at(0.8));
        assert_eq!(fall.at(0.95), 1.0);
    }

    #[test]
    fn a_camera_that_approaches_enlarges_near_things_more() {
        let camera = Camera { zoom: 0.7, ..Camera::still() };
        let size = |time, depth| camera.view(time, depth).affine().unwrap().determinant();
        let grown = |depth| size(1.0, depth) / size(0.0, depth);
        assert!(grown(1.0) > 3.9 && grown(1.3) > grown(1.0));
    }

    #[test]
    fn what_collides_goes_back() {
        let push = Progress { start: 0.0, end: 0.5, pace: Pace::Rebound { back: 0.3 } };
        assert_eq!((push.at(0.25), push.at(0.5)), (0.5, 1.0));
        assert!(push.at(0.6) < 1.0 && (push.at(1.0) - 0.7).abs() < 1e-6, "{}", push.at(1.0));
    }

    #[test]
    fn an_elbow_is_as_far_from_hand_and_shoulder_as_the_arm_is_long() {
        let arm = Arm { shoulder: [300.0, 400.0], lengths: [120.0, 150.0], side: -1.0 };
        let away = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        let (hand, far) = ([200.0, 250.0], [0.0, 0.0]);
        assert!((away(arm.elbow(hand), hand) - 120.0).abs() < 1e-2);
        assert!((away(arm.elbow(hand), arm.shoulder) - 150.0).abs() < 1e-2);
        assert!((away(arm.elbow(far), far) - 120.0).abs() < 1e-2, "pulled straight");
    }
}
