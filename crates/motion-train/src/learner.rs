//! A recipe in, a model folder out: the training loop.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{Device, Tensor};
use half::f16;
use motion_net::backend::Statistics;
use motion_net::{Config, CpuBackend, Estimation, HostTensor, Mode, Motion, MsNet, Pass, Weights};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::data::Data;
use crate::error::{Error, Result, at};
use crate::evaluate::{self, evaluate};
use crate::metrics::{Confusion, EndPointError, Evaluation};
use crate::optimizer::AdamW;
use crate::parameters::Parameters;
use crate::recipe::Recipe;
use crate::synth::{CLASSES, FlowGrid, Symmetry};
use crate::{card, guide, progress, trunk};

/// One line of `log.jsonl`.
#[derive(Debug, Clone, Serialize)]
struct Epoch {
    epoch: usize,
    loss: f64,
    /// Absent where only the maps learn.
    #[serde(skip_serializing_if = "Option::is_none")]
    train_top1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validate_top1: Option<f64>,
    /// Mean distance of the displacement maps from the truth, in cells, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    validate_epe_cells: Option<f64>,
    secs: f64,
    clips_per_sec: f64,
}

/// What a run leaves behind.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The model folder with the best epoch's weights.
    pub model: PathBuf,
    /// Share of the validation clips that it classifies rightly; absent where only the maps learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_top1: Option<f64>,
    /// The test set, seen by nothing before.
    pub test: Evaluation,
}

/// Trains after a recipe; with `resume` it goes on after the last finished epoch.
///
/// # Errors
/// A recipe, data set or file that is not as it should be; a loss that is no number.
pub fn train(recipe_path: &Path, resume: bool) -> Result<Report> {
    let started = Instant::now();
    let recipe = Recipe::read(recipe_path)?;
    let mut run = Run::new(recipe_path, recipe)?;
    std::fs::create_dir_all(&run.recipe.out).map_err(at(&run.recipe.out))?;
    let train = run.examples(&run.recipe.train, "preparing training clips")?;
    let validate = run.examples(&run.recipe.validate, "preparing validation clips")?;
    let mut state = if resume { run.restore()? } else { Progress::default() };
    while state.epoch < run.recipe.epochs {
        run.epoch(&mut state, &train, &validate)?;
    }
    let model = run.recipe.out.join("model");
    let data = Data::open(&run.recipe.test, run.config.frames)?;
    let test = evaluate(&model, &data)?;
    let best = state.best.unwrap_or_default();
    card::write(&model, &run.recipe, recipe_path, &test, best, started.elapsed())?;
    let validate_top1 = (run.recipe.class_weight > 0.0).then_some(best);
    Ok(Report { model, validate_top1, test })
}

/// Everything that stays the same in a run.
struct Run {
    recipe: Recipe,
    config: Config,
    net: MsNet<CpuBackend>,
    parameters: Parameters,
    /// The stage whose features are the input, where everything before is frozen.
    start: Option<usize>,
    estimation: Estimation,
    backend: CpuBackend,
}

/// What changes from epoch to epoch.
#[derive(Default)]
struct Progress {
    epoch: usize,
    /// Top-1 on the validation clips, or the maps' negative error where only they learn.
    best: Option<f64>,
    optimizer: AdamW,
}

/// One prepared clip: frozen features in half precision, or the normalised clip itself.
struct Example {
    /// T, then the shape of one frame.
    shape: Vec<usize>,
    values: Vec<f16>,
    /// For each motion module the true displacements on its grid, `[T-1, h, w, 2]` in cells, not finite where there is
    /// none; empty where the data has no flow.
    truth: Vec<Truth>,
    label: usize,
}

/// True displacements of a clip on one grid.
struct Truth {
    grid: [usize; 2],
    cells: Vec<f16>,
}

/// One clip as a step sees it.
struct Look<'a> {
    example: &'a Example,
    /// The first frame of the run.
    start: usize,
    /// Length of the run.
    frames: usize,
    seen: Symmetry,
    /// What it shows, seen that way.
    label: usize,
}

