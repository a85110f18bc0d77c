//! Shared by the tests: golden files in, differences out.

pub mod compare;
pub mod golden;
pub mod random;

use std::path::{Path, PathBuf};

use motion_net::GpuBackend;
/// Output of a future that has nothing to wait for but this machine.
pub use pollster::block_on as now;
/// `#[test]` for what waits: natively it is waited for, in a browser the event loop goes on with it.
#[cfg(not(target_arch = "wasm32"))]
pub use pollster::test as async_test;
#[cfg(target_arch = "wasm32")]
pub use wasm_bindgen_test::wasm_bindgen_test as async_test;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Tells whoever reads the output of the tests.
pub fn say(text: &str) {
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{text}");
    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::console_log!("{text}");
}

/// The graphics card of this machine, or what stands in for one; `None`, said to be skipped, where there is none.
///
/// # Panics
/// When there is one and it does not work.
pub async fn gpu() -> Option<GpuBackend> {
    match GpuBackend::open(None).await {
        Ok(gpu) => Some(gpu),
        Err(error) if error.to_string().contains("no graphics adapter") => {
            say(&format!("skipped: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}
