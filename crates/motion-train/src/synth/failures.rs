//! Nothing in, short videos out in which matching must go wrong, each in one way that can be seen and named.
//!
//! The things are made for it, not drawn by lot: everything else in them is easy.

use std::f32::consts::TAU;

use motion_clip::Frame;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Split;
use super::demo::film;
use super::director::SAMPLED;
use super::lens::Lens;
use super::motion::{CENTRE, Camera, Form, Motion, Pace, Progress};
use super::place::Affine;
use super::raster::{Raster, Sprite};
use super::scene::{Layer, Part, SIZE, Scene};
use super::texture::{Rgb, Texture};

/// A video in which the maps are wrong somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// File name without extension.
    pub name: &'static str,
    /// What a person sees.
    pub title: &'static str,
    /// What goes wrong, where to see it, and why.
    pub why: &'static str,
    scene: fn(&mut ChaCha8Rng) -> Scene,
}

/// One for each way in which matching fails.
pub const FAILURES: [Failure; 4] = [
    Failure {
        name: "behind_a_post",
        title: "A ball rolls behind a post",
        why: "Occlusion: what goes behind the post in the next frame is nowhere to be found there, and what comes out \
              was nowhere before. The best match is something else then: look at the ball's edge beside the post, \
              and compare with the way back.",
        scene: behind_a_post,
    },
    Failure {
        name: "dough",
        title: "Dough is kneaded",
        why: "Deformation: a place is compared with places of the same size and form. What is stretched, squeezed \
              and bent from one frame to the next looks like no place of the one before, and its vectors scatter.",
        scene: dough,
    },
    Failure {
        name: "plain_disk",
        title: "A plain disk on a plain wall",
        why: "Flat regions: inside the disk and on the wall every place looks like its neighbours, so many matches \
              are equally good. Only the disk's rim tells where it goes, and of a straight rim only across it. Inspect a \
              point inside the disk: its correlation has no peak.",
        scene: plain_disk,
    },
    Failure {
        name: "slow_and_fast",
        title: "A slow card under a fast one",
        why: "Moves under a cell: the lower card goes a third of a cell from frame to frame, the upper one three \
              cells. The best match is a whole cell or none, and only the weighting around it can say less: the slow card is \
              shown as still, or jumps. Earlier stages have smaller cells.",
        scene: slow_and_fast,
    },
];

/// Renders one of [`FAILURES`] as a demo video.
pub fn failure_clip(failure: &Failure) -> Vec<Frame> {
    film(&(failure.scene)(&mut ChaCha8Rng::seed_from_u64(97)))
}

fn behind_a_post(rng: &mut ChaCha8Rng) -> Scene {
    let post = surface(rng, 14.0);
    let ball = surface(rng, 16.0);
    let rolling = Motion { travel: [230.0, 0.0], turn: 0.6 * TAU, ..Motion::still([45.0, 130.0]) };
    let behind = layer(disk(38.0, |p| ball.colour(p[0], p[1])), rolling);
    let before = layer(card([22.0, 130.0], |p| post.colour(p[0], p[1])), Motion::still(CENTRE));
    scene(wall(rng), vec![behind, before])
}

fn dough(rng: &mut ChaCha8Rng) -> Scene {
    let texture = surface(rng, 18.0);
    let form = Form {
        axis: 0.6,
        growth: [0.55, -0.6],
        wave: [9.0, 60.0, 3.0, 0.0],
        sway: [38.0, 2.0, 0.0],
        ..Form::RIGID
    };
    let progress = Progress { start: 0.0, end: 1.0, pace: Pace::Again { times: 3.0 } };
    let kneaded = Motion { form, progress, turn: 0.9, ..Motion::still(CENTRE) };
    scene(wall(rng), vec![layer(disk(70.0, |p| texture.colour(p[0], p[1])), kneaded)])
}

