//! Correlation: two `[N, H, W, C]` in, `[N, H, W, P*P]` out: relu(<first(y, x), second(y + dy, x + dx)>), dy-major,
//! 0 where the neighbour is outside the map.
//!
//! The way back is a matrix product for each line, with the gradient laid out as a matrix.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use motion_kernels::Search;

use super::gemm::{Matrix, multiply_into};
use super::values::{slice, tensor, values, written, zeros};
use crate::Result;
use crate::plain::check_search;

/// See [`crate::Backend::correlation`].
pub(super) fn correlation(first: &Tensor, second: &Tensor, patch: usize) -> Result<Tensor> {
    let search = search("correlation", first, second, patch)?;
    Ok(first.contiguous()?.apply_op2(&second.contiguous()?, Correlation(search))?)
}

/// The lengths of a search of `second` for what is in `first`.
pub(super) fn search(
    operation: &'static str,
    first: &Tensor,
    second: &Tensor,
    patch: usize,
) -> Result<Search> {
    let [n, h, w, c] = check_search(operation, first, second, patch)?;
    Ok(Search { n, h, w, c, patch })
}

/// The scores of a search, as an operation that knows the way back.
struct Correlation(Search);

impl Correlation {
    /// Lines that a window around line `y` reaches.
    fn lines(&self, y: usize) -> std::ops::Range<usize> {
        let radius = self.0.patch / 2;
        y.saturating_sub(radius)..(y + radius + 1).min(self.0.h)
    }

    /// The lines that a window around this line reaches, as one matrix.
    fn around<'a>(&self, x: &'a [f32], line: usize) -> Matrix<'a> {
        let (frame, lines) = (line / self.0.h * self.0.h, self.lines(line % self.0.h));
        let size = self.0.w * self.0.c;
        let x = &x[(frame + lines.start) * size..(frame + lines.end) * size];
        Matrix::new(x, lines.len() * self.0.w, self.0.c)
    }

    /// Calls `visit(offset in the window, offset in the position's products, length)` for the parts of the window
    /// around (line, column) that are inside the map.
    fn parts(&self, line: usize, column: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let (radius, y) = (self.0.patch / 2, line % self.0.h);
        let lines = self.lines(y);
        let (from, to) = (column.saturating_sub(radius), (column + radius + 1).min(self.0.w));
        for (i, other) in lines.enumerate() {
            let in_window = (other + radius - y) * self.0.patch + from + radius - column;
            visit(in_window, i * self.0.w + from, to - from);
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
        let area = self.0.patch * self.0.patch;
        written(self.0.n * self.0.h * self.0.w * self.0.c, self.0.w * self.0.c, |line, out| {
            let lines = self.lines(line % self.0.h);
            let length = lines.len() * self.0.w;
            let first_line = line / self.0.h * self.0.h + lines.start;
            let mut matrix = vec![0.0; self.0.w * length];
            for (column, row) in matrix.chunks_exact_mut(length).enumerate() {
                self.parts(line, column, |in_window, from, count| {
                    for i in 0..count {
                        row[from + i] = if back {
                            let neighbour = first_line * self.0.w + from + i;
                            grad(neighbour * area + area - 1 - (in_window + i))
                        } else {
                            grad((line * self.0.w + column) * area + in_window + i)
                        };
                    }
                });
            }
            multiply_into(Matrix::new(&matrix, self.0.w, length), self.around(other, line), out)
        })
    }
}

impl CustomOp2 for Correlation {
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
        let Search { n, h, w, patch, .. } = self.0;
        let area = patch * patch;
        let mut scores = zeros(n * h * w * area)?;
        self.0.run(first, second, &mut scores);
        Ok((CpuStorage::F32(scores), Shape::from((n, h, w, area))))
    }

    fn bwd(
        &self,
        first: &Tensor,
        second: &Tensor,
        scores: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        learns!();
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
