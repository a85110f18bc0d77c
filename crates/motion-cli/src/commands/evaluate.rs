//! `motionlens evaluate`. In: a model and a labelled data set. Out: how often it is right, over all and by class.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use motion_train::data::Data;
use motion_train::metrics::Evaluation;
use motion_train::recipe::DataSpec;
use motion_train::synth::Split;

use crate::model::read_config;
use crate::output;

/// How often a model is right on a labelled data set, over all and by class
///
/// With --json one line: {"top1", "top5", "clips", "per_class"}, and on data of `motionlens synth` "epe_cells", the
/// mean distance from the true flow in cells of the first motion stage.
///
/// The set is one of `motionlens synth`, or videos: a folder of class folders, FOLDER/CLASS/VIDEO, or with a list any form
/// that `motionlens data check` knows. A video that cannot be read is named, counted ("skipped") and left out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  motionlens evaluate --model model --data test-set --json\n  \
                  motionlens evaluate --model model --data 20bn-something-something-v2 --list validation.json")]
pub(crate) struct Evaluate {
    /// Folder with config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Labelled data set, such as `motionlens synth` writes
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Which of its videos, and their classes; of HMDB51's folder of splits, the test videos
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Names of the classes in the order of their numbers [default: the model's]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub(crate) fn run(&self) -> Result<()> {
        let config = read_config(&self.model)?;
        let spec = DataSpec {
            folder: Some(self.data.clone()),
            list: self.list.clone(),
            labels: self.labels.clone(),
            split: Split::Test,
            ..DataSpec::default()
        };
        let labels: Vec<String> = config.id2label.into_values().collect();
        let data = Data::open(&spec, config.frames, Some(&labels))?;
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
    if let Some(count) = evaluation.skipped.filter(|count| *count > 0) {
        output::line(&format!("{count} videos could not be read and were skipped"))?;
    }
    if let Some(cells) = evaluation.epe_cells {
        output::line(&format!("mean distance from the true flow: {cells:.3} cells"))?;
    }
    Ok(())
}