impl Look<'_> {
    /// `[frames, h, w, C]`.
    fn values(&self) -> Vec<f32> {
        let &[_, height, width, channels] = self.example.shape.as_slice() else { return Vec::new() };
        let Symmetry { mirrored, upside_down, reversed } = self.seen;
        let mut values = Vec::with_capacity(self.frames * height * width * channels);
        for t in 0..self.frames {
            let t = self.start + turned(t, self.frames, reversed);
            for y in 0..height {
                let y = turned(y, height, upside_down);
                for x in 0..width {
                    let from = ((t * height + y) * width + turned(x, width, mirrored)) * channels;
                    values.extend(self.example.values[from..from + channels].iter().map(|v| v.to_f32()));
                }
            }
        }
        values
    }

    /// True displacements on the grid of motion module `module` for each pair of the run, `[frames - 1, h, w, 2]`, from
    /// the frame that was filmed first to the other: in a reversed look, from the next to the one before.
    fn truth(&self, module: usize) -> Vec<f32> {
        let Truth { grid: [height, width], cells } = &self.example.truth[module];
        let Symmetry { mirrored, upside_down, reversed } = self.seen;
        let mut truth = Vec::with_capacity((self.frames - 1) * height * width * 2);
        for t in 0..self.frames - 1 {
            let t = self.start + turned(t, self.frames - 1, reversed);
            for y in 0..*height {
                let y = turned(y, *height, upside_down);
                for x in 0..*width {
                    let at = 2 * ((t * height + y) * width + turned(x, *width, mirrored));
                    let sign = |turn| if turn { -1.0 } else { 1.0 };
                    truth.push(sign(mirrored) * cells[at].to_f32());
                    truth.push(sign(upside_down) * cells[at + 1].to_f32());
                }
            }
        }
        truth
    }
}

/// Position `i` of `length`, counted from the other end where turned.
fn turned(i: usize, length: usize, turn: bool) -> usize {
    if turn { length - 1 - i } else { i }
}

impl Run {
    fn new(path: &Path, recipe: Recipe) -> Result<Self> {
        let wrong = |message: String| Error::Recipe { path: path.to_owned(), message };
        let frames = recipe.model.get("frames").and_then(toml::Value::as_integer).unwrap_or(8);
        let labels = Data::open(&recipe.train, usize::try_from(frames).unwrap_or(8))?.labels();
        let config = recipe.config(&labels)?;
        let stages = config.backbone.stages();
        if recipe.symmetries && labels != CLASSES {
            return Err(wrong(
                "symmetries are known for the classes of `motionlens synth` only; turn them off".into(),
            ));
        }
        if recipe.run_frames.is_some() && (recipe.freeze_until.is_none() || config.backbone.has_shift()) {
            return Err(wrong("run_frames needs freeze_until and a backbone without temporal shift".into()));
        }
        let start = match &recipe.freeze_until {
            None => None,
            Some(name) => Some(stages.iter().position(|stage| stage == name).ok_or_else(|| {
                wrong(format!("freeze_until is {name:?}, expected one of {}", stages.join(", ")))
            })?),
        };
        let first = match &recipe.trunk {
            None => recipe.first.as_deref().map_or_else(|| Ok(Weights::default()), evaluate::load_weights)?,
            Some(_) if !config.backbone.is_mobilenet() || !config.expand_first_block => {
                return Err(wrong("trunk is a MobileNetV2 with expand_first_block, the model is not".into()));
            }
            Some(folder) => trunk::read(folder)?,
        };
        let frozen = start.map_or(&[][..], |start| &stages[..=start]);
        let mut parameters = Parameters::new(config.backbone, first, frozen, recipe.freeze_maps, recipe.seed);
        let backend = CpuBackend::new();
        let estimation = config.motion.as_ref().map(|motion| motion.estimation()).unwrap_or_default();
        let net = MsNet::build(&backend, config.clone(), &mut parameters)?;
        Ok(Self { recipe, config, net, parameters, start, estimation, backend })
    }

