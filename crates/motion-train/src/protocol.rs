//! How a test looks at each video: how many clips, which crops, and how scores become one answer.
//!
//! | published test | here |
//! |---|---|
//! | Something-Something: a clip, the centre crop | the default |
//! | TSM's two clips at full resolution | `clips: 2, crops: Crops::Three` |
//! | Kinetics, the paper: 10 clips, the centre crop | `clips: 10`, with a model of dense sampling |
//! | Kinetics, the code: 10 clips by 3 crops of the whole shorter side | `clips: 10, crops: Crops::Three`, with such a model |
//!
//! Scores are averaged over the views of a video before any softmax, as in the published code. So are those of several
//! models, with equal weights, as in TSM's `test_models.py`, on whose code the published one is built; what is called
//! `--softmax` there makes probabilities of each model's mean scores first.

use motion_clip::{Frame, Geometry, Preprocess, crop, resize};
use motion_net::{Config, HostTensor};

use crate::augment::Crop;
use crate::error::Result;
use crate::evaluate::{normalised, preprocess};

/// How often a test looks at a video, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// Clips of each video, see [`crate::sampler::Sampler`].
    pub clips: usize,
    /// Views of each clip.
    pub crops: Crops,
    /// Whether models are averaged as probabilities instead of scores.
    pub softmax: bool,
}

impl Default for Protocol {
    /// One clip, the centre crop.
    fn default() -> Self {
        Self { clips: 1, crops: Crops::Centre, softmax: false }
    }
}

/// Which parts of a resized frame the network sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crops {
    /// The centre, of the model's own input size.
    Centre,
    /// Left, right and centre, each of the resized picture's whole height: `GroupFullResSample` at full resolution of the
    /// published code, whose network then sees 256 x 256 pixels instead of 224 x 224.
    Three,
}

impl Crops {
    /// How many.
    pub fn count(self) -> usize {
        match self {
            Self::Centre => 1,
            Self::Three => 3,
        }
    }

    /// The views of a model; `None` where all would be the same: three crops lie beside each other, so the resized picture
    /// has to be wider than high.
    ///
    /// # Errors
    /// When the input is larger than the resized picture.
    pub(crate) fn views(self, config: &Config) -> Result<Option<Vec<View>>> {
        let ([height, width], side) = (config.resize, config.input_size);
        Ok(match self {
            Self::Centre => {
                let [row, column] = [crop::centre_offset(height, side)?, crop::centre_offset(width, side)?];
                Some(vec![View { row, column, side }])
            }
            Self::Three if width <= height => None,
            Self::Three => {
                let places = crop::three_crops(height, width, height)?;
                Some(places.map(|[row, column]| View { row, column, side: height }).to_vec())
            }
        })
    }
}

/// A square part of the resized frame, as the network sees it: not resized again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    row: usize,
    column: usize,
    side: usize,
}

impl View {
    /// The network's input `[1, T, side, side, 3]`.
    ///
    /// # Errors
    /// When a frame cannot be resized.
    pub(crate) fn input(self, config: &Config, frames: &[Frame]) -> Result<HostTensor> {
        let [height, width] = config.resize;
        let window = || [self.row..self.row + self.side, self.column..self.column + self.side];
        let views = frames.iter().map(|frame| resize::resize_window(frame, height, width, window()));
        normalised(&self.preprocess(config), &views.collect::<motion_clip::Result<Vec<_>>>()?)
    }

    /// How it lies on a frame of this size.
    pub(crate) fn geometry(self, config: &Config, width: usize, height: usize) -> Geometry {
        let Self { row, column, side } = self;
        let part = Crop { x: column, y: row, width: side, height: side };
        Geometry::of_crop(part.of_frame(width, height, &preprocess(config)), side)
    }

    fn preprocess(self, config: &Config) -> Preprocess {
        Preprocess { input_size: self.side, ..preprocess(config) }
    }
}

/// Probabilities of scores.
pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raised: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.into_iter().map(|value| value / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(resize: [usize; 2], input_size: usize) -> Config {
        let [height, width] = resize;
        Config::from_json(&format!(
            r#"{{"architecture": "msnet", "backbone": "resnet18", "frames": 4, "input_size": {input_size},
            "resize": [{height}, {width}], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
            "sampling": "segment", "width": 0.125, "id2label": {{"0": "Up"}}}}"#
        ))
        .unwrap()
    }

    fn frame() -> Frame {
        let rgb = (0..97 * 55 * 3).map(|i| (i * 101 % 256) as u8).collect();
        Frame::new(97, 55, rgb, 0.0).unwrap()
    }

    #[test]
    fn the_centre_is_what_the_network_always_sees() {
        let config = config([48, 64], 37);
        let [view] = Crops::Centre.views(&config).unwrap().unwrap()[..] else { panic!("one view") };
        let frames = [frame(), frame()];
        assert_eq!(
            view.input(&config, &frames).unwrap(),
            crate::evaluate::network_input(&config, &frames).unwrap()
        );
        assert_eq!(view.geometry(&config, 640, 96), preprocess(&config).geometry(640, 96));
    }

    #[test]
    fn three_crops_are_as_high_as_the_picture() {
        let views = Crops::Three.views(&config([240, 320], 224)).unwrap().unwrap();
        let view = |column| View { row: 0, column, side: 240 };
        assert_eq!(views, [view(0), view(80), view(40)]);
        // The right one shows the right three quarters of a frame of another size.
        let part = views[1].geometry(&config([240, 320], 224), 640, 120).crop();
        assert_eq!((part.x, part.y, part.width, part.height), (160.0, 0.0, 480.0, 120.0));
        assert_eq!(Crops::Three.views(&config([64, 64], 64)).unwrap(), None);
    }

    #[test]
    fn probabilities_add_up_and_keep_the_order() {
        let found = softmax(&[1.0, 3.0, 1000.0, 999.0]);
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(found[2] > found[3] && (found[3] / found[2] - (-1.0_f64).exp()).abs() < 1e-12);
    }
}
