//! `motionlens`: sees where a video moves and what is happening in it.
//!
//! In: a subcommand and its options. Out: results on standard output, progress and one line per error on standard
//! error, exit code 0 only on success.

mod commands;
mod model;
mod output;
mod pictures;
mod progress;
mod source;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{bench, classify, convert, data, evaluate, forward, maps, synth, train};

/// Where a video moves and what is happening in it: MSNet (MotionSqueeze, ECCV 2020)
#[derive(Debug, Parser)]
#[command(name = "motionlens", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Forward(forward::Forward),
    Classify(classify::Classify),
    Maps(maps::Maps),
    Convert(convert::Convert),
    Synth(synth::Synth),
    Data(data::Data),
    Train(train::Train),
    Evaluate(evaluate::Evaluate),
    Bench(bench::Bench),
}

/// Keeps freed memory for the next activation: glibc gives every large block back to the system, and the system clears
/// every page of the next one. That was a sixth of a training step.
fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: settings of the allocator, made before there is another thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

fn main() -> ExitCode {
    keep_memory();
    std::panic::set_hook(Box::new(|panic| {
        // A bug of ours: still one line, and something to report.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("no reason given");
        output::complain(&format!(
            "internal error at {place}: {said}; this is a bug in motionlens, please report it"
        ));
    }));
    let cli = Cli::parse();
    // A level that the machine has not is said here; deeper down it would be the end of the program.
    let level = motion_kernels::Level::chosen().map_err(anyhow::Error::msg);
    let result = level.and_then(|_| match cli.command {
        Command::Forward(command) => command.run(),
        Command::Classify(command) => command.run(),
        Command::Maps(command) => command.run(),
        Command::Convert(command) => command.run(),
        Command::Synth(command) => command.run(),
        Command::Data(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Bench(command) => command.run(),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // As if the system had stopped it (SIGPIPE): nothing to say, and nobody to say it to.
        Err(error) if error.is::<output::Closed>() => ExitCode::from(141),
        Err(error) if error.is::<output::Told>() => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&output::chain(&error));
            ExitCode::FAILURE
        }
    }
}
