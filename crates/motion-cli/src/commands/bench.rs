//! `motionlens bench`. In: a model. Out: the time that one clip takes, the first run apart from the later ones.

mod contestant;
#[cfg(feature = "gpu")]
mod kernels;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use motion_net::{Backend, Estimator, HostTensor, Mode};
use serde::Serialize;

use crate::model::{AnyModel, EstimationArgs, Model, ModelArgs};
use crate::output;
use crate::progress::Progress;

/// Time per clip: the first run apart from the later ones, and where it goes
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  motionlens bench --model model --runs 20 --json")]
pub(crate) struct Bench {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    estimation: EstimationArgs,
    /// Runs after the first one
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Make up the weights: the folder needs no more than config.json
    #[arg(long)]
    made_up_weights: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// Run this clip once for every line on standard input (for `cargo xtask bench-peers`)
    #[arg(long, value_name = "CLIP.safetensors", hide = true)]
    contestant: Option<PathBuf>,
    /// Let each of those runs be a training step
    #[arg(long, requires = "contestant", hide = true)]
    train: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    network: String,
    /// T, H, W.
    clip: [usize; 3],
    backend: &'static str,
    threads: usize,
    runs: usize,
    load_ms: f64,
    first_ms: f64,
    median_ms: f64,
    fastest_ms: f64,
    slowest_ms: f64,
    /// Median of changing the estimator of a clip that has run, where the network has a motion module.
    #[serde(skip_serializing_if = "Option::is_none")]
    switch_ms: Option<f64>,
    /// Median of each stage with its motion module, in order; a graphics card has kernels instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageTime>,
    #[cfg(feature = "gpu")]
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<kernels::Card>,
}

#[derive(Debug, Serialize)]
struct StageTime {
    stage: String,
    ms: f64,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.contestant {
            None => self.measure(),
            Some(clips) if self.train => contestant::train(&self.model, clips),
            Some(clips) => contestant::infer(&self.model, &self.estimation, clips),
        }
    }

    fn measure(&self) -> Result<()> {
        let begun = Instant::now();
        let args = ModelArgs { made_up: self.made_up_weights, ..self.model.clone() };
        let model = AnyModel::load(&args)?;
        let load_ms = ms(begun.elapsed());
        let report = match &model {
            AnyModel::Cpu(model) => {
                let mut report = self.on(model, load_ms)?;
                report.switch_ms = self.switch_ms(model)?;
                report
            }
            #[cfg(feature = "gpu")]
            AnyModel::Gpu(model) => {
                let mut report = self.on(model, load_ms)?;
                report.stages.clear();
                let estimation = self.estimation.over(model.config())?;
                let clip = moving_texture(model.config().frames, model.config().input_size)?;
                report.card = Some(kernels::Card::measure(&args, model, &clip, &estimation)?);
                report.switch_ms = self.switch_ms(model)?;
                report
            }
        };
        if self.json { output::json(&report) } else { tell(&report) }
    }

    fn on<B: Backend>(&self, model: &Model<B>, load_ms: f64) -> Result<Report> {
        let estimation = self.estimation.over(model.config())?;
        let (t, side) = (model.config().frames, model.config().input_size);
        let clip = moving_texture(t, side)?;
        let progress = Progress::bar(usize::from(self.runs) + 1, "runs");
        let (mut totals, mut stages): (Vec<f64>, Vec<(String, Vec<f64>)>) = (Vec::new(), Vec::new());
        for _ in 0..=self.runs {
            let begun = Instant::now();
            let run = model.run(&clip, &estimation)?;
            let logits = model.logits(&run.pass)?;
            totals.push(ms(begun.elapsed()));
            ensure!(logits.data.iter().all(|logit| logit.is_finite()), "the network's scores are not finite");
            if totals.len() > 1 {
                for (index, (stage, time)) in run.times.into_iter().enumerate() {
                    if stages.len() == index {
                        stages.push((stage, Vec::new()));
                    }
                    stages[index].1.push(ms(time));
                }
            }
            progress.inc();
        }
        drop(progress);
        let first_ms = totals.remove(0);
        let backbone = serde_json::to_value(model.config().backbone)?;
        Ok(Report {
            network: backbone.as_str().unwrap_or_default().to_owned(),
            clip: [t, side, side],
            backend: model.backend.name(),
            threads: candle_core::utils::get_num_threads(),
            runs: totals.len(),
            load_ms,
            first_ms,
            median_ms: median(&mut totals),
            fastest_ms: totals.first().copied().unwrap_or_default(),
            slowest_ms: totals.last().copied().unwrap_or_default(),
            switch_ms: None,
            stages: stages
                .into_iter()
                .map(|(stage, mut times)| StageTime { stage, ms: median(&mut times) })
                .collect(),
            #[cfg(feature = "gpu")]
            card: None,
        })
    }

    /// Median time from another estimator to new scores of a clip that has run: the motion modules and what follows.
    fn switch_ms<B: Backend>(&self, model: &Model<B>) -> Result<Option<f64>> {
        if model.config().motion.is_none() {
            return Ok(None);
        }
        let mut estimation = self.estimation.over(model.config())?;
        let clip = moving_texture(model.config().frames, model.config().input_size)?;
        let mut pass = model.run(&clip, &estimation)?.pass;
        model.logits(&pass)?;
        let mut times = Vec::new();
        for _ in 0..self.runs {
            estimation.estimator = match estimation.estimator {
                Estimator::Kernel => Estimator::Soft,
                Estimator::Soft => Estimator::Kernel,
            };
            let begun = Instant::now();
            pass.rewind_to_motion();
            while model.net.advance(&model.backend, &mut pass, &estimation, Mode::EVAL)?.is_some() {}
            model.logits(&pass)?;
            times.push(ms(begun.elapsed()));
        }
        Ok(Some(median(&mut times)))
    }
}

fn tell(report: &Report) -> Result<()> {
    let [t, height, width] = report.clip;
    output::line(&format!(
        "{}, clip of {t} x {height} x {width}, {} with {} thread(s)",
        report.network, report.backend, report.threads
    ))?;
    output::line(&format!("  load       {:9.1} ms", report.load_ms))?;
    output::line(&format!("  first run  {:9.1} ms", report.first_ms))?;
    output::line(&format!(
        "  later runs {:9.1} ms median of {} ({:.1} to {:.1})",
        report.median_ms, report.runs, report.fastest_ms, report.slowest_ms
    ))?;
    if let Some(ms) = report.switch_ms {
        output::line(&format!("  estimator  {ms:9.1} ms to change it and run what follows"))?;
    }
    for StageTime { stage, ms } in &report.stages {
        output::line(&format!("    {stage:10} {ms:7.1} ms"))?;
    }
    #[cfg(feature = "gpu")]
    if let Some(card) = &report.card {
        card.tell()?;
    }
    Ok(())
}

/// A normalised clip `[1, T, side, side, 3]` with texture that moves: zeros would make some operations too easy.
fn moving_texture(t: usize, side: usize) -> Result<HostTensor> {
    let value = |frame: usize, y: usize, x: usize, channel: usize| {
        let (x, y) = ((x + 3 * frame) as f32, (y + frame) as f32);
        (0.21 * x + channel as f32).sin() + (0.17 * y).cos() * (0.05 * x * (1.0 + 0.01 * y)).sin()
    };
    let places = (0..t * side * side * 3).map(|i| {
        let (pixel, channel) = (i / 3, i % 3);
        value(pixel / (side * side), pixel / side % side, pixel % side, channel)
    });
    Ok(HostTensor::new([1, t, side, side, 3], places.collect())?)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Sorts, and gives the middle value.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
