//! The network's operations on the graphics card, natively (Vulkan, Metal, DirectX 12) and in browsers (WebGPU):
//! inference in f32, one shader of `shaders/` for each operation, the CPU backend as its twin.
//!
//! Activations are channels-last with four channels a vector; the last vector of a position is filled up with zeros,
//! so that every kernel loads and stores four channels at once whatever their number.

#[cfg(feature = "browser")]
#[cfg_attr(not(target_arch = "wasm32"), path = "gpu/no_browser.rs")]
mod browser;
mod conv2d;
mod device;
mod kernels;
mod memory;
mod pixels;
mod profile;
mod tuning;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Backend, ConvInput, ConvParameters, ConvSpec, HostTensor, Match};
use crate::config::{Estimation, Estimator, SHIFT_DIVISOR, UNIT_LENGTH_EPSILON};
use crate::{Error, Result};
pub use conv2d::Conv;
use device::{Bound, Call, Gpu, failed};
pub use kernels::Precision;
use kernels::{
    COMBINE, CONCAT, CORRELATION, CombineParams, ConcatParams, Constants, CorrelationParams, Kernel,
    MATCH_FRAMES, MAX_POOL, MEAN, MatchFramesParams, MaxPoolParams, MeanParams, PEAK, PeakParams,
    TAKE_FRAMES, TEMPORAL_SHIFT, TakeFramesParams, TemporalShiftParams, UNIT_LENGTH, UnitLengthParams,
};
pub use memory::Memory;
use memory::{HEADER, HEADER_BYTES, Loan, QUAD_BYTES};
pub use pixels::{Pixels, Steps, ViewPlan};
use profile::{Part, Profile};
pub use profile::{Timed, Work};
pub use tuning::Form;
use tuning::Tuning;

/// Invocations of a workgroup in every kernel that makes one quad each.
const WORKGROUP: usize = 64;

/// A graphics card, or what stands in for one.
pub struct GpuBackend {
    gpu: Gpu,
    tuning: Tuning,
}

/// What a card does at most in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Floating point operations in f32.
    pub operations: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl Peak {
    /// The least time that this work can take, in nanoseconds.
    pub fn floor(&self, work: &Work) -> f64 {
        (work.operations as f64 / self.operations).max(work.bytes as f64 / self.bytes) * 1e9
    }
}

/// An activation or map on the card.
#[derive(Debug, Clone)]
pub struct GpuTensor {
    shape: Vec<usize>,
    loan: Arc<Loan>,
}

/// A linear layer: a 1x1 convolution of maps of one position.
pub struct Linear {
    conv: Conv,
    inputs: usize,
}

/// A panic elsewhere does not make the maps and lists behind these locks wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Vectors of four that hold so many channels.
fn quads(channels: usize) -> usize {
    channels.div_ceil(4)
}

fn misshapen(operation: &'static str, x: &GpuTensor, expected: impl Into<String>) -> Error {
    Error::Shape { operation, found: x.shape.clone(), expected: expected.into() }
}

/// An activation's four lengths, none of them zero.
fn activation(operation: &'static str, x: &GpuTensor) -> Result<[usize; 4]> {
    match *x.shape {
        [n, h, w, c] if n * h * w * c > 0 => Ok([n, h, w, c]),
        _ => Err(misshapen(operation, x, "[N, H, W, C] with no empty axis")),
    }
}

/// Clips in the first axis.
fn clips(operation: &'static str, x: &GpuTensor, frames: usize) -> Result<usize> {
    let n = x.shape.first().copied().unwrap_or(0);
    if frames == 0 || n == 0 || !n.is_multiple_of(frames) {
        return Err(misshapen(operation, x, format!("a first axis of whole clips of {frames} frames")));
    }
    Ok(n / frames)
}

impl GpuTensor {
    /// Channels: the last axis.
    fn channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }

    /// Places that each have all channels.
    fn positions(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    /// Vectors of four in all.
    fn quads(&self) -> usize {
        self.positions() * quads(self.channels())
    }

    fn values(&self) -> Bound<'_> {
        Bound::Values(&self.loan.buffer)
    }
}

