//! Layers that several parts share: named parameters in, a ready layer out.

use crate::Result;
use crate::backend::{Activation, Backend, ConvInput, ConvParameters, ConvSpec, NormParameters, Statistics};
use crate::weights::names::LayerName;
use crate::weights::{ParameterSource, Role};

/// A convolution with its norm and activation: the unit that every network here is made of.
pub struct ConvNorm<B: Backend> {
    conv: B::Conv,
}

impl<B: Backend> ConvNorm<B> {
    /// Takes `name`'s parameters; a convolution without a norm has a bias instead.
    ///
    /// # Errors
    /// When a parameter is missing or misshapen, or the backend fails.
    pub fn build(
        b: &B,
        source: &mut dyn ParameterSource<B>,
        name: &LayerName,
        spec: ConvSpec,
    ) -> Result<Self> {
        let ConvSpec { input, output, kernel, depthwise, .. } = spec;
        let shape = [output, if depthwise { 1 } else { input }, kernel, kernel];
        let weight = source.parameter(&format!("{}.weight", name.conv), &shape, Role::Weight)?;
        let mut vector = |name: String, role: Role| source.parameter(&name, &[output], role);
        let (bias, norm) = match &name.norm {
            None => (Some(vector(format!("{}.bias", name.conv), Role::Bias)?), None),
            Some(norm) => {
                let norm = NormParameters {
                    scale: vector(format!("{norm}.weight"), Role::NormScale)?,
                    shift: vector(format!("{norm}.bias"), Role::NormShift)?,
                    mean: vector(format!("{norm}.running_mean"), Role::RunningMean)?,
                    variance: vector(format!("{norm}.running_var"), Role::RunningVariance)?,
                };
                (None, Some(norm))
            }
        };
        Ok(Self { conv: b.conv(spec, ConvParameters { weight, bias, norm })? })
    }

    /// `[N, H, W, C]` to `[N, H', W', C']`.
    ///
    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn forward(&self, b: &B, x: &B::Tensor, statistics: Statistics) -> Result<B::Tensor> {
        b.conv2d(&self.conv, ConvInput::new(x, statistics))
    }

    /// The backend's own.
    pub fn conv(&self) -> &B::Conv {
        &self.conv
    }
}

/// A dense convolution of this size, to be narrowed further.
pub fn dense(input: usize, output: usize, kernel: usize, activation: Activation) -> ConvSpec {
    ConvSpec { input, output, kernel, stride: 1, depthwise: false, activation }
}

/// One filter per channel.
pub fn depthwise(channels: usize, kernel: usize, activation: Activation) -> ConvSpec {
    ConvSpec { depthwise: true, ..dense(channels, channels, kernel, activation) }
}

impl ConvSpec {
    /// The same with another stride.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}
