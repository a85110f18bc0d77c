//! What leaves the program: results on standard output, notes on standard error, files that are whole or absent.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// Nobody reads standard output any more; the program ends without a word, as others do.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct Closed;

/// The error has been told already; only the exit code is left to set.
#[derive(Debug, thiserror::Error)]
#[error("told already")]
pub(crate) struct Told;

/// Writes one line of results.
///
/// # Errors
/// [`Closed`] when nobody reads it, else what the system says.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        other => other.context("cannot write to standard output"),
    }
}

/// Writes one line of JSON.
///
/// # Errors
/// As [`line()`].
pub(crate) fn json(value: &impl serde::Serialize) -> Result<()> {
    line(&serde_json::to_string(value).context("cannot write the result as JSON")?)
}

/// Tells people something that is no result. A closed standard error is no reason to stop.
pub(crate) fn note(text: &str) {
    crate::progress::above(|| {
        let _ = writeln!(io::stderr(), "note: {}", in_one_line(text));
    });
}

/// Tells people what failed, in one line.
pub(crate) fn complain(text: &str) {
    crate::progress::above(|| {
        let _ = writeln!(io::stderr(), "error: {}", in_one_line(text));
    });
}

fn in_one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some libraries repeat their cause in their own words.
        if !said.iter().any(|before| before.ends_with(&cause)) {
            said.push(cause);
        }
    }
    in_one_line(&said.join(": "))
}

/// Writes a file under a passing name in the same folder and moves it to its place once it is whole.
///
/// # Errors
/// When the folder cannot be written to, or `write` fails; the file is then absent, or as it was.
pub(crate) fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut passing = NamedTempFile::new_in(folder).with_context(failed)?;
    let mut writer = BufWriter::new(passing.as_file_mut());
    write(&mut writer).with_context(failed)?;
    writer.flush().with_context(failed)?;
    drop(writer);
    make_readable(passing.as_file()).with_context(failed)?;
    passing.persist(path).map_err(|error| error.error).with_context(failed)?;
    Ok(())
}

/// Passing files are private; results are for everybody who may read the folder.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}

/// Creates the folder of results and its parents.
///
/// # Errors
/// When it cannot be made, or is a file.
pub(crate) fn create_folder(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {} for the results", folder.display()))?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half of it")?;
            anyhow::bail!("the disk is on fire")
        });
        assert!(chain(&failed.unwrap_err()).ends_with("the disk is on fire"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write_atomically(&path, |file| Ok(file.write_all(b"all of it")?)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"all of it");
    }

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let error = anyhow::anyhow!("no such file").context("a.mp4: no such file").context("open");
        assert_eq!(chain(&error), "open: a.mp4: no such file");
    }
}
