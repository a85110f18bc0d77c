//! Threads in the browser. In: how many. Out: a pool that rayon, and so the network, shares its work among.
//!
//! A thread is a worker that runs this module on the same memory (`threads.js` starts it). Our own few lines and not
//! `wasm-bindgen-rayon`, whose start never ends where a worker does not come up, needs `blob:` workers, and leaves
//! warnings in the console.

use std::sync::{Condvar, Mutex, PoisonError};

use rayon::{ThreadBuilder, ThreadPoolBuilder};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/threads.js")]
extern "C" {
    #[wasm_bindgen(js_name = startThreads)]
    fn start_threads(count: usize, module: JsValue, memory: JsValue, build: JsValue) -> js_sys::Promise;
}

/// Threads of the pool that no worker has taken yet.
static WANTED: Mutex<Vec<ThreadBuilder>> = Mutex::new(Vec::new());
static MORE: Condvar = Condvar::new();

/// Starts so many threads. Only from a worker: the page itself may not wait for them.
///
/// The promise fails when a worker cannot start, or when there is a pool already.
#[wasm_bindgen(js_name = initThreadPool)]
pub fn init_thread_pool(count: usize) -> js_sys::Promise {
    let build = Closure::once_into_js(move || build(count));
    start_threads(count, wasm_bindgen::module(), wasm_bindgen::memory(), build)
}

/// Makes the pool, once all its workers wait in [`run_thread`]: from here on nothing can reach them but shared memory,
/// because rayon waits until every thread runs.
fn build(count: usize) -> Result<(), JsError> {
    let pool = ThreadPoolBuilder::new().num_threads(count).spawn_handler(|thread| {
        WANTED.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        MORE.notify_one();
        Ok(())
    });
    Ok(pool.build_global()?)
}

/// What each worker calls when it has loaded the module: takes one of the pool's threads, and is it for ever.
#[wasm_bindgen(js_name = runThread)]
pub fn run_thread() {
    let wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wanted =
        MORE.wait_while(wanted, |wanted| wanted.is_empty()).unwrap_or_else(PoisonError::into_inner);
    let thread = wanted.pop();
    drop(wanted);
    if let Some(thread) = thread {
        thread.run();
    }
}
