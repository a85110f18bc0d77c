//! `motionlens train`. In: a recipe (TOML). Out: a model folder with its card.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use motion_train::On;

use crate::output;

/// Train a model after a recipe; the best epoch's weights become a model folder
///
/// The recipe's `out` also gets the last epoch's model, `log.jsonl`, `events` for TensorBoard, and at the end pictures of
/// the run (curves.svg) and of the test set's confusion (confusion.svg).
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  motionlens train --config recipe.toml\n  motionlens train --config recipe.toml --resume"
)]
pub(crate) struct Train {
    /// Recipe: data, model and schedule
    #[arg(long, value_name = "FILE.toml")]
    config: PathBuf,
    /// Go on where the run was stopped: it ends with the weights that it would have had
    #[arg(long)]
    resume: bool,
    /// What to train on
    #[arg(long, value_enum, default_value_t)]
    device: Device,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Device {
    /// The first NVIDIA card, where this program was built with `--features cuda` and there is one; else the CPU
    #[default]
    Auto,
    /// The CPU
    Cpu,
    /// The first NVIDIA card
    Cuda,
}

impl Train {
    pub(crate) fn run(&self) -> Result<()> {
        let on = match self.device {
            Device::Auto => On::Auto,
            Device::Cpu => On::Cpu,
            Device::Cuda => On::Cuda,
        };
        let report = motion_train::train(&self.config, self.resume, on)?;
        if self.json {
            return output::json(&report);
        }
        if let Some(top1) = report.validate_top1 {
            output::line(&format!("validation: top-1 {:.1} %", 100.0 * top1))?;
        }
        super::evaluate::tell(&report.test)?;
        output::line(&format!("written to {}", report.model.display()))
    }
}
