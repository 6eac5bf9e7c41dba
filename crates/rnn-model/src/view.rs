//! Flat buffers seen as matrices.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use tensor_core::gemm::{Strided, StridedMut};
use tensor_core::{Aligned, Real};

/// Rows of one width in one allocation: a tape or a workspace.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    values: Aligned<T>,
    width: usize,
}

impl<T: Real> Rows<T> {
    /// `count` rows of zeros.
    pub fn zeros(count: usize, width: usize) -> Self {
        Self { values: Aligned::new(T::ZERO, count * width), width }
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

    /// A range of rows, to be split among threads.
    pub fn part_mut(&mut self, rows: Range<usize>) -> RowsMut<'_, T> {
        let width = self.width;
        RowsMut { values: self.flat_mut(rows), width }
    }
}

/// Some rows of a [`Rows`].
#[derive(Debug)]
pub(crate) struct RowsMut<'a, T> {
    values: &'a mut [T],
    width: usize,
}

impl<'a, T: Real> RowsMut<'a, T> {
    /// The rows of a matrix.
    pub fn of(matrix: ArrayViewMut2<'a, T>) -> Self {
        let width = matrix.ncols();
        Self { values: matrix.into_slice().expect("rows are contiguous"), width }
    }

    /// Takes the first `count` rows away.
    pub fn take(&mut self, count: usize) -> RowsMut<'a, T> {
        let values = self.values.split_off_mut(..count * self.width).expect("as many rows");
        RowsMut { values, width: self.width }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    #[inline(always)]
    pub fn row(&self, index: usize) -> &[T] {
        &self.values[index * self.width..][..self.width]
    }

    #[inline(always)]
    pub fn row_mut(&mut self, index: usize) -> &mut [T] {
        &mut self.values[index * self.width..][..self.width]
    }

    /// A row, and the one behind it; empty if there is none.
    #[inline(always)]
    pub fn row_and_next(&mut self, index: usize) -> (&[T], &mut [T]) {
        let (row, rest) = self.values[index * self.width..].split_at_mut(self.width);
        (row, rest.get_mut(..self.width).unwrap_or_default())
    }

    /// Of every `steps` rows the one at `t`: those of one time step, one for each lane.
    #[track_caller]
    pub fn every(&self, steps: usize, t: usize) -> Strided<'_, T> {
        let lanes = self.values.len() / (steps * self.width);
        let values = &self.values[t * self.width..];
        Strided { values, dim: (lanes, self.width), stride: steps * self.width }
    }

    /// As [`every`](Self::every).
    #[track_caller]
    pub fn every_mut(&mut self, steps: usize, t: usize) -> StridedMut<'_, T> {
        let lanes = self.values.len() / (steps * self.width);
        let values = &mut self.values[t * self.width..];
        StridedMut { values, dim: (lanes, self.width), stride: steps * self.width }
    }

    /// All values.
    pub fn flat_mut(&mut self) -> &mut [T] {
        self.values
    }

    /// All of it as a matrix.
    pub fn view_mut(&mut self) -> ArrayViewMut2<'_, T> {
        matrix_mut(self.values, self.values.len() / self.width, self.width)
    }

    /// All rows, for a product: to build an `ArrayView2` takes a seventh of the time of one row of 100 by 100.
    pub fn all(&self) -> Strided<'_, T> {
        self.every(1, 0)
    }

    /// As [`all`](Self::all).
    pub fn all_mut(&mut self) -> StridedMut<'_, T> {
        self.every_mut(1, 0)
    }
}

/// The given rows.
#[track_caller]
pub(crate) fn rows_of<T: Real>(matrix: ArrayView2<'_, T>, rows: Range<usize>) -> ArrayView2<'_, T> {
    let cols = matrix.ncols();
    let values = matrix.to_slice().expect("rows are contiguous");
    self::matrix(&values[rows.start * cols..rows.end * cols], rows.len(), cols)
}

/// `count` columns from `first` on.
#[track_caller]
pub(crate) fn columns<T>(
    matrix: ArrayView2<'_, T>,
    first: usize,
    count: usize,
) -> ArrayView2<'_, T> {
    matrix.split_at(Axis(1), first).1.split_at(Axis(1), count).0
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
