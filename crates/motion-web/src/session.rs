//! The only API that JavaScript sees: it passes bytes in, takes messages out, and calls one step after the other.
//!
//! A video goes through `open` and `open_step` until it is open, then either `next_run`, `next_chunk`, `wants`, `put` (exact
//! frames, by WebCodecs) or `seek_times`, `put_approximate` (the browser's player) (`video`), then `clip`, `advance` until
//! nothing is left (`pass`), and `scores`. `maps` can be asked for at any stage that has run (`stage`). Here: the models, and
//! where they run.

/// Asks the runner of the model that is in use.
macro_rules! on {
    ($model:expr, $runner:ident => $answer:expr) => {
        match &$model.gpu {
            Some($runner) => $answer,
            None => {
                let $runner = &$model.cpu;
                $answer
            }
        }
    };
}

/// The same, to change it.
macro_rules! on_mut {
    ($model:expr, $runner:ident => $answer:expr) => {
        match &mut $model.gpu {
            Some($runner) => $answer,
            None => {
                let $runner = &mut $model.cpu;
                $answer
            }
        }
    };
}

mod beside;
mod card;
mod export;
mod maps;
mod model;
mod other;
mod pass;
mod pictures;
mod point;
mod runner;
mod save;
mod scores;
mod shot;
mod stage;
mod video;
mod windows;

use motion_net::Weights;
use motion_net::checkpoint;
use motion_net::config::Config;
use motion_net::gpu::{Precision, Timed};
use motion_view::{Picture, wheel};
use wasm_bindgen::prelude::*;

use crate::blob::BlobReader;
use crate::demux::Opening;
use crate::message::{array, object, picture, texts};
use crate::schedule::Part;
use crate::{Error, Result};
use card::Card;
use model::{Model, model_of};
use pictures::Scaling;
use runner::{Compared, Probe, Runner};
use shot::Shot;
use video::Video;
use windows::Windows;

/// Side of the legend's colour wheel in pixels.
const WHEEL: usize = 96;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds since the worker started.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// How long the graphics card took to start, in milliseconds.
#[derive(Clone, Copy)]
struct Start {
    /// Weights to the card, kernels handed to its compiler.
    load: f64,
    /// Measuring which forms of convolution suit the card, where no earlier start did; and making those kernels.
    tuning: f64,
    /// The first run, of a small clip.
    first: f64,
    /// A later run of the same.
    later: f64,
}

/// How long the parts of a request took, in milliseconds.
#[derive(Default)]
struct Times {
    began: f64,
    opened: f64,
    decoded: f64,
    prepared: f64,
    network: f64,
    draw: f64,
}

/// What ran since the request began.
#[derive(Default)]
struct Log {
    ran: Vec<String>,
    times: Times,
}

/// Everything that the worker knows.
#[wasm_bindgen]
#[derive(Default)]
pub struct Session {
    model: Option<Model>,
    card: Option<Card>,
    /// Held beside the one in use.
    other: Option<Model>,
    /// What the browser calls the card in use.
    adapter: String,
    /// How it started.
    start: Option<Start>,
    /// Why the network runs where it does, in words for the page.
    why: String,
    /// The card failed while it ran this clip.
    stopped: bool,
    opening: Option<(Opening, BlobReader, String, Part)>,
    video: Option<Video>,
    shot: Option<Shot>,
    /// What full colour stands for.
    scaling: Scaling,
    /// Whether every frame is looked at, rather than those of one clip.
    every: bool,
    /// Then, how far that is.
    windows: Option<Windows>,
    /// What the stage of this number compares in the window of that number: looked at point by point. Gone as soon as
    /// anything runs.
    compared: Option<([usize; 2], Compared)>,
    log: Log,
}

/// An error as JavaScript sees it: `message`; `fallback` where the browser's player may do better; `again` where the
/// video has to be decoded once more.
impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        let shown = js_sys::Error::new(&error.to_string());
        let facts =
            [("fallback", error.worth_a_video_element()), ("again", matches!(error, Error::FramesGone))];
        for (name, value) in facts {
            let _ = js_sys::Reflect::set(&shown, &name.into(), &value.into());
        }
        shown.into()
    }
}

