//! Resize, crop, mean and deviation. In: [`Frame`]s of any size. Out: a [`Clip`] `[T, H, W, 3]`.

use crate::resize::Filter;
use crate::{Error, Frame, Geometry, Result, crop, resize};

/// How a frame becomes the network's input; the numbers are those of a model's `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// (height, width) every frame is resized to, whatever its aspect ratio; 240 x 320 in the published code
    /// for Something-Something.
    pub resize: [usize; 2],
    /// Side of the centre crop in pixels, which is what the network sees.
    pub input_size: usize,
    /// Per channel (red, green, blue), taken from pixels in 0 ... 1.
    pub mean: [f32; 3],
    /// Per channel, divided by after the mean is taken away.
    pub std: [f32; 3],
}

/// The numbers a network reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// `[T, H, W, 3]`: frames, rows, columns, colour channels.
    pub shape: [usize; 4],
    /// Normalised pixels, channels last.
    pub data: Vec<f32>,
}

impl Default for Preprocess {
    /// The published numbers for Something-Something with ImageNet's mean and deviation.
    fn default() -> Self {
        Self { resize: [240, 320], input_size: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    }
}

impl Preprocess {
    /// What the network sees of a frame: resized and cropped, `input_size` x `input_size`, the frame's time kept.
    ///
    /// Only the pixels inside the crop are computed; they equal those of the whole resized picture.
    ///
    /// # Errors
    /// [`Error::EmptySize`] and [`Error::Crop`] for sizes that do not fit each other, and those of
    /// [`Frame::check`].
    pub fn view(&self, frame: &Frame) -> Result<Frame> {
        let [row, column] = self.offset()?;
        let [height, width] = self.resize;
        let window = [row..row + self.input_size, column..column + self.input_size];
        resize::resize_window(frame, height, width, window)
    }

    /// The two passes that make [`Preprocess::view`] of a frame of this size, for who runs them elsewhere: along the
    /// columns, then along the rows.
    ///
    /// # Errors
    /// As [`Preprocess::view`].
    pub fn passes(&self, source_width: usize, source_height: usize) -> Result<[Filter; 2]> {
        if source_width == 0 || source_height == 0 {
            return Err(Error::EmptyFrame { width: source_width, height: source_height });
        }
        let [row, column] = self.offset()?;
        let [height, width] = self.resize;
        let window = |start| start..start + self.input_size;
        Ok([
            Filter::new(source_width, width, window(column)),
            Filter::new(source_height, height, window(row)),
        ])
    }

    /// A clip of the given frames, in order; they may differ in size.
    ///
    /// The arithmetic is numpy's in f32, `(pixel / 255 - mean) / std`, each step rounded, so results equal
    /// the reference bit for bit.
    ///
    /// # Errors
    /// [`Error::NoFrames`], [`Error::Normalisation`], and those of [`Preprocess::view`].
    pub fn clip(&self, frames: &[Frame]) -> Result<Clip> {
        if frames.is_empty() {
            return Err(Error::NoFrames);
        }
        let levels = self.levels()?;
        let size = self.input_size;
        let pixels =
            size.checked_mul(size).and_then(|n| n.checked_mul(3)).and_then(|n| n.checked_mul(frames.len()));
        let mut data = Vec::new();
        pixels
            .and_then(|n| data.try_reserve_exact(n).ok())
            .ok_or(Error::TooLarge { frames: frames.len(), size })?;
        for frame in frames {
            let view = self.view(frame)?;
            let (pixels, _) = view.rgb.as_chunks::<3>();
            data.extend(pixels.iter().flat_map(|&[r, g, b]| {
                [levels[0][usize::from(r)], levels[1][usize::from(g)], levels[2][usize::from(b)]]
            }));
        }
        Ok(Clip { shape: [frames.len(), size, size, 3], data })
    }

    /// The same of what [`Preprocess::view`] has made of the frames already: what is left is to normalise.
    ///
    /// # Errors
    /// As [`Preprocess::clip`].
    pub fn clip_of_views(&self, views: &[Frame]) -> Result<Clip> {
        // Resizing a view to its own size changes nothing.
        Preprocess { resize: [self.input_size; 2], ..self.clone() }.clip(views)
    }

    /// How the pixels of a `source_width` x `source_height` frame lie under the input and its maps.
    ///
    /// Sizes that [`Preprocess::view`] calls errors count as the nearest possible ones here.
    pub fn geometry(&self, source_width: usize, source_height: usize) -> Geometry {
        let [height, width] = self.resize;
        let offset = |side: usize| crop::centre_offset(side, self.input_size).unwrap_or(0);
        let source = [source_width.max(1), source_height.max(1)];
        Geometry::new(source, [width, height], [offset(width), offset(height)], self.input_size)
    }

    /// The crop's (row, column), once all sizes are known to fit.
    fn offset(&self) -> Result<[usize; 2]> {
        let ([height, width], size) = (self.resize, self.input_size);
        if height == 0 || width == 0 || size == 0 {
            return Err(Error::EmptySize { width: width.min(size), height: height.min(size) });
        }
        if size > height || size > width {
            return Err(Error::Crop { width: size, height: size, from_width: width, from_height: height });
        }
        Ok([crop::centre_offset(height, size)?, crop::centre_offset(width, size)?])
    }

