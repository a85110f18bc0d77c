//! A composited picture in, an 8-bit frame as a camera would deliver it out: light, colour, blur, noise, compression.

use std::f32::consts::TAU;
use std::io::Cursor;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::raster::{Canvas, Rgba};

/// Noise values kept: more than a row of the widest picture needs.
const NOISE: usize = 16_381;

/// How a clip's camera sees.
pub(crate) struct Lens {
    exposure: f32,
    cast: [f32; 3],
    /// Exponent of the tone curve.
    contrast: f32,
    /// Darkening at the corners.
    vignette: f32,
    /// Change of the light over the clip, and its flicker (amplitude, cycles, phase).
    drift: f32,
    flicker: (f32, f32, f32),
    /// Passes of [1 2 1] / 4 in both directions.
    blur: usize,
    /// Standard deviation of the noise, in 0..=1.
    noise: f32,
    /// Quality of JPEG compression, if any.
    jpeg: Option<u8>,
    /// Share of a clip for which the shutter is open, for each frame.
    pub(crate) shutter: f32,
    seed: u64,
}

impl Lens {
    /// A camera that changes nothing.
    pub(crate) const CLEAN: Self = Self {
        exposure: 1.0,
        cast: [1.0; 3],
        contrast: 1.0,
        vignette: 0.0,
        drift: 0.0,
        flicker: (0.0, 0.0, 0.0),
        blur: 0,
        noise: 0.0,
        jpeg: None,
        shutter: 0.0,
        seed: 0,
    };

    pub(crate) fn random(rng: &mut ChaCha8Rng) -> Self {
        let often = |rng: &mut ChaCha8Rng, p: f64, range: std::ops::Range<f32>, otherwise: f32| {
            if rng.random_bool(p) { rng.random_range(range) } else { otherwise }
        };
        Self {
            exposure: rng.random_range(0.65..1.3),
            cast: std::array::from_fn(|_| rng.random_range(0.85..1.12)),
            contrast: rng.random_range(0.75..1.35),
            vignette: often(rng, 0.4, 0.05..0.45, 0.0),
            drift: often(rng, 0.25, -0.25..0.25, 0.0),
            flicker: (
                often(rng, 0.2, 0.01..0.06, 0.0),
                rng.random_range(1.0..9.0),
                rng.random_range(0.0..TAU),
            ),
            blur: [0, 0, 1, 1, 2, 3][rng.random_range(0..6)],
            noise: often(rng, 0.6, 0.003..0.035, 0.0),
            jpeg: if rng.random_bool(0.3) { Some(rng.random_range(25..85)) } else { None },
            shutter: often(rng, 0.3, 0.01..0.04, 0.0),
            seed: rng.next_u64(),
        }
    }

    /// Makes RGB bytes of a picture. `brightness` multiplies it (one over the number of pictures added up);
    /// `index` is the frame's number, so that noise differs between frames.
    pub(crate) fn expose(&self, canvas: &mut Canvas, brightness: f32, time: f32, index: usize) -> Vec<u8> {
        for _ in 0..self.blur {
            soften(canvas);
        }
        let (width, height) = (canvas.width, canvas.height);
        let (amplitude, cycles, phase) = self.flicker;
        let light = self.exposure
            * (1.0 + self.drift * (time - 0.5))
            * (1.0 + amplitude * (TAU * cycles * time + phase).sin());
        let curve = self.tone_curve();
        let noise = self.noise_values(index);
        let corner = 4.0 / (width * width + height * height) as f32;
        let gain = self.cast.map(|c| c * brightness * light * 1023.0);
        let mut bytes = vec![0; width * height * 3];
        let rows = bytes.chunks_exact_mut(3 * width).zip(canvas.px.chunks_exact(width));
        for (y, (out, row)) in rows.enumerate() {
            let dy = y as f32 + 0.5 - height as f32 / 2.0;
            let noise = &noise[(index * 7919 + y * 1237) % (NOISE - 3 * width)..];
            let pixels = out.chunks_exact_mut(3).zip(row).zip(noise.chunks_exact(3));
            for (x, ((out, px), noise)) in pixels.enumerate() {
                let dx = x as f32 + 0.5 - width as f32 / 2.0;
                let fade = 1.0 - self.vignette * (dx * dx + dy * dy) * corner;
                for c in 0..3 {
                    let level = nearest(px[c] * gain[c] * fade, 1023.0);
                    out[c] = nearest(curve[level as usize & 1023] + noise[c], 255.0) as u8;
                }
            }
        }
        match self.jpeg {
            Some(quality) => compressed(&bytes, width, height, quality).unwrap_or(bytes),
            None => bytes,
        }
    }