    /// Renders or reads every clip once and keeps what the trained part of the network reads.
    fn examples(&self, spec: &crate::recipe::DataSpec, what: &'static str) -> Result<Vec<Example>> {
        let data = Data::open(spec, self.config.frames)?;
        let grids = self.grids()?;
        let preprocess = evaluate::preprocess(&self.config);
        let bar = progress::bar(what, data.count());
        let examples = (0..data.count())
            .into_par_iter()
            .map(|index| {
                let sample = data.sample(index)?;
                let clip = evaluate::network_input(&self.config, &sample.frames)?;
                let (shape, values) = match self.start {
                    None => (clip.shape[1..].to_vec(), clip.data),
                    Some(start) => {
                        let features = self.net.features(&self.backend, &clip, start, &self.estimation)?;
                        (features.dims().to_vec(), features.flatten_all()?.to_vec1()?)
                    }
                };
                let truth = |&grid| {
                    let pairs = sample.flow.iter().map(|flow| flow.to_grid(&preprocess, grid));
                    Truth { grid, cells: pairs.flat_map(known).map(f16::from_f32).collect() }
                };
                let truth =
                    if sample.flow.is_empty() { Vec::new() } else { grids.iter().map(truth).collect() };
                bar.inc(1);
                let values = values.into_iter().map(f16::from_f32).collect();
                Ok(Example { shape, values, truth, label: sample.label })
            })
            .collect();
        bar.finish_and_clear();
        examples
    }

    /// (height, width) of each motion module's map: read off a pass over a black clip.
    fn grids(&self) -> Result<Vec<[usize; 2]>> {
        let (frames, side) = (self.config.frames, self.config.input_size);
        let black = HostTensor::new([1, frames, side, side, 3], vec![0.0; frames * side * side * 3])?;
        let pass = self.net.forward(&self.backend, &black, &self.estimation)?;
        motions(&pass)
            .map(|motion| {
                let (_, height, width, _) = motion.forward.displacement.dims4()?;
                Ok([height, width])
            })
            .collect()
    }

