//! Motion joins appearance: two `[N, h, w, C]` in, one out (paper, Table 5).

use crate::Result;
use crate::backend::{Activation, Backend, Statistics};
use crate::config::Fusion;
use crate::layers::{ConvNorm, dense};
use crate::weights::{ParameterSource, names};

/// The configured way of joining. No ReLU follows any of them (published code).
pub enum FusionLayer<B: Backend> {
    /// appearance + motion: the published network.
    Add,
    /// appearance x motion.
    Multiply,
    /// A 1x1 convolution with bias of (appearance, motion); the paper does not say more.
    Concat(ConvNorm<B>),
    /// Motion alone.
    MotionOnly,
}

impl<B: Backend> FusionLayer<B> {
    /// # Errors
    /// When `concat`'s parameters are missing or misshapen, or the backend fails.
    pub fn build(
        b: &B,
        fusion: Fusion,
        tail: &str,
        channels: usize,
        source: &mut dyn ParameterSource<B>,
    ) -> Result<Self> {
        Ok(match fusion {
            Fusion::Add => Self::Add,
            Fusion::Multiply => Self::Multiply,
            Fusion::MotionOnly => Self::MotionOnly,
            Fusion::Concat => {
                let spec = dense(2 * channels, channels, 1, Activation::None);
                Self::Concat(ConvNorm::build(b, source, &names::fuse(tail), spec)?)
            }
        })
    }

    /// # Errors
    /// When the shapes do not fit or the backend fails.
    pub fn forward(
        &self,
        b: &B,
        appearance: &B::Tensor,
        motion: &B::Tensor,
        statistics: Statistics,
    ) -> Result<B::Tensor> {
        match self {
            Self::Add => b.add(appearance, motion),
            Self::Multiply => b.multiply(appearance, motion),
            Self::Concat(conv) => conv.forward(b, &b.concat(&[appearance, motion])?, statistics),
            Self::MotionOnly => Ok(motion.clone()),
        }
    }
}
