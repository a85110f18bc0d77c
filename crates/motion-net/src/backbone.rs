//! The appearance networks as stages of blocks: frames `[N, H, W, 3]` in, stage by stage `[N, h, w, C]` out.

use crate::Result;
use crate::backend::{Activation, Backend, ConvInput, Statistics};
use crate::config::{
    BOTTLENECK_EXPANSION, Backbone, Config, MOBILENET_BOTTLENECKS, MOBILENET_LAST, MOBILENET_STAGE_ENDS,
    MOBILENET_STEM, RESNET_BASE, RESNET18_BLOCKS, RESNET50_BLOCKS,
};
use crate::layers::{ConvNorm, dense, depthwise};
use crate::weights::{ParameterSource, names};

/// One residual block, or the stem.
pub enum Block<B: Backend> {
    /// A convolution alone: MobileNetV2's first and last.
    Conv(ConvNorm<B>),
    /// A ResNet's stem: 7x7 convolution and max pool.
    ConvPool(ConvNorm<B>),
    /// A chain of convolutions with a skip path around it.
    Residual(Residual<B>),
}

/// A chain of convolutions; the skip path joins in the last one, before its activation.
pub struct Residual<B: Backend> {
    /// Two 3x3 (ResNet-18), 1x1-3x3-1x1 (ResNet-50), expand-depthwise-project (MobileNetV2).
    convs: Vec<ConvNorm<B>>,
    skip: Skip<B>,
    /// The first convolution reads the temporally shifted input; the skip path never does (TSM's residual shift).
    shifted: bool,
}

enum Skip<B: Backend> {
    None,
    Identity,
    Projection(ConvNorm<B>),
}

impl<B: Backend> Block<B> {
    fn forward(&self, b: &B, x: &B::Tensor, frames: usize, statistics: Statistics) -> Result<B::Tensor> {
        match self {
            Self::Conv(conv) => conv.forward(b, x, statistics),
            Self::ConvPool(conv) => b.max_pool(&conv.forward(b, x, statistics)?),
            Self::Residual(block) => block.forward(b, x, frames, statistics),
        }
    }
}

impl<B: Backend> Residual<B> {
    fn forward(&self, b: &B, x: &B::Tensor, frames: usize, statistics: Statistics) -> Result<B::Tensor> {
        let projected = match &self.skip {
            Skip::Projection(conv) => Some(conv.forward(b, x, statistics)?),
            _ => None,
        };
        let skip = match self.skip {
            Skip::None => None,
            Skip::Identity => Some(x),
            Skip::Projection(_) => projected.as_ref(),
        };
        let convs: Vec<&B::Conv> = self.convs.iter().map(ConvNorm::conv).collect();
        let shift = self.shifted.then_some(frames);
        b.conv_chain(&convs, ConvInput { x, shift, residual: skip, statistics })
    }
}

/// A run of blocks at one resolution, after which a motion module may sit.
pub struct Stage<B: Backend> {
    /// `res3`, `stage3`, ...
    pub name: &'static str,
    /// Channels that come out.
    pub channels: usize,
    blocks: Vec<Block<B>>,
}

impl<B: Backend> Stage<B> {
    /// `[N, H, W, C]` to `[N, h, w, C']`; `frames` is the length of a clip.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn forward(
        &self,
        b: &B,
        mut x: B::Tensor,
        frames: usize,
        statistics: Statistics,
    ) -> Result<B::Tensor> {
        for block in &self.blocks {
            x = block.forward(b, &x, frames, statistics)?;
        }
        Ok(x)
    }
}

/// The five stages of the configured backbone.
///
/// # Errors
/// When a parameter is missing or misshapen, or the backend fails.
pub fn build<B: Backend>(
    b: &B,
    config: &Config,
    source: &mut dyn ParameterSource<B>,
) -> Result<Vec<Stage<B>>> {
    match config.backbone {
        Backbone::ResNet18 | Backbone::TsmResNet18 => resnet(b, config, source, RESNET18_BLOCKS, false),
        Backbone::ResNet50 | Backbone::TsmResNet50 => resnet(b, config, source, RESNET50_BLOCKS, true),
        Backbone::MobileNetV2 | Backbone::TsmMobileNetV2 => mobilenet(b, config, source),
    }
}

