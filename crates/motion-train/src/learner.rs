//! A recipe in, a model folder out: the training loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use motion_net::weights::names;
use motion_net::{
    CandleBackend, Config, CpuBackend, Estimation, HostTensor, Mode, MsNet, Pass, Training, Weights,
};
use rayon::prelude::*;
use serde::Serialize;

use crate::clips::Clips;
use crate::data::{Data, Frames};
use crate::error::{Error, Result, at};
use crate::evaluate::{self, evaluate};
use crate::example::{Look, View, views};
use crate::files::write_atomically;
use crate::flow_figures::FlowSums;
use crate::log::{Epoch, Log};
use crate::metrics::{Confusion, Evaluation};
use crate::parameters::{Frozen, Parameters};
use crate::protocol::Protocol;
use crate::recipe::{Norms, Recipe, statistics};
use crate::state::{Position, State};
use crate::synth::{CLASSES, Symmetry};
use crate::videos::{Choice, Videos};
use crate::{card, guide, plots, progress, skipped, trunk};

/// What a run leaves behind.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model folder with the best epoch's weights.
    pub model: PathBuf,
    /// Share of the validation clips that it classifies rightly; absent where only the maps learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_top1: Option<f64>,
    /// Videos of all three sets that could not be read; absent where there are no videos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<usize>,
    /// The test set, seen by nothing before.
    pub test: Evaluation,
}

/// Trains after a recipe; with `resume` it goes on where it was stopped and ends with the same weights.
///
/// In the recipe's `out`: `model`, the model folder of the best epoch; `last`, that of the last one; `log.jsonl`, a line
/// an epoch; `events`, for TensorBoard; `curves.svg` and `confusion.svg` at the end; the state to go on from; and
/// `skipped.jsonl`, the videos that could not be read and why, where there are any.
///
/// # Errors
/// A recipe, data set or file that is not as it should be; a loss that is no number; a device that is not there.
pub fn train(recipe_path: &Path, resume: bool, on: On) -> Result<Report> {
    match on.card()? {
        Some(card) => train_with(card, recipe_path, resume),
        None => train_with(CpuBackend::new(), recipe_path, resume),
    }
}

/// What to train on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum On {
    /// The first NVIDIA card, where this was built with `cuda` and there is one; else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA card.
    Cuda,
}

impl On {
    fn card(self) -> Result<Option<CandleBackend>> {
        let card = || match cfg!(feature = "cuda") {
            true => Ok(CandleBackend::cuda()?),
            false => Err(Error::NoCuda),
        };
        match self {
            Self::Auto => Ok(card().ok()),
            Self::Cpu => Ok(None),
            Self::Cuda => card().map(Some),
        }
    }
}

fn train_with<B: Training>(backend: B, recipe_path: &Path, resume: bool) -> Result<Report> {
    let started = Instant::now();
    let recipe = Recipe::read(recipe_path)?;
    let (run, data) = Run::new(backend, recipe_path, recipe)?;
    let out = &run.recipe.out;
    std::fs::create_dir_all(out).map_err(at(out))?;
    let learnt = run.learn(data, resume);
    // Most of all where the run failed for them.
    let told = skipped::write(&out.join("skipped.jsonl"), &run.videos);
    let Learnt { log, best, steps, test } = learnt?;
    told?;
    let model = out.join("model");
    card::write(&model, &run.recipe, &test, best, started.elapsed())?;
    plots::curves(&out.join("curves.svg"), &log.epochs, &run.recipe, steps)?;
    plots::confusion(&out.join("confusion.svg"), &test)?;
    let validate_top1 = (!run.recipe.maps_only()).then_some(best);
    Ok(Report { model, validate_top1, skipped: skipped::count(&run.videos), test })
}

/// What the epochs leave, beside files.
struct Learnt {
    log: Log,
    /// What the best epoch was chosen by.
    best: f64,
    /// Of an epoch.
    steps: usize,
    test: Evaluation,
}

