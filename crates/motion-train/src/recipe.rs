//! A training run in one TOML file: what to train, on what, how.

use std::path::{Path, PathBuf};

use motion_net::Config;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, at};
use crate::synth::Split;

/// The recipe of a training run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where the run's files go; relative to the recipe.
    pub out: PathBuf,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Times that every training clip is seen.
    pub epochs: usize,
    /// Clips a step.
    pub batch: usize,
    /// Step size at the top of the schedule (AdamW).
    pub learning_rate: f64,
    /// The same for the backbone's own parameters, as a share of `learning_rate`.
    #[serde(default = "one")]
    pub backbone_rate: f64,
    /// Share of the steps in which the step size rises from 0; it falls as a cosine after.
    #[serde(default)]
    pub warm_up: f64,
    /// Decoupled weight decay; on weights only, not on biases and norms.
    #[serde(default)]
    pub weight_decay: f64,
    /// Gradients longer than this, all together, are shortened to it.
    #[serde(default = "clip")]
    pub gradient_clip: f64,
    /// Share of the pooled features zeroed; 0.5 in the published code.
    #[serde(default)]
    pub dropout: f32,
    /// Share of the truth that is spread over all classes.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Folder of an ImageNet-trained MobileNetV2 as `.npy` files (Gluon's names) to start from; relative to the
    /// recipe.
    #[serde(default)]
    pub trunk: Option<PathBuf>,
    /// A model folder to start from, instead: what its network has by name, this one takes over; relative to the
    /// recipe.
    #[serde(default)]
    pub first: Option<PathBuf>,
    /// Stages up to this one keep their first values; their features are computed once.
    #[serde(default)]
    pub freeze_until: Option<String>,
    /// Whether what the motion modules compare keeps its first values too: with frozen stages before them, the maps
    /// stay as they were in `first`.
    #[serde(default)]
    pub freeze_maps: bool,
    /// Frames of a random run of each clip that a training step sees; the whole clip where absent. Frames meet only
    /// in the motion modules and in the consensus, so without a temporal shift a run of a clip is like a clip.
    #[serde(default)]
    pub run_frames: Option<usize>,
    /// Whether each step mirrors, turns upside down and reverses clips at random, with the labels that they have
    /// then. It is done to the features of the frozen stage: correlation of mirrored features is the mirrored
    /// correlation, so it is exact for `motion_only` fusion.
    #[serde(default)]
    pub symmetries: bool,
    /// Whether the trained part of the backbone uses each batch's statistics in its norms; else the stored ones.
    #[serde(default)]
    pub batch_norms: bool,
    /// Weight of the class in the loss; at 0 only the maps learn, and nothing after the last motion module runs.
    #[serde(default = "one")]
    pub class_weight: f64,
    /// How the true flow teaches the displacement maps; by the class alone, as in the paper, where absent.
    #[serde(default)]
    pub guide: Option<Guide>,
    /// The training clips.
    pub train: DataSpec,
    /// Clips by which the best epoch is chosen.
    pub validate: DataSpec,
    /// Clips that only the finished model sees.
    pub test: DataSpec,
    /// The model's `config.json`; `id2label` is filled in from the data.
    pub model: toml::Table,
}

/// The true flow's part of the loss (see [`crate::guide`]).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guide {
    /// Weight of the true cell's cross entropy under the softmax of the correlation, in nats.
    pub likelihood: f64,
    /// What that softmax divides correlations by.
    pub temperature: f64,
    /// Weight of the shown displacement's distance from the true one, in cells.
    pub end_point: f64,
}

/// Where clips come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// A folder that `motionlens synth` wrote; relative to the recipe.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// Or clips rendered on the fly: how many.
    #[serde(default)]
    pub count: usize,
    /// The first clip's seed; clip i has seed + i.
    #[serde(default)]
    pub seed: u64,
    /// Which materials and shapes they are made of.
    #[serde(default)]
    pub split: Split,
}

fn one() -> f64 {
    1.0
}
fn clip() -> f64 {
    20.0
}

impl Recipe {
    /// Reads and checks a recipe; its relative paths become relative to the working folder.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Recipe`] naming the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(at(path))?;
        let wrong = |message: String| Error::Recipe { path: path.to_owned(), message };
        let mut recipe: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        recipe.out = base.join(&recipe.out);
        recipe.trunk = recipe.trunk.map(|trunk| base.join(trunk));
        recipe.first = recipe.first.map(|first| base.join(first));
        if recipe.trunk.is_some() && recipe.first.is_some() {
            return Err(wrong("both `trunk` and `first` say where to start; give one of them".into()));
        }
        if recipe.class_weight == 0.0 && recipe.guide.is_none() {
            return Err(wrong("nothing to learn: class_weight is 0 and there is no [guide]".into()));
        }
        for data in [&mut recipe.train, &mut recipe.validate, &mut recipe.test] {
            data.folder = data.folder.take().map(|folder| base.join(folder));
            if data.folder.is_none() && data.count == 0 {
                return Err(wrong("a data set needs `folder` or a `count` above 0".into()));
            }
        }
        for (name, value, low, high) in [
            ("epochs", recipe.epochs as f64, 1.0, 1e6),
            ("batch", recipe.batch as f64, 1.0, 4096.0),
            ("learning_rate", recipe.learning_rate, 1e-9, 10.0),
            ("backbone_rate", recipe.backbone_rate, 0.0, 10.0),
            ("warm_up", recipe.warm_up, 0.0, 0.9),
            ("weight_decay", recipe.weight_decay, 0.0, 1.0),
            ("gradient_clip", recipe.gradient_clip, 1e-6, 1e9),
            ("dropout", f64::from(recipe.dropout), 0.0, 0.95),
            ("label_smoothing", recipe.label_smoothing, 0.0, 0.9),
            ("class_weight", recipe.class_weight, 0.0, 1e3),
            ("guide.likelihood", recipe.guide.map_or(0.0, |guide| guide.likelihood), 0.0, 1e3),
            ("guide.temperature", recipe.guide.map_or(1.0, |guide| guide.temperature), 1e-3, 10.0),
            ("guide.end_point", recipe.guide.map_or(0.0, |guide| guide.end_point), 0.0, 1e3),
        ] {
            if !(low..=high).contains(&value) {
                return Err(wrong(format!("{name} is {value}, expected {low} to {high}")));
            }
        }
        Ok(recipe)
    }

    /// The model's configuration with these classes.
    ///
    /// # Errors
    /// [`motion_net::Error::Config`] naming the key.
    pub fn config(&self, labels: &[String]) -> Result<Config> {
        let mut table = self.model.clone();
        let names = labels.iter().enumerate().map(|(i, label)| (i.to_string(), label.clone().into()));
        table.insert("id2label".into(), toml::Value::Table(names.collect()));
        let json =
            serde_json::to_string(&table).map_err(|error| motion_net::Error::Config(error.to_string()))?;
        Ok(Config::from_json(&json)?)
    }
}
