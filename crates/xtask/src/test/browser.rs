//! Playwright's tests of the page. In: `tests/browser/`. Out: how many passed, failed and were skipped.

use super::{Count, tools};
use crate::build;
use crate::run::{cargo, root, succeed};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Install the test runner if it changed, run it, and read what it wrote; `xtask` is this program, which serves the page.
pub(crate) fn run(xtask: &Path, failed: &mut Vec<String>) -> Result<Count> {
    if !root()?.join("web/pkg/motion_web_bg.wasm").is_file() {
        bail!("web/pkg is not built: run the step `page` first");
    }
    let npm = tools::need(&tools::NPM)?;
    let (chromium, firefox) = (tools::chromium()?, tools::firefox()?);
    build::tests()?;
    // The page's numbers are compared with those of the native program. With the tests, because dependencies have the
    // features that the tests ask for: without them all would be compiled once more.
    succeed(&mut cargo(&["build", "--release", "--workspace", "--bins", "--tests"])?)?;
    let folder = root()?.join("tests/browser");
    tools::npm_ci(&npm, &folder)?;
    let results = folder.join("results/results.json");
    if results.exists() {
        std::fs::remove_file(&results).context("removing the results of the last run")?;
    }
    let mut playwright = Command::new(&npm);
    playwright.args(["exec", "--no", "--", "playwright", "test"]).current_dir(&folder);
    // The programs that were just built lie side by side, wherever the target folder is.
    let motionlens = xtask.with_file_name(format!("motionlens{}", std::env::consts::EXE_SUFFIX));
    playwright
        .env("CHROMIUM", chromium)
        .env("FIREFOX", firefox)
        .env("XTASK", xtask)
        .env("MOTIONLENS", motionlens);
    let ended = playwright.status().context("npm did not start")?;
    let count = read_results(&results, failed)?;
    if !ended.success() && count.failed == 0 {
        bail!("playwright ended with {ended} before every test had run");
    }
    Ok(count)
}

fn read_results(file: &Path, failed: &mut Vec<String>) -> Result<Count> {
    let text =
        std::fs::read_to_string(file).context("playwright wrote no results: its messages are above")?;
    let results: serde_json::Value = serde_json::from_str(&text).context("playwright's results")?;
    name_failures(&results, failed);
    let number = |name: &str| results["stats"][name].as_u64().unwrap_or_default() as usize;
    Ok(Count {
        passed: number("expected"),
        // A test that passed only when repeated is not to be trusted.
        failed: number("unexpected") + number("flaky"),
        skipped: number("skipped"),
    })
}

/// Titles of the tests that did not pass: suites hold suites, and in the end specs.
fn name_failures(suite: &serde_json::Value, failed: &mut Vec<String>) {
    let list = |name: &str| suite[name].as_array().into_iter().flatten();
    let broken = list("specs").filter(|spec| spec["ok"] == false);
    failed.extend(broken.map(|spec| {
        let text = |name: &str| spec[name].as_str().unwrap_or_default();
        format!("{}: {}", text("file"), text("title"))
    }));
    list("suites").for_each(|suite| name_failures(suite, failed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_named() {
        let spec =
            |title: &str, ok: bool| serde_json::json!({ "title": title, "ok": ok, "file": "a.spec.js" });
        let inner = serde_json::json!({ "specs": [spec("works", true), spec("does not", false)] });
        let mut failed = Vec::new();
        name_failures(&serde_json::json!({ "suites": [{ "suites": [inner] }] }), &mut failed);
        assert_eq!(failed, ["a.spec.js: does not"]);
    }
}