/// Everything that stays the same in a run.
pub(crate) struct Run<B: Training> {
    pub(crate) recipe: Recipe,
    pub(crate) config: Config,
    pub(crate) net: MsNet<B>,
    parameters: Parameters,
    /// The stage whose features are the input, where everything before is frozen.
    pub(crate) start: Option<usize>,
    /// (height, width) of each motion module's map.
    pub(crate) grids: Vec<[usize; 2]>,
    pub(crate) estimation: Estimation,
    pub(crate) backend: B,
    /// For each class that of its mirror image; empty where nothing is mirrored.
    mirror_labels: Vec<Option<usize>>,
    /// The sets for training, validation and test that are videos.
    videos: [Option<Arc<Videos>>; 3],
}

impl<B: Training> Run<B> {
    /// Reads what the recipe names; beside the run its training, validation and test clips.
    fn new(backend: B, path: &Path, recipe: Recipe) -> Result<(Self, [Data; 3])> {
        let wrong = |message: String| Error::Recipe { path: path.to_owned(), message };
        let frames = recipe.model.get("frames").and_then(toml::Value::as_integer).unwrap_or(8);
        let frames = usize::try_from(frames).unwrap_or(8);
        let frames = Frames::Exactly(frames);
        let train = Data::open(&recipe.train, frames, None)?;
        let labels = train.labels();
        let other = |name: &str, spec| -> Result<Data> {
            let data = Data::open(spec, frames, Some(&labels))?;
            match data.labels() == labels {
                true => Ok(data),
                false => Err(wrong(format!(
                    "[{name}] has {} classes ({:?}, ...), expected the {} of [train] ({:?}, ...), in their order",
                    data.labels().len(),
                    data.labels().first(),
                    labels.len(),
                    labels.first()
                ))),
            }
        };
        let data = [other("validate", &recipe.validate)?, other("test", &recipe.test)?];
        let config = recipe.config(&labels)?;
        let stages = config.backbone.stages();
        if recipe.symmetries && labels != CLASSES {
            return Err(wrong(
                "symmetries are known for the classes of `motionlens synth` only; turn them off".into(),
            ));
        }
        if recipe.run_frames.is_some() && recipe.freeze_until.is_none() {
            return Err(wrong(
                "run_frames needs freeze_until: it takes runs of features that are computed once".into(),
            ));
        }
        let mirror_labels = match &recipe.augment {
            Some(augment) if augment.flip => augment.mirror_labels(&labels).map_err(wrong)?,
            _ => Vec::new(),
        };
        let start = match &recipe.freeze_until {
            None => None,
            Some(name) => Some(stages.iter().position(|stage| stage == name).ok_or_else(|| {
                wrong(format!("freeze_until is {name:?}, expected one of {}", stages.join(", ")))
            })?),
        };
        let first = match &recipe.trunk {
            None => recipe
                .first
                .as_deref()
                .map_or_else(|| Ok(Weights::default()), |first| first_weights(first, &config))?,
            Some(_) if !config.backbone.is_mobilenet() || !config.expand_first_block => {
                return Err(wrong("trunk is a MobileNetV2 with expand_first_block, the model is not".into()));
            }
            Some(folder) => trunk::read(folder)?,
        };
        let frozen_stages = start.map_or(Vec::new(), |start| stages[..=start].to_vec());
        let modules = config.motion.as_ref().map_or(&[][..], |motion| &motion.stages);
        let frozen_maps =
            modules.iter().filter(|stage| recipe.freeze_maps && frozen_stages.contains(&stage.as_str()));
        let frozen = Frozen {
            reductions: frozen_maps.map(|stage| names::motion_tail(stage, modules.len())).collect(),
            stages: frozen_stages,
            norms: recipe.batch_norms == Norms::Partial,
        };
        let mut parameters = Parameters::new(config.backbone, first, frozen, recipe.seed, backend.device());
        let estimation = config.motion.as_ref().map(|motion| motion.estimation()).unwrap_or_default();
        let net = MsNet::build(&backend, config.clone(), &mut parameters)?;
        let grids = grids(&net, &backend, &estimation)?;
        let [validate, test] = data;
        let data = [train, validate, test];
        let videos = data.each_ref().map(|data| data.videos().cloned());
        let run = Self {
            recipe,
            config,
            net,
            parameters,
            start,
            grids,
            estimation,
            backend,
            mirror_labels,
            videos,
        };
        Ok((run, data))
    }

