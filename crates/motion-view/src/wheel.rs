//! The Middlebury colour wheel: direction is hue, length is saturation. In: displacements. Out: RGBA.
//!
//! Right is red, down yellow, left cyan, up violet, still white. Source: Baker et al., "A Database and
//! Evaluation Methodology for Optical Flow", IJCV 2011 (`colorcode.cpp`); the paper's Fig. 6 uses it.

use std::f64::consts::PI;

/// Colours on the rim of the wheel.
const RIM: usize = 55;

/// The steps of each sixth, as many as the eye tells apart there:
/// red-yellow, yellow-green, green-cyan, cyan-blue, blue-magenta, magenta-red.
const STEPS: [usize; 6] = [15, 6, 4, 11, 13, 6];

/// Lengths up to this much above the scale still count as the scale: the scale is often the longest
/// displacement itself, rounded to f32.
const ROUNDING: f64 = 1e-6;

/// The rim, from red (right) over yellow (down), cyan (left) and violet (up) back towards red.
pub const COLOURS: [[u8; 3]; RIM] = colours();

const fn colours() -> [[u8; 3]; RIM] {
    // In each sixth one channel rises or falls while the other two stay full and empty.
    const SIXTHS: [([u8; 3], usize, bool); 6] = [
        ([255, 0, 0], 1, true),
        ([0, 255, 0], 0, false),
        ([0, 255, 0], 2, true),
        ([0, 0, 255], 1, false),
        ([0, 0, 255], 0, true),
        ([255, 0, 0], 2, false),
    ];
    let mut rim = [[0; 3]; RIM];
    let (mut sixth, mut at) = (0, 0);
    while sixth < 6 {
        let (full, channel, rises) = SIXTHS[sixth];
        let mut step = 0;
        while step < STEPS[sixth] {
            let level = (255 * step / STEPS[sixth]) as u8;
            rim[at] = full;
            rim[at][channel] = if rises { level } else { 255 - level };
            (step, at) = (step + 1, at + 1);
        }
        sixth += 1;
    }
    rim
}

/// The colour of one displacement whose length is in units of the scale; +x right, +y down.
///
/// Length 0 is white and length 1 the full colour; beyond 1 the full colour is darkened to three quarters.
/// `None` when a coordinate is no finite number.
pub fn colour(dx: f64, dy: f64) -> Option<[u8; 3]> {
    // -0.0 would put a displacement to the right at the other end of the rim than +0.0 does.
    let (dx, dy) = (dx + 0.0, dy + 0.0);
    let length = dx.hypot(dy);
    if !length.is_finite() {
        return None;
    }
    let place = ((-dy).atan2(-dx) / PI + 1.0) / 2.0 * (RIM - 1) as f64;
    let first = (place as usize).min(RIM - 1);
    let part = place - first as f64;
    let (from, to) = (COLOURS[first], COLOURS[(first + 1) % RIM]);
    Some(std::array::from_fn(|channel| {
        let full = ((1.0 - part) * f64::from(from[channel]) + part * f64::from(to[channel])) / 255.0;
        let level = if length <= 1.0 + ROUNDING { 1.0 - length.min(1.0) * (1.0 - full) } else { 0.75 * full };
        (255.0 * level) as u8
    }))
}

/// A picture of a displacement map.
///
/// # Shapes
/// - `map`: `[h, w, 2]`, (dx, dy), +x right, +y down, any unit
/// - `scale`: the length drawn in full colour, in the unit of `map`; one for a whole clip
///   ([`crate::clip_scale`]). When it is not above 0, everything counts as still.
/// - result: `[h, w, 4]`, RGBA; transparent where a coordinate is no finite number
pub fn displacement_rgba(map: &[f32], scale: f32) -> Vec<u8> {
    let scale = if scale > 0.0 { f64::from(scale) } else { f64::INFINITY };
    let (displacements, _) = map.as_chunks::<2>();
    displacements
        .iter()
        .flat_map(|&[dx, dy]| {
            let [dx, dy] = [dx, dy].map(f64::from);
            let still = dx.is_finite() && dy.is_finite() && scale.is_infinite();
            let colour = if still { Some([255; 3]) } else { colour(dx / scale, dy / scale) };
            colour.map_or([0; 4], |[r, g, b]| [r, g, b, 255])
        })
        .collect()
}

