//! `motionlens evaluate`. In: a model and a labelled data set. Out: how often it is right, over all and by class.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use motion_train::data::Data;
use motion_train::metrics::Evaluation;

use crate::model::read_config;
use crate::output;

/// How often a model is right on a labelled data set, over all and by class
///
/// With --json one line: {"top1", "top5", "clips", "per_class"}, and on data of `motionlens synth` "epe_cells", the
/// mean distance from the true flow in cells of the first motion stage.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  motionlens evaluate --model model --data test-set --json")]
pub(crate) struct Evaluate {
    /// Folder with config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Labelled data set, such as `motionlens synth` writes
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub(crate) fn run(&self) -> Result<()> {
        let config = read_config(&self.model)?;
        let data = Data::folder(self.data.clone(), config.frames)?;
        let evaluation = motion_train::evaluate(&self.model, &data)?;
        if self.json { output::json(&evaluation) } else { tell(&evaluation) }
    }
}

/// Writes the figures for people.
pub(super) fn tell(evaluation: &Evaluation) -> Result<()> {
    let Evaluation { top1, top5, clips, per_class, .. } = evaluation;
    output::line(&format!("{clips} clips: top-1 {:.1} %, top-5 {:.1} %", 100.0 * top1, 100.0 * top5))?;
    for (label, share) in per_class {
        output::line(&format!("  {:5.1} %  {label}", 100.0 * share))?;
    }
    if let Some(cells) = evaluation.epe_cells {
        output::line(&format!("mean distance from the true flow: {cells:.3} cells"))?;
    }
    Ok(())
}