    /// All epochs and the test.
    fn learn(&self, [train, validate, test]: [Data; 3], resume: bool) -> Result<Learnt> {
        let Recipe { out, keep_clips, augment, .. } = &self.recipe;
        let mut state = self.first_state(resume)?;
        let Position { skipped_train, skipped_validate, .. } = &state.position;
        let keep = *keep_clips && augment.is_none();
        let train = self.clips(train, keep, "preparing training clips", skipped_train)?;
        let validate = self.clips(validate, *keep_clips, "preparing validation clips", skipped_validate)?;
        let mut log = Log::open(out, state.position.epoch, state.optimizer.step)?;
        while !self.is_over(&state) {
            self.epoch(&mut state, &train, &validate, &mut log)?;
        }
        let test = evaluate(&[out.join("model")], &test, &Protocol::default())?;
        let best = state.position.best.unwrap_or_default();
        Ok(Learnt { log, best, steps: self.steps(&train), test })
    }

    /// Where a run begins: anew, or where it was stopped.
    fn first_state(&self, resume: bool) -> Result<State> {
        let out = &self.recipe.out;
        if resume {
            if let Some(state) = State::restore(out, &self.parameters, &self.recipe)? {
                return Ok(state);
            }
            progress::line(&format!("note: {}: no state of a run yet; it begins anew", out.display()));
        }
        State::clear(out)?;
        State::new(&self.parameters, &self.recipe, self.config.classes())
    }

    /// Whether all epochs are done, or the last ones have brought nothing.
    fn is_over(&self, state: &State) -> bool {
        let Recipe { epochs, patience, .. } = self.recipe;
        let position = &state.position;
        position.epoch >= epochs || (patience > 0 && position.epoch - position.best_epoch >= patience)
    }

    /// Clips of a step.
    fn step_clips(&self) -> usize {
        self.recipe.batch * self.recipe.accumulate
    }

    /// Steps of an epoch.
    fn steps(&self, train: &Clips) -> usize {
        train.count().div_ceil(self.step_clips())
    }

    /// An epoch, or what is left of it.
    fn epoch(&self, state: &mut State, train: &Clips, validate: &Clips, log: &mut Log) -> Result<()> {
        let (recipe, config, count) = (&self.recipe, &self.config, train.count());
        let (size, steps) = (self.step_clips(), self.steps(train));
        let input = (config.resize, config.input_size);
        let views = views(recipe, state.position.epoch, count, config.frames, input);
        let done = (state.position.steps * size).min(count);
        let bar = progress::bar("training", count);
        bar.set_position(done as u64);
        let mut started = Instant::now();
        let mut rate = 0.0;
        self.for_each_batch(train, &views[done..], size, |looks| {
            let Position { epoch, steps: done, .. } = state.position;
            let share = recipe.schedule.share(epoch * steps + done, steps, recipe.epochs, recipe.warm_up);
            rate = recipe.learning_rate * share;
            // Where not one video of a step can be read there is nothing to learn from.
            if !looks.is_empty() {
                let loss = self.step(state, &looks, share)?;
                log.step(state.optimizer.step, loss, rate)?;
            }
            let position = &mut state.position;
            position.steps += 1;
            position.seen += looks.len();
            position.secs += started.elapsed().as_secs_f64();
            started = Instant::now();
            bar.set_position((position.steps * size).min(count) as u64);
            if position.steps.is_multiple_of(recipe.save_every) && position.steps < steps {
                self.save(state)?;
            }
            Ok(())
        })?;
        bar.finish_and_clear();
        self.end_epoch(state, validate, log, rate)
    }

