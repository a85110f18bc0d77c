//! Maps as files. In: what the network read out, pair by pair. Out: displacement in pixels of the source frame, at the
//! map's own grid or for every pixel of the frame, in other programs' formats.

pub mod csv;
pub mod flo;
pub mod npz;

mod error;

pub use error::{Error, Result};

use std::io::Write;

use motion_clip::Geometry;
use motion_net::StageMaps;
use rawzip::ZipArchiveWriter;

/// Everything that was found in a clip.
#[derive(Debug)]
pub struct Found {
    /// Width and height of the source frame.
    pub size: [usize; 2],
    /// How source, input and grid lie over each other.
    pub geometry: Geometry,
    /// Numbers of the frames in the source.
    pub frames: Vec<usize>,
    /// When they are shown, in seconds. Pair p goes from frame p to frame p + 1.
    pub times: Vec<f64>,
    /// One entry per stage.
    pub stages: Vec<Stage>,
}

/// The maps of one stage.
#[derive(Debug)]
pub struct Stage {
    /// Displacement, confidence and argmax of every pair.
    pub maps: StageMaps,
    /// No module is trained for this stage: its own features were compared.
    pub probe: bool,
}

/// For which places values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolution {
    /// The map's own grid.
    #[default]
    Grid,
    /// Every pixel of the source frame; unknown where the network's centre crop does not reach.
    Frame,
}

/// The values of one pair, row by row.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// (dx, dy) of each place in pixels of the source frame; NaN where unknown.
    pub displacement: Vec<[f32; 2]>,
    /// Largest correlation of each place; NaN where unknown.
    pub confidence: Vec<f32>,
}

impl Found {
    /// Width and height of what is written for a stage.
    pub fn shape(&self, stage: &Stage, resolution: Resolution) -> [usize; 2] {
        match resolution {
            Resolution::Grid => [stage.maps.grid[1], stage.maps.grid[0]],
            Resolution::Frame => self.size,
        }
    }

    /// Width and height of a place in pixels of the source frame.
    pub fn cell(&self, stage: &Stage, resolution: Resolution) -> [f32; 2] {
        match resolution {
            Resolution::Grid => self.geometry.cell(stage.maps.grid[1], stage.maps.grid[0]),
            Resolution::Frame => [1.0, 1.0],
        }
    }

    /// The values of one pair.
    pub fn field(&self, stage: &Stage, pair: usize, resolution: Resolution) -> Field {
        let [cell_w, cell_h] = self.cell(stage, Resolution::Grid);
        let cells = stage.maps.cells(pair);
        let displacement = cells.as_chunks().0.iter().map(|&[dx, dy]| [dx * cell_w, dy * cell_h]).collect();
        let field = Field { displacement, confidence: stage.maps.confidences(pair).to_vec() };
        match resolution {
            Resolution::Grid => field,
            Resolution::Frame => self.enlarge(stage, &field),
        }
    }

    /// Bilinear between the centres of cells, level beyond the outermost ones, unknown outside the crop.
    fn enlarge(&self, stage: &Stage, field: &Field) -> Field {
        let ([rows, columns], [width, height]) = (stage.maps.grid, self.size);
        // Source and grid are parallel: where a column of pixels falls does not depend on the row.
        let place = |x: usize, y: usize| {
            self.geometry.grid_from_source([x as f32 + 0.5, y as f32 + 0.5], [columns, rows])
        };
        let across: Vec<_> = (0..width).map(|x| between(place(x, 0)[0], columns)).collect();
        let mut out = Field { displacement: Vec::new(), confidence: Vec::new() };
        out.displacement.reserve_exact(width * height);
        out.confidence.reserve_exact(width * height);
        for down in (0..height).map(|y| between(place(0, y)[1], rows)) {
            for &across in &across {
                let (Some((left, right, u)), Some((top, bottom, v))) = (across, down) else {
                    out.displacement.push([f32::NAN; 2]);
                    out.confidence.push(f32::NAN);
                    continue;
                };
                let corners = [
                    top * columns + left,
                    top * columns + right,
                    bottom * columns + left,
                    bottom * columns + right,
                ];
                let mix = |[a, b, c, d]: [f32; 4]| {
                    (1.0 - v) * ((1.0 - u) * a + u * b) + v * ((1.0 - u) * c + u * d)
                };
                out.displacement
                    .push([0, 1].map(|axis| mix(corners.map(|cell| field.displacement[cell][axis]))));
                out.confidence.push(mix(corners.map(|cell| field.confidence[cell])));
            }
        }
        out
    }
}

