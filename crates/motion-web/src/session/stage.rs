//! What a stage has found. In: a pass, or the windows that are through. Out: the 'maps', 'beside' and 'point' messages.

use motion_net::StageMaps;
use wasm_bindgen::prelude::*;

use super::beside::Beside;
use super::model::{changed, model_of};
use super::pictures::{Colours, Pictures};
use super::runner::Compared;
use super::scores::top_message;
use super::{Session, maps, now, point};
use crate::message::{object, text};
use crate::{Error, Result};

#[wasm_bindgen]
impl Session {
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
    /// how far apart the two are. `what`: `estimator`, the one that was not chosen; `backward`, from each frame to the one
    /// before it; or `model`, the other model's ([`Self::load_other`]), with its likeliest actions.
    ///
    /// # Errors
    /// When there is no such stage, something else is asked for, or the backend fails.
    pub async fn beside(&mut self, stage: String, what: String) -> Result<JsValue> {
        if self.windows.is_some() {
            return Err(Error::EveryFrame("A comparison"));
        }
        let index = self.model()?.cpu.net.stage_index(&stage)?;
        let (maps, estimation) = (self.stage_maps(index).await?, self.model()?.estimation);
        let kind = Beside::named(&what)?;
        let (found, logits) = if kind == Beside::Model {
            self.found_by_other(&stage).await?
        } else {
            self.compare(index, 0).await?;
            let (Some(model), Some((_, compared))) = (&self.model, &self.compared) else {
                return Err(Error::Order("Open a video first."));
            };
            (kind.found(&model.cpu.backend, &maps, compared, &estimation).await?, Vec::new())
        };
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else {
            return Err(Error::Order("Open a video first."));
        };
        let geometry = model.preprocess().geometry(shot.source[0], shot.source[1]);
        let mut message = kind.message(&maps, &found, self.scaling, &geometry)?;
        if let Some(other) = self.other.as_ref().filter(|_| kind == Beside::Model) {
            message.push(("top", top_message(&other.top(&logits))));
        }
        Ok(object(message))
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
}

impl Session {
    /// Maps of a stage.
    pub(super) async fn stage_maps(&mut self, index: usize) -> Result<StageMaps> {
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

    pub(super) async fn stage_maps_in_use(
        &mut self,
        index: usize,
        draw: bool,
    ) -> Result<Option<(StageMaps, Option<(Colours, Pictures)>)>> {
        if let Some(windows) = self.windows.as_ref().filter(|windows| windows.current().is_none()) {
            let maps =
                windows.maps(index).ok_or(Error::EveryFrame("A probe of a stage without a motion module"))?;
            let colours = Colours::of(maps, self.scaling);
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
            let colours = Colours::of(&maps, self.scaling);
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
}