#[wasm_bindgen]
impl Session {
    /// Nothing loaded yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        console_error_panic_hook::set_once();
        Self::default()
    }

    /// The legend's colour wheel, a picture.
    ///
    /// # Errors
    /// Never for the size that is built in.
    pub fn wheel(&self) -> Result<JsValue> {
        Ok(picture(&Picture::from_rgba(WHEEL, WHEEL, wheel::wheel_picture(WHEEL))?))
    }

    /// Scores `[N, classes]` of normalised clips `[N, T, H, W, 3]`: the network alone, for tests and `bench-peers`.
    ///
    /// # Errors
    /// Without a model, when the clip does not fit it, or when the backend fails.
    pub async fn logits_of_clips(&self, clips: Vec<f32>, height: usize, width: usize) -> Result<Vec<f32>> {
        let model = self.model()?;
        let clips = model.clips(clips, height, width)?;
        on!(model, runner => runner.logits_of(&clips, &model.estimation).await)
    }

    /// What the graphics card does for normalised clips `[N, T, H, W, 3]`, `{kernel, shape, ms}` of each dispatch by its
    /// own clock: for `bench-peers`.
    ///
    /// # Errors
    /// As [`Self::logits_of_clips`], and when the CPU runs the model or the card has no clock.
    pub async fn kernels_of_clips(&self, clips: Vec<f32>, height: usize, width: usize) -> Result<JsValue> {
        let model = self.model()?;
        let gpu = model.gpu.as_ref().ok_or(Error::Order("Let the model run on the graphics card first."))?;
        let clips = model.clips(clips, height, width)?;
        gpu.backend.start_times()?;
        gpu.logits_of(&clips, &model.estimation).await?;
        let dispatches = gpu.backend.times().await?;
        Ok(array(dispatches.into_iter().map(|Timed { work, nanoseconds }| {
            object([
                ("kernel", work.kernel.into()),
                ("shape", work.detail.into()),
                ("ms", (nanoseconds * 1e-6).into()),
            ])
        })))
    }

    /// Starts the clock of a request.
    pub fn begin(&mut self) {
        self.log = Log { times: Times { began: now(), ..Times::default() }, ..Log::default() };
    }

    /// Loads a model folder's two files; forgets the clip. Returns what the page shows of it.
    ///
    /// # Errors
    /// What is wrong with which of the two.
    pub fn load_model(&mut self, config: &str, weights: &[u8]) -> Result<JsValue> {
        self.forget_clip();
        let (model, parameters) = Model::load(config, weights)?;
        (self.start, self.why, self.adapter) = (None, String::new(), String::new());
        (self.scaling, self.other) = (Scaling::default(), None);
        Ok(self.model.insert(model).info(parameters))
    }

    /// A model folder's two files from a published checkpoint and, where there is one, a file of its classes' names:
    /// `{config, weights, notes}`; notes: what the checkpoint does not tell and was assumed.
    ///
    /// # Errors
    /// What the file is instead, or what is wrong with it or the names.
    pub fn convert(&self, bytes: &[u8], labels: Option<String>) -> Result<JsValue> {
        let labels = labels.as_deref().map(checkpoint::labels::parse).transpose()?;
        let found = checkpoint::to_msnet(checkpoint::read(bytes)?, None, labels)?;
        let weights = found.weights.to_safetensors(false)?;
        Ok(object([
            ("config", found.config.to_json()?.into()),
            ("weights", js_sys::Uint8Array::from(&weights[..]).into()),
            ("notes", texts(&found.notes)),
        ]))
    }

    /// Lets the model run on the graphics card (`adapter` is its name), with WebGPU: always, or only where it is faster
    /// in a small probe on both. A clip begins again.
    ///
    /// `half`: the card keeps weights in 16 bits. `tuning` is what an earlier call returned, or empty: then the forms of
    /// convolution are measured, and what to give to the next call is returned. Without it nothing is measured.
    ///
    /// # Errors
    /// Why the card cannot run it; then the CPU does.
    pub async fn use_gpu(
        &mut self,
        config: String,
        weights: Vec<u8>,
        adapter: String,
        always: bool,
        half: bool,
        tuning: Option<String>,
    ) -> Result<Option<String>> {
        self.leave_gpu(String::new())?;
        let precision = if half { Precision::F16 } else { Precision::F32 };
        // Put back once it has worked.
        let card = match self.card.take().filter(|card| card.precision == precision) {
            Some(card) => card,
            None => Card::open(precision).await?,
        };
        let model = self.model_mut()?;
        let began = now();
        let config = Config::from_json(&config)?;
        let mut gpu = Runner::load(card.backend.clone(), config, Weights::from_safetensors(&weights)?)?;
        gpu.net.set_frames(model.config().frames);
        card.backend.prepare()?;
        let load = now() - began;
        let mut probe = Probe::run(&model.cpu, &gpu, &model.estimation).await?;
        let mut start = Start { load, tuning: 0.0, first: probe.first, later: 0.0 };
        let mut measured = None;
        if let Some(stored) = tuning
            && (always || !probe.is_hopeless())
        {
            let began = now();
            if !card.backend.set_tuning(&stored) && gpu.tune(&model.estimation).await? > 0 {
                measured = Some(card.backend.tuning());
                start.tuning = now() - began;
                probe = Probe::run(&model.cpu, &gpu, &model.estimation).await?;
            }
        }
        start.later = probe.gpu;
        let (speed, side) = (probe.speed(), probe.side);
        let speed_in_words =
            format!("{speed:.1} times the CPU's speed on a small clip ({side} x {side} pixels)");
        self.card = Some(card);
        if speed <= 1.0 && !always {
            self.why = format!("WebGPU ({adapter}) has {speed_in_words}, so the CPU runs.");
            self.begin_clip()?;
            return Ok(measured);
        }
        model_of(&mut self.model)?.gpu = Some(gpu);
        self.adapter = adapter;
        self.start = Some(start);
        let chosen = if always { "You chose it. " } else { "" };
        self.why = format!("{chosen}WebGPU ({}) has {speed_in_words}.", self.adapter);
        self.begin_clip()?;
        Ok(measured)
    }

    /// Lets the model run on the CPU, and says why. A clip begins again.
    ///
    /// # Errors
    /// When the CPU fails; with `again` where the frames were on the graphics card.
    pub fn use_cpu(&mut self, why: String) -> Result<()> {
        self.leave_gpu(why)?;
        self.card = None;
        self.begin_clip()
    }
}

