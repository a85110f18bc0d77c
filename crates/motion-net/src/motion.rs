//! The MotionSqueeze module: appearance features in, displacement and confidence maps and motion features out
//! (paper, Sec. 3.2).

use crate::Result;
use crate::backend::{Activation, Backend, Match, Statistics};
use crate::config::{Estimation, MotionConfig, TRANSFORM_CHANNELS, TRANSFORM_KERNELS};
use crate::fusion::FusionLayer;
use crate::layers::{ConvNorm, dense, depthwise};
use crate::net::Mode;
use crate::weights::{ParameterSource, names};

/// What a motion module finds.
#[derive(Debug, Clone)]
pub struct Motion<T> {
    /// Displacement and confidence from every frame to the next, `[B*(T-1), h, w, ...]`.
    pub forward: Match<T>,
    /// From every next frame back to the one before, on the next frame's grid, where configured.
    pub backward: Option<Match<T>>,
    /// What was compared: unit-length features of every frame and of the next one, `[B*(T-1), h, w, c]` each.
    pub compared: (T, T),
    /// What enters the feature transform, the last pair repeated: `[B*T, h, w, 2 or 3 (or twice that)]`.
    pub displacement_tensor: T,
    /// The motion feature, `[B*T, h, w, C]`.
    pub features: T,
}

/// Reduction, correlation and displacement, feature transform, fusion.
pub struct MotionModule<B: Backend> {
    config: MotionConfig,
    reduction: Option<ConvNorm<B>>,
    /// Displacement tensor to motion features.
    pub transform: FeatureTransform<B>,
    fusion: FusionLayer<B>,
}

impl<B: Backend> MotionModule<B> {
    /// The module after `stage`, whose features have so many channels.
    ///
    /// # Errors
    /// When a parameter is missing or misshapen, or the backend fails.
    pub fn build(
        b: &B,
        config: &MotionConfig,
        stage: &str,
        channels: usize,
        source: &mut dyn ParameterSource<B>,
    ) -> Result<Self> {
        let tail = names::motion_tail(stage, config.stages.len());
        let reduction = match config.reduce_channels {
            None => None,
            Some(reduced) => {
                let spec = dense(channels, reduced, 1, Activation::Relu);
                Some(ConvNorm::build(b, source, &names::reduction(&tail), spec)?)
            }
        };
        let transform = FeatureTransform::build(b, &tail, config.displacement_channels(), channels, source)?;
        let fusion = FusionLayer::build(b, config.fusion, &tail, channels, source)?;
        Ok(Self { config: config.clone(), reduction, transform, fusion })
    }

    /// `[B*T, h, w, C]` to what moves in it. `estimation` may differ from the configured one: its window, Gaussian
    /// and temperature carry no weights.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn forward(
        &self,
        b: &B,
        x: &B::Tensor,
        frames: usize,
        estimation: &Estimation,
        mode: Mode,
    ) -> Result<Motion<B::Tensor>> {
        let (now, next) = self.compared(b, x, frames, mode)?;
        let forward = b.match_frames(&now, &next, estimation)?;
        let backward = self.config.backward.then(|| b.match_frames(&next, &now, estimation)).transpose()?;
        let displacement_tensor = self.displacement_tensor(b, &forward, backward.as_ref(), frames)?;
        let features = self.transform.forward(b, &displacement_tensor, mode.motion)?;
        Ok(Motion { forward, backward, compared: (now, next), displacement_tensor, features })
    }

    /// What is compared: each frame's features but the last one's, and the next frame's, of unit length.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn compared(
        &self,
        b: &B,
        x: &B::Tensor,
        frames: usize,
        mode: Mode,
    ) -> Result<(B::Tensor, B::Tensor)> {
        let reduced = self.reduce(b, x, mode.reduction)?;
        b.frame_pairs(&b.unit_length(&reduced)?, frames)
    }

    /// Fewer channels for the correlation: 1x1 convolution, norm, ReLU; the features themselves without one.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn reduce(&self, b: &B, x: &B::Tensor, statistics: Statistics) -> Result<B::Tensor> {
        self.reduction.as_ref().map_or_else(|| Ok(x.clone()), |layer| layer.forward(b, x, statistics))
    }

    /// (dx, dy), confidence, the same backward. The last frame has no next one and gets a copy of the last pair
    /// (published code: a copy of this tensor, not of the motion feature; it differs while norms train).
    fn displacement_tensor(
        &self,
        b: &B,
        forward: &Match<B::Tensor>,
        backward: Option<&Match<B::Tensor>>,
        frames: usize,
    ) -> Result<B::Tensor> {
        let mut parts = Vec::new();
        for found in std::iter::once(forward).chain(backward) {
            parts.push(&found.displacement);
            if self.config.confidence {
                parts.push(&found.confidence);
            }
        }
        b.repeat_last(&b.concat(&parts)?, frames)
    }

    /// Motion joins appearance.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn fuse(
        &self,
        b: &B,
        appearance: &B::Tensor,
        motion: &B::Tensor,
        statistics: Statistics,
    ) -> Result<B::Tensor> {
        self.fusion.forward(b, appearance, motion, statistics)
    }
}

/// Four depthwise-separable layers that turn displacements into features (paper, Sec. 3.2 "feature
/// transformation"; sizes from the published code).
pub struct FeatureTransform<B: Backend> {
    /// Each: depthwise convolution, norm, ReLU, 1x1 convolution, norm, ReLU.
    pub layers: [[ConvNorm<B>; 2]; 4],
}

impl<B: Backend> FeatureTransform<B> {
    fn build(
        b: &B,
        tail: &str,
        input: usize,
        output: usize,
        source: &mut dyn ParameterSource<B>,
    ) -> Result<Self> {
        let [c1, c2, c3] = TRANSFORM_CHANNELS;
        let mut layer = |index: usize, input: usize, output: usize| -> Result<[ConvNorm<B>; 2]> {
            let spatial = depthwise(input, TRANSFORM_KERNELS[index - 1], Activation::Relu);
            let pointwise = dense(input, output, 1, Activation::Relu);
            Ok([
                ConvNorm::build(b, source, &names::transform_depthwise(tail, index), spatial)?,
                ConvNorm::build(b, source, &names::transform_pointwise(tail, index), pointwise)?,
            ])
        };
        let layers = [layer(1, input, c1)?, layer(2, c1, c2)?, layer(3, c2, c3)?, layer(4, c3, output)?];
        Ok(Self { layers })
    }

    /// `[N, h, w, 2 or 3 (or twice that)]` to `[N, h, w, C]`.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn forward(&self, b: &B, x: &B::Tensor, statistics: Statistics) -> Result<B::Tensor> {
        let mut x = x.clone();
        for conv in self.layers.iter().flatten() {
            x = conv.forward(b, &x, statistics)?;
        }
        Ok(x)
    }
}
