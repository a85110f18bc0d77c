//! Maps over the frames they belong to. In: a map at its own grid, a frame. Out: a [`Picture`].

use motion_clip::Frame;

use crate::{Error, Picture, Result};

/// How a map is brought to a larger size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Enlarge {
    /// Every cell stays a flat rectangle: what the network computed, no more.
    Nearest,
    /// Values between the centres of four cells are mixed: easier on the eye.
    #[default]
    Bilinear,
}

/// A map at another size. Enlarge values and colour them afterwards, not the other way round: half way
/// between left and right lies still, not grey.
///
/// # Shapes
/// - `map`: `[h, w, channels]` with `from` = `[h, w]`
/// - result: `[H, W, channels]` with `to` = `[H, W]`; both cover the same area, so corners of the outermost
///   cells, not their centres, fall together
///
/// # Errors
/// [`Error::Length`] when the map does not have `h * w * channels` values, [`Error::Size`] for a side of 0 or
/// too many pixels.
pub fn enlarge(
    map: &[f32],
    channels: usize,
    from: [usize; 2],
    to: [usize; 2],
    how: Enlarge,
) -> Result<Vec<f32>> {
    for [height, width] in [from, to] {
        if !width.checked_mul(height).is_some_and(|n| (1..=crate::picture::MAX_PIXELS).contains(&n)) {
            return Err(Error::Size { width, height });
        }
    }
    let expected = (from[0] * from[1]).saturating_mul(channels);
    if map.len() != expected {
        return Err(Error::Length { what: "map", found: map.len(), expected });
    }
    let [rows, columns]: [Vec<Between>; 2] =
        std::array::from_fn(|axis| (0..to[axis]).map(|i| between(i, from[axis], to[axis], how)).collect());
    let value = |y: usize, x: usize, c: usize| map[(y * from[1] + x) * channels + c];
    let mut result = Vec::with_capacity(to[0] * to[1] * channels);
    for row in &rows {
        for column in &columns {
            for c in 0..channels {
                let upper =
                    mix(value(row.first, column.first, c), value(row.first, column.second, c), column.part);
                let lower =
                    mix(value(row.second, column.first, c), value(row.second, column.second, c), column.part);
                result.push(mix(upper, lower, row.part));
            }
        }
    }
    Ok(result)
}

/// Two positions of a map and how far the wanted one lies from the first to the second.
struct Between {
    first: usize,
    second: usize,
    part: f32,
}

/// Where position `i` of `to` lies among the positions of `from`.
fn between(i: usize, from: usize, to: usize, how: Enlarge) -> Between {
    let place = (i as f64 + 0.5) * from as f64 / to as f64;
    match how {
        Enlarge::Nearest => {
            let cell = (place as usize).min(from - 1);
            Between { first: cell, second: cell, part: 0.0 }
        }
        Enlarge::Bilinear => {
            let place = (place - 0.5).clamp(0.0, (from - 1) as f64);
            let first = place as usize;
            Between { first, second: (first + 1).min(from - 1), part: (place - first as f64) as f32 }
        }
    }
}

/// `part` 0 is `a` whatever `b` is, so that a NaN does not spread beyond the cells it touches.
fn mix(a: f32, b: f32, part: f32) -> f32 {
    if part == 0.0 { a } else { a + (b - a) * part }
}

/// Lowers the alpha of each pixel by a weight, such as the confidence between its least and largest value, or
/// the length over the scale, so that what is still or unsure lets the frame through.
///
/// # Shapes
/// - `rgba`: `[H, W, 4]`
/// - `weights`: `[H, W]`, 0 (clear) ... 1 (unchanged); NaN is clear
pub fn mask(rgba: &mut [u8], weights: &[f32]) {
    let (pixels, _) = rgba.as_chunks_mut::<4>();
    for (pixel, weight) in pixels.iter_mut().zip(weights) {
        // A NaN becomes 0.
        pixel[3] = (f32::from(pixel[3]) * weight.clamp(0.0, 1.0)).round() as u8;
    }
}