    /// Writes the state, with what is known of the videos.
    fn save(&self, state: &mut State) -> Result<()> {
        let [train, validate, _] = self.videos.each_ref().map(|videos| match videos {
            Some(videos) => videos.skipped(),
            None => Vec::new(),
        });
        (state.position.skipped_train, state.position.skipped_validate) = (train, validate);
        state.save(&self.recipe.out, &self.parameters, &self.recipe)
    }

    /// Validation, the models, the log's line and the state.
    fn end_epoch(
        &self,
        state: &mut State,
        validate: &Clips,
        log: &mut Log,
        learning_rate: f64,
    ) -> Result<()> {
        let State { position, optimizer, average } = state;
        if let Some(average) = average {
            average.swap(&self.parameters)?;
        }
        let (validate_top1, validate_epe_cells) = self.figures(validate)?;
        let classes = !self.recipe.maps_only();
        let score = if classes { validate_top1 } else { -validate_epe_cells.iter().sum::<f64>() };
        position.epoch += 1;
        self.save_model("last")?;
        if position.best.is_none_or(|best| score > best) {
            position.best_epoch = position.epoch;
        }
        if position.best.is_none_or(|best| score >= best) {
            position.best = Some(score);
            self.save_model("model")?;
        }
        if let Some(average) = average {
            average.swap(&self.parameters)?;
        }
        let line = Epoch {
            epoch: position.epoch,
            loss: position.loss / position.seen as f64,
            train_top1: classes.then(|| position.confusion.top1()),
            validate_top1: classes.then_some(validate_top1),
            validate_epe_cells,
            skipped: skipped::count(&self.videos),
            learning_rate,
            secs: position.secs,
            clips_per_sec: position.seen as f64 / position.secs,
        };
        log.epoch(line, optimizer.step, self.recipe.epochs)?;
        (position.steps, position.seen, position.loss, position.secs) = (0, 0, 0.0, 0.0);
        position.confusion = Confusion::new(self.config.classes());
        self.save(state)
    }

    /// One step of the optimizer; gives the clips' mean loss.
    fn step(&self, state: &mut State, looks: &[Look], share: f64) -> Result<f64> {
        let State { position, optimizer, average } = state;
        let mode = self.mode();
        let mut gradients = GradStore::default();
        let mut losses = 0.0;
        for (i, batch) in looks.chunks(self.recipe.batch).enumerate() {
            // Dropout's numbers follow from the recipe's seed and the number of the batch.
            let number = (optimizer.step * self.recipe.accumulate + i) as u64;
            let backend = self.backend.seeded(self.recipe.seed ^ (number << 20));
            let mut pass = self.begin(batch)?;
            let compared = self.compared(&backend, &mut pass, mode)?;
            let mut loss = self.guide_loss(&compared, batch)?;
            if let Some(logits) = pass.logits() {
                loss = (loss + (self.class_loss(logits, batch)? * self.recipe.class_weight)?)?;
                let rows = logits.to_vec2()?;
                rows.iter().zip(batch).for_each(|(row, look)| position.confusion.add(look.label, row));
            }
            let value = loss.to_scalar::<f32>()?;
            if !value.is_finite() {
                return Err(Error::Diverged { epoch: position.epoch + 1, loss: value });
            }
            losses += f64::from(value) * batch.len() as f64;
            if batch.len() < looks.len() {
                loss = (loss * (batch.len() as f64 / looks.len() as f64))?;
            }
            gradients.extend(loss.backward()?)?;
        }
        optimizer.step(&self.parameters, &gradients, &self.recipe, share)?;
        if let Some(average) = average {
            average.follow(&self.parameters, optimizer.step)?;
        }
        position.loss += losses;
        Ok(losses / looks.len() as f64)
    }

