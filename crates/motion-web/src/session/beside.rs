//! Maps to hold beside those that are shown. In: these, and what the stage compared. Out: the 'beside' message.

use motion_clip::Geometry;
use motion_net::{Backend, CpuBackend, Estimation, Estimator, StageMaps, read_maps};
use motion_view::{Picture, difference, heat};
use wasm_bindgen::JsValue;

use super::maps;
use super::pictures::{Colours, Pictures, Scaling};
use super::runner::{Compared, Runner};
use crate::message::{array, picture};
use crate::{Error, Result};

/// The other estimator's maps, or those from each frame to the one before it, and how far they are from `shown`.
///
/// # Errors
/// When something else is asked for, or the backend fails.
pub(super) async fn message(
    cpu: &Runner<CpuBackend>,
    what: &str,
    shown: &StageMaps,
    (now, next): &Compared,
    estimation: &Estimation,
    scaling: Scaling,
    geometry: &Geometry,
) -> Result<Vec<(&'static str, JsValue)>> {
    let other = match estimation.estimator {
        Estimator::Kernel => Estimator::Soft,
        Estimator::Soft => Estimator::Kernel,
    };
    let backward = match what {
        "estimator" => false,
        "backward" => true,
        _ => {
            let (found, expected) = (format!("{what:?}"), "\"estimator\" or \"backward\"");
            return Err(Error::Message { what: "what to show beside the maps", found, expected });
        }
    };
    let b = &*cpu.backend;
    let (now, next) = (b.upload(now)?, b.upload(next)?);
    let found = if backward {
        b.match_frames(&next, &now, estimation)?
    } else {
        b.match_frames(&now, &next, &Estimation { estimator: other, ..*estimation })?
    };
    let found = read_maps(b, &shown.stage, shown.radius, &found).await?;
    let [height, width] = shown.grid;
    let size = 2 * height * width;
    let maps = shown.displacement.chunks(size).zip(found.displacement.chunks(size));
    let apart: Vec<Vec<f32>> = maps
        .map(|(shown, found)| match backward {
            true => difference::there_and_back(shown, found, [height, width], estimation.radius()),
            false => difference::between(shown, found, estimation.radius()),
        })
        .collect();
    let highest = heat::range(&apart.concat()).map_or(0.0, |[_, high]| high);
    let drawn = |map: &Vec<f32>| {
        Ok(picture(&Picture::from_rgba(width, height, heat::confidence_rgba(map, 0.0, highest))?))
    };
    let pictures = apart.iter().map(drawn).collect::<Result<Vec<_>>>()?;
    // The same colours as those that it lies beside.
    let colours = Colours { scales: Colours::of(shown, scaling).scales, ..Colours::of(&found, scaling) };
    let mut message = maps::shown(&found, &colours, Pictures::here(&found, &colours)?, geometry);
    message.extend([
        ("what", what.into()),
        ("difference", array(pictures)),
        ("difference_highest", highest.into()),
        ("difference_means", array(apart.iter().map(|map| mean(map)))),
    ]);
    Ok(message)
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
