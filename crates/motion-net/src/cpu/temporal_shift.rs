//! Temporal shift: `[B*T, H, W, C]` in and out, the first C/8 channels from the next frame, the next C/8 from the
//! one before, zero at the clip's ends.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::parallel::for_pieces;
use super::values::{slice, zeros};
use crate::Result;
use crate::config::SHIFT_DIVISOR;
use crate::plain::{activation, clips, misshapen};

/// See [`crate::Backend::temporal_shift`].
pub(super) fn temporal_shift(x: &Tensor, frames: usize) -> Result<Tensor> {
    check(x, frames)?;
    Ok(x.contiguous()?.apply_op1(Shift { frames, back: false })?)
}

/// Whether the channels of whole clips of so many frames can be shifted.
pub(super) fn check(x: &Tensor, frames: usize) -> Result<()> {
    let [_, _, _, channels] = activation("temporal_shift", x)?;
    clips("temporal_shift", x, frames)?;
    if !channels.is_multiple_of(SHIFT_DIVISOR) {
        return Err(misshapen("temporal_shift", x, format!("a multiple of {SHIFT_DIVISOR} channels")));
    }
    Ok(())
}

struct Shift {
    frames: usize,
    /// The other way round: where the gradient goes.
    back: bool,
}

impl CustomOp1 for Shift {
    fn name(&self) -> &'static str {
        "temporal_shift"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, (_, h, w, channels)) = (slice(x, layout)?, layout.shape().dims4()?);
        let (fold, frame, frames) = (channels / SHIFT_DIVISOR, h * w * channels, self.frames);
        let mut out = zeros(x.len())?;
        for_pieces(&mut out, frame, |i, out| {
            let at = |i: usize| &x[i * frame..(i + 1) * frame];
            let next = (i % frames + 1 < frames).then(|| at(i + 1));
            let previous = (i % frames > 0).then(|| at(i - 1));
            let (first, second) = if self.back { (previous, next) } else { (next, previous) };
            for (out, x) in out.chunks_exact_mut(channels).zip(at(i).chunks_exact(channels)) {
                out[2 * fold..].copy_from_slice(&x[2 * fold..]);
            }
            for (source, from) in [(first, 0), (second, fold)] {
                let Some(source) = source else { continue };
                for (out, x) in out.chunks_exact_mut(channels).zip(source.chunks_exact(channels)) {
                    out[from..from + fold].copy_from_slice(&x[from..from + fold]);
                }
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        learns!();
        let back = Self { frames: self.frames, back: !self.back };
        grad.contiguous()?.apply_op1_no_bwd(&back).map(Some)
    }
}
