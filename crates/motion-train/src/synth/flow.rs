//! True displacements of one frame pair in; KITTI files and means over the cells of a map out.

use std::io::BufReader;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageReader};
use motion_clip::{Geometry, Preprocess};

use super::Error;

/// Where every pixel of a frame is in the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowField {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// `[height, width, 2]`: (right, down) from frame t to t + 1, in pixels; of the front-most thing.
    pub uv: Vec<f32>,
    /// `[height, width]`: 1 where that point is also seen in frame t + 1, 0 where it is hidden or outside.
    pub visible: Vec<u8>,
}

/// True displacements on the grid of a motion map.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowGrid {
    /// Cells down and across.
    pub grid: [usize; 2],
    /// `[h, w, 2]`: mean (right, down) over a cell's visible pixels, in cells; 0 where there are none.
    pub cells: Vec<f32>,
    /// `[h, w]`: whether the cell counts: at least 80 % of its pixels visible, their deviation below 0.35 cell.
    pub counts: Vec<bool>,
}

impl FlowField {
    /// Means over the cells of a map with `grid` = `[h, w]` positions, for frames that `preprocess` squashes and
    /// crops before the network sees them.
    pub fn to_grid(&self, preprocess: &Preprocess, grid: [usize; 2]) -> FlowGrid {
        self.seen_by(&preprocess.geometry(self.width, self.height), grid)
    }

    /// The same for an input that lies on the frame in any way. Each of its pixels takes the flow of the nearest one
    /// here.
    ///
    /// A cell counts if at least 80 % of its pixels are visible and the root mean square deviation from their
    /// mean is below 0.35 cell.
    pub fn seen_by(&self, geometry: &Geometry, grid: [usize; 2]) -> FlowGrid {
        let [grid_h, grid_w] = grid;
        let [pixel_w, pixel_h] = geometry.pixel();
        let [cell_w, cell_h] = geometry.input_cell(grid_w, grid_h);
        // Pixels whose centres lie in cell k of cells of this size.
        let pixels = |k: usize, cell: f32| {
            let first = |k: usize| (k as f32 * cell - 0.5).ceil().max(0.0) as usize;
            first(k)..first(k + 1)
        };
        let mut out = FlowGrid { grid, cells: Vec::new(), counts: Vec::new() };
        let mut seen: Vec<[f32; 2]> = Vec::new();
        for row in 0..grid_h {
            for column in 0..grid_w {
                seen.clear();
                let (down, across) = (pixels(row, cell_h), pixels(column, cell_w));
                let all = down.len() * across.len();
                for (y, x) in down.flat_map(|y| across.clone().map(move |x| (y, x))) {
                    let [sx, sy] = geometry.source_from_input([x as f32 + 0.5, y as f32 + 0.5]);
                    let (sx, sy) = (sx.max(0.0) as usize, sy.max(0.0) as usize);
                    let i = sy * self.width + sx;
                    if sx < self.width && sy < self.height && self.visible[i] != 0 {
                        // In cells of the input.
                        seen.push([self.uv[2 * i] / pixel_w / cell_w, self.uv[2 * i + 1] / pixel_h / cell_h]);
                    }
                }
                let n = seen.len().max(1) as f32;
                let mean: [f32; 2] = std::array::from_fn(|c| seen.iter().map(|p| p[c]).sum::<f32>() / n);
                let square = |p: &[f32; 2]| (p[0] - mean[0]).powi(2) + (p[1] - mean[1]).powi(2);
                let deviation = (seen.iter().map(square).sum::<f32>() / n).sqrt();
                out.cells.extend(mean);
                out.counts.push(all > 0 && 5 * seen.len() >= 4 * all && deviation < 0.35);
            }
        }
        out
    }
}

/// Writes a flow field as KITTI's 16-bit RGB PNG: `64 u + 2^15`, `64 v + 2^15`, visible.
///
/// Steps of 1/64 pixel; beyond 512 pixels the values stick to the end of the range.
///
/// # Errors
/// [`Error::Io`] or [`Error::Picture`] with the path when the file cannot be written.
pub fn write_flow_png(path: &Path, flow: &FlowField) -> Result<(), Error> {
    let bytes = flow_png(flow).map_err(|source| Error::Picture { path: path.into(), source })?;
    std::fs::write(path, bytes).map_err(|source| Error::Io { path: path.into(), source })
}

