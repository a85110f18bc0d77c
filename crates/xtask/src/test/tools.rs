//! Programs that the tests need. In: names to look for. Out: a path, installed if that is allowed, or how to get it.

use crate::run::{find_program, succeed};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// A program under any of the names it goes by, and Debian's package of it.
pub(crate) struct Tool {
    names: &'static [&'static str],
    package: &'static str,
}

pub(crate) const FFMPEG: Tool = Tool { names: &["ffmpeg"], package: "ffmpeg" };
pub(crate) const NPM: Tool = Tool { names: &["npm", "npm.cmd"], package: "npm" };
pub(crate) const CHROMIUM: Tool = Tool {
    names: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    package: "chromium",
};

/// Find a program; where it is missing and we are root on a Debian, install it.
pub(crate) fn need(tool: &Tool) -> Result<PathBuf> {
    let find = || tool.names.iter().find_map(|name| find_program(name));
    if let Some(program) = find() {
        return Ok(program);
    }
    let package = tool.package;
    if !is_root() || find_program("apt-get").is_none() {
        bail!("{package} is missing: install it, on Debian with `sudo apt-get install {package}`");
    }
    println!("installing {package}");
    let apt = |arguments: &[&str]| {
        succeed(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "--quiet"])?;
    apt(&["install", "--quiet", "--yes", "--no-install-recommends", package])?;
    find().with_context(|| format!("apt-get installed {package}, but no program {:?} is on PATH", tool.names))
}

#[cfg(target_os = "linux")]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // /proc/self belongs to the user we run as.
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(not(target_os = "linux"))]
fn is_root() -> bool {
    false
}
