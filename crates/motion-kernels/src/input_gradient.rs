//! Gradient of what a dense convolution read: the output's gradient `[N, H', W', C']` and the weight `[C', C, k, k]` in,
//! `[N, H, W, C]` out.
//!
//! With stride 1 it is a convolution again, with each filter turned about and the channels changing places. With a
//! larger one the gradients of the windows of a band of lines, a product over channels alone, are laid out in the cache
//! and each is added where its window lies.

use std::mem::MaybeUninit;

use crate::conv::{Conv, ConvInput};
use crate::gradient::Gradient;
use crate::order::channels_last;
use crate::parallel::{Shared, for_each};
use crate::scratch::{uninit, with_scratch};
use crate::shape::{Limits, Shape};
use crate::simd::vectorised;

/// Values of the windows that are laid out at a time: 1 MiB, half of a core's usual L2 cache.
const WINDOWS: usize = 256 * 1024;

impl Gradient<'_> {
    /// Writes the gradient of what a dense convolution with this weight, `[C', C, k, k]`, read: every value of it. Its
    /// channels were shifted in time, in clips of `shift` frames, where there are any.
    ///
    /// # Panics
    /// When a slice has not the length that the sizes ask for, or this machine has not the instructions.
    pub fn input(&self, weight: &[f32], shift: Option<usize>, out: &mut [MaybeUninit<f32>]) {
        self.check();
        self.unshifted(weight, out);
        if let Some(frames) = shift {
            self.shift_back(frames, Shared::new(out.as_mut_ptr().cast()));
        }
    }

    /// Each shifted channel's gradient goes to the frame that it came from.
    fn shift_back(&self, frames: usize, out: Shared) {
        let ([n, h, w], channels) = (self.size, self.shape.input);
        assert!(frames > 0 && n.is_multiple_of(frames), "clips of {frames} frames in {n}");
        assert!(channels.is_multiple_of(8), "a shift of {channels} channels");
        let part = channels / 8;
        for_each(n / frames * h, |i| {
            let (clip, y) = (i / h, i % h);
            for x in 0..w {
                // SAFETY: a place in a frame, inside; no other task has the places of this line in this clip.
                unsafe {
                    let at = |t: usize| out.get().add((((clip * frames + t) * h + y) * w + x) * channels);
                    for t in (1..frames).rev() {
                        at(t - 1).copy_to_nonoverlapping(at(t), part);
                    }
                    at(0).write_bytes(0, part);
                    for t in 1..frames {
                        at(t).add(part).copy_to_nonoverlapping(at(t - 1).add(part), part);
                    }
                    at(frames - 1).add(part).write_bytes(0, part);
                }
            }
        });
    }

    fn unshifted(&self, weight: &[f32], out: &mut [MaybeUninit<f32>]) {
        let Shape { input, output, kernel, stride } = self.shape;
        let taps = kernel * kernel;
        assert_eq!(weight.len(), output * input * taps, "length of the weight");
        assert_eq!(out.len(), self.inputs(), "length of the input's gradient");
        // Seen from here the output's channels come in, and for each of them and each tap those of the input go out.
        let rows = channels_last(weight, output, input, taps);
        if stride == 1 {
            let back = Shape { input: output, output: input, kernel, stride };
            let conv = Conv::from_rows(self.level, back, self.size, &rows, true, &vec![0.0; input]);
            let (x, size) = (self.grad, self.size);
            return conv.run(ConvInput { x, size, shift: None, residual: None, limits: Limits::NONE }, out);
        }
        let to_windows = Shape { input: output, output: taps * input, kernel: 1, stride: 1 };
        let zeros = vec![0.0; taps * input];
        let product = Conv::from_rows(self.level, to_windows, self.size, &rows, false, &zeros);
        let [n, h, w] = self.size;
        let frame = h * w * input;
        let out = Shared::new(out.as_mut_ptr().cast());
        for_each(n, |i| {
            // SAFETY: the frames are apart, and inside; zero is a number.
            let frame = unsafe {
                out.get().add(i * frame).write_bytes(0, frame);
                std::slice::from_raw_parts_mut(out.get().add(i * frame), frame)
            };
            self.frame(&product, i, frame);
        });
    }

    fn frame(&self, product: &Conv, frame: usize, out: &mut [f32]) {
        let Shape { input, output, kernel, .. } = self.shape;
        let [_, h, w] = self.size;
        let (out_h, out_w) = (self.shape.out(h), self.shape.out(w));
        let window = kernel * kernel * input;
        let band = (WINDOWS / (window * out_w)).clamp(1, out_h);
        for first in (0..out_h).step_by(band) {
            let lines = band.min(out_h - first);
            let positions = lines * out_w;
            let x = &self.grad[(frame * out_h + first) * out_w * output..][..positions * output];
            let size = [1, 1, positions];
            with_scratch(positions * window, |windows| {
                let read = ConvInput { x, size, shift: None, residual: None, limits: Limits::NONE };
                product.line(read, uninit(windows));
                vectorised(|| self.add(windows, first, out));
            });
        }
    }

    /// Adds the windows of some output lines to a frame.
    #[inline(always)]
    fn add(&self, windows: &[f32], first: usize, frame: &mut [f32]) {
        let Shape { input, kernel, stride, .. } = self.shape;
        let [_, h, w] = self.size;
        let (out_w, pad) = (self.shape.out(w), kernel / 2);
        for (i, window) in windows.chunks_exact(kernel * kernel * input).enumerate() {
            let (top, left) = ((first + i / out_w) * stride, i % out_w * stride);
            // Columns of the map that the window covers, and how many of its own lie before the map.
            let (from, to) = (left.saturating_sub(pad), (left + pad + 1).min(w));
            let skipped = from + pad - left;
            for ky in 0..kernel {
                let Some(y) = (top + ky).checked_sub(pad).filter(|y| *y < h) else { continue };
                let sums = &mut frame[(y * w + from) * input..(y * w + to) * input];
                let values = &window[(ky * kernel + skipped) * input..][..sums.len()];
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            }
        }
    }
}
