//! The whole network: a clip in, maps and scores out, stage by stage.

use crate::backbone::{self, Stage};
use crate::backend::{Backend, HostTensor, Match, Statistics};
use crate::classifier::{Classifier, Scores};
use crate::config::{Config, Estimation, MINIMUM_SIDE};
use crate::motion::{Motion, MotionModule};
use crate::weights::{Loader, ParameterSource, Weights};
use crate::{Error, Result};

/// How to run: inference, or which part trains how.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mode {
    /// Statistics of the backbone's first norm, its stem's.
    pub stem: Statistics,
    /// Statistics of the backbone's other norms.
    pub backbone: Statistics,
    /// Statistics of the norms before the correlation: the motion modules' reductions.
    pub reduction: Statistics,
    /// Statistics of the motion modules' other norms.
    pub motion: Statistics,
    /// Share of the pooled features zeroed.
    pub dropout: f32,
}

impl Mode {
    /// Inference.
    pub const EVAL: Self = Self {
        stem: Statistics::Running,
        backbone: Statistics::Running,
        reduction: Statistics::Running,
        motion: Statistics::Running,
        dropout: 0.0,
    };
}

/// MSNet: a backbone with motion modules after some of its stages.
pub struct MsNet<B: Backend> {
    config: Config,
    stages: Vec<(Stage<B>, Option<MotionModule<B>>)>,
    classifier: Classifier<B>,
    unused: Vec<String>,
}

/// A forward pass that can pause after any stage and be taken up again. Of what lies behind it keeps what moves, and what
/// another estimation begins from; all else would only take memory.
#[derive(Debug, Clone)]
pub struct Pass<T> {
    /// T.
    pub frames: usize,
    /// One place per stage of the network: what moves, once it has run and if it has a module.
    motion: Vec<Option<Motion<T>>>,
    /// Scores, once the pass is through.
    pub scores: Option<Scores<T>>,
    /// The first stage with a module, and its features before motion joined.
    first_motion: Option<(usize, T)>,
    /// Features of the stage that ran last, before motion joined.
    latest: Option<T>,
    /// The next stage; past the last one stands the classifier.
    next: usize,
    /// What it reads: the clip, or the features of the stage before, or its own features if it ran up to there.
    input: PassInput<T>,
}

#[derive(Debug, Clone)]
enum PassInput<T> {
    /// The next stage's blocks read this.
    Blocks(T),
    /// The next stage's blocks ran; its motion module reads this.
    Motion(T),
    /// A stage failed over it.
    Gone,
}

/// What one call of [`MsNet::advance`] ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A stage of the backbone (unless its features were there already) and its motion module (if it has one).
    Stage {
        /// Position in [`MsNet::stage_names`].
        index: usize,
        /// Whether its blocks ran.
        backbone: bool,
        /// Whether a motion module ran.
        motion: bool,
    },
    /// Pooling, scores and consensus.
    Classifier,
}

impl<B: Backend> MsNet<B> {
    /// Builds a network for inference from a checkpoint.
    ///
    /// # Errors
    /// A missing, misshapen or unknown tensor, or a failing backend.
    pub fn load(b: &B, config: Config, weights: Weights) -> Result<Self> {
        let mut loader = Loader::new(b, weights);
        let mut net = Self::build(b, config, &mut loader)?;
        net.unused = loader.finish()?;
        Ok(net)
    }

    /// Builds a network from any source of parameters.
    ///
    /// # Errors
    /// A missing or misshapen parameter, or a failing backend.
    pub fn build(b: &B, config: Config, source: &mut dyn ParameterSource<B>) -> Result<Self> {
        let mut stages = Vec::new();
        for stage in backbone::build(b, &config, source)? {
            let module = match &config.motion {
                Some(motion) if motion.stages.iter().any(|name| name == stage.name) => {
                    Some(MotionModule::build(b, motion, stage.name, stage.channels, source)?)
                }
                _ => None,
            };
            stages.push((stage, module));
        }
        let channels = stages.last().map_or(0, |(stage, _)| stage.channels);
        let classifier = Classifier::build(b, channels, config.classes(), source)?;
        Ok(Self { config, stages, classifier, unused: Vec::new() })
    }

