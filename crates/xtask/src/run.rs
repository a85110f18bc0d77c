//! Paths and child processes. In: a program and its arguments. Out: its success, or one clear error.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root: where cargo says this package lives, two folders up.
pub(crate) fn root() -> Result<PathBuf> {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&package).join("../..");
    root.canonicalize()
        .with_context(|| format!("repository root {}: run this as `cargo xtask`", root.display()))
}

/// The cargo that started us, in the repository's root.
///
/// `RUSTFLAGS` from the environment is dropped: it would replace the flags of `.cargo/config.toml`,
/// without which the wasm module is built without simd128, and compile every dependency again.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    at_root(command)
}

/// The cargo of the nightly toolchain, in the same way.
pub(crate) fn nightly_cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(arguments);
    at_root(command)
}

fn at_root(mut command: Command) -> Result<Command> {
    command.current_dir(root()?).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(command)
}

/// Run a command to its end; anything but exit code 0 is an error that shows the command.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let line = describe(command);
    let status = command.status().with_context(|| format!("`{line}` did not start"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// A command as a user would type it.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Where a program is on `PATH`, if it is.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
