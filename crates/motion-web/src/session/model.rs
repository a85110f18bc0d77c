//! A model that is ready to run, and what messages say of it and ask of it.

use std::rc::Rc;

use motion_clip::{Preprocess, Sampling};
use motion_net::config::{self, Config};
use motion_net::{CpuBackend, Estimation, Estimator, GpuBackend, HostTensor, Weights, cost};
use wasm_bindgen::JsValue;

use super::export::Action;
use super::pictures::Scaling;
use super::runner::Runner;
use super::scores::{TOP, top};
use crate::message::{array, number, object, text, texts};
use crate::schedule::{Part, Spread};
use crate::{Error, Result};

/// Most frames that the network looks at together: eight times those it is trained on, mostly.
const MOST_TOGETHER: f64 = 64.0;

/// A network, wherever it runs, and how it is asked for displacement.
pub(super) struct Model {
    pub(super) cpu: Runner<CpuBackend>,
    /// Where it is there, it runs; the CPU is always ready to take over.
    pub(super) gpu: Option<Runner<GpuBackend>>,
    pub(super) estimation: Estimation,
    pub(super) name: String,
    /// Frames of a clip, where nothing else is asked for.
    pub(super) frames: usize,
}

impl Model {
    /// From a model folder's two files; and how many parameters it has.
    pub(super) fn load(config: &str, weights: &[u8]) -> Result<(Self, usize)> {
        let config = Config::from_json(config)?;
        let weights = Weights::from_safetensors(weights)?;
        let parameters = weights.count();
        let estimation = config.motion.as_ref().map_or_else(Estimation::default, |m| m.estimation());
        let (name, frames) = (name_of(config.backbone), config.frames);
        let cpu = Runner::load(Rc::default(), config, weights)?;
        Ok((Self { cpu, gpu: None, estimation, name, frames }, parameters))
    }

    pub(super) fn config(&self) -> &Config {
        self.cpu.net.config()
    }

    /// The likeliest actions, best first.
    pub(super) fn top(&self, logits: &[f32]) -> Vec<Action<'_>> {
        let label = |class| self.config().id2label.get(&class).map_or("", String::as_str);
        let found = top(logits, TOP).into_iter();
        found.map(|(class, probability)| Action { label: label(class), probability }).collect()
    }

    /// Numbers as normalised clips `[N, T, H, W, 3]`.
    pub(super) fn clips(&self, data: Vec<f32>, height: usize, width: usize) -> Result<HostTensor> {
        let frames = self.config().frames;
        let count = data.len() / (frames * height * width * 3).max(1);
        Ok(HostTensor::new([count, frames, height, width, 3], data)?)
    }

    pub(super) fn preprocess(&self) -> Preprocess {
        let Config { resize, input_size, mean, std, .. } = *self.config();
        Preprocess { resize, input_size, mean, std }
    }

    /// The part of a video that a message asks for; the network looks at as many frames together from now on.
    ///
    /// # Errors
    /// When something else stands in the place of a number or a name.
    pub(super) fn take_part(&mut self, message: &JsValue) -> Result<Part> {
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
        let frames = number(message, "frames")?.unwrap_or(self.frames as f64);
        if frames.fract() != 0.0 || !(2.0..=MOST_TOGETHER).contains(&frames) && frames != self.frames as f64 {
            let expected = "a whole number from 2 to 64";
            return Err(Error::Message { what: "frames", found: frames.to_string(), expected });
        }
        self.cpu.net.set_frames(frames as usize);
        if let Some(gpu) = &mut self.gpu {
            gpu.net.set_frames(frames as usize);
        }
        Ok(Part { seconds, spread })
    }

    fn sampling(&self) -> Sampling {
        match self.config().sampling {
            config::Sampling::Segment => Sampling::Segment,
            config::Sampling::Dense => Sampling::Dense,
        }
    }

    /// The first stage with a motion module, else the third one (paper, Sec. 3.4).
    pub(super) fn default_stage(&self) -> &'static str {
        let mut trained =
            self.cpu.net.stage_names().enumerate().filter(|(i, _)| self.cpu.net.motion_module(*i).is_some());
        let first = trained.next().map(|(_, name)| name);
        first.or(self.cpu.net.stage_names().nth(2)).unwrap_or_default()
    }

    /// The 'model' message's `info`.
    pub(super) fn info(&self, parameters: usize) -> JsValue {
        let config = self.config();
        let trained: Vec<&str> = self
            .cpu
            .net
            .stage_names()
            .enumerate()
            .filter(|(index, _)| self.cpu.net.motion_module(*index).is_some())
            .map(|(_, name)| name)
            .collect();
        let stages = self.cpu.net.stage_names().map(|name| {
            let (trained, shifts) = (trained.contains(&name), config.shifts(name));
            object([("name", name.into()), ("trained", trained.into()), ("shifts", shifts.into())])
        });
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
        let counts = cost::multiply_adds(config).unwrap_or_default().into_iter();
        object([
            ("backbone", self.name.as_str().into()),
            ("frames", config.frames.into()),
            ("sampling", name_of(config.sampling).into()),
            ("input_size", config.input_size.into()),
            ("classes", config.classes().into()),
            ("parameters", parameters.into()),
            ("multiply_adds", object(counts.map(|(name, count)| (name, (count as f64).into())))),
            ("labels", texts(config.id2label.values())),
            ("stages", array(stages)),
            ("default_stage", self.default_stage().into()),
            ("settings", settings_message(&self.estimation, Scaling::default())),
            ("text", said.into()),
        ])
    }
}

/// For who holds another part of the session as well.
pub(super) fn model_of(model: &mut Option<Model>) -> Result<&mut Model> {
    model.as_mut().ok_or(Error::Order("Load a model before a video."))
}

/// What config.json calls one of several choices.
pub(super) fn name_of(choice: impl serde::Serialize) -> String {
    let value = serde_json::to_value(choice).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// An estimation with what a message says of it.
///
/// # Errors
/// Which value is out of range.
pub(super) fn changed(mut estimation: Estimation, settings: &JsValue) -> Result<Estimation> {
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

/// An estimation as messages have it.
pub(super) fn estimation_message(estimation: &Estimation) -> [(&'static str, JsValue); 4] {
    [
        ("estimator", name_of(estimation.estimator).into()),
        ("sigma", estimation.sigma.into()),
        ("temperature", estimation.temperature.into()),
        ("patch", estimation.patch.into()),
    ]
}

/// All that the user can set.
pub(super) fn settings_message(estimation: &Estimation, scaling: Scaling) -> JsValue {
    object(estimation_message(estimation).into_iter().chain([("scaling", scaling.name().into())]))
}
