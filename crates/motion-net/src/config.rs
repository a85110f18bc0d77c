//! Every number of the network, with its source. In: `config.json`. Out: a checked [`Config`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Added to the sum of squares before the root when features are brought to unit length.
/// Source: published code; the paper does not mention the normalisation.
pub const UNIT_LENGTH_EPSILON: f64 = 1e-6;
/// PyTorch's default, used by every batch norm of the published code.
pub const BATCH_NORM_EPSILON: f64 = 1e-5;
/// Share of the new batch in the running statistics (PyTorch's default).
pub const BATCH_NORM_MOMENTUM: f64 = 0.1;
/// One part in eight of the channels looks ahead, one looks back (TSM paper, Sec. 3; published code).
pub const SHIFT_DIVISOR: usize = 8;
/// Channels of the feature transform's first three layers; the fourth has the stage's own (published code).
pub const TRANSFORM_CHANNELS: [usize; 3] = [16, 32, 64];
/// Kernel sides of the feature transform's four depthwise layers (published code).
pub const TRANSFORM_KERNELS: [usize; 4] = [7, 3, 3, 3];

/// Channels of a ResNet's first stage before `width`; each later stage has twice as many (He et al., Table 1).
pub const RESNET_BASE: usize = 64;
/// Blocks in `res2` ... `res5` of a ResNet-18 (He et al., Table 1).
pub const RESNET18_BLOCKS: [usize; 4] = [2, 2, 2, 2];
/// Blocks in `res2` ... `res5` of a ResNet-50 (He et al., Table 1).
pub const RESNET50_BLOCKS: [usize; 4] = [3, 4, 6, 3];
/// A bottleneck's output has this many times its inner channels (He et al., Fig. 5).
pub const BOTTLENECK_EXPANSION: usize = 4;

/// Channels of MobileNetV2's stem; `width` leaves them alone, as in the TSM release.
pub const MOBILENET_STEM: usize = 32;
/// Channels of MobileNetV2's last 1x1 convolution; `width` leaves them alone, as in the TSM release.
pub const MOBILENET_LAST: usize = 1280;
/// MobileNetV2's bottlenecks: (expansion, channels, repeats, stride of the first) (Sandler et al., Table 2).
pub const MOBILENET_BOTTLENECKS: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];
/// Index of the last of MobileNetV2's 19 feature blocks in `stage1` ... `stage5` (MSNet supplement, Table 4).
pub const MOBILENET_STAGE_ENDS: [usize; 5] = [0, 3, 6, 13, 18];

/// The networks halve their input five times; below this nothing is left to compare.
pub const MINIMUM_SIDE: usize = 32;

/// Pixels of a clip that a network takes on: 16 frames of 1448 x 1448. A ResNet's first stage alone then needs 4 GB.
pub const MAXIMUM_PIXELS: usize = 1 << 25;

/// A model folder's `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Always `msnet`.
    pub architecture: Architecture,
    /// The network that the motion modules sit in.
    pub backbone: Backbone,
    /// T: frames of a clip.
    pub frames: usize,
    /// Side of the square that the network sees, in pixels.
    pub input_size: usize,
    /// (height, width) every frame is resized to, whatever its aspect ratio, before the centre crop.
    pub resize: [usize; 2],
    /// Per channel (R, G, B), taken from pixels in 0 ... 1.
    pub mean: [f32; 3],
    /// Per channel (R, G, B), divided by after the mean is taken away.
    pub std: [f32; 3],
    /// Which frames of a video make a clip.
    pub sampling: Sampling,
    /// Scales every channel count of the backbone; for small tests.
    #[serde(default = "one")]
    pub width: f64,
    /// The first bottleneck of a MobileNetV2 has its 1x1 expansion too (supplement, Fig. 2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expand_first_block: bool,
    /// First stage whose blocks read the temporally shifted input; absent: all of a backbone with a shift, as published.
    /// What lies before it sees each frame alone, so that maps of it are of single frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift_from: Option<String>,
    /// The motion modules; absent: the plain or TSM baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion: Option<MotionConfig>,
    /// Class index to words.
    pub id2label: BTreeMap<usize, String>,
}

