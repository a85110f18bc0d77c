//! Features of the last stage in, scores of the clip out: pooling, scores per frame, consensus over frames.

use crate::Result;
use crate::backend::{Backend, HostTensor};
use crate::weights::{ParameterSource, Role, names};

/// A linear layer on the pooled features of each frame.
pub struct Classifier<B: Backend> {
    linear: B::Linear,
}

/// Scores before softmax, with what they were made of.
#[derive(Debug, Clone)]
pub struct Scores<T> {
    /// `[B*T, C]`.
    pub pooled: T,
    /// `[B*T, K]`.
    pub frame_logits: T,
    /// `[B, K]`: mean over the frames, before any softmax (published code).
    pub logits: T,
}

impl<B: Backend> Classifier<B> {
    /// # Errors
    /// When a parameter is missing or misshapen, or the backend fails.
    pub fn build(
        b: &B,
        channels: usize,
        classes: usize,
        source: &mut dyn ParameterSource<B>,
    ) -> Result<Self> {
        let path = names::CLASSIFIER;
        let weight = source.parameter(&format!("{path}.weight"), &[classes, channels], Role::Weight)?;
        let bias = source.parameter(&format!("{path}.bias"), &[classes], Role::Bias)?;
        Ok(Self { linear: b.linear(weight, bias)? })
    }

    /// `[B*T, h, w, C]` to scores; `dropout` is the share of pooled features zeroed while training.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn forward(&self, b: &B, x: &B::Tensor, frames: usize, dropout: f32) -> Result<Scores<B::Tensor>> {
        let pooled = b.global_mean(x)?;
        let frame_logits = b.linear_forward(&self.linear, &b.dropout(&pooled, dropout)?)?;
        let logits = b.frame_mean(&frame_logits, frames)?;
        Ok(Scores { pooled, frame_logits, logits })
    }

    /// Class activation maps (Zhou et al., 2016), `[N, h, w, K]` of `x` `[N, h, w, C]`: the scores of each place by itself. As
    /// pooling is a mean and the layer linear, the mean over the places of a clip's frames is its scores.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub async fn activation(&self, b: &B, x: &B::Tensor) -> Result<HostTensor> {
        let HostTensor { shape, data } = b.read(x).await?;
        let (channels, places) =
            shape.split_last().map_or((0, &[][..]), |(channels, places)| (*channels, places));
        let rows = HostTensor::new([places.iter().product::<usize>(), channels], data)?;
        let scores = b.read(&b.linear_forward(&self.linear, &b.upload(&rows)?)?).await?;
        let classes = scores.shape.last().copied().unwrap_or(0);
        HostTensor::new([places, &[classes]].concat(), scores.data)
    }
}
