//! What is the same for every backend on candle's tensors: their shapes are checked, and the operations that are
//! candle's own as they stand.

use candle_core::{D, DType, Device, Tensor, Var};

use crate::backend::{ConvParameters, ConvSpec, HostTensor};
use crate::{Error, Result};

/// What an operation says of an input that it does not take.
pub(crate) fn misshapen(operation: &'static str, x: &Tensor, expected: impl Into<String>) -> Error {
    Error::Shape { operation, found: x.dims().to_vec(), expected: expected.into() }
}

/// An activation's four lengths, none of them zero.
pub(crate) fn activation(operation: &'static str, x: &Tensor) -> Result<[usize; 4]> {
    match *x.dims() {
        [n, h, w, c] if n * h * w * c > 0 && x.dtype() == DType::F32 => Ok([n, h, w, c]),
        _ => Err(misshapen(operation, x, "[N, H, W, C] in f32 with no empty axis")),
    }
}

/// Clips in `n` frames.
pub(crate) fn clips(operation: &'static str, x: &Tensor, frames: usize) -> Result<usize> {
    let n = x.dims().first().copied().unwrap_or(0);
    if frames == 0 || n == 0 || !n.is_multiple_of(frames) {
        return Err(misshapen(operation, x, format!("a first axis of whole clips of {frames} frames")));
    }
    Ok(n / frames)
}

pub(crate) fn same_shape(operation: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() != b.dims() {
        return Err(misshapen(operation, b, format!("{:?}, as the first", a.dims())));
    }
    Ok(())
}

/// Whether these parameters make this convolution.
pub(crate) fn check_conv(spec: ConvSpec, parameters: &ConvParameters<Tensor>) -> Result<()> {
    let ConvSpec { input, output, kernel, stride, depthwise, .. } = spec;
    let ConvParameters { weight, bias, norm } = parameters;
    if input * output * stride == 0 || kernel.is_multiple_of(2) || (depthwise && input != output) {
        return Err(misshapen(
            "conv",
            weight,
            format!(
                "an odd kernel, a stride and channel counts above 0, and as many channels out as in if depthwise; the \
                 layer asks for kernel {kernel}, stride {stride}, {input} to {output} channels"
            ),
        ));
    }
    let expected = [output, if depthwise { 1 } else { input }, kernel, kernel];
    if weight.dims() != expected || weight.dtype() != DType::F32 {
        return Err(misshapen("conv weight", weight, format!("{expected:?} in f32")));
    }
    let norms = norm.iter().flat_map(|norm| {
        [
            ("conv norm scale", &norm.scale),
            ("conv norm shift", &norm.shift),
            ("conv norm mean", &norm.mean),
            ("conv norm variance", &norm.variance),
        ]
    });
    for (name, vector) in bias.iter().map(|bias| ("conv bias", bias)).chain(norms) {
        if vector.dims() != [output] || vector.dtype() != DType::F32 {
            return Err(misshapen(name, vector, format!("[{output}] in f32")));
        }
    }
    Ok(())
}

/// Its square is still a length on a 32-bit machine.
const LARGEST_PATCH: usize = 1023;

/// Lengths of a search of `second` for what is in `first`.
pub(crate) fn check_search(
    operation: &'static str,
    first: &Tensor,
    second: &Tensor,
    patch: usize,
) -> Result<[usize; 4]> {
    let size = activation(operation, first)?;
    if activation(operation, second)? != size {
        return Err(misshapen(operation, second, format!("{:?}, as the first", first.dims())));
    }
    if patch.is_multiple_of(2) || patch > LARGEST_PATCH {
        let expected = format!("an odd patch up to {LARGEST_PATCH} beside it, found patch {patch}");
        return Err(misshapen(operation, first, expected));
    }
    Ok(size)
}

/// Lengths of the scores of a window of `patch` x `patch`.
pub(crate) fn check_scores(scores: &Tensor, patch: usize) -> Result<[usize; 3]> {
    let [n, h, w, area] = activation("displacement", scores)?;
    match area == patch * patch {
        true => Ok([n, h, w]),
        false => Err(misshapen("displacement", scores, format!("[N, H, W, {patch} * {patch}]"))),
    }
}

