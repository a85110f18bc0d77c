//! Maps as pictures. In: maps and what the network saw of the frames. Out: PNG figures arranged as the paper's
//! Fig. 6, and a GIF of each stage, all of them with one scale for the whole clip.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::png::PngEncoder;
use image::{Delay, ExtendedColorType, ImageEncoder, RgbaImage};
use motion_clip::Frame;
use motion_net::Estimator;
use motion_view::figure::{Figure, Maps, figure, legend, strip};
use motion_view::overlay::{Enlarge, enlarge, lengths, mask, overlay};
use motion_view::{Picture, Scale, clip_scale, wheel};

use motion_export::{Found, Resolution, Stage};

use crate::output::write_atomically;
use crate::progress::Progress;

/// Frames side by side in one figure; longer clips take several.
const COLUMNS: usize = 17;
/// Width of a picture in a figure, in pixels.
const TILE: usize = 224;
/// How strongly a displacement covers the frame that it is laid over.
const OPACITY: f32 = 0.8;
/// GIF counts time in hundredths of a second; less than two of them are not respected by viewers.
const LEAST_DELAY: u32 = 2;

/// Words on the pictures.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    /// Name of the video.
    pub(crate) title: String,
    /// How the displacement was estimated.
    pub(crate) note: String,
    /// Which estimator.
    pub(crate) estimator: Estimator,
}

impl Words {
    fn estimator(&self) -> &'static str {
        match self.estimator {
            Estimator::Kernel => "kernel-soft-argmax",
            Estimator::Soft => "soft-argmax",
        }
    }
}

/// Names of the figures: `maps.png`, or one name for each part of a long clip.
pub(crate) fn png_names(found: &Found) -> Vec<String> {
    let parts = parts(found.times.len());
    match parts.as_slice() {
        [_] => vec!["maps.png".to_owned()],
        _ => parts.iter().map(|part| format!("maps.{:04}-{:04}.png", part.start, part.end)).collect(),
    }
}

/// Names of the moving pictures, one for each stage.
pub(crate) fn gif_names(found: &Found) -> Vec<String> {
    found.stages.iter().map(|stage| format!("maps.{}.gif", stage.maps.stage)).collect()
}

/// Pairs of frames shown in each figure of a clip of so many frames.
fn parts(frames: usize) -> Vec<Range<usize>> {
    let pairs = frames - 1;
    let figures = pairs.div_ceil(COLUMNS - 1);
    (0..figures).map(|i| i * pairs / figures..(i + 1) * pairs / figures).collect()
}

/// Writes the figures.
///
/// # Errors
/// When a picture would be too large, or a file cannot be written.
pub(crate) fn write_png(folder: &Path, found: &Found, views: &[&Frame], words: &Words) -> Result<()> {
    let scales: Vec<Scale> = found.stages.iter().map(scale).collect();
    let parts = parts(found.times.len());
    let progress = Progress::bar(parts.len(), "writing .png");
    for (part, name) in parts.iter().zip(png_names(found)) {
        let frames: Vec<Frame> = views[part.start..=part.end].iter().map(|&view| view.clone()).collect();
        let names: Vec<String> = found.stages.iter().map(stage_name).collect();
        let maps: Vec<Maps<'_>> = (found.stages.iter().zip(&scales).zip(&names))
            .map(|((stage, scale), name)| maps(found, stage, *scale, name, words, part))
            .collect();
        let note = if found.stages.iter().any(|stage| stage.probe) {
            format!(
                "{} · probe: no motion module is trained there, the stage's own features are compared",
                words.note
            )
        } else {
            words.note.clone()
        };
        let request = Figure {
            title: &words.title,
            note: &note,
            frames: &frames,
            maps: &maps,
            tile: TILE,
            enlarge: Enlarge::Nearest,
        };
        let picture = figure(&request)?;
        let (width, height) = (u32::try_from(picture.width)?, u32::try_from(picture.height)?);
        write_atomically(&folder.join(name), |file| {
            Ok(PngEncoder::new(file).write_image(&picture.rgba, width, height, ExtendedColorType::Rgba8)?)
        })?;
        progress.inc();
    }
    Ok(())
}

