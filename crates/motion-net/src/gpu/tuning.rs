//! Which form a convolution takes: by measuring, once per adapter and shape.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::kernels::{CONV2D, CONV2D_SUBGROUP, CONV2D_TILED};
use super::{GpuBackend, lock};
use crate::Result;
use crate::backend::{Activation, ConvInput, ConvParameters, HostTensor, Statistics};
use crate::layers::dense;

/// A way of running a dense convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// In registers, straight from memory, 16 positions x 8 channels each: best where workgroup memory is no faster than
    /// memory, as on a CPU.
    Direct,
    /// The same with 16 channels: fewer loads for each multiplication, more registers than a card has.
    Wide,
    /// Through workgroup memory, tiles of 64 positions x 64 channels.
    Tiled,
    /// The same with 128 positions: fewer loads for each multiplication, fewer workgroups.
    Tall,
    /// In registers, inputs handed round in subgroups; where the adapter has those, which browsers' have not
    /// (wgpu 30 does not ask them for it).
    Subgroup,
}

impl Form {
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Direct => ", direct",
            Self::Wide => ", wide",
            Self::Tiled => ", tiled",
            Self::Tall => ", tall",
            Self::Subgroup => ", subgroup",
        }
    }
}

/// What decides which form is fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConvShape {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) input: usize,
    pub(super) output: usize,
    /// N, H, W of the input.
    pub(super) size: [usize; 3],
}

impl ConvShape {
    fn key(&self) -> String {
        let Self { kernel, stride, input, output, size: [n, h, w] } = self;
        format!("{kernel}x{kernel}/{stride} {input} to {output} at {n}x{h}x{w}")
    }

    fn positions(&self) -> usize {
        let [n, h, w] = self.size;
        n * h.div_ceil(self.stride) * w.div_ceil(self.stride)
    }

    /// Floating point operations.
    fn operations(&self) -> usize {
        2 * self.positions() * self.output * self.input * self.kernel * self.kernel
    }

    /// As much of it as is measured on a processor: about so many operations, which take it some milliseconds.
    fn part(self) -> Self {
        const OPERATIONS: usize = 30_000_000;
        let [n, h, w] = self.size;
        let lines = (n * h * OPERATIONS / self.operations().max(1)).clamp(self.kernel, n * h);
        let size = if lines >= h { [lines / h, h, w] } else { [1, lines.min(h), w] };
        Self { size, ..self }
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Tuning {
    state: Mutex<State>,
    /// Adapters that are processors take the wide form where nothing was measured.
    pub(super) on_processor: bool,
    /// What the adapter can run.
    forms: Vec<Form>,
}

#[derive(Debug, Default)]
struct State {
    chosen: BTreeMap<String, Form>,
    wanted: BTreeSet<ConvShape>,
    forced: Option<Form>,
}

/// What is kept between starts.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Adapter, driver and shaders that it was measured with.
    of: String,
    forms: BTreeMap<String, Form>,
}

impl Tuning {
    pub(super) fn new(on_processor: bool, subgroups: bool) -> Self {
        let mut forms = vec![Form::Direct, Form::Wide, Form::Tiled, Form::Tall];
        forms.extend(subgroups.then_some(Form::Subgroup));
        Self { state: Mutex::default(), on_processor, forms }
    }

    /// The form for this shape: measured, or guessed and taken down for measuring.
    pub(super) fn form(&self, shape: &ConvShape) -> Form {
        let mut state = lock(&self.state);
        if let Some(form) = state.forced {
            return form;
        }
        if let Some(form) = state.chosen.get(&shape.key()) {
            return *form;
        }
        state.wanted.insert(*shape);
        self.guess(shape)
    }

    fn guess(&self, shape: &ConvShape) -> Form {
        // A tall tile needs enough of them to keep a card busy.
        let tall_tiles = shape.positions().div_ceil(128) * shape.output.div_ceil(64);
        match (self.on_processor, tall_tiles) {
            (true, _) => Form::Wide,
            (false, 256..) => Form::Tall,
            (false, _) => Form::Tiled,
        }
    }

