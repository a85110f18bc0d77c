//! What a run says while it goes: a line an epoch for people and in `log.jsonl`, every step for TensorBoard.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, at};
use crate::events::Events;
use crate::files::write_atomically;
use crate::progress;

/// One line of `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// From 1.
    pub(crate) epoch: usize,
    pub(crate) loss: f64,
    /// Absent where only the maps learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) train_top1: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validate_top1: Option<f64>,
    /// Mean distance of each motion module's maps from the truth, in its cells; empty where none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) validate_epe_cells: Vec<f64>,
    /// Videos of the training and validation sets that are left out; absent where there are no videos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<usize>,
    /// Of the epoch's last step.
    pub(crate) learning_rate: f64,
    pub(crate) secs: f64,
    pub(crate) clips_per_sec: f64,
}

impl Epoch {
    /// The mean over the motion modules of how far their maps are off, in cells.
    pub(crate) fn maps_error(&self) -> Option<f64> {
        let errors = &self.validate_epe_cells;
        (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
    }
}

/// The log of a run.
pub(crate) struct Log {
    path: PathBuf,
    /// The finished epochs.
    pub(crate) epochs: Vec<Epoch>,
    events: Events,
}

impl Log {
    /// Goes on after `epochs` finished epochs and `steps` steps in all. Lines of epochs that are not finished, because
    /// the run was stopped between a line and its state, are taken back.
    pub(crate) fn open(folder: &Path, epochs: usize, steps: usize) -> Result<Self> {
        let path = folder.join("log.jsonl");
        let text = match epochs {
            0 => String::new(),
            _ => std::fs::read_to_string(&path).map_err(at(&path))?,
        };
        let lines: Vec<Epoch> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let lines: Vec<Epoch> = lines.into_iter().filter(|line| line.epoch <= epochs).collect();
        if lines.len() != epochs {
            let message =
                format!("has {} epochs, the run's state {epochs}; start anew, without --resume", lines.len());
            return Err(Error::State { path, message });
        }
        write_atomically(&path, lines.iter().map(json).collect::<String>().as_bytes())?;
        Ok(Self { path, epochs: lines, events: Events::create(&folder.join("events"), steps)? })
    }

    /// A step, of all from 0.
    pub(crate) fn step(&mut self, step: usize, loss: f64, learning_rate: f64) -> Result<()> {
        let scalars = [("train/loss", Some(loss)), ("train/learning_rate", Some(learning_rate))];
        self.events.scalars(step, &scalars)
    }

    /// A finished epoch, after `steps` steps in all; `last` is the recipe's last epoch.
    pub(crate) fn epoch(&mut self, line: Epoch, steps: usize, last: usize) -> Result<()> {
        let mut file = File::options().append(true).open(&self.path).map_err(at(&self.path))?;
        file.write_all(json(&line).as_bytes()).map_err(at(&self.path))?;
        let scalars = [
            ("train/top1", line.train_top1),
            ("validate/top1", line.validate_top1),
            ("validate/epe_cells", line.maps_error()),
            ("train/clips_per_sec", Some(line.clips_per_sec)),
            ("skipped", line.skipped.map(|count| count as f64)),
        ];
        self.events.scalars(steps, &scalars)?;
        let percent = |what: &str, share: Option<f64>| {
            share.map_or(String::new(), |share| format!(", {:.1} % right in {what}", 100.0 * share))
        };
        let skipped = line.skipped.filter(|count| *count > 0);
        progress::line(&format!(
            "epoch {}/{last}: loss {:.3}{}{}{}{}, {:.1} clips/s",
            line.epoch,
            line.loss,
            percent("training", line.train_top1),
            percent("validation", line.validate_top1),
            line.validate_epe_cells
                .iter()
                .map(|epe| format!(", maps off by {epe:.2} cells"))
                .collect::<String>(),
            skipped.map_or(String::new(), |count| format!(", {count} videos skipped")),
            line.clips_per_sec
        ));
        self.epochs.push(line);
        Ok(())
    }
}

/// A line of its own.
fn json(line: &Epoch) -> String {
    serde_json::to_string(line).unwrap_or_default() + "\n"
}