/// Writes a GIF for each stage: the frame, the displacement over it, and the legend.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_gif(folder: &Path, found: &Found, views: &[&Frame], words: &Words) -> Result<()> {
    let delays = delays(&found.times);
    let progress = Progress::bar(found.stages.len() * delays.len(), "writing .gif");
    for (stage, name) in found.stages.iter().zip(gif_names(found)) {
        let scale = scale(stage);
        let label = stage_name(stage);
        let legend = legend(&maps(found, stage, scale, &label, words, &(0..0)), [TILE, views[0].height])?;
        let text = format!("{label}, {}: frame · displacement to the next frame over it", words.estimator());
        let strip = strip(&text, 2 * views[0].width + TILE)?;
        write_atomically(&folder.join(name), |file| {
            let mut gif = GifEncoder::new_with_speed(file, 10);
            gif.set_repeat(Repeat::Infinite)?;
            for (pair, &delay) in delays.iter().enumerate() {
                let picture = beside(views[pair], stage, scale, pair, [&legend, &strip])?;
                let delay = Delay::from_numer_denom_ms(10 * delay, 1);
                gif.encode_frame(image::Frame::from_parts(picture, 0, 0, delay))?;
                progress.inc();
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A frame, the same with its displacement laid over it, the legend, and a line of words under them.
fn beside(view: &Frame, stage: &Stage, scale: Scale, pair: usize, words: [&Picture; 2]) -> Result<RgbaImage> {
    let [legend, strip] = words;
    let [rows, columns] = stage.maps.grid;
    let size = rows * columns * 2;
    let map = &stage.maps.displacement[pair * size..][..size];
    let large = enlarge(map, 2, [rows, columns], [view.height, view.width], Enlarge::Bilinear)?;
    let unit = scale.in_map_units();
    let mut colours = wheel::displacement_rgba(&large, unit);
    // What lies still lets the frame through.
    mask(&mut colours, &lengths(&large, unit));
    let mut picture = Picture::new(strip.width, view.height + strip.height, [255; 3])?;
    picture.draw(&Picture::from_frame(view)?, 0, 0, 1.0);
    picture.draw(&overlay(view, &colours, OPACITY)?, view.width as isize, 0, 1.0);
    picture.draw(legend, 2 * view.width as isize, 0, 1.0);
    picture.draw(strip, 0, view.height as isize, 1.0);
    let (width, height) = (u32::try_from(picture.width)?, u32::try_from(picture.height)?);
    RgbaImage::from_raw(width, height, picture.rgba).context("a picture without pixels")
}

/// Hundredths of a second that each pair is shown; roundings do not add up.
fn delays(times: &[f64]) -> Vec<u32> {
    let at: Vec<f64> = times.iter().map(|time| (100.0 * time).round()).collect();
    at.windows(2).map(|pair| ((pair[1] - pair[0]).clamp(0.0, 6000.0) as u32).max(LEAST_DELAY)).collect()
}

fn scale(stage: &Stage) -> Scale {
    clip_scale(&stage.maps.displacement, stage.maps.radius)
}

fn stage_name(stage: &Stage) -> String {
    format!("{}{}", stage.maps.stage, if stage.probe { " (probe)" } else { "" })
}

fn maps<'a>(
    found: &Found,
    stage: &'a Stage,
    scale: Scale,
    name: &'a str,
    words: &Words,
    pairs: &Range<usize>,
) -> Maps<'a> {
    let cells = stage.maps.grid[0] * stage.maps.grid[1];
    Maps {
        stage: name,
        estimator: words.estimator(),
        grid: stage.maps.grid,
        displacement: &stage.maps.displacement[pairs.start * cells * 2..pairs.end * cells * 2],
        confidence: &stage.maps.confidence[pairs.start * cells..pairs.end * cells],
        scale,
        cell: found.cell(stage, Resolution::Grid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_clips_take_several_figures_of_like_length() {
        let ends = |frames| parts(frames).iter().map(|part| [part.start, part.end]).collect::<Vec<_>>();
        assert_eq!(ends(8), [[0, 7]]);
        assert_eq!(ends(17), [[0, 16]]);
        assert_eq!(ends(18), [[0, 8], [8, 17]]);
        assert_eq!(parts(100).last().unwrap().end, 99);
        assert!(parts(100).iter().all(|part| part.len() <= 16));
    }

    #[test]
    fn the_time_of_a_gif_is_that_of_the_clip() {
        let times: Vec<f64> = (0..31).map(|i| f64::from(i) / 30.0).collect();
        let delays = delays(&times);
        assert_eq!(delays.iter().sum::<u32>(), 100);
        assert!(delays.iter().all(|delay| (3..=4).contains(delay)));
        assert_eq!(super::delays(&[0.0, 0.001, -5.0]), [2, 2]);
    }
}
