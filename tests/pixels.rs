//! Does the graphics card make the network's input of frames, and pictures of maps, as the processor does?
//!
//! Frames are resized in whole numbers, so the network's input is the same bit for bit. Colours go through f32 where the
//! processor takes f64, and a card's arc tangent may be off by 2^-12 of the angle: a grey level at most. Natively and, by
//! `tests/browser/rust.spec.js`, in a browser.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use motion_clip::{Frame, Preprocess};
use motion_net::gpu::{Pixels, Steps};
use motion_net::{Backend, Error, GpuBackend, HostTensor};
use motion_view::{heat, wheel};
use motionlens_tests::random::tensor as random;
use motionlens_tests::{async_test, gpu};

/// What no two neighbours share.
fn rgba(width: usize, height: usize) -> Vec<u8> {
    (0..width * height)
        .flat_map(|i| [(i * 37 % 251) as u8, (i * i % 253) as u8, (i * 101 % 256) as u8, 255])
        .collect()
}

fn rgb(rgba: &[u8]) -> Vec<u8> {
    rgba.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect()
}

fn view(b: &GpuBackend, preprocess: &Preprocess, frame: &Pixels, steps: Steps, size: [usize; 2]) -> Pixels {
    let plan = b.plan_views(&preprocess.passes(size[0], size[1]).unwrap()).unwrap();
    b.view(frame, steps, &plan).unwrap()
}

async fn pixels(b: &GpuBackend, pixels: &Pixels) -> Vec<u8> {
    b.read_pixels(pixels).await.unwrap()
}

#[async_test]
async fn frames_are_resized_bit_for_bit() {
    let Some(b) = gpu().await else { return };
    let published = Preprocess::default();
    let small = Preprocess { resize: [12, 16], input_size: 7, ..Preprocess::default() };
    for (preprocess, sizes) in [
        (&small, vec![(1, 1), (16, 12), (97, 55), (40, 3), (3, 200)]),
        (&published, vec![(320, 240), (1283, 719)]),
    ] {
        for (width, height) in sizes {
            let source = rgba(width, height);
            let expected = preprocess.view(&Frame::new(width, height, rgb(&source), 0.0).unwrap()).unwrap();
            let frame = b.upload_pixels(width, height, &source).unwrap();
            let steps = Steps { start: 0, across: 1, down: frame.stride() as i32 };
            let found = pixels(&b, &view(&b, preprocess, &frame, steps, [width, height])).await;
            assert_eq!(rgb(&found), expected.rgb, "{width} x {height}");
            assert!(found.chunks_exact(4).all(|pixel| pixel[3] == 255));
        }
    }
}

/// A picture that lies on its side is read in other steps: here one turned by a quarter.
#[async_test]
async fn frames_are_turned_upright() {
    let Some(b) = gpu().await else { return };
    let preprocess = Preprocess { resize: [12, 16], input_size: 9, ..Preprocess::default() };
    let (width, height) = (31, 22);
    let source = rgba(width, height);
    // Upright (x, y) is decoded (y, height - 1 - x).
    let at = |x: usize, y: usize| &source[((height - 1 - x) * width + y) * 4..][..3];
    let upright = (0..width).flat_map(|y| (0..height).flat_map(move |x| at(x, y).to_vec())).collect();
    let expected = preprocess.view(&Frame::new(height, width, upright, 0.0).unwrap()).unwrap();
    let frame = b.upload_pixels(width, height, &source).unwrap();
    let stride = frame.stride() as i32;
    let steps = Steps { start: (height as i32 - 1) * stride, across: -stride, down: 1 };
    let found = pixels(&b, &view(&b, &preprocess, &frame, steps, [height, width])).await;
    assert_eq!(rgb(&found), expected.rgb);
}

#[async_test]
async fn the_networks_input_is_the_same_bit_for_bit() {
    let Some(b) = gpu().await else { return };
    let preprocess = Preprocess { resize: [24, 32], input_size: 21, ..Preprocess::default() };
    let sizes = [(64, 48), (33, 90), (64, 48)];
    let frames: Vec<Frame> =
        sizes.iter().map(|&(w, h)| Frame::new(w, h, rgb(&rgba(w, h)), 0.0).unwrap()).collect();
    let expected = preprocess.clip(&frames).unwrap();
    let views: Vec<Pixels> = sizes
        .iter()
        .map(|&(w, h)| {
            let frame = b.upload_pixels(w, h, &rgba(w, h)).unwrap();
            view(&b, &preprocess, &frame, Steps { start: 0, across: 1, down: frame.stride() as i32 }, [w, h])
        })
        .collect();
    let found = b.read(&b.normalise(&views, &preprocess.levels().unwrap()).unwrap()).await.unwrap();
    assert_eq!(found.shape, expected.shape);
    assert_eq!(found.data, expected.data);
}

