//! Flat buffers seen as matrices, and blocks of rows of a matrix.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use tensor_core::Real;

/// Cuts the next `len` values off the front of `rest`.
#[track_caller]
pub(crate) fn take<'a, T>(rest: &mut &'a [T], len: usize) -> &'a [T] {
    rest.split_off(..len).expect("the buffer holds every tensor of the layout")
}

/// Cuts the next `len` values off the front of `rest`.
#[track_caller]
pub(crate) fn take_mut<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    rest.split_off_mut(..len).expect("the buffer holds every tensor of the layout")
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

/// The given rows. (`s![]` would say it in fewer words, but expands to `unsafe` code.)
#[track_caller]
pub(crate) fn rows<T>(array: &Array2<T>, rows: Range<usize>) -> ArrayView2<'_, T> {
    array.slice_axis(Axis(0), Slice::from(rows))
}

/// The given rows.
#[track_caller]
pub(crate) fn rows_mut<T>(array: &mut Array2<T>, rows: Range<usize>) -> ArrayViewMut2<'_, T> {
    array.slice_axis_mut(Axis(0), Slice::from(rows))
}

/// The entries of a contiguous view in row-major order.
#[track_caller]
pub(crate) fn flat<T>(view: ArrayView2<'_, T>) -> &[T] {
    view.to_slice().expect("rows of one array are contiguous")
}

/// The entries of a contiguous view in row-major order.
#[track_caller]
pub(crate) fn flat_mut<T>(view: ArrayViewMut2<'_, T>) -> &mut [T] {
    view.into_slice().expect("rows of one array are contiguous")
}
