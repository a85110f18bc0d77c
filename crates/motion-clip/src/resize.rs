//! Pillow's bilinear resize, bit for bit. In: a [`Frame`]. Out: a [`Frame`] of another size.
//!
//! A triangle filter, along the columns first, then along the rows; when shrinking, the triangle widens with
//! the scale (antialiasing). Weights are integers of 22 fractional bits and each pass rounds to a byte. A pass
//! whose size does not change is skipped. Equal to Pillow 3 to 12; Pillow 13 runs the passes in the other
//! order for some shapes. The networks were trained on pictures resized this way, and neither a browser's
//! `drawImage` nor a GPU's bilinear sampling is the same.

use std::ops::Range;

use crate::{Error, Frame, Result};

/// Fractional bits of a weight (Pillow's `PRECISION_BITS`).
const WEIGHT_BITS: u32 = 22;
/// One half: added before the fraction is cut off.
const HALF: u32 = 1 << (WEIGHT_BITS - 1);

/// A picture of `height` x `width` pixels that shows the whole frame.
///
/// # Errors
/// [`Error::EmptySize`] when a side is 0, and those of [`Frame::check`].
pub fn resize(frame: &Frame, height: usize, width: usize) -> Result<Frame> {
    resize_window(frame, height, width, [0..height, 0..width])
}

/// Only the rows and columns `window` of the resized picture, for less work than the whole.
///
/// # Errors
/// As [`resize`], and [`Error::Crop`] when the window is empty or does not lie inside `height` x `width`.
pub fn resize_window(frame: &Frame, height: usize, width: usize, window: [Range<usize>; 2]) -> Result<Frame> {
    frame.check()?;
    if height == 0 || width == 0 {
        return Err(Error::EmptySize { width, height });
    }
    let [rows, columns] = window;
    if rows.is_empty() || columns.is_empty() || rows.end > height || columns.end > width {
        return Err(Error::Crop {
            width: columns.len(),
            height: rows.len(),
            from_width: width,
            from_height: height,
        });
    }
    let across = (width != frame.width).then(|| Filter::new(frame.width, width, columns.clone()));
    let down = (height != frame.height).then(|| Filter::new(frame.height, height, rows.clone()));

    // The rows of the source that the second pass will read.
    let source_rows = down.as_ref().map_or(rows.clone(), Filter::reads);
    let source = &frame.rgb[source_rows.start * frame.width * 3..source_rows.end * frame.width * 3];
    let mut narrow = Vec::with_capacity(source_rows.len() * columns.len() * 3);
    for row in source.chunks_exact(frame.width * 3) {
        match &across {
            Some(filter) => filter.along_columns(row, &mut narrow),
            None => narrow.extend_from_slice(&row[columns.start * 3..columns.end * 3]),
        }
    }
    let rgb = match &down {
        Some(filter) => filter.along_rows(&narrow, columns.len() * 3, source_rows.start),
        None => narrow,
    };
    Frame::new(columns.len(), rows.len(), rgb, frame.time_secs)
}

/// The size of a picture whose shorter side becomes `size`, the longer one truncated: (height, width).
/// A picture of that size already stays as it is.
///
/// # Errors
/// [`Error::EmptyFrame`] for a side of 0, [`Error::EmptySize`] for a `size` of 0.
pub fn shorter_side(height: usize, width: usize, size: usize) -> Result<[usize; 2]> {
    if height == 0 || width == 0 {
        return Err(Error::EmptyFrame { width, height });
    }
    if size == 0 {
        return Err(Error::EmptySize { width: size, height: size });
    }
    // Python's int(size * long / short): a product of integers, then one division in f64.
    let long = |long: usize, short: usize| (size.saturating_mul(long) as f64 / short as f64) as usize;
    Ok(if height.min(width) == size {
        [height, width]
    } else if width < height {
        [long(height, width), size]
    } else {
        [size, long(width, height)]
    })
}

/// Which source positions make each result position along one axis, and how much of each.
///
/// A result is `(2^21 + sum of weight * byte) >> 22`, at most 255. Where the size does not change that is the byte itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// For each result: the first source position and its weights' range in `weights`.
    pub taps: Vec<(usize, Range<usize>)>,
    /// Parts of 2^22; all weights of a result add up to about 2^22, so their sum over bytes fits u32.
    pub weights: Vec<u32>,
}

impl Filter {
    /// For the results `window` of `to`, made of `from` source positions.
    pub(crate) fn new(from: usize, to: usize, window: Range<usize>) -> Self {
        let scale = from as f64 / to as f64;
        let reach = scale.max(1.0);
        let mut filter = Self { taps: Vec::with_capacity(window.len()), weights: Vec::new() };
        for result in window {
            let centre = (result as f64 + 0.5) * scale;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(from);
            let triangle = |i: usize| (1.0 - ((i as f64 - centre + 0.5) / reach).abs()).max(0.0);
            let total: f64 = (first..end).map(triangle).sum();
            let start = filter.weights.len();
            let unit = f64::from(1u32 << WEIGHT_BITS);
            filter.weights.extend((first..end).map(|i| (triangle(i) / total * unit + 0.5) as u32));
            filter.taps.push((first, start..filter.weights.len()));
        }
        filter
    }

