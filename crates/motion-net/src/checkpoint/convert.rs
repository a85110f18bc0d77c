//! A checkpoint in; weights under the published names and a configuration that describes them out.
//!
//! Weights do not tell everything: what is read from names and shapes stands in the configuration, what had to be
//! assumed stands in the notes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checkpoint, TensorData, wrong};
use crate::backend::HostTensor;
use crate::config::{
    Architecture, Backbone, Config, Fusion, MOBILENET_BOTTLENECKS, MOBILENET_LAST, MotionConfig, RESNET_BASE,
    RESNET18_BLOCKS, RESNET50_BLOCKS, Sampling, TRANSFORM_KERNELS,
};
use crate::weights::names;
use crate::{Error, Estimation, Result, Weights};

/// A model folder's contents, from a checkpoint.
#[derive(Debug, Clone)]
pub struct Converted {
    /// Parameters under the published names, without counters.
    pub weights: Weights,
    /// The user's, or what names and shapes say.
    pub config: Config,
    /// What a reader of the result should know: what was assumed, what was left out.
    pub notes: Vec<String>,
}

/// Brings a checkpoint of the MSNet or TSM release, or of this program, into a model folder's form. `config`
/// overrides what names and shapes say, `labels` are the names of the classes in order.
///
/// Whether every tensor fits is for [`crate::MsNet::load`] to say.
///
/// # Errors
/// [`Error::Checkpoint`] when it is no such network or an older form of it, and says which;
/// [`Error::WeightNotFinite`]; [`Error::Config`] when `labels` are not as many as the classes.
pub fn to_msnet(
    checkpoint: Checkpoint,
    config: Option<Config>,
    labels: Option<Vec<String>>,
) -> Result<Converted> {
    let mut notes = Vec::new();
    let normalised = normalise(checkpoint, &mut notes)?;
    let shapes = Shapes(&normalised.tensors);
    shapes.refuse_other_forms()?;
    let mut config = match config {
        Some(config) => config,
        None => shapes.config(normalised.shift, &mut notes)?,
    };
    if let Some(labels) = labels {
        let classes = shapes.classes()?;
        if labels.len() != classes {
            return Err(Error::Config(format!(
                "found {} labels, the checkpoint has {classes} classes; expected one label a line for each class",
                labels.len()
            )));
        }
        config.id2label = labels.into_iter().enumerate().collect();
    }
    Ok(Converted { weights: Weights::new(normalised.tensors), config, notes })
}

struct Normalised {
    tensors: BTreeMap<String, HostTensor>,
    /// Whether the names or shapes tell that features are temporally shifted.
    shift: Option<bool>,
}

/// Published names: no `module.`, a ResNet's convolutions without the wrapper of the TSM release, one classifier.
fn normalise(checkpoint: Checkpoint, notes: &mut Vec<String>) -> Result<Normalised> {
    let mut tensors = BTreeMap::new();
    let mut wrapped = false;
    for (name, tensor) in checkpoint.tensors {
        let name = name.strip_prefix("module.").unwrap_or(&name);
        if name.ends_with(".num_batches_tracked") {
            continue;
        }
        let data = match tensor.data {
            TensorData::Float(data) => data,
            TensorData::Int(_) => {
                notes.push(format!("{name:?} holds integers and was left out"));
                continue;
            }
        };
        if let Some(index) = data.iter().position(|value| !value.is_finite()) {
            return Err(Error::WeightNotFinite { name: name.to_owned(), index, value: data[index] });
        }
        let in_resnet = name.starts_with("base_model.layer");
        wrapped |= name.contains(".conv1.net.") || name.contains(".conv.0.net.");
        let name = if in_resnet { name.replace(".conv1.net.", ".conv1.") } else { name.to_owned() };
        // Where the classifier sits: with dropout 0 (MSNet release), in some MobileNets (TSM release).
        let name = ["base_model.fc1.", "base_model.classifier."]
            .iter()
            .find_map(|path| name.strip_prefix(path))
            .map_or(name.clone(), |rest| format!("{}.{rest}", names::CLASSIFIER));
        if let Some(twice) = tensors.insert(name.clone(), HostTensor { shape: tensor.shape, data }) {
            return Err(wrong(format!(
                "two tensors are both {name:?} once renamed (one is {:?}); is this one network's state dict?",
                twice.shape
            )));
        }
    }
    let is_resnet = tensors.contains_key("base_model.conv1.weight");
    let has_module = tensors.keys().any(|name| names::is_motion(name));
    let weight = tensors.get_mut("new_fc.weight");
    let is_linear = weight.as_ref().is_some_and(|weight| weight.shape.len() == 2);
    let shift = match (wrapped, is_resnet) {
        (true, _) => Some(true),
        // The TSM release wraps what it shifts.
        (false, false) => Some(false),
        (false, true) if is_linear && !has_module => Some(false),
        (false, true) => None,
    };
    // The MSNet release classifies with a Conv1d, the TSM release with a Linear.
    if let Some(weight) = weight.filter(|_| is_resnet && is_linear) {
        weight.shape.push(1);
    }
    Ok(Normalised { tensors, shift })
}

