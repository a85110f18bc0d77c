//! Draws a figure of a made-up clip: `cargo run --release -p motion-view --example figure OUT.png`.
//!
//! A disc goes right and a square goes down over a still, textured ground; the maps are what a good network
//! would say, with a little noise.

use std::error::Error;

use motion_clip::Frame;
use motion_view::figure::{Figure, Maps, figure};
use motion_view::{clip_scale, overlay::Enlarge};

const SIDE: usize = 224;
const GRID: usize = 28;
const FRAMES: usize = 8;
const RADIUS: usize = 7;
/// Pixels from frame to frame.
const DISC_SPEED: f32 = 18.0;
const SQUARE_SPEED: f32 = 11.0;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: figure OUT.png")?;
    let frames = (0..FRAMES).map(frame).collect::<Result<Vec<_>, _>>()?;
    let cells = || (0..(FRAMES - 1) * GRID * GRID).map(|i| (i / (GRID * GRID), i / GRID % GRID, i % GRID));
    let cell = (SIDE / GRID) as f32;
    let displacement: Vec<f32> = cells()
        .flat_map(|(t, y, x)| {
            let (dx, dy) = motion(t, (x as f32 + 0.5) * cell, (y as f32 + 0.5) * cell);
            let noise = |seed: usize| (hash(t * 7919 + y * GRID + x + seed) - 0.5) * 0.3;
            [(dx / cell + noise(1)) / RADIUS as f32, (dy / cell + noise(2)) / RADIUS as f32]
        })
        .collect();
    let confidence: Vec<f32> = cells()
        .map(|(t, y, x)| {
            let inside = object(t, (x as f32 + 0.5) * cell, (y as f32 + 0.5) * cell).is_some();
            0.62 + 0.1 * hash(t * 31 + y * GRID + x) + if inside { 0.22 } else { 0.0 }
        })
        .collect();
    let maps = Maps {
        stage: "res3",
        estimator: "kernel-soft-argmax",
        grid: [GRID, GRID],
        displacement: &displacement,
        confidence: &confidence,
        scale: clip_scale(&displacement, RADIUS),
        cell: [48.0, 36.0],
    };
    let picture = figure(&Figure {
        title: "disc_right_square_down.mp4",
        note: "Moving something right, 81 %",
        frames: &frames,
        maps: &[maps],
        tile: SIDE,
        enlarge: Enlarge::Bilinear,
    })?;
    image::save_buffer(
        path,
        &picture.rgba,
        picture.width as u32,
        picture.height as u32,
        image::ColorType::Rgba8,
    )?;
    Ok(())
}

/// Which object covers a place at frame `t`: the disc (0) or the square (1).
fn object(t: usize, x: f32, y: f32) -> Option<usize> {
    let t = t as f32;
    if (x - 40.0 - t * DISC_SPEED).hypot(y - 80.0) < 32.0 {
        Some(0)
    } else if (x - 150.0).abs().max((y - 110.0 - t * SQUARE_SPEED).abs()) < 26.0 {
        Some(1)
    } else {
        None
    }
}

fn motion(t: usize, x: f32, y: f32) -> (f32, f32) {
    match object(t, x, y) {
        Some(0) => (DISC_SPEED, 0.0),
        Some(_) => (0.0, SQUARE_SPEED),
        None => (0.0, 0.0),
    }
}

fn frame(t: usize) -> Result<Frame, motion_clip::Error> {
    let rgb = (0..SIDE * SIDE)
        .flat_map(|i| {
            let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
            let grain = (20.0 * (x / 17.0).sin() * (y / 23.0).cos() + 12.0 * hash(i)) as i32;
            let base = match object(t, x, y) {
                Some(0) => [196, 106, 70],
                Some(_) => [72, 96, 122],
                None => [150, 146, 132],
            };
            base.map(|level: i32| (level + grain).clamp(0, 255) as u8)
        })
        .collect();
    Frame::new(SIDE, SIDE, rgb, t as f64 * 0.37 + 0.18)
}

/// A number in 0 ... 1 that looks random.
fn hash(i: usize) -> f32 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1u64 << 24) as f32
}
