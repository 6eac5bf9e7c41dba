//! Where each tensor lies in the flat parameter buffer.

use std::ops::Range;

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

/// A tensor that has no place yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor {
    /// What it is in its layer, such as `w_hh`.
    pub name: &'static str,
    /// Its extent.
    pub shape: Shape,
    /// The gates its outputs belong to, each a block of equal width along its last axis; empty if it
    /// has none.
    pub gates: &'static [&'static str],
    /// What all its entries start at, whatever the initializer; `None` leaves that to it.
    pub start: Option<f64>,
}

impl From<(&'static str, Shape)> for Tensor {
    fn from((name, shape): (&'static str, Shape)) -> Self {
        Self { name, shape, gates: &[], start: None }
    }
}

/// One named tensor in the flat buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// What the tensor is in its layer, such as `w_hh`.
    pub tensor: &'static str,
    /// The layer from below, `None` for what is around the layers.
    pub layer: Option<usize>,
    /// Its extent.
    pub shape: Shape,
    /// The gates its outputs belong to, each a block along its last axis.
    pub gates: &'static [&'static str],
    /// What all its entries start at, whatever the initializer; `None` leaves that to it.
    pub start: Option<f64>,
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

/// The tensors of a model, one after the other in a flat buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    segments: Vec<Segment>,
}

impl Layout {
    /// Places the tensors of one layer after what is there, and returns where they begin and end.
    pub fn push(
        &mut self,
        layer: Option<usize>,
        tensors: impl IntoIterator<Item = impl Into<Tensor>>,
    ) -> Range<usize> {
        let first = self.len();
        for tensor in tensors {
            let Tensor { name: tensor, shape, gates, start } = tensor.into();
            let range = self.len()..self.len() + shape.len();
            self.segments.push(Segment { tensor, layer, shape, gates, start, range });
        }
        first..self.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_lie_one_after_the_other() {
        let mut layout = Layout::default();
        assert!(layout.is_empty());
        let layer = [("w", Shape::Matrix(2, 3)), ("b", Shape::Vector(3))];
        assert_eq!(layout.push(Some(0), layer), 0..9);
        assert_eq!(layout.push(None, [("b", Shape::Vector(4))]), 9..13);
        let places =
            layout.segments().iter().map(|segment| (segment.name(), segment.range.clone()));
        let expected = [("w_l0", 0..6), ("b_l0", 6..9), ("b", 9..13)];
        assert!(places.eq(expected.map(|(name, range)| (name.to_owned(), range))));
        assert!(layout.len() == 13 && !layout.is_empty());
    }

    #[test]
    fn a_shape_with_a_side_of_zero_is_empty() {
        assert!(Shape::Matrix(0, 3).is_empty() && !Shape::Matrix(1, 3).is_empty());
        assert!(Shape::Vector(0).is_empty() && !Shape::Vector(3).is_empty());
    }
}
