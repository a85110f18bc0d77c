//! Where a network's time goes on WebGPU. In: every dispatch of a run, ours and the peer's. Out: how long each kind of
//! layer takes, and the largest layers; and what a motion module adds.

use super::contestant::Contestant;
use super::{Engine, Network, name};
use crate::peers;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Layers of a network that are told one by one: those that take us longest.
const LARGEST: usize = 5;
/// What has no weights. Engines cut it in different ways, so it is compared in one.
const REST: &str = "the rest";

/// What a graphics adapter was given to do, and how long it took.
#[derive(Clone, Deserialize)]
pub(super) struct Dispatch {
    kernel: String,
    /// Of a layer with weights `3x3/1 64 to 64 at 8x56x56`: kernel, stride, channels, frames, height and width.
    shape: String,
    ms: f64,
}

/// A network's.
#[derive(Serialize)]
pub(super) struct Layers {
    network: Network,
    peer: Engine,
    all: Times,
    kinds: BTreeMap<String, Times>,
    layers: BTreeMap<String, Times>,
    module: Module,
}

/// What MSNet does beyond its backbone, and how long both took in one run.
#[derive(Default, Serialize)]
struct Module {
    kernels_ms: BTreeMap<String, f64>,
    backbone_ms: f64,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Times {
    /// Dispatches of ours.
    count: usize,
    ours_ms: f64,
    peer_ms: f64,
}

impl Dispatch {
    /// Kind and name of the layer that it belongs to.
    fn layer(&self) -> Option<(String, String)> {
        // What stands behind a comma is how it was done.
        let shape = self.shape.split(", ").next()?;
        let (side, _) = shape.split_once('/')?;
        Some(match self.kernel.as_str() {
            "depthwise" => (format!("depthwise {side} convolutions"), format!("depthwise {shape}")),
            _ => (format!("{side} convolutions"), shape.to_owned()),
        })
    }
}

impl Layers {
    /// Lets both say where their time goes.
    pub(super) fn measure(network: Network, contestants: &mut [Contestant]) -> Result<Self> {
        let peer = Engine::OnnxRuntimeWeb;
        let mut of = |engine: Engine| {
            let contestant = contestants.iter_mut().find(|contestant| contestant.engine == engine);
            contestant.with_context(|| format!("{} takes no part", engine.title()))?.dispatches()
        };
        let (ours, theirs) = (of(Engine::MotionLens)?, of(peer)?);
        let module = Module::beyond(&ours, &of(Engine::MsNet)?);
        Ok(Self { module, ..Self::new(network, peer, &ours, &theirs) })
    }

    fn new(network: Network, peer: Engine, ours: &[Dispatch], theirs: &[Dispatch]) -> Self {
        let mut found = Self {
            network,
            peer,
            all: Times::default(),
            kinds: BTreeMap::new(),
            layers: BTreeMap::new(),
            module: Module::default(),
        };
        let all = ours.iter().map(|dispatch| (dispatch, true));
        for (dispatch, ours) in all.chain(theirs.iter().map(|dispatch| (dispatch, false))) {
            let layer = dispatch.layer();
            let kind = layer.as_ref().map_or(REST, |(kind, _)| kind).to_owned();
            found.all.add(dispatch, ours);
            found.kinds.entry(kind).or_default().add(dispatch, ours);
            if let Some((_, layer)) = layer {
                found.layers.entry(layer).or_default().add(dispatch, ours);
            }
        }
        found
    }

    /// Kinds, their sum, the largest layers, and the motion module with its largest kernel.
    fn lines(&self) -> Vec<[String; 5]> {
        let mut largest: Vec<_> = self.layers.iter().collect();
        largest.sort_by(|(_, a), (_, b)| b.ours_ms.total_cmp(&a.ours_ms));
        let kinds = self.kinds.iter().map(|(kind, times)| times.line(self.network, kind));
        let sum = self.all.line(self.network, "all");
        let layers = largest.into_iter().take(LARGEST);
        let layers =
            layers.map(|(layer, times)| times.line(self.network, &format!("{} x {layer}", times.count)));
        kinds.chain([sum]).chain(layers).chain(self.module.lines(self.network)).collect()
    }
}

impl Module {
    fn beyond(backbone: &[Dispatch], msnet: &[Dispatch]) -> Self {
        let (mut found, mut left) = (Self::default(), backbone.to_vec());
        for Dispatch { kernel, shape, ms } in msnet {
            match left.iter().position(|other| (&other.kernel, &other.shape) == (kernel, shape)) {
                Some(index) => {
                    left.swap_remove(index);
                    found.backbone_ms += ms;
                }
                None => *found.kernels_ms.entry(kernel.clone()).or_default() += ms,
            }
        }
        found
    }

