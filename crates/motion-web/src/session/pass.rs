//! The network's way over a clip, step by step, and over every frame window by window. In: the session's shot. Out: a pass
//! that can be asked for maps and scores.

use motion_net::{StageMaps, Step};
use wasm_bindgen::prelude::*;

use super::model::{changed, model_of};
use super::pictures::Scaling;
use super::windows::Windows;
use super::{Session, now};
use crate::message::{object, text};
use crate::{Error, Result};

#[wasm_bindgen]
impl Session {
    /// Changes how displacement is estimated, and what full colour stands for; what depends on it will be run again.
    ///
    /// # Errors
    /// Which value is out of range; then nothing changes.
    pub fn set(&mut self, settings: &JsValue) -> Result<()> {
        let model = self.model.as_mut().ok_or(Error::Order("Load a model first."))?;
        let estimation = changed(model.estimation, settings)?;
        if let Some(scaling) = text(settings, "scaling") {
            self.scaling = Scaling::named(&scaling)?;
        }
        if estimation == model.estimation {
            return Ok(());
        }
        model.estimation = estimation;
        self.compared = None;
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
}

impl Session {
    /// Brings the clip, if there is one, to the network that is in use; of every frame, the first window.
    pub(super) fn begin_clip(&mut self) -> Result<()> {
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
    pub(super) fn start_pass(&mut self) -> Result<()> {
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
    pub(super) async fn answer<T>(
        &mut self,
        index: usize,
        ask: impl AsyncFn(&mut Self) -> Result<T>,
    ) -> Result<T> {
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
}