    fn mode(&self) -> Mode {
        let Recipe { batch_norms, reduction_norms, motion_norms, freeze_maps, dropout, .. } = self.recipe;
        let [stem, backbone] = batch_norms.statistics();
        let reduction = statistics(reduction_norms.unwrap_or(!freeze_maps));
        Mode { stem, backbone, reduction, motion: statistics(motion_norms), dropout }
    }

    /// The label of a clip seen this way; `None` where the set has no such class.
    pub(crate) fn label(&self, label: usize, seen: Symmetry) -> Option<usize> {
        if self.recipe.symmetries {
            seen.label(label)
        } else if seen.mirrored {
            self.mirror_labels.get(label).copied().flatten()
        } else {
            Some(label)
        }
    }

    /// A pass of which nothing has run.
    fn begin(&self, batch: &[Look]) -> Result<Pass<Tensor>> {
        let (frames, frame_shape) = (batch[0].view.frames, &batch[0].example.shape[1..]);
        let values = batch.par_iter().flat_map_iter(Look::values).collect();
        let shape = |lead: &[usize]| [lead, frame_shape].concat();
        Ok(match self.start {
            None => {
                let clips = HostTensor::new(shape(&[batch.len(), frames]), values)?;
                self.net.begin(&self.backend, &clips)?
            }
            Some(start) => {
                let features =
                    Tensor::from_vec(values, shape(&[batch.len() * frames]), self.backend.device())?;
                self.net.begin_at(start, features, frames)?
            }
        })
    }

    /// Runs a pass to its end and gives what its motion modules compared. Where only the maps learn, its end is what the
    /// last module compares, and no motion joins before: nobody has taught the transforms.
    fn compared(&self, backend: &B, pass: &mut Pass<Tensor>, mode: Mode) -> Result<Vec<(Tensor, Tensor)>> {
        if self.recipe.maps_only() {
            return Ok(self.net.compared(backend, pass, mode)?);
        }
        self.finish(backend, pass, mode)?;
        Ok(pass.motions().map(|(_, motion)| motion.compared.clone()).collect())
    }

    /// The displacement maps of a pass that is to teach nothing, run to the same end.
    fn displacements(&self, pass: &mut Pass<Tensor>) -> Result<Vec<Tensor>> {
        let b = &self.backend;
        if self.recipe.maps_only() {
            let compared = self.net.compared(b, pass, Mode::EVAL)?;
            let found = compared.iter().map(|(now, next)| b.match_frames(now, next, &self.estimation));
            return Ok(found.map(|found| Ok(found?.displacement)).collect::<motion_net::Result<_>>()?);
        }
        self.finish(b, pass, Mode::EVAL)?;
        Ok(pass.motions().map(|(_, motion)| motion.forward.displacement.clone()).collect())
    }

    fn finish(&self, backend: &B, pass: &mut Pass<Tensor>, mode: Mode) -> Result<()> {
        while self.net.advance(backend, pass, &self.estimation, mode)?.is_some() {}
        Ok(())
    }

    /// Cross entropy on the mean logits (published code), the truth smoothed.
    fn class_loss(&self, logits: &Tensor, batch: &[Look]) -> Result<Tensor> {
        let classes = self.config.classes();
        let smoothing = self.recipe.label_smoothing as f32;
        let mut truth = vec![smoothing / classes as f32; batch.len() * classes];
        for (row, look) in batch.iter().enumerate() {
            truth[row * classes + look.label] += 1.0 - smoothing;
        }
        let truth = Tensor::from_vec(truth, (batch.len(), classes), self.backend.device())?;
        let log = candle_nn::ops::log_softmax(logits, 1)?;
        Ok(((log * truth)?.sum_all()? * (-1.0 / batch.len() as f64))?)
    }

