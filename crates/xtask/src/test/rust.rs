//! `cargo test` on the workspace. In: its output, line by line. Out: how many tests passed, failed and were skipped.

use super::{Count, tools};
use crate::run::{cargo, describe};
use anyhow::{Context, Result, bail};
use motion_kernels::{LEVEL_VARIABLE, Level};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Run every Rust test, those of the network's numbers once more for each lesser instruction set of this machine, and
/// count.
pub(crate) fn run(failed: &mut Vec<String>) -> Result<Count> {
    tools::need(&tools::FFMPEG)?;
    tools::graphics();
    let mut count = test(&["--workspace"], None, failed)?;
    let best = Level::best();
    for level in Level::available().into_iter().filter(|level| *level != best) {
        println!("\nwith {LEVEL_VARIABLE}={}", level.name());
        count.add(test(&NUMBERS, Some(level), failed)?);
    }
    Ok(count)
}

/// Are they PyTorch's, and are the gradients slopes?
const NUMBERS: [&str; 5] = ["--workspace", "--test", "golden", "--test", "gradients"];

/// Run some tests, on the best instructions of this machine or on others.
fn test(which: &[&str], level: Option<Level>, failed: &mut Vec<String>) -> Result<Count> {
    let mut command = cargo(&["test", "--release", "--no-fail-fast"])?;
    command.args(which).args(["--", "--show-output"]);
    command.envs(level.map(|level| (LEVEL_VARIABLE, level.name())));
    // Where Mesa computes on the processor, its compiler takes most of the time: a third less without optimising.
    command.env("GALLIVM_PERF", "nopt");
    let line = describe(&command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("`{line}` did not start"))?;
    let mut tally = Tally::default();
    for text in BufReader::new(child.stdout.take().context("cargo's output is a pipe")?).lines() {
        let text = text?;
        println!("{text}");
        tally.read(&text);
    }
    let status = child.wait()?;
    if !status.success() && tally.count.failed == 0 {
        bail!("`{line}` ended with {status} before every test had run");
    }
    failed.append(&mut tally.failed);
    Ok(tally.count)
}

/// What the test programs have said so far.
///
/// A test that lacks its data prints `skipped: …` and returns; to libtest it has passed, to us it has not.
/// Its words come before the result line of its program.
#[derive(Default)]
struct Tally {
    count: Count,
    /// Names of the tests that failed.
    failed: Vec<String>,
    /// Inside the output of a test that passed.
    in_success: bool,
    /// Skips that the next result line will count as passed.
    skipped: usize,
    /// The present test has already said that it was skipped.
    said: bool,
}

impl Tally {
    fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.count.add(Count {
                passed: number_before(result, " passed").saturating_sub(self.skipped),
                failed: number_before(result, " failed"),
                skipped: number_before(result, " ignored") + self.skipped,
            });
            self.skipped = 0;
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failed.push(name.to_owned());
        } else if matches!(line, "successes:" | "failures:") {
            self.in_success = line == "successes:";
        } else if line.starts_with("---- ") {
            self.said = false;
        } else if line.starts_with("skipped:") && self.in_success && !self.said {
            self.said = true;
            self.skipped += 1;
        }
    }
}

/// The number in front of a word: 3 in "ok. 3 passed; 1 failed".
fn number_before(text: &str, word: &str) -> usize {
    let number = text.split(word).next().and_then(|head| head.rsplit(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_tests_are_not_counted_as_passed() {
        let output = "running 4 tests
test a ... ok
test c ... FAILED
successes:

---- a stdout ----
skipped: no ../shared/data
skipped: no ../shared/golden

---- b stdout ----
largest difference 1e-7

successes:
    a
    b

failures:

---- c stdout ----
skipped: what a failing test says counts as nothing

failures:
    c

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        assert_eq!(tally.count, Count { passed: 6, failed: 1, skipped: 2 });
        assert_eq!(tally.failed, ["c"]);
    }
}
