//! Confidence to colour. In: a confidence map. Out: RGBA, dark for low and bright for high.
//!
//! The colours are matplotlib's "magma" (van der Walt and Smith, 2015; public domain): even in lightness, so
//! it reads in grey too, and without the green and blue that would look like a direction on the wheel.

/// The smallest and the largest finite value; `None` when there is none.
pub fn range(map: &[f32]) -> Option<[f32; 2]> {
    map.iter().copied().filter(|value| value.is_finite()).fold(None, |range, value| {
        let [low, high] = range.unwrap_or([value; 2]);
        Some([value.min(low), value.max(high)])
    })
}

/// The colour at `part` of the way from the lowest value (0) to the highest (1).
pub fn colour(part: f32) -> [u8; 3] {
    colorous::MAGMA.eval_continuous(f64::from(part.clamp(0.0, 1.0))).as_array()
}

/// So many colours, evenly spaced from the lowest value to the highest, that the rest lies between two of them: for who
/// draws elsewhere.
pub fn colours() -> [[u8; 3]; 256] {
    std::array::from_fn(|i| colour(i as f32 / 255.0))
}

/// A picture of a confidence map between `min` and `max`, which are those of the map itself ([`range`]) when
/// it is drawn as in the paper's Fig. 6.
///
/// # Shapes
/// - `map`: `[h, w]`
/// - result: `[h, w, 4]`, RGBA; values outside the range take the colour of its nearest end, a flat map
///   (`min` not below `max`) the colour of the middle, and what is no finite number is transparent
pub fn confidence_rgba(map: &[f32], min: f32, max: f32) -> Vec<u8> {
    let parts = map.iter().map(|&value| {
        if !value.is_finite() {
            return None;
        }
        // In f64, because the range of f32 does not fit f32.
        let [value, min, max] = [value, min, max].map(f64::from);
        Some(if min < max { ((value - min) / (max - min)) as f32 } else { 0.5 })
    });
    parts
        .flat_map(|part| {
            part.map_or([0; 4], |part| {
                let [r, g, b] = colour(part);
                [r, g, b, 255]
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lightness as the eye weighs the channels.
    fn luma([r, g, b]: [u8; 3]) -> f32 {
        0.2126 * f32::from(r) + 0.7152 * f32::from(g) + 0.0722 * f32::from(b)
    }

    #[test]
    fn brighter_is_more_confident() {
        let lumas: Vec<f32> = (0..=20).map(|i| luma(colour(i as f32 / 20.0))).collect();
        assert!(lumas.windows(2).all(|pair| pair[0] < pair[1]), "{lumas:?}");
    }

    #[test]
    fn the_ends_of_the_range_are_the_ends_of_the_colours() {
        let rgba = confidence_rgba(&[0.2, 0.9, -5.0, 5.0], 0.2, 0.9);
        let [low, high] = [colour(0.0), colour(1.0)];
        for (pixel, expected) in rgba.chunks(4).zip([low, high, low, high]) {
            assert_eq!(pixel, [expected[0], expected[1], expected[2], 255]);
        }
    }

    #[test]
    fn flat_maps_and_bad_numbers() {
        let [r, g, b] = colour(0.5);
        assert_eq!(confidence_rgba(&[0.3, 0.3], 0.3, 0.3), [r, g, b, 255, r, g, b, 255]);
        assert_eq!(confidence_rgba(&[f32::NAN, f32::INFINITY], 0.0, 1.0), [0; 8]);
        assert_eq!(range(&[f32::NAN, 0.25, f32::INFINITY, -1.0]), Some([-1.0, 0.25]));
        assert_eq!(range(&[f32::NAN]), None);
        assert_eq!(confidence_rgba(&[f32::MAX], f32::MIN, f32::MAX)[3], 255);
    }
}
