//! Videos that a run leaves out, and why: in its state, and for people in `skipped.jsonl`.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::files::{remove, write_atomically};
use crate::progress;
use crate::videos::Videos;

/// A video that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Skipped {
    /// Its place in the list, from 0.
    pub(crate) index: usize,
    /// Why.
    pub(crate) problem: String,
}

/// A line of the file.
#[derive(Serialize)]
struct Line {
    set: &'static str,
    video: String,
    problem: String,
}

/// How many videos of the sets for training, validation and test are left out; `None` where no set is one of videos.
pub(crate) fn count(sets: &[Option<Arc<Videos>>; 3]) -> Option<usize> {
    sets.iter().flatten().map(|videos| videos.skipped_count()).reduce(|sum, count| sum + count)
}

/// Writes one line of JSON for each video that is left out, and says so; where there is none there is no file.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(path: &Path, sets: &[Option<Arc<Videos>>; 3]) -> Result<()> {
    let mut lines = String::new();
    for (set, videos) in ["train", "validate", "test"].into_iter().zip(sets) {
        let Some(videos) = videos else { continue };
        for Skipped { index, problem } in videos.skipped() {
            let line = Line { set, video: videos.path(index).display().to_string(), problem };
            lines += &serde_json::to_string(&line).unwrap_or_default();
            lines.push('\n');
        }
    }
    if lines.is_empty() {
        return remove(path);
    }
    write_atomically(path, lines.as_bytes())?;
    let count = lines.lines().count();
    progress::line(&format!("note: {count} videos could not be read and were skipped: {}", path.display()));
    Ok(())
}
