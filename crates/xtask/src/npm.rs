//! The engine as a package for other pages and for Node.js. In: `crates/motion-web/npm` and the wasm module. Out: a
//! folder that `npm pack` and `npm publish` take.

use crate::{build, run::root, site};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// What comes from the page's build.
const BUILT: [&str; 4] =
    ["pkg/motion_web.js", "pkg/motion_web_bg.wasm", "pkg/motion_web_relaxed.wasm", "relaxed.js"];
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// Build the module unless told not to, and put the package together in a new or empty folder.
pub(crate) fn npm(out: &Path, no_build: bool) -> Result<()> {
    let root = root()?;
    site::new_folder(out)?;
    if !no_build {
        build::build(build::WEB)?;
    }
    let mut bytes = site::copy(&root.join("crates/motion-web/npm"), out)?;
    let web = root.join("web");
    for file in BUILT.map(|file| web.join(file)).into_iter().chain(LICENCES.map(|file| root.join(file))) {
        let name = file.file_name().context("a file without a name")?;
        bytes += std::fs::copy(&file, out.join(name))
            .with_context(|| format!("copying {}: without --no-build it is built first", file.display()))?;
    }
    let manifest = out.join("package.json");
    let mut package: Value = serde_json::from_slice(&std::fs::read(&manifest)?)?;
    package["version"] = env!("CARGO_PKG_VERSION").into();
    std::fs::write(&manifest, serde_json::to_string_pretty(&package)?)?;
    println!("{}: {:.1} MB, ready for npm pack", out.display(), bytes as f64 / 1e6);
    Ok(())
}
