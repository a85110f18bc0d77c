//! A checkpoint's tensors become named parameters. The only file that knows the published names.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::backend::{Backend, HostTensor};
use crate::{Error, Result};

/// The tensors of one checkpoint, by published name without the leading `module.`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, HostTensor>,
}

impl Weights {
    /// Takes tensors as they are.
    pub fn new(tensors: BTreeMap<String, HostTensor>) -> Self {
        Self { tensors }
    }

    /// Reads a safetensors file: f32, f16, bf16 and f64 become f32; counters (integers) are left out.
    ///
    /// # Errors
    /// [`Error::WeightFile`] when it is no safetensors file, [`Error::WeightNotFinite`] for NaN and infinities.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| {
            Error::WeightFile(format!(
                "not a readable safetensors file ({error}); found {} bytes; is it whole? PyTorch checkpoints go through `motionlens convert`",
                bytes.len()
            ))
        })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let Some(data) = floats(&view) else { continue };
            if let Some(index) = data.iter().position(|value| !value.is_finite()) {
                return Err(Error::WeightNotFinite { name: name.to_owned(), index, value: data[index] });
            }
            tensors.insert(name.to_owned(), HostTensor { shape: view.shape().to_vec(), data });
        }
        Ok(Self { tensors })
    }

    /// Writes a safetensors file, `half` as f16, else f32.
    ///
    /// # Errors
    /// [`Error::WeightFile`] when a tensor cannot be written.
    pub fn to_safetensors(&self, half: bool) -> Result<Vec<u8>> {
        let bytes: Vec<(&String, &HostTensor, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let raw = if half {
                    tensor.data.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
                } else {
                    tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()
                };
                (name, tensor, raw)
            })
            .collect();
        let dtype = if half { Dtype::F16 } else { Dtype::F32 };
        let failed = |error: safetensors::SafeTensorError| Error::WeightFile(error.to_string());
        let views = bytes
            .iter()
            .map(|(name, tensor, raw)| {
                Ok((*name, TensorView::new(dtype, tensor.shape.clone(), raw).map_err(failed)?))
            })
            .collect::<Result<Vec<_>>>()?;
        safetensors::serialize(views, None).map_err(failed)
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, HostTensor> {
        &self.tensors
    }

    /// Number of values in all tensors.
    pub fn count(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.data.len()).sum()
    }
}

fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| half::bf16::from_le_bytes(b).to_f32()).collect(),
        _ => return None,
    })
}

/// What a parameter is for: a trainer decides its initial value and its weight decay by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A convolution's or linear layer's weight.
    Weight,
    /// A convolution's or linear layer's bias.
    Bias,
    /// A norm's gamma.
    NormScale,
    /// A norm's beta.
    NormShift,
    /// A norm's running mean; not trained.
    RunningMean,
    /// A norm's running variance; not trained.
    RunningVariance,
}

/// Where parameters come from: a checkpoint, or a trainer's variables.
pub trait ParameterSource<B: Backend> {
    /// The parameter of this name and shape.
    ///
    /// # Errors
    /// [`Error::WeightMissing`] or [`Error::WeightShape`].
    fn parameter(&mut self, name: &str, shape: &[usize], role: Role) -> Result<B::Parameter>;
}

/// Hands a checkpoint's tensors to a backend and remembers which were taken.
pub struct Loader<'a, B> {
    backend: &'a B,
    weights: Weights,
    taken: BTreeSet<String>,
}

impl<'a, B: Backend> Loader<'a, B> {
    /// Nothing is taken yet.
    pub fn new(backend: &'a B, weights: Weights) -> Self {
        Self { backend, weights, taken: BTreeSet::new() }
    }

    /// Names that the model did not take. Those of motion modules that the configuration leaves out come back
    /// (`Ok`), so that a host can mention them.
    ///
    /// # Errors
    /// [`Error::WeightsUnused`] when anything else is left over.
    pub fn finish(self) -> Result<Vec<String>> {
        let left = self.weights.tensors.into_keys().filter(|name| !self.taken.contains(name));
        let (motion, strange): (Vec<_>, Vec<_>) =
            left.filter(|name| !names::is_dead(name)).partition(|name| names::is_motion(name));
        if strange.is_empty() { Ok(motion) } else { Err(Error::WeightsUnused { names: strange }) }
    }
}

