//! The network's operations on plain slices of f32, channels-last: `[N, H, W, C]` in, `[N, H', W', C']` out.
//!
//! Written once over a small face on vector instructions (`simd.rs`) and compiled for each processor; which one runs
//! is decided on the machine ([`Level::best`]). Every output value is the same sum in the same order on any number
//! of threads. No tensor library: candle's tensors, or anything else, borrow these.
#![allow(
    clippy::needless_range_loop,
    reason = "loops counted over constants become registers; an iterator's closure is not compiled for the instruction set"
)]

mod bottleneck;
mod conv;
mod correlation;
mod depthwise;
mod depthwise_gradient;
mod direct;
mod displacement;
mod gradient;
mod input_gradient;
#[cfg(not(target_arch = "wasm32"))]
pub mod measure;
mod order;
mod parallel;
mod scratch;
mod shape;
mod simd;
mod weight_gradient;
mod winograd;
mod winograd_gradient;

pub use bottleneck::Bottleneck;
pub use conv::{Conv, ConvInput};
pub use correlation::Search;
pub use depthwise::Depthwise;
pub use displacement::{Displacement, Found};
pub use gradient::Gradient;
pub use order::channels_last;
pub use parallel::threads;
pub use scratch::with_scratch;
pub use shape::{Limits, Shape};
pub use simd::{LEVEL_VARIABLE, Level, vectorised};