    /// The true flow's part, the mean over the motion modules; 0 where the recipe asks for none.
    fn guide_loss(&self, compared: &[(Tensor, Tensor)], batch: &[Look]) -> Result<Tensor> {
        let mut sum = Tensor::new(0f32, self.backend.device())?;
        let Some(guide) = &self.recipe.guide else { return Ok(sum) };
        let (pairs, modules) = (batch[0].view.frames - 1, batch[0].example.truth.len());
        // Where nothing that a module compares learns, there is nothing to tell it.
        let learning = compared.iter().take(modules).enumerate().filter(|(_, (now, _))| now.track_op());
        for (module, (now, next)) in learning {
            // The truth runs from what was filmed first.
            let ends = |later: bool| -> Result<Tensor> {
                let of = |(i, look): (usize, &Look)| {
                    let end = if look.view.seen.reversed == later { now } else { next };
                    end.narrow(0, i * pairs, pairs)
                };
                Ok(Tensor::cat(
                    &batch.iter().enumerate().map(of).collect::<candle_core::Result<Vec<_>>>()?,
                    0,
                )?)
            };
            let truth: Vec<f32> = batch.par_iter().flat_map_iter(|look| look.truth(module)).collect();
            let loss =
                guide::loss(&self.backend, (&ends(false)?, &ends(true)?), &truth, guide, &self.estimation)?;
            sum = (sum + (loss / modules as f64)?)?;
        }
        Ok(sum)
    }

    /// Top-1, and the mean end-point error of each motion module's maps in its own cells where there is true flow.
    fn figures(&self, clips: &Clips) -> Result<(f64, Vec<f64>)> {
        let mut confusion = Confusion::new(self.config.classes());
        let mut errors = vec![FlowSums::default(); self.grids.len()];
        let choice = Choice::Validate { seed: self.recipe.seed };
        let views: Vec<View> =
            (0..clips.count()).map(|index| View::whole(index, self.config.frames, choice)).collect();
        self.for_each_batch(clips, &views, self.recipe.batch, |batch| {
            if batch.is_empty() {
                return Ok(());
            }
            let mut pass = self.begin(&batch)?;
            let displacements = self.displacements(&mut pass)?;
            if let Some(logits) = pass.logits() {
                let rows = logits.to_vec2()?;
                rows.iter().zip(&batch).for_each(|(row, look)| confusion.add(look.label, row));
            }
            let modules = batch[0].example.truth.len();
            for (module, (found, flow)) in displacements.iter().zip(&mut errors).take(modules).enumerate() {
                let found = (found * self.estimation.radius() as f64)?;
                let truth: Vec<f32> = batch.iter().flat_map(|look| look.truth(module)).collect();
                let counts: Vec<bool> =
                    truth.chunks_exact(2).map(|d| d.iter().all(|d| d.is_finite())).collect();
                flow.add(&found.flatten_all()?.to_vec1()?, &truth, &counts, self.grids[module]);
            }
            Ok(())
        })?;
        Ok((confusion.top1(), errors.iter().filter_map(FlowSums::end_point).collect()))
    }

    fn save_model(&self, name: &str) -> Result<()> {
        let folder = self.recipe.out.join(name);
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        write_atomically(&folder.join("config.json"), self.config.to_json()?.as_bytes())?;
        let bytes = self.parameters.weights()?.to_safetensors(true)?;
        write_atomically(&folder.join("model.safetensors"), &bytes)
    }
}