impl<B: Backend> ParameterSource<B> for Loader<'_, B> {
    fn parameter(&mut self, name: &str, shape: &[usize], _: Role) -> Result<B::Parameter> {
        let Some(tensor) = self.weights.tensors.get(name) else {
            return Err(Error::WeightMissing { name: name.to_owned(), expected: shape.to_vec() });
        };
        // The releases classify with a Conv1d [K, C, 1] or a Linear [K, C]: the same numbers.
        if trimmed(&tensor.shape) != trimmed(shape) {
            let (name, found) = (name.to_owned(), tensor.shape.clone());
            return Err(Error::WeightShape { name, found, expected: shape.to_vec() });
        }
        self.taken.insert(name.to_owned());
        self.backend.parameter(HostTensor { shape: shape.to_vec(), data: tensor.data.clone() })
    }
}

fn trimmed(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().rev().take_while(|&&n| n == 1).count();
    &shape[..shape.len() - ones]
}

/// The published names (MSNet release; MobileNetV2 as in the TSM release).
pub mod names {
    use crate::config::{Backbone, MOBILENET_STAGE_ENDS};

    /// A convolution and the norm that follows it.
    pub struct LayerName {
        /// Prefix of `.weight` and `.bias`.
        pub conv: String,
        /// Prefix of `.weight`, `.bias`, `.running_mean`, `.running_var`.
        pub norm: Option<String>,
    }

    fn layer(conv: String, norm: String) -> LayerName {
        LayerName { conv, norm: Some(norm) }
    }

    /// A ResNet's 7x7 convolution.
    pub fn resnet_stem() -> LayerName {
        layer("base_model.conv1".into(), "base_model.bn1".into())
    }

    /// Convolution `conv` (from 1) of a ResNet's block; `stage` 1 is `res2`.
    pub fn resnet_conv(stage: usize, block: usize, conv: usize) -> LayerName {
        let block = format!("base_model.layer{stage}.{block}");
        layer(format!("{block}.conv{conv}"), format!("{block}.bn{conv}"))
    }

    /// The projection on a ResNet block's skip path.
    pub fn resnet_downsample(stage: usize, block: usize) -> LayerName {
        let path = format!("base_model.layer{stage}.{block}.downsample");
        layer(format!("{path}.0"), format!("{path}.1"))
    }

    /// MobileNetV2's first and last convolution.
    pub fn mobilenet_conv(feature: usize) -> LayerName {
        let path = format!("base_model.features.{feature}");
        layer(format!("{path}.0"), format!("{path}.1"))
    }

    /// Convolution `conv` (from 0) of a MobileNetV2 bottleneck. A shifted convolution is wrapped in the release,
    /// hence `.net`.
    pub fn mobilenet_bottleneck(feature: usize, conv: usize, shifted: bool) -> LayerName {
        let path = format!("base_model.features.{feature}.conv");
        let net = if shifted { ".net" } else { "" };
        layer(format!("{path}.{}{net}", 3 * conv), format!("{path}.{}", 3 * conv + 1))
    }

    /// What the weight of a bottleneck's expansion is called where its input is shifted, if this is one that is not; and the
    /// other way round.
    pub fn with_or_without_shift(name: &str) -> Option<String> {
        let (path, tail) = name.split_once(".conv.0.")?;
        let feature = path.strip_prefix("base_model.features.")?;
        if !feature.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let tail = tail.strip_prefix("net.").map_or_else(|| format!("net.{tail}"), str::to_owned);
        Some(format!("{path}.conv.0.{tail}"))
    }

    /// Prefixes of a motion module's two parts, before their tail.
    const REDUCTION: &str = "base_model.chnl_reduction";
    const TRANSFORM: &str = "base_model.flow_refinement";

    /// What ends the names of a motion module: nothing for a single one, `_res3` where there are several.
    pub fn motion_tail(stage: &str, modules: usize) -> String {
        if modules == 1 { String::new() } else { format!("_{stage}") }
    }

    /// The 1x1 reduction before the correlation.
    pub fn reduction(tail: &str) -> LayerName {
        let path = format!("{REDUCTION}{tail}");
        layer(format!("{path}.0"), format!("{path}.1"))
    }

    /// Depthwise part of the feature transform's layer (from 1).
    pub fn transform_depthwise(tail: &str, index: usize) -> LayerName {
        let path = format!("{TRANSFORM}{tail}.conv{index}");
        layer(format!("{path}.0"), format!("{path}.1"))
    }

    /// Pointwise part of the feature transform's layer (from 1).
    pub fn transform_pointwise(tail: &str, index: usize) -> LayerName {
        let path = format!("{TRANSFORM}{tail}.conv{index}");
        layer(format!("{path}.3"), format!("{path}.4"))
    }

    /// The 1x1 convolution of `concat` fusion.
    pub fn fuse(tail: &str) -> LayerName {
        LayerName { conv: format!("{TRANSFORM}{tail}.fuse"), norm: None }
    }

    /// Prefix of the classifier's `.weight` and `.bias`.
    pub const CLASSIFIER: &str = "new_fc";