/// Puts one file into an archive, as it is and without a date: the same maps give the same bytes.
fn file<W: Write>(
    archive: &mut ZipArchiveWriter<W>,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let (mut entry, config) = archive.new_file(name).start()?;
    let mut writer = config.wrap(&mut entry);
    write(&mut writer)?;
    let (_, written) = writer.finish()?;
    entry.finish(written)?;
    Ok(())
}

/// The two cells whose centres a place lies between, and how far it is towards the second; None outside the map.
fn between(place: f32, cells: usize) -> Option<(usize, usize, f32)> {
    if !(0.0..=cells as f32).contains(&place) {
        return None;
    }
    let from_first = (place - 0.5).clamp(0.0, (cells - 1) as f32);
    let low = from_first as usize;
    Some((low, (low + 1).min(cells - 1), from_first - low as f32))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use motion_clip::Preprocess;

    /// Two pairs of 2 x 2 maps over a 16 x 8 source, whose middle 8 x 8 the network sees as 4 x 4.
    pub(crate) fn found() -> Found {
        let preprocess = Preprocess { resize: [4, 8], input_size: 4, ..Preprocess::default() };
        let maps = StageMaps {
            stage: "res3".into(),
            pairs: 2,
            grid: [2, 2],
            radius: 7,
            displacement: vec![
                1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5,
            ],
            confidence: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
            argmax: vec![119.0, 105.0, 217.0, 7.0, 112.0, 112.0, 112.0, 112.0],
        };
        Found {
            size: [16, 8],
            geometry: preprocess.geometry(16, 8),
            frames: vec![0, 4, 9],
            times: vec![0.0, 0.4, 0.9],
            stages: vec![Stage { maps, probe: false }],
        }
    }

    #[test]
    fn displacement_is_in_source_pixels() {
        let found = found();
        let stage = &found.stages[0];
        // A cell is 2 input pixels, which are 4 source pixels; a displacement of 1 is 7 cells.
        assert_eq!(found.cell(stage, Resolution::Grid), [4.0, 4.0]);
        let field = found.field(stage, 0, Resolution::Grid);
        assert_eq!(field.displacement, [[28.0, 0.0], [-28.0, 0.0], [0.0, 28.0], [0.0, -28.0]]);
        assert_eq!(field.confidence, [0.1, 0.2, 0.3, 0.4]);
    }

    #[test]
    fn full_size_is_bilinear_inside_the_crop_and_unknown_outside() {
        let found = found();
        let stage = &found.stages[0];
        let field = found.field(stage, 0, Resolution::Frame);
        assert_eq!(field.displacement.len(), 16 * 8);
        let at = |x: usize, y: usize| field.displacement[y * 16 + x];
        // The crop is columns 4 ..= 11 of the source; cell centres stand at x = 6 and 10, y = 2 and 6.
        assert!(at(3, 0)[0].is_nan() && at(12, 0)[0].is_nan());
        assert_eq!(at(4, 0), [28.0, 0.0]);
        assert_eq!(at(11, 0), [-28.0, 0.0]);
        assert_eq!(at(4, 7), [0.0, 28.0]);
        // x = 7.5 is 3/8 of the way from one centre to the next.
        assert_eq!(at(7, 0)[0], 28.0 - 56.0 * 3.0 / 8.0);
    }

    #[test]
    fn a_map_of_one_cell_is_level() {
        assert_eq!(between(0.0, 1), Some((0, 0, 0.0)));
        assert_eq!(between(1.0, 1), Some((0, 0, 0.0)));
        assert_eq!(between(1.1, 1), None);
        assert_eq!(between(f32::NAN, 1), None);
    }
}