impl GpuBackend {
    /// The fastest adapter of this machine, or the one whose name contains `adapter` (not in a browser).
    ///
    /// # Errors
    /// [`Error::Backend`] when there is none, or it gives no device.
    pub async fn open(adapter: Option<&str>) -> Result<Self> {
        Self::open_with(adapter, Precision::F32).await
    }

    /// The same, with weights in a precision of one's own choice.
    ///
    /// # Errors
    /// As [`Self::open`], and when the adapter lacks the precision.
    pub async fn open_with(adapter: Option<&str>, precision: Precision) -> Result<Self> {
        let gpu = Gpu::open(adapter, precision).await?;
        let on_processor = gpu.info.device_type == wgpu::DeviceType::Cpu;
        let tuning = Tuning::new(on_processor, gpu.has_subgroups());
        Ok(Self { gpu, tuning })
    }

    /// Name of the adapter and of what drives it.
    pub fn adapter(&self) -> String {
        let info = &self.gpu.info;
        format!("{} ({:?} {})", info.name, info.backend, info.driver_info).replace(" )", ")")
    }

    /// Whether the adapter is a program on the processor (lavapipe, SwiftShader).
    pub fn is_on_processor(&self) -> bool {
        self.tuning.on_processor
    }

    /// Bytes on the card.
    pub fn memory(&self) -> Memory {
        self.gpu.memory()
    }

    /// Every dense convolution takes this form, or each the one that suits it: for comparing them.
    pub fn force_form(&self, form: Option<Form>) {
        self.tuning.force(form);
    }

    /// Compiles what the networks built so far will need.
    ///
    /// # Errors
    /// [`Error::Backend`] when the device refuses any of it.
    pub fn prepare(&self) -> Result<()> {
        self.gpu.pipelines.make_announced(&self.gpu.device);
        self.gpu.check()
    }

    /// Goes through `run` without computing anything: makes the pipelines that it needs, and takes down its shapes for
    /// [`Self::tune`]. What it gives is left over from others.
    ///
    /// # Errors
    /// As `run`, and [`Error::Backend`] when the device refuses a pipeline.
    pub fn rehearse<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<()> {
        self.gpu.rehearse(true);
        let ran = run();
        self.gpu.rehearse(false);
        ran?;
        self.gpu.check()
    }

