//! A training run in one TOML file: what to train, on what, how.

use std::path::{Path, PathBuf};

use motion_net::Config;
use motion_net::backend::Statistics;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::augment::Augment;
use crate::error::{Error, Result, at};
use crate::optimizer::Method;
use crate::schedule::Schedule;
use crate::synth::{CLASSES, Split};

/// The recipe of a training run: every key that it may have. A key that is not here is an error.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The file as it was read.
    #[serde(skip)]
    pub text: String,
    /// Where the run's files go; relative to the recipe.
    pub out: PathBuf,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Times that every training clip is seen.
    pub epochs: usize,
    /// Clips of one pass through the network: those that share the statistics of a norm.
    pub batch: usize,
    /// Batches whose gradients are added up for one step; 1 where absent.
    #[serde(default = "once")]
    pub accumulate: usize,
    /// `"adamw"` (where absent) or `"sgd"`.
    #[serde(default)]
    pub optimizer: Method,
    /// What SGD keeps of its last steps; 0.9 where absent.
    #[serde(default = "momentum")]
    pub momentum: f64,
    /// Whether SGD's momentum is Nesterov's; true where absent, as in the published code for Something-Something.
    #[serde(default = "yes")]
    pub nesterov: bool,
    /// Step size at the top of the schedule.
    pub learning_rate: f64,
    /// The same for the backbone's own parameters, as a share of `learning_rate`; 1 where absent.
    #[serde(default = "one")]
    pub backbone_rate: f64,
    /// The same for biases of convolutions and of the classifier; 1 where absent, 2 in the published code.
    #[serde(default = "one")]
    pub bias_rate: f64,
    /// Share of the steps in which the step size rises from 0; 0 where absent.
    #[serde(default)]
    pub warm_up: f64,
    /// How it goes on after: `"cosine"` (where absent), `"constant"`, or
    /// `{ step = { epochs = [20, 30], factor = 0.1 } }`, the published code's.
    #[serde(default)]
    pub schedule: Schedule,
    /// Weight decay, on weights only, not on biases and norms; 0 where absent.
    #[serde(default)]
    pub weight_decay: f64,
    /// Gradients longer than this, all together, are shortened to it; 20 where absent.
    #[serde(default = "clip")]
    pub gradient_clip: f64,
    /// What an exponential moving average of the parameters keeps from step to step, such as 0.999; it is the average
    /// that is evaluated and saved. 0, no average, where absent.
    #[serde(default)]
    pub average: f64,
    /// The run ends when so many epochs have brought no better one; 0, never, where absent.
    #[serde(default)]
    pub patience: usize,
    /// Steps after which the run's state is written (it is at every epoch's end too); 100 where absent.
    #[serde(default = "save_every")]
    pub save_every: usize,
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
    /// Whether what the motion modules after frozen stages compare keeps its first values too: their maps stay as they
    /// were in `first`.
    #[serde(default)]
    pub freeze_maps: bool,
    /// Frames of a random run of each clip that a training step sees; the whole clip where absent. Frames meet only
    /// in the motion modules and in the consensus, so without a temporal shift a run of a clip is like a clip; with one,
    /// like a shorter clip.
    #[serde(default)]
    pub run_frames: Option<usize>,
    /// Whether each step mirrors, turns upside down and reverses clips at random, with the labels that they have
    /// then. It is done to the features of the frozen stage: correlation of mirrored features is the mirrored
    /// correlation, so it is exact for `motion_only` fusion.
    #[serde(default)]
    pub symmetries: bool,
    /// How the norms of the backbone's trained part train: `true`, with each batch's statistics; `false` (where
    /// absent), with the stored ones; `"partial"`, as TSN's partial batch norm: the first norm with each batch's, all
    /// others as they are, with their scales and shifts.
    #[serde(default, deserialize_with = "norms")]
    pub batch_norms: Norms,
    /// Whether the motion modules' reductions use each batch's statistics; where absent, unless `freeze_maps`.
    #[serde(default)]
    pub reduction_norms: Option<bool>,
    /// Whether the motion modules' other norms do; true where absent.
    #[serde(default = "yes")]
    pub motion_norms: bool,
    /// Random crops and mirror images of the training clips; none where absent. It needs pixels, so no frozen stages.
    #[serde(default)]
    pub augment: Option<Augment>,
    /// Whether clips are read once and kept in memory, ready for the network; true where absent. Augmented clips and
    /// those of videos are read again for every epoch.
    #[serde(default = "yes")]
    pub keep_clips: bool,
    /// Weight of the class in the loss, 1 where absent; at 0 only the maps learn, and nothing after the last motion module runs.
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
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guide {
    /// Weight of the true cell's cross entropy under the softmax of the correlation, in nats.
    pub likelihood: f64,
    /// What that softmax divides correlations by.
    pub temperature: f64,
    /// Weight of the shown displacement's distance from the true one, in cells.
    pub end_point: f64,
}

