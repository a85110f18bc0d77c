//! The only API that JavaScript sees: it passes bytes in, takes messages out, and calls one step after the other.
//!
//! A video goes through `open` and `open_step` until it is open, then either `next_run`, `next_chunk`, `wants`, `put` (exact frames, by WebCodecs) or
//! `seek_times`, `put_approximate` (the browser's player), then `clip`, `advance` until nothing is left, and
//! `scores`. `maps` can be asked for at any stage that has run.

mod beside;
mod card;
mod export;
mod maps;
mod pictures;
mod point;
mod runner;
mod shot;
mod windows;

use std::collections::BTreeSet;
use std::rc::Rc;

use motion_clip::{Preprocess, Sampling};
use motion_export::{Found, Stage};
use motion_net::checkpoint;
use motion_net::config::{self, Config};
use motion_net::gpu::{Precision, Timed};
use motion_net::{
    Backend, CpuBackend, Estimation, Estimator, GpuBackend, HostTensor, StageMaps, Step, Weights,
};
use motion_view::{Picture, heat, wheel};
use wasm_bindgen::prelude::*;

use crate::blob::BlobReader;
use crate::demux::{Opening, Track};
use crate::message::{array, file, number, object, picture, text, texts};
use crate::orientation::Orientation;
use crate::schedule::{Part, Schedule, Spread};
use crate::{Error, Result};
use card::Card;
use export::{Action, Maps, Shown};
use pictures::{Colours, Pictures};
use runner::{Compared, Probe, Runner, Saved};
use shot::{Shot, View};
use windows::Windows;

/// Largest frame that is taken from the decoder, in pixels: 8K video, twice over.
const PIXEL_LIMIT: u64 = 64 << 20;
/// Frames a second that a video is taken to have when only the browser's player can open it.
const ASSUMED_RATE: f64 = 30.0;
/// Actions that are listed.
const TOP: usize = 5;
/// Side of the legend's colour wheel in pixels.
const WHEEL: usize = 96;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds since the worker started.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// A model that is ready to run.
struct Model {
    cpu: Runner<CpuBackend>,
    /// Where it is there, it runs; the CPU is always ready to take over.
    gpu: Option<Runner<GpuBackend>>,
    estimation: Estimation,
    name: String,
}

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

/// A video that is being taken apart.
struct Video {
    name: String,
    reader: BlobReader,
    track: Track,
    schedule: Schedule,
    /// The upright size, and what the network sees of each sample.
    shot: Shot,
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
        let config = Config::from_json(config)?;
        let weights = Weights::from_safetensors(weights)?;
        let parameters = weights.count();
        let estimation = config.motion.as_ref().map_or_else(Estimation::default, |m| m.estimation());
        let name = name_of(config.backbone);
        let cpu = Runner::load(Rc::default(), config, weights)?;
        (self.start, self.why, self.adapter) = (None, String::new(), String::new());
        let model = self.model.insert(Model { cpu, gpu: None, estimation, name });
        Ok(model.info(parameters))
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
        let gpu = Runner::load(card.backend.clone(), config, Weights::from_safetensors(&weights)?)?;
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

    /// Begins to open a video; `again`: the same one, because its frames are gone. `part` says which part of it makes the
    /// clip and how: `from` and `to` in seconds, `sampling` `segment` or `dense`, where they are given.
    ///
    /// # Errors
    /// Without a model, or when the browser cannot read the file.
    pub fn open(&mut self, blob: web_sys::Blob, name: String, again: bool, part: &JsValue) -> Result<()> {
        self.forget_clip();
        self.stopped &= again;
        let part = self.model()?.part(part)?;
        self.every = matches!(part.spread, Spread::Every(_));
        self.opening = Some((Opening::default(), BlobReader::new(blob)?, name, part));
        Ok(())
    }

    /// Goes on opening: finds the video's frames, and in the end chooses those of the clip. Whether it is open.
    ///
    /// # Errors
    /// What the file is instead, or what is damaged; with `fallback` where the browser's player may open it.
    pub fn open_step(&mut self) -> Result<bool> {
        let (opening, reader, _, part) = self.opening.as_mut().ok_or(Error::Order("Open a video first."))?;
        let Some(track) = opening.step(reader)? else { return Ok(false) };
        let part = *part;
        check_size(track.width as u64, track.height as u64)?;
        let model = self.model()?;
        let schedule = Schedule::new(&track, part, model.config().frames)?;
        if let Some((_, reader, name, _)) = self.opening.take() {
            self.video = Some(Video { name, reader, track, schedule, shot: Shot::default() });
        }
        self.log.times.opened = now();
        Ok(true)
    }

    /// `{done, total, text}` of opening, in megabytes.
    pub fn reading(&self) -> JsValue {
        let (done, total) = self.opening.as_ref().map_or((0, 0), |(o, r, ..)| (o.position(), r.length()));
        let megabytes = |bytes: u64| JsValue::from((bytes as f64 / 1e6).ceil());
        let text = "looking for the frames, megabytes".into();
        object([("done", megabytes(done)), ("total", megabytes(total)), ("text", text)])
    }

    /// What `VideoDecoder.configure` takes.
    ///
    /// # Errors
    /// Without an open video.
    pub fn decoder_config(&self) -> Result<JsValue> {
        let track = &self.video()?.track;
        let mut entries = vec![("codec", track.codec.as_str().into())];
        if track.width > 0 && track.height > 0 {
            entries.extend([("codedWidth", track.width.into()), ("codedHeight", track.height.into())]);
        }
        let colour =
            track.colour.and_then(|colour| Some((colour.standard(track.height)?, colour.full_range)));
        if let Some((standard, full_range)) = colour {
            let [primaries, transfer, matrix] = [standard; 3].map(JsValue::from);
            let space = [("primaries", primaries), ("transfer", transfer), ("matrix", matrix)];
            let space = space.into_iter().chain([("fullRange", full_range.into())]);
            entries.push(("colorSpace", object(space)));
        }
        if let Some(description) = &track.description {
            entries.push(("description", js_sys::Uint8Array::from(&description[..]).into()));
        }
        Ok(object(entries))
    }