/// The only architecture so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    /// MotionSqueeze network.
    #[serde(rename = "msnet")]
    MsNet,
}

/// Which backbone, with or without the temporal shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// ResNet-18.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-18 with temporal shift.
    #[serde(rename = "tsm_resnet18")]
    TsmResNet18,
    /// ResNet-50.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// ResNet-50 with temporal shift.
    #[serde(rename = "tsm_resnet50")]
    TsmResNet50,
    /// MobileNetV2.
    #[serde(rename = "mobilenet_v2")]
    MobileNetV2,
    /// MobileNetV2 with temporal shift.
    #[serde(rename = "tsm_mobilenet_v2")]
    TsmMobileNetV2,
}

impl Backbone {
    /// Whether the first convolution of a block reads the temporally shifted input.
    pub fn has_shift(self) -> bool {
        matches!(self, Self::TsmResNet18 | Self::TsmResNet50 | Self::TsmMobileNetV2)
    }

    /// Whether this is a MobileNetV2.
    pub fn is_mobilenet(self) -> bool {
        matches!(self, Self::MobileNetV2 | Self::TsmMobileNetV2)
    }

    /// Names of the stages in order; the first one (the stem) takes no motion module.
    pub fn stages(self) -> [&'static str; 5] {
        if self.is_mobilenet() {
            ["stage1", "stage2", "stage3", "stage4", "stage5"]
        } else {
            ["stem", "res2", "res3", "res4", "res5"]
        }
    }
}

/// Which frames make a clip; `motion-clip` does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The centre of each of T equal parts (TSN).
    Segment,
    /// A window of 64 frames.
    Dense,
}

/// The MS modules of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionConfig {
    /// After which stages.
    pub stages: Vec<String>,
    /// P: side of the search window in feature-map cells, odd; 15 in the paper (Sec. 4.1).
    #[serde(default = "patch")]
    pub patch: usize,
    /// Channels after the 1x1 reduction before the correlation; 64 in the published code for every
    /// backbone, none for MobileNetV2 (supplement, Table 4).
    #[serde(default)]
    pub reduce_channels: Option<usize>,
    /// How the correlation becomes a displacement.
    #[serde(default)]
    pub estimator: Estimator,
    /// Width of the Gaussian around the best match, in cells; 5 in the paper (Sec. 4.1).
    #[serde(default = "sigma")]
    pub sigma: f64,
    /// tau: scores are divided by it before the softmax; 0.01 in the paper (Sec. 4.1).
    #[serde(default = "temperature")]
    pub temperature: f64,
    /// Whether the confidence map joins the displacement (paper, Sec. 3.2).
    #[serde(default = "yes")]
    pub confidence: bool,
    /// Whether displacement from t+1 back to t joins too (paper, Table 3, "BD").
    #[serde(default)]
    pub backward: bool,
    /// How motion joins appearance.
    #[serde(default)]
    pub fusion: Fusion,
}

impl MotionConfig {
    /// What can be changed without other weights.
    pub fn estimation(&self) -> Estimation {
        Estimation {
            estimator: self.estimator,
            patch: self.patch,
            sigma: self.sigma,
            temperature: self.temperature,
        }
    }

    /// Channels of the displacement tensor: (dx, dy), confidence, and the same backward.
    pub fn displacement_channels(&self) -> usize {
        (if self.confidence { 3 } else { 2 }) * (if self.backward { 2 } else { 1 })
    }
}

/// How a correlation surface becomes a displacement: everything that may be switched while looking.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimation {
    /// Which estimator.
    pub estimator: Estimator,
    /// P: side of the search window, odd.
    pub patch: usize,
    /// Width of the Gaussian in cells; only for the kernel estimator.
    pub sigma: f64,
    /// tau.
    pub temperature: f64,
}

