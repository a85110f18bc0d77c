//! What is shown, as files. In: a pass that is through. Out: the 'saved' message.

use motion_export::{Found, Stage};
use motion_net::{Backend, HostTensor, Weights};
use wasm_bindgen::prelude::*;

use super::Session;
use super::export::{self, Maps, Shown};
use super::runner::Saved;
use crate::message::{array, file};
use crate::{Error, Result};

#[wasm_bindgen]
impl Session {
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

    /// The clip, its scores, and the maps of every stage with a module.
    async fn results(&self) -> Result<(HostTensor, Vec<f32>, Vec<(&'static str, Saved)>)> {
        let model = self.model()?;
        let logits = on!(model, runner => runner.logits().await)?;
        let logits = logits.ok_or(Error::Order("The network has not run to its end."))?;
        let shot = self.shot.as_ref().ok_or(Error::Order("Open a video first."))?;
        let card = model.gpu.as_ref().map(|gpu| &*gpu.backend);
        let clip = shot.clip_here(&model.preprocess(), card).await?;
        let mut all = Vec::new();
        for (index, stage) in model.cpu.net.stage_names().enumerate() {
            all.extend(on!(model, runner => runner.saved(index).await)?.map(|saved| (stage, saved)));
        }
        Ok((clip, logits, all))
    }
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
    fn channels_move_to_the_front() {
        let tensor = HostTensor::new([1, 1, 3, 2], vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0]).unwrap();
        let turned = channels_first(&tensor).unwrap();
        assert_eq!((turned.shape, turned.data), (vec![1, 2, 1, 3], vec![1.0, 2.0, 3.0, 10.0, 20.0, 30.0]));
        assert!(channels_first(&HostTensor::new([2], vec![0.0; 2]).unwrap()).is_err());
    }
}
