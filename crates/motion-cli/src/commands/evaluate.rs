//! `motionlens evaluate`. In: models, and labelled videos or pairs with true flow. Out: how often they are right, and how
//! far their maps are from the truth.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{ArgGroup, Args};
use motion_train::data::{Data, Frames};
use motion_train::flow_figures::{Errors, FlowFigures, STILL_CELLS, StageFlow};
use motion_train::metrics::Evaluation;
use motion_train::pairs::{self, PairEvaluation};
use motion_train::protocol::{Crops, Protocol};
use motion_train::recipe::DataSpec;
use motion_train::synth::Split;

use super::classify::MAX_CLIPS;
use crate::model::read_config;
use crate::output;

/// What `--help` says of it.
const ABOUT: &str = "\
How often models are right on labelled videos, and how far their maps are from the true flow

A model looks at a clip and its centre, or as the published tests do at several clips of a video (--clips) and three \
crops of each (--crops 3): left, right and centre, of the whole height of the resized frame. For clips by segments the \
frames move on by a part of a segment from one clip to the next (two clips are TSM's); dense clips begin evenly spread \
over the video (ten are the Kinetics test's). A video that cannot be read is named, counted (\"skipped\") and left out. A \
video with just as many frames as the model takes is one clip. The scores \
of all views are averaged; so are those of several models (--model twice: for example of 8 and of 16 frames), which \
--softmax makes probabilities first.

Where the true flow is known, which `motionlens synth` writes and --pairs reads, every motion stage's maps are compared \
with it, on their own grid and in its cells, over cells of which it is known on at least 80 % of the pixels and nearly \
one: end-point error, and the angle between (u, v, 1) and its truth (Barron et al. 1994), each beside that of a map of \
zeros, by true speed; over those that leave the map, which no search finds, and over those from 1 to 7 cells that \
do not (\"findable\"); and how much is shown where the truth is below 0.05 cells.

With --json one line: {\"top1\", \"top5\", \"clips\", \"per_class\", \"flow\": [{\"model\", \"stage\", \"grid\", \"cells\", \
\"epe_cells\", \"zero_epe_cells\", \"angle_degrees\", \"zero_angle_degrees\", \"by_speed\", \"leaving\", \"findable\", \"still\"}]}, and where there is \
true flow \"epe_cells\" and \"zero_epe_cells\" of the first stage; with --pairs {\"flow\", \"pairs\": [{\"pair\", \"flow\"}]}.";

/// How often models are right on labelled videos, and how far their maps are from the true flow
#[derive(Debug, Args)]
#[command(
    long_about = ABOUT,
    group = ArgGroup::new("on").required(true),
    after_help = "Examples:\n  motionlens evaluate --model model --data test-set --json\n  \
                  motionlens evaluate --model eight --model sixteen --data test-set --clips 10 --crops 3\n  \
                  motionlens evaluate --model model --data 20bn-something-something-v2 --list validation.json\n  \
                  motionlens evaluate --model model --pairs middlebury"
)]
pub(crate) struct Evaluate {
    /// Folder with config.json and model.safetensors; several are averaged
    #[arg(long, value_name = "DIR", required = true)]
    model: Vec<PathBuf>,
    /// Labelled data set: one of `motionlens synth`, a folder of class folders FOLDER/CLASS/VIDEO, or with --list any that
    /// `motionlens data check` knows
    #[arg(long, value_name = "DIR", group = "on")]
    data: Option<PathBuf>,
    /// Which of its videos, and their classes; of HMDB51's folder of splits, the test videos
    #[arg(long, value_name = "FILE", requires = "data")]
    list: Option<PathBuf>,
    /// Names of the classes in the order of their numbers [default: the model's]
    #[arg(long, value_name = "FILE", requires = "data")]
    labels: Option<PathBuf>,
    /// Folder of image pairs with true flow: in each of its folders two pictures and a .flo file; view1.png, view5.png
    /// and disp1.png (Middlebury's stereo of 2006 at half size); or two pictures and an .npz of disparities
    #[arg(long, value_name = "DIR", group = "on", conflicts_with_all = ["clips", "crops", "softmax"])]
    pairs: Option<PathBuf>,
    /// Clips of each video; their scores are averaged
    #[arg(long, value_name = "N", default_value_t = 1)]
    clips: usize,
    /// Views of each clip: 1 (the centre) or 3 (left, right and centre, of the whole height)
    #[arg(long, value_name = "N", default_value_t = 1)]
    crops: usize,
    /// Average probabilities of several models instead of their scores
    #[arg(long)]
    softmax: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub(crate) fn run(&self) -> Result<()> {
        let configs = self.model.iter().map(|folder| read_config(folder)).collect::<Result<Vec<_>>>()?;
        if let Some(folder) = &self.pairs {
            let found = pairs::evaluate(&self.model, folder)?;
            if self.json {
                return output::json(&found);
            }
            for PairEvaluation { pair, flow } in &found.pairs {
                tell_flow(&format!("{pair}: "), flow)?;
            }
            return tell_flow("all pairs: ", &found.flow);
        }
        let protocol = self.protocol()?;
        let frames = configs.iter().map(|config| config.frames).max().unwrap_or_default();
        let labels: Vec<String> =
            configs.first().map(|config| config.id2label.values().cloned().collect()).unwrap_or_default();
        let spec = DataSpec {
            folder: self.data.clone(),
            list: self.list.clone(),
            labels: self.labels.clone(),
            split: Split::Test,
            ..DataSpec::default()
        };
        let data = Data::open(&spec, Frames::AtLeast(frames), Some(&labels))?;
        let evaluation = motion_train::evaluate(&self.model, &data, &protocol)?;
        if self.json { output::json(&evaluation) } else { tell(&evaluation) }
    }

