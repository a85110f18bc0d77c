//! The same networks here and in their peers, in one run on this machine. In: what to compare. Out: a table, and
//! `target/peers/bench-peers.json` and `.svg`.
//!
//! Every contestant is a process (in the browser: a worker) that stays loaded and answers a line with one run, so that
//! they can take turns: what slows the machine down for a while slows all of them down. None is timed before its
//! outputs have agreed with ours.

mod contestant;
mod layers;
mod report;
mod setup;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use contestant::Contestant;
use layers::Layers;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Largest difference of two contestants' outputs, as a share of the largest output.
const TOLERANCE: f64 = 1e-3;
/// Runs before the clock counts: browsers compile what is hot anew, and allocators learn what is needed.
const WARM_UP: usize = 3;
/// Most rounds on a graphics adapter that is a program, after one run each: a run takes it up to a minute.
const PATIENCE: u16 = 3;
/// Of those, how many are compared: of training steps the second sees what the first has learnt.
const COMPARED: usize = 2;
/// Before each run: thread pools go on spinning for a while after their work, and would take a core from the next.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds, in each of which every contestant runs once; on WebGPU at most 3 where there is no graphics card.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// One part instead of all.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Some networks instead of all.
    #[arg(long, value_enum, value_delimiter = ',')]
    models: Vec<Network>,
    /// Write the table's rows as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Copy table and plot to docs/bench-peers.md and docs/bench-peers.svg.
    #[arg(long, conflicts_with_all = ["only", "models"])]
    docs: bool,
}

/// Where the networks run, and what they do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Inference in Chromium, on the processor.
    Wasm,
    /// Inference in Chromium, on a graphics card or on SwiftShader, a program in its place.
    #[value(name = "webgpu")]
    WebGpu,
    /// Inference in programs of this machine.
    Native,
    /// Training steps in programs of this machine.
    Training,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
enum Network {
    #[value(name = "tsm_resnet18")]
    #[serde(rename = "tsm_resnet18")]
    TsmResNet18,
    #[value(name = "tsm_mobilenet_v2")]
    #[serde(rename = "tsm_mobilenet_v2")]
    TsmMobileNetV2,
    #[value(name = "tsm_resnet50")]
    #[serde(rename = "tsm_resnet50")]
    TsmResNet50,
}

/// What runs a network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    MotionLens,
    /// MotionLens again, with a motion module in the network.
    MsNet,
    OnnxRuntime,
    OnnxRuntimeWeb,
    PyTorch,
}

impl Part {
    fn networks(self) -> &'static [Network] {
        match self {
            Self::Wasm | Self::WebGpu | Self::Native => Network::value_variants(),
            Self::Training => &[Network::TsmResNet18, Network::TsmMobileNetV2],
        }
    }

    /// Who takes part, ours first.
    fn engines(self) -> &'static [Engine] {
        match self {
            Self::Wasm | Self::WebGpu => &[Engine::MotionLens, Engine::MsNet, Engine::OnnxRuntimeWeb],
            Self::Native => &[Engine::MotionLens, Engine::MsNet, Engine::OnnxRuntime, Engine::PyTorch],
            Self::Training => &[Engine::MotionLens, Engine::PyTorch],
        }
    }

    fn threads(self) -> &'static [usize] {
        match self {
            Self::Wasm | Self::Native => &[1, 2],
            Self::WebGpu => &[1],
            Self::Training => &[2],
        }
    }

    fn is_in_browser(self) -> bool {
        matches!(self, Self::Wasm | Self::WebGpu)
    }

    /// Whether one run may, so that nobody gets it without asking.
    fn takes_minutes(self, network: Network, on_card: bool) -> bool {
        self == Self::WebGpu && network == Network::TsmResNet50 && !on_card
    }

    /// Runs before the clock counts, and rounds.
    fn pace(self, rounds: u16, on_card: bool) -> [usize; 2] {
        match self {
            Self::WebGpu if !on_card => [1, rounds.min(PATIENCE).into()],
            _ => [WARM_UP, rounds.into()],
        }
    }

    /// Our time as a share of the peer's that we want to stay under; where the peer is MotionLens, the same network
    /// without its motion module.
    fn target(self, network: Network, peer: Engine, threads: usize, on_card: bool) -> Option<f64> {
        use Network::{TsmMobileNetV2, TsmResNet18};
        match (self, peer, threads, network) {
            (Self::WebGpu, Engine::MotionLens, ..) => Some(1.05),
            (Self::WebGpu, _, _, TsmResNet18 | TsmMobileNetV2) if !on_card => Some(0.35),
            (_, Engine::MotionLens, ..) => Some(1.08),
            (Self::Wasm, Engine::OnnxRuntimeWeb, _, TsmResNet18) => Some(0.75),
            (Self::Wasm, Engine::OnnxRuntimeWeb, ..) => Some(0.8),
            (Self::Native, Engine::OnnxRuntime, 2, _) => Some(1.0),
            (Self::Native, Engine::PyTorch, 2, TsmMobileNetV2) => Some(0.3),
            (Self::Native, Engine::PyTorch, 2, _) => Some(0.7),
            (Self::Training, Engine::PyTorch, _, TsmResNet18) => Some(1.2),
            (Self::Training, Engine::PyTorch, _, TsmMobileNetV2) => Some(1.0),
            _ => None,
        }
    }
}

