//! Programs that the tests need. In: names to look for. Out: a path, installed if that is allowed, or how to get it.

use crate::run::{find_program, succeed};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program under any of the names it goes by, and Debian's package of it.
pub(crate) struct Tool {
    names: &'static [&'static str],
    package: &'static str,
}

pub(crate) const FFMPEG: Tool = Tool { names: &["ffmpeg"], package: "ffmpeg" };
pub(crate) const NPM: Tool = Tool { names: &["npm", "npm.cmd"], package: "npm" };
const CHROMIUM: Tool = Tool {
    names: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    package: "chromium",
};

const FIREFOX: Tool = Tool { names: &["firefox-esr", "firefox"], package: "firefox-esr" };

pub(crate) const PYTHON: Tool = Tool { names: &["python3", "python"], package: "python3-venv" };

/// The browser named by `CHROMIUM`, else the one on `PATH`.
pub(crate) fn chromium() -> Result<PathBuf> {
    std::env::var_os("CHROMIUM").map_or_else(|| need(&CHROMIUM), |path| Ok(path.into()))
}

/// The browser named by `FIREFOX`, else the one on `PATH`.
pub(crate) fn firefox() -> Result<PathBuf> {
    std::env::var_os("FIREFOX").map_or_else(|| need(&FIREFOX), |path| Ok(path.into()))
}

/// Install what a folder's package-lock.json names, if it changed.
pub(crate) fn npm_ci(npm: &Path, folder: &Path) -> Result<()> {
    if is_older(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
        succeed(Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))?;
    }
    Ok(())
}

/// Whether a made file is missing or was made before its source last changed.
fn is_older(made: &Path, source: &Path) -> bool {
    let changed = |file: &Path| file.metadata().and_then(|data| data.modified()).ok();
    changed(made).is_none_or(|made| changed(source).is_some_and(|source| made < source))
}

/// Find a program; where it is missing and we are root on a Debian, install it.
pub(crate) fn need(tool: &Tool) -> Result<PathBuf> {
    let find = || tool.names.iter().find_map(|name| find_program(name));
    if let Some(program) = find() {
        return Ok(program);
    }
    let package = tool.package;
    install(package)?;
    find().with_context(|| format!("apt-get installed {package}, but no program {:?} is on PATH", tool.names))
}

/// A graphics card's driver, or where Linux has none a program in its place. Without one the tests that need it say
/// that they were skipped.
pub(crate) fn graphics() {
    const PACKAGE: &str = "mesa-vulkan-drivers";
    let drivers = |folder: &str| std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some());
    if !cfg!(target_os = "linux") || ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].into_iter().any(drivers)
    {
        return;
    }
    if let Err(error) = install(PACKAGE) {
        println!("{error:#}");
    }
}

/// Install a package where we are root on a Debian.
fn install(package: &str) -> Result<()> {
    if !is_root() || find_program("apt-get").is_none() {
        bail!("{package} is missing: install it, on Debian with `sudo apt-get install {package}`");
    }
    println!("installing {package}");
    let apt = |arguments: &[&str]| {
        succeed(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "--quiet"])?;
    apt(&["install", "--quiet", "--yes", "--no-install-recommends", package])
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