/// Largest difference of two pictures.
fn difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// `[N, h, w, 4]` side by side, as the card has them: `[h, N w, 4]`.
fn side_by_side(maps: &[Vec<u8>], width: usize) -> Vec<u8> {
    let lines = maps[0].len() / (width * 4);
    (0..lines)
        .flat_map(|y| maps.iter().flat_map(move |map| map[y * width * 4..][..width * 4].to_vec()))
        .collect()
}

#[async_test]
async fn displacement_has_the_wheels_colours() {
    let Some(b) = gpu().await else { return };
    for ([n, h, w], scale) in [([1, 1, 1], 0.5), ([7, 28, 28], 0.6), ([3, 5, 9], 2.0), ([2, 3, 4], 0.0)] {
        let mut maps = random(&[n, h, w, 2], 3);
        // The axes and the middle, where the sign of a zero must not matter; and what is no number.
        let edges =
            [0.3, 0.0, 0.3, -0.0, -0.3, 0.0, -0.3, -0.0, 0.0, 0.3, -0.0, -0.3, 0.0, 0.0, f32::NAN, 0.1];
        for (value, edge) in maps.data.iter_mut().zip(edges) {
            *value = edge;
        }
        let expected: Vec<Vec<u8>> =
            maps.data.chunks_exact(h * w * 2).map(|map| wheel::displacement_rgba(map, scale)).collect();
        let on_card = b.upload(&maps).unwrap();
        let found = pixels(&b, &b.displacement_rgba(&on_card, scale, &wheel::COLOURS).unwrap()).await;
        let largest = difference(&found, &side_by_side(&expected, w));
        assert!(largest <= 1, "{n} x {h} x {w}, scale {scale}: {largest}");
    }
}

#[async_test]
async fn confidence_has_the_same_colours() {
    let Some(b) = gpu().await else { return };
    for [n, h, w] in [[1, 1, 1], [7, 28, 28], [3, 5, 9]] {
        let mut maps = random(&[n, h, w, 1], 4);
        if maps.data.len() > 3 {
            maps.data[2] = f32::INFINITY;
        }
        let each: Vec<&[f32]> = maps.data.chunks_exact(h * w).collect();
        let ranges: Vec<[f32; 2]> = each.iter().map(|map| heat::range(map).unwrap()).collect();
        let expected: Vec<Vec<u8>> = each
            .iter()
            .zip(&ranges)
            .map(|(map, [low, high])| heat::confidence_rgba(map, *low, *high))
            .collect();
        let on_card = b.upload(&maps).unwrap();
        let found = pixels(&b, &b.confidence_rgba(&on_card, &ranges, &heat::colours()).unwrap()).await;
        let largest = difference(&found, &side_by_side(&expected, w));
        assert!(largest <= 1, "{n} x {h} x {w}: {largest}");
    }
}

/// The comparison can fail: one spoilt pixel is seen.
#[async_test]
async fn a_spoilt_pixel_is_noticed() {
    let Some(b) = gpu().await else { return };
    let frame = rgba(5, 3);
    let mut found = pixels(&b, &b.upload_pixels(5, 3, &frame).unwrap()).await;
    assert_eq!(difference(&found, &frame), 0);
    found[17] ^= 4;
    assert!(difference(&found, &frame) > 1);
}

#[async_test]
async fn misfits_are_refused() {
    let Some(b) = gpu().await else { return };
    assert!(matches!(b.upload_pixels(2, 2, &[0; 15]), Err(Error::Shape { .. })));
    assert!(matches!(b.upload_pixels(usize::MAX, 2, &[0; 16]), Err(Error::Shape { .. })));
    assert!(!b.takes_pixels(1 << 20, 1) && b.takes_pixels(1920, 1080));
    let levels = Preprocess::default().levels().unwrap();
    assert!(b.normalise(&[], &levels).is_err());
    let [small, large] = [2, 3].map(|side| b.upload_pixels(side, side, &rgba(side, side)).unwrap());
    assert!(b.normalise(&[small, large], &levels).is_err());
    let maps = b.upload(&HostTensor::new([1, 2, 2, 1], vec![0.0; 4]).unwrap()).unwrap();
    assert!(b.displacement_rgba(&maps, 1.0, &wheel::COLOURS).is_err());
    assert!(b.confidence_rgba(&maps, &[[0.0, 1.0]; 2], &heat::colours()).is_err());
}