    fn lines(&self, network: Network) -> Vec<[String; 5]> {
        let line = |what: &str, ms: f64| {
            let backbone = format!("its backbone {:.1}", self.backbone_ms);
            [name(&network), what.to_owned(), format!("{ms:.1}"), backbone, ratio(ms, self.backbone_ms)]
        };
        let largest = self.kernels_ms.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some((kernel, ms)) = largest else { return Vec::new() };
        let all = self.kernels_ms.values().sum();
        vec![line("the motion module", all), line(&format!("the motion module's {kernel}"), *ms)]
    }
}

impl Times {
    fn add(&mut self, dispatch: &Dispatch, ours: bool) {
        if ours {
            self.count += 1;
            self.ours_ms += dispatch.ms;
        } else {
            self.peer_ms += dispatch.ms;
        }
    }

    fn line(&self, network: Network, what: &str) -> [String; 5] {
        let [ours, peer] = [self.ours_ms, self.peer_ms].map(|ms| format!("{ms:.1}"));
        [name(&network), what.to_owned(), ours, peer, ratio(self.ours_ms, self.peer_ms)]
    }
}

fn ratio(ours_ms: f64, other_ms: f64) -> String {
    if other_ms > 0.0 { format!("{:.2}", ours_ms / other_ms) } else { "–".to_owned() }
}

/// The networks' layers as a table; empty where WebGPU took no part.
pub(super) fn table(all: &[Layers]) -> String {
    let Some(first) = all.first() else { return String::new() };
    let peer = format!("{} ms", first.peer.title());
    peers::table(&["network", "what", "ours ms", &peer, "ratio"], all.iter().flat_map(Layers::lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatch(kernel: &str, shape: &str, ms: f64) -> Dispatch {
        Dispatch { kernel: kernel.to_owned(), shape: shape.to_owned(), ms }
    }

    #[test]
    fn a_layer_meets_the_same_layer_however_it_was_done() {
        let ours = [
            dispatch("conv2d", "3x3/1 64 to 64 at 8x56x56, direct", 1.0),
            dispatch("conv2d", "3x3/1 64 to 64 at 8x56x56, tiled", 2.0),
            dispatch("conv2d", "3x3/2 64 to 128 at 8x56x56, tiled", 5.0),
            dispatch("depthwise", "3x3/1 64 to 64 at 8x56x56", 4.0),
            dispatch("max_pool", "[8, 56, 56, 64]", 0.5),
        ];
        let peer = [
            dispatch("conv2d", "3x3/1 64 to 64 at 8x56x56", 6.0),
            dispatch("depthwise", "3x3/1 64 to 64 at 8x56x56", 8.0),
            dispatch("Slice", "inputs[0] = {1,8,24,56,56} outputs[0] = {1,8,18,56,56} ", 1.0),
        ];
        let mut found = Layers::new(Network::TsmResNet18, Engine::OnnxRuntimeWeb, &ours, &peer);
        let module = [
            dispatch("match_frames", "7x28x28x32, patch 15", 2.0),
            dispatch("depthwise", ours[3].shape.as_str(), 0.5),
        ];
        found.module = Module::beyond(&ours, &[&ours[..], &module].concat());
        let lines: Vec<String> = found.lines().iter().map(|line| line[1..].join("; ")).collect();
        assert_eq!(
            lines,
            [
                "3x3 convolutions; 8.0; 6.0; 1.33",
                "depthwise 3x3 convolutions; 4.0; 8.0; 0.50",
                "the rest; 0.5; 1.0; 0.50",
                "all; 12.5; 15.0; 0.83",
                "1 x 3x3/2 64 to 128 at 8x56x56; 5.0; 0.0; –",
                "1 x depthwise 3x3/1 64 to 64 at 8x56x56; 4.0; 8.0; 0.50",
                "2 x 3x3/1 64 to 64 at 8x56x56; 3.0; 6.0; 0.50",
                "the motion module; 2.5; its backbone 12.5; 0.20",
                "the motion module's match_frames; 2.0; its backbone 12.5; 0.16",
            ]
        );
    }
}
