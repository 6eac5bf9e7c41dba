//! Where each tensor lies in the flat parameter buffer.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use tensor_core::Real;

/// The extent of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Row-major `[rows, cols]`.
    Matrix(usize, usize),
    /// A bias.
    Vector(usize),
}

impl Shape {
    /// Number of entries.
    pub fn len(self) -> usize {
        match self {
            Self::Matrix(rows, cols) => rows * cols,
            Self::Vector(len) => len,
        }
    }

    /// Whether there are no entries.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// One named tensor in the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What the tensor is in its layer, such as `w_hh`.
    pub tensor: &'static str,
    /// The layer from below, `None` for the output layer.
    pub layer: Option<usize>,
    /// Its extent.
    pub shape: Shape,
    /// Its place in the buffer.
    pub range: Range<usize>,
}

impl Segment {
    /// `w_hh_l0`, or `w_hy` in the output layer.
    pub fn name(&self) -> String {
        match self.layer {
            Some(layer) => format!("{}_l{layer}", self.tensor),
            None => self.tensor.to_owned(),
        }
    }
}

/// The tensors of a model, one behind the other in a flat buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    segments: Vec<Segment>,
}

impl Layout {
    /// Places the tensors of one layer behind what is there, and returns where they begin and end.
    pub(crate) fn push(
        &mut self,
        layer: Option<usize>,
        tensors: impl IntoIterator<Item = (&'static str, Shape)>,
    ) -> Range<usize> {
        let start = self.len();
        for (tensor, shape) in tensors {
            let range = self.len()..self.len() + shape.len();
            self.segments.push(Segment { tensor, layer, shape, range });
        }
        start..self.len()
    }

    /// The tensors in the order of their places.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.segments.last().map_or(0, |segment| segment.range.end)
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

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
