//! The page's wasm module, twice. In: `crates/motion-web`. Out: `web/pkg/motion_web.js`, `motion_web_relaxed.wasm` and,
//! for engines without relaxed SIMD, `motion_web_bg.wasm`; in `web/pkg-threads` the same with threads, for pages that are
//! cross-origin isolated. And test programs for the browser, in the same way, outside the page.

mod relaxed;

use crate::run::{cargo, describe, find_program, nightly_cargo, root, succeed};
use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";
const MODULE: &str = "motion_web";

/// Cargo profile of the module that users load: small and fast, slow to link.
pub(crate) const WEB: &str = "web";
/// Cargo profile for a quick look: shares its settings with the native program.
pub(crate) const DEV: &str = "release";

/// Compile `motion-web` with a cargo profile, without threads and, where that can be, with them; write the JavaScript.
pub(crate) fn build(profile: &str) -> Result<()> {
    add_wasm_target()?;
    let (plain, folder) = (cargo(&["build"])?, "web/pkg-threads");
    if let Some(reason) = nightly_lacks() {
        println!("{folder} is left out, so the page uses one thread: {reason}");
        leave_out(&root()?.join(folder))?;
        return page(plain, profile, "web/pkg");
    }
    let mut threads = nightly_cargo(&["--config", ".cargo/threads.toml", "build", "--features", "threads"])?;
    // A folder of its own: other flags would have everything compiled again, each time.
    threads.arg("--target-dir").arg(target_folder()?.join("threads"));
    // Side by side: each ends with minutes of optimisation on one core.
    let (plain, threads) = std::thread::scope(|scope| {
        let threads = scope.spawn(|| page(threads, profile, folder));
        (page(plain, profile, "web/pkg"), threads.join())
    });
    plain?;
    let threads = threads.unwrap_or_else(|_| bail!("the build of {folder} panicked"));
    threads.context(
        "the module with threads: `rustup update nightly` may help, and without nightly it is left out",
    )
}

/// Rust's tests that run in the browser, too: kernels against their twins, sums and gradients against the textbook's.
const PROGRAMS: [&str; 6] = ["conv", "correlation", "gradients", "operations", "pixels", "twins"];

/// Compile Rust's tests for the browser, each to `tests/browser/modules/PACKAGE/NAME.js` with its modules.
pub(crate) fn tests() -> Result<()> {
    add_wasm_target()?;
    let out = root()?.join("tests/browser/modules");
    if out.exists() {
        std::fs::remove_dir_all(&out).with_context(|| format!("removing {}", out.display()))?;
    }
    let mut command =
        cargo(&["test", "--no-run", "--package", "motionlens-tests", "--package", "motion-kernels"])?;
    for name in PROGRAMS {
        command.args(["--test", name]);
    }
    for made in compile(command, DEV)? {
        let text = |value: &Value| value.as_str().map(PathBuf::from);
        let Some(wasm) = text(&made["executable"]) else { continue };
        let package = text(&made["manifest_path"]).context("cargo names no package")?;
        let folder = package.parent().and_then(Path::file_name).context("a package lies in a folder")?;
        glue(&wasm, &out.join(folder), made["target"]["name"].as_str().context("cargo names no test")?)?;
    }
    Ok(())
}

/// Compile the page's module, write it and its JavaScript into a folder of the page, and say how large they are.
fn page(mut command: Command, profile: &str, folder: &str) -> Result<()> {
    command.args(["--package", "motion-web", "--lib"]);
    let made = compile(command, profile)?;
    let wasm = made
        .iter()
        .filter(|made| made["target"]["name"] == MODULE)
        .flat_map(|made| made["filenames"].as_array().into_iter().flatten())
        .filter_map(|file| file.as_str().map(Path::new))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .context("cargo made no .wasm file")?;
    let out = root()?.join(folder);
    glue(wasm, &out, MODULE)?;
    for name in ["motion_web_relaxed.wasm", "motion_web_bg.wasm", "motion_web.js"] {
        let (raw, gzip) = sizes(&out.join(name))?;
        println!("{folder}/{name}: {} kB, {} kB gzip", raw.div_ceil(1000), gzip.div_ceil(1000));
    }
    Ok(())
}