    fn protocol(&self) -> Result<Protocol> {
        let Self { clips, softmax, .. } = *self;
        ensure!((1..=MAX_CLIPS).contains(&clips), "--clips is {clips}, expected 1 to {MAX_CLIPS}");
        let crops = match self.crops {
            1 => Crops::Centre,
            3 => Crops::Three,
            other => bail!("--crops is {other}, expected 1 (centre) or 3 (left, right and centre)"),
        };
        Ok(Protocol { clips, crops, softmax })
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
    tell_flow("", &evaluation.flow)
}

/// Writes the errors of every motion stage as a table; `of` says of what.
fn tell_flow(of: &str, flow: &[StageFlow]) -> Result<()> {
    for StageFlow { model, stage, grid: [height, width], figures } in flow {
        output::line(&format!("{of}flow of {model}, {stage}, {width} x {height} cells"))?;
        output::line("  speed        cells   error, of zeros (cells)   angle, of zeros (degrees)")?;
        let FlowFigures { all, by_speed, leaving, findable, still } = figures;
        let bins = by_speed.iter().map(|bin| (speed(bin.from_cells, bin.to_cells), bin.errors));
        let others = [("leaving".to_owned(), *leaving), ("findable".to_owned(), *findable)];
        for (name, errors) in std::iter::once(("all".to_owned(), *all)).chain(bins).chain(others) {
            let Errors { cells, epe_cells, zero_epe_cells, angle_degrees, zero_angle_degrees } = errors;
            let number = |value: Option<f64>, digits| value.map_or("-".into(), |v| format!("{v:.digits$}"));
            output::line(&format!(
                "  {name:<9}{cells:>9}   {:>8}  {:>8}         {:>6}  {:>6}",
                number(epe_cells, 3),
                number(zero_epe_cells, 3),
                number(angle_degrees, 1),
                number(zero_angle_degrees, 1)
            ))?;
        }
        if let Some(shown) = still.shown_cells {
            output::line(&format!(
                "  still (below {STILL_CELLS} cells): {} cells, {shown:.3} cells shown in the mean",
                still.cells
            ))?;
        }
    }
    Ok(())
}

fn speed(from: f32, to: f32) -> String {
    if from == 0.0 { format!("< {to}") } else { format!("{from} to {to}") }
}
