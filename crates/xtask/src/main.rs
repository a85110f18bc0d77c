//! `cargo xtask …`: builds the page, serves it, makes the static site, runs every test and compares with peers.
//! In: the repository. Out: `web/pkg/`, a running server, a folder, or a verdict.
#![allow(clippy::print_stdout, reason = "a command line program talks to its user")]

mod ablations;
mod bench_flow;
mod bench_gpu;
mod bench_peers;
mod build;
mod npm;
mod peers;
mod run;
mod serve;
mod site;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds and serves the MotionLens page, and runs its tests.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the wasm module of the page into web/pkg/.
    Build {
        /// Compile faster: a larger and slower module.
        #[arg(long)]
        dev: bool,
        /// Instead of the page's module, Rust's tests that the browser runs, into tests/browser/modules/.
        #[arg(long, conflicts_with = "dev")]
        tests: bool,
    },
    /// Build the page and serve it on this machine.
    #[command(after_help = "Example: cargo xtask serve --port 8080")]
    Serve {
        /// Port of 127.0.0.1; 0 takes a free one.
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Serve what is already built.
        #[arg(long)]
        no_build: bool,
    },
    /// Build the page and write it as a static site with relative URLs only.
    #[command(after_help = "Example: cargo xtask site --out site")]
    Site {
        /// Folder to write to; new or empty.
        #[arg(long)]
        out: PathBuf,
        /// Copy what is already built.
        #[arg(long)]
        no_build: bool,
    },
    /// Put the engine together as an npm package: wasm, types, an example.
    #[command(after_help = "Example: cargo xtask npm --out motion-web && npm pack ./motion-web")]
    Npm {
        /// Folder to write to; new or empty.
        #[arg(long)]
        out: PathBuf,
        /// Take what is already built.
        #[arg(long)]
        no_build: bool,
    },
    /// Pass every test: format, lints, documentation, Rust tests, browser tests.
    #[command(after_help = "Example: cargo xtask test\n         cargo xtask test page browser")]
    Test {
        /// Steps to run; all of them when none is named.
        #[arg(value_enum)]
        steps: Vec<test::Step>,
    },
    /// Time the same networks here, in onnxruntime (native and web) and in PyTorch, in one run on this machine.
    #[command(after_help = "Example: cargo xtask bench-peers --only wasm --models tsm_resnet18 --rounds 5")]
    BenchPeers(bench_peers::Options),
    /// Measure the maps beside classical optical flow, on real pairs and rendered clips with true flow.
    #[command(
        after_help = "Example: cargo xtask bench-flow --model web/models/default --model out/model --clips 20"
    )]
    BenchFlow(bench_flow::Options),
    /// Time the networks on this machine's graphics card, and make a small folder that does it on any other.
    #[command(after_help = "Example: cargo xtask bench-gpu --no-run")]
    BenchGpu(bench_gpu::Options),
    /// Train the paper's ablations on the synthetic set, and write docs/ablations.md.
    #[command(after_help = "Example: cargo xtask ablations estimators --minutes 60")]
    Ablations(ablations::Options),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<bool> {
    match command {
        Command::Build { tests: true, .. } => build::tests()?,
        Command::Build { dev, .. } => build::build(if dev { build::DEV } else { build::WEB })?,
        Command::Serve { port, no_build } => serve::serve(port, no_build)?,
        Command::Site { out, no_build } => site::site(&out, no_build)?,
        Command::Npm { out, no_build } => npm::npm(&out, no_build)?,
        Command::Test { steps } => return test::test(&steps),
        Command::BenchPeers(options) => bench_peers::bench_peers(&options)?,
        Command::BenchFlow(options) => bench_flow::bench_flow(&options)?,
        Command::BenchGpu(options) => bench_gpu::bench_gpu(&options)?,
        Command::Ablations(options) => ablations::ablations(&options)?,
    }
    Ok(true)
}
