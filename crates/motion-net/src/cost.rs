//! What a network asks of a machine. In: a configuration. Out: multiplications of its forward pass, stage by stage.
//!
//! It is the forward pass itself ([`MsNet::advance`]) that is counted, on a backend whose tensors are shapes.

use std::cell::Cell;

use crate::backend::{Backend, ConvInput, ConvParameters, ConvSpec, HostTensor, Match};
use crate::config::{Config, Estimation};
use crate::net::{Mode, MsNet, Step};
use crate::weights::{ParameterSource, Role};
use crate::{Error, Result};

/// Multiplications, each with its addition, of one clip: by stage in their order, motion modules included, and in the end
/// `classifier`. Those of convolutions, correlations and linear layers; nothing else comes near them.
///
/// # Errors
/// When the configuration fits no network.
pub fn multiply_adds(config: &Config) -> Result<Vec<(&'static str, u64)>> {
    let counter = Counter::default();
    let estimation = config.motion.as_ref().map_or_else(Estimation::default, |motion| motion.estimation());
    let Config { frames, input_size: side, .. } = *config;
    let net = MsNet::build(&counter, config.clone(), &mut Shapes)?;
    let mut pass = net.begin_on(&counter, vec![frames, side, side, 3])?;
    let mut found = Vec::new();
    while let Some(step) = net.advance(&counter, &mut pass, &estimation, Mode::EVAL)? {
        let name = match step {
            Step::Stage { index, .. } => net.stage_names().nth(index).unwrap_or_default(),
            Step::Classifier => "classifier",
        };
        found.push((name, counter.count.take()));
    }
    Ok(found)
}

/// Computes nothing, and counts what would be computed.
#[derive(Default)]
struct Counter {
    count: Cell<u64>,
}

/// Parameters without values.
struct Shapes;

impl ParameterSource<Counter> for Shapes {
    fn parameter(&mut self, _: &str, shape: &[usize], _: Role) -> Result<Vec<usize>> {
        Ok(shape.to_vec())
    }
}

impl Counter {
    fn count(&self, factors: &[usize]) {
        self.count.set(self.count.get() + factors.iter().map(|&factor| factor as u64).product::<u64>());
    }
}

/// N, H, W and C of an activation.
fn axes(operation: &'static str, shape: &[usize]) -> Result<[usize; 4]> {
    let expected = "[N, H, W, C]".to_owned();
    shape.try_into().map_err(|_| Error::Shape { operation, found: shape.to_vec(), expected })
}

impl Backend for Counter {
    type Tensor = Vec<usize>;
    type Parameter = Vec<usize>;
    type Conv = ConvSpec;
    /// Channels that go out.
    type Linear = usize;