    /// Whether the adapter can take down the time of each dispatch.
    pub fn has_times(&self) -> bool {
        self.gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Takes down the time of every dispatch from now on, until [`Self::times`]. They run one by one meanwhile.
    ///
    /// # Errors
    /// [`Error::Backend`] when the adapter has no clock.
    pub fn start_times(&self) -> Result<()> {
        if !self.has_times() {
            return Err(failed(format!("the adapter {} takes down no times", self.adapter())));
        }
        self.gpu.submit(|_| ());
        *lock(&self.gpu.profile) = Some(Profile::default());
        self.gpu.check()
    }

    /// The dispatches since [`Self::start_times`], in order.
    ///
    /// # Errors
    /// [`Error::Backend`] when one of them went wrong.
    pub async fn times(&self) -> Result<Vec<Timed>> {
        self.gpu.submit(|_| ());
        let profile = lock(&self.gpu.profile).take().unwrap_or_default();
        let mut all = Vec::new();
        for Part { work, times } in profile.parts {
            let bytes = self.gpu.mapped(&times).await?;
            let ticks: Vec<u64> = bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b)).collect();
            let period = f64::from(self.gpu.queue.get_timestamp_period());
            for (work, ticks) in work.into_iter().zip(ticks.as_chunks().0) {
                let &[begin, end] = ticks;
                all.push(Timed { work, nanoseconds: end.saturating_sub(begin) as f64 * period });
            }
        }
        Ok(all)
    }

    /// What the card does at most, measured: plain multiplications and additions, and a plain sum of large arrays.
    ///
    /// # Errors
    /// [`Error::Backend`] when the adapter has no clock, or fails.
    pub async fn peak(&self) -> Result<Peak> {
        // Values and rounds: what takes a card, and what takes a processor, a few milliseconds.
        let (length, rounds) = if self.is_on_processor() { (1 << 16, 64) } else { (1 << 20, 1024) };
        let x = self.empty([length, 4])?;
        let params = PeakParams { rounds, length: length as u32 };
        let large = self.empty([if self.is_on_processor() { 1 << 20 } else { 1 << 22 }, 4])?;
        let run = || -> Result<()> {
            let y = self.empty([length, 4])?;
            self.each_quad(&PEAK, Vec::new(), bytemuck::bytes_of(&params), &[&x], &y)?;
            self.combine("add", &large, &large, false).map(|_| ())
        };
        run()?;
        self.start_times()?;
        for _ in 0..5 {
            run()?;
        }
        let times = self.times().await?;
        let fastest = |kernel: &Kernel| {
            let times = times.iter().filter(|timed| timed.work.kernel == kernel.name);
            times.map(|timed| timed.nanoseconds).fold(f64::INFINITY, f64::min) * 1e-9
        };
        // 16 vectors of 4, multiplied and added, a round; one array read (twice the same) and one written.
        let operations = f64::from(rounds) * length as f64 * 16.0 * 8.0;
        let bytes = 2.0 * large.quads() as f64 * QUAD_BYTES as f64;
        Ok(Peak { operations: operations / fastest(&PEAK), bytes: bytes / fastest(&COMBINE) })
    }

    /// Ends the device as if the system had taken it away: for testing what happens then.
    pub fn destroy(&self) {
        self.gpu.device.destroy();
    }

    /// Room for an activation; what stands in it is left over from others.
    fn empty(&self, shape: impl Into<Vec<usize>>) -> Result<GpuTensor> {
        let shape = shape.into();
        let (channels, length) = match shape.split_last() {
            Some((channels, rest)) => (*channels, rest.iter().product::<usize>() * quads(*channels)),
            None => (0, 0),
        };
        if length == 0
            || quads(channels) > HEADER as usize
            || u32::try_from(length + HEADER as usize).is_err()
        {
            let expected = format!("1 to {} channels and fewer than 2^34 values in all", 4 * HEADER);
            return Err(Error::Shape { operation: "tensor", found: shape, expected });
        }
        let loan = self.gpu.take(length as u64 * QUAD_BYTES)?;
        Ok(GpuTensor { shape, loan: Arc::new(loan) })
    }

    /// Records a kernel that makes a quad of `y` in each invocation.
    fn each_quad(
        &self,
        kernel: &'static Kernel,
        constants: Constants,
        params: &[u8],
        inputs: &[&GpuTensor],
        y: &GpuTensor,
    ) -> Result<()> {
        let buffers: Vec<_> = inputs.iter().copied().chain([y]).map(GpuTensor::values).collect();
        let bytes = inputs.iter().copied().chain([y]).map(|x| x.quads() as u64 * QUAD_BYTES).sum();
        let detail = format!("{:?}", y.shape);
        let work = Work { kernel: kernel.name, detail, operations: 4 * y.quads() as u64, bytes };
        self.each(kernel, constants, params, &buffers, y.quads(), work)
    }

    /// Records a kernel that makes one of `count` items in each invocation.
    fn each(
        &self,
        kernel: &'static Kernel,
        constants: Constants,
        params: &[u8],
        buffers: &[Bound<'_>],
        count: usize,
        work: Work,
    ) -> Result<()> {
        let [columns, rows] = self.gpu.spread(count.div_ceil(WORKGROUP) as u32);
        self.gpu.record(Call { kernel, constants, params, buffers, groups: [columns, rows, 1], work })
    }

    fn shift_in_time(&self, x: &GpuTensor, frames: usize) -> Result<GpuTensor> {
        let [n, _, _, c] = activation("temporal_shift", x)?;
        clips("temporal_shift", x, frames)?;
        if !c.is_multiple_of(SHIFT_DIVISOR) {
            return Err(misshapen("temporal_shift", x, format!("a multiple of {SHIFT_DIVISOR} channels")));
        }
        let y = self.empty(x.shape.clone())?;
        let params = TemporalShiftParams {
            length: y.quads() as u32,
            frame: (y.quads() / n) as u32,
            channels: quads(c) as u32,
            clip: frames as u32,
            fold: (c / SHIFT_DIVISOR) as u32,
        };
        self.each_quad(&TEMPORAL_SHIFT, Vec::new(), bytemuck::bytes_of(&params), &[x], &y)?;
        Ok(y)
    }

    /// Frame t of every clip of `clip_out` is frame min(t + first, clip_in - 1) of one of `clip_in`.
    fn take_frames(&self, x: &GpuTensor, clip_in: usize, clip_out: usize, first: usize) -> Result<GpuTensor> {
        let [n, h, w, c] = activation("take_frames", x)?;
        let y = self.empty([n / clip_in * clip_out, h, w, c])?;
        let params = TakeFramesParams {
            length: y.quads() as u32,
            frame: (h * w * quads(c)) as u32,
            clip_in: clip_in as u32,
            clip_out: clip_out as u32,
            first: first as u32,
        };
        self.each_quad(&TAKE_FRAMES, Vec::new(), bytemuck::bytes_of(&params), &[x], &y)?;
        Ok(y)
    }

    fn combine(
        &self,
        operation: &'static str,
        a: &GpuTensor,
        b: &GpuTensor,
        product: bool,
    ) -> Result<GpuTensor> {
        if a.shape != b.shape {
            return Err(misshapen(operation, b, format!("{:?}, as the first", a.shape)));
        }
        let y = self.empty(a.shape.clone())?;
        let params = CombineParams { length: y.quads() as u32 };
        let constants = vec![("PRODUCT", product.into())];
        self.each_quad(&COMBINE, constants, bytemuck::bytes_of(&params), &[a, b], &y)?;
        Ok(y)
    }

    fn beside(&self, a: &GpuTensor, b: &GpuTensor) -> Result<GpuTensor> {
        let ([n, h, w, c], d) = (activation("concat", a)?, b.channels());
        let y = self.empty([n, h, w, c + d])?;
        let params = ConcatParams {
            a_channels: c as u32,
            b_channels: d as u32,
            a_quads: quads(c) as u32,
            b_quads: quads(d) as u32,
            y_quads: quads(c + d) as u32,
            length: y.quads() as u32,
        };
        self.each_quad(&CONCAT, Vec::new(), bytemuck::bytes_of(&params), &[a, b], &y)?;
        Ok(y)
    }

    /// Mean over the middle axis of `[n, middle, channels]`.
    fn mean(&self, x: &GpuTensor, [n, middle, channels]: [usize; 3]) -> Result<GpuTensor> {
        let y = self.empty([n, channels])?;
        let params =
            MeanParams { middle: middle as u32, channels: quads(channels) as u32, length: y.quads() as u32 };
        self.each_quad(&MEAN, Vec::new(), bytemuck::bytes_of(&params), &[x], &y)?;
        Ok(y)
    }

    /// Displacement from features (`FUSED`) or from scores; `positions` neighbours of a line to a workgroup.
    fn search(
        &self,
        [first, second]: [&GpuTensor; 2],
        estimation: &Estimation,
        fused: bool,
        positions: usize,
    ) -> Result<Match<GpuTensor>> {
        let [n, h, w, c] = activation("match_frames", first)?;
        let found = Match {
            displacement: self.empty([n, h, w, 2])?,
            confidence: self.empty([n, h, w, 1])?,
            argmax: self.empty([n, h, w, 1])?,
        };
        let line_groups = w.div_ceil(positions);
        let groups = n * h * line_groups;
        // A temperature or a Gaussian of next to nothing must stay a number in f32.
        let sharpness = (1.0 / estimation.temperature).min(1e30) as f32;
        let falloff = match estimation.estimator {
            Estimator::Kernel => (0.5 / estimation.sigma.powi(2)).min(1e30) as f32,
            Estimator::Soft => 0.0,
        };
        let params = MatchFramesParams {
            height: h as u32,
            width: w as u32,
            channels: quads(c) as u32,
            line_groups: line_groups as u32,
            groups: groups as u32,
            sharpness,
            falloff,
        };
        let outputs = [&found.displacement, &found.confidence, &found.argmax];
        let all = [first, second].into_iter().chain(outputs);
        let buffers: Vec<_> = all.clone().map(GpuTensor::values).collect();
        let patch = estimation.patch;
        let dots = if fused { 2 * c } else { 0 };
        let work = Work {
            kernel: MATCH_FRAMES.name,
            detail: format!("{n}x{h}x{w}x{c}, patch {patch}"),
            operations: (n * h * w * patch * patch * (dots + 10)) as u64,
            bytes: all.map(|x| x.quads() as u64 * QUAD_BYTES).sum(),
        };
        let [columns, rows] = self.gpu.spread(groups as u32);
        self.gpu.record(Call {
            kernel: &MATCH_FRAMES,
            constants: vec![
                ("FUSED", fused.into()),
                ("PATCH", patch as u32),
                ("POSITIONS", positions as u32),
            ],
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            groups: [columns, rows, 1],
            work,
        })?;
        Ok(found)
    }
}

