//! Which form a convolution takes: by measuring, once per adapter and shape.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::lock;

/// A way of running a dense convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// In registers, straight from memory: best where workgroup memory is no faster than memory, as on a CPU.
    Direct,
    /// Through workgroup memory, tiles of 64 positions x 64 channels.
    Tiled,
    /// The same with 128 positions: fewer loads for each multiplication, fewer workgroups.
    Tall,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Tiled, Self::Tall];

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Direct => ", direct",
            Self::Tiled => ", tiled",
            Self::Tall => ", tall",
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
    pub(super) positions: usize,
}

impl ConvShape {
    fn key(&self) -> String {
        let Self { kernel, stride, input, output, positions } = self;
        format!("{kernel}x{kernel}/{stride} {input}>{output} @{positions}")
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Tuning {
    state: Mutex<State>,
    /// Adapters that are processors take the direct form where nothing was measured.
    pub(super) on_processor: bool,
}

#[derive(Debug, Default)]
struct State {
    chosen: BTreeMap<String, Form>,
    wanted: BTreeSet<ConvShape>,
    forced: Option<Form>,
}

impl Tuning {
    pub(super) fn new(on_processor: bool) -> Self {
        Self { on_processor, ..Self::default() }
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
        let tall_tiles = shape.positions.div_ceil(128) * shape.output.div_ceil(64);
        match (self.on_processor, tall_tiles) {
            (true, _) => Form::Direct,
            (false, 256..) => Form::Tall,
            (false, _) => Form::Tiled,
        }
    }

    /// Forms that layers may take before anything is measured.
    pub(super) fn candidates(&self) -> Vec<Form> {
        match (lock(&self.state).forced, self.on_processor) {
            (Some(form), _) => vec![form],
            (None, true) => vec![Form::Direct],
            (None, false) => Form::ALL[1..].to_vec(),
        }
    }

    pub(super) fn force(&self, form: Option<Form>) {
        lock(&self.state).forced = form;
    }
}
