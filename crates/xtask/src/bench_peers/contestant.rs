//! Loaded networks that run when they are asked to. In: a request. Out: how long a run took, and what came out.

use super::layers::Dispatch;
use super::setup::Setup;
use super::{Engine, Network, Part, name};
use crate::run::describe;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::cell::RefCell;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

/// One network in one engine with so many threads.
pub(super) struct Contestant {
    pub(super) engine: Engine,
    pub(super) threads: usize,
    process: Rc<RefCell<Process>>,
    /// Position among the contestants of its process.
    index: usize,
}

#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) ms: f64,
    /// Logits, or the loss of a training step.
    pub(super) output: Vec<f64>,
}

impl Contestant {
    pub(super) fn run(&mut self) -> Result<Answer> {
        self.ask("run")
    }

    /// Every dispatch of a run, by the graphics adapter's own clock: on WebGPU.
    pub(super) fn dispatches(&mut self) -> Result<Vec<Dispatch>> {
        #[derive(Deserialize)]
        struct Layers {
            layers: Vec<Dispatch>,
        }
        Ok(self.ask::<Layers>("layers")?.layers)
    }

    fn ask<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        self.process.borrow_mut().ask(self.index, what).with_context(|| self.to_string())
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} with {} thread(s)", self.engine.title(), self.threads)
    }
}

/// Everyone who takes part, ours first.
pub(super) fn start(part: Part, network: Network, setup: &Setup) -> Result<Vec<Contestant>> {
    let places = part.engines().iter().flat_map(|&engine| part.threads().iter().map(move |&t| (engine, t)));
    if !part.is_in_browser() {
        let start = |(engine, threads)| {
            let process =
                Rc::new(RefCell::new(Process::start(native(part, network, engine, threads, setup))?));
            Ok(Contestant { engine, threads, process, index: 0 })
        };
        return places.map(start).collect();
    }
    // Without a module of ours for so many threads there is nobody to compare with.
    let places: Vec<_> = places.filter(|&(_, threads)| setup.module(threads).is_some()).collect();
    let folder = format!("/networks/{}", name(&network));
    let workers: Vec<_> = places
        .iter()
        .map(|&(engine, threads)| {
            let model = if engine == Engine::MsNet { format!("{folder}/msnet") } else { folder.clone() };
            let title = if engine.is_ours() { Engine::MotionLens.title() } else { engine.title() };
            let package = setup.module(threads);
            let gpu = part == Part::WebGpu;
            json!({
                "runtime": title, "threads": threads, "gpu": gpu, "network": folder, "model": model, "package": package
            })
        })
        .collect();
    let mut command = Command::new(&setup.node);
    command.arg(setup.scripts.join("browser.js")).env("CHROMIUM", &setup.chromium);
    command.arg(format!("{}/peers/page.html", setup.address)).arg(json!(workers).to_string());
    let adapter = setup.adapter.as_ref().filter(|_| part == Part::WebGpu);
    command.arg(json!(adapter.map_or(&[][..], |adapter| &adapter.flags)).to_string());
    let process = Rc::new(RefCell::new(Process::start(command)?));
    let contestant =
        |(index, (engine, threads))| Contestant { engine, threads, process: process.clone(), index };
    Ok(places.into_iter().enumerate().map(contestant).collect())
}

/// The program that runs a network outside the browser.
fn native(part: Part, network: Network, engine: Engine, threads: usize, setup: &Setup) -> Command {
    let folder = setup.networks.join(name(&network));
    let training = part == Part::Training;
    if !engine.is_ours() {
        let mut command = Command::new(&setup.python);
        let script = match engine {
            Engine::PyTorch if training => "pytorch-training",
            Engine::PyTorch => "pytorch",
            _ => "onnxruntime",
        };
        command.arg(setup.scripts.join("contestant.py")).arg(script).arg(folder).arg(threads.to_string());
        return command;
    }
    let mut command = Command::new(&setup.motionlens);
    // What rayon and candle both read.
    command.env("RAYON_NUM_THREADS", threads.to_string()).arg("bench");
    let model = if engine == Engine::MsNet { folder.join("msnet") } else { folder.clone() };
    command.arg("--model").arg(model);
    let clips = if training { "train.safetensors" } else { "clip.safetensors" };
    command.arg("--contestant").arg(folder.join(clips)).args(training.then_some("--train"));
    command
}

/// A program that answers each line with a line.
struct Process {
    line: String,
    child: Child,
    /// Closed when it is to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        // Enough to know which one it is: that of the browser names all contestants.
        let line = describe(&command).chars().take(120).collect();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("`{line}` did not start"))?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        Ok(Self { line, child, requests, answers })
    }

    fn ask<T: DeserializeOwned>(&mut self, index: usize, what: &str) -> Result<T> {
        let mut answer = String::new();
        // Writing fails if the process has ended; so does reading, and that is told below.
        let _ = self.requests.as_mut().map(|requests| writeln!(requests, "{index} {what}"));
        if self.answers.read_line(&mut answer)? == 0 {
            let status = self.child.wait()?;
            bail!("`{}` ended with {status} before it had answered: its messages are above", self.line);
        }
        serde_json::from_str(&answer).with_context(|| {
            let start: String = answer.chars().take(200).collect();
            format!("`{}` answered {start:?}, expected JSON that answers {what:?}", self.line)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // No more requests: it ends by itself, the browser with it.
        self.requests = None;
        let _ = self.child.wait();
    }
}