    fn name(&self) -> &'static str {
        "counter"
    }

    fn upload(&self, host: &HostTensor) -> Result<Vec<usize>> {
        Ok(host.shape.clone())
    }

    async fn read(&self, tensor: &Vec<usize>) -> Result<HostTensor> {
        HostTensor::new(tensor.clone(), vec![0.0; tensor.iter().product()])
    }

    fn shape(&self, tensor: &Vec<usize>) -> Vec<usize> {
        tensor.clone()
    }

    fn parameter(&self, host: HostTensor) -> Result<Vec<usize>> {
        Ok(host.shape)
    }

    fn conv(&self, spec: ConvSpec, _: ConvParameters<Vec<usize>>) -> Result<ConvSpec> {
        Ok(spec)
    }

    fn linear(&self, weight: Vec<usize>, _: Vec<usize>) -> Result<usize> {
        Ok(weight.first().copied().unwrap_or(0))
    }

    fn conv2d(&self, conv: &ConvSpec, input: ConvInput<'_, Vec<usize>>) -> Result<Vec<usize>> {
        let [n, height, width, _] = axes("conv2d", input.x)?;
        let out = |side: usize| (side - 1) / conv.stride + 1; // the padding is half the kernel
        let shape = [n, out(height), out(width), conv.output];
        let inputs = if conv.depthwise { 1 } else { conv.input };
        self.count(&[&shape[..], &[inputs, conv.kernel, conv.kernel]].concat());
        Ok(shape.to_vec())
    }

    fn max_pool(&self, x: &Vec<usize>) -> Result<Vec<usize>> {
        let [n, height, width, channels] = axes("max_pool", x)?;
        Ok(vec![n, height.div_ceil(2), width.div_ceil(2), channels])
    }

    fn temporal_shift(&self, x: &Vec<usize>, _: usize) -> Result<Vec<usize>> {
        Ok(x.clone())
    }

    fn unit_length(&self, x: &Vec<usize>) -> Result<Vec<usize>> {
        Ok(x.clone())
    }

    fn frame_pairs(&self, x: &Vec<usize>, frames: usize) -> Result<(Vec<usize>, Vec<usize>)> {
        let [n, height, width, channels] = axes("frame_pairs", x)?;
        let pairs = vec![n - n / frames, height, width, channels];
        Ok((pairs.clone(), pairs))
    }

    fn correlation(&self, first: &Vec<usize>, _: &Vec<usize>, patch: usize) -> Result<Vec<usize>> {
        let [n, height, width, channels] = axes("correlation", first)?;
        self.count(&[n, height, width, channels, patch, patch]);
        Ok(vec![n, height, width, patch * patch])
    }

    fn displacement(&self, scores: &Vec<usize>, _: &Estimation) -> Result<Match<Vec<usize>>> {
        let [n, height, width, _] = axes("displacement", scores)?;
        let map = |channels: usize| vec![n, height, width, channels];
        Ok(Match { displacement: map(2), confidence: map(1), argmax: map(1) })
    }

    fn repeat_last(&self, x: &Vec<usize>, frames: usize) -> Result<Vec<usize>> {
        let [pairs, height, width, channels] = axes("repeat_last", x)?;
        Ok(vec![pairs / (frames - 1) * frames, height, width, channels])
    }

    fn add(&self, a: &Vec<usize>, _: &Vec<usize>) -> Result<Vec<usize>> {
        Ok(a.clone())
    }

    fn multiply(&self, a: &Vec<usize>, _: &Vec<usize>) -> Result<Vec<usize>> {
        Ok(a.clone())
    }

    fn concat(&self, parts: &[&Vec<usize>]) -> Result<Vec<usize>> {
        let [n, height, width, _] = axes("concat", parts.first().map_or(&[], |first| &first[..]))?;
        Ok(vec![n, height, width, parts.iter().filter_map(|part| part.last()).sum()])
    }

    fn global_mean(&self, x: &Vec<usize>) -> Result<Vec<usize>> {
        let [n, _, _, channels] = axes("global_mean", x)?;
        Ok(vec![n, channels])
    }

    fn dropout(&self, x: &Vec<usize>, _: f32) -> Result<Vec<usize>> {
        Ok(x.clone())
    }

    fn linear_forward(&self, classes: &usize, x: &Vec<usize>) -> Result<Vec<usize>> {
        self.count(&[&x[..], &[*classes]].concat());
        Ok(vec![x.first().copied().unwrap_or(0), *classes])
    }

    fn frame_mean(&self, x: &Vec<usize>, frames: usize) -> Result<Vec<usize>> {
        Ok(vec![x.first().copied().unwrap_or(0) / frames, x.last().copied().unwrap_or(0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESNET: &str = r#"{"architecture": "msnet", "backbone": "tsm_resnet50", "frames": 8, "input_size": 224,
        "resize": [240, 320], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "sampling": "segment",
        "motion": {"stages": ["res3"]}, "id2label": {"0": "a", "1": "b"}}"#;

    fn count(json: &str) -> Vec<(&'static str, u64)> {
        multiply_adds(&Config::from_json(json).unwrap()).unwrap()
    }

    fn billions(found: &[(&str, u64)]) -> f64 {
        found.iter().map(|(_, count)| *count as f64).sum::<f64>() * 1e-9
    }

    #[test]
    fn a_resnet_is_as_large_as_published() {
        // ResNet-50 has 4.09 billion for a picture, ResNet-18 1.81 (torchvision), less a thousand classes.
        let plain = RESNET.replace(r#""motion": {"stages": ["res3"]},"#, "");
        assert!((billions(&count(&plain)) - 8.0 * 4.087).abs() < 0.05, "{:?}", count(&plain));
        let small = plain.replace("resnet50", "resnet18");
        assert!((billions(&count(&small)) - 8.0 * 1.8136).abs() < 0.02, "{:?}", count(&small));
    }

    #[test]
    fn a_motion_module_is_counted_with_its_stage() {
        let (with, without) =
            (count(RESNET), count(&RESNET.replace(r#""motion": {"stages": ["res3"]},"#, "")));
        // The paper has 34 billion for MSNet-R50 and 33 for TSM-R50 (Table 1).
        let more = billions(&with) - billions(&without);
        assert!((0.5..2.0).contains(&more), "{more}");
        for ((name, with), (_, without)) in with.iter().zip(&without) {
            assert_eq!(with > without, *name == "res3", "{name}");
        }
        assert_eq!(with.last(), Some(&("classifier", 8 * 2048 * 2)));
    }
}
