//! `motionlens data`. In: a labelled set of videos. Out: what is wrong with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use motion_clip::sample;
use motion_train::lists;
use motion_train::synth::Split;
use rayon::prelude::*;
use serde::Serialize;

use crate::output;
use crate::progress::Progress;
use crate::source::{Source, SourceArgs};

/// Labelled sets of videos
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  motionlens data check 20bn-something-something-v2 --list train.json --labels labels.json"
)]
pub(crate) struct Data {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Check(Check),
}

/// What is wrong with a set: videos that are absent, unreadable or listed twice, classes without any
///
/// Without a list the set is a folder of class folders, FOLDER/CLASS/VIDEO. A list may be Something-Something's (V1: CSV
/// with semicolons, V2: JSON), Kinetics' (CSV with a header), TSM's (PATH FRAMES LABEL) or HMDB51's folder of splits. The
/// frames of each video that a clip takes are decoded. The exit code is 1 if anything is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  motionlens data check 20bn-something-something-v2 --list train.json --labels labels.json\n  \
                  motionlens data check hmdb51 --list testTrainMulti_7030_splits --test"
)]
struct Check {
    /// Folder of videos, or of folders of frames
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Which videos, and their classes
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Names of the classes [default: those of the list, sorted]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// HMDB51's test videos instead of its training videos
    #[arg(long)]
    test: bool,
    /// Frames of a clip
    #[arg(long, value_name = "T", default_value_t = 8)]
    frames: usize,
    #[command(flatten)]
    source: SourceArgs,
    /// One line of JSON: {"videos", "classes", "problems": [{"what", "problem"}]}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    videos: usize,
    classes: usize,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    /// A video or a class.
    what: String,
    problem: String,
}

impl Data {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            What::Check(check) => check.run(),
        }
    }
}

impl Check {
    fn run(&self) -> Result<()> {
        ensure!(self.frames > 0, "--frames is 0, expected at least 1");
        let split = if self.test { Split::Test } else { Split::Train };
        let labels = self.labels.as_deref().map(lists::read_labels).transpose()?;
        let set = lists::read(&self.folder, self.list.as_deref(), labels, split)?;
        let progress = Progress::bar(set.videos.len(), "checking videos");
        let unreadable = set.videos.par_iter().filter_map(|(path, _)| {
            let found = self.decode(path).err();
            progress.inc();
            found.map(|error| Problem { what: path.display().to_string(), problem: output::chain(&error) })
        });
        let mut problems: Vec<Problem> = unreadable.collect();
        drop(progress);
        let mut times: BTreeMap<&Path, usize> = BTreeMap::new();
        let mut clips = vec![0; set.labels.len()];
        for (path, label) in &set.videos {
            *times.entry(path).or_default() += 1;
            clips[*label] += 1;
        }
        problems.extend(times.iter().filter(|(_, times)| **times > 1).map(|(path, times)| Problem {
            what: path.display().to_string(),
            problem: format!("listed {times} times, expected once"),
        }));
        let empty = set.labels.iter().zip(&clips).filter(|(_, clips)| **clips == 0);
        problems.extend(empty.map(|(label, _)| Problem {
            what: label.clone(),
            problem: "the class has no video, expected at least one".to_owned(),
        }));
        let report = Report { videos: set.videos.len(), classes: set.labels.len(), problems };
        self.tell(&report)?;
        if report.problems.is_empty() { Ok(()) } else { Err(output::Told.into()) }
    }

    /// Decodes the frames that a clip takes.
    fn decode(&self, path: &Path) -> Result<()> {
        let source = Source::open(path, &self.source)?;
        let mut frames = sample::segment_test(source.frame_count(), self.frames);
        frames.dedup();
        source.visit(&frames, &mut |_, _| Ok(()))
    }

    fn tell(&self, report: &Report) -> Result<()> {
        if self.json {
            return output::json(report);
        }
        for Problem { what, problem } in &report.problems {
            // The error of a video begins with its path.
            let what = if problem.starts_with(what.as_str()) { String::new() } else { format!("{what}: ") };
            output::line(&format!("{what}{problem}"))?;
        }
        let Report { videos, classes, problems } = report;
        output::line(&format!("{videos} videos of {classes} classes, {} problems", problems.len()))
    }
}
