//! Our maps beside classical optical flow. In: models. Out: a table of end-point errors by true speed, on real image pairs
//! and on rendered test clips, all on the maps' own grid.
//!
//! Ours are the figures of `motionlens evaluate`; the classical methods are OpenCV's and run in `tests/peers/flow.py`, which
//! works out the truth on the grid once more: the two have to agree on a map of zeros before anything is said.

use crate::peers::{self, table};
use crate::run::{describe, root};
use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the real pairs are, from the repository's root; they are not in it.
const PAIRS: &str = "../shared/data/flow";
/// Seed of the rendered test clips.
const SEED: &str = "9000";
/// Largest difference of the zero map's error, ours and Python's, as a share of it.
const TOLERANCE: f64 = 0.01;
/// Fewer cells than this say nothing.
const FEW_CELLS: usize = 50;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Models to measure, of the classes of `motionlens synth`; web/models/default where none is named.
    #[arg(long, value_name = "DIR")]
    model: Vec<PathBuf>,
    /// Rendered test clips.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    clips: u16,
    /// Write the table's rows as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table to docs/bench-flow.md.
    #[arg(long)]
    docs: bool,
}

/// What both sides say of a map: as `motionlens evaluate` writes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Errors {
    cells: usize,
    epe_cells: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Figures {
    #[serde(flatten)]
    all: Errors,
    by_speed: Vec<Errors>,
}

/// A motion stage of one of our models, with what a map of zeros would have got.
#[derive(Clone, Debug, Deserialize)]
struct Stage {
    stage: String,
    grid: [usize; 2],
    #[serde(flatten)]
    all: OurErrors,
    by_speed: Vec<OurErrors>,
}

#[derive(Clone, Debug, Deserialize)]
struct OurErrors {
    #[serde(default)]
    from_cells: f32,
    #[serde(default)]
    to_cells: f32,
    zero_epe_cells: Option<f64>,
    #[serde(flatten)]
    errors: Errors,
}

/// What `motionlens evaluate --data` says of maps.
#[derive(Deserialize)]
struct SetFigures {
    flow: Vec<Stage>,
}

/// What `motionlens evaluate --pairs` says.
#[derive(Deserialize)]
struct PairsFigures {
    pairs: Vec<OfPair>,
    flow: Vec<Stage>,
}

#[derive(Deserialize)]
struct OfPair {
    pair: String,
    flow: Vec<Stage>,
}

/// What `flow.py` answers.
#[derive(Clone, Deserialize)]
struct Answer {
    versions: String,
    results: Vec<OfMethods>,
}

#[derive(Clone, Deserialize)]
struct OfMethods {
    /// A pair, or `all`.
    of: String,
    methods: Vec<OfMethod>,
}

#[derive(Clone, Deserialize)]
struct OfMethod {
    method: String,
    #[serde(flatten)]
    figures: Figures,
}

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    /// A pair, `all pairs` or `rendered`.
    of: String,
    method: String,
    ground: Ground,
    /// By speed, then over all cells.
    errors: Vec<Errors>,
}

/// What of a model's config.json decides how it sees a clip.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct ModelConfig {
    resize: [usize; 2],
    input_size: usize,
    frames: usize,
}

/// What makes the truth on a grid: methods are run once for each.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ground {
    #[serde(flatten)]
    config: ModelConfig,
    grid: [usize; 2],
}

/// Measure, print the table and write the files.
pub(crate) fn bench_flow(options: &Options) -> Result<()> {
    let scripts = root()?.join("tests/peers");
    let results = root()?.join("target/peers");
    std::fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
    let requirements = scripts.join("flow-requirements.txt");
    let python = peers::python(&requirements, &results.join("flow-venv"), "OpenCV (100 MB)")?;
    let bench = Bench {
        motionlens: peers::motionlens()?,
        python,
        script: scripts.join("flow.py"),
        pairs: root()?.join(PAIRS),
        results,
    };
    let models = if options.model.is_empty() {
        vec![root()?.join("web/models/default")]
    } else {
        options.model.clone()
    };
    if !bench.pairs.is_dir() {
        println!("skipped: real pairs with true flow: no folder {PAIRS}");
    }
    let mut found = Found::default();
    for model in &models {
        let name = model.strip_prefix(root()?).unwrap_or(model).display().to_string();
        eprintln!("{name}");
        bench.measure(model, &name, options.clips, &mut found)?;
    }
    found.report(options)
}

