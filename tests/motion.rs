//! Does a moving square point the right way? Facts that anyone can check, without a network.
//!
//! A texture of random features has one best match for each of its cells, so the answer is known: two cells to the
//! right in a window of radius 7 is dx = 2/7. What other cells add to the softmax at temperature 0.01 is below 1e-4.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use motion_net::{Backend, CpuBackend, Estimation, Estimator, HostTensor, Match};
use motionlens_tests::now;
use motionlens_tests::random::Random;

const SIDE: usize = 24;
const CHANNELS: usize = 32;
/// The square's first line and column, and its side.
const SQUARE: (usize, usize, usize) = (9, 8, 6);
const NEAR: f32 = 1e-4;

/// Features of any cell of an endless texture.
fn texture(seed: u64, y: isize, x: isize) -> impl Iterator<Item = f32> {
    let mut numbers =
        Random(seed ^ (y as u64).wrapping_mul(0x1_0001) ^ (x as u64).wrapping_mul(0x10_0000_0001));
    (0..CHANNELS).map(move |_| numbers.below(2001) as f32 / 1000.0 - 1.0)
}

/// A frame: a square moved by (dx, dy) over a background of its own texture, or of nothing.
fn frame(background: bool, dx: isize, dy: isize) -> HostTensor {
    let (top, left, side) = SQUARE;
    let mut data = Vec::with_capacity(SIDE * SIDE * CHANNELS);
    for y in 0..SIDE as isize {
        for x in 0..SIDE as isize {
            let (in_y, in_x) = (y - dy - top as isize, x - dx - left as isize);
            let inside = 0..side as isize;
            if inside.contains(&in_y) && inside.contains(&in_x) {
                data.extend(texture(1, in_y, in_x));
            } else if background {
                data.extend(texture(2, y, x));
            } else {
                data.extend([0.0; CHANNELS]);
            }
        }
    }
    HostTensor::new([1, SIDE, SIDE, CHANNELS], data).unwrap()
}

/// What is read of a match.
struct Found {
    displacement: Vec<f32>,
    confidence: Vec<f32>,
    argmax: Vec<f32>,
}

impl Found {
    fn displacement(&self, y: usize, x: usize) -> [f32; 2] {
        let at = (y * SIDE + x) * 2;
        [self.displacement[at], self.displacement[at + 1]]
    }
}

fn matched(first: &HostTensor, second: &HostTensor, estimation: &Estimation) -> Found {
    let b = CpuBackend::new();
    let feature = |frame: &HostTensor| b.unit_length(&b.upload(frame).unwrap()).unwrap();
    let Match { displacement, confidence, argmax } =
        b.match_frames(&feature(first), &feature(second), estimation).unwrap();
    let read = |tensor| now(b.read(tensor)).unwrap().data;
    Found { displacement: read(&displacement), confidence: read(&confidence), argmax: read(&argmax) }
}

fn estimations() -> [Estimation; 2] {
    let kernel = Estimation::default();
    [Estimation { estimator: Estimator::Soft, ..kernel }, kernel]
}

fn square() -> impl Iterator<Item = (usize, usize)> {
    let (top, left, side) = SQUARE;
    (top..top + side).flat_map(move |y| (left..left + side).map(move |x| (y, x)))
}

fn assert_near(found: [f32; 2], expected: [f32; 2], what: &str) {
    let near = found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= NEAR);
    assert!(near, "{what}: found {found:?}, expected {expected:?}");
}

#[test]
fn a_square_moving_right_has_positive_dx_and_down_positive_dy() {
    for estimation in estimations() {
        for background in [false, true] {
            for (dx, dy) in [(2, 0), (-2, 0), (0, 2), (0, -2), (3, -1), (7, 7), (-7, 5)] {
                let (before, after) = (frame(background, 0, 0), frame(background, dx, dy));
                let found = matched(&before, &after, &estimation);
                let expected = [dx as f32 / 7.0, dy as f32 / 7.0];
                for (y, x) in square() {
                    let what = format!("{estimation:?} background {background} moved {dx}, {dy} at {y}, {x}");
                    assert_near(found.displacement(y, x), expected, &what);
                    let at = y * SIDE + x;
                    assert!((found.confidence[at] - 1.0).abs() < 1e-5, "{what}: {}", found.confidence[at]);
                    assert_eq!(found.argmax[at], ((dy + 7) * 15 + dx + 7) as f32, "{what}");
                }
                // Looking back, from where the square is now.
                let back = matched(&after, &before, &estimation);
                for (y, x) in square() {
                    let (y, x) = (y.strict_add_signed(dy), x.strict_add_signed(dx));
                    assert_near(back.displacement(y, x), expected.map(|d| -d), "backward");
                }
            }
        }
    }
}

#[test]
fn a_still_picture_does_not_move() {
    for estimation in estimations() {
        let still = frame(true, 0, 0);
        let found = matched(&still, &still, &estimation);
        for y in 0..SIDE {
            for x in 0..SIDE {
                assert_near(found.displacement(y, x), [0.0, 0.0], "still");
            }
        }
        assert!(found.argmax.iter().all(|best| *best == 112.0), "the window's centre is cell 7 * 15 + 7");
    }
}

#[test]
fn beyond_the_window_nothing_is_sure() {
    let found = matched(&frame(false, 0, 0), &frame(false, 8, 0), &Estimation::default());
    for (y, x) in square() {
        // The same cell has left the window; another one is less alike.
        assert!(found.confidence[y * SIDE + x] < 0.95);
    }
}

#[test]
fn cells_without_features_do_not_move() {
    let found = matched(&frame(false, 0, 0), &frame(false, 2, 0), &Estimation::default());
    // A uniform softmax: its mean is the centre but for rounding. The lowest index is the best of all ties.
    assert_near(found.displacement(0, 0), [0.0, 0.0], "nothing there");
    assert_eq!((found.confidence[0], found.argmax[0]), (0.0, 0.0));
}

/// The comparison can fail: the opposite direction is another answer.
#[test]
#[should_panic(expected = "expected")]
fn a_wrong_direction_is_noticed() {
    let found = matched(&frame(true, 0, 0), &frame(true, 2, 0), &Estimation::default());
    let (y, x, _) = SQUARE;
    assert_near(found.displacement(y, x), [-2.0 / 7.0, 0.0], "right taken for left");
}