/// Tensors by name; only their shapes are read.
struct Shapes<'a>(&'a BTreeMap<String, HostTensor>);

impl Shapes<'_> {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(|tensor| tensor.shape.as_slice())
    }

    fn need(&self, name: &str) -> Result<&[usize]> {
        self.shape(name).ok_or_else(|| {
            let found: Vec<&str> = self.0.keys().map(String::as_str).take(3).collect();
            wrong(format!(
                "{name:?} is missing, so this is no MSNet or TSM of a known backbone (its first tensors are {found:?}); \
                 expected names such as \"module.base_model.conv1.weight\" and \"module.new_fc.weight\""
            ))
        })
    }

    fn first(&self, name: &str) -> Result<usize> {
        let shape = self.need(name)?;
        shape.first().copied().ok_or_else(|| wrong(format!("{name:?} is a single number, expected a tensor")))
    }

    fn classes(&self) -> Result<usize> {
        self.first(&format!("{}.weight", names::CLASSIFIER))
    }

    /// `""` for a lone module, else `_res2`, ...: what follows `flow_refinement` in the names.
    fn motion_tails(&self) -> BTreeSet<&str> {
        let tails = self.0.keys().filter_map(|name| {
            let rest = name.strip_prefix("base_model.flow_refinement")?;
            rest.split_once('.').map(|(tail, _)| tail)
        });
        tails.collect()
    }

    /// The release changed its motion module several times while all of it was called MSNet.
    fn refuse_other_forms(&self) -> Result<()> {
        let tails = self.motion_tails();
        if tails.is_empty() && self.0.keys().any(|name| names::is_motion(name)) {
            return Err(wrong(
                "it has a channel reduction but no feature transform; is the state dict whole?",
            ));
        }
        for tail in tails {
            let layer = |index: usize| {
                let name = format!("base_model.flow_refinement{tail}.conv{index}.0.weight");
                self.shape(&name).map(<[usize]>::to_vec)
            };
            let Some(first) = layer(1) else {
                return Err(wrong(format!(
                    "an MSNet whose feature transform has other layers than the final release's \
                     (no \"base_model.flow_refinement{tail}.conv1.0.weight\"): the first form (June 2020) had three \
                     plain 3x3 convolutions; only the final form (October 2021: four depthwise-separable layers) can \
                     be run"
                )));
            };
            let [_, per_group, height, width] = first[..] else {
                return Err(wrong(format!(
                    "the feature transform's first layer is {first:?}, expected [3, 1, 7, 7]"
                )));
            };
            if per_group != 1 || layer(4).is_none() {
                return Err(wrong(format!(
                    "an MSNet of the first form (June 2020): its feature transform is plain convolutions (the first is \
                     {first:?}); there the last frame is zero-padded, a ReLU follows the addition and nothing is \
                     reduced before the correlation. Only the final form (October 2021: four depthwise-separable \
                     layers, the first [3, 1, 7, 7]) can be run"
                )));
            }
            if [height, width] != [TRANSFORM_KERNELS[0]; 2] {
                return Err(wrong(format!(
                    "the feature transform's first layer has a {height}x{width} kernel, the release's has 7x7; is this \
                     a modified MSNet?"
                )));
            }
        }
        Ok(())
    }

    fn config(&self, shift: Option<bool>, notes: &mut Vec<String>) -> Result<Config> {
        let (family, width, channels) = if self.shape("base_model.features.0.0.weight").is_some() {
            self.mobilenet()?
        } else {
            self.resnet()?
        };
        let shifted = shift.unwrap_or(true);
        if shift.is_none() {
            notes.push(
                "whether features are temporally shifted cannot be seen in these names; taken as shifted (TSM), as in \
                 the published network"
                    .to_owned(),
            );
        }
        let backbone = family.shifted(shifted);
        let motion = self.motion(backbone, &channels, notes)?;
        notes.push(
            "frames, picture size, sampling, search window and temperature cannot be seen in weights; the published \
             ones are taken (8 frames, 224 pixels, 15 x 15 cells, tau 0.01)"
                .to_owned(),
        );
        let config = Config {
            architecture: Architecture::MsNet,
            backbone,
            frames: 8,
            input_size: 224,
            resize: [240, 320],
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            sampling: Sampling::Segment,
            width,
            shift_from: None,
            expand_first_block: self.shape("base_model.features.1.conv.6.weight").is_some(),
            motion,
            id2label: (0..self.classes()?).map(|class| (class, format!("class {class}"))).collect(),
        };
        // The same limits as for a configuration that a user wrote.
        Config::from_json(&config.to_json()?)
    }

    /// Which ResNet, its width, and the channels that leave each stage after the stem.
    fn resnet(&self) -> Result<(Family, f64, [usize; 4])> {
        let base = self.first("base_model.conv1.weight")?;
        self.need("base_model.layer1.0.conv1.weight")?;
        let bottleneck = self.shape("base_model.layer1.0.conv3.weight").is_some();
        let blocks: [usize; 4] = std::array::from_fn(|stage| {
            let prefix = format!("base_model.layer{}.", stage + 1);
            let rest = self.0.keys().filter_map(|name| name.strip_prefix(&prefix));
            rest.filter_map(|rest| rest.split_once('.').map(|(block, _)| block))
                .collect::<BTreeSet<_>>()
                .len()
        });
        let family = match (bottleneck, blocks) {
            (false, RESNET18_BLOCKS) => Family::ResNet18,
            (true, RESNET50_BLOCKS) => Family::ResNet50,
            _ => {
                let kind = if bottleneck { "bottleneck" } else { "basic" };
                return Err(wrong(format!(
                    "a ResNet with {blocks:?} {kind} blocks; expected ResNet-18 (basic, {RESNET18_BLOCKS:?}) or \
                     ResNet-50 (bottleneck, {RESNET50_BLOCKS:?})"
                )));
            }
        };
        let last = if bottleneck { "conv3" } else { "conv2" };
        let mut channels = [0; 4];
        for (stage, channels) in channels.iter_mut().enumerate() {
            *channels = self.first(&format!("base_model.layer{}.0.{last}.weight", stage + 1))?;
        }
        Ok((family, base as f64 / RESNET_BASE as f64, channels))
    }

    /// The same of a MobileNetV2.
    fn mobilenet(&self) -> Result<(Family, f64, [usize; 4])> {
        // Channels were rounded up to multiples of 8, so each bottleneck leaves a range of widths.
        let mut feature = 1;
        let (mut above, mut most) = (0.0_f64, f64::INFINITY);
        let mut outputs = Vec::new();
        for (expansion, channels, repeats, _) in MOBILENET_BOTTLENECKS {
            let project = if expansion == 1 && self.shape("base_model.features.1.conv.6.weight").is_none() {
                3
            } else {
                6
            };
            let output = self.first(&format!("base_model.features.{feature}.conv.{project}.weight"))?;
            if expansion != 1 {
                above = above.max(output.saturating_sub(8) as f64 / channels as f64);
                most = most.min(output as f64 / channels as f64);
            }
            outputs.push(output);
            feature += repeats;
        }
        if above >= most {
            return Err(wrong(format!(
                "a MobileNetV2 whose bottlenecks have {outputs:?} channels, which no width gives (1.0 gives 16, 24, \
                 32, 64, 96, 160, 320)"
            )));
        }
        Ok((Family::MobileNetV2, most, [outputs[1], outputs[2], outputs[4], MOBILENET_LAST]))
    }

    /// The motion modules; `channels` leave the stages that may have one.
    fn motion(
        &self,
        backbone: Backbone,
        channels: &[usize; 4],
        notes: &mut Vec<String>,
    ) -> Result<Option<MotionConfig>> {
        let tails = self.motion_tails();
        let Some(&first) = tails.first() else { return Ok(None) };
        if first.is_empty() && tails.len() > 1 {
            return Err(wrong(format!(
                "it has a lone motion module and further ones named {tails:?}; is it a mixture of two networks?"
            )));
        }
        let stages = &backbone.stages()[1..];
        let described: Vec<ModuleShape> =
            tails.iter().map(|tail| self.module(tail)).collect::<Result<_>>()?;
        let module = &described[0];
        if let Some(other) = described.iter().find(|other| !module.alike(other)) {
            return Err(wrong(format!(
                "its motion modules differ ({module:?}, {other:?}); expected the same channels before the correlation, \
                 maps and fusion in all"
            )));
        }
        let placed: Vec<String> = if first.is_empty() {
            let fitting: Vec<&str> =
                stages.iter().zip(channels).filter(|&(_, &c)| c == module.output).map(|(&s, _)| s).collect();
            let usual = stages[1];
            let stage = match fitting[..] {
                [] => {
                    return Err(wrong(format!(
                        "its motion module gives {} channels, but the stages have {channels:?}; is this a mixture of \
                         two networks?",
                        module.output
                    )));
                }
                [only] => only,
                _ if fitting.contains(&usual) => usual,
                [any, ..] => any,
            };
            if fitting.len() > 1 {
                notes.push(format!(
                    "the motion module fits after any of {}; taken after {stage}",
                    fitting.join(", ")
                ));
            }
            if !backbone.is_mobilenet() && stage == "res4" && module.reduced.is_some() {
                notes.push(format!(
                    "the motion module reads {} channels, so it stands after res4; the release from 22 October 2020 to \
                     15 October 2021 built this form but called it after res3, where it cannot run",
                    module.output
                ));
            }
            vec![stage.to_owned()]
        } else {
            for tail in &tails {
                if !stages.contains(&tail.trim_start_matches('_')) {
                    return Err(wrong(format!(
                        "a motion module is named {tail:?}, expected one of _{}",
                        stages.join(", _")
                    )));
                }
            }
            tails.iter().map(|tail| tail.trim_start_matches('_').to_owned()).collect()
        };
        if !backbone.is_mobilenet() && module.reduced.is_none() {
            notes.push(
                "no channel reduction before the correlation: an MSNet from before 16 October 2020, not the final form; \
                 it runs as the release of September 2020 did"
                    .to_owned(),
            );
        }
        if !module.concat {
            notes.push("how motion joins features leaves no trace in weights; taken as addition".to_owned());
        }
        let Estimation { estimator, patch, sigma, temperature } = Estimation::default();
        Ok(Some(MotionConfig {
            stages: placed,
            patch,
            reduce_channels: module.reduced,
            estimator,
            sigma,
            temperature,
            confidence: module.maps.is_multiple_of(3),
            backward: module.maps > 3,
            fusion: if module.concat { Fusion::Concat } else { Fusion::Add },
        }))
    }

    fn module(&self, tail: &str) -> Result<ModuleShape> {
        let transform = format!("base_model.flow_refinement{tail}");
        let maps = self.first(&format!("{transform}.conv1.0.weight"))?;
        if ![2, 3, 4, 6].contains(&maps) {
            return Err(wrong(format!(
                "the feature transform reads {maps} maps, expected 2 or 3 (displacement, with confidence), or 4 or 6 \
                 (backward too)"
            )));
        }
        Ok(ModuleShape {
            maps,
            output: self.first(&format!("{transform}.conv4.3.weight"))?,
            reduced: self
                .shape(&format!("base_model.chnl_reduction{tail}.0.weight"))
                .and_then(|s| s.first())
                .copied(),
            concat: self.shape(&format!("{transform}.fuse.weight")).is_some(),
        })
    }
}

#[derive(Debug)]
struct ModuleShape {
    /// Channels of the displacement tensor.
    maps: usize,
    /// Channels of the motion feature, which are the stage's.
    output: usize,
    /// Channels of the correlated features, where they are reduced.
    reduced: Option<usize>,
    concat: bool,
}

impl ModuleShape {
    fn alike(&self, other: &Self) -> bool {
        (self.maps, self.reduced, self.concat) == (other.maps, other.reduced, other.concat)
    }
}

#[derive(Clone, Copy)]
enum Family {
    ResNet18,
    ResNet50,
    MobileNetV2,
}

impl Family {
    fn shifted(self, shifted: bool) -> Backbone {
        match (self, shifted) {
            (Self::ResNet18, false) => Backbone::ResNet18,
            (Self::ResNet18, true) => Backbone::TsmResNet18,
            (Self::ResNet50, false) => Backbone::ResNet50,
            (Self::ResNet50, true) => Backbone::TsmResNet50,
            (Self::MobileNetV2, false) => Backbone::MobileNetV2,
            (Self::MobileNetV2, true) => Backbone::TsmMobileNetV2,
        }
    }
}
