//! Progress on standard error, shown once something has taken a second. In: steps. Out: a bar, if anybody looks.

use std::sync::{LazyLock, Once};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work is not worth a bar.
const WORTH_SHOWING: Duration = Duration::from_secs(1);

/// All bars, so that notes can be written above them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A bar or spinner that goes away when dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    shown: Once,
}

impl Progress {
    /// So many steps to go.
    pub(crate) fn bar(steps: usize, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        Self::styled(bar, what, "{msg} {bar:30} {pos}/{len} ({eta} left)")
    }

    /// Nobody knows how many steps to go.
    pub(crate) fn spinner(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self::styled(bar, what, "{spinner} {msg}: {pos}")
    }

    fn styled(bar: ProgressBar, what: &str, template: &str) -> Self {
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well-formed"));
        bar.set_message(what.to_owned());
        Self { bar, begun: Instant::now(), shown: Once::new() }
    }

    /// One step further.
    pub(crate) fn inc(&self) {
        self.bar.inc(1);
        if self.begun.elapsed() > WORTH_SHOWING {
            self.shown.call_once(|| drop(BARS.add(self.bar.clone())));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        BARS.remove(&self.bar);
    }
}

/// Runs something that writes to standard error, with the bars out of its way.
pub(crate) fn above<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}