    /// The source positions from the first to the last that any result reads.
    pub fn reads(&self) -> Range<usize> {
        let start = self.taps.iter().map(|(first, _)| *first).min().unwrap_or(0);
        let end = self.taps.iter().map(|(first, weights)| first + weights.len()).max().unwrap_or(0);
        start..end
    }

    /// Adds the result of one row of RGB pixels to `result`.
    fn along_columns(&self, row: &[u8], result: &mut Vec<u8>) {
        for (first, range) in &self.taps {
            let weights = &self.weights[range.clone()];
            let bytes = &row[first * 3..];
            // Four bytes for each pixel, the fourth being the next pixel's: one instruction of four lanes does
            // all channels (1.7 times as fast in wasm). A row's last pixel has no next one and is done apart.
            let mut sums = [HALF; 4];
            let whole = weights.len().min((bytes.len() - 1) / 3);
            for (pixel, &weight) in bytes.windows(4).step_by(3).zip(&weights[..whole]) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum += u32::from(byte) * weight;
                }
            }
            for (pixel, &weight) in bytes.chunks_exact(3).zip(weights).skip(whole) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum += u32::from(byte) * weight;
                }
            }
            let [red, green, blue, _] = sums.map(to_byte);
            result.extend([red, green, blue]);
        }
    }

    /// Rows of `stride` bytes, of which the first one is source row `offset`.
    fn along_rows(&self, rows: &[u8], stride: usize, offset: usize) -> Vec<u8> {
        let mut result = Vec::with_capacity(self.taps.len() * stride);
        let mut sums = vec![HALF; stride];
        for (first, range) in &self.taps {
            sums.fill(HALF);
            let rows = rows[(first - offset) * stride..].chunks_exact(stride);
            for (row, &weight) in rows.zip(&self.weights[range.clone()]) {
                for (sum, &byte) in sums.iter_mut().zip(row) {
                    *sum += u32::from(byte) * weight;
                }
            }
            result.extend(sums.iter().copied().map(to_byte));
        }
        result
    }
}

/// The integer part, no more than 255: the weights' rounding can add up to a little above 1.
fn to_byte(sum: u32) -> u8 {
    (sum >> WEIGHT_BITS).min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize) -> Frame {
        let rgb = (0..width * height * 3).map(|i| (i * 101 % 256) as u8).collect();
        Frame::new(width, height, rgb, 0.25).unwrap()
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let source = frame(7, 5);
        assert_eq!(resize(&source, 5, 7).unwrap(), source);
    }

    #[test]
    fn one_colour_stays_one_colour() {
        for level in [0u8, 1, 127, 254, 255] {
            for (width, height) in [(1, 1), (3, 200), (2000, 2)] {
                let flat = Frame::new(width, height, vec![level; width * height * 3], 0.0).unwrap();
                for (h, w) in [(1, 1), (24, 32), (240, 1)] {
                    let small = resize(&flat, h, w).unwrap();
                    assert!(small.rgb.iter().all(|&byte| byte == level), "{width}x{height} -> {w}x{h}");
                }
            }
        }
    }

    #[test]
    fn the_longest_row_neither_overflows_nor_fades() {
        let width = 12336;
        let long = Frame::new(width, 1, vec![255; width * 3], 0.0).unwrap();
        for to in [1, 2, 320, 12335, 20000] {
            let row = resize(&long, 1, to).unwrap();
            assert!(row.rgb.iter().all(|&byte| byte == 255), "to {to}");
        }
        let tall = Frame::new(1, width, vec![255; width * 3], 0.0).unwrap();
        assert!(resize(&tall, 240, 320).unwrap().rgb.iter().all(|&byte| byte == 255));
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let source = frame(33, 17);
        for (height, width) in [(9, 12), (40, 50), (17, 20), (10, 33)] {
            let whole = resize(&source, height, width).unwrap();
            let part = resize_window(&source, height, width, [3..height - 2, 5..width - 1]).unwrap();
            for y in 0..part.height {
                let from = ((y + 3) * width + 5) * 3;
                assert_eq!(
                    part.rgb[y * part.width * 3..(y + 1) * part.width * 3],
                    whole.rgb[from..from + part.width * 3]
                );
            }
        }
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let source = frame(4, 4);
        assert!(resize(&source, 0, 4).is_err());
        assert!(resize_window(&source, 4, 4, [0..5, 0..4]).is_err());
        assert!(resize_window(&source, 4, 4, [2..2, 0..4]).is_err());
        assert!(resize(&Frame { height: 5, ..source }, 2, 2).is_err());
        assert!(shorter_side(0, 4, 256).is_err() && shorter_side(4, 4, 0).is_err());
    }
}
