//! `motionlens train`. In: a recipe (TOML). Out: a model folder with its card.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

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
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(crate) fn run(&self) -> Result<()> {
        let report = motion_train::train(&self.config, self.resume)?;
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
