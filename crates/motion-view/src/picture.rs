//! A picture that can be drawn on. In: RGBA. Out: RGBA.

use motion_clip::Frame;

use crate::{Error, Result};

/// Pixels that a picture may have: 1 GiB of RGBA.
pub(crate) const MAX_PIXELS: usize = 1 << 28;

/// RGBA pixels, colours not multiplied by alpha.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// `[height, width, 4]`.
    pub rgba: Vec<u8>,
}

impl Picture {
    /// A picture of one opaque colour.
    ///
    /// # Errors
    /// [`Error::Size`] for a side of 0 or a picture of more than 2^28 pixels.
    pub fn new(width: usize, height: usize, [r, g, b]: [u8; 3]) -> Result<Self> {
        match width.checked_mul(height) {
            Some(1..=MAX_PIXELS) => Ok(Self { width, height, rgba: [r, g, b, 255].repeat(width * height) }),
            _ => Err(Error::Size { width, height }),
        }
    }

    /// A picture from its bytes.
    ///
    /// # Errors
    /// [`Error::Size`] as [`Picture::new`], [`Error::Length`] unless there are `4 * width * height` bytes.
    pub fn from_rgba(width: usize, height: usize, rgba: Vec<u8>) -> Result<Self> {
        let pixels = width.checked_mul(height).filter(|pixels| (1..=MAX_PIXELS).contains(pixels));
        let expected = 4 * pixels.ok_or(Error::Size { width, height })?;
        if rgba.len() != expected {
            return Err(Error::Length { what: "picture", found: rgba.len(), expected });
        }
        Ok(Self { width, height, rgba })
    }

    /// A frame of a video, opaque.
    ///
    /// # Errors
    /// [`Error::Frame`] when the frame's size and bytes do not fit.
    pub fn from_frame(frame: &Frame) -> Result<Self> {
        frame.check()?;
        let (pixels, _) = frame.rgb.as_chunks::<3>();
        let rgba = pixels.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
        Self::from_rgba(frame.width, frame.height, rgba)
    }

    /// Lays a colour over the pixel at (x, y), covering it by `alpha` (0 ... 1); nothing outside the picture.
    pub fn blend(&mut self, x: isize, y: isize, colour: [u8; 3], alpha: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.width || y >= self.height {
            return;
        }
        let at = (y * self.width + x) * 4;
        over(&mut self.rgba[at..at + 4], colour, alpha);
    }

    /// Lays another picture over this one, its upper left corner at (x, y), its alpha times `opacity`.
    pub fn draw(&mut self, picture: &Self, x: isize, y: isize, opacity: f32) {
        let (pixels, _) = picture.rgba.as_chunks::<4>();
        for (i, &[r, g, b, a]) in pixels.iter().enumerate() {
            let (column, row) = ((i % picture.width) as isize, (i / picture.width) as isize);
            self.blend(x + column, y + row, [r, g, b], f32::from(a) / 255.0 * opacity);
        }
    }

    /// Fills a rectangle with one colour.
    pub fn fill(&mut self, x: isize, y: isize, width: usize, height: usize, colour: [u8; 3]) {
        for row in 0..height as isize {
            for column in 0..width as isize {
                self.blend(x + column, y + row, colour, 1.0);
            }
        }
    }

    /// Draws a straight line with round ends and smooth edges; coordinates are (x, y) with pixel centres at
    /// halves.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], thickness: f32, colour: [u8; 3], alpha: f32) {
        if !from.iter().chain(&to).all(|coordinate| coordinate.is_finite()) {
            return;
        }
        let reach = thickness / 2.0 + 1.0;
        let span = |axis: usize, side: usize| {
            let low = (from[axis].min(to[axis]) - reach).max(0.0) as isize;
            let high = (from[axis].max(to[axis]) + reach).min(side as f32) as isize;
            low..high
        };
        let along = [to[0] - from[0], to[1] - from[1]];
        let square = (along[0] * along[0] + along[1] * along[1]).max(f32::MIN_POSITIVE);
        for y in span(1, self.height) {
            for x in span(0, self.width) {
                let place = [x as f32 + 0.5 - from[0], y as f32 + 0.5 - from[1]];
                let part = ((place[0] * along[0] + place[1] * along[1]) / square).clamp(0.0, 1.0);
                let distance = (place[0] - part * along[0]).hypot(place[1] - part * along[1]);
                self.blend(x, y, colour, alpha * (thickness / 2.0 + 0.5 - distance).clamp(0.0, 1.0));
            }
        }
    }
}

/// One pixel with a colour laid over it ("source over").
fn over(pixel: &mut [u8], colour: [u8; 3], alpha: f32) {
    if alpha.is_nan() || alpha <= 0.0 {
        return;
    }
    let alpha = alpha.min(1.0);
    let below = f32::from(pixel[3]) / 255.0 * (1.0 - alpha);
    let sum = alpha + below;
    for (channel, &new) in pixel.iter_mut().zip(&colour) {
        *channel = ((f32::from(new) * alpha + f32::from(*channel) * below) / sum).round() as u8;
    }
    pixel[3] = (sum * 255.0).round() as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_cover_by_alpha() {
        let mut picture = Picture::new(2, 1, [0, 0, 0]).unwrap();
        picture.blend(0, 0, [200, 100, 0], 0.5);
        picture.blend(1, 0, [200, 100, 0], 1.0);
        picture.blend(2, 0, [9; 3], 1.0);
        picture.blend(-1, 0, [9; 3], 1.0);
        assert_eq!(picture.rgba, [100, 50, 0, 255, 200, 100, 0, 255]);
        picture.blend(0, 0, [9; 3], f32::NAN);
        assert_eq!(picture.rgba[..4], [100, 50, 0, 255]);
    }

    #[test]
    fn over_nothing_a_colour_keeps_itself() {
        let mut clear = Picture::from_rgba(1, 1, vec![0; 4]).unwrap();
        clear.blend(0, 0, [200, 100, 40], 0.5);
        assert_eq!(clear.rgba, [200, 100, 40, 128]);
    }

    #[test]
    fn a_line_is_where_it_should_be() {
        let mut picture = Picture::new(9, 9, [255; 3]).unwrap();
        picture.line([1.0, 4.5], [8.0, 4.5], 1.0, [0; 3], 1.0);
        assert_eq!(picture.rgba[(4 * 9 + 4) * 4], 0);
        assert_eq!(picture.rgba[(2 * 9 + 4) * 4], 255);
        let before = picture.clone();
        picture.line([f32::NAN, 0.0], [8.0, 8.0], 1.0, [0; 3], 1.0);
        picture.line([-90.0, -50.0], [-9.0, -2.0], 1.0, [0; 3], 1.0);
        assert_eq!(picture, before);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        assert!(Picture::new(0, 3, [0; 3]).is_err());
        assert!(Picture::new(usize::MAX, 3, [0; 3]).is_err());
        assert!(Picture::from_rgba(2, 2, vec![0; 15]).is_err());
        assert!(Picture::from_rgba(usize::MAX, 2, vec![]).is_err());
    }
}
