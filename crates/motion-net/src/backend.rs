//! The seam: every operation that the network is made of, by name. Model files call these and nothing else,
//! so a backend (candle on the CPU, WebGPU, ...) slots in without touching them.
//!
//! One memory layout for all backends, channels-last: activations are `[N, H, W, C]`, where N counts frames,
//! the frames of one clip adjacent. Maps are `[N, H, W, 2]` and `[N, H, W, 1]`. It was measured fastest on the
//! CPU, and lets a shader read four channels at a time.

use crate::config::Estimation;
use crate::{Error, Result};

/// Numbers on the host: shape and values in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: Vec<f32>,
}

impl HostTensor {
    /// # Errors
    /// [`Error::Shape`] when the number of values is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        if shape.iter().product::<usize>() != data.len() {
            let expected = format!("{} values, found {}", shape.iter().product::<usize>(), data.len());
            return Err(Error::Shape { operation: "tensor", found: shape, expected });
        }
        Ok(Self { shape, data })
    }
}

/// What follows a convolution's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing: MobileNetV2's linear bottlenecks.
    #[default]
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
}

/// The fixed part of a convolution. Padding is `kernel / 2` on every side, as in every network here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSpec {
    /// Channels that come in.
    pub input: usize,
    /// Channels that go out.
    pub output: usize,
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Step of the output grid.
    pub stride: usize,
    /// One filter per channel (input = output) instead of one per pair of channels.
    pub depthwise: bool,
    /// What follows norm and residual.
    pub activation: Activation,
}

/// The learnt part of a convolution, as it stands in a checkpoint.
pub struct ConvParameters<P> {
    /// `[output, input, kernel, kernel]`, depthwise `[output, 1, kernel, kernel]`: PyTorch's order.
    pub weight: P,
    /// `[output]`.
    pub bias: Option<P>,
    /// The batch norm that follows, if one does.
    pub norm: Option<NormParameters<P>>,
}

/// A batch norm's parameters, each `[channels]`.
pub struct NormParameters<P> {
    /// gamma.
    pub scale: P,
    /// beta.
    pub shift: P,
    /// Running mean.
    pub mean: P,
    /// Running variance (biased in use, unbiased in the update, as PyTorch's).
    pub variance: P,
}

/// Whose statistics a batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistics {
    /// The stored ones: inference, and training with frozen norms.
    #[default]
    Running,
    /// The batch's own; the stored ones move towards them.
    Batch,
}

/// What flows beside the main input of a convolution.
pub struct ConvInput<'a, T> {
    /// `[N, H, W, input]`.
    pub x: &'a T,
    /// Read the input temporally shifted, in clips of so many frames.
    pub shift: Option<usize>,
    /// `[N, H', W', output]`, added after the norm and before the activation.
    pub residual: Option<&'a T>,
    /// Whose statistics the norm uses.
    pub statistics: Statistics,
}

impl<'a, T> ConvInput<'a, T> {
    /// Plain inference input.
    pub fn new(x: &'a T, statistics: Statistics) -> Self {
        Self { x, shift: None, residual: None, statistics }
    }
}

/// Displacement and confidence of N frame pairs, from their correlation.
#[derive(Debug, Clone)]
pub struct Match<T> {
    /// `[N, H, W, 2]`: (dx, dy) from the first frame to the second, +x right, +y down, divided by the radius.
    pub displacement: T,
    /// `[N, H, W, 1]`: the largest correlation, before the Gaussian.
    pub confidence: T,
    /// `[N, H, W, 1]`: index of the best match, dy-major, the lowest on ties; stored as a number.
    pub argmax: T,
}

/// A chain of convolutions as it is written: each result goes to memory.
pub(crate) fn one_by_one<B: Backend + ?Sized>(
    b: &B,
    convs: &[&B::Conv],
    input: ConvInput<'_, B::Tensor>,
) -> Result<B::Tensor> {
    let ConvInput { x, shift, residual, statistics } = input;
    let mut y: Option<B::Tensor> = None;
    for (i, conv) in convs.iter().enumerate() {
        let shift = shift.filter(|_| i == 0);
        let residual = residual.filter(|_| i + 1 == convs.len());
        y = Some(b.conv2d(conv, ConvInput { x: y.as_ref().unwrap_or(x), shift, residual, statistics })?);
    }
    y.ok_or_else(|| Error::Backend { backend: b.name(), message: "a chain of no convolutions".into() })
}

