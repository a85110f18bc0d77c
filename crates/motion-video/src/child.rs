//! One child process on a short lead. In: a program and its arguments. Out: its standard output as a stream, the
//! gist of what it complained about, and an end within the time limit whatever happens.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Complaints kept from the beginning and, apart from those, from the end.
const KEPT: usize = 16;
/// Bytes kept of one complaint.
const KEPT_BYTES: usize = 400;

/// How long a child may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    /// From one sign of life ([`Running::alive`]) to the next.
    pub(crate) silence: Duration,
    /// Altogether.
    pub(crate) total: Duration,
}

/// What a child wrote to its standard error, one complaint a line.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// How many there were.
    pub(crate) count: usize,
    first: Vec<String>,
    last: VecDeque<String>,
}

impl Complaints {
    fn push(&mut self, line: String) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(line);
        } else {
            self.last.push_back(line);
            if self.last.len() > KEPT {
                self.last.pop_front();
            }
        }
    }

    /// Those that were kept, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.first.iter().chain(&self.last).map(String::as_str)
    }
}

impl FromIterator<String> for Complaints {
    fn from_iter<I: IntoIterator<Item = String>>(lines: I) -> Self {
        let mut complaints = Self::default();
        lines.into_iter().for_each(|line| complaints.push(line));
        complaints
    }
}

/// A child process that cannot outlive this value.
pub(crate) struct Running {
    program: String,
    process: Arc<Mutex<Child>>,
    stdout: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<Complaints>>,
    begun: Instant,
    last_sign_ms: Arc<AtomicU64>,
    timed_out: Arc<AtomicBool>,
    /// Dropping it ends the watchdog.
    _leash: mpsc::Sender<()>,
}

/// How a child ended.
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// What it complained about.
    pub(crate) complaints: Complaints,
}

impl Running {
    /// Starts `program`, with nothing on its standard input.
    ///
    /// # Errors
    /// When it is not installed (saying how to get it) or cannot be started.
    pub(crate) fn start(program: &str, args: &[impl AsRef<OsStr>], limit: TimeLimit) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotInstalled { program: program.to_owned() });
            }
            Err(reason) => return Err(Error::NotStarted { program: program.to_owned(), reason }),
        };
        let stdout = BufReader::with_capacity(1 << 16, child.stdout.take().expect("stdout is piped above"));
        let stderr = child.stderr.take().expect("stderr is piped above");
        let complaints = thread::spawn(move || read_complaints(stderr));
        let process = Arc::new(Mutex::new(child));
        let (begun, last_sign_ms, timed_out) = (Instant::now(), Arc::default(), Arc::default());
        let (leash, slack) = mpsc::channel();
        let running = Self {
            program: program.to_owned(),
            process: Arc::clone(&process),
            stdout,
            complaints: Some(complaints),
            begun,
            last_sign_ms: Arc::clone(&last_sign_ms),
            timed_out: Arc::clone(&timed_out),
            _leash: leash,
        };
        thread::spawn(move || watch(&process, begun, limit, &last_sign_ms, &timed_out, &slack));
        Ok(running)
    }

    /// Its standard output.
    pub(crate) fn stdout(&mut self) -> &mut impl BufRead {
        &mut self.stdout
    }

    /// Tells the watchdog that the child is getting on.
    pub(crate) fn alive(&self) {
        self.last_sign_ms.store(elapsed_ms(self.begun), Ordering::Relaxed);
    }

    /// Tells the watchdog that the child waits for us, until [`Self::alive`].
    pub(crate) fn pause(&self) {
        self.last_sign_ms.store(u64::MAX, Ordering::Relaxed);
    }

    /// Waits for its end, reading on to the end of its output.
    ///
    /// # Errors
    /// When it was killed for taking too long, or cannot be waited for.
    pub(crate) fn finish(mut self) -> Result<Ended> {
        // A child blocked on a full pipe never ends; what it still writes is of no interest.
        let _ = std::io::copy(&mut self.stdout, &mut std::io::sink());
        let complaints = match self.complaints.take().map(JoinHandle::join) {
            Some(Ok(complaints)) => complaints,
            _ => Complaints::default(),
        };
        let status = loop {
            // Not `wait`: it would keep the watchdog from the process.
            let ended = lock(&self.process).try_wait();
            match ended? {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        if self.timed_out.load(Ordering::Relaxed) {
            let secs = self.begun.elapsed().as_secs();
            return Err(Error::Stopped { program: self.program.clone(), secs });
        }
        Ok(Ended { status, complaints })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut process = lock(&self.process);
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn lock(process: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

fn elapsed_ms(begun: Instant) -> u64 {
    begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Kills the process when it is silent or runs for too long; ends when the other end of `slack` is gone.
fn watch(
    process: &Mutex<Child>,
    begun: Instant,
    limit: TimeLimit,
    last_sign_ms: &AtomicU64,
    timed_out: &AtomicBool,
    slack: &mpsc::Receiver<()>,
) {
    while let Err(mpsc::RecvTimeoutError::Timeout) = slack.recv_timeout(Duration::from_millis(200)) {
        let silence = elapsed_ms(begun).saturating_sub(last_sign_ms.load(Ordering::Relaxed));
        if begun.elapsed() > limit.total || Duration::from_millis(silence) > limit.silence {
            let mut process = lock(process);
            if matches!(process.try_wait(), Ok(None)) {
                timed_out.store(true, Ordering::Relaxed);
                let _ = process.kill();
            }
            return;
        }
    }
}

/// Reads to the end whatever comes, keeping little of it.
fn read_complaints(stderr: impl Read) -> Complaints {
    let mut complaints = Complaints::default();
    let (mut line, mut overlong) = (Vec::new(), false);
    for byte in BufReader::new(stderr).bytes() {
        match byte {
            Ok(b'\n' | b'\r') => {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if !text.is_empty() {
                    complaints.push(text);
                }
                line.clear();
                overlong = false;
            }
            Ok(byte) if !overlong => {
                line.push(byte);
                overlong = line.len() >= KEPT_BYTES;
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&line).trim().to_owned();
    if !text.is_empty() {
        complaints.push(text);
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: TimeLimit =
        TimeLimit { silence: Duration::from_millis(400), total: Duration::from_secs(20) };

    #[test]
    fn a_missing_program_is_named_with_its_remedy() {
        let Err(error) = Running::start("no-such-program-here", &[""; 0], SHORT) else {
            panic!("it started")
        };
        let message = error.to_string();
        assert!(
            message.contains("no-such-program-here") && message.contains("apt install ffmpeg"),
            "{message}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_silent_child_is_stopped() {
        let begun = Instant::now();
        let child = Running::start("sleep", &["30"], SHORT).unwrap();
        let message = child.finish().err().expect("it must be stopped").to_string();
        assert!(message.contains("stopped"), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[cfg(unix)]
    #[test]
    fn a_flood_of_complaints_is_counted_and_mostly_forgotten() {
        let script = "i=0; while [ $i -lt 2000 ]; do echo complaint $i >&2; i=$((i+1)); done; exit 3";
        let ended =
            Running::start("sh", &["-c", script], TimeLimit { silence: SHORT.total, ..SHORT }).unwrap();
        let ended = ended.finish().unwrap();
        assert_eq!((ended.status.code(), ended.complaints.count), (Some(3), 2000));
        assert_eq!(ended.complaints.iter().count(), 2 * KEPT);
        assert_eq!(ended.complaints.iter().next_back(), Some("complaint 1999"));
    }
}