    /// Clip to maps and scores: everything this network does.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::advance`].
    pub fn forward(&self, b: &B, clip: &HostTensor, estimation: &Estimation) -> Result<Pass<B::Tensor>> {
        let mut pass = self.begin(b, clip)?;
        while self.advance(b, &mut pass, estimation, Mode::EVAL)?.is_some() {}
        Ok(pass)
    }

    /// Runs the next stage with its motion module, or the classifier; `None` when there is nothing left.
    ///
    /// # Errors
    /// When the clip is too small for the network, or the backend fails.
    pub fn advance(
        &self,
        b: &B,
        pass: &mut Pass<B::Tensor>,
        estimation: &Estimation,
        mode: Mode,
    ) -> Result<Option<Step>> {
        if pass.scores.is_some() {
            return Ok(None);
        }
        let index = pass.next;
        pass.latest = None;
        let Some((stage, module)) = self.stages.get(index) else {
            pass.scores = Some(self.classifier.forward(b, pass.input(b)?, pass.frames, mode.dropout)?);
            return Ok(Some(Step::Classifier));
        };
        let backbone = matches!(pass.input, PassInput::Blocks(_));
        // Taken out, so that it goes as soon as the stage's first block has read it.
        let input = std::mem::replace(&mut pass.input, PassInput::Gone);
        let features = self.next_features(b, stage, pass, input, mode)?;
        pass.input = PassInput::Blocks(match module {
            None => features.clone(),
            Some(module) => {
                let motion = module.forward(b, &features, pass.frames, estimation, mode)?;
                let fused = module.fuse(b, &features, &motion.features, mode.motion)?;
                pass.motion[index] = Some(motion);
                pass.first_motion.get_or_insert((index, features.clone()));
                fused
            }
        });
        pass.next = index + 1;
        pass.latest = Some(features);
        Ok(Some(Step::Stage { index, backbone, motion: module.is_some() }))
    }

