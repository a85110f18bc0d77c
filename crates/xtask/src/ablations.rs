//! The paper's ablations on the synthetic set. In: `crates/motion-train/ablations.toml`. Out: a training run for each
//! row and seed, `docs/ablations.json`, and from it `docs/ablations.md` with its plots.
//!
//! A run that is in the JSON with the same recipe is not made again, so that the whole can be done in many sittings.

mod report;

use crate::peers;
use crate::run::root;
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What to run of the ablations.
#[derive(Args)]
pub(crate) struct Options {
    /// Tables to run, by their key; all of them when none is named.
    tables: Vec<String>,
    /// Begin no run after so many minutes.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Run nothing: write the tables and plots of what is there.
    #[arg(long)]
    report: bool,
}

/// The file of rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ablations {
    /// Each row is run once with each.
    seeds: Vec<u64>,
    /// What all rows share: a recipe without `out` and `seed`.
    recipe: toml::Table,
    table: Vec<Table>,
}

/// One table of the paper.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Short name, for the command line and files.
    key: String,
    title: String,
    /// What the paper asks there, and where this differs from it.
    about: String,
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    /// Dotted keys of the recipe and their values here.
    #[serde(default)]
    set: toml::Table,
    /// Dotted keys that are absent here.
    #[serde(default)]
    unset: Vec<String>,
}

/// A finished run.
#[derive(Serialize, Deserialize, Clone)]
struct Outcome {
    /// The whole recipe but for `out`: what a result belongs to.
    recipe: String,
    top1: f64,
    top5: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    epe_cells: Option<f64>,
    secs: f64,
}

/// Runs what is missing and writes the report.
pub(crate) fn ablations(options: &Options) -> Result<()> {
    let root = root()?;
    let file = root.join("crates/motion-train/ablations.toml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let ablations: Ablations = toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let keys: Vec<&str> = ablations.table.iter().map(|table| table.key.as_str()).collect();
    if let Some(unknown) = options.tables.iter().find(|table| !keys.contains(&table.as_str())) {
        bail!("no table {unknown:?}; expected one of {}", keys.join(", "));
    }
    let json = root.join("docs/ablations.json");
    let mut outcomes = read(&json)?;
    if !options.report {
        run_missing(&ablations, options, &root, &json, &mut outcomes)?;
    }
    report::write(&ablations, &outcomes, &root.join("docs"))
}

fn read(json: &Path) -> Result<Vec<Outcome>> {
    match std::fs::read_to_string(json) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("in {}", json.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", json.display())),
    }
}

/// Seed by seed, so that every row has one result before any has two.
fn run_missing(
    ablations: &Ablations,
    options: &Options,
    root: &Path,
    json: &Path,
    outcomes: &mut Vec<Outcome>,
) -> Result<()> {
    let motionlens = peers::motionlens()?;
    let started = Instant::now();
    let wanted = |table: &&Table| options.tables.is_empty() || options.tables.contains(&table.key);
    for &seed in &ablations.seeds {
        for row in ablations.table.iter().filter(wanted).flat_map(|table| &table.row) {
            let recipe = recipe(&ablations.recipe, row, seed)?;
            if outcomes.iter().any(|outcome| outcome.recipe == recipe) {
                continue;
            }
            if options.minutes.is_some_and(|minutes| started.elapsed().as_secs_f64() > 60.0 * minutes) {
                println!("time is up; the rest is for another run of this command");
                return Ok(());
            }
            println!("{} (seed {seed})", row.name);
            outcomes.push(run(&motionlens, root, recipe)?);
            let text = serde_json::to_string_pretty(outcomes)?;
            std::fs::write(json, text + "\n").with_context(|| format!("writing {}", json.display()))?;
        }
    }
    Ok(())
}

/// The recipe of a row with a seed, but for where its files go; the same text for the same run.
fn recipe(base: &toml::Table, row: &Row, seed: u64) -> Result<String> {
    let mut recipe = base.clone();
    recipe.insert("seed".into(), i64::try_from(seed)?.into());
    for key in &row.unset {
        let (place, last) = place(&mut recipe, key)?;
        place.remove(last).with_context(|| format!("row {:?} unsets {key}, which is not there", row.name))?;
    }
    for (key, value) in &row.set {
        let (place, last) = place(&mut recipe, key)?;
        place.insert(last.to_owned(), value.clone());
    }
    Ok(toml::to_string(&recipe)?)
}

/// The table in which a dotted key lies, and the key's last part.
fn place<'a, 'k>(recipe: &'a mut toml::Table, key: &'k str) -> Result<(&'a mut toml::Table, &'k str)> {
    let Some((parents, last)) = key.rsplit_once('.') else { return Ok((recipe, key)) };
    let mut place = recipe;
    for part in parents.split('.') {
        let next = place.entry(part).or_insert_with(|| toml::Table::new().into());
        place = next.as_table_mut().with_context(|| format!("{key}: {part} is no table"))?;
    }
    Ok((place, last))
}

/// One training run, resumed where it was stopped.
fn run(motionlens: &Path, root: &Path, recipe: String) -> Result<Outcome> {
    let started = Instant::now();
    let folder = root.join("target/ablations").join(name(&recipe));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let file: PathBuf = folder.join("recipe.toml");
    std::fs::write(&file, format!("out = \"run\"\n{recipe}"))?;
    let out = Command::new(motionlens)
        .args(["train", "--resume", "--json", "--config"])
        .arg(&file)
        .stderr(Stdio::inherit())
        .output()
        .context("motionlens did not start")?;
    if !out.status.success() {
        bail!("training after {} ended with {}", file.display(), out.status);
    }
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).context("its report")?;
    let figure = |name: &str| report["test"][name].as_f64();
    Ok(Outcome {
        recipe,
        top1: figure("top1").context("its report has no top1")?,
        top5: figure("top5").context("its report has no top5")?,
        epe_cells: figure("epe_cells"),
        secs: started.elapsed().as_secs_f64(),
    })
}

/// A folder's name that is the same for the same recipe (FNV-1a).
fn name(recipe: &str) -> String {
    let hash = recipe
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ablations() -> Ablations {
        let text = include_str!("../../motion-train/ablations.toml");
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_row_changes_what_it_says() {
        let base = toml::from_str("batch = 4\n[model.motion]\npatch = 15\nfusion = \"add\"").unwrap();
        let row: Row = toml::from_str(
            "name = \"x\"\nset = { \"model.motion.patch\" = 3 }\nunset = [\"model.motion.fusion\"]",
        )
        .unwrap();
        let recipe: toml::Table = toml::from_str(&recipe(&base, &row, 7).unwrap()).unwrap();
        let expected = toml::from_str("batch = 4\nseed = 7\n[model.motion]\npatch = 3").unwrap();
        assert_eq!(recipe, expected);
        let nothing: Row = toml::from_str("name = \"x\"\nunset = [\"model.backbone\"]").unwrap();
        assert!(super::recipe(&base, &nothing, 7).is_err());
    }

    #[test]
    fn every_row_is_a_recipe_that_the_trainer_reads() {
        let Ablations { seeds, recipe: base, table } = ablations();
        assert!(seeds.len() >= 3);
        for row in table.iter().flat_map(|table| &table.row) {
            let text = format!("out = \"run\"\n{}", recipe(&base, row, seeds[0]).unwrap());
            let recipe: motion_train::recipe::Recipe = toml::from_str(&text).unwrap();
            let labels = motion_train::synth::CLASSES.map(str::to_owned);
            recipe.config(&labels).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        }
    }
}
