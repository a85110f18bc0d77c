//! What the network says of the clip. In: a pass that is through. Out: the 'scores' message.

use std::collections::BTreeSet;

use motion_net::{Backend, HostTensor};
use motion_view::{Picture, heat};
use wasm_bindgen::prelude::*;

use super::export::Action;
use super::model::settings_message;
use super::{Log, Session, Start, now};
use crate::message::{array, object, picture, texts};
use crate::{Error, Result};

/// Actions that are listed.
pub(super) const TOP: usize = 5;

#[wasm_bindgen]
impl Session {
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
        let said = format!("{} on the {} in {:.0} ms", model.name, backend.to_ascii_uppercase(), total);
        let start = self.start.map_or(JsValue::UNDEFINED, |Start { load, tuning, first, later }| {
            let times = [("load", load), ("tuning", tuning), ("first", first), ("later", later)];
            object(times.map(|(name, ms)| (name, ms.into())))
        });
        Ok(object([
            ("top", top_message(&model.top(&logits))),
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
            ("settings", settings_message(&model.estimation, self.scaling)),
            ("ms", object(ms.into_iter().map(|(name, ms)| (name, ms.into())))),
            ("text", said.into()),
        ]))
    }
}

impl Session {
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

    pub(super) async fn logits(&mut self) -> Result<Vec<f32>> {
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
}

/// `[{label, probability}]`.
pub(super) fn top_message(actions: &[Action<'_>]) -> JsValue {
    array(actions.iter().map(|Action { label, probability }| {
        object([("label", (*label).into()), ("probability", (*probability).into())])
    }))
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

/// The most likely classes and their probabilities: softmax, largest first.
pub(super) fn top(logits: &[f32], count: usize) -> Vec<(usize, f32)> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = logits.iter().map(|&logit| (logit - largest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let mut classes: Vec<(usize, f32)> = weights.iter().map(|weight| weight / sum).enumerate().collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    classes.truncate(count);
    classes
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
}
