//! The search of one position as a message. In: what a stage compared. Out: surfaces, drawn and in numbers, and vectors.

use motion_net::matching::{Estimate, Matching};
use motion_net::{Estimation, HostTensor};
use motion_view::{Picture, heat};
use wasm_bindgen::JsValue;

use super::model::estimation_message;
use crate::message::{array, floats, number, object, picture};
use crate::{Error, Result};

/// The 'point' message; `pair` is the one of the request among those that are compared.
pub(super) fn message(
    stage: &str,
    (now, next): (&HostTensor, &HostTensor),
    pair: usize,
    request: &JsValue,
    estimation: &Estimation,
) -> Result<JsValue> {
    let at = [whole(request, "x")?, whole(request, "y")?];
    let matching = Matching::of((now, next), pair, at, estimation)?;
    let Matching { patch, inside, correlation, gaussian, masked, soft, kernel, .. } = &matching;
    let surface = |values: &[f32]| surface(values, inside, *patch);
    let vector = |[dx, dy]: [f32; 2]| object([("dx", dx.into()), ("dy", dy.into())]);
    let estimate = |of: &Estimate| -> Result<JsValue> {
        Ok(object([("surface", surface(&of.weights)?), ("displacement", vector(of.displacement))]))
    };
    Ok(object([
        ("stage", stage.into()),
        ("pair", whole(request, "pair")?.into()),
        ("x", at[0].into()),
        ("y", at[1].into()),
        ("settings", object(estimation_message(estimation))),
        ("correlation", surface(correlation)?),
        ("gaussian", surface(gaussian)?),
        ("masked", surface(masked)?),
        ("best", vector(matching.best().map(|d| d as f32))),
        ("confidence", matching.confidence().into()),
        ("soft", estimate(soft)?),
        ("kernel", estimate(kernel)?),
    ]))
}

/// `{picture, range, values}` of a window; what lies outside of the map is transparent, and not in the range.
fn surface(values: &[f32], inside: &[bool], patch: usize) -> Result<JsValue> {
    let shown: Vec<f32> =
        values.iter().zip(inside).map(|(value, inside)| if *inside { *value } else { f32::NAN }).collect();
    let [low, high] = heat::range(&shown).unwrap_or_default();
    let drawn = Picture::from_rgba(patch, patch, heat::confidence_rgba(&shown, low, high))?;
    Ok(object([("picture", picture(&drawn)), ("range", array([low, high])), ("values", floats(values))]))
}

/// A whole number from 0 that a request has.
///
/// # Errors
/// When it is something else.
pub(super) fn whole(request: &JsValue, what: &'static str) -> Result<usize> {
    let found = number(request, what)?;
    let whole = found.filter(|value| *value >= 0.0 && value.fract() == 0.0);
    whole.map(|value| value as usize).ok_or_else(|| Error::Message {
        what,
        found: found.map_or("nothing".to_owned(), |value| value.to_string()),
        expected: "a whole number from 0",
    })
}
