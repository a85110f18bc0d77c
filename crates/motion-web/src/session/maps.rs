//! The 'maps' message. In: maps of a stage and their pictures. Out: what the page shows, and says, of them.

use motion_clip::Geometry;
use motion_net::StageMaps;
use motion_view::{Scale, describe, heat};
use wasm_bindgen::JsValue;

use super::pictures::{Colours, Pictures};
use crate::message::{array, floats, object, texts};

/// All of it but whether the stage is trained.
pub(super) fn shown(
    maps: &StageMaps,
    colours: &Colours,
    pictures: Pictures,
    geometry: &Geometry,
) -> Vec<(&'static str, JsValue)> {
    let [height, width] = maps.grid;
    let legend = object([
        ("radius_cells", maps.radius.into()),
        ("scaling", colours.scaling.name().into()),
        ("speeds", array(colours.scales.iter().map(|scale| speed(scale, maps.grid, geometry)))),
    ]);
    let words = maps.displacement.chunks(2 * width * height).map(|map| describe(map, maps.grid, maps.radius));
    let words: Vec<String> = words.collect();
    vec![
        ("stage", maps.stage.as_str().into()),
        ("grid", object([("width", width.into()), ("height", height.into())])),
        ("pairs", maps.pairs.into()),
        ("displacement", array(pictures.displacement)),
        ("confidence", array(pictures.confidence)),
        ("words", texts(words)),
        ("legend", legend),
        ("confidence_range", array(heat::range(&maps.confidence).unwrap_or_default())),
        ("confidence_ranges", array(colours.ranges.iter().copied().map(array))),
        (
            "numbers",
            object([("displacement", floats(&maps.displacement)), ("confidence", floats(&maps.confidence))]),
        ),
    ]
}

/// What full colour stands for: a speed, in cells, in pixels of the network's input and of the video.
fn speed(scale: &Scale, [height, width]: [usize; 2], geometry: &Geometry) -> JsValue {
    let [input, _] = scale.pixels(geometry.input_cell(width, height));
    let [across, down] = scale.pixels(geometry.cell(width, height));
    let said = format!(
        "Full colour: {} cells of the {width} x {height} map, which is {input:.1} pixels of the network's input \
         and {across:.1} (across) or {down:.1} (down) pixels of the video.",
        scale.cells
    );
    object([
        ("cells", scale.cells.into()),
        ("input_px", input.into()),
        ("source_px", across.midpoint(down).into()),
        ("source_px_across", across.into()),
        ("source_px_down", down.into()),
        ("text", said.into()),
    ])
}
