//! One scale for a whole clip. In: all displacement maps of a clip. Out: the length drawn in full colour.

/// Share of all displacements of a clip that are no longer than its scale. Not the maximum: where a picture
/// is flat, the best match is arbitrary and a few displacements are as long as the window allows.
const SHARE: f64 = 0.99;

/// The least scale in cells: below one cell a displacement is mostly noise, and a still clip must stay pale.
const LEAST_CELLS: f32 = 1.0;

/// Scales are rounded up to halves of a cell, so that a legend can state them exactly.
const STEP_CELLS: f32 = 0.5;

/// The length that is drawn in full colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// In cells of the map, whole or half ones.
    pub cells: f32,
    /// The search radius in cells, the unit of the maps.
    pub radius_cells: usize,
}

impl Scale {
    /// In the unit of the maps, the radius; what [`crate::wheel::displacement_rgba`] takes.
    pub fn in_map_units(&self) -> f32 {
        self.cells / self.radius_cells.max(1) as f32
    }

    /// In pixels, across and down, of a picture in which a cell is `cell` (width, height) pixels.
    pub fn pixels(&self, cell: [f32; 2]) -> [f32; 2] {
        cell.map(|side| side * self.cells)
    }
}

/// The scale of a clip: the length that 99 of 100 of its displacements do not exceed, rounded up to half a
/// cell, at least one cell.
///
/// # Shapes
/// - `displacement`: (dx, dy) pairs of all maps of the clip, `[pairs, h, w, 2]`, in units of the radius;
///   numbers that are not finite are left out
/// - `radius_cells`: `(P - 1) / 2`
pub fn clip_scale(displacement: &[f32], radius_cells: usize) -> Scale {
    let (displacements, _) = displacement.as_chunks::<2>();
    let mut lengths: Vec<f32> =
        displacements.iter().map(|[dx, dy]| dx.hypot(*dy)).filter(|length| length.is_finite()).collect();
    let radius_cells = radius_cells.max(1);
    let rank = ((lengths.len() as f64 * SHARE).ceil() as usize).saturating_sub(1);
    let length = match lengths.is_empty() {
        true => 0.0,
        false => *lengths.select_nth_unstable_by(rank, f32::total_cmp).1 * radius_cells as f32,
    };
    // A hundredth of a step: 3.0000002 cells are 3, not 3.5.
    let steps = (length / STEP_CELLS - 0.01).ceil();
    Scale { cells: (steps * STEP_CELLS).clamp(LEAST_CELLS, f32::MAX), radius_cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` displacements of which the last one has the given length in cells.
    fn map(count: usize, cells: f32, last: f32) -> Vec<f32> {
        (0..count).flat_map(|i| [if i + 1 == count { last } else { cells } / 7.0, 0.0]).collect()
    }

    #[test]
    fn a_clip_is_as_fast_as_most_of_it() {
        assert_eq!(clip_scale(&map(1000, 3.0, 3.0), 7).cells, 3.0);
        assert_eq!(clip_scale(&map(1000, 3.1, 3.1), 7).cells, 3.5);
        assert_eq!(clip_scale(&map(1000, 3.0, 9.0), 7).cells, 3.0, "one stray match in a thousand");
        assert_eq!(clip_scale(&map(2, 3.0, 5.0), 7).cells, 5.0);
    }

    #[test]
    fn a_still_clip_keeps_the_least_scale() {
        for displacement in [map(784, 0.02, 0.4), map(784, 0.0, 0.0), vec![], vec![f32::NAN; 8]] {
            assert_eq!(clip_scale(&displacement, 7).cells, LEAST_CELLS);
        }
    }

    #[test]
    fn bad_numbers_do_not_count() {
        let mut displacement = map(100, 2.0, 2.0);
        displacement[..8].fill(f32::NAN);
        displacement[9] = f32::INFINITY;
        assert_eq!(clip_scale(&displacement, 7).cells, 2.0);
    }

    #[test]
    fn units_convert() {
        let scale = clip_scale(&map(9, 3.5, 3.5), 7);
        assert_eq!(scale.in_map_units(), 0.5);
        assert_eq!(scale.pixels([48.0, 36.0]), [168.0, 126.0]);
        assert_eq!(clip_scale(&[], 0).in_map_units(), 1.0);
    }
}