    /// Forms that layers may take before anything is measured.
    pub(super) fn candidates(&self) -> Vec<Form> {
        match (lock(&self.state).forced, self.on_processor) {
            (Some(form), _) => vec![form],
            (None, true) => vec![Form::Wide],
            (None, false) => vec![Form::Tiled, Form::Tall],
        }
    }

    pub(super) fn force(&self, form: Option<Form>) {
        lock(&self.state).forced = form;
    }
}

impl GpuBackend {
    /// Forms that this adapter can run.
    pub fn forms(&self) -> &[Form] {
        &self.tuning.forms
    }

    /// What the stored measurements belong to: they say nothing about another adapter, driver or shader.
    fn tuned_for(&self) -> String {
        let mut hasher = std::hash::DefaultHasher::new();
        (CONV2D.source, CONV2D_TILED.source, CONV2D_SUBGROUP.source).hash(&mut hasher);
        let precision = self.gpu.pipelines.precision;
        format!("{}, weights {precision:?}, shaders {:016x}", self.adapter(), hasher.finish())
    }

    /// Measures every form of convolution for the shapes that have run (or were rehearsed) so far and were not measured
    /// yet, those with the most to compute first, while `goes_on` says so; they run in the fastest from now on. What is
    /// not measured, and all of it where the adapter has no clock, stays with what was guessed. Gives the number of
    /// shapes measured.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the device fails.
    pub async fn tune(&self, mut goes_on: impl FnMut() -> bool) -> Result<usize> {
        if !self.has_times() || lock(&self.tuning.state).forced.is_some() {
            return Ok(0);
        }
        let mut wanted: Vec<_> = std::mem::take(&mut lock(&self.tuning.state).wanted).into_iter().collect();
        wanted.sort_by_key(ConvShape::operations);
        let mut count = 0;
        while goes_on()
            && let Some(shape) = wanted.pop()
        {
            let fastest = self.fastest(&shape).await;
            self.tuning.force(None);
            lock(&self.tuning.state).chosen.insert(shape.key(), fastest?);
            count += 1;
        }
        lock(&self.tuning.state).wanted.extend(wanted);
        // What was tried is not what the network needs.
        self.gpu.pool.clear();
        Ok(count)
    }

    async fn fastest(&self, shape: &ConvShape) -> Result<Form> {
        let part = if self.tuning.on_processor { shape.part() } else { *shape };
        let ConvShape { kernel, stride, input, output, size: [n, h, w] } = part;
        let spec = dense(input, output, kernel, Activation::None).stride(stride);
        let weight =
            HostTensor::new([output, input, kernel, kernel], vec![0.0; output * input * kernel * kernel])?;
        let conv = self.build_conv(spec, ConvParameters { weight, bias: None, norm: None })?;
        let x = self.empty([n, h, w, input])?;
        let mut fastest = (f64::INFINITY, Form::Direct);
        for &form in self.forms() {
            self.tuning.force(Some(form));
            let run = || self.run_conv(&conv, ConvInput::new(&x, Statistics::Running));
            // The first run of a pipeline may compile.
            run()?;
            self.start_times()?;
            for _ in 0..3 {
                run()?;
            }
            let times = self.times().await?;
            let time = times.iter().map(|timed| timed.nanoseconds).fold(f64::INFINITY, f64::min);
            if time < fastest.0 {
                fastest = (time, form);
            }
        }
        Ok(fastest.1)
    }

    /// The measurements as JSON, for [`Self::set_tuning`] at the next start.
    pub fn tuning(&self) -> String {
        let stored = Stored { of: self.tuned_for(), forms: lock(&self.tuning.state).chosen.clone() };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Takes over what [`Self::tuning`] gave; whether it was measured on this adapter with these shaders. If not, it is
    /// left alone.
    pub fn set_tuning(&self, json: &str) -> bool {
        let stored = serde_json::from_str::<Stored>(json).ok().filter(|stored| stored.of == self.tuned_for());
        let found = stored.is_some();
        if let Some(stored) = stored {
            lock(&self.tuning.state).chosen.extend(stored.forms);
        }
        found
    }
}