/// The wheel itself, as a legend: `[size, size, 4]`, RGBA, a disc with a smooth rim, transparent around it.
///
/// A displacement from the middle to a place on the disc has the colour of that place; the rim is the scale.
pub fn wheel_picture(size: usize) -> Vec<u8> {
    let radius = size as f64 / 2.0;
    (0..size * size)
        .flat_map(|i| {
            let (dx, dy) = ((i % size) as f64 + 0.5 - radius, (i / size) as f64 + 0.5 - radius);
            let length = dx.hypot(dy);
            // Pixels on the rim take the colour just inside it and are covered in part.
            let inside = (radius / length.max(f64::MIN_POSITIVE)).min(1.0) / radius;
            let [r, g, b] = colour(dx * inside, dy * inside).unwrap_or([255; 3]);
            let covered = (radius - length).clamp(0.0, 1.0);
            [r, g, b, (covered * 255.0).round() as u8]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest named colour.
    fn name(rgb: [u8; 3]) -> &'static str {
        const NAMES: [(&str, [i32; 3]); 5] = [
            ("red", [255, 0, 0]),
            ("yellow", [255, 255, 0]),
            ("cyan", [0, 255, 255]),
            ("violet", [127, 0, 255]),
            ("white", [255, 255, 255]),
        ];
        let distance = |to: [i32; 3]| (0..3).map(|c| (i32::from(rgb[c]) - to[c]).pow(2)).sum::<i32>();
        NAMES.into_iter().min_by_key(|(_, to)| distance(*to)).unwrap().0
    }

    #[test]
    fn directions_have_their_colours() {
        for (dx, dy, expected) in [
            (1.0, 0.0, "red"),
            (1.0, -0.0, "red"),
            (0.0, 1.0, "yellow"),
            (-1.0, 0.0, "cyan"),
            (-1.0, -0.0, "cyan"),
            (0.0, -1.0, "violet"),
            (0.0, 0.0, "white"),
            (-0.0, -0.0, "white"),
        ] {
            assert_eq!(name(colour(dx, dy).unwrap()), expected, "({dx}, {dy})");
        }
        assert_eq!(colour(1.0, -0.0), Some([255, 0, 0]));
        assert_eq!(colour(0.0, 0.0), Some([255, 255, 255]));
    }

    #[test]
    fn longer_is_more_saturated_and_too_long_is_darker() {
        let green = |length| colour(length, 0.0).unwrap()[1];
        assert!(green(0.0) > green(0.2) && green(0.2) > green(0.7) && green(0.7) > green(1.0));
        assert_eq!(colour(1.0 + 1e-7, 0.0), Some([255, 0, 0]));
        assert_eq!(colour(1.1, 0.0), Some([191, 0, 0]));
    }

    #[test]
    fn the_scale_divides() {
        assert_eq!(displacement_rgba(&[2.0, 0.0], 2.0), [255, 0, 0, 255]);
        assert_eq!(displacement_rgba(&[2.0, 0.0], 4.0), displacement_rgba(&[0.5, 0.0], 1.0));
    }

    #[test]
    fn bad_numbers_are_transparent_and_a_bad_scale_is_still() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(displacement_rgba(&[bad, 0.0, 1.0, 0.0], 1.0), [0, 0, 0, 0, 255, 0, 0, 255]);
            assert_eq!(displacement_rgba(&[bad, 0.0], 0.0), [0; 4]);
        }
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(displacement_rgba(&[0.7, 0.1], scale), [255; 4]);
        }
    }

    #[test]
    fn the_legend_is_a_disc() {
        let size = 41;
        let wheel = wheel_picture(size);
        let at = |x: usize, y: usize| &wheel[(y * size + x) * 4..][..4];
        assert_eq!(wheel.len(), size * size * 4);
        assert_eq!(at(0, 0)[3], 0);
        assert_eq!(at(20, 20), [255, 255, 255, 255]);
        for (x, y, expected) in [(38, 20, "red"), (20, 38, "yellow"), (2, 20, "cyan"), (20, 2, "violet")] {
            assert_eq!(name([at(x, y)[0], at(x, y)[1], at(x, y)[2]]), expected);
        }
        assert!(wheel.chunks(4).any(|p| p[3] > 0 && p[3] < 255), "a smooth rim");
        assert!(wheel_picture(0).is_empty());
        assert_eq!(wheel_picture(1).len(), 4);
    }
}
