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
    pub fn push(
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
