//! Progress on standard error, shown once something has taken a second. In: steps. Out: a bar, if anybody looks.

use std::io::{IsTerminal, stderr};
use std::sync::{LazyLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work is not worth a bar.
const WORTH_SHOWING: Duration = Duration::from_secs(1);
/// Between two movements of a bar that shows that something is going on.
const TICK: Duration = Duration::from_millis(120);

/// All bars, so that notes can be written above them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A bar that goes away when dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Shows the bar later; dropping the sender ends it.
    shown: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// So many steps to go.
    pub(crate) fn bar(steps: usize, what: &str) -> Self {
        Self::new(Some(steps as u64), what, "{spinner} {msg} {bar:30} {pos}/{len} ({elapsed}, {eta} left)")
    }

    /// Nobody knows how many steps to go.
    pub(crate) fn counter(what: &str) -> Self {
        Self::new(None, what, "{spinner} {msg}: {pos} ({elapsed})")
    }

    /// One step that may take long.
    pub(crate) fn wait(what: &str) -> Self {
        Self::new(None, what, "{spinner} {msg} ({elapsed})")
    }

    fn new(steps: Option<u64>, what: &str, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(steps, ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well-formed"));
        bar.set_message(what.to_owned());
        let shown = stderr().is_terminal().then(|| {
            let (sender, dropped) = mpsc::channel();
            let bar = bar.clone();
            let show = move || {
                if dropped.recv_timeout(WORTH_SHOWING) == Err(mpsc::RecvTimeoutError::Timeout) {
                    BARS.add(bar).enable_steady_tick(TICK);
                }
            };
            (sender, thread::spawn(show))
        });
        Self { bar, shown }
    }

    /// One step further.
    pub(crate) fn inc(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.shown.take() {
            drop(sender);
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
        BARS.remove(&self.bar);
    }
}

/// Runs something that writes to standard error, with the bars out of its way.
pub(crate) fn above<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}