impl Session {
    fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or(Error::Order("Load a model before a video."))
    }

    fn model_mut(&mut self) -> Result<&mut Model> {
        model_of(&mut self.model)
    }

    /// The graphics card, where the network runs on it.
    fn card_in_use(&self) -> Option<Card> {
        let runs = self.model.as_ref().is_some_and(|model| model.gpu.is_some());
        self.card.as_ref().filter(|_| runs).cloned()
    }

    fn forget_clip(&mut self) {
        (self.video, self.shot, self.windows, self.compared) = (None, None, None, None);
        if let Some(card) = &self.card {
            card.backend.forget_frames();
        }
        if let Some(model) = &mut self.model {
            on_mut!(model, runner => runner.forget());
        }
    }

    fn leave_gpu(&mut self, why: String) -> Result<()> {
        self.model_mut()?.gpu = None;
        (self.start, self.why, self.stopped) = (None, why, false);
        self.adapter.clear();
        Ok(())
    }

    /// The graphics card failed: the CPU begins the clip again, and the page says why.
    ///
    /// # Errors
    /// When it was the CPU that failed; [`Error::FramesGone`] where the card had the frames.
    fn take_over(&mut self, error: Error) -> Result<()> {
        if self.model()?.gpu.is_none() {
            return Err(error);
        }
        let reason = error.to_string().replace("gpu backend: ", "");
        self.leave_gpu(format!("WebGPU stopped while it ran the clip, so the CPU ran it again: {reason}."))?;
        (self.card, self.stopped) = (None, true);
        self.begin_clip()
    }
}
