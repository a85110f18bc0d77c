//! Dropout: zeroes a share of the values and scales the rest up.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Tensor;

use crate::{Error, Result};

/// See [`crate::Backend::dropout`]. The random numbers go on from `state`, the same from the same start.
pub(crate) fn dropout(x: &Tensor, share: f32, state: &AtomicU64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&share) {
        let message = format!("dropout of a share of {share}, expected 0 to below 1");
        return Err(Error::Backend { backend: "candle", message });
    }
    if share == 0.0 {
        return Ok(x.clone());
    }
    let count = x.elem_count();
    let start = state.fetch_add(count as u64, Ordering::Relaxed);
    let scale = 1.0 / (1.0 - share);
    let mask = (0..count as u64).map(|i| {
        // The upper 24 bits, as a number in 0 ... 1.
        let uniform = (mix(start.wrapping_add(i)) >> 40) as f32 / (1u32 << 24) as f32;
        if uniform < share { 0.0 } else { scale }
    });
    Ok((x * Tensor::from_vec(mask.collect(), x.dims(), x.device())?)?)
}

/// The number of this index in a random sequence: SplitMix64's output function (Steele et al. 2014).
pub(crate) fn mix(index: u64) -> u64 {
    let z = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