fn plain_disk(_: &mut ChaCha8Rng) -> Scene {
    let wall = card(SIZE, |_| [0.62, 0.66, 0.7]);
    let across = Motion { travel: [120.0, 30.0], ..Motion::still([100.0, 105.0]) };
    scene(wall, vec![layer(disk(66.0, |_| [0.78, 0.36, 0.24]), across)])
}

fn slow_and_fast(rng: &mut ChaCha8Rng) -> Scene {
    let (above, below) = (surface(rng, 14.0), surface(rng, 14.0));
    // Of the seven pairs of a clip, whose cells are 8 pixels in the middle of the network.
    let share = SAMPLED[1] - SAMPLED[0];
    let way = |cells: f32| [7.0 * 8.0 * cells / share, 0.0];
    let (fast, slow) = (way(3.0), way(1.0 / 3.0));
    let at = |travel: [f32; 2], y: f32| Motion { travel, ..Motion::still([160.0 - travel[0] / 2.0, y]) };
    let half = [52.0, 40.0];
    let layers = vec![
        layer(card(half, |p| above.colour(p[0], p[1])), at(fast, 68.0)),
        layer(card(half, |p| below.colour(p[0], p[1])), at(slow, 172.0)),
    ];
    scene(wall(rng), layers)
}

fn scene(background: Sprite, layers: Vec<Layer>) -> Scene {
    Scene { background, layers, camera: Camera::still(), lens: Lens::CLEAN }
}

fn layer(sprite: Sprite, motion: Motion) -> Layer {
    Layer { sprite, shadow: None, motion, part: Part::Whole, depth: 1.0 }
}

fn surface(rng: &mut ChaCha8Rng, feature: f32) -> Texture {
    Texture::new(rng, Split::Test, feature)
}

fn wall(rng: &mut ChaCha8Rng) -> Sprite {
    let texture = surface(rng, 30.0);
    // The background's origin is the picture's corner.
    let raster = Raster::paint(SIZE[0] as usize, SIZE[1] as usize, |p| opaque(texture.colour(p[0], p[1])));
    Sprite::new(raster, Affine::shift([0.0; 2]), 1)
}

fn opaque([red, green, blue]: Rgb) -> [f32; 4] {
    [red, green, blue, 1.0]
}

/// Around its layer's origin.
fn disk(radius: f32, colour: impl Fn([f32; 2]) -> Rgb) -> Sprite {
    thing([radius; 2], |[x, y]| radius - x.hypot(y), colour)
}

/// Around its layer's origin.
fn card(half: [f32; 2], colour: impl Fn([f32; 2]) -> Rgb) -> Sprite {
    thing(half, |[x, y]| (half[0] - x.abs()).min(half[1] - y.abs()), colour)
}

/// What has a positive depth, with a soft edge.
fn thing(half: [f32; 2], depth: impl Fn([f32; 2]) -> f32, colour: impl Fn([f32; 2]) -> Rgb) -> Sprite {
    let half = half.map(|side| side + 2.0);
    let raster = Raster::paint((2.0 * half[0]) as usize, (2.0 * half[1]) as usize, |[x, y]| {
        let place = [x - half[0], y - half[1]];
        let cover = (0.5 + depth(place)).clamp(0.0, 1.0);
        opaque(colour(place)).map(|c| c * cover)
    });
    Sprite::new(raster, Affine::shift(half), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_them_moves_and_is_another() {
        let clips = FAILURES.map(|failure| failure_clip(&failure));
        for (clip, failure) in clips.iter().zip(&FAILURES) {
            let (first, last) = (&clip[0], &clip[clip.len() * 2 / 5]);
            let changed = first.rgb.iter().zip(&last.rgb).filter(|(a, b)| a.abs_diff(**b) > 20).count();
            assert!(changed > first.rgb.len() / 200, "{}: {changed} bytes", failure.name);
        }
        assert!(clips.windows(2).all(|two| two[0][0].rgb != two[1][0].rgb));
    }
}
