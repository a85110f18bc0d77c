//! Dense convolution: activation(convolution(shift(x)) + bias + residual), `[N, H, W, C]` to `[N, H', W', C']`; which
//! algorithm runs is decided when the weights are packed.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::direct::Direct;
use crate::order::{reversed, transposed};
use crate::shape::{Limits, Shape};
use crate::simd::Level;
use crate::winograd::Winograd;

/// Positions from which on it pays to transform filters for one run.
const REPACKED: usize = 1024;

/// A convolution ready to run.
pub struct Conv {
    shape: Shape,
    algorithm: Algorithm,
}

enum Algorithm {
    Direct(Direct),
    Winograd(Winograd),
}

/// What a convolution reads.
#[derive(Clone, Copy)]
pub struct ConvInput<'a> {
    /// `[n, h, w, C]`.
    pub x: &'a [f32],
    /// Frames, lines and columns.
    pub size: [usize; 3],
    /// Frames of a clip whose channels are shifted in time first: C/8 from the next frame, C/8 from the one before.
    pub shift: Option<usize>,
    /// Added before the activation, `[n, h', w', C']`.
    pub residual: Option<&'a [f32]>,
    /// The activation.
    pub limits: Limits,
}

impl ConvInput<'_> {
    /// Whether the lengths fit, for so many channels.
    pub(crate) fn check(&self, channels: usize) {
        let [n, h, w] = self.size;
        assert_eq!(self.x.len(), n * h * w * channels, "length of the input");
        if let Some(frames) = self.shift {
            assert!(frames > 0 && n.is_multiple_of(frames), "clips of {frames} frames in {n}");
            assert!(channels.is_multiple_of(8), "a shift of {channels} channels");
        }
    }

    /// Copies some columns of a frame's line, its channels shifted in time where asked for.
    pub(crate) fn copy(
        &self,
        channels: usize,
        frame: usize,
        y: usize,
        columns: Range<usize>,
        to: &mut [f32],
    ) {
        let [_, h, w] = self.size;
        let line = |frame: usize| {
            &self.x[((frame * h + y) * w + columns.start) * channels..][..columns.len() * channels]
        };
        let Some(frames) = self.shift else { return to.copy_from_slice(line(frame)) };
        let part = channels / 8;
        let next = (frame % frames + 1 < frames).then(|| line(frame + 1));
        let before = (!frame.is_multiple_of(frames)).then(|| line(frame - 1));
        for (i, (to, here)) in
            to.chunks_exact_mut(channels).zip(line(frame).chunks_exact(channels)).enumerate()
        {
            let mut take = |range: Range<usize>, from: Option<&[f32]>| match from {
                Some(from) => to[range.clone()].copy_from_slice(&from[i * channels..][range]),
                None => to[range].fill(0.0),
            };
            take(0..part, next);
            take(part..2 * part, before);
            to[2 * part..].copy_from_slice(&here[2 * part..]);
        }
    }
}

impl Conv {
    /// Packs weight `[C', k, k, C]` and bias `[C']` for the best instructions of this machine.
    ///
    /// # Panics
    /// When the lengths are not those of the shape, or this machine has not the instructions.
    pub fn new(shape: Shape, weight: &[f32], bias: &[f32]) -> Self {
        Self::with_level(Level::best(), shape, weight, bias)
    }

    /// The same for other instructions.
    ///
    /// # Panics
    /// As [`Conv::new`].
    pub fn with_level(level: Level, shape: Shape, weight: &[f32], bias: &[f32]) -> Self {
        level.check();
        assert_eq!(weight.len(), shape.output * shape.window(), "length of the weight");
        assert_eq!(bias.len(), shape.output, "length of the bias");
        let algorithm = if Winograd::suits(shape) {
            let Shape { input, output, kernel, .. } = shape;
            let rows = reversed(weight, [output, kernel * kernel, input]);
            Algorithm::Winograd(Winograd::from_rows(level, shape, &rows, false, bias))
        } else {
            Algorithm::Direct(Direct::new(level, shape, weight, bias))
        };
        Self { shape, algorithm }
    }

    /// For weights that change after every run over `size` frames, lines and columns: `[C', C, k, k]`, a checkpoint's
    /// order.
    ///
    /// # Panics
    /// As [`Conv::with_level`].
    pub fn once(level: Level, shape: Shape, size: [usize; 3], weight: &[f32], bias: &[f32]) -> Self {
        let window = shape.window();
        assert_eq!(weight.len(), shape.output * window, "length of the weight");
        let rows = transposed(weight, shape.output, window);
        Self::from_rows(level, shape, size, &rows, false, bias)
    }

    /// The same of weight `[C, k, k, C']`, the taps from the last to the first if `turned`.
    pub(crate) fn from_rows(
        level: Level,
        shape: Shape,
        size: [usize; 3],
        rows: &[f32],
        turned: bool,
        bias: &[f32],
    ) -> Self {
        level.check();
        assert_eq!(bias.len(), shape.output, "length of the bias");
        let positions: usize = size.iter().product();
        let algorithm = if Winograd::suits(shape) && positions >= REPACKED {
            Algorithm::Winograd(Winograd::from_rows(level, shape, rows, turned, bias))
        } else {
            Algorithm::Direct(Direct::from_rows(level, shape, rows, turned, bias))
        };
        Self { shape, algorithm }
    }

    /// Writes `[n, h', w', C']`, every value of it.
    ///
    /// # Panics
    /// When a slice has not the length that the sizes ask for, or a shift does not fit.
    pub fn run(&self, input: ConvInput<'_>, out: &mut [MaybeUninit<f32>]) {
        let ([n, h, w], shape) = (input.size, self.shape);
        input.check(shape.input);
        assert_eq!(out.len(), n * shape.out(h) * shape.out(w) * shape.output, "length of the output");
        if let Some(residual) = input.residual {
            assert_eq!(residual.len(), out.len(), "length of the residual");
        }
        match &self.algorithm {
            Algorithm::Direct(direct) => direct.run(input, out),
            Algorithm::Winograd(winograd) => winograd.run(input, out),
        }
    }

    /// Its fixed part.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether it mixes channels alone.
    pub fn is_pointwise(&self) -> bool {
        self.shape.kernel == 1 && self.shape.stride == 1
    }

    /// A line of positions through a pointwise convolution, on this thread.
    pub(crate) fn line(&self, input: ConvInput<'_>, out: &mut [MaybeUninit<f32>]) {
        match &self.algorithm {
            Algorithm::Direct(direct) => direct.line(input, out),
            Algorithm::Winograd(_) => unreachable!("a pointwise convolution has nothing to save"),
        }
    }
}