    /// Where in its frames a pass that is through saw each class, `[N, h, w, K]` ([`Classifier::activation`]); `None` before
    /// that.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn class_activation(&self, b: &B, pass: &Pass<B::Tensor>) -> Result<Option<HostTensor>> {
        if pass.scores.is_none() {
            return Ok(None);
        }
        Ok(Some(self.classifier.activation(b, pass.input(b)?).await?))
    }

    /// What every motion module compares ([`MotionModule::compared`]) where none of them joins: the rest of the backbone
    /// runs on appearance alone, as far as there are modules. That is all of a network that the true flow can teach
    /// before anything else has learnt what to make of the maps.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn compared(
        &self,
        b: &B,
        pass: &mut Pass<B::Tensor>,
        mode: Mode,
    ) -> Result<Vec<(B::Tensor, B::Tensor)>> {
        let mut compared = Vec::new();
        while self.stages[pass.next..].iter().any(|(_, module)| module.is_some()) {
            let (stage, module) = &self.stages[pass.next];
            let input = std::mem::replace(&mut pass.input, PassInput::Gone);
            let features = self.next_features(b, stage, pass, input, mode)?;
            if let Some(module) = module {
                compared.push(module.compared(b, &features, pass.frames, mode)?);
            }
            pass.input = PassInput::Blocks(features);
            pass.next += 1;
        }
        Ok(compared)
    }

    /// Features of the next stage, before its motion module.
    fn next_features(
        &self,
        b: &B,
        stage: &Stage<B>,
        pass: &Pass<B::Tensor>,
        input: PassInput<B::Tensor>,
        mode: Mode,
    ) -> Result<B::Tensor> {
        let statistics = if pass.next == 0 { mode.stem } else { mode.backbone };
        match input {
            PassInput::Blocks(x) => stage.forward(b, x, pass.frames, statistics),
            PassInput::Motion(features) => Ok(features),
            PassInput::Gone => Err(failed_before(b)),
        }
    }

    /// A pass over a normalised clip, `[N, T, H, W, 3]`; nothing has run yet.
    ///
    /// # Errors
    /// [`Error::Shape`] when the clip has another shape, another T than the network, or sides under 32 pixels.
    pub fn begin(&self, b: &B, clip: &HostTensor) -> Result<Pass<B::Tensor>> {
        match *clip.shape {
            [n, t, height, width, 3] if t == self.config.frames => {
                let frames = HostTensor::new([n * t, height, width, 3], clip.data.clone())?;
                self.begin_on(b, b.upload(&frames)?)
            }
            _ => Err(self.clip_error(&clip.shape)),
        }
    }

    /// The same over clips that are on the backend already, `[N*T, H, W, 3]`.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_on(&self, b: &B, clips: B::Tensor) -> Result<Pass<B::Tensor>> {
        let frames = self.config.frames;
        match *b.shape(&clips) {
            [n, height, width, 3]
                if n > 0 && n.is_multiple_of(frames) && height.min(width) >= MINIMUM_SIDE =>
            {
                Ok(self.pass(0, PassInput::Blocks(clips), frames))
            }
            _ => Err(self.clip_error(&b.shape(&clips))),
        }
    }

    /// Features of stage `index` before its motion module: a forward pass that stops there.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::advance`]; [`Error::UnknownStage`] when there is no such stage.
    pub fn features(
        &self,
        b: &B,
        clip: &HostTensor,
        index: usize,
        estimation: &Estimation,
    ) -> Result<B::Tensor> {
        self.features_from(b, self.begin(b, clip)?, index, estimation)
    }

    /// The same of a pass that has not got there.
    ///
    /// # Errors
    /// As [`Self::features`].
    pub fn features_from(
        &self,
        b: &B,
        mut pass: Pass<B::Tensor>,
        index: usize,
        estimation: &Estimation,
    ) -> Result<B::Tensor> {
        let Some((stage, _)) = self.stages.get(index) else { return Err(self.no_stage(index)) };
        while pass.next < index {
            self.advance(b, &mut pass, estimation, Mode::EVAL)?;
        }
        self.next_features(b, stage, &pass, pass.input.clone(), Mode::EVAL)
    }

    /// A pass that takes up after the blocks of stage `index`, before its motion module: `[B*T, h, w, C]` in clips
    /// of T = `frames`, which may be a run of a whole clip's.
    ///
    /// # Errors
    /// [`Error::UnknownStage`] when there is no such stage.
    pub fn begin_at(&self, index: usize, features: B::Tensor, frames: usize) -> Result<Pass<B::Tensor>> {
        if index >= self.stages.len() {
            return Err(self.no_stage(index));
        }
        Ok(self.pass(index, PassInput::Motion(features), frames))
    }

    fn no_stage(&self, index: usize) -> Error {
        let known = self.stage_names().map(str::to_owned).collect();
        Error::UnknownStage { found: format!("number {index}"), known }
    }

    fn pass(&self, next: usize, input: PassInput<B::Tensor>, frames: usize) -> Pass<B::Tensor> {
        let motion = self.stages.iter().map(|_| None).collect();
        Pass { frames, motion, scores: None, first_motion: None, latest: None, next, input }
    }

    fn clip_error(&self, found: &[usize]) -> Error {
        let frames = self.config.frames;
        let expected = format!("[N, {frames}, H, W, 3] with H and W of at least {MINIMUM_SIDE}");
        Error::Shape { operation: "clip", found: found.to_vec(), expected }
    }

    /// Correlation of a stage's own features ([`Pass::features`], [`Self::features`]), for a stage that has no trained
    /// module: a probe, not something the network uses.
    ///
    /// # Errors
    /// When they are no whole clips, or the backend fails.
    pub fn probe(
        &self,
        b: &B,
        features: &B::Tensor,
        frames: usize,
        estimation: &Estimation,
    ) -> Result<Match<B::Tensor>> {
        let (now, next) = self.probed(b, features, frames)?;
        b.match_frames(&now, &next, estimation)
    }

    /// What a probe compares: features of every frame but the last one and of the next, of unit length.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub fn probed(&self, b: &B, features: &B::Tensor, frames: usize) -> Result<(B::Tensor, B::Tensor)> {
        b.frame_pairs(&b.unit_length(features)?, frames)
    }

    /// The configuration that it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names of the stages in order.
    pub fn stage_names(&self) -> impl Iterator<Item = &'static str> {
        self.stages.iter().map(|(stage, _)| stage.name)
    }

    /// Another number of frames in a clip than the configuration has: no weight depends on it.
    pub fn set_frames(&mut self, frames: usize) {
        self.config.frames = frames;
    }

    /// Position of a stage.
    ///
    /// # Errors
    /// [`Error::UnknownStage`] listing those that there are.
    pub fn stage_index(&self, name: &str) -> Result<usize> {
        self.stage_names().position(|known| known == name).ok_or_else(|| Error::UnknownStage {
            found: name.to_owned(),
            known: self.stage_names().map(str::to_owned).collect(),
        })
    }

    /// The motion module after a stage, if there is one.
    pub fn motion_module(&self, index: usize) -> Option<&MotionModule<B>> {
        self.stages.get(index).and_then(|(_, module)| module.as_ref())
    }

    /// Tensors of motion modules that the checkpoint has and the configuration leaves out.
    pub fn unused_motion_weights(&self) -> &[String] {
        &self.unused
    }
}

