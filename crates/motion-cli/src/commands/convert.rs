//! `motionlens convert`. In: a published PyTorch checkpoint or a safetensors file. Out: a model folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use motion_net::checkpoint::{self, labels};
use motion_net::{Config, CpuBackend, MsNet};
use serde::Serialize;

use crate::output;
use crate::progress::Progress;

/// A published PyTorch checkpoint (.pth, .pth.tar, zip and legacy layout) or safetensors file into a model folder
///
/// Backbone, motion stages and the like are read off the tensors' names and shapes; what they cannot tell is
/// assumed as published and said so.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  motionlens convert MS_rgb_model_best.pth.tar --labels labels.txt --out model"
)]
pub(crate) struct Convert {
    /// Checkpoint to read
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// Model folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Names of the classes: one a line in the order of the classes, or Something-Something V2's labels.json
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Sort the labels, as the training scripts do with Something-Something V1's label file
    #[arg(long, requires = "labels")]
    sort_labels: bool,
    /// Use this config.json instead of what names and shapes say
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write 16-bit weights
    #[arg(long)]
    f16: bool,
    /// Replace the model that is in the folder
    #[arg(long)]
    overwrite: bool,
    /// Say what was found as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    out: &'a Path,
    epoch: Option<i64>,
    best_prec1: Option<f64>,
    parameters: usize,
    config: &'a Config,
    notes: &'a [String],
}

const FILES: [&str; 2] = ["config.json", "model.safetensors"];

impl Convert {
    pub(crate) fn run(&self) -> Result<()> {
        for file in FILES {
            let path = self.out.join(file);
            ensure!(
                self.overwrite || path.symlink_metadata().is_err(),
                "{} is there already; choose another --out, or pass --overwrite",
                path.display()
            );
        }
        let labels = self.labels.as_deref().map(|path| self.read_labels(path)).transpose()?;
        let config = self.config.as_deref().map(read_config).transpose()?;
        let at = || self.checkpoint.display().to_string();
        let progress = Progress::wait(&format!("converting {}", self.checkpoint.display()));
        let bytes = std::fs::read(&self.checkpoint).with_context(at)?;
        let checkpoint = checkpoint::read(&bytes).with_context(at)?;
        drop(bytes);
        let (epoch, best_prec1) = (checkpoint.epoch, checkpoint.best_prec1);
        let converted = checkpoint::to_msnet(checkpoint, config, labels).with_context(at)?;
        let bytes = converted.weights.to_safetensors(self.f16)?;
        let parameters = converted.weights.count();
        // A folder that does not load would be worth nothing.
        let net =
            MsNet::load(&CpuBackend::new(), converted.config.clone(), converted.weights).with_context(at)?;
        let mut notes = converted.notes;
        if !net.unused_motion_weights().is_empty() {
            let count = net.unused_motion_weights().len();
            notes.push(format!(
                "{count} tensors of motion modules are not used: the configuration leaves their stage out"
            ));
        }
        output::create_folder(&self.out)?;
        let json = converted.config.to_json()?;
        output::write_atomically(&self.out.join(FILES[0]), |file| Ok(writeln!(file, "{json}")?))?;
        output::write_atomically(&self.out.join(FILES[1]), |file| Ok(file.write_all(&bytes)?))?;
        drop(progress);
        let report = Report {
            out: &self.out,
            epoch,
            best_prec1,
            parameters,
            config: &converted.config,
            notes: &notes,
        };
        if self.json { output::json(&report) } else { tell(&report) }
    }

    fn read_labels(&self, path: &Path) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(path).with_context(|| format!("labels {}", path.display()))?;
        let labels_are_json = labels::is_json(&text);
        let mut labels = labels::parse(&text).with_context(|| format!("labels {}", path.display()))?;
        if self.sort_labels {
            labels.sort();
        } else if !labels.is_sorted() && !labels_are_json {
            output::note(&format!(
                "{}: taken in the order of its lines; a model trained on Something-Something V1 numbers its classes \
                 in alphabetical order: then pass --sort-labels",
                path.display()
            ));
        }
        Ok(labels)
    }
}

fn tell(report: &Report<'_>) -> Result<()> {
    let config = report.config;
    let backbone = serde_json::to_value(config.backbone)?;
    output::line(&format!(
        "{}, {} frames, {} classes, {} parameters",
        backbone.as_str().unwrap_or_default(),
        config.frames,
        config.classes(),
        report.parameters
    ))?;
    match &config.motion {
        None => output::line("no motion module")?,
        Some(motion) => output::line(&format!(
            "motion module after {}: P {}, {}",
            motion.stages.join(", "),
            motion.patch,
            motion
                .reduce_channels
                .map_or("no channel reduction".to_owned(), |c| format!("reduction to {c} channels"))
        ))?,
    }
    if let (Some(epoch), Some(best)) = (report.epoch, report.best_prec1) {
        output::line(&format!("saved after epoch {epoch}, best top-1 {best:.2} %"))?;
    }
    for note in report.notes {
        output::note(note);
    }
    output::line(&format!("written to {}", report.out.display()))
}

fn read_config(path: &Path) -> Result<Config> {
    let json = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Config::from_json(&json).with_context(|| path.display().to_string())
}