/// The programs that are asked.
struct Bench {
    motionlens: PathBuf,
    python: PathBuf,
    script: PathBuf,
    pairs: PathBuf,
    /// `target/peers/`.
    results: PathBuf,
}

impl Bench {
    /// One of our models and, where its maps lie on new ground, the classical methods there.
    fn measure(&self, model: &Path, name: &str, clips: u16, found: &mut Found) -> Result<()> {
        let path = model.join("config.json");
        let config = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let config: ModelConfig =
            serde_json::from_str(&config).with_context(|| path.display().to_string())?;
        let ground = |stage: &Stage| Ground { config: config.clone(), grid: stage.grid };
        if self.pairs.is_dir() {
            let PairsFigures { pairs, flow } = self.evaluate(model, "--pairs", &self.pairs)?;
            let pairs = pairs.into_iter().map(|OfPair { pair, flow }| (pair.clone(), pair, flow));
            for (of, part, flow) in pairs.chain([("all pairs".to_owned(), "all".to_owned(), flow)]) {
                for stage in flow {
                    let answer = found.answer(self, &ground(&stage), &stage, "pairs", &self.pairs)?;
                    found.add(&of, &part, name, ground(&stage), stage, &answer)?;
                }
            }
        }
        let set = self.render(clips, config.frames)?;
        let SetFigures { flow } = self.evaluate(model, "--data", &set)?;
        ensure!(!flow.is_empty(), "{name} has no motion module, so there are no maps to measure");
        for stage in flow {
            let answer = found.answer(self, &ground(&stage), &stage, "set", &set)?;
            found.add("rendered", "all", name, ground(&stage), stage, &answer)?;
        }
        Ok(())
    }

    /// A rendered test set, made anew: scenes change with the program.
    fn render(&self, clips: u16, frames: usize) -> Result<PathBuf> {
        let set = self.results.join(format!("flow-set-{frames}"));
        for folder in [&set, &set.with_added_extension("partial")] {
            if folder.exists() {
                std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
            }
        }
        let mut synth = Command::new(&self.motionlens);
        synth.arg("synth").arg("--out").arg(&set).args(["--seed", SEED, "--split", "test"]);
        ask(synth.args(["--count", &clips.to_string(), "--frames", &frames.to_string()]), "")?;
        Ok(set)
    }

    fn evaluate<T: DeserializeOwned>(&self, model: &Path, on: &str, folder: &Path) -> Result<T> {
        let mut evaluate = Command::new(&self.motionlens);
        evaluate.args(["evaluate", "--json", "--model"]).arg(model).arg(on).arg(folder);
        serde_json::from_str(&ask(&mut evaluate, "")?).context("motionlens evaluate")
    }

    /// The classical methods on the ground of a stage, in its bins of speed.
    fn methods(&self, ground: &Ground, stage: &Stage, from: &str, folder: &Path) -> Result<Answer> {
        let Ground { config: ModelConfig { resize, input_size, .. }, grid } = ground;
        eprintln!("classical methods on {} of {} x {} cells", folder.display(), grid[1], grid[0]);
        let speeds: Vec<[f32; 2]> = stage.by_speed.iter().map(|bin| [bin.from_cells, bin.to_cells]).collect();
        let mut task = json!({ "resize": resize, "input_size": input_size, "grid": grid, "speeds": speeds });
        task[from] = json!(folder);
        serde_json::from_str(&ask(Command::new(&self.python).arg(&self.script), &task.to_string())?)
            .context("flow.py")
    }
}