    /// The stage of the backbone that a parameter belongs to; `None` for motion modules and the classifier.
    pub fn stage_of(backbone: Backbone, name: &str) -> Option<&'static str> {
        let mut parts = name.strip_prefix("base_model.")?.split('.');
        let (part, number) = (parts.next()?, parts.next());
        let index = match part {
            "conv1" | "bn1" => 0,
            "features" => {
                let feature: usize = number?.parse().ok()?;
                MOBILENET_STAGE_ENDS.iter().position(|&end| feature <= end)?
            }
            _ => part.strip_prefix("layer")?.parse().ok()?,
        };
        backbone.stages().get(index).copied()
    }

    /// Part of some motion module's channel reduction.
    fn is_reduction(name: &str) -> bool {
        name.starts_with(REDUCTION)
    }

    /// Part of the channel reduction of the motion module with this tail.
    pub fn is_reduction_of(tail: &str, name: &str) -> bool {
        name.strip_prefix(REDUCTION)
            .and_then(|rest| rest.strip_prefix(tail))
            .is_some_and(|rest| rest.starts_with('.'))
    }

    /// The name of a motion module's parameter where the module has another tail; `None` for any other parameter.
    pub fn with_tail(name: &str, [from, to]: [&str; 2]) -> Option<String> {
        [REDUCTION, TRANSFORM].into_iter().find_map(|part| {
            let rest = name.strip_prefix(part)?.strip_prefix(from)?;
            rest.starts_with('.').then(|| format!("{part}{to}{rest}"))
        })
    }

    /// The shape under which the release stores a parameter: a ResNet's classifier is a Conv1d.
    pub fn published_shape(backbone: Backbone, name: &str, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if !backbone.is_mobilenet() && name.strip_prefix(CLASSIFIER) == Some(".weight") {
            shape.push(1);
        }
        shape
    }

    /// Stored by the release but never used: counters, and a ResNet's second norm.
    pub(super) fn is_dead(name: &str) -> bool {
        name.ends_with(".num_batches_tracked") || name.starts_with("base_model.bn2.")
    }

    /// Part of some motion module.
    pub(crate) fn is_motion(name: &str) -> bool {
        is_reduction(name) || name.starts_with(TRANSFORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, data: Vec<f32>) -> Weights {
        let tensor = HostTensor { shape: vec![data.len()], data };
        Weights::new(BTreeMap::from([(name.to_owned(), tensor)]))
    }

    #[test]
    fn a_shifted_expansion_has_two_names() {
        let (plain, shifted) =
            ("base_model.features.3.conv.0.weight", "base_model.features.3.conv.0.net.weight");
        assert_eq!(names::with_or_without_shift(plain).as_deref(), Some(shifted));
        assert_eq!(names::with_or_without_shift(shifted).as_deref(), Some(plain));
        for other in
            ["base_model.features.3.conv.3.weight", "base_model.layer1.0.conv1.weight", "new_fc.weight"]
        {
            assert_eq!(names::with_or_without_shift(other), None, "{other}");
        }
    }

    #[test]
    fn safetensors_round_trip() {
        let weights = one("a", vec![1.0, -0.5, 3.25]);
        for half in [false, true] {
            let bytes = weights.to_safetensors(half).unwrap();
            assert_eq!(Weights::from_safetensors(&bytes).unwrap(), weights);
        }
    }

    #[test]
    fn a_nan_is_named() {
        let bytes = one("layer", vec![0.0, f32::NAN]).to_safetensors(false).unwrap();
        let message = Weights::from_safetensors(&bytes).unwrap_err().to_string();
        assert!(message.contains("\"layer\"") && message.contains("element 1"), "{message}");
    }

    #[test]
    fn every_parameter_has_its_stage() {
        use crate::config::Backbone::{MobileNetV2, TsmResNet18};
        assert_eq!(names::stage_of(MobileNetV2, "base_model.features.6.conv.0.weight"), Some("stage3"));
        assert_eq!(names::stage_of(MobileNetV2, "base_model.features.7.conv.0.weight"), Some("stage4"));
        assert_eq!(names::stage_of(TsmResNet18, "base_model.layer2.0.conv1.weight"), Some("res3"));
        assert_eq!(names::stage_of(TsmResNet18, "base_model.bn1.bias"), Some("stem"));
        assert_eq!(names::stage_of(TsmResNet18, "base_model.flow_refinement.conv1.0.weight"), None);
        assert_eq!(names::stage_of(TsmResNet18, "new_fc.weight"), None);
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"not weights", &[255; 64]] {
            assert!(matches!(Weights::from_safetensors(bytes), Err(Error::WeightFile(_))));
        }
    }
}
