//! What the comparison found. In: every run's time. Out: a table, a plot, JSON.

use super::layers::{self, Layers};
use super::setup::{Machine, Setup};
use super::{Engine, Measured, Network, Options, Part, name};
use crate::peers::table;
use crate::run::{root, succeed};
use anyhow::{Context, Result};
use serde::{Serialize, Serializer};
use std::path::Path;
use std::process::Command;

/// One network, here and in one peer.
#[derive(Serialize)]
pub(super) struct Row {
    what: Part,
    network: Network,
    threads: usize,
    ours: Engine,
    /// Medians.
    ours_ms: f64,
    peer: Engine,
    peer_ms: f64,
    /// Of the medians; below 1 we are faster.
    ratio: f64,
    /// Smallest and largest ratio of one round.
    ratio_range: [f64; 2],
    /// What `ratio` is to stay under.
    target: Option<f64>,
    ours_samples_ms: Vec<f64>,
    peer_samples_ms: Vec<f64>,
}

/// Ours against every peer with as many threads; MSNet against its own backbone.
pub(super) fn rows(part: Part, network: Network, measured: &[Measured], on_card: bool) -> Vec<Row> {
    let pairs = measured.iter().flat_map(|ours| measured.iter().map(move |peer| (ours, peer)));
    let meet = |&(ours, peer): &(&Measured, &Measured)| {
        let comparable = match ours.engine {
            Engine::MotionLens => !peer.engine.is_ours(),
            Engine::MsNet => peer.engine == Engine::MotionLens,
            _ => false,
        };
        comparable && ours.threads == peer.threads
    };
    pairs.filter(meet).map(|(ours, peer)| Row::new(part, network, ours, peer, on_card)).collect()
}

impl Row {
    fn new(what: Part, network: Network, ours: &Measured, peer: &Measured, on_card: bool) -> Self {
        let (ours_ms, peer_ms) = (median(&ours.ms), median(&peer.ms));
        let rounds = ours.ms.iter().zip(&peer.ms).map(|(ours, peer)| ours / peer);
        let widen = |[least, most]: [f64; 2], ratio: f64| [least.min(ratio), most.max(ratio)];
        Self {
            what,
            network,
            threads: ours.threads,
            ours: ours.engine,
            ours_ms,
            peer: peer.engine,
            peer_ms,
            ratio: ours_ms / peer_ms,
            ratio_range: rounds.fold([f64::INFINITY, 0.0], widen),
            target: what.target(network, peer.engine, ours.threads, on_card),
            ours_samples_ms: ours.ms.clone(),
            peer_samples_ms: peer.ms.clone(),
        }
    }

    fn cells(&self) -> [String; 9] {
        let target = self.target.map_or_else(|| "–".to_owned(), |target| format!("≤ {target:.2}"));
        let verdict = match self.target {
            None => "–",
            Some(target) if self.ratio <= target => "met",
            Some(_) => "not met",
        };
        let module = if self.ours == Engine::MsNet { " + motion module" } else { "" };
        let peer = if self.ours == Engine::MsNet { "without it" } else { self.peer.title() };
        let [least, most] = self.ratio_range;
        [
            name(&self.what),
            format!("{}{module}", name(&self.network)),
            self.threads.to_string(),
            format!("{:.1}", self.ours_ms),
            format!("{peer} {:.1}", self.peer_ms),
            format!("{:.2}", self.ratio),
            format!("{least:.2}–{most:.2}"),
            target,
            verdict.to_owned(),
        ]
    }
}

impl Engine {
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::MotionLens | Self::MsNet)
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::MotionLens => "motionlens",
            Self::MsNet => "motionlens with a motion module",
            Self::OnnxRuntime => "onnxruntime",
            Self::OnnxRuntimeWeb => "onnxruntime-web",
            Self::PyTorch => "PyTorch",
        }
    }
}

impl Serialize for Engine {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.title())
    }
}

