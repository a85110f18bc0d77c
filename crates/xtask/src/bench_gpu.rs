//! The networks on graphics cards. In: the repository. Out: a folder with the program and a script, to be taken to any
//! machine of this system with a graphics card; and the figures of this machine where it has one.

use crate::run::{cargo, root, succeed};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is taken to another machine stays smaller than so many bytes.
const LARGEST: u64 = 64 << 20;

/// Each backbone, and the stage after which its motion module sits.
const NETWORKS: [(&str, &str, Option<usize>); 3] = [
    ("tsm_resnet18", "res3", Some(64)),
    ("tsm_resnet50", "res3", Some(64)),
    ("tsm_mobilenet_v2", "stage3", None),
];

/// Options of `cargo xtask bench-gpu`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Runs of each network after the first one.
    #[arg(long, default_value_t = 20)]
    runs: u16,
    /// Only make the folder.
    #[arg(long)]
    no_run: bool,
}

/// Make the folder, and run it here.
pub(crate) fn bench_gpu(options: &Options) -> Result<()> {
    let folder = root()?.join("target/bench-gpu");
    let bytes = assemble(&folder, options.runs)?;
    println!(
        "{}: {:.1} MB; on another machine: `sh run.sh > results.jsonl`",
        folder.display(),
        bytes as f64 / 1e6
    );
    if options.no_run {
        return Ok(());
    }
    let mut results = Vec::new();
    for (name, _, _) in NETWORKS {
        for network in [name.to_owned(), format!("{name}_msnet")] {
            let result = measure(&folder, &network, options.runs)?;
            println!("{}", row(&network, &result));
            results.push(result);
        }
        if let [.., plain, msnet] = results.as_slice() {
            println!(
                "{name}: with its motion module {:.3} times as long, {:.2} ms for another estimator",
                median(msnet) / median(plain),
                number(&msnet["switch_ms"])
            );
        }
    }
    let path = folder.join("results.jsonl");
    let lines: Vec<String> = results.iter().map(Value::to_string).collect();
    std::fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// The program, a configuration for each network (their weights are made up), and a script. Gives the bytes of all.
fn assemble(folder: &Path, runs: u16) -> Result<u64> {
    // All programs, as everything else here builds them: one alone would compile its dependencies anew.
    succeed(&mut cargo(&["build", "--release", "--workspace", "--bins"])?)?;
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let program = format!("motionlens{}", std::env::consts::EXE_SUFFIX);
    std::fs::copy(root()?.join("target/release").join(&program), folder.join(&program))?;
    let mut script =
        String::from("#!/bin/sh\n# One line of JSON for each network.\ncd \"$(dirname \"$0\")\"\n");
    for (name, stage, reduce) in NETWORKS {
        let motion = json!({ "stages": [stage], "reduce_channels": reduce });
        for (network, motion) in [(name.to_owned(), None), (format!("{name}_msnet"), Some(motion))] {
            let place = folder.join(&network);
            std::fs::create_dir_all(&place)?;
            std::fs::write(place.join("config.json"), config(name, motion).to_string())?;
            script += &format!("./{program} {}\n", arguments(&network, runs).join(" "));
        }
    }
    std::fs::write(folder.join("run.sh"), script)?;
    let bytes = size(folder)?;
    ensure!(bytes < LARGEST, "{}: {bytes} bytes, expected fewer than {LARGEST}", folder.display());
    Ok(bytes)
}

/// A network of the paper's size, for Something-Something's 174 classes.
fn config(backbone: &str, motion: Option<Value>) -> Value {
    let labels: serde_json::Map<String, Value> =
        (0..174).map(|class| (class.to_string(), format!("class {class}").into())).collect();
    let mut config = json!({
        "architecture": "msnet", "backbone": backbone, "frames": 8, "input_size": 224, "resize": [240, 320],
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "sampling": "segment", "id2label": labels,
    });
    if let Some(motion) = motion {
        config["motion"] = motion;
    }
    config
}

fn arguments(network: &str, runs: u16) -> Vec<String> {
    let runs = runs.to_string();
    let all =
        ["bench", "--made-up-weights", "--backend", "gpu", "--json", "--runs", &runs, "--model", network];
    all.map(str::to_owned).to_vec()
}

fn measure(folder: &Path, network: &str, runs: u16) -> Result<Value> {
    let mut program = Command::new(folder.join(format!("motionlens{}", std::env::consts::EXE_SUFFIX)));
    program.args(arguments(network, runs)).current_dir(folder).stderr(Stdio::inherit());
    let output = program.output().context("motionlens did not start")?;
    ensure!(output.status.success(), "{network}: motionlens ended with {}", output.status);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{network}: what motionlens says is no JSON"))
}

fn median(result: &Value) -> f64 {
    number(&result["median_ms"])
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn row(network: &str, result: &Value) -> String {
    let card = &result["card"];
    format!(
        "{network:24} {:9.2} ms, kernels {:9.2} ms, {:3.0} % of their floor's speed, {:.1} MB weights, activations \
         {:.2} times the largest pair ({}: {:.0} GFLOP/s, {:.0} GB/s)",
        median(result),
        number(&card["kernels_ms"]),
        100.0 * number(&card["floor_share"]),
        number(&card["weights_mb"]),
        number(&card["activations_mb"]) / number(&card["largest_pair_mb"]),
        card["adapter"].as_str().unwrap_or_default(),
        number(&card["peak_gflops"]),
        number(&card["bandwidth_gbs"])
    )
}

fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        bytes += if path.is_dir() { size(&path)? } else { path.metadata()?.len() };
    }
    Ok(bytes)
}