/// The tensors of the model to start from, under the names that they have in a network of this configuration: a motion
/// module alone is called otherwise than one of several.
fn first_weights(folder: &Path, config: &Config) -> Result<Weights> {
    let weights = with_and_without_shift(&evaluate::load_weights(folder)?);
    let first = evaluate::load_config(folder)?;
    let (Some(from), Some(to)) = (first.motion, &config.motion) else { return Ok(weights) };
    let tails = |stage: &String| {
        [from.stages.len(), to.stages.len()].map(|modules| names::motion_tail(stage, modules))
    };
    let tails: Vec<[String; 2]> = from.stages.iter().map(tails).collect();
    let renamed = weights.tensors().iter().map(|(name, tensor)| {
        let moved = tails.iter().find_map(|[from, to]| names::with_tail(name, [from, to]));
        (moved.unwrap_or_else(|| name.clone()), tensor.clone())
    });
    Ok(Weights::new(renamed.collect()))
}

/// MobileNetV2's expansions have another name where they read a shifted input: these weights under both.
fn with_and_without_shift(weights: &Weights) -> Weights {
    let tensors = weights.tensors();
    let twins = tensors
        .iter()
        .filter_map(|(name, tensor)| Some((names::with_or_without_shift(name)?, tensor.clone())));
    Weights::new(twins.chain(tensors.clone()).collect())
}

/// (height, width) of each motion module's map: read off a pass over a black clip.
fn grids<B: Training>(net: &MsNet<B>, backend: &B, estimation: &Estimation) -> Result<Vec<[usize; 2]>> {
    let Config { frames, input_size: side, .. } = *net.config();
    let black = HostTensor::new([1, frames, side, side, 3], vec![0.0; frames * side * side * 3])?;
    let pass = net.forward(backend, &black, estimation)?;
    pass.motions()
        .map(|(_, motion)| {
            let (_, height, width, _) = motion.forward.displacement.dims4()?;
            Ok([height, width])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With everything that a step is made of.
    const RECIPE: &str = r#"
        out = "run"
        seed = 3
        epochs = 2
        batch = 2
        learning_rate = 0.001
        optimizer = "sgd"
        average = 0.9
        dropout = 0.3
        batch_norms = true
        [guide]
        likelihood = 0.5
        temperature = 0.05
        end_point = 0.5
        [train]
        count = 4
        [validate]
        count = 2
        [test]
        count = 1
        [model]
        architecture = "msnet"
        backbone = "tsm_resnet18"
        width = 0.125
        frames = 4
        input_size = 64
        resize = [64, 64]
        mean = [0.485, 0.456, 0.406]
        std = [0.229, 0.224, 0.225]
        sampling = "segment"
        [model.motion]
        stages = ["res3"]
        patch = 7
        # Flat regions have many best matches, and rounding says which is taken: nothing here asks for it.
        estimator = "soft"
        temperature = 0.2
        confidence = false
        reduce_channels = 8"#;

    /// What each epoch of a run wrote down.
    fn epochs<B: Training>(backend: B) -> Vec<serde_json::Value> {
        let folder = tempfile::tempdir().unwrap();
        let recipe = folder.path().join("recipe.toml");
        std::fs::write(&recipe, RECIPE).unwrap();
        train_with(backend, &recipe, false).unwrap();
        let log = std::fs::read_to_string(folder.path().join("run/log.jsonl")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What trains on a card takes the steps that the CPU takes.
    #[test]
    fn candle_learns_what_the_cpu_learns() {
        let (ours, candles) =
            (epochs(CpuBackend::new()), epochs(CandleBackend::new(candle_core::Device::Cpu)));
        assert_eq!((ours.len(), candles.len()), (2, 2));
        for (ours, candles) in ours.iter().zip(&candles) {
            for key in ["/loss", "/validate_epe_cells/0"] {
                let [ours, candles] =
                    [ours, candles].map(|epoch| epoch.pointer(key).unwrap().as_f64().unwrap());
                // Four steps of f32 sums in another order.
                assert!((ours - candles).abs() < 5e-4 * ours.abs(), "{key}: {ours} {candles}");
            }
        }
        assert_ne!(ours[0]["loss"], ours[1]["loss"]);
    }
}