/// The length of each displacement over the scale, a weight for [`mask`].
///
/// # Shapes
/// - `map`: `[h, w, 2]`; result: `[h, w]`
pub fn lengths(map: &[f32], scale: f32) -> Vec<f32> {
    let (displacements, _) = map.as_chunks::<2>();
    displacements.iter().map(|[dx, dy]| dx.hypot(*dy) / scale).collect()
}

/// A coloured map laid over the frame it belongs to.
///
/// # Shapes
/// - `map_rgba`: `[H, W, 4]` at the frame's size (see [`enlarge`])
/// - `opacity`: 0 (the frame alone) ... 1 (the map alone where it is opaque)
///
/// # Errors
/// [`Error::Length`] when the map is not of the frame's size, and those of [`Picture::from_frame`].
pub fn overlay(frame: &Frame, map_rgba: &[u8], opacity: f32) -> Result<Picture> {
    let mut picture = Picture::from_frame(frame)?;
    let map = Picture::from_rgba(frame.width, frame.height, map_rgba.to_vec())?;
    picture.draw(&map, 0, 0, opacity);
    Ok(picture)
}

/// Arrows from the middle of every `every`-th cell to where its content goes, to scale, dark with a light rim.
///
/// # Shapes
/// - `map`: `[h, w, 2]` with `grid` = `[h, w]`, in units of the radius; the map covers the whole picture
/// - `radius_cells`: `(P - 1) / 2`
///
/// Displacements of less than half a cell, and those that are no finite number, get no arrow.
///
/// # Errors
/// [`Error::Length`] when the map does not have `2 * h * w` values.
pub fn arrows(
    picture: &mut Picture,
    map: &[f32],
    grid: [usize; 2],
    radius_cells: usize,
    every: usize,
) -> Result<()> {
    let [rows, columns] = grid;
    let expected = rows.saturating_mul(columns).saturating_mul(2);
    if map.len() != expected {
        return Err(Error::Length { what: "displacement map", found: map.len(), expected });
    }
    let every = every.max(1);
    let cell = [picture.width as f32 / columns as f32, picture.height as f32 / rows as f32];
    let thickness = (cell[0].min(cell[1]) * every as f32 / 14.0).max(1.2);
    let places = (every / 2..rows)
        .step_by(every)
        .flat_map(|y| (every / 2..columns).step_by(every).map(move |x| (y, x)));
    for (y, x) in places {
        let at = (y * columns + x) * 2;
        let displacement = [map[at] * radius_cells as f32, map[at + 1] * radius_cells as f32];
        let length_cells = displacement[0].hypot(displacement[1]);
        if !length_cells.is_finite() || length_cells < 0.5 {
            continue;
        }
        let tail = [(x as f32 + 0.5) * cell[0], (y as f32 + 0.5) * cell[1]];
        let tip = [tail[0] + displacement[0] * cell[0], tail[1] + displacement[1] * cell[1]];
        arrow(picture, tail, tip, thickness);
    }
    Ok(())
}

