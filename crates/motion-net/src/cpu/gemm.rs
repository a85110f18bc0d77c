//! Two matrices in, their product out: a safe face on the `gemm` crate, on one thread.

use std::mem::MaybeUninit;

/// A matrix that lies in a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// Row after row.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self { values, rows, columns }
    }
}

/// `product = a b`, row after row. Gives it back written.
pub(super) fn multiply_into<'a>(
    a: Matrix<'_>,
    b: Matrix<'_>,
    product: &'a mut [MaybeUninit<f32>],
) -> &'a mut [f32] {
    assert_eq!(a.columns, b.rows, "inner lengths");
    assert!(a.columns > 0, "an empty sum");
    assert_eq!(product.len(), a.rows * b.columns, "length of the product");
    // SAFETY: both matrices lie wholly inside their slices (checked in `new`); there is room for the product, which
    // overlaps neither, for it is borrowed alone, and what was there is not read.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            product.as_mut_ptr().cast::<f32>(),
            1,
            b.columns as isize,
            false,
            a.values.as_ptr(),
            1,
            a.columns as isize,
            b.values.as_ptr(),
            1,
            b.columns as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    // SAFETY: every value of the product has been written, without a look at what was there.
    unsafe { product.assume_init_mut() }
}
