//! Flat buffers seen as matrices.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};
use tensor_core::Real;

/// Rows of one width in one allocation: a tape or a workspace.
#[derive(Clone, Debug)]
pub(crate) struct Rows<T> {
    values: Vec<T>,
    width: usize,
}

impl<T: Real> Rows<T> {
    /// `count` rows of zeros.
    pub fn zeros(count: usize, width: usize) -> Self {
        Self { values: vec![T::ZERO; count * width], width }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn row(&self, index: usize) -> &[T] {
        &self.values[index * self.width..][..self.width]
    }

    pub fn row_mut(&mut self, index: usize) -> &mut [T] {
        &mut self.values[index * self.width..][..self.width]
    }

    /// The values of a range of rows.
    pub fn flat(&self, rows: Range<usize>) -> &[T] {
        &self.values[rows.start * self.width..rows.end * self.width]
    }

    /// The values of a range of rows.
    pub fn flat_mut(&mut self, rows: Range<usize>) -> &mut [T] {
        &mut self.values[rows.start * self.width..rows.end * self.width]
    }

    /// A range of rows as a matrix.
    pub fn view(&self, rows: Range<usize>) -> ArrayView2<'_, T> {
        matrix(self.flat(rows.clone()), rows.len(), self.width)
    }

    /// A range of rows as a matrix.
    pub fn view_mut(&mut self, rows: Range<usize>) -> ArrayViewMut2<'_, T> {
        let width = self.width;
        matrix_mut(self.flat_mut(rows.clone()), rows.len(), width)
    }

    pub fn fill_zero(&mut self) {
        self.values.fill(T::ZERO);
    }
}

/// `values` as a row-major matrix.
#[track_caller]
pub(crate) fn matrix<T: Real>(values: &[T], rows: usize, cols: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, cols), values).expect("as long as rows times columns")
}

/// `values` as a row-major matrix.
#[track_caller]
pub(crate) fn matrix_mut<T: Real>(
    values: &mut [T],
    rows: usize,
    cols: usize,
) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, cols), values).expect("as long as rows times columns")
}

/// The given columns. (`s![]` would say it in fewer words, but expands to `unsafe` code.)
#[track_caller]
pub(crate) fn columns<T>(matrix: ArrayView2<'_, T>, columns: Range<usize>) -> ArrayView2<'_, T> {
    let mut matrix = matrix;
    matrix.slice_axis_inplace(Axis(1), Slice::from(columns));
    matrix
}

/// The given columns.
#[track_caller]
pub(crate) fn columns_mut<T>(
    matrix: ArrayViewMut2<'_, T>,
    columns: Range<usize>,
) -> ArrayViewMut2<'_, T> {
    let mut matrix = matrix;
    matrix.slice_axis_inplace(Axis(1), Slice::from(columns));
    matrix
}
