//! Two matrices in, their product out: a safe face on the `gemm` crate, on one thread.

/// A matrix that lies in a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// Row after row.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// Rows and columns exchanged; nothing moves.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// `product = a b`, or `product += a b`; row after row.
pub(super) fn multiply(a: Matrix<'_>, b: Matrix<'_>, product: &mut [f32], accumulate: bool) {
    assert_eq!(a.columns, b.rows, "inner lengths");
    assert_eq!(product.len(), a.rows * b.columns, "length of the product");
    debug_assert!(a.values.len() == a.rows * a.columns && b.values.len() == b.rows * b.columns);
    if product.is_empty() {
        return;
    }
    // SAFETY: both matrices lie wholly inside their slices (checked in `new`; transposing keeps the set of
    // offsets), the product is as long as asserted above and, being `&mut`, overlaps neither.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            product.as_mut_ptr(),
            1,
            b.columns as isize,
            accumulate,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