/// How the backbone's norms train.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Norms {
    /// With the stored statistics.
    #[default]
    Frozen,
    /// With each batch's.
    Train,
    /// The first one with each batch's, the others not at all (TSN).
    Partial,
}

impl Norms {
    /// Statistics of the backbone's first norm and of its others.
    pub fn statistics(self) -> [Statistics; 2] {
        [statistics(self != Self::Frozen), statistics(self == Self::Train)]
    }
}

/// Those of each batch, or the stored ones.
pub(crate) fn statistics(batch: bool) -> Statistics {
    if batch { Statistics::Batch } else { Statistics::Running }
}

/// Where clips come from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// A folder that `motionlens synth` wrote, or a folder of videos or of folders of frames; relative to the recipe.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// Which of its videos, and their classes, in any form that [`crate::lists`] knows; where absent they lie in class
    /// folders, FOLDER/CLASS/VIDEO. Relative to the recipe.
    #[serde(default)]
    pub list: Option<PathBuf>,
    /// Names of the classes in the order of their numbers. Where absent, those of the training clips, or of their list,
    /// sorted. Relative to the recipe.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// Or clips rendered on the fly: how many.
    #[serde(default)]
    pub count: usize,
    /// The first clip's seed; clip i has seed + i.
    #[serde(default)]
    pub seed: u64,
    /// Which materials and shapes they are made of; or which of HMDB51's lists.
    #[serde(default)]
    pub split: Split,
    /// The rendered classes that take turns, one that is named twice twice as often; all of them where absent.
    #[serde(default)]
    pub classes: Vec<String>,
}

impl DataSpec {
    /// Labels of the rendered classes that take turns.
    pub fn rendered_classes(&self) -> Vec<usize> {
        let label = |name: &String| CLASSES.iter().position(|class| class == name);
        match self.classes.is_empty() {
            true => (0..CLASSES.len()).collect(),
            false => self.classes.iter().filter_map(label).collect(),
        }
    }
}

fn norms<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Norms, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::Boolean(false) => Ok(Norms::Frozen),
        toml::Value::Boolean(true) => Ok(Norms::Train),
        toml::Value::String(word) if word == "partial" => Ok(Norms::Partial),
        found => {
            let message = format!("batch_norms is {found}, expected true, false or \"partial\"");
            Err(D::Error::custom(message))
        }
    }
}