/// A norm's stored statistic, to be moved towards a batch's.
pub(crate) fn stored(statistic: &Tensor) -> Result<Var> {
    if !statistic.is_variable() {
        let message = "batch statistics need running statistics that can be updated; pass them as candle variables, or \
                       run with Statistics::Running";
        return Err(Error::Backend { backend: "candle", message: message.into() });
    }
    // It shares the storage of a tensor that is a variable already.
    Ok(Var::from_tensor(statistic)?)
}

/// Numbers to a device.
pub(crate) fn upload(host: HostTensor, device: &Device) -> Result<Tensor> {
    // Checked again: its fields are public.
    let HostTensor { shape, data } = HostTensor::new(host.shape, host.data)?;
    Ok(Tensor::from_vec(data, shape, device)?)
}

/// Numbers from a device.
pub(crate) fn read(tensor: &Tensor) -> Result<HostTensor> {
    HostTensor::new(tensor.dims(), tensor.flatten_all()?.to_vec1()?)
}

/// See [`crate::Backend::frame_pairs`].
pub(crate) fn frame_pairs(x: &Tensor, frames: usize) -> Result<(Tensor, Tensor)> {
    let [n, h, w, c] = activation("frame_pairs", x)?;
    if frames < 2 {
        return Err(misshapen("frame_pairs", x, format!("clips of at least 2 frames, not {frames}")));
    }
    let count = clips("frame_pairs", x, frames)?;
    let by_clip = x.reshape((count, frames, h * w * c))?;
    let from = |first| by_clip.narrow(1, first, frames - 1)?.contiguous()?.reshape((n - count, h, w, c));
    Ok((from(0)?, from(1)?))
}

/// See [`crate::Backend::repeat_last`].
pub(crate) fn repeat_last(x: &Tensor, frames: usize) -> Result<Tensor> {
    let [_, h, w, c] = activation("repeat_last", x)?;
    let pairs = frames.saturating_sub(1);
    let count = clips("repeat_last", x, pairs)?;
    let by_clip = x.reshape((count, pairs, h * w * c))?;
    let last = by_clip.narrow(1, pairs - 1, 1)?;
    Ok(Tensor::cat(&[&by_clip, &last], 1)?.reshape((count * frames, h, w, c))?)
}

/// See [`crate::Backend::add`].
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    same_shape("add", a, b)?;
    Ok((a + b)?)
}

/// See [`crate::Backend::multiply`].
pub(crate) fn multiply(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    same_shape("multiply", a, b)?;
    Ok((a * b)?)
}

/// See [`crate::Backend::concat`].
pub(crate) fn concat(parts: &[&Tensor]) -> Result<Tensor> {
    let sizes = parts.iter().map(|part| activation("concat", part)).collect::<Result<Vec<_>>>()?;
    if let Some((part, _)) = parts.iter().zip(&sizes).find(|(_, size)| size[..3] != sizes[0][..3]) {
        let [n, h, w, _] = sizes[0];
        return Err(misshapen("concat", part, format!("[{n}, {h}, {w}, C], as the first")));
    }
    Ok(Tensor::cat(parts, D::Minus1)?)
}

/// A linear layer ready to run.
pub struct Linear {
    /// `[C, K]`.
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// See [`crate::Backend::linear`].
    pub(crate) fn new(weight: &Tensor, bias: Tensor) -> Result<Self> {
        let [outputs, _] = *weight.dims() else {
            return Err(misshapen("linear weight", weight, "[output, input]"));
        };
        if bias.dims() != [outputs] {
            return Err(misshapen("linear bias", &bias, format!("[{outputs}]")));
        }
        Ok(Self { weight: weight.t()?, bias })
    }

    /// Rows of `x`.
    pub(crate) fn check(&self, x: &Tensor) -> Result<usize> {
        let inputs = self.weight.dims()[0];
        match *x.dims() {
            [rows, columns] if rows > 0 && columns == inputs => Ok(rows),
            _ => Err(misshapen("linear", x, format!("[N, {inputs}]"))),
        }
    }

    /// See [`crate::Backend::linear_forward`].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        Ok(x.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

/// Lengths of the classifier's outputs of whole clips: (clips, classes).
pub(crate) fn check_rows(x: &Tensor, frames: usize) -> Result<(usize, usize)> {
    let [_, classes] = *x.dims() else {
        return Err(misshapen("frame_mean", x, "[B*T, K]"));
    };
    Ok((clips("frame_mean", x, frames)?, classes))
}