/// Run a program to its end with this on its standard input; its words go on to ours.
fn ask(command: &mut Command, input: &str) -> Result<String> {
    let line = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{line}` did not start"))?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    // One that ends without reading says itself why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("waiting for `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The table in the making.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// The methods' answers: on which ground, on what.
    answers: Vec<(Ground, &'static str, Answer)>,
    /// Names of the bins.
    speeds: Vec<String>,
    versions: String,
}

impl Found {
    /// What the classical methods get on this ground, asked for once.
    fn answer(
        &mut self,
        bench: &Bench,
        ground: &Ground,
        stage: &Stage,
        from: &'static str,
        folder: &Path,
    ) -> Result<Answer> {
        if let Some((.., answer)) = self.answers.iter().find(|(of, on, _)| (of, *on) == (ground, from)) {
            return Ok(answer.clone());
        }
        let answer = bench.methods(ground, stage, from, folder)?;
        self.answers.push((ground.clone(), from, answer.clone()));
        Ok(answer)
    }

    /// One of our lines and before it, if they are not there yet, the methods': those of `part` in their answer.
    fn add(
        &mut self,
        of: &str,
        part: &str,
        name: &str,
        ground: Ground,
        stage: Stage,
        answer: &Answer,
    ) -> Result<()> {
        let result = answer.results.iter().find(|result| result.of == part);
        let methods = &result.with_context(|| format!("flow.py says nothing of {part}"))?.methods;
        agree(of, &stage, &methods.first().context("flow.py knows no method")?.figures)?;
        self.versions.clone_from(&answer.versions);
        self.speeds = stage.by_speed.iter().map(OurErrors::name).collect();
        let is_new = !self.rows.iter().any(|row| row.of == of && row.ground == ground);
        let mut row = |method: String, errors: Vec<Errors>| {
            self.rows.push(Row { of: of.to_owned(), method, ground: ground.clone(), errors });
        };
        if is_new {
            for OfMethod { method, figures } in methods {
                row(method.clone(), figures.by_speed.iter().chain([&figures.all]).cloned().collect());
            }
        }
        let errors = stage.by_speed.iter().chain([&stage.all]).map(|ours| ours.errors.clone()).collect();
        row(format!("{name} {}", stage.stage), errors);
        Ok(())
    }

    fn report(&mut self, options: &Options) -> Result<()> {
        // Models came one after the other; their lines belong together.
        let places: Vec<(String, Ground)> =
            self.rows.iter().map(|row| (row.of.clone(), row.ground.clone())).collect();
        self.rows.sort_by_key(|row| places.iter().position(|(of, on)| (of, on) == (&row.of, &row.ground)));
        let mut head = vec!["on", "grid", "method"];
        head.extend(self.speeds.iter().map(String::as_str));
        head.push("all");
        let table = table(&head, self.lines().into_iter());
        println!("{}\n\n{table}", self.versions);
        if let Some(file) = &options.json {
            write(file, &serde_json::to_string_pretty(&self.rows)?)?;
        }
        if options.docs {
            let text = format!(
                "# Beside classical optical flow\n\n`cargo xtask bench-flow --docs` wrote this page: the mean end-point \
                 error in cells of a map, by true speed in cells, of our maps and of classical methods on the same pairs of \
                 pictures and the same cells ({}). A method sees what the network sees, both pictures squashed and the centre \
                 cut out, and its flow counts as the mean over each cell. A cell counts where the truth of at least 80 % of \
                 its pixels is known and visible and they deviate by less than 0.35 cell. Real pairs (Middlebury’s) are taken \
                 four times: as they are, mirrored, transposed, both; a network sees a clip in whose middle the pair stands. \
                 The {} rendered test clips are of `motionlens synth --seed {SEED} --split test`, every pair of neighbouring \
                 frames. Python’s truth and ours agree on the map of zeros to 1 %. – : fewer than {FEW_CELLS} cells.\n\n{table}",
                self.versions, options.clips
            );
            write(&root()?.join("docs/bench-flow.md"), &text)?;
        }
        Ok(())
    }

    /// The rows as text; before those of a pair or set one that says how many cells there are.
    fn lines(&self) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        let mut before = None;
        for row in &self.rows {
            let [height, width] = row.ground.grid;
            let lead = |method: &str| vec![row.of.clone(), format!("{width} x {height}"), method.to_owned()];
            if before != Some((&row.of, &row.ground)) {
                let mut cells = lead("(cells)");
                cells.extend(row.errors.iter().map(|errors| errors.cells.to_string()));
                lines.push(cells);
                before = Some((&row.of, &row.ground));
            }
            let mut line = lead(&row.method);
            line.extend(row.errors.iter().map(|errors| match errors.epe_cells {
                Some(error) if errors.cells >= FEW_CELLS => format!("{error:.2}"),
                _ => "–".to_owned(),
            }));
            lines.push(line);
        }
        lines
    }
}

