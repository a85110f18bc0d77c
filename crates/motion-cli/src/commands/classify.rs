//! `motionlens classify`. In: videos. Out: for each the most likely actions with their probabilities.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use motion_clip::{Frame, sample};
use motion_net::{Backend, Estimation};
use motion_train::protocol::softmax;
use serde::Serialize;

use crate::model::{EstimationArgs, Model, ModelArgs, with_model};
use crate::output::{self, Closed};
use crate::progress::Progress;
use crate::source::{Source, SourceArgs};

/// Most clips of one video.
pub(super) const MAX_CLIPS: usize = 1000;

/// What `--help` says of it.
const ABOUT: &str = "\
What is happening in a video: the most likely actions with their probabilities

A VIDEO is a video file or a folder of frames (.jpg, .png, sorted by name). One that cannot be read does not keep
the others from being looked at, but the exit code is then 1. With --json each video is one line:
  {\"video\", \"top\": [{\"label\", \"probability\"}], \"frames\": [indices], \"backend\", \"ms\"}
or {\"video\", \"error\"}; \"ms\" is the network's time, decoding left out.";

/// What is happening in a video: the most likely actions with their probabilities
#[derive(Debug, Args)]
#[command(
    long_about = ABOUT,
    after_help = "Examples:\n  motionlens classify clip.mp4 --model model\n  \
                  motionlens classify *.mp4 --model model --clips 10 --top 3 --json"
)]
pub(crate) struct Classify {
    /// Video files or folders of frames
    #[arg(required = true, value_name = "VIDEO")]
    videos: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Clips of each video; their scores are averaged
    #[arg(long, value_name = "N", default_value_t = 1)]
    clips: usize,
    /// Number of actions to name
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    #[command(flatten)]
    estimation: EstimationArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// One line of JSON for each video
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    video: String,
    top: Vec<Action<'a>>,
    frames: Vec<usize>,
    backend: &'static str,
    ms: f64,
}

#[derive(Debug, Serialize)]
struct Action<'a> {
    label: &'a str,
    probability: f64,
}

#[derive(Debug, Serialize)]
struct Failure {
    video: String,
    error: String,
}

impl Classify {
    pub(crate) fn run(&self) -> Result<()> {
        ensure!(
            (1..=MAX_CLIPS).contains(&self.clips),
            "--clips is {}, expected 1 to {MAX_CLIPS}",
            self.clips
        );
        ensure!(self.top > 0, "--top is 0, expected at least 1");
        with_model!(&self.model, |model| self.on(&model))
    }

    fn on<B: Backend>(&self, model: &Model<B>) -> Result<()> {
        let estimation = self.estimation.over(model.config())?;
        let progress = Progress::bar(self.videos.len(), "videos");
        let mut failed = 0;
        for path in &self.videos {
            match self.one(model, &estimation, path) {
                Ok(answer) => self.tell(&answer)?,
                Err(error) if error.is::<Closed>() => return Err(error),
                Err(error) => {
                    failed += 1;
                    let error = output::chain(&error);
                    output::complain(&error);
                    if self.json {
                        output::json(&Failure { video: path.display().to_string(), error })?;
                    }
                }
            }
            progress.inc();
        }
        if failed > 0 && self.videos.len() > 1 {
            bail!("{failed} of {} videos could not be classified", self.videos.len());
        }
        if failed > 0 { Err(output::Told.into()) } else { Ok(()) }
    }

    fn one<'a, B: Backend>(
        &self,
        model: &'a Model<B>,
        estimation: &Estimation,
        path: &Path,
    ) -> Result<Answer<'a>> {
        let source = Source::open(path, &self.source)?;
        let clips =
            sample::clip_indices(model.sampling(), source.frame_count(), model.config().frames, self.clips)?;
        let frames = clips.concat();
        let mut wanted = frames.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let mut views: BTreeMap<usize, Frame> = BTreeMap::new();
        source.visit(&wanted, &mut |index, frame| {
            views.insert(index, model.preprocess.view(&frame)?);
            Ok(())
        })?;
        let progress = Progress::bar(clips.len(), &format!("clips of {}", path.display()));
        let (mut scores, mut time) = (vec![0.0; model.config().classes()], Duration::ZERO);
        for indices in &clips {
            let clip = model.clip(indices.iter().filter_map(|index| views.get(index)))?;
            let begun = Instant::now();
            let run = model.run(&clip, estimation).with_context(|| path.display().to_string())?;
            for (sum, logit) in scores.iter_mut().zip(model.logits(&run.pass)?.data) {
                *sum += f64::from(logit) / clips.len() as f64;
            }
            time += begun.elapsed();
            progress.inc();
        }
        let mut ranked: Vec<(usize, f64)> = softmax(&scores).into_iter().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let top = ranked.iter().take(self.top);
        Ok(Answer {
            video: path.display().to_string(),
            top: top.map(|&(class, probability)| Action { label: model.label(class), probability }).collect(),
            frames,
            backend: model.backend.name(),
            ms: time.as_secs_f64() * 1e3,
        })
    }

    fn tell(&self, answer: &Answer<'_>) -> Result<()> {
        if self.json {
            return output::json(answer);
        }
        output::line(&answer.video)?;
        for Action { label, probability } in &answer.top {
            output::line(&format!("  {:5.1} %  {label}", 100.0 * probability))?;
        }
        Ok(())
    }
}
