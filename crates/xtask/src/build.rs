//! The page's wasm module. In: `crates/motion-web`. Out: `web/pkg/motion_web.js` and `motion_web_bg.wasm`.

use crate::run::{cargo, describe, find_program, root, succeed};
use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";

/// Cargo profile of the module that users load: small and fast, slow to link.
pub(crate) const WEB: &str = "web";
/// Cargo profile for a quick look: shares its settings with the native program.
pub(crate) const DEV: &str = "release";

/// Compile `motion-web` with a cargo profile and write its JavaScript glue beside it.
pub(crate) fn build(profile: &str) -> Result<()> {
    add_wasm_target()?;
    let wasm = compile(profile)?;
    let folder = root()?.join("web/pkg");
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(&wasm)
        .out_name("motion_web")
        .typescript(false)
        .web(true)
        .and_then(|bindgen| bindgen.generate(&folder))
        .with_context(|| format!("wasm-bindgen could not make web/pkg from {}", wasm.display()))?;
    for name in ["motion_web_bg.wasm", "motion_web.js"] {
        let (raw, gzip) = sizes(&folder.join(name))?;
        println!("web/pkg/{name}: {} kB, {} kB gzip", raw.div_ceil(1000), gzip.div_ceil(1000));
    }
    Ok(())
}

/// The browser's target is not part of a plain Rust install.
fn add_wasm_target() -> Result<()> {
    if has_wasm_target()? {
        return Ok(());
    }
    if find_program("rustup").is_none() && find_program("rustup.exe").is_none() {
        bail!(
            "this Rust has no {TARGET} target and rustup, which would add it, was not found: \
             install Rust from https://rustup.rs, or your system's package for that target"
        );
    }
    eprintln!("adding the {TARGET} target");
    // Explicit, because RUSTUP_AUTO_INSTALL=0 keeps rustup from adding it by itself.
    succeed(Command::new("rustup").args(["target", "add", TARGET]).current_dir(root()?))
}

fn has_wasm_target() -> Result<bool> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root()?)
        .output()
        .context("rustc did not start: install Rust from https://rustup.rs")?;
    Ok(output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Ask cargo where it put the module: the target folder may be anywhere.
fn compile(profile: &str) -> Result<PathBuf> {
    let mut command = cargo(&["build", "--package", "motion-web", "--lib", "--target", TARGET])?;
    command.args(["--profile", profile, "--message-format", "json-render-diagnostics"]);
    let line = describe(&command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("`{line}` did not start"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}: the compiler's messages are above", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|message| serde_json::from_str::<serde_json::Value>(message).ok())
        .filter(|message| message["target"]["name"] == "motion_web")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .with_context(|| format!("`{line}` made no .wasm file"))
}

/// Bytes of a file as it is, and as a web host sends it.
fn sizes(file: &Path) -> Result<(usize, usize)> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes)?;
    Ok((bytes.len(), gzip.finish()?.len()))
}
