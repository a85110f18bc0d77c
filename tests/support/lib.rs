//! Shared by the tests: golden files in, differences out.

pub mod compare;
pub mod golden;
pub mod random;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use motion_net::GpuBackend;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The graphics card of this machine, or what stands in for one; `None`, said to be skipped, where there is none.
///
/// # Panics
/// When there is one and it does not work.
pub fn gpu() -> Option<GpuBackend> {
    match now(GpuBackend::open(None)) {
        Ok(gpu) => Some(gpu),
        Err(error) if error.to_string().contains("no graphics adapter") => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Output of a future that has nothing to wait for: the CPU backend, and natively the GPU backend, wait themselves.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a backend made somebody wait"),
    }
}