    /// Grey levels of 1024 steps of light.
    fn tone_curve(&self) -> [f32; 1024] {
        std::array::from_fn(|k| (k as f32 / 1023.0).powf(self.contrast) * 255.0)
    }

    /// A long row of normal random numbers, in grey levels.
    fn noise_values(&self, index: usize) -> Vec<f32> {
        if self.noise == 0.0 {
            return vec![0.0; NOISE];
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(index as u64));
        let mut bytes = vec![0u8; NOISE * 4];
        rng.fill_bytes(&mut bytes);
        // The sum of four uniform bytes is nearly normal; its deviation is 2 * 73.9.
        let scale = 255.0 * self.noise / (2.0 * 73.9);
        bytes
            .chunks_exact(4)
            .map(|b| (b.iter().map(|&v| f32::from(v)).sum::<f32>() - 510.0) * scale)
            .collect()
    }
}

/// One pass of [1 2 1] / 4 along rows and columns; the border keeps its own values.
fn soften(canvas: &mut Canvas) {
    let (width, height) = (canvas.width, canvas.height);
    for row in canvas.px.chunks_exact_mut(width) {
        let mut before = row[0];
        for x in 1..width.saturating_sub(1) {
            let now = row[x];
            let after = row[x + 1];
            row[x] = blend(&before, &now, &after);
            before = now;
        }
    }
    let mut above: Vec<_> = canvas.px[..width].to_vec();
    for y in 1..height.saturating_sub(1) {
        let (head, below) = canvas.px.split_at_mut((y + 1) * width);
        let row = &mut head[y * width..];
        for ((px, above), below) in row.iter_mut().zip(&mut above).zip(below.iter()) {
            let now = *px;
            *px = blend(above, &now, below);
            *above = now;
        }
    }
}

/// The nearest whole number in 0..=`most`. Adding 2^23 leaves it in a float's lowest bits, at a fraction of the
/// cost of the saturating conversion.
#[inline]
fn nearest(value: f32, most: f32) -> u32 {
    (value.max(0.0).min(most) + 8_388_608.0).to_bits() & 0x7f_ffff
}

#[inline]
fn blend(before: &Rgba, now: &Rgba, after: &Rgba) -> Rgba {
    let at = |c: usize| 0.25 * (before[c] + after[c]) + 0.5 * now[c];
    [at(0), at(1), at(2), at(3)]
}

/// There and back through JPEG; `None` if the codec refuses, which leaves the picture as it was.
fn compressed(bytes: &[u8], width: usize, height: usize, quality: u8) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    let (w, h) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    JpegEncoder::new_with_quality(&mut file, quality).encode(bytes, w, h, ExtendedColorType::Rgb8).ok()?;
    let picture =
        image::ImageReader::with_format(Cursor::new(file), image::ImageFormat::Jpeg).decode().ok()?;
    Some(picture.into_rgb8().into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_lens_only_rounds() {
        let mut canvas = Canvas::new(4, 3);
        for (i, px) in canvas.px.iter_mut().enumerate() {
            *px = [i as f32 * 20.0 / 255.0, 0.5, 1.0, 1.0];
        }
        let bytes = Lens::CLEAN.expose(&mut canvas, 1.0, 0.3, 0);
        let reds: Vec<u8> = bytes.chunks(3).map(|p| p[0]).collect();
        assert_eq!(reds, (0..12).map(|i| i * 20).collect::<Vec<u8>>());
    }

    #[test]
    fn noise_has_the_stated_deviation() {
        let lens = Lens { noise: 0.02, ..Lens::CLEAN };
        let values = lens.noise_values(3);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        assert!(mean.abs() < 0.15 && (deviation - 5.1).abs() < 0.2, "{mean} {deviation}");
    }

    #[test]
    fn softening_keeps_an_even_picture() {
        let mut canvas = Canvas::new(5, 5);
        canvas.px.fill([0.3, 0.4, 0.5, 1.0]);
        soften(&mut canvas);
        assert!(canvas.px.iter().all(|p| (p[1] - 0.4).abs() < 1e-6));
    }
}
