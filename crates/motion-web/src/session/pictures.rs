//! Pictures of a stage's maps, drawn where the maps are. In: numbers and their colours. Out: the messages' pictures.

use motion_net::gpu::GpuTensor;
use motion_net::{GpuBackend, Match, StageMaps};
use motion_view::{Picture, Scale, clip_scale, heat, wheel};
use wasm_bindgen::JsValue;

use crate::Result;
use crate::message::{part, picture};

/// What the colours mean.
pub(super) struct Colours {
    pub(super) scale: Scale,
    /// Of each confidence map: its lowest and its highest value.
    pub(super) ranges: Vec<[f32; 2]>,
}

/// A picture for each pair of frames.
pub(super) struct Pictures {
    pub(super) displacement: Vec<JsValue>,
    pub(super) confidence: Vec<JsValue>,
}

impl Colours {
    pub(super) fn of(maps: &StageMaps) -> Self {
        let range = |pair| heat::range(maps.confidences(pair)).unwrap_or_default();
        Self {
            scale: clip_scale(&maps.displacement, maps.radius),
            ranges: (0..maps.pairs).map(range).collect(),
        }
    }
}

impl Pictures {
    /// By the processor.
    pub(super) fn here(maps: &StageMaps, colours: &Colours) -> Result<Self> {
        let [height, width] = maps.grid;
        let shown = |rgba| Ok(picture(&Picture::from_rgba(width, height, rgba)?));
        let flow = |pair: usize| &maps.displacement[pair * width * height * 2..][..width * height * 2];
        let displacement = |pair| shown(wheel::displacement_rgba(flow(pair), colours.scale.in_map_units()));
        let confidence = |pair| {
            let [low, high] = colours.ranges[pair];
            shown(heat::confidence_rgba(maps.confidences(pair), low, high))
        };
        Ok(Self {
            displacement: (0..maps.pairs).map(displacement).collect::<Result<_>>()?,
            confidence: (0..maps.pairs).map(confidence).collect::<Result<_>>()?,
        })
    }

    /// By the graphics card, from the maps that it has.
    pub(super) fn on_card(
        backend: &GpuBackend,
        found: &Match<GpuTensor>,
        maps: &StageMaps,
        colours: &Colours,
    ) -> Result<Self> {
        let [height, width] = maps.grid;
        let scale = colours.scale.in_map_units();
        let displacement = backend.displacement_rgba(&found.displacement, scale, &wheel::COLOURS)?;
        let confidence = backend.confidence_rgba(&found.confidence, &colours.ranges, &heat::colours())?;
        let drawn = backend.draw(&[(&displacement, [0, 0]), (&confidence, [0, height])])?;
        let line =
            |y: usize| (0..maps.pairs).map(|pair| part(&drawn, [pair * width, y], [width, height])).collect();
        Ok(Self { displacement: line(0), confidence: line(height) })
    }
}
