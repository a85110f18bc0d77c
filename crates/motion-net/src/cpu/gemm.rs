//! Two matrices in, their product out: a safe face on the `gemm` crate, on one thread.

use std::mem::MaybeUninit;

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

/// `product = a b`, row after row. Gives it back written.
pub(super) fn multiply_into<'a>(
    a: Matrix<'_>,
    b: Matrix<'_>,
    product: &'a mut [MaybeUninit<f32>],
) -> &'a mut [f32] {
    assert_eq!(product.len(), a.rows * b.columns, "length of the product");
    // SAFETY: as long as was asserted, and overlapping neither matrix, for it is borrowed alone.
    unsafe { run(a, b, product.as_mut_ptr().cast(), false) };
    // SAFETY: every value of the product has been written, without a look at what was there.
    unsafe { product.assume_init_mut() }
}

/// `product = a b`, row after row.
pub(super) fn multiply(a: Matrix<'_>, b: Matrix<'_>, product: &mut [f32]) {
    assert_eq!(product.len(), a.rows * b.columns, "length of the product");
    // SAFETY: as long as was asserted, and overlapping neither matrix, for it is borrowed alone.
    unsafe { run(a, b, product.as_mut_ptr(), false) };
}

/// `sum += a b`, row after row.
pub(super) fn multiply_add(a: Matrix<'_>, b: Matrix<'_>, sum: &mut [f32]) {
    assert_eq!(sum.len(), a.rows * b.columns, "length of the sum");
    // SAFETY: as long as was asserted, and overlapping neither matrix, for it is borrowed alone.
    unsafe { run(a, b, sum.as_mut_ptr(), true) };
}

/// Writes `a.rows * b.columns` values, whatever was there; or adds to what is there.
///
/// # Safety
/// There is room for so many values at `product`, which overlap neither matrix, and they are initialised if they
/// are to be added to.
unsafe fn run(a: Matrix<'_>, b: Matrix<'_>, product: *mut f32, add: bool) {
    assert_eq!(a.columns, b.rows, "inner lengths");
    assert!(a.columns > 0, "an empty sum");
    if a.rows * b.columns == 0 {
        return;
    }
    // SAFETY: both matrices lie wholly inside their slices (checked in `new`; transposing keeps the set of
    // offsets); the rest is promised by the caller.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            product,
            1,
            b.columns as isize,
            add,
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
