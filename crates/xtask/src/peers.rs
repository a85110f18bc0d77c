//! What every comparison with peers needs. In: the repository. Out: a Python with packages of its own, our program, and a
//! table.

use crate::run::{cargo, succeed};
use crate::test::tools;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python of its own in the folder `venv`, with the packages that a file of requirements names, made anew when it
/// changes; `what` says what is in it, and how much that is.
pub(crate) fn python(requirements: &Path, venv: &Path, what: &str) -> Result<PathBuf> {
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let installed = venv.join("requirements.txt");
    let read = |file: &Path| std::fs::read_to_string(file).ok();
    if read(&installed).is_some() && read(&installed) == read(requirements) {
        return Ok(python);
    }
    eprintln!("installing {what} into {}", venv.display());
    let system = tools::need(&tools::PYTHON)?;
    succeed(Command::new(system).args(["-m", "venv", "--clear"]).arg(venv))
        .context("Python 3 made no virtual environment; on Debian, install python3-venv")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    succeed(pip.arg(requirements))?;
    // Last, so that an install that was cut short is done again.
    std::fs::copy(requirements, &installed).context("noting what is installed")?;
    Ok(python)
}

/// Our program, compiled.
pub(crate) fn motionlens() -> Result<PathBuf> {
    // Programs of one build lie side by side, wherever the target folder is.
    let xtask = std::env::current_exe().context("finding this program")?;
    succeed(&mut cargo(&["build", "--release", "--workspace", "--bins"])?)?;
    Ok(xtask.with_file_name(format!("motionlens{}", std::env::consts::EXE_SUFFIX)))
}

/// Markdown that is a table to the eye as well.
pub(crate) fn table(head: &[&str], rows: impl Iterator<Item = impl Into<Vec<String>>>) -> String {
    let head = head.iter().map(|&title| title.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows.map(Into::into)).collect();
    let width =
        |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for (index, cells) in lines.iter().enumerate() {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        text += &format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            text += &format!("|{}|\n", rules.join("|"));
        }
    }
    text
}