    /// The normalised value of each of the 256 levels of each channel.
    ///
    /// # Errors
    /// [`Error::Normalisation`] for a mean or deviation that gives no numbers.
    pub fn levels(&self) -> Result<[[f32; 256]; 3]> {
        for channel in 0..3 {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            if !mean.is_finite() {
                return Err(Error::Normalisation { name: "mean", channel, found: mean });
            }
            if !(std.is_finite() && std > 0.0) {
                return Err(Error::Normalisation { name: "std", channel, found: std });
            }
        }
        Ok(std::array::from_fn(|c| {
            std::array::from_fn(|level| (level as f32 / 255.0 - self.mean[c]) / self.std[c])
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize) -> Frame {
        let rgb = (0..width * height * 3).map(|i| (i * 37 % 251) as u8).collect();
        Frame::new(width, height, rgb, 1.5).unwrap()
    }

    #[test]
    fn the_view_is_the_middle_of_the_resized_picture() {
        let small = Preprocess { resize: [12, 16], input_size: 8, ..Preprocess::default() };
        for (width, height) in [(1, 1), (16, 12), (97, 55), (40, 3)] {
            let source = frame(width, height);
            let whole = resize::resize(&source, 12, 16).unwrap();
            let view = small.view(&source).unwrap();
            let expected: Vec<u8> =
                (2..10).flat_map(|y| whole.rgb[(y * 16 + 4) * 3..(y * 16 + 12) * 3].to_vec()).collect();
            assert_eq!((view.width, view.height, view.time_secs), (8, 8, 1.5));
            assert_eq!(view.rgb, expected, "{width} x {height}");
        }
    }

    #[test]
    fn a_pass_that_changes_no_size_keeps_every_byte() {
        let same = Preprocess { resize: [5, 7], input_size: 5, ..Preprocess::default() };
        for filter in same.passes(7, 5).unwrap() {
            for (i, (first, range)) in filter.taps.iter().enumerate() {
                assert_eq!(filter.weights[range.start], 1 << 22, "{i}: {first}");
                assert!(filter.weights[range.start + 1..range.end].iter().all(|&weight| weight == 0));
            }
        }
        assert!(same.passes(0, 5).is_err());
    }

    #[test]
    fn a_clip_of_views_is_the_clip_of_their_frames() {
        let small = Preprocess { resize: [12, 16], input_size: 8, ..Preprocess::default() };
        let frames = [frame(97, 55), frame(16, 12)];
        let views = frames.each_ref().map(|frame| small.view(frame).unwrap());
        assert_eq!(small.clip_of_views(&views), small.clip(&frames));
    }

    #[test]
    fn a_clip_is_channels_last_and_normalised() {
        let one = Preprocess { resize: [1, 1], input_size: 1, ..Preprocess::default() };
        let frames = [frame(1, 1), Frame::new(1, 1, vec![0, 128, 255], 0.0).unwrap()];
        let clip = one.clip(&frames).unwrap();
        assert_eq!(clip.shape, [2, 1, 1, 3]);
        assert_eq!(clip.data[3], (0.0 - 0.485f32) / 0.229);
        assert_eq!(clip.data[5], (1.0 - 0.406f32) / 0.225);
    }

    #[test]
    fn bad_numbers_are_errors() {
        let good = Preprocess::default();
        assert_eq!(good.clip(&[]), Err(Error::NoFrames));
        let frames = [frame(4, 4)];
        for bad in [
            Preprocess { resize: [0, 320], ..good.clone() },
            Preprocess { input_size: 0, ..good.clone() },
            Preprocess { input_size: 241, ..good.clone() },
            Preprocess { mean: [f32::NAN, 0.0, 0.0], ..good.clone() },
            Preprocess { std: [1.0, 0.0, 1.0], ..good.clone() },
        ] {
            assert!(bad.clip(&frames).is_err(), "{bad:?}");
        }
        let wrong = Frame { width: 5, ..frame(4, 4) };
        assert!(good.view(&wrong).is_err());
    }

    #[test]
    fn geometry_leads_there_and_back() {
        // 1920 x 1080 onto 320 x 240: an input pixel is 6 x 4.5 source pixels; the crop starts at (48, 8).
        let geometry = Preprocess::default().geometry(1920, 1080);
        assert_eq!(geometry.cell(28, 28), [48.0, 36.0]);
        let crop = geometry.crop();
        assert_eq!((crop.x, crop.y, crop.width, crop.height), (288.0, 36.0, 1344.0, 1008.0));
        assert_eq!(geometry.source_from_grid([14.0, 14.0], [28, 28]), [960.0, 540.0]);
        let place = [3.25, 17.5];
        let back = geometry.grid_from_source(geometry.source_from_grid(place, [28, 28]), [28, 28]);
        assert!((back[0] - place[0]).abs() < 1e-4 && (back[1] - place[1]).abs() < 1e-4);
        assert_eq!(Geometry::of_crop(crop, 224), geometry);
    }
}