/// ResNet (He et al., 2016); the stride of a bottleneck is on its 3x3, as in torchvision.
fn resnet<B: Backend>(
    b: &B,
    config: &Config,
    source: &mut dyn ParameterSource<B>,
    blocks: [usize; 4],
    bottleneck: bool,
) -> Result<Vec<Stage<B>>> {
    let base = (RESNET_BASE as f64 * config.width) as usize;
    let stage_names = config.backbone.stages();
    let stem = dense(3, base, 7, Activation::Relu).stride(2);
    let stem = Block::ConvPool(ConvNorm::build(b, source, &names::resnet_stem(), stem)?);
    let mut stages = vec![Stage { name: stage_names[0], channels: base, blocks: vec![stem] }];
    let mut input = base;
    for (i, count) in blocks.into_iter().enumerate() {
        let stage = i + 1;
        let shifted = config.shifts(stage_names[stage]);
        let inner = base << i;
        let output = if bottleneck { inner * BOTTLENECK_EXPANSION } else { inner };
        let mut built = Vec::with_capacity(count);
        for block in 0..count {
            let stride = if block == 0 && i > 0 { 2 } else { 1 };
            let specs = if bottleneck {
                vec![
                    dense(input, inner, 1, Activation::Relu),
                    dense(inner, inner, 3, Activation::Relu).stride(stride),
                    dense(inner, output, 1, Activation::Relu),
                ]
            } else {
                vec![
                    dense(input, inner, 3, Activation::Relu).stride(stride),
                    dense(inner, output, 3, Activation::Relu),
                ]
            };
            let convs = specs
                .into_iter()
                .enumerate()
                .map(|(j, spec)| ConvNorm::build(b, source, &names::resnet_conv(stage, block, j + 1), spec))
                .collect::<Result<_>>()?;
            let skip = if stride == 1 && input == output {
                Skip::Identity
            } else {
                let spec = dense(input, output, 1, Activation::None).stride(stride);
                Skip::Projection(ConvNorm::build(b, source, &names::resnet_downsample(stage, block), spec)?)
            };
            built.push(Block::Residual(Residual { convs, skip, shifted }));
            input = output;
        }
        stages.push(Stage { name: stage_names[stage], channels: output, blocks: built });
    }
    Ok(stages)
}

/// MobileNetV2 (Sandler et al., 2018); shifted where a block has a skip path and an expansion, as in TSM.
fn mobilenet<B: Backend>(
    b: &B,
    config: &Config,
    source: &mut dyn ParameterSource<B>,
) -> Result<Vec<Stage<B>>> {
    let mut features = Vec::new();
    let stem = dense(3, MOBILENET_STEM, 3, Activation::Relu6).stride(2);
    features
        .push((Block::Conv(ConvNorm::build(b, source, &names::mobilenet_conv(0), stem)?), MOBILENET_STEM));
    let mut input = MOBILENET_STEM;
    for (expansion, channels, repeats, first_stride) in MOBILENET_BOTTLENECKS {
        let output = if expansion == 1 { channels } else { mobilenet_width(channels, config.width) };
        for repeat in 0..repeats {
            let index = features.len();
            let stride = if repeat == 0 { first_stride } else { 1 };
            let hidden = input * expansion;
            let skip = if stride == 1 && input == output { Skip::Identity } else { Skip::None };
            let expands = expansion != 1 || config.expand_first_block;
            let stage = MOBILENET_STAGE_ENDS.iter().position(|end| index <= *end);
            let shifted = stage.is_some_and(|stage| config.shifts(config.backbone.stages()[stage]))
                && matches!(skip, Skip::Identity)
                && expansion != 1;
            let mut specs = vec![
                depthwise(hidden, 3, Activation::Relu6).stride(stride),
                dense(hidden, output, 1, Activation::None),
            ];
            if expands {
                specs.insert(0, dense(input, hidden, 1, Activation::Relu6));
            }
            let convs = specs
                .into_iter()
                .enumerate()
                .map(|(i, spec)| {
                    let name = names::mobilenet_bottleneck(index, i, shifted && i == 0);
                    ConvNorm::build(b, source, &name, spec)
                })
                .collect::<Result<_>>()?;
            features.push((Block::Residual(Residual { convs, skip, shifted }), output));
            input = output;
        }
    }
    let last = dense(input, MOBILENET_LAST, 1, Activation::Relu6);
    let name = names::mobilenet_conv(features.len());
    features.push((Block::Conv(ConvNorm::build(b, source, &name, last)?), MOBILENET_LAST));

    let mut features = features.into_iter().enumerate();
    Ok(config
        .backbone
        .stages()
        .into_iter()
        .zip(MOBILENET_STAGE_ENDS)
        .map(|(name, end)| {
            let mut stage = Stage { name, channels: 0, blocks: Vec::new() };
            for (index, (block, channels)) in features.by_ref() {
                stage.blocks.push(block);
                stage.channels = channels;
                if index == end {
                    break;
                }
            }
            stage
        })
        .collect())
}

/// Up to the next multiple of 8, as the TSM release rounds.
fn mobilenet_width(channels: usize, width: f64) -> usize {
    ((channels as f64 * width * 1e6).round() as usize).div_ceil(8_000_000) * 8
}