    /// Starts the next stretch of compressed frames, the first of them a keyframe; `false` when all have been sent.
    ///
    /// # Errors
    /// When no frame at all came out of the decoder.
    pub fn next_run(&mut self) -> Result<bool> {
        let video = self.video_mut()?;
        let codec = video.track.codec.clone();
        video.schedule.next_run(&codec)
    }

    /// The next compressed frame of this stretch, as `new EncodedVideoChunk` takes it; undefined after the last.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn next_chunk(&mut self) -> Result<JsValue> {
        let video = self.video_mut()?;
        let Some(index) = video.schedule.next_sample() else { return Ok(JsValue::UNDEFINED) };
        let sample = video.track.samples[index];
        check_chunk(sample.size)?;
        let bytes = [&video.track.prefix[..], &video.reader.part(sample.offset, sample.size)?].concat();
        Ok(object([
            ("type", if sample.keyframe { "key" } else { "delta" }.into()),
            ("timestamp", (sample.stamp as f64).into()),
            ("data", js_sys::Uint8Array::from(&bytes[..]).into()),
        ]))
    }

    /// A frame came out of the decoder: whether its pixels are needed.
    ///
    /// # Errors
    /// When it is too large.
    pub fn wants(&mut self, stamp: f64, width: u32, height: u32) -> Result<bool> {
        let wanted = self.video_mut()?.schedule.came(stamp as i64).is_some();
        if wanted {
            check_size(u64::from(width), u64::from(height))?;
        }
        Ok(wanted)
    }

    /// Whether frames can go straight to a graphics card.
    pub fn takes_pictures(&self) -> bool {
        self.card_in_use().is_some_and(|card| card.copies())
    }

    /// A frame that [`Self::wants`] asked for, as a picture that goes straight to the graphics card; `false` where its
    /// pixels are needed.
    ///
    /// # Errors
    /// When the CPU has to take over in the middle of a video; with `again`.
    pub fn put_picture(
        &mut self,
        stamp: f64,
        picture: &web_sys::ImageBitmap,
        width: usize,
        height: usize,
    ) -> Result<bool> {
        let Some(card) = self.card_in_use() else { return Ok(false) };
        let Some(pixels) = card.copy(picture, [width, height]) else { return Ok(false) };
        let seen =
            |orientation, preprocess: &Preprocess| View::on_card(&card, preprocess, orientation, &pixels);
        self.put_view(stamp, [width, height], seen)?;
        Ok(true)
    }

    /// The pixels of a frame that [`Self::wants`] asked for, RGBA.
    ///
    /// # Errors
    /// When size and bytes do not fit; or as [`Self::put_picture`].
    pub fn put(&mut self, stamp: f64, width: usize, height: usize, rgba: &[u8]) -> Result<()> {
        let card = self.card_in_use();
        let size = [width, height];
        let seen = |orientation, preprocess: &Preprocess| match &card {
            None => View::here(preprocess, orientation, size, rgba),
            Some(card) => View::sent(card, preprocess, orientation, size, rgba),
        };
        self.put_view(stamp, size, seen)
    }

    /// The decoder gave up; a new one takes the next run.
    ///
    /// # Errors
    /// Without an open video.
    pub fn decoder_failed(&mut self, complaint: &str) -> Result<()> {
        self.video_mut()?.schedule.failed(complaint);
        Ok(())
    }

    /// `{done, total, text}` of decoding.
    ///
    /// # Errors
    /// Without an open video.
    pub fn decoding(&self) -> Result<JsValue> {
        let schedule = &self.video()?.schedule;
        let (done, total) = schedule.progress();
        Ok(object([("done", done.into()), ("total", total.into()), ("text", schedule.text().into())]))
    }

    /// Where the browser's player should seek, in seconds; `part` as for [`Self::open`].
    ///
    /// # Errors
    /// Without a model, or when the player does not know how long the video is.
    pub fn seek_times(&mut self, duration: f64, part: &JsValue) -> Result<Vec<f64>> {
        self.forget_clip();
        self.log.times.opened = now();
        let model = self.model.as_ref().ok_or(Error::Order("Load a model before a video."))?;
        if !(duration.is_finite() && duration > 0.0) {
            let (what, found) = ("the video's duration", duration.to_string());
            return Err(Error::Message { what, found, expected: "a number of seconds above 0" });
        }
        let Part { seconds: [from, to], spread } = model.part(part)?;
        let (from, to) = (from.clamp(0.0, duration), to.clamp(0.0, duration));
        let count = ((to - from) * ASSUMED_RATE).clamp(1.0, 10_000_000.0) as usize;
        let chosen = spread.choose(count, model.config().frames)?;
        let middle = |index: usize| from + (index as f64 + 0.5) / count as f64 * (to - from);
        let times = chosen.into_iter().map(middle).collect();
        self.every = matches!(spread, Spread::Every(_));
        self.shot.insert(Shot::default()).seconds = [0.0, duration];
        Ok(times)
    }

    /// One picture from the browser's player, in the order of `seek_times`.
    ///
    /// # Errors
    /// When size and bytes do not fit.
    pub fn put_approximate(&mut self, time: f64, width: usize, height: usize, rgba: &[u8]) -> Result<()> {
        check_size(width as u64, height as u64)?;
        let (preprocess, size) = (self.model()?.preprocess(), [width, height]);
        let view = View::here(&preprocess, Orientation::default(), size, rgba)?;
        self.shot.get_or_insert_default().put_approximate(time, view, size);
        Ok(())
    }

    /// The clip is complete: brings it to the network. Returns the 'clip' message.
    ///
    /// # Errors
    /// When no frame came; or as [`Self::put_picture`].
    pub async fn clip(&mut self, name: String) -> Result<JsValue> {
        self.log.times.decoded = now();
        if let Some(video) = self.video.take() {
            self.shot = Some(video.finish()?);
        } else if let Some(shot) = &mut self.shot {
            shot.name = name;
        }
        let pictures = loop {
            let shot = self.shot.as_ref().filter(|shot| shot.has_views()).ok_or(Error::NoFrames)?;
            match shot.pictures(self.card_in_use().as_ref()).await {
                Err(error) => self.take_over(error)?,
                Ok(pictures) => break pictures,
            }
        };
        self.begin_clip()?;
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else { return Err(Error::NoFrames) };
        self.log.times.prepared = now();
        Ok(shot.message(pictures, &model.preprocess()))
    }

    /// Changes how displacement is estimated; what depends on it will be run again.
    ///
    /// # Errors
    /// Which value is out of range; then nothing changes.
    pub fn set(&mut self, settings: &JsValue) -> Result<()> {
        self.compared = None;
        let model = self.model.as_mut().ok_or(Error::Order("Load a model first."))?;
        model.estimation = changed(model.estimation, settings)?;
        on_mut!(model, runner => runner.rewind_to_motion());
        if self.windows.is_some() { self.begin_clip() } else { Ok(()) }
    }

    /// Whether a clip is there to run.
    pub fn has_clip(&self) -> bool {
        self.model.as_ref().is_some_and(|model| on!(model, runner => runner.has_clip()))
    }

    /// The stage that is shown first: the first with a motion module, else the one where the paper puts it.
    ///
    /// # Errors
    /// Without a model.
    pub fn default_stage(&self) -> Result<String> {
        Ok(self.model()?.default_stage().to_owned())
    }

    /// What the next [`Self::advance`] will do: `{done, total, text}`; undefined when nothing is left.
    pub fn upcoming(&self) -> JsValue {
        let Some(model) = &self.model else { return JsValue::UNDEFINED };
        if self.windows.as_ref().is_some_and(|windows| windows.current().is_none()) {
            return JsValue::UNDEFINED;
        }
        let Some(done) = on!(model, runner => runner.stages_run()) else { return JsValue::UNDEFINED };
        let net = &model.cpu.net;
        let steps = net.stage_names().count() + 1;
        if let Some(windows) = &self.windows {
            let text = "every frame, window by window".into();
            let [done, total] =
                [windows.through() * steps + done, windows.count() * steps].map(JsValue::from);
            return object([("done", done), ("total", total), ("text", text)]);
        }
        let text = match net.stage_names().nth(done) {
            None => "classifier".to_owned(),
            Some(name) if net.motion_module(done).is_some() => format!("{name} and its motion module"),
            Some(name) => name.to_owned(),
        };
        object([("done", done.into()), ("total", steps.into()), ("text", text.into())])
    }

    /// Runs the next stage of the network. Returns the name of the stage whose maps are new, if any. Where the graphics
    /// card fails, the CPU begins the clip again.
    ///
    /// # Errors
    /// When the CPU fails.
    pub async fn advance(&mut self) -> Result<Option<String>> {
        if !self.has_clip() {
            return Err(Error::Order("Open a video first."));
        }
        self.compared = None;
        let began = now();
        let model = model_of(&mut self.model)?;
        let step = match on_mut!(model, runner => runner.advance(&model.estimation)) {
            Err(error) => return self.take_over(error).map(|()| None),
            Ok(step) => step,
        };
        self.log.times.network += now() - began;
        let model = model_of(&mut self.model)?;
        let name = |index: usize| model.cpu.net.stage_names().nth(index).unwrap_or_default();
        match step {
            None => Ok(None),
            Some(Step::Classifier) => {
                self.log.ran.push("classifier".to_owned());
                self.gather().await.map(|()| None)
            }
            Some(Step::Stage { index, backbone, motion }) => {
                self.log.ran.extend(backbone.then(|| name(index).to_owned()));
                self.log.ran.extend(motion.then(|| format!("motion of {}", name(index))));
                let shown = motion && self.windows.is_none();
                Ok(shown.then(|| name(index).to_owned()))
            }
        }
    }

    /// The 'maps' message of a stage that has run; a probe where no module is trained.
    ///
    /// # Errors
    /// When there is no such stage, it has not run, or the backend fails.
    pub async fn maps(&mut self, stage: String) -> Result<JsValue> {
        let index = self.model()?.cpu.net.stage_index(&stage)?;
        let (maps, colours, pictures) = self.drawn_maps(index).await?;
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else {
            return Err(Error::Order("Open a video first."));
        };
        let geometry = model.preprocess().geometry(shot.source[0], shot.source[1]);
        let trained = model.cpu.net.motion_module(index).is_some();
        let mut message = maps::shown(&maps, &colours, pictures, &geometry);
        message.extend([("trained", trained.into()), ("probe", (!trained).into())]);
        Ok(object(message))
    }

    /// The 'beside' message: maps of the same frames to hold beside those of a stage that has run, in the same colours, and
    /// how far apart the two are. `what`: `estimator`, the one that was not chosen; or `backward`, from each frame to the
    /// one before it.
    ///
    /// # Errors
    /// When there is no such stage, something else is asked for, or the backend fails.
    pub async fn beside(&mut self, stage: String, what: String) -> Result<JsValue> {
        if self.windows.is_some() {
            return Err(Error::EveryFrame("A comparison"));
        }
        let index = self.model()?.cpu.net.stage_index(&stage)?;
        let (maps, estimation) = (self.stage_maps(index).await?, self.model()?.estimation);
        self.compare(index, 0).await?;
        let (Some(model), Some(shot), Some((_, compared))) = (&self.model, &self.shot, &self.compared) else {
            return Err(Error::Order("Open a video first."));
        };
        let geometry = model.preprocess().geometry(shot.source[0], shot.source[1]);
        Ok(object(beside::message(&model.cpu, &what, &maps, compared, &estimation, &geometry).await?))
    }

    /// The 'point' message: how the position (`x`, `y`) of a frame pair was searched for, with both estimators, under the
    /// settings that `request` has beside the clip's own.
    ///
    /// # Errors
    /// When there is no such place, a setting is out of range, or the backend fails.
    pub async fn point(&mut self, request: JsValue) -> Result<JsValue> {
        let stage = text(&request, "stage").unwrap_or_default();
        let index = self.model()?.cpu.net.stage_index(&stage)?;
        let [window, local] = self.window_of(index, point::whole(&request, "pair")?).await?;
        self.compare(index, window).await?;
        let Some((_, (now, next))) = &self.compared else { return Err(Error::Order("Open a video first.")) };
        let estimation = changed(self.model()?.estimation, &request)?;
        point::message(&stage, (now, next), local, &request, &estimation)
    }

    /// The 'scores' message, once the pass is through.
    ///
    /// # Errors
    /// Before that, or when the backend fails.
    pub async fn scores(&mut self) -> Result<JsValue> {
        let logits = self.logits().await?;
        let ask = async |session: &mut Self| {
            let model = session.model()?;
            on!(model, runner => runner.class_activation().await)
        };
        // Each window has its own.
        let activation = if self.windows.is_some() { None } else { self.answer(usize::MAX, ask).await? };
        let model = self.model()?;
        let seen = match (activation, top(&logits, 1).first()) {
            (Some(activation), Some((class, _))) => class_map(&activation, *class)?,
            _ => JsValue::UNDEFINED,
        };
        let over_time = self.over_time(&logits);
        let top = model.top(&logits).into_iter().map(|Action { label, probability }| {
            object([("label", label.into()), ("probability", probability.into())])
        });
        let Log { ran, times } = &self.log;
        let all = model.cpu.net.stage_names().enumerate().flat_map(|(index, name)| {
            let motion = on!(model, runner => runner.has_motion(index));
            std::iter::once(name.to_owned()).chain(motion.then(|| format!("motion of {name}")))
        });
        let ran_here: BTreeSet<&String> = ran.iter().collect();
        let reused: Vec<String> = all.filter(|name| !ran_here.contains(name)).collect();
        let total = now() - times.began;
        let mut ms = Vec::new();
        if times.opened > 0.0 {
            ms.push(("read", times.opened - times.began));
            ms.push(("decode", times.decoded - times.opened));
            ms.push(("prepare", times.prepared - times.decoded));
        }
        ms.extend([("network", times.network), ("draw", times.draw), ("total", total)]);
        let backend = on!(model, runner => runner.backend.name());
        let said = format!("{} on the {} in {:.0} ms", model.name, backend.to_uppercase(), total);
        let start = self.start.map_or(JsValue::UNDEFINED, |Start { load, tuning, first, later }| {
            let times = [("load", load), ("tuning", tuning), ("first", first), ("later", later)];
            object(times.map(|(name, ms)| (name, ms.into())))
        });
        Ok(object([
            ("top", array(top)),
            ("seen", seen),
            ("over_time", over_time),
            ("backend", backend.into()),
            ("adapter", self.adapter.as_str().into()),
            ("why", self.why.as_str().into()),
            ("notes", texts(self.stopped.then_some(&self.why))),
            ("start", start),
            ("threads", model.cpu.backend.threads().into()),
            ("ran", texts(ran)),
            ("reused", texts(&reused)),
            ("settings", settings_message(&model.estimation)),
            ("ms", object(ms.into_iter().map(|(name, ms)| (name, ms.into())))),
            ("text", said.into()),
        ]))
    }

    /// The 'saved' message's files: the maps of every stage with a module, and of the one that is shown, in another
    /// program's format (`npz`, `flo`, `csv`), or with everything else that is shown (`json`); or the clip as `motionlens
    /// forward` reads it and the results as it writes them (`clip`).
    ///
    /// # Errors
    /// Without a clip that ran to its end, and for anything else that is asked for.
    pub async fn save(&mut self, what: String, shown: String) -> Result<JsValue> {
        if what == "clip" {
            return self.save_clip().await;
        }
        let logits = self.logits().await?;
        let found = self.found(&shown).await?;
        if what == "json" {
            let json = serde_json::to_string(&self.shown(logits, found)?).map_err(std::io::Error::other)?;
            return Ok(array([file("motionlens.json", "application/json", json.as_bytes())]));
        }
        let (name, mime, bytes) = export::file(&what, &found)?;
        Ok(array([file(name, mime, &bytes)]))
    }
}