/// The bytes of such a file.
pub(crate) fn flow_png(flow: &FlowField) -> image::ImageResult<Vec<u8>> {
    let mut samples = Vec::with_capacity(flow.width * flow.height * 6);
    for (uv, visible) in flow.uv.chunks_exact(2).zip(&flow.visible) {
        for v in uv {
            let value = (v * 64.0 + 32768.0).round().clamp(0.0, 65535.0) as u16;
            samples.extend(value.to_ne_bytes());
        }
        samples.extend(u16::from(*visible).to_ne_bytes());
    }
    let mut file = Vec::new();
    let (width, height) = (flow.width as u32, flow.height as u32);
    PngEncoder::new(&mut file).write_image(&samples, width, height, ExtendedColorType::Rgb16)?;
    Ok(file)
}

/// Reads what [`write_flow_png`] wrote, or a flow file of KITTI.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened, [`Error::Picture`] when it is not a PNG,
/// [`Error::NotFlow`] when its pixels are not 16-bit RGB.
pub fn read_flow_png(path: &Path) -> Result<FlowField, Error> {
    let file = std::fs::File::open(path).map_err(|source| Error::Io { path: path.into(), source })?;
    let picture = ImageReader::with_format(BufReader::new(file), image::ImageFormat::Png)
        .decode()
        .map_err(|source| Error::Picture { path: path.into(), source })?;
    let DynamicImage::ImageRgb16(picture) = picture else {
        return Err(Error::NotFlow { path: path.into(), found: format!("{:?}", picture.color()) });
    };
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut flow = FlowField {
        width,
        height,
        uv: Vec::with_capacity(width * height * 2),
        visible: Vec::with_capacity(width * height),
    };
    for pixel in picture.pixels() {
        let [u, v, visible] = pixel.0;
        flow.uv.extend([u, v].map(|value| (f32::from(value) - 32768.0) / 64.0));
        flow.visible.push(u8::from(visible != 0));
    }
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something-Something's: squashed to 320 x 240, centre 224 x 224.
    fn preprocess() -> Preprocess {
        Preprocess { resize: [240, 320], input_size: 224, mean: [0.0; 3], std: [1.0; 3] }
    }

    fn field(width: usize, height: usize, uv: [f32; 2]) -> FlowField {
        FlowField { width, height, uv: uv.repeat(width * height), visible: vec![1; width * height] }
    }

    #[test]
    fn an_even_flow_is_that_flow_in_cells() {
        let grid = field(320, 240, [16.0, -4.0]).to_grid(&preprocess(), [28, 28]);
        assert_eq!(grid.counts, vec![true; 28 * 28]);
        assert!(grid.cells.chunks(2).all(|uv| (uv[0] - 2.0).abs() < 1e-5 && (uv[1] + 0.5).abs() < 1e-5));
        // A frame twice as wide is squashed: its pixels are half as many cells.
        let grid = field(640, 240, [16.0, -4.0]).to_grid(&preprocess(), [28, 28]);
        assert!(grid.cells.chunks(2).all(|uv| (uv[0] - 1.0).abs() < 1e-5 && (uv[1] + 0.5).abs() < 1e-5));
        // So are they on a coarser map.
        let grid = field(320, 240, [16.0, -4.0]).to_grid(&preprocess(), [14, 14]);
        assert!(grid.cells.chunks(2).all(|uv| (uv[0] - 1.0).abs() < 1e-5 && (uv[1] + 0.25).abs() < 1e-5));
    }

    #[test]
    fn hidden_and_torn_cells_do_not_count() {
        let mut flow = field(320, 240, [8.0, 0.0]);
        // The first cell begins at (48, 8). Hide 13 of its 64 pixels: 80 % is missed.
        for k in 0..13 {
            flow.visible[(8 + k / 8) * 320 + 48 + k % 8] = 0;
        }
        // In the second, half of the pixels stand still: their deviation is half a cell.
        for k in 0..32 {
            flow.uv[2 * ((8 + k / 8) * 320 + 56 + k % 8)] = 0.0;
        }
        let grid = flow.to_grid(&preprocess(), [28, 28]);
        assert_eq!(&grid.counts[..3], &[false, false, true]);
        assert!((grid.cells[0] - 1.0).abs() < 1e-5, "a mean of the visible ones alone");
    }
}