/// Two maps that can be compared.
fn pair(operation: &'static str, first: &GpuTensor, second: &GpuTensor) -> Result<[usize; 4]> {
    let shape = activation(operation, first)?;
    if second.shape != shape {
        return Err(misshapen(operation, second, format!("{:?}, as the first", first.shape)));
    }
    Ok(shape)
}

impl Backend for GpuBackend {
    type Tensor = GpuTensor;
    type Parameter = HostTensor;
    type Conv = Conv;
    type Linear = Linear;

    fn name(&self) -> &'static str {
        "gpu"
    }

    fn upload(&self, host: &HostTensor) -> Result<GpuTensor> {
        self.gpu.check()?;
        // Checked again: its fields are public.
        let HostTensor { shape, data } = HostTensor::new(host.shape.clone(), host.data.clone())?;
        let y = self.empty(shape)?;
        let (channels, padded) = (y.channels(), 4 * quads(y.channels()));
        let data = if channels == padded {
            data
        } else {
            let mut filled = vec![0.0; y.positions() * padded];
            for (to, from) in filled.chunks_exact_mut(padded).zip(data.chunks_exact(channels)) {
                to[..channels].copy_from_slice(from);
            }
            filled
        };
        // What is recorded may still need the numbers that stood here.
        self.gpu.submit(|_| ());
        self.gpu.queue.write_buffer(&y.loan.buffer, HEADER_BYTES, bytemuck::cast_slice(&data));
        self.gpu.check()?;
        Ok(y)
    }

    async fn read(&self, tensor: &GpuTensor) -> Result<HostTensor> {
        let size = tensor.quads() as u64 * QUAD_BYTES;
        let bytes = self.gpu.read(&tensor.loan.buffer, HEADER_BYTES, size).await?;
        let (channels, padded) = (tensor.channels(), 4 * quads(tensor.channels()));
        let values = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
        let data = values.enumerate().filter(|(i, _)| i % padded < channels).map(|(_, value)| value);
        HostTensor::new(tensor.shape.clone(), data.collect())
    }

    fn shape(&self, tensor: &GpuTensor) -> Vec<usize> {
        tensor.shape.clone()
    }

    fn parameter(&self, host: HostTensor) -> Result<HostTensor> {
        HostTensor::new(host.shape, host.data)
    }

    fn conv(&self, spec: ConvSpec, parameters: ConvParameters<HostTensor>) -> Result<Conv> {
        self.build_conv(spec, parameters)
    }

    fn linear(&self, weight: HostTensor, bias: HostTensor) -> Result<Linear> {
        let &[output, input] = weight.shape.as_slice() else {
            let expected = "[output, input]".to_owned();
            return Err(Error::Shape { operation: "linear weight", found: weight.shape, expected });
        };
        if bias.shape != [output] {
            let expected = format!("[{output}]");
            return Err(Error::Shape { operation: "linear bias", found: bias.shape, expected });
        }
        let weight = HostTensor { shape: vec![output, input, 1, 1], data: weight.data };
        let spec = crate::layers::dense(input, output, 1, crate::backend::Activation::None);
        let conv = self.build_conv(spec, ConvParameters { weight, bias: Some(bias), norm: None })?;
        Ok(Linear { conv, inputs: input })
    }

    fn conv2d(&self, conv: &Conv, input: ConvInput<'_, GpuTensor>) -> Result<GpuTensor> {
        self.run_conv(conv, input)
    }

    fn max_pool(&self, x: &GpuTensor) -> Result<GpuTensor> {
        let [n, h, w, c] = activation("max_pool", x)?;
        let y = self.empty([n, h.div_ceil(2), w.div_ceil(2), c])?;
        let params = MaxPoolParams {
            height: h as u32,
            width: w as u32,
            channels: quads(c) as u32,
            out_height: h.div_ceil(2) as u32,
            out_width: w.div_ceil(2) as u32,
            length: y.quads() as u32,
        };
        self.each_quad(&MAX_POOL, Vec::new(), bytemuck::bytes_of(&params), &[x], &y)?;
        Ok(y)
    }

    fn temporal_shift(&self, x: &GpuTensor, frames: usize) -> Result<GpuTensor> {
        self.shift_in_time(x, frames)
    }

    fn unit_length(&self, x: &GpuTensor) -> Result<GpuTensor> {
        let [n, h, w, c] = activation("unit_length", x)?;
        let y = self.empty(x.shape.clone())?;
        let params = UnitLengthParams {
            positions: (n * h * w) as u32,
            channels: quads(c) as u32,
            epsilon: UNIT_LENGTH_EPSILON as f32,
        };
        let [columns, rows] = self.gpu.spread((n * h * w).div_ceil(8) as u32);
        self.gpu.record(Call {
            kernel: &UNIT_LENGTH,
            constants: Vec::new(),
            params: bytemuck::bytes_of(&params),
            buffers: &[x.values(), y.values()],
            groups: [columns, rows, 1],
            work: Work {
                kernel: UNIT_LENGTH.name,
                detail: format!("{:?}", x.shape),
                operations: 12 * x.quads() as u64,
                bytes: 2 * x.quads() as u64 * QUAD_BYTES,
            },
        })?;
        Ok(y)
    }

    fn frame_pairs(&self, x: &GpuTensor, frames: usize) -> Result<(GpuTensor, GpuTensor)> {
        activation("frame_pairs", x)?;
        if frames < 2 {
            return Err(misshapen("frame_pairs", x, format!("clips of at least 2 frames, not {frames}")));
        }
        clips("frame_pairs", x, frames)?;
        let from = |first| self.take_frames(x, frames, frames - 1, first);
        Ok((from(0)?, from(1)?))
    }

    fn correlation(&self, first: &GpuTensor, second: &GpuTensor, patch: usize) -> Result<GpuTensor> {
        let [n, h, w, c] = pair("correlation", first, second)?;
        if patch.is_multiple_of(2) || patch * patch > 4 * HEADER as usize {
            let expected = format!("an odd patch up to 127 beside it, found patch {patch}");
            return Err(misshapen("correlation", first, expected));
        }
        let y = self.empty([n, h, w, patch * patch])?;
        let params = CorrelationParams {
            height: h as u32,
            width: w as u32,
            channels: quads(c) as u32,
            side: patch as u32,
            quads: quads(patch * patch) as u32,
            length: y.quads() as u32,
        };
        self.each_quad(&CORRELATION, Vec::new(), bytemuck::bytes_of(&params), &[first, second], &y)?;
        Ok(y)
    }

    fn displacement(&self, scores: &GpuTensor, estimation: &Estimation) -> Result<Match<GpuTensor>> {
        estimation.check()?;
        let [_, _, _, area] = activation("displacement", scores)?;
        if area != estimation.patch * estimation.patch {
            let patch = estimation.patch;
            return Err(misshapen("displacement", scores, format!("[N, H, W, {patch} * {patch}]")));
        }
        self.search([scores, scores], estimation, false, 1)
    }

    fn match_frames(
        &self,
        first: &GpuTensor,
        second: &GpuTensor,
        estimation: &Estimation,
    ) -> Result<Match<GpuTensor>> {
        estimation.check()?;
        pair("match_frames", first, second)?;
        // Scores of each position, the Gaussian, and 24 bytes of each of the 64 invocations.
        let patch = estimation.patch;
        let needed = |positions: usize| 4 * (positions * patch + 1) * patch + 24 * WORKGROUP;
        match [4, 1].into_iter().find(|positions| needed(*positions) <= self.gpu.workgroup_memory()) {
            Some(positions) => self.search([first, second], estimation, true, positions),
            // A window so large that not even one fits: through memory.
            None => self.displacement(&self.correlation(first, second, estimation.patch)?, estimation),
        }
    }

    fn repeat_last(&self, x: &GpuTensor, frames: usize) -> Result<GpuTensor> {
        activation("repeat_last", x)?;
        let pairs = frames.saturating_sub(1);
        clips("repeat_last", x, pairs)?;
        self.take_frames(x, pairs, frames, 0)
    }

    fn add(&self, a: &GpuTensor, b: &GpuTensor) -> Result<GpuTensor> {
        self.combine("add", a, b, false)
    }

    fn multiply(&self, a: &GpuTensor, b: &GpuTensor) -> Result<GpuTensor> {
        self.combine("multiply", a, b, true)
    }

    fn concat(&self, parts: &[&GpuTensor]) -> Result<GpuTensor> {
        let Some((first, others)) = parts.split_first() else { return Err(failed("concat of nothing")) };
        let [n, h, w, _] = activation("concat", first)?;
        let mut y = (*first).clone();
        for part in others {
            let [n_, h_, w_, _] = activation("concat", part)?;
            if [n, h, w] != [n_, h_, w_] {
                return Err(misshapen("concat", part, format!("[{n}, {h}, {w}, C], as the first")));
            }
            y = self.beside(&y, part)?;
        }
        Ok(y)
    }

    fn global_mean(&self, x: &GpuTensor) -> Result<GpuTensor> {
        let [n, h, w, c] = activation("global_mean", x)?;
        self.mean(x, [n, h * w, c])
    }

    fn dropout(&self, x: &GpuTensor, share: f32) -> Result<GpuTensor> {
        if share != 0.0 {
            return Err(failed(format!(
                "dropout of a share of {share}: the gpu only infers; train on the cpu"
            )));
        }
        Ok(x.clone())
    }

    fn linear_forward(&self, linear: &Linear, x: &GpuTensor) -> Result<GpuTensor> {
        let &[n, c] = x.shape.as_slice() else {
            return Err(misshapen("linear", x, format!("[N, {}]", linear.inputs)));
        };
        if n == 0 || c != linear.inputs {
            return Err(misshapen("linear", x, format!("[N, {}]", linear.inputs)));
        }
        let maps = GpuTensor { shape: vec![n, 1, 1, c], loan: x.loan.clone() };
        let input = ConvInput { x: &maps, shift: None, residual: None, statistics: Default::default() };
        let y = self.run_conv(&linear.conv, input)?;
        Ok(GpuTensor { shape: vec![n, y.channels()], loan: y.loan })
    }

    fn frame_mean(&self, x: &GpuTensor, frames: usize) -> Result<GpuTensor> {
        let &[_, classes] = x.shape.as_slice() else {
            return Err(misshapen("frame_mean", x, "[B*T, K]"));
        };
        let count = clips("frame_mean", x, frames)?;
        self.mean(x, [count, frames, classes])
    }
}
