//! The page as plain files. In: `web/`. Out: a folder that any web host can serve from any sub-path.

use crate::{build, run::root};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Build the page unless told not to, and copy it to a new or empty folder.
pub(crate) fn site(out: &Path, no_build: bool) -> Result<()> {
    new_folder(out)?;
    let web = root()?.join("web");
    if !no_build {
        build::build(build::WEB)?;
    }
    if !web.join("pkg/motion_web_bg.wasm").is_file() {
        bail!("web/pkg/motion_web_bg.wasm is missing: run without --no-build");
    }
    if out.canonicalize()?.starts_with(web.canonicalize()?) {
        bail!("{} is inside web/, which would be copied into itself: name another folder", out.display());
    }
    let bytes = copy(&web, out)?;
    // GitHub Pages would otherwise drop files that its generator does not like.
    std::fs::write(out.join(".nojekyll"), "")?;
    println!("{}: {:.1} MB, ready for any web host", out.display(), bytes as f64 / 1e6);
    Ok(())
}

/// Make a folder; only an empty one will do: a file left from an older site would be published for ever.
pub(crate) fn new_folder(out: &Path) -> Result<()> {
    if out.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: name a new folder, or remove it first", out.display());
    }
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))
}

/// Copy a folder and say how many bytes it holds.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<u64> {
    std::fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let (source, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        bytes += if source.is_dir() {
            copy(&source, &target)?
        } else {
            std::fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.txt"), "keep").unwrap();
        let message = site(folder.path(), true).unwrap_err().to_string();
        assert!(message.contains("not empty"), "{message}");
    }

    #[test]
    fn a_copy_has_every_file() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(from.path().join("deep")).unwrap();
        std::fs::write(from.path().join("deep/file"), "12345").unwrap();
        assert_eq!(copy(from.path(), to.path()).unwrap(), 5);
        assert_eq!(std::fs::read_to_string(to.path().join("deep/file")).unwrap(), "12345");
    }
}
