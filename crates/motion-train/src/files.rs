//! Bytes in, a file out that is never half of one.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Result, at};

/// Writes a file beside its place and moves it there once it is on the disk: whoever reads, and whenever the program
/// or the machine stops, there is the old file or the new one.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    rename(&write_beside(path, bytes)?, path)
}

/// The same, and what was there before is kept under another name.
pub(crate) fn write_keeping(path: &Path, previous: &Path, bytes: &[u8]) -> Result<()> {
    let part = write_beside(path, bytes)?;
    if path.exists() {
        rename(path, previous)?;
    }
    rename(&part, path)
}

fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let part = path.with_extension("part");
    let mut file = File::create(&part).map_err(at(&part))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&part))?;
    Ok(part)
}

/// Moves a file onto another one of the same folder, for good.
fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(at(to))?;
    // A name is on the disk when its folder is; only Unix opens a folder as a file.
    #[cfg(unix)]
    if let Some(folder) = to.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
    }
    Ok(())
}

/// Removes a file that need not be there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}