/// Print the table and write every file.
pub(super) fn report(rows: &[Row], layers: &[Layers], setup: &Setup, options: &Options) -> Result<()> {
    let head = ["what", "network", "threads", "ours ms", "peer ms", "ratio", "range", "target", ""];
    let table = table(&head, rows.iter().map(Row::cells));
    let layers_table = layers::table(layers);
    println!("{}\n{table}\n{layers_table}", setup.machine.text());
    let results = &setup.results;
    let (json, plot) = (results.join("bench-peers.json"), results.join("bench-peers.svg"));
    let all = serde_json::json!({ "machine": setup.machine, "rounds": options.rounds, "rows": rows, "layers": layers });
    write(&json, &serde_json::to_string_pretty(&all)?)?;
    succeed(Command::new(&setup.python).arg(setup.scripts.join("plot.py")).arg(&json).arg(&plot))?;
    println!("written to {} and {}", json.display(), plot.display());
    if let Some(file) = &options.json {
        write(file, &serde_json::to_string_pretty(rows)?)?;
    }
    if options.docs {
        let docs = root()?.join("docs");
        std::fs::copy(&plot, docs.join("bench-peers.svg")).context("copying the plot to docs/")?;
        let [warm_up, rounds] = Part::Wasm.pace(options.rounds, true);
        let [webgpu_warm_up, webgpu_rounds] = Part::WebGpu.pace(options.rounds, setup.on_card());
        let text = format!(
            "# Beside its peers\n\n`cargo xtask bench-peers --docs` wrote this page: the same networks with the same \
             weights, in turns, one run of each in every one of {rounds} rounds after {warm_up} runs that do not count \
             (on WebGPU {webgpu_rounds} after {webgpu_warm_up}; without a graphics card a run takes up to a minute \
             there, and ResNet-50 is left out, which takes minutes), after their outputs had agreed. Inference is of one \
             clip of 8 frames at 224 x 224; a training step is of 4 clips of 8 frames at 112 x 112 (forward, cross \
             entropy, backward, gradient descent). Times are medians in milliseconds, a ratio is our time over the \
             other’s, and the range is that of the rounds.\n\n{}\n![Our time as a share of each peer’s]\
             (bench-peers.svg)\n\n{table}\n## WebGPU, layer by layer\n\nOne run of each after a warm one, every \
             dispatch by the adapter’s own clock: ours by timestamp queries, onnxruntime-web’s by its profiler. A layer \
             is all dispatches of it, and the number before it how many of its kind there are. Ours adds bias and \
             residual, cuts off and shifts in time where it convolves; onnxruntime-web adds residuals and shifts in \
             time apart, which is in the rest. A motion module is beside its own backbone, in the same \
             run.\n\n{layers_table}",
            setup.machine.text()
        );
        write(&docs.join("bench-peers.md"), &text)?;
    }
    Ok(())
}

impl Machine {
    fn text(&self) -> String {
        format!("{}, {} cores, {}. {}.\n", self.cpu, self.cores, self.date, self.versions.join(", "))
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(engine: Engine, threads: usize, ms: &[f64]) -> Measured {
        Measured { engine, threads, ms: ms.to_vec() }
    }

    #[test]
    fn like_is_compared_with_like() {
        let measured = [
            measured(Engine::MotionLens, 1, &[3.0, 1.0, 2.0]),
            measured(Engine::MotionLens, 2, &[1.0; 3]),
            measured(Engine::MsNet, 2, &[1.2; 3]),
            measured(Engine::PyTorch, 1, &[2.0, 4.0, 4.0]),
        ];
        let rows = rows(Part::Native, Network::TsmResNet18, &measured, false);
        let [torch, msnet] = rows.as_slice() else { panic!("{} rows", rows.len()) };
        assert_eq!((torch.ratio, torch.ratio_range), (0.5, [0.25, 1.5]));
        assert!(torch.target.is_none() && msnet.cells()[8] == "not met", "{:?}", msnet.cells());
    }

    #[test]
    fn a_graphics_card_has_a_target_of_its_own() {
        let measured = [
            measured(Engine::MotionLens, 1, &[1.0; 3]),
            measured(Engine::MsNet, 1, &[1.06; 3]),
            measured(Engine::OnnxRuntimeWeb, 1, &[2.0; 3]),
        ];
        let targets = |on_card| {
            let rows = rows(Part::WebGpu, Network::TsmResNet18, &measured, on_card);
            rows.into_iter().map(|row| row.target).collect::<Vec<_>>()
        };
        assert_eq!(targets(false), [Some(0.35), Some(1.05)]);
        assert_eq!(targets(true), [None, Some(1.05)]);
    }
}