    fn epoch(&mut self, state: &mut Progress, train: &[Example], validate: &[Example]) -> Result<()> {
        let started = Instant::now();
        let mut random = ChaCha8Rng::seed_from_u64(self.recipe.seed ^ (state.epoch as u64 + 1));
        let mut order: Vec<usize> = (0..train.len()).collect();
        order.shuffle(&mut random);
        let run = self.recipe.run_frames.map_or(self.config.frames, |run| run.clamp(2, self.config.frames));
        let steps = self.recipe.epochs * train.len().div_ceil(self.recipe.batch);
        let backbone = if self.recipe.batch_norms { Statistics::Batch } else { Statistics::Running };
        let reduction = if self.recipe.freeze_maps { Statistics::Running } else { Statistics::Batch };
        let mode = Mode { backbone, reduction, motion: Statistics::Batch, dropout: self.recipe.dropout };
        let mut confusion = Confusion::new(self.config.classes());
        let mut loss_sum = 0.0;
        let bar = progress::bar("training", train.len());
        for batch in order.chunks(self.recipe.batch) {
            let batch: Vec<Look<'_>> =
                batch.iter().map(|&i| self.random_look(&train[i], run, &mut random)).collect();
            let mut pass = self.begin(&batch)?;
            let compared = self.compared(&mut pass, mode)?;
            let mut loss = self.guide_loss(&compared, run - 1, &batch)?;
            if let Some(logits) = pass.logits() {
                loss = (loss + (self.class_loss(logits, &batch)? * self.recipe.class_weight)?)?;
                logits.to_vec2()?.iter().zip(&batch).for_each(|(row, look)| confusion.add(look.label, row));
            }
            let value = loss.to_scalar::<f32>()?;
            if !value.is_finite() {
                return Err(Error::Diverged { epoch: state.epoch + 1, loss: value });
            }
            state.optimizer.step(&self.parameters, &loss.backward()?, &self.recipe, steps)?;
            loss_sum += f64::from(value) * batch.len() as f64;
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        let secs = started.elapsed().as_secs_f64();
        state.epoch += 1;
        let (validate_top1, validate_epe_cells) = self.figures(validate)?;
        let classes = self.recipe.class_weight > 0.0;
        let line = Epoch {
            epoch: state.epoch,
            loss: loss_sum / train.len() as f64,
            train_top1: classes.then(|| confusion.top1()),
            validate_top1: classes.then_some(validate_top1),
            validate_epe_cells,
            secs,
            clips_per_sec: train.len() as f64 / secs,
        };
        let score = if classes { validate_top1 } else { -validate_epe_cells.unwrap_or(f64::INFINITY) };
        if state.best.is_none_or(|best| score >= best) {
            state.best = Some(score);
            self.save_model()?;
        }
        self.save_state(state)?;
        self.log(&line)
    }

    /// A run of frames of one clip, as it is or seen another way.
    fn random_look<'a>(&self, example: &'a Example, frames: usize, random: &mut ChaCha8Rng) -> Look<'a> {
        let start = random.random_range(0..=self.config.frames - frames);
        let seen = match self.recipe.symmetries {
            false => Symmetry::default(),
            true => Symmetry {
                mirrored: random.random(),
                upside_down: random.random(),
                reversed: random.random(),
            },
        };
        match seen.label(example.label) {
            Some(label) if self.recipe.symmetries => Look { example, start, frames, seen, label },
            _ => Look { example, start, frames, seen: Symmetry::default(), label: example.label },
        }
    }

    /// A pass of which nothing has run.
    fn begin(&self, batch: &[Look<'_>]) -> Result<Pass<Tensor>> {
        let (frames, frame_shape) = (batch[0].frames, &batch[0].example.shape[1..]);
        let values = batch.par_iter().flat_map_iter(Look::values).collect();
        let shape = |lead: &[usize]| [lead, frame_shape].concat();
        Ok(match self.start {
            None => {
                let clips = HostTensor::new(shape(&[batch.len(), frames]), values)?;
                self.net.begin(&self.backend, &clips)?
            }
            Some(start) => {
                let features = Tensor::from_vec(values, shape(&[batch.len() * frames]), &Device::Cpu)?;
                self.net.begin_at(start, features, frames)?
            }
        })
    }

    /// Runs a pass to its end and gives what its motion modules compared. Where only the maps learn, its end is what the
    /// last module compares.
    fn compared(&self, pass: &mut Pass<Tensor>, mode: Mode) -> Result<Vec<(Tensor, Tensor)>> {
        let modules = self.config.motion.as_ref().map_or(0, |motion| motion.stages.len());
        let maps_only = self.recipe.class_weight == 0.0;
        let mut last = None;
        loop {
            if maps_only && motions(pass).count() + 1 == modules {
                last = self.net.compared(&self.backend, pass, mode)?;
            }
            if last.is_some() || self.net.advance(&self.backend, pass, &self.estimation, mode)?.is_none() {
                break;
            }
        }
        Ok(motions(pass).map(|motion| motion.compared.clone()).chain(last).collect())
    }

    /// Cross entropy on the mean logits (published code), the truth smoothed.
    fn class_loss(&self, logits: &Tensor, batch: &[Look<'_>]) -> Result<Tensor> {
        let classes = self.config.classes();
        let smoothing = self.recipe.label_smoothing as f32;
        let mut truth = vec![smoothing / classes as f32; batch.len() * classes];
        for (row, look) in batch.iter().enumerate() {
            truth[row * classes + look.label] += 1.0 - smoothing;
        }
        let truth = Tensor::from_vec(truth, (batch.len(), classes), &Device::Cpu)?;
        let log = candle_nn::ops::log_softmax(logits, 1)?;
        Ok(((log * truth)?.sum_all()? * (-1.0 / batch.len() as f64))?)
    }

    /// The true flow's part, the mean over the motion modules; 0 where the recipe asks for none.
    fn guide_loss(&self, compared: &[(Tensor, Tensor)], pairs: usize, batch: &[Look<'_>]) -> Result<Tensor> {
        let mut sum = Tensor::new(0f32, &Device::Cpu)?;
        let Some(guide) = &self.recipe.guide else { return Ok(sum) };
        let modules = batch[0].example.truth.len();
        for (module, (now, next)) in compared.iter().take(modules).enumerate() {
            // The truth runs from what was filmed first.
            let ends = |later: bool| -> Result<Tensor> {
                let of = |(i, look): (usize, &Look<'_>)| {
                    let end = if look.seen.reversed == later { now } else { next };
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

    /// Top-1 and the mean end-point error of the first motion module's maps.
    fn figures(&self, examples: &[Example]) -> Result<(f64, Option<f64>)> {
        let mut confusion = Confusion::new(self.config.classes());
        let mut epe = EndPointError::default();
        for batch in examples.chunks(self.recipe.batch) {
            let whole = |example| Look {
                example,
                start: 0,
                frames: self.config.frames,
                seen: Symmetry::default(),
                label: example.label,
            };
            let batch: Vec<Look<'_>> = batch.iter().map(whole).collect();
            let mut pass = self.begin(&batch)?;
            let modules = self.config.motion.as_ref().map_or(0, |motion| motion.stages.len());
            let maps_only = self.recipe.class_weight == 0.0;
            while !(maps_only && motions(&pass).count() == modules)
                && self.net.advance(&self.backend, &mut pass, &self.estimation, Mode::EVAL)?.is_some()
            {
            }
            if let Some(logits) = pass.logits() {
                logits.to_vec2()?.iter().zip(&batch).for_each(|(row, look)| confusion.add(look.label, row));
            }
            if let Some(motion) = motions(&pass).next().filter(|_| !batch[0].example.truth.is_empty()) {
                let found = (&motion.forward.displacement * self.estimation.radius() as f64)?;
                let truth: Vec<f32> = batch.iter().flat_map(|look| look.truth(0)).collect();
                let counts: Vec<bool> =
                    truth.chunks_exact(2).map(|d| d.iter().all(|d| d.is_finite())).collect();
                epe.add(&found.flatten_all()?.to_vec1()?, &truth, &counts);
            }
        }
        Ok((confusion.top1(), epe.found_mean()))
    }

    fn save_model(&self) -> Result<()> {
        let folder = self.recipe.out.join("model");
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        write_atomically(&folder.join("config.json"), self.config.to_json()?.as_bytes())?;
        let bytes = self.parameters.weights()?.to_safetensors(true)?;
        write_atomically(&folder.join("model.safetensors"), &bytes)
    }

    fn save_state(&self, state: &Progress) -> Result<()> {
        let out = &self.recipe.out;
        write_atomically(&out.join("last.safetensors"), &self.parameters.weights()?.to_safetensors(false)?)?;
        write_atomically(
            &out.join("optimizer.safetensors"),
            &state.optimizer.state()?.to_safetensors(false)?,
        )?;
        let best = state.best.unwrap_or_default();
        let progress = format!("{{\"epoch\": {}, \"best\": {best}}}\n", state.epoch);
        write_atomically(&out.join("progress.json"), progress.as_bytes())
    }

    fn restore(&self) -> Result<Progress> {
        let read = |name: &str| {
            let path = self.recipe.out.join(name);
            std::fs::read(&path).map_err(at(&path))
        };
        #[derive(serde::Deserialize)]
        struct Stored {
            epoch: usize,
            best: f64,
        }
        let stored: Stored = serde_json::from_slice(&read("progress.json")?).map_err(|error| {
            Error::Data { path: self.recipe.out.join("progress.json"), message: error.to_string() }
        })?;
        self.parameters.restore(&Weights::from_safetensors(&read("last.safetensors")?)?)?;
        let optimizer = AdamW::restore(&Weights::from_safetensors(&read("optimizer.safetensors")?)?)?;
        Ok(Progress { epoch: stored.epoch, best: Some(stored.best), optimizer })
    }

    fn log(&self, line: &Epoch) -> Result<()> {
        let path = self.recipe.out.join("log.jsonl");
        let json = serde_json::to_string(line).unwrap_or_default();
        let mut file = File::options().create(true).append(true).open(&path).map_err(at(&path))?;
        writeln!(file, "{json}").map_err(at(&path))?;
        let percent = |what: &str, share: Option<f64>| {
            share.map_or(String::new(), |share| format!(", {:.1} % right in {what}", 100.0 * share))
        };
        progress::line(&format!(
            "epoch {}/{}: loss {:.3}{}{}{}, {:.1} clips/s",
            line.epoch,
            self.recipe.epochs,
            line.loss,
            percent("training", line.train_top1),
            percent("validation", line.validate_top1),
            line.validate_epe_cells.map_or(String::new(), |epe| format!(", maps off by {epe:.2} cells")),
            line.clips_per_sec
        ));
        Ok(())
    }
}

/// True displacements of one pair, not finite where a cell does not count.
fn known(flow: FlowGrid) -> impl Iterator<Item = f32> {
    let counts = flow.counts.into_iter().flat_map(|counts| [counts; 2]);
    flow.cells.into_iter().zip(counts).map(|(d, counts)| if counts { d } else { f32::NAN })
}

/// What the motion modules of a finished pass found, in their order.
fn motions(pass: &Pass<Tensor>) -> impl Iterator<Item = &Motion<Tensor>> {
    (0..pass.stages.len()).filter_map(|index| pass.motion(index))
}

/// Writes a file beside its place and moves it there: a reader sees the old one or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(at(&part))?;
    std::fs::rename(&part, path).map_err(at(path))
}
