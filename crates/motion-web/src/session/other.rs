//! Another model beside the one in use. In: its two files, and the session's shot. Out: what it finds in the same clip.

use motion_net::{Backend, Estimation, StageMaps};
use wasm_bindgen::prelude::*;

use super::Session;
use super::model::Model;
use crate::{Error, Result};

#[wasm_bindgen]
impl Session {
    /// Loads a model folder's two files to hold beside the one in use; model and clip stay. Returns what the page shows of it.
    ///
    /// # Errors
    /// What is wrong with which of the two, or that it sees other frames than the model in use.
    pub fn load_other(&mut self, config: &str, weights: &[u8]) -> Result<JsValue> {
        let (other, parameters) = Model::load(config, weights)?;
        let sees = |model: &Model| {
            let [height, width] = model.config().resize;
            let side = model.config().input_size;
            format!("the middle {side} x {side} of {width} x {height} pixels")
        };
        let (found, expected) = (sees(&other), sees(self.model()?));
        if found != expected {
            return Err(Error::Other { found, expected });
        }
        Ok(self.other.insert(other).info(parameters))
    }
}

impl Session {
    /// Maps of the other model's stage of this name, and its scores; with its own estimation, but the estimator and the
    /// window that the user has chosen. It runs on the CPU.
    ///
    /// # Errors
    /// Without another model or a clip, when it has no such stage, or when the backend fails.
    pub(super) async fn found_by_other(&mut self, stage: &str) -> Result<(StageMaps, Vec<f32>)> {
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else {
            return Err(Error::Order("Open a video first."));
        };
        let other = self.other.as_mut().ok_or(Error::Order("Choose another model first."))?;
        let index = other.cpu.net.stage_index(stage)?;
        let backend = other.cpu.backend.clone();
        let card = model.gpu.as_ref().map(|gpu| &*gpu.backend);
        let clip = backend.upload(&shot.clip_here(&other.preprocess(), card).await?)?;
        let Estimation { estimator, patch, .. } = model.estimation;
        let estimation = Estimation { estimator, patch, ..other.estimation };
        other.cpu.net.set_frames(model.config().frames);
        other.cpu.begin_on(clip.clone())?;
        while other.cpu.advance(&estimation)?.is_some() {}
        let logits = other.cpu.logits().await?.unwrap_or_default();
        let found = other.cpu.maps(index, &estimation, || Ok(clip)).await?;
        other.cpu.forget();
        let (maps, _) = found.ok_or(Error::Order("Open a video first."))?;
        Ok((maps, logits))
    }
}
