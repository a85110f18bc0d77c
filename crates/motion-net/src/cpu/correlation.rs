//! Correlation: two `[N, H, W, C]` in, `[N, H, W, P*P]` out: relu(<first(y, x), second(y + dy, x + dx)>), dy-major,
//! 0 where the neighbour is outside the map.
//!
//! The way back is a matrix product for each line, with the gradient laid out as a matrix.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::gemm::{Matrix, multiply_into};
use super::values::{activation, misshapen, slice, tensor, values, written, zeros};
use crate::Result;

/// See [`crate::Backend::correlation`].
pub(super) fn correlation(first: &Tensor, second: &Tensor, patch: usize) -> Result<Tensor> {
    let search = Search::new("correlation", first, second, patch)?;
    Ok(first.contiguous()?.apply_op2(&second.contiguous()?, search)?)
}

/// Its square is still a length on a 32-bit machine.
const LARGEST_PATCH: usize = 1023;

/// Lengths of a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    pub(super) n: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    c: usize,
    pub(super) patch: usize,
}

impl Search {
    pub(super) fn new(
        operation: &'static str,
        first: &Tensor,
        second: &Tensor,
        patch: usize,
    ) -> Result<Self> {
        let [n, h, w, c] = activation(operation, first)?;
        if activation(operation, second)? != [n, h, w, c] {
            return Err(misshapen(operation, second, format!("{:?}, as the first", first.dims())));
        }
        if patch.is_multiple_of(2) || patch > LARGEST_PATCH {
            let expected = format!("an odd patch up to {LARGEST_PATCH} beside it, found patch {patch}");
            return Err(misshapen(operation, first, expected));
        }
        Ok(Self { n, h, w, c, patch })
    }

    /// Lines that a window around line `y` reaches.
    fn lines(&self, y: usize) -> std::ops::Range<usize> {
        let radius = self.patch / 2;
        y.saturating_sub(radius)..(y + radius + 1).min(self.h)
    }

    /// The lines that a window around this line reaches, as one matrix.
    fn around<'a>(&self, x: &'a [f32], line: usize) -> Matrix<'a> {
        let (frame, lines) = (line / self.h * self.h, self.lines(line % self.h));
        let size = self.w * self.c;
        let x = &x[(frame + lines.start) * size..(frame + lines.end) * size];
        Matrix::new(x, lines.len() * self.w, self.c)
    }

    /// Fills `out` line by line; see [`motion_kernels::Search::run`].
    pub(super) fn run(
        &self,
        first: &[f32],
        second: &[f32],
        out: &mut [f32],
        work: impl Fn(&[f32], &mut [f32]) + Sync,
    ) {
        let Self { n, h, w, c, patch } = *self;
        motion_kernels::Search { n, h, w, c, patch }.run(first, second, out, work);
    }

    /// Calls `visit(offset in the window, offset in the position's products, length)` for the parts of the window
    /// around (line, column) that are inside the map.
    fn parts(&self, line: usize, column: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let (radius, y) = (self.patch / 2, line % self.h);
        let lines = self.lines(y);
        let (from, to) = (column.saturating_sub(radius), (column + radius + 1).min(self.w));
        for (i, other) in lines.enumerate() {
            let in_window = (other + radius - y) * self.patch + from + radius - column;
            visit(in_window, i * self.w + from, to - from);
        }
    }

    /// Gradient of `first`, or of `second` when looking `back`, from the gradient before the relu.
    ///
    /// Seen from `second`, the position (y, x) is the neighbour (-dy, -dx) of each of its neighbours.
    fn gradient(
        &self,
        other: &[f32],
        grad: impl Fn(usize) -> f32 + Sync,
        back: bool,
    ) -> candle_core::Result<Vec<f32>> {
        let area = self.patch * self.patch;
        written(self.n * self.h * self.w * self.c, self.w * self.c, |line, out| {
            let lines = self.lines(line % self.h);
            let length = lines.len() * self.w;
            let first_line = line / self.h * self.h + lines.start;
            let mut matrix = vec![0.0; self.w * length];
            for (column, row) in matrix.chunks_exact_mut(length).enumerate() {
                self.parts(line, column, |in_window, from, count| {
                    for i in 0..count {
                        row[from + i] = if back {
                            let neighbour = first_line * self.w + from + i;
                            grad(neighbour * area + area - 1 - (in_window + i))
                        } else {
                            grad((line * self.w + column) * area + in_window + i)
                        };
                    }
                });
            }
            multiply_into(Matrix::new(&matrix, self.w, length), self.around(other, line), out)
        })
    }
}

impl CustomOp2 for Search {
    fn name(&self) -> &'static str {
        "correlation"
    }

    fn cpu_fwd(
        &self,
        first: &CpuStorage,
        first_layout: &Layout,
        second: &CpuStorage,
        second_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (first, second) = (slice(first, first_layout)?, slice(second, second_layout)?);
        let area = self.patch * self.patch;
        let mut scores = zeros(self.n * self.h * self.w * area)?;
        self.run(first, second, &mut scores, |scores, out| out.copy_from_slice(scores));
        Ok((CpuStorage::F32(scores), Shape::from((self.n, self.h, self.w, area))))
    }

    fn bwd(
        &self,
        first: &Tensor,
        second: &Tensor,
        scores: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (scores, grad) = (values(scores)?, values(&grad)?);
        let grad = |i: usize| if scores[i] > 0.0 { grad[i] } else { 0.0 };
        let of = |wanted: &Tensor, other: &Tensor, back: bool| {
            wanted
                .track_op()
                .then(|| tensor(self.gradient(&values(other)?, grad, back)?, wanted.dims()))
                .transpose()
        };
        Ok((of(first, second, false)?, of(second, first, true)?))
    }
}
