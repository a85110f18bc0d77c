//! Maps to hold beside those that are shown. In: these, and what the stage compared. Out: the 'beside' message.

use motion_clip::Geometry;
use motion_net::{Backend, CpuBackend, Estimation, Estimator, StageMaps, read_maps};
use motion_view::{Picture, difference, heat};
use wasm_bindgen::JsValue;

use super::maps;
use super::pictures::{Colours, Pictures, Scaling};
use super::runner::Compared;
use crate::message::{array, picture};
use crate::{Error, Result};

/// What to hold beside the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Those of the estimator that was not chosen.
    Estimator,
    /// Those from each frame to the one before it.
    Backward,
    /// Those of another model.
    Model,
}

impl Beside {
    /// # Errors
    /// When there is nothing of this name.
    pub(super) fn named(name: &str) -> Result<Self> {
        match name {
            "estimator" => Ok(Self::Estimator),
            "backward" => Ok(Self::Backward),
            "model" => Ok(Self::Model),
            _ => {
                let (found, expected) = (format!("{name:?}"), "\"estimator\", \"backward\" or \"model\"");
                Err(Error::Message { what: "what to show beside the maps", found, expected })
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Estimator => "estimator",
            Self::Backward => "backward",
            Self::Model => "model",
        }
    }

    /// The other estimator's maps, or those of the way back.
    ///
    /// # Errors
    /// When the backend fails.
    pub(super) async fn found(
        self,
        b: &CpuBackend,
        shown: &StageMaps,
        (now, next): &Compared,
        estimation: &Estimation,
    ) -> Result<StageMaps> {
        let other = match estimation.estimator {
            Estimator::Kernel => Estimator::Soft,
            Estimator::Soft => Estimator::Kernel,
        };
        let (now, next) = (b.upload(now)?, b.upload(next)?);
        let found = match self {
            Self::Backward => b.match_frames(&next, &now, estimation)?,
            _ => b.match_frames(&now, &next, &Estimation { estimator: other, ..*estimation })?,
        };
        Ok(read_maps(b, &shown.stage, shown.radius, &found).await?)
    }

    /// These maps in the colours of those that they lie beside, and how far apart the two are.
    ///
    /// # Errors
    /// [`Error::OtherGrid`] when the two are not as large.
    pub(super) fn message(
        self,
        shown: &StageMaps,
        found: &StageMaps,
        scaling: Scaling,
        geometry: &Geometry,
    ) -> Result<Vec<(&'static str, JsValue)>> {
        if found.grid != shown.grid {
            let size = |[height, width]: [usize; 2]| format!("{width} x {height}");
            return Err(Error::OtherGrid { found: size(found.grid), expected: size(shown.grid) });
        }
        let [height, width] = shown.grid;
        let apart = (0..shown.pairs).map(|pair| {
            let (shown_map, found_map) = (shown.displacements(pair), found.displacements(pair));
            match self {
                Self::Backward => difference::there_and_back(shown_map, found_map, shown.grid, shown.radius),
                _ => difference::between(shown_map, found_map, shown.radius),
            }
        });
        let apart: Vec<Vec<f32>> = apart.collect();
        let highest = heat::range(&apart.concat()).map_or(0.0, |[_, high]| high);
        let drawn = |map: &Vec<f32>| {
            Ok(picture(&Picture::from_rgba(width, height, heat::confidence_rgba(map, 0.0, highest))?))
        };
        let pictures = apart.iter().map(drawn).collect::<Result<Vec<_>>>()?;
        let colours = Colours { scales: Colours::of(shown, scaling).scales, ..Colours::of(found, scaling) };
        let mut message = maps::shown(found, &colours, Pictures::here(found, &colours)?, geometry);
        message.extend([
            ("what", self.name().into()),
            ("difference", array(pictures)),
            ("difference_highest", highest.into()),
            ("difference_means", array(apart.iter().map(|map| mean(map)))),
        ]);
        Ok(message)
    }
}

/// Of what is finite; 0 of nothing.
fn mean(values: &[f32]) -> f32 {
    let finite: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.iter().sum::<f32>() / finite.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_leaves_out_what_is_no_number() {
        assert_eq!(mean(&[1.0, f32::NAN, 3.0]), 2.0);
        assert_eq!(mean(&[f32::NAN]), 0.0);
    }
}