/// In the place of a module, and of what an earlier build left there: the reason, for the page that asks for it. A file
/// that is missing would be an error in the browser's console.
fn leave_out(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let reason = "throw new Error('it was built without a nightly Rust, which threads need');\n";
    std::fs::write(folder.join("motion_web.js"), reason)
        .with_context(|| format!("writing to {}", folder.display()))
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

/// What is missing to compile the standard library for threads, and how to get it.
///
/// A toolchain is hundreds of megabytes, which nobody should download by surprise; the library's source is two.
fn nightly_lacks() -> Option<&'static str> {
    let rustup = |arguments: &[&str]| {
        let output = Command::new("rustup").args(arguments).output().ok();
        output.filter(|output| output.status.success())
    };
    let Some(sysroot) = rustup(&["run", "nightly", "rustc", "--print", "sysroot"]) else {
        return Some(
            "`rustup toolchain install nightly --profile minimal --component rust-src` adds what threads need",
        );
    };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if !sysroot.join("lib/rustlib/src/rust/library").is_dir() {
        eprintln!("adding the standard library's source to the nightly toolchain");
        rustup(&["component", "add", "rust-src", "--toolchain", "nightly"])
            .is_none()
            .then_some("`rustup component add rust-src --toolchain nightly` did not succeed")
    } else {
        None
    }
}

fn has_wasm_target() -> Result<bool> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root()?)
        .output()
        .context("rustc did not start: install Rust from https://rustup.rs")?;
    Ok(output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Where cargo builds.
fn target_folder() -> Result<PathBuf> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"])?.output();
    let output = output.context("`cargo metadata` did not start")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into())
}

/// Run cargo for the browser to its end, and let it tell what it made: the target folder may be anywhere.
fn compile(mut command: Command, profile: &str) -> Result<Vec<Value>> {
    command.args(["--target", TARGET, "--profile", profile, "--message-format", "json-render-diagnostics"]);
    let line = describe(&command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("`{line}` did not start"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}: the compiler's messages are above", output.status);
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().filter_map(|message| serde_json::from_str(message).ok()).collect())
}

/// Write a module and its JavaScript into a folder: `NAME_relaxed.wasm`, `NAME_bg.wasm` and `NAME.js`.
fn glue(wasm: &Path, out: &Path, name: &str) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name(name)
        .typescript(false)
        // What a test program does first is for its own system's test runner.
        .emit_start(false)
        .web(true)
        .and_then(|bindgen| bindgen.generate(out))
        .with_context(|| format!("wasm-bindgen could not make {} from {}", out.display(), wasm.display()))?;
    let (plain, fast) = (out.join(format!("{name}_bg.wasm")), out.join(format!("{name}_relaxed.wasm")));
    let wasm = std::fs::read(&plain).with_context(|| format!("reading {}", plain.display()))?;
    for (file, fused) in [(plain, false), (fast, true)] {
        std::fs::write(&file, relaxed::module(&wasm, fused)?)
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Bytes of a file as it is, and as a web host sends it.
fn sizes(file: &Path) -> Result<(usize, usize)> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes)?;
    Ok((bytes.len(), gzip.finish()?.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_left_out_leaves_nothing_but_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("pkg-threads");
        leave_out(&folder).unwrap();
        std::fs::write(folder.join("motion_web_bg.wasm"), "of an earlier build").unwrap();
        leave_out(&folder).unwrap();
        assert!(!folder.join("motion_web_bg.wasm").exists());
        assert!(std::fs::read_to_string(folder.join("motion_web.js")).unwrap().contains("nightly"));
    }
}