/// The operations. Shapes are channels-last; N is the number of frames (or frame pairs).
///
/// # Errors
/// Every operation gives [`Error::Shape`] when its inputs do not fit together and [`Error::Backend`] when the
/// backend itself fails.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Backend {
    /// An activation or map.
    type Tensor: Clone;
    /// A parameter before it is built into a layer.
    type Parameter;
    /// A convolution ready to run: weights packed, norm folded where the backend can.
    type Conv;
    /// A linear layer ready to run.
    type Linear;

    /// What users read: `cpu`, `gpu`.
    fn name(&self) -> &'static str;

    /// Numbers to the backend.
    fn upload(&self, host: &HostTensor) -> Result<Self::Tensor>;
    /// Numbers from the backend; waits for everything that they depend on.
    fn read(&self, tensor: &Self::Tensor) -> impl Future<Output = Result<HostTensor>>;
    /// Length of each axis.
    fn shape(&self, tensor: &Self::Tensor) -> Vec<usize>;
    /// A parameter from its stored values.
    fn parameter(&self, host: HostTensor) -> Result<Self::Parameter>;

    /// Makes a convolution ready to run.
    fn conv(&self, spec: ConvSpec, parameters: ConvParameters<Self::Parameter>) -> Result<Self::Conv>;
    /// Makes a linear layer ready to run: weight `[output, input]`, bias `[output]`.
    fn linear(&self, weight: Self::Parameter, bias: Self::Parameter) -> Result<Self::Linear>;

    /// activation(norm(convolution(shift(x)) + bias) + residual): `[N, H, W, C]` to `[N, H', W', C']`.
    fn conv2d(&self, conv: &Self::Conv, input: ConvInput<'_, Self::Tensor>) -> Result<Self::Tensor>;
    /// Convolutions one after the other: the shift is the first one's, the residual the last one's. A backend may keep
    /// what lies between out of memory.
    fn conv_chain(&self, convs: &[&Self::Conv], input: ConvInput<'_, Self::Tensor>) -> Result<Self::Tensor> {
        one_by_one(self, convs, input)
    }
    /// Largest of each 3 x 3 window, stride 2, padding 1 (a ResNet's stem).
    fn max_pool(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// The first C/8 channels come from the next frame, the next C/8 from the one before, zero at the clip's ends
    /// (TSM paper, Sec. 3; the published code's `tsm`). C must be a multiple of 8.
    fn temporal_shift(&self, x: &Self::Tensor, frames: usize) -> Result<Self::Tensor>;
    /// x / sqrt(sum over c of x^2 + 1e-6), per position (published code).
    fn unit_length(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// Frames 0 ... T-2 and frames 1 ... T-1 of every clip.
    fn frame_pairs(&self, x: &Self::Tensor, frames: usize) -> Result<(Self::Tensor, Self::Tensor)>;
    /// relu(<first(y, x), second(y + dy, x + dx)>), 0 where the neighbour is outside; `[N, H, W, P*P]`, dy-major
    /// (paper, Eq. 1).
    fn correlation(&self, first: &Self::Tensor, second: &Self::Tensor, patch: usize) -> Result<Self::Tensor>;
    /// Most likely movement of each position from its `[N, H, W, P*P]` scores (paper, Eq. 2 to 4).
    fn displacement(&self, scores: &Self::Tensor, estimation: &Estimation) -> Result<Match<Self::Tensor>>;
    /// Correlation and displacement in one go; a backend may keep the scores out of memory.
    fn match_frames(
        &self,
        first: &Self::Tensor,
        second: &Self::Tensor,
        estimation: &Estimation,
    ) -> Result<Match<Self::Tensor>> {
        self.displacement(&self.correlation(first, second, estimation.patch)?, estimation)
    }
    /// Appends a copy of each clip's last pair: `[B*(T-1), H, W, C]` to `[B*T, H, W, C]`.
    fn repeat_last(&self, x: &Self::Tensor, frames: usize) -> Result<Self::Tensor>;
    /// Element by element.
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// Element by element.
    fn multiply(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// Side by side along the channels.
    fn concat(&self, parts: &[&Self::Tensor]) -> Result<Self::Tensor>;
    /// Mean over all positions: `[N, H, W, C]` to `[N, C]`.
    fn global_mean(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// Zeroes a share of the values and scales the rest up by 1 / (1 - share); the identity for a share of 0.
    fn dropout(&self, x: &Self::Tensor, share: f32) -> Result<Self::Tensor>;
    /// x W^T + b: `[N, C]` to `[N, K]`.
    fn linear_forward(&self, linear: &Self::Linear, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// Mean over the frames of each clip: `[B*T, K]` to `[B, K]`.
    fn frame_mean(&self, x: &Self::Tensor, frames: usize) -> Result<Self::Tensor>;
}