fn one() -> f64 {
    1.0
}
fn once() -> usize {
    1
}
fn momentum() -> f64 {
    0.9
}
fn yes() -> bool {
    true
}
fn save_every() -> usize {
    100
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
        if recipe.maps_only() && recipe.guide.is_none() {
            return Err(wrong("nothing to learn: class_weight is 0 and there is no [guide]".into()));
        }
        for data in [&mut recipe.train, &mut recipe.validate, &mut recipe.test] {
            for path in [&mut data.folder, &mut data.list, &mut data.labels] {
                *path = path.take().map(|path| base.join(path));
            }
            if data.folder.is_none() && (data.list.is_some() || data.labels.is_some()) {
                return Err(wrong("`list` and `labels` need the `folder` of their videos".into()));
            }
            if let Some(name) = data.classes.iter().find(|name| !CLASSES.contains(&name.as_str())) {
                return Err(wrong(format!(
                    "`classes` names {name:?}, expected classes of `motionlens synth` ({:?}, ...)",
                    CLASSES[0]
                )));
            }
            if data.folder.is_some() && !data.classes.is_empty() {
                return Err(wrong("`classes` is for rendered clips; a `folder` has its own".into()));
            }
            if data.folder.is_none() && data.count == 0 {
                return Err(wrong("a data set needs `folder` or a `count` above 0".into()));
            }
        }
        for (name, value, low, high) in [
            ("epochs", recipe.epochs as f64, 1.0, 1e6),
            ("batch", recipe.batch as f64, 1.0, 4096.0),
            ("accumulate", recipe.accumulate as f64, 1.0, 4096.0),
            ("save_every", recipe.save_every as f64, 1.0, 1e9),
            ("momentum", recipe.momentum, 0.0, 0.9999),
            ("average", recipe.average, 0.0, 0.999_999),
            ("bias_rate", recipe.bias_rate, 0.0, 10.0),
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
        if let Schedule::Step { epochs, factor } = &recipe.schedule {
            let increasing = epochs.windows(2).all(|pair| pair[0] < pair[1]);
            let inside = epochs.iter().all(|epoch| (1..recipe.epochs).contains(epoch));
            if !(increasing && inside && *factor > 0.0 && *factor <= 1.0) {
                return Err(wrong(format!(
                    "schedule.step has epochs {epochs:?} and factor {factor}, expected increasing epochs above 0 and \
                     below the run's {} and a factor above 0 up to 1",
                    recipe.epochs
                )));
            }
        }
        if let Some(augment) = &recipe.augment {
            augment.check().map_err(wrong)?;
            if let Some(stage) = &recipe.freeze_until {
                return Err(wrong(format!(
                    "[augment] needs pixels, and freeze_until = {stage:?} computes features once; take out one of them"
                )));
            }
        }
        recipe.text = text;
        Ok(recipe)
    }

    /// Whether nothing but the displacement maps is trained.
    pub fn maps_only(&self) -> bool {
        self.class_weight == 0.0
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

#[cfg(test)]
impl Recipe {
    /// One with nothing but what it must have.
    pub(crate) fn example() -> Self {
        toml::from_str(tests::SHORT).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const SHORT: &str = r#"
        out = "run"
        seed = 1
        epochs = 40
        batch = 4
        learning_rate = 0.01
        #
        [train]
        count = 1
        [validate]
        count = 1
        [test]
        count = 1
        [model]
        "#;

    fn read(keys: &str) -> Result<Recipe> {
        read_text(&SHORT.replace('#', keys))
    }

    fn read_text(text: &str) -> Result<Recipe> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        Recipe::read(&path)
    }

    #[test]
    fn rendered_classes_take_turns() {
        let only = |names: &str| {
            read_text(&SHORT.replacen("[validate]", &format!("classes = {names}\n[validate]"), 1))
        };
        assert_eq!(read("").unwrap().train.rendered_classes(), (0..CLASSES.len()).collect::<Vec<_>>());
        let names = format!("[{:?}, {:?}, {:?}]", CLASSES[3], CLASSES[0], CLASSES[3]);
        assert_eq!(only(&names).unwrap().train.rendered_classes(), [3, 0, 3]);
        assert!(only("[\"Juggling\"]").unwrap_err().to_string().contains("\"Juggling\""));
    }

    #[test]
    fn norms_train_three_ways() {
        use Statistics::{Batch, Running};
        for (word, expected) in
            [("true", [Batch; 2]), ("false", [Running; 2]), ("\"partial\"", [Batch, Running])]
        {
            let recipe = read(&format!("batch_norms = {word}")).unwrap();
            assert_eq!(recipe.batch_norms.statistics(), expected, "{word}");
        }
    }

    #[test]
    fn the_shipped_recipes_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        for file in std::fs::read_dir(folder).unwrap() {
            Recipe::read(&file.unwrap().path()).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (keys, said) in [
            ("optimiser = \"sgd\"", "optimiser"),
            ("optimizer = \"lion\"", "lion"),
            ("batch_norms = \"some\"", "partial"),
            ("accumulate = 0", "accumulate is 0"),
            ("average = 1.0", "average is 1"),
            ("momentum = 1.0", "momentum is 1"),
            ("schedule = { step = { epochs = [30, 20], factor = 0.1 } }", "increasing"),
            ("schedule = { step = { epochs = [20, 40], factor = 0.1 } }", "below the run's 40"),
            ("schedule = { step = { epochs = [20], factor = 0.0 } }", "factor"),
            ("schedule = { step = { epochs = [20], factor = 0.1, power = 2 } }", "power"),
            ("[augment]\nscales = []", "augment.scales"),
            ("[augment]\nscales = [1.5]", "augment.scales"),
            ("[augment]\ncrop = 3", "crop"),
            ("freeze_until = \"res2\"\n[augment]", "freeze_until"),
            ("[[train]]", "train"),
        ] {
            let message = read(keys).unwrap_err().to_string();
            assert!(message.contains("recipe.toml") && message.contains(said), "{keys}: {message}");
        }
    }
}