impl Default for Estimation {
    fn default() -> Self {
        Self { estimator: Estimator::Kernel, patch: patch(), sigma: sigma(), temperature: temperature() }
    }
}

impl Estimation {
    /// The search radius in cells: (P - 1) / 2.
    pub fn radius(&self) -> usize {
        self.patch / 2
    }

    /// # Errors
    /// [`Error::Config`] for an even or empty window and for a sigma or temperature that is not positive.
    pub fn check(&self) -> Result<()> {
        if self.patch.is_multiple_of(2) || !(3..=63).contains(&self.patch) {
            return Err(config(format!(
                "motion.patch is {}, expected an odd number from 3 to 63",
                self.patch
            )));
        }
        for (name, value) in [("sigma", self.sigma), ("temperature", self.temperature)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(config(format!("motion.{name} is {value}, expected a number above 0")));
            }
        }
        Ok(())
    }
}

/// The paper's two estimators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Kernel-soft-argmax (paper, Eq. 3 and 4).
    #[default]
    Kernel,
    /// Soft-argmax (paper, Eq. 2).
    Soft,
}

/// How motion joins appearance (paper, Table 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// appearance + motion; no ReLU follows.
    #[default]
    Add,
    /// appearance x motion.
    Multiply,
    /// A 1x1 convolution of both side by side.
    Concat,
    /// Motion alone.
    MotionOnly,
}

fn one() -> f64 {
    1.0
}
fn patch() -> usize {
    15
}
fn sigma() -> f64 {
    5.0
}
fn temperature() -> f64 {
    0.01
}
fn yes() -> bool {
    true
}
fn config(message: impl Into<String>) -> Error {
    Error::Config(message.into())
}

impl Config {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key: not JSON, an unknown or missing key, or a value out of range.
    pub fn from_json(json: &str) -> Result<Self> {
        let read: Self = serde_json::from_str(json).map_err(|error| config(error.to_string()))?;
        read.check()?;
        Ok(read)
    }