impl OurErrors {
    fn name(&self) -> String {
        let Self { from_cells, to_cells, .. } = self;
        if *from_cells == 0.0 { format!("< {to_cells}") } else { format!("{from_cells} to {to_cells}") }
    }
}

/// Two computations of the truth, one in Rust and one in Python: they have to say the same of a map of zeros.
fn agree(of: &str, stage: &Stage, zero: &Figures) -> Result<()> {
    ensure!(stage.by_speed.len() == zero.by_speed.len(), "flow.py has other bins of speed");
    let bins = stage.by_speed.iter().zip(&zero.by_speed).chain([(&stage.all, &zero.all)]);
    for (ours, theirs) in bins.filter(|(ours, _)| ours.errors.cells >= FEW_CELLS) {
        let near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * b.abs();
        let same = near(ours.errors.cells as f64, theirs.cells as f64)
            && near(ours.zero_epe_cells.unwrap_or_default(), theirs.epe_cells.unwrap_or(f64::INFINITY));
        ensure!(
            same,
            "{of}: of a map of zeros motionlens says {:?} over {} cells and flow.py {:?} over {}; expected the same to \
             within 1 %: one of them has the truth wrong",
            ours.zero_epe_cells,
            ours.errors.cells,
            theirs.epe_cells,
            theirs.cells
        );
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(cells: usize, zero: f64) -> Stage {
        let bin = json!({ "from_cells": 0.0, "to_cells": 0.5, "cells": cells, "epe_cells": 0.1, "zero_epe_cells": zero });
        let text = json!({ "stage": "res3", "grid": [28, 28], "cells": cells, "epe_cells": 0.1,
                           "zero_epe_cells": zero, "by_speed": [bin] });
        serde_json::from_value(text).unwrap()
    }

    fn answer(cells: usize, zero: f64) -> Answer {
        let figures = |method: &str, epe: f64| json!({ "method": method, "cells": cells, "epe_cells": epe, "by_speed": [{ "cells": cells, "epe_cells": epe }] });
        let methods = [figures("zero map", zero), figures("DIS", 0.05)];
        serde_json::from_value(json!({ "versions": "", "results": [{ "of": "all", "methods": methods }] }))
            .unwrap()
    }

    #[test]
    fn two_truths_that_differ_are_seen() {
        let check =
            |ours: Stage, theirs: Answer| agree("a pair", &ours, &theirs.results[0].methods[0].figures);
        assert!(check(stage(1000, 0.5), answer(1005, 0.504)).is_ok());
        assert!(check(stage(1000, 0.5), answer(1000, 0.51)).is_err());
        assert!(check(stage(1000, 0.5), answer(980, 0.5)).is_err());
        assert!(check(stage(40, 0.5), answer(30, 0.6)).is_ok(), "so few cells say nothing");
    }

    #[test]
    fn methods_stand_once_before_our_models() {
        let mut found = Found::default();
        for (of, name) in [("a", "one"), ("b", "one"), ("a", "two"), ("b", "two")] {
            let config = ModelConfig { resize: [240, 320], input_size: 224, frames: 8 };
            let ground = Ground { config, grid: [28, 28] };
            found.add(of, "all", name, ground, stage(60, 0.5), &answer(60, 0.5)).unwrap();
        }
        let options = Options { model: Vec::new(), clips: 1, json: None, docs: false };
        found.report(&options).unwrap();
        let rows: Vec<String> = found.rows.iter().map(|row| format!("{} {}", row.of, row.method)).collect();
        assert_eq!(
            rows,
            [
                "a zero map",
                "a DIS",
                "a one res3",
                "a two res3",
                "b zero map",
                "b DIS",
                "b one res3",
                "b two res3"
            ]
        );
        let lines = found.lines();
        assert_eq!(lines[0], ["a", "28 x 28", "(cells)", "60", "60"]);
        assert_eq!(lines[2], ["a", "28 x 28", "DIS", "0.05", "0.05"]);
        assert_eq!(lines.len(), 10);
    }
}