/// Compare, print the table and write the files.
pub(crate) fn bench_peers(options: &Options) -> Result<()> {
    let parts: Vec<Part> = options.only.map_or_else(|| Part::value_variants().to_vec(), |part| vec![part]);
    let chosen = |network: &&Network| options.models.is_empty() || options.models.contains(network);
    let setup = setup::set_up(&parts, Network::value_variants().iter().filter(chosen))?;
    let on_card = setup.on_card();
    let (mut rows, mut all_layers) = (Vec::new(), Vec::new());
    for part in parts {
        for &network in part.networks().iter().filter(chosen) {
            let doing = format!("{} of {}", name(&part), name(&network));
            if part.takes_minutes(network, on_card) && options.models.is_empty() {
                println!("skipped: {doing}: without a graphics card a run takes minutes; --models runs it");
                continue;
            }
            eprintln!("{doing}");
            let (measured, layers) = measure(part, network, options.rounds, &setup).context(doing)?;
            rows.extend(report::rows(part, network, &measured, on_card));
            all_layers.extend(layers);
        }
    }
    report::report(&rows, &all_layers, &setup, options)
}

/// The times of one contestant, round by round, in milliseconds.
struct Measured {
    engine: Engine,
    threads: usize,
    ms: Vec<f64>,
}

/// Let all contestants on one network agree, then take turns; on WebGPU, ask where their time goes as well.
fn measure(
    part: Part,
    network: Network,
    rounds: u16,
    setup: &setup::Setup,
) -> Result<(Vec<Measured>, Option<Layers>)> {
    let [warm_up, rounds] = part.pace(rounds, setup.on_card());
    let mut contestants = contestant::start(part, network, setup)?;
    let mut outputs = vec![Vec::new(); contestants.len()];
    for _ in 0..warm_up {
        for (contestant, outputs) in contestants.iter_mut().zip(&mut outputs) {
            outputs.push(turn(contestant)?.output);
        }
    }
    let mut largest: f64 = 0.0;
    for (theirs, of_theirs) in contestants.iter().zip(&outputs) {
        // Another network, so another output.
        if theirs.engine == Engine::MsNet {
            continue;
        }
        for (ours, theirs_now) in outputs[0].iter().zip(of_theirs).take(COMPARED) {
            let difference = difference(ours, theirs_now);
            if difference.is_nan() || difference > TOLERANCE {
                bail!(
                    "{} and {theirs} disagree: their outputs differ by {difference:.1e} of the largest one, expected \
                     at most {TOLERANCE:.0e}; times of different computations say nothing, so find out which is wrong",
                    contestants[0]
                );
            }
            largest = largest.max(difference);
        }
    }
    eprintln!("  outputs agree to {largest:.0e} of the largest one");
    let mut measured: Vec<Measured> = contestants
        .iter()
        .map(|contestant| Measured { engine: contestant.engine, threads: contestant.threads, ms: Vec::new() })
        .collect();
    for round in 0..rounds {
        // Whom one runs after changes, too.
        for place in 0..contestants.len() {
            let index = (place + round) % contestants.len();
            measured[index].ms.push(turn(&mut contestants[index])?.ms);
        }
    }
    let layers = (part == Part::WebGpu).then(|| Layers::measure(network, &mut contestants)).transpose()?;
    Ok((measured, layers))
}

fn turn(contestant: &mut Contestant) -> Result<contestant::Answer> {
    std::thread::sleep(PAUSE);
    contestant.run()
}

/// Largest difference of two outputs as a share of our largest; NaN where all are zero, infinite where they cannot be
/// compared. NaN among the outputs does not get here: it is no JSON.
fn difference(ours: &[f64], theirs: &[f64]) -> f64 {
    if ours.is_empty() || ours.len() != theirs.len() {
        return f64::INFINITY;
    }
    let largest = ours.iter().fold(0.0, |most: f64, a| most.max(a.abs()));
    ours.iter().zip(theirs).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / largest
}

/// What a value is called on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Part, difference};

    #[test]
    fn one_spoiled_output_is_seen() {
        assert_eq!(difference(&[1.0, -4.0, 2.0], &[1.0, -4.0, 2.0]), 0.0);
        assert_eq!(difference(&[1.0, -4.0, 2.0], &[1.0, -4.0, 1.0]), 0.25);
        assert_eq!(difference(&[1.0, 2.0], &[1.0]), f64::INFINITY);
        assert!(difference(&[0.0], &[0.0]).is_nan());
    }

    #[test]
    fn a_program_in_a_cards_place_runs_less_often() {
        assert_eq!(Part::WebGpu.pace(15, false), [1, 3]);
        assert_eq!(Part::WebGpu.pace(2, false), [1, 2]);
        assert_eq!(Part::WebGpu.pace(15, true), Part::Wasm.pace(15, false));
    }
}