    /// The `config.json` of this configuration.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| config(error.to_string()))
    }

    /// Whether a stage's blocks read the temporally shifted input.
    pub fn shifts(&self, stage: &str) -> bool {
        let at = |name: &str| self.backbone.stages().iter().position(|stage| *stage == name);
        self.backbone.has_shift() && self.shift_from.as_deref().is_none_or(|from| at(from) <= at(stage))
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.id2label.len()
    }

    fn check(&self) -> Result<()> {
        let within = |name: &str, value: usize, range: std::ops::RangeInclusive<usize>| {
            if range.contains(&value) {
                Ok(())
            } else {
                Err(config(format!("{name} is {value}, expected {} to {}", range.start(), range.end())))
            }
        };
        within("frames", self.frames, 1..=256)?;
        within("input_size", self.input_size, MINIMUM_SIDE..=2048)?;
        let pixels = self.frames * self.input_size.pow(2);
        if pixels > MAXIMUM_PIXELS {
            return Err(config(format!(
                "frames x input_size x input_size is {pixels} pixels, expected at most {MAXIMUM_PIXELS}; lower either"
            )));
        }
        within("resize[0]", self.resize[0], self.input_size..=4096)?;
        within("resize[1]", self.resize[1], self.input_size..=4096)?;
        for (name, values) in [("mean", self.mean), ("std", self.std)] {
            if values.iter().any(|v| !v.is_finite()) || (name == "std" && values.iter().any(|&v| v <= 0.0)) {
                return Err(config(format!(
                    "{name} is {values:?}, expected three finite numbers (std above 0)"
                )));
            }
        }
        if !(self.width.is_finite() && (0.05..=8.0).contains(&self.width)) {
            return Err(config(format!("width is {}, expected 0.05 to 8", self.width)));
        }
        within("id2label (number of classes)", self.classes(), 1..=100_000)?;
        for (expected, found) in self.id2label.keys().enumerate() {
            if expected != *found {
                return Err(config(format!(
                    "id2label has no class {expected} (found {found} in its place), expected every number from 0"
                )));
            }
        }
        if self.expand_first_block && !self.backbone.is_mobilenet() {
            return Err(config("expand_first_block is for MobileNetV2 only; remove it"));
        }
        if let Some(from) = &self.shift_from {
            if !self.backbone.has_shift() {
                return Err(config("shift_from is for backbones with a temporal shift (tsm_...); remove it"));
            }
            let stages = self.backbone.stages();
            if !stages.contains(&from.as_str()) {
                return Err(config(format!("shift_from is {from:?}, expected one of {}", stages.join(", "))));
            }
        }
        let Some(motion) = &self.motion else { return Ok(()) };
        if self.frames < 2 {
            return Err(config("frames is 1, but motion needs at least 2; remove motion or raise frames"));
        }
        motion.estimation().check()?;
        let known = &self.backbone.stages()[1..];
        if motion.stages.is_empty() {
            return Err(config("motion.stages is empty; remove motion for a network without MS modules"));
        }
        for (i, stage) in motion.stages.iter().enumerate() {
            if !known.contains(&stage.as_str()) {
                return Err(config(format!(
                    "motion.stages holds {stage:?}, expected some of {}",
                    known.join(", ")
                )));
            }
            if motion.stages[..i].contains(stage) {
                return Err(config(format!("motion.stages holds {stage:?} twice")));
            }
        }
        if motion.reduce_channels == Some(0) {
            return Err(config("motion.reduce_channels is 0, expected null (no reduction) or at least 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"architecture": "msnet", "backbone": "tsm_resnet18", "frames": 8, "input_size": 224,
        "resize": [240, 320], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "sampling": "segment",
        "motion": {"stages": ["res3"]}, "id2label": {"0": "a", "1": "b"}}"#;

    #[test]
    fn a_config_survives_being_written() {
        let read = Config::from_json(GOOD).unwrap();
        assert_eq!(Config::from_json(&read.to_json().unwrap()).unwrap(), read);
        assert_eq!(read.motion.unwrap().estimation(), Estimation::default());
    }

    #[test]
    fn a_shift_may_begin_late() {
        let late = Config::from_json(&GOOD.replace(r#""frames": 8"#, r#""frames": 8, "shift_from": "res4""#))
            .unwrap();
        let shifted = late.backbone.stages().map(|stage| late.shifts(stage));
        assert_eq!(shifted, [false, false, false, true, true]);
        assert!(Config::from_json(GOOD).unwrap().shifts("res2"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, named) in [
            (r#""frames": 8"#, r#""framez": 8"#, "framez"),
            (r#""frames": 8"#, r#""frames": 0"#, "frames"),
            (r#""frames": 8"#, r#""frames": 1"#, "motion needs at least 2"),
            (r#""input_size": 224"#, r#""input_size": 241"#, "resize[0]"),
            (r#""frames": 8, "input_size": 224"#, r#""frames": 64, "input_size": 1024"#, "pixels"),
            ("res3", "stage3", "stage3"),
            (r#"["res3"]"#, "[]", "motion.stages is empty"),
            (r#"["res3"]"#, r#"["res3"], "patch": 4"#, "motion.patch"),
            (r#"["res3"]"#, r#"["res3"], "temperature": 0.0"#, "motion.temperature"),
            (r#""1": "b""#, r#""2": "b""#, "id2label"),
            ("0.229", "0.0", "std"),
            (
                r#""frames": 8"#,
                r#""frames": 8, "shift_from": "stage4""#,
                "shift_from is \"stage4\", expected one of stem",
            ),
            ("tsm_resnet18\", ", "resnet18\", \"shift_from\": \"res4\", ", "backbones with a temporal shift"),
            ("resnet18", "resnet17", "resnet17"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let message = Config::from_json(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(message.contains(named), "{named} is not in: {message}");
        }
    }
}