/// One arrow: a shaft and two barbs, first wide and light, then narrow and dark.
fn arrow(picture: &mut Picture, tail: [f32; 2], tip: [f32; 2], thickness: f32) {
    let shaft = [tip[0] - tail[0], tip[1] - tail[1]];
    let length = shaft[0].hypot(shaft[1]);
    if length <= 0.0 {
        return;
    }
    let barb = (4.0 * thickness).min(0.5 * length);
    let barbs = [0.45f32, -0.45].map(|angle: f32| {
        let (sin, cos) = angle.sin_cos();
        let back = [-shaft[0] / length * barb, -shaft[1] / length * barb];
        [tip[0] + back[0] * cos - back[1] * sin, tip[1] + back[0] * sin + back[1] * cos]
    });
    for (extra, colour, alpha) in [(1.6, [255; 3], 0.75), (0.0, [20; 3], 1.0)] {
        picture.line(tail, tip, thickness + extra, colour, alpha);
        for end in barbs {
            picture.line(tip, end, thickness + extra, colour, alpha);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_repeats_cells() {
        let large = enlarge(&[1.0, 2.0], 1, [1, 2], [2, 4], Enlarge::Nearest).unwrap();
        assert_eq!(large, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn bilinear_mixes_between_centres() {
        let large = enlarge(&[0.0, 4.0], 1, [1, 2], [1, 4], Enlarge::Bilinear).unwrap();
        assert_eq!(large, [0.0, 1.0, 3.0, 4.0]);
        let two = enlarge(&[0.0, 8.0, 4.0, 8.0], 2, [1, 2], [1, 4], Enlarge::Bilinear).unwrap();
        assert_eq!(two, [0.0, 8.0, 1.0, 8.0, 3.0, 8.0, 4.0, 8.0]);
    }

    #[test]
    fn the_same_size_is_the_same_map() {
        let map: Vec<f32> = (0..24).map(|i| i as f32).collect();
        for how in [Enlarge::Nearest, Enlarge::Bilinear] {
            assert_eq!(enlarge(&map, 2, [3, 4], [3, 4], how).unwrap(), map);
        }
    }

    #[test]
    fn sizes_must_fit() {
        assert!(enlarge(&[0.0; 3], 1, [2, 2], [4, 4], Enlarge::Nearest).is_err());
        assert!(enlarge(&[], 1, [0, 2], [4, 4], Enlarge::Nearest).is_err());
        assert!(enlarge(&[0.0], 1, [1, 1], [4, 0], Enlarge::Bilinear).is_err());
        assert!(enlarge(&[0.0], 1, [1, 1], [usize::MAX, 9], Enlarge::Bilinear).is_err());
        let mut picture = Picture::new(4, 4, [0; 3]).unwrap();
        assert!(arrows(&mut picture, &[0.0; 4], [2, 2], 7, 1).is_err());
        assert!(arrows(&mut picture, &[], [0, 2], 7, 1).is_ok());
    }

    #[test]
    fn opacity_mixes_map_and_frame() {
        let frame = Frame::new(1, 1, vec![100, 100, 100], 0.0).unwrap();
        assert_eq!(overlay(&frame, &[200, 0, 100, 255], 0.5).unwrap().rgba, [150, 50, 100, 255]);
        assert_eq!(overlay(&frame, &[200, 0, 100, 255], 0.0).unwrap().rgba, [100, 100, 100, 255]);
        assert!(overlay(&frame, &[200, 0, 100], 0.5).is_err());
    }

    #[test]
    fn what_is_still_lets_the_frame_through() {
        let mut rgba = [9, 9, 9, 255].repeat(3);
        mask(&mut rgba, &lengths(&[0.0, 0.0, 0.3, 0.4, f32::NAN, 0.0], 1.0));
        assert_eq!([rgba[3], rgba[7], rgba[11]], [0, 128, 0]);
    }

    #[test]
    fn an_arrow_points_where_the_content_goes() {
        let mut picture = Picture::new(70, 70, [255; 3]).unwrap();
        // One cell in the middle of 7 x 7 moves two cells right.
        let mut map = vec![0.0; 7 * 7 * 2];
        map[(3 * 7 + 3) * 2] = 2.0 / 3.0;
        arrows(&mut picture, &map, [7, 7], 3, 1).unwrap();
        let dark = |x: usize, y: usize| picture.rgba[(y * 70 + x) * 4] < 128;
        assert!(dark(36, 34) && dark(54, 34), "from the middle of the cell to two cells right of it");
        assert!(!dark(33, 34) && !dark(58, 34) && !dark(45, 44), "and nowhere else");
    }
}
