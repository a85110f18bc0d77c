//! Progress bars on standard error.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that says what, how far and how long still; silent where standard error is no terminal.
pub(crate) fn bar(what: &'static str, count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(count as u64).with_style(style).with_message(what)
}

/// A line for people, on standard error, terminal or not.
pub(crate) fn line(text: &str) {
    // A closed standard error is no reason to stop training.
    let _ = writeln!(std::io::stderr(), "{text}");
}
