//! MobileNetV2's block in one go: expand (1x1), filter each channel (depthwise), project (1x1).
//!
//! What lies between is six times as wide as what goes in and comes out, and would go out to memory and back. A band
//! of lines at a time, it stays in the cache; at the band's edges some lines are expanded twice.

use std::mem::MaybeUninit;

use crate::conv::{Conv, ConvInput};
use crate::depthwise::Depthwise;
use crate::parallel::{Shared, for_each, threads};
use crate::scratch::{uninit, with_scratch};
use crate::shape::Limits;

/// Values of a band between the convolutions: 1 MiB, half of a core's usual L2 cache.
const BAND: usize = 256 * 1024;

/// The convolutions of a block, each with its activation; the last one's is the input's `limits`.
pub struct Bottleneck<'a> {
    /// 1x1, stride 1.
    pub expand: Option<(&'a Conv, Limits)>,
    /// In the middle.
    pub depthwise: (&'a Depthwise, Limits),
    /// 1x1, stride 1.
    pub project: &'a Conv,
}

impl Bottleneck<'_> {
    /// Writes activation(project(depthwise(expand(shift(x)))) + residual), every value of it.
    ///
    /// # Panics
    /// When the convolutions do not fit together or a slice has not the length that the sizes ask for.
    pub fn run(&self, input: ConvInput<'_>, out: &mut [MaybeUninit<f32>]) {
        let ([n, h, w], shape) = (input.size, self.depthwise.0.shape);
        let (out_h, out_w) = (shape.out(h), shape.out(w));
        let inner = shape.input;
        let from = self.expand.map_or(inner, |(expand, _)| expand.shape().input);
        let to = self.project.shape().output;
        let fits =
            self.expand.is_none_or(|(expand, _)| expand.is_pointwise() && expand.shape().output == inner);
        assert!(
            fits && self.project.is_pointwise() && self.project.shape().input == inner,
            "convolutions of a block"
        );
        assert!(self.expand.is_some() || input.shift.is_none(), "a shift without an expansion");
        input.check(from);
        assert_eq!(out.len(), n * out_h * out_w * to, "length of the output");
        assert!(input.residual.is_none_or(|residual| residual.len() == out.len()), "length of the residual");

        // Output lines of a band: whole frames if they fit, else a part of one.
        let rows_of = |lines: usize| ((lines - 1) * shape.stride + shape.kernel).min(h);
        let frame = (h * w + out_h * out_w) * inner;
        let whole = (BAND / frame).min(n.div_ceil(threads()));
        let lines = if whole > 0 {
            whole * out_h
        } else {
            (1..out_h).rev().find(|&l| (rows_of(l) * w + l * out_w) * inner <= BAND).unwrap_or(1)
        };
        let bands = if whole > 0 { n.div_ceil(whole) } else { n * out_h.div_ceil(lines) };
        let shared = Shared::new(out.as_mut_ptr().cast());
        for_each(bands, |band| {
            let lines = if whole > 0 {
                band * lines..((band + 1) * lines).min(n * out_h)
            } else {
                let (frame, part) = (band / out_h.div_ceil(lines), band % out_h.div_ceil(lines));
                frame * out_h + part * lines..frame * out_h + ((part + 1) * lines).min(out_h)
            };
            // Input lines that they read, counted over all frames.
            let rows = if whole > 0 {
                lines.start / out_h * h..lines.end / out_h * h
            } else {
                let (frame, first, last) =
                    (lines.start / out_h, lines.start % out_h, (lines.end - 1) % out_h);
                let top = (first * shape.stride).saturating_sub(shape.kernel / 2);
                let bottom = (last * shape.stride + shape.kernel - shape.kernel / 2).min(h);
                frame * h + top..frame * h + bottom
            };
            let positions = rows.len() * w;
            let filtered = lines.len() * out_w * inner;
            let staged = if input.shift.is_some() { positions * from } else { 0 };
            let expanded = if self.expand.is_some() { positions * inner } else { 0 };
            with_scratch(staged + expanded + filtered, |scratch| {
                let (staged, scratch) = scratch.split_at_mut(staged);
                let (expanded, filtered) = scratch.split_at_mut(expanded);
                let x = if input.shift.is_some() {
                    for (row, line) in rows.clone().zip(staged.chunks_exact_mut(w * from)) {
                        input.copy(from, row / h, row % h, 0..w, line);
                    }
                    &*staged
                } else {
                    &input.x[rows.start * w * from..rows.end * w * from]
                };
                let x = match self.expand {
                    None => x,
                    Some((expand, limits)) => {
                        let line =
                            ConvInput { x, size: [1, 1, positions], shift: None, residual: None, limits };
                        expand.line(line, uninit(expanded));
                        &*expanded
                    }
                };
                let (depthwise, limits) = self.depthwise;
                let origin = -((rows.start * w * inner) as isize);
                depthwise.lines(x, origin, [h, w], lines.clone(), None, limits, uninit(filtered));
                let outs = lines.start * out_w * to..lines.end * out_w * to;
                let line = ConvInput {
                    x: filtered,
                    size: [1, 1, lines.len() * out_w],
                    shift: None,
                    residual: input.residual.map(|residual| &residual[outs.clone()]),
                    limits: input.limits,
                };
                // SAFETY: the bands are apart, and inside the output.
                let out = unsafe {
                    std::slice::from_raw_parts_mut(shared.get().add(outs.start).cast(), outs.len())
                };
                self.project.line(line, out);
            });
        });
    }
}
