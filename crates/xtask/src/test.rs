//! Every test of the repository. In: the steps to run. Out: their output, a table, and one line of totals.

mod browser;
mod rust;
pub(crate) mod tools;

use crate::build;
use crate::run::{cargo, succeed};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::path::Path;
use std::time::{Duration, Instant};

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// rustfmt changes nothing.
    Format,
    /// No warnings from clippy, tests and tools included.
    Lint,
    /// No warnings from rustdoc.
    Doc,
    /// Unit, golden, gradient and command line tests.
    Rust,
    /// The page's module and the native program compile.
    Page,
    /// The page in a real Chromium.
    Browser,
}

/// How many tests of a step ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    const PASSED: Count = Count { passed: 1, failed: 0, skipped: 0 };
    const FAILED: Count = Count { passed: 0, failed: 1, skipped: 0 };

    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Run the steps, each even when an earlier one failed, and say whether all passed.
pub(crate) fn test(steps: &[Step]) -> Result<bool> {
    let steps = if steps.is_empty() { Step::value_variants() } else { steps };
    // Before the steps: they may link this program anew, and then Linux calls it "deleted".
    let xtask = std::env::current_exe().context("finding this program")?;
    let mut rows: Vec<(Step, Duration, Count)> = Vec::new();
    let mut problems = Vec::new();
    for &step in steps {
        let name = name(step);
        println!("\n=== {name} ===");
        let start = Instant::now();
        let mut failed = Vec::new();
        let count = run(step, &xtask, &mut failed).unwrap_or_else(|error| {
            failed.push(format!("{error:#}"));
            Count::FAILED
        });
        problems.extend(failed.into_iter().map(|what| format!("{name}: {what}")));
        rows.push((step, start.elapsed(), count));
    }
    let mut total = Count::default();
    println!("\n{:<9}{:>9}{:>8}{:>8}{:>9}", "step", "time", "passed", "failed", "skipped");
    for (step, time, count) in rows {
        total.add(count);
        let seconds = format!("{:.0} s", time.as_secs_f64());
        println!("{:<9}{seconds:>9}{:>8}{:>8}{:>9}", name(step), count.passed, count.failed, count.skipped);
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(total.failed == 0)
}

fn name(step: Step) -> String {
    step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// One step; the names of the tests that failed go to `failed`.
fn run(step: Step, xtask: &Path, failed: &mut Vec<String>) -> Result<Count> {
    match step {
        Step::Format => succeed(&mut cargo(&["fmt", "--all", "--check"])?)?,
        Step::Lint => {
            let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
            succeed(&mut cargo(&clippy)?)?;
        }
        Step::Doc => {
            let mut doc = cargo(&["doc", "--release", "--workspace", "--no-deps"])?;
            succeed(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
        }
        Step::Rust => return rust::run(failed),
        Step::Page => build::build(build::WEB)?,
        Step::Browser => return browser::run(xtask, failed),
    }
    Ok(Count::PASSED)
}