impl Session {
    /// Maps of every stage with a module, and of the one that is shown.
    async fn found(&mut self, shown: &str) -> Result<Found> {
        let model = self.model()?;
        let shown = model.cpu.net.stage_index(shown)?;
        let count = model.cpu.net.stage_names().count();
        let mut stages = Vec::new();
        for index in 0..count {
            let model = self.model()?;
            let trained = model.cpu.net.motion_module(index).is_some();
            if trained || index == shown {
                let maps = self.stage_maps(index).await?;
                stages.push(Stage { maps, probe: !trained });
            }
        }
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else {
            return Err(Error::Order("Open a video first."));
        };
        let [width, height] = shot.source;
        Ok(Found {
            size: shot.source,
            geometry: model.preprocess().geometry(width, height),
            frames: shot.indices.clone(),
            times: shot.times.clone(),
            stages,
        })
    }

    fn shown(&self, logits: Vec<f32>, found: Found) -> Result<Shown<'_>> {
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else {
            return Err(Error::Order("Open a video first."));
        };
        Ok(Shown {
            video: &shot.name,
            approximate: shot.approximate,
            backbone: &model.name,
            backend: on!(model, runner => runner.backend.name()),
            estimation: model.estimation,
            top: model.top(&logits),
            logits,
            maps: Maps::of(found),
        })
    }

    async fn save_clip(&mut self) -> Result<JsValue> {
        if self.windows.is_some() {
            return Err(Error::EveryFrame("A clip for motionlens forward"));
        }
        let (clip, logits, saved) = self.answer(usize::MAX, async |session| session.results().await).await?;
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else {
            return Err(Error::Order("Open a video first."));
        };
        let clip = channels_first(&clip)?;
        let mut results = std::collections::BTreeMap::new();
        results.insert("logits".to_owned(), HostTensor::new([1, logits.len()], logits.clone())?);
        for (stage, saved) in saved {
            for (kind, tensor) in [
                ("displacement", saved.displacement),
                ("confidence", saved.confidence),
                ("argmax", saved.argmax),
                ("motion", saved.motion),
            ] {
                let mut host = channels_first(&tensor)?;
                host.shape.insert(0, 1);
                results.insert(format!("{kind}.{stage}"), host);
            }
        }
        let one = std::iter::once(("clip".to_owned(), clip)).collect();
        let clip_file = Weights::new(one).to_safetensors(false)?;
        let result_file = Weights::new(results).to_safetensors(false)?;
        let estimation = &model.estimation;
        let facts = serde_json::json!({
            "video": shot.name,
            "backbone": model.name,
            "approximate": shot.approximate,
            "frames": shot.indices,
            "times": shot.times,
            "estimation": estimation,
            "logits": logits,
            "top": model.top(&logits),
        });
        Ok(array([
            file("clip.safetensors", "application/octet-stream", &clip_file),
            file("results.safetensors", "application/octet-stream", &result_file),
            file("results.json", "application/json", facts.to_string().as_bytes()),
        ]))
    }

    /// Where every frame is looked at, how likely the likeliest actions are in each window: `[{from, to, probabilities}]`, in
    /// seconds.
    fn over_time(&self, mean: &[f32]) -> JsValue {
        let (Some(windows), Some(shot)) = (&self.windows, &self.shot) else { return JsValue::UNDEFINED };
        let listed = top(mean, TOP);
        let time = |frame: usize| shot.times.get(frame).copied().unwrap_or_default();
        array(windows.stretches().zip(&windows.logits).map(|(frames, logits)| {
            let all = top(logits, logits.len());
            let of =
                |class: usize| all.iter().find(|(found, _)| *found == class).map_or(0.0, |(_, share)| *share);
            let probabilities = listed.iter().map(|(class, _)| of(*class));
            object([
                ("from", time(frames.start).into()),
                ("to", time(frames.end).into()),
                ("probabilities", array(probabilities)),
            ])
        }))
    }

    fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or(Error::Order("Load a model before a video."))
    }

    fn video(&self) -> Result<&Video> {
        self.video.as_ref().ok_or(Error::Order("Open a video first."))
    }

    fn video_mut(&mut self) -> Result<&mut Video> {
        self.video.as_mut().ok_or(Error::Order("Open a video first."))
    }

    fn model_mut(&mut self) -> Result<&mut Model> {
        model_of(&mut self.model)
    }

    /// The graphics card, where the network runs on it.
    fn card_in_use(&self) -> Option<Card> {
        let runs = self.model.as_ref().is_some_and(|model| model.gpu.is_some());
        self.card.as_ref().filter(|_| runs).cloned()
    }

    /// A decoded frame as the network sees it.
    fn put_view(
        &mut self,
        stamp: f64,
        [width, height]: [usize; 2],
        seen: impl Fn(Orientation, &Preprocess) -> Result<View>,
    ) -> Result<()> {
        let preprocess = self.model()?.preprocess();
        let video = self.video_mut()?;
        let Some(sample) = video.schedule.sample(stamp as i64) else { return Ok(()) };
        let orientation = video.track.orientation;
        match seen(orientation, &preprocess) {
            Ok(view) => {
                video.shot.put(sample, view, orientation.size(width, height));
                Ok(())
            }
            Err(error) => {
                self.take_over(error)?;
                // With the card went the frames that came before.
                Err(Error::FramesGone)
            }
        }
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

    /// Brings the clip, if there is one, to the network that is in use; of every frame, the first window.
    fn begin_clip(&mut self) -> Result<()> {
        let frames = self.model.as_ref().map_or(0, |model| model.config().frames);
        self.windows =
            self.shot.as_ref().filter(|_| self.every).map(|shot| Windows::over(shot.count(), frames));
        self.log.ran.clear();
        self.begin_window()
    }

    /// The window that is to be run next, or all there is.
    fn begin_window(&mut self) -> Result<()> {
        if let (Some(windows), Some(shot)) = (&self.windows, &mut self.shot) {
            let Some(window) = windows.current() else { return Ok(()) };
            shot.window = Some(window.frames.clone());
            self.log.ran.clear();
        }
        self.start_pass()
    }

    /// Takes up what the network is to see now.
    fn start_pass(&mut self) -> Result<()> {
        self.compared = None;
        let (Some(model), Some(shot)) = (&mut self.model, &self.shot) else { return Ok(()) };
        if !shot.has_views() {
            return Ok(());
        }
        let preprocess = model.preprocess();
        let Some(gpu) = &mut model.gpu else { return model.cpu.begin(&shot.clip(&preprocess)?) };
        let clip = shot.clip_on_card(&preprocess, &gpu.backend);
        match clip.and_then(|clip| gpu.begin_on(clip)) {
            Err(error) => self.take_over(error),
            Ok(()) => Ok(()),
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

    /// Where every frame is looked at: keeps what the window that is through gave, and begins the next one.
    async fn gather(&mut self) -> Result<()> {
        if self.windows.is_none() {
            return Ok(());
        }
        match self.window_results().await {
            Err(error) => self.take_over(error),
            Ok((maps, logits)) => {
                if let Some(windows) = &mut self.windows {
                    windows.gather(maps, logits);
                }
                self.begin_window()
            }
        }
    }

    /// Maps of every stage with a module, or else of the one that is shown first, and scores.
    async fn window_results(&mut self) -> Result<(Vec<(usize, StageMaps)>, Vec<f32>)> {
        let net = &self.model()?.cpu.net;
        let first = net.stage_index(self.model()?.default_stage())?;
        let shown = |index: &usize| net.motion_module(*index).is_some() || *index == first;
        let stages: Vec<usize> = (0..net.stage_names().count()).filter(shown).collect();
        let mut maps = Vec::new();
        for index in stages {
            let found = self.stage_maps_in_use(index, false).await?;
            maps.extend(found.map(|(maps, _)| (index, maps)));
        }
        let model = self.model()?;
        let logits = on!(model, runner => runner.logits().await)?;
        Ok((maps, logits.unwrap_or_default()))
    }

    /// Runs what is left up to stage `index`, and beyond the last one the classifier; every window, where there are some.
    async fn catch_up(&mut self, index: usize) -> Result<()> {
        let last = if self.windows.is_some() { usize::MAX } else { index };
        while !self.upcoming().is_undefined()
            && self
                .model
                .as_ref()
                .and_then(|m| on!(m, runner => runner.stages_run()))
                .is_some_and(|n| n <= last)
        {
            self.advance().await?;
        }
        Ok(())
    }

    /// What the network in use answers. Where the graphics card fails instead, the CPU begins the clip again, runs as far as
    /// stage `index`, and is asked.
    async fn answer<T>(&mut self, index: usize, ask: impl AsyncFn(&mut Self) -> Result<T>) -> Result<T> {
        loop {
            match ask(self).await {
                Err(error) => {
                    self.take_over(error)?;
                    self.catch_up(index).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Maps of a stage.
    async fn stage_maps(&mut self, index: usize) -> Result<StageMaps> {
        let found = self.answer(index, async |session| session.stage_maps_in_use(index, false).await).await?;
        found.map(|(maps, _)| maps).ok_or(Error::Order("Open a video first."))
    }

    /// The same, what their colours mean, and their pictures.
    async fn drawn_maps(&mut self, index: usize) -> Result<(StageMaps, Colours, Pictures)> {
        let found = self.answer(index, async |session| session.stage_maps_in_use(index, true).await).await?;
        let drawn =
            found.and_then(|(maps, drawn)| drawn.map(|(colours, pictures)| (maps, colours, pictures)));
        drawn.ok_or(Error::Order("Open a video first."))
    }

    async fn stage_maps_in_use(
        &mut self,
        index: usize,
        draw: bool,
    ) -> Result<Option<(StageMaps, Option<(Colours, Pictures)>)>> {
        if let Some(windows) = self.windows.as_ref().filter(|windows| windows.current().is_none()) {
            let maps =
                windows.maps(index).ok_or(Error::EveryFrame("A probe of a stage without a motion module"))?;
            let colours = Colours::of(maps);
            let drawn = draw.then(|| Pictures::here(maps, &colours)).transpose()?;
            return Ok(Some((maps.clone(), drawn.map(|pictures| (colours, pictures)))));
        }
        let began = now();
        let model = self.model()?;
        let Some(shot) = &self.shot else { return Ok(None) };
        let (estimation, preprocess) = (&model.estimation, model.preprocess());
        let found = match &model.gpu {
            Some(gpu) => {
                let clip = || shot.clip_on_card(&preprocess, &gpu.backend);
                let found = gpu.maps(index, estimation, clip).await?;
                found.map(|(maps, on_card)| (maps, Some((gpu, on_card))))
            }
            None => {
                let clip = || shot.clip_on(&preprocess, &*model.cpu.backend);
                model.cpu.maps(index, estimation, clip).await?.map(|(maps, _)| (maps, None))
            }
        };
        let Some((maps, painter)) = found else { return Ok(None) };
        // A graphics card runs while it is waited for.
        let read = now();
        let draws = self.card.as_ref().is_some_and(|card| card.draws);
        let drawn = if draw {
            let colours = Colours::of(&maps);
            let pictures = match painter.filter(|_| draws) {
                Some((gpu, found)) => Pictures::on_card(&gpu.backend, &found, &maps, &colours)?,
                None => Pictures::here(&maps, &colours)?,
            };
            Some((colours, pictures))
        } else {
            None
        };
        self.log.times.network += read - began;
        self.log.times.draw += now() - read;
        Ok(Some((maps, drawn)))
    }

    /// Brings what a stage that has run compares to the host, where it is not there yet.
    async fn compare(&mut self, index: usize, window: usize) -> Result<()> {
        if self.compared.as_ref().is_none_or(|(known, _)| *known != [index, window]) {
            self.compared = Some(([index, window], self.stage_compared(index).await?));
        }
        Ok(())
    }

    /// Runs the window of a pair again as far as stage `index`, unless what is compared there is known; which window that
    /// is, and which pair of it.
    async fn window_of(&mut self, index: usize, pair: usize) -> Result<[usize; 2]> {
        let Some(windows) = &self.windows else { return Ok([0, pair]) };
        let Some((window, frames, local)) = windows.of_pair(pair) else { return Ok([0, pair]) };
        if self.compared.as_ref().is_none_or(|(known, _)| *known != [index, window]) {
            if let Some(shot) = &mut self.shot {
                shot.window = Some(frames);
            }
            self.start_pass()?;
            let model = model_of(&mut self.model)?;
            while on!(model, runner => runner.stages_run()).is_some_and(|n| n <= index) {
                on_mut!(model, runner => runner.advance(&model.estimation))?;
            }
        }
        Ok([window, local])
    }

    /// What a stage that has run compares.
    async fn stage_compared(&mut self, index: usize) -> Result<Compared> {
        let found = self.answer(index, async |session| session.stage_compared_in_use(index).await).await?;
        found.ok_or(Error::Order("Open a video first."))
    }

    async fn stage_compared_in_use(&self, index: usize) -> Result<Option<Compared>> {
        let model = self.model()?;
        let Some(shot) = &self.shot else { return Ok(None) };
        let (estimation, preprocess) = (&model.estimation, model.preprocess());
        match &model.gpu {
            Some(gpu) => {
                let clip = || shot.clip_on_card(&preprocess, &gpu.backend);
                gpu.compared_here(index, estimation, clip).await
            }
            None => {
                let clip = || shot.clip_on(&preprocess, &*model.cpu.backend);
                model.cpu.compared_here(index, estimation, clip).await
            }
        }
    }

    async fn logits(&mut self) -> Result<Vec<f32>> {
        if let Some(windows) = self.windows.as_ref().filter(|windows| windows.current().is_none()) {
            return Ok(windows.mean_logits());
        }
        let began = now();
        let ask = async |session: &mut Self| {
            let model = session.model()?;
            on!(model, runner => runner.logits().await)
        };
        let logits = self.answer(usize::MAX, ask).await?;
        self.log.times.network += now() - began;
        logits.ok_or(Error::Order("The network has not run to its end."))
    }

    /// The clip, its scores, and the maps of every stage with a module.
    async fn results(&self) -> Result<(HostTensor, Vec<f32>, Vec<(&'static str, Saved)>)> {
        let model = self.model()?;
        let logits = on!(model, runner => runner.logits().await)?;
        let logits = logits.ok_or(Error::Order("The network has not run to its end."))?;
        let shot = self.shot.as_ref().ok_or(Error::Order("Open a video first."))?;
        let preprocess = model.preprocess();
        let clip = match &model.gpu {
            Some(gpu) => gpu.backend.read(&shot.clip_on_card(&preprocess, &gpu.backend)?).await?,
            None => {
                let HostTensor { shape, data } = shot.clip(&preprocess)?;
                HostTensor::new(&shape[1..], data)?
            }
        };
        let mut all = Vec::new();
        for (index, stage) in model.cpu.net.stage_names().enumerate() {
            all.extend(on!(model, runner => runner.saved(index).await)?.map(|saved| (stage, saved)));
        }
        Ok((clip, logits, all))
    }
}

fn model_of(model: &mut Option<Model>) -> Result<&mut Model> {
    model.as_mut().ok_or(Error::Order("Load a model before a video."))
}

impl Model {
    fn config(&self) -> &Config {
        self.cpu.net.config()
    }

    /// The likeliest actions, best first.
    fn top(&self, logits: &[f32]) -> Vec<Action<'_>> {
        let label = |class| self.config().id2label.get(&class).map_or("", String::as_str);
        let found = top(logits, TOP).into_iter();
        found.map(|(class, probability)| Action { label: label(class), probability }).collect()
    }

    /// Numbers as normalised clips `[N, T, H, W, 3]`.
    fn clips(&self, data: Vec<f32>, height: usize, width: usize) -> Result<HostTensor> {
        let frames = self.config().frames;
        let count = data.len() / (frames * height * width * 3).max(1);
        Ok(HostTensor::new([count, frames, height, width, 3], data)?)
    }

    fn preprocess(&self) -> Preprocess {
        let Config { resize, input_size, mean, std, .. } = *self.config();
        Preprocess { resize, input_size, mean, std }
    }

    /// The part of a video that a message asks for.
    ///
    /// # Errors
    /// When something else stands in the place of a number or a name.
    fn part(&self, message: &JsValue) -> Result<Part> {
        let Part { seconds: [from, to], spread } = Part::whole(self.sampling());
        let spread = match text(message, "sampling").as_deref() {
            None => spread,
            Some("segment") => Spread::Clip(Sampling::Segment),
            Some("dense") => Spread::Clip(Sampling::Dense),
            Some("every") => Spread::Every(1),
            Some("every2") => Spread::Every(2),
            Some("every4") => Spread::Every(4),
            Some(other) => {
                let expected = "segment, dense, every, every2 or every4";
                return Err(Error::Message { what: "sampling", found: format!("{other:?}"), expected });
            }
        };
        let seconds = [number(message, "from")?.unwrap_or(from), number(message, "to")?.unwrap_or(to)];
        Ok(Part { seconds, spread })
    }

    fn sampling(&self) -> Sampling {
        match self.config().sampling {
            config::Sampling::Segment => Sampling::Segment,
            config::Sampling::Dense => Sampling::Dense,
        }
    }

    /// The first stage with a motion module, else the third one (paper, Sec. 3.4).
    fn default_stage(&self) -> &'static str {
        let mut trained =
            self.cpu.net.stage_names().enumerate().filter(|(i, _)| self.cpu.net.motion_module(*i).is_some());
        let first = trained.next().map(|(_, name)| name);
        first.or(self.cpu.net.stage_names().nth(2)).unwrap_or_default()
    }

    /// The 'model' message's `info`.
    fn info(&self, parameters: usize) -> JsValue {
        let config = self.config();
        let trained: Vec<&str> = self
            .cpu
            .net
            .stage_names()
            .enumerate()
            .filter(|(index, _)| self.cpu.net.motion_module(*index).is_some())
            .map(|(_, name)| name)
            .collect();
        let stages = self
            .cpu
            .net
            .stage_names()
            .map(|name| object([("name", name.into()), ("trained", trained.contains(&name).into())]));
        let modules = match trained.len() {
            0 => "without a motion module".to_owned(),
            1 => format!("with a motion module after {}", trained[0]),
            _ => format!("with motion modules after {}", trained.join(", ")),
        };
        let unused = match self.cpu.net.unused_motion_weights().len() {
            0 => String::new(),
            count => {
                format!(" {count} tensors of motion modules that its config.json leaves out are not used.")
            }
        };
        let said = format!(
            "{} {modules}: {} actions, {:.1} million parameters, {} frames of {} x {}.{unused}",
            self.name,
            config.classes(),
            parameters as f64 * 1e-6,
            config.frames,
            config.input_size,
            config.input_size
        );
        object([
            ("backbone", self.name.as_str().into()),
            ("frames", config.frames.into()),
            ("sampling", name_of(config.sampling).into()),
            ("input_size", config.input_size.into()),
            ("classes", config.classes().into()),
            ("parameters", parameters.into()),
            ("labels", texts(config.id2label.values())),
            ("stages", array(stages)),
            ("default_stage", self.default_stage().into()),
            ("settings", settings_message(&self.estimation)),
            ("text", said.into()),
        ])
    }
}

impl Video {
    /// The clip, once every frame of it has come.
    fn finish(mut self) -> Result<Shot> {
        let notes = std::mem::take(&mut self.track.notes).into_iter().chain(self.schedule.notes());
        self.shot.notes = notes.collect();
        self.shot.name = self.name;
        self.shot.codec = self.track.codec;
        self.shot.degrees = self.track.orientation.degrees();
        self.shot.frames = self.schedule.frame_count();
        self.shot.seconds = self.schedule.seconds();
        if self.shot.frames == 1 {
            return Err(Error::OneFrame);
        }
        self.shot.choose(self.schedule.chosen())?;
        Ok(self.shot)
    }
}

/// What config.json calls one of several choices.
fn name_of(choice: impl serde::Serialize) -> String {
    let value = serde_json::to_value(choice).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Where in the frames a class was seen, of `[T, h, w, K]`: `{pictures, range}`, one scale for the clip.
fn class_map(activation: &HostTensor, class: usize) -> Result<JsValue> {
    let &[frames, height, width, classes] = activation.shape.as_slice() else {
        return Ok(JsValue::UNDEFINED);
    };
    let scores: Vec<f32> = activation.data.iter().skip(class).step_by(classes.max(1)).copied().collect();
    let [low, high] = heat::range(&scores).unwrap_or_default();
    let drawn = |map| Ok(picture(&Picture::from_rgba(width, height, heat::confidence_rgba(map, low, high))?));
    let pictures = scores.chunks(height * width).take(frames).map(drawn).collect::<Result<Vec<_>>>()?;
    Ok(object([("pictures", array(pictures)), ("range", array([low, high]))]))
}

/// An estimation with what a message says of it.
///
/// # Errors
/// Which value is out of range.
fn changed(mut estimation: Estimation, settings: &JsValue) -> Result<Estimation> {
    match text(settings, "estimator").as_deref() {
        None => {}
        Some("kernel") => estimation.estimator = Estimator::Kernel,
        Some("soft") => estimation.estimator = Estimator::Soft,
        Some(other) => {
            let found = format!("{other:?}");
            return Err(Error::Message { what: "estimator", found, expected: "\"kernel\" or \"soft\"" });
        }
    }
    estimation.sigma = number(settings, "sigma")?.unwrap_or(estimation.sigma);
    estimation.temperature = number(settings, "temperature")?.unwrap_or(estimation.temperature);
    if let Some(patch) = number(settings, "patch")? {
        // A fraction or a negative number becomes an even one, which the check refuses.
        estimation.patch = if patch.fract() == 0.0 { patch as usize } else { 0 };
    }
    let check = estimation.check();
    check.map_err(|error| Error::Settings(error.to_string().replace("config.json: motion.", "")))?;
    Ok(estimation)
}

fn settings_message(estimation: &Estimation) -> JsValue {
    object([
        ("estimator", name_of(estimation.estimator).into()),
        ("sigma", estimation.sigma.into()),
        ("temperature", estimation.temperature.into()),
        ("patch", estimation.patch.into()),
    ])
}

fn check_size(width: u64, height: u64) -> Result<()> {
    let found = width.saturating_mul(height);
    if found > PIXEL_LIMIT {
        return Err(Error::TooLarge { what: "Pixels of a frame", found, limit: PIXEL_LIMIT });
    }
    Ok(())
}

fn check_chunk(size: u64) -> Result<()> {
    const LIMIT: u64 = 256 << 20;
    if size > LIMIT {
        return Err(Error::TooLarge { what: "Bytes of a compressed frame", found: size, limit: LIMIT });
    }
    Ok(())
}

/// The most likely classes and their probabilities: softmax, largest first.
fn top(logits: &[f32], count: usize) -> Vec<(usize, f32)> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = logits.iter().map(|&logit| (logit - largest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let mut classes: Vec<(usize, f32)> = weights.iter().map(|weight| weight / sum).enumerate().collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    classes.truncate(count);
    classes
}

/// `[N, H, W, C]` as the contract's files have it, `[N, C, H, W]`.
fn channels_first(tensor: &HostTensor) -> Result<HostTensor> {
    let &[n, h, w, c] = tensor.shape.as_slice() else {
        let expected = "[N, H, W, C]".to_owned();
        let found = tensor.shape.clone();
        return Err(motion_net::Error::Shape { operation: "channels_first", found, expected }.into());
    };
    let size = h * w;
    let at = |frame: usize, channel: usize, place: usize| tensor.data[(frame * size + place) * c + channel];
    let data = (0..n)
        .flat_map(|frame| (0..c).flat_map(move |channel| (0..size).map(move |place| (frame, channel, place))))
        .map(|(frame, channel, place)| at(frame, channel, place))
        .collect();
    Ok(HostTensor::new([n, c, h, w], data)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_come_in_order() {
        let all = top(&[1.0, 3.0, 2.0, 3.0], 9);
        assert_eq!(all.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [1, 3, 2, 0]);
        assert!((all.iter().map(|(_, p)| p).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((all[0].1 / all[2].1 - 1_f32.exp()).abs() < 1e-5);
        assert_eq!(top(&[1e30, -1e30], 1), [(0, 1.0)]);
    }

    #[test]
    fn channels_move_to_the_front() {
        let tensor = HostTensor::new([1, 1, 3, 2], vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0]).unwrap();
        let turned = channels_first(&tensor).unwrap();
        assert_eq!((turned.shape, turned.data), (vec![1, 2, 1, 3], vec![1.0, 2.0, 3.0, 10.0, 20.0, 30.0]));
        assert!(channels_first(&HostTensor::new([2], vec![0.0; 2]).unwrap()).is_err());
    }

    #[test]
    fn sizes_have_a_limit() {
        assert!(check_size(8192, 4352).is_ok());
        assert!(check_size(12336, 12336).is_err());
        assert!(check_size(u64::MAX, 3).is_err());
    }
}
