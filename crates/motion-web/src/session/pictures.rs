//! Pictures of a stage's maps, drawn where the maps are. In: numbers and their colours. Out: the messages' pictures.

use motion_net::gpu::GpuTensor;
use motion_net::{GpuBackend, Match, StageMaps};
use motion_view::{Picture, Scale, clip_scale, heat, wheel};
use wasm_bindgen::JsValue;

use crate::message::{part, picture};
use crate::{Error, Result};

/// What the colours mean.
pub(super) struct Colours {
    pub(super) scaling: Scaling,
    /// Of each displacement map.
    pub(super) scales: Vec<Scale>,
    /// Of each confidence map: its lowest and its highest value.
    pub(super) ranges: Vec<[f32; 2]>,
}

/// What full colour stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scaling {
    /// The same speed in all of a clip: pairs can be compared.
    #[default]
    Clip,
    /// A speed of its own for each pair: what is slow can be seen beside what is fast.
    Pair,
}

impl Scaling {
    /// As messages have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Pair => "pair",
        }
    }

    /// # Errors
    /// When there is none of this name.
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = [Self::Clip, Self::Pair].into_iter().find(|scaling| scaling.name() == name);
        let wrong = || Error::Message {
            what: "scaling",
            found: format!("{name:?}"),
            expected: "\"clip\" or \"pair\"",
        };
        found.ok_or_else(wrong)
    }
}

/// A picture for each pair of frames.
pub(super) struct Pictures {
    pub(super) displacement: Vec<JsValue>,
    pub(super) confidence: Vec<JsValue>,
}

impl Colours {
    /// One scale for the clip, or one for each of its pairs.
    pub(super) fn of(maps: &StageMaps, scaling: Scaling) -> Self {
        let range = |pair| heat::range(maps.confidences(pair)).unwrap_or_default();
        let scales = match scaling {
            Scaling::Clip => vec![clip_scale(&maps.displacement, maps.radius); maps.pairs],
            Scaling::Pair => {
                (0..maps.pairs).map(|pair| clip_scale(maps.displacements(pair), maps.radius)).collect()
            }
        };
        Self { scaling, scales, ranges: (0..maps.pairs).map(range).collect() }
    }

    /// The scale of all pairs, where it is one by intent.
    fn one_scale(&self) -> Option<Scale> {
        self.scales.first().copied().filter(|_| self.scaling == Scaling::Clip)
    }
}

impl Pictures {
    /// By the processor.
    pub(super) fn here(maps: &StageMaps, colours: &Colours) -> Result<Self> {
        let [height, width] = maps.grid;
        let shown = |rgba| Ok(picture(&Picture::from_rgba(width, height, rgba)?));
        let displacement = |pair: usize| {
            let scale = colours.scales[pair].in_map_units();
            shown(wheel::displacement_rgba(maps.displacements(pair), scale))
        };
        let confidence = |pair| {
            let [low, high] = colours.ranges[pair];
            shown(heat::confidence_rgba(maps.confidences(pair), low, high))
        };
        Ok(Self {
            displacement: (0..maps.pairs).map(displacement).collect::<Result<_>>()?,
            confidence: (0..maps.pairs).map(confidence).collect::<Result<_>>()?,
        })
    }

    /// By the graphics card, from the maps that it has; which draws in one scale.
    pub(super) fn on_card(
        backend: &GpuBackend,
        found: &Match<GpuTensor>,
        maps: &StageMaps,
        colours: &Colours,
    ) -> Result<Self> {
        let [height, width] = maps.grid;
        let Some(scale) = colours.one_scale().map(|scale| scale.in_map_units()) else {
            return Self::here(maps, colours);
        };
        let displacement = backend.displacement_rgba(&found.displacement, scale, &wheel::COLOURS)?;
        let confidence = backend.confidence_rgba(&found.confidence, &colours.ranges, &heat::colours())?;
        let drawn = backend.draw(&[(&displacement, [0, 0]), (&confidence, [0, height])])?;
        let line =
            |y: usize| (0..maps.pairs).map(|pair| part(&drawn, [pair * width, y], [width, height])).collect();
        Ok(Self { displacement: line(0), confidence: line(height) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_pair_has_a_scale_of_its_own() {
        let maps = StageMaps {
            stage: "res3".to_owned(),
            pairs: 2,
            grid: [1, 1],
            radius: 8,
            displacement: vec![1.5 / 8.0, 0.0, 6.0 / 8.0, 0.0],
            confidence: vec![1.0; 2],
            argmax: vec![0.0; 2],
        };
        let cells =
            |scaling| Colours::of(&maps, scaling).scales.iter().map(|scale| scale.cells).collect::<Vec<_>>();
        assert_eq!(cells(Scaling::Clip), [6.0, 6.0]);
        assert_eq!(cells(Scaling::Pair), [1.5, 6.0]);
        assert_eq!(Scaling::named("pair").unwrap(), Scaling::Pair);
        assert!(Scaling::named("frame").unwrap_err().to_string().contains("\"clip\" or \"pair\""));
    }
}