impl<T: Clone> Pass<T> {
    /// Goes back to just before the first motion module, keeping the backbone up to there, so that advancing again
    /// with another [`Estimation`] runs only what depends on it. Does nothing in a pass that met no module.
    pub fn rewind_to_motion(&mut self) {
        let Some((index, features)) = self.first_motion.take() else { return };
        self.input = PassInput::Motion(features);
        self.motion[index..].fill_with(|| None);
        self.next = index;
        (self.scores, self.latest) = (None, None);
    }

    /// Number of stages that have run.
    pub fn stages_run(&self) -> usize {
        self.next
    }

    /// `[B, K]`, once the pass is through.
    pub fn logits(&self) -> Option<&T> {
        self.scores.as_ref().map(|scores| &scores.logits)
    }

    /// What moves after stage `index`, once it has run and if it has a module.
    pub fn motion(&self, index: usize) -> Option<&Motion<T>> {
        self.motion.get(index)?.as_ref()
    }

    /// What moves after every stage that has run and has a module, with the stage's number.
    pub fn motions(&self) -> impl Iterator<Item = (usize, &Motion<T>)> {
        self.motion.iter().enumerate().filter_map(|(index, motion)| Some((index, motion.as_ref()?)))
    }

    /// Features of stage `index` before motion joined, where the pass still has them: of the stage that ran last.
    pub fn features(&self, index: usize) -> Option<&T> {
        self.latest.as_ref().filter(|_| index + 1 == self.next)
    }

    /// What the next stage reads: the clip, or the features of the stage before with its motion.
    ///
    /// # Errors
    /// After an error of [`MsNet::advance`].
    pub fn input<B: Backend<Tensor = T>>(&self, b: &B) -> Result<&T> {
        match &self.input {
            PassInput::Blocks(x) | PassInput::Motion(x) => Ok(x),
            PassInput::Gone => Err(failed_before(b)),
        }
    }
}

fn failed_before<B: Backend>(b: &B) -> Error {
    let message = "this pass has failed before; begin anew".to_owned();
    Error::Backend { backend: b.name(), message }
}
