//! The vanilla cell: `h[t] = tanh(x[t]·W_xh + b_h + h[t-1]·W_hh)`.
//!
//! Elman, "Finding structure in time", Cognitive Science 14 (1990); the cell of min-char-rnn.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use crate::{Cell, CellPart, Dims, Layer, Recurrent};

/// `vanilla` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Vanilla {}

impl Part for Vanilla {
    const NAME: &'static str = "vanilla";
    const SUMMARY: &'static str = "one tanh of input and state, as in min-char-rnn";
    const SOURCE: &'static str = "Elman 1990";
}

impl CellPart for Vanilla {
    fn layer<T: Real>(&self, dims: Dims) -> Box<dyn Layer<T>> {
        Box::new(Recurrent::new(*self, dims))
    }
}

impl<T: Real> Cell<T> for Vanilla {
    const GATES: usize = 1;

    fn forward(&self, a_x: &[T], a_h: &[T], h: &mut [T]) {
        for (h, (a_x, a_h)) in h.iter_mut().zip(a_x.iter().zip(a_h)) {
            *h = (*a_x + *a_h).tanh();
        }
    }

    fn backward(&self, h: &[T], dh: &[T], da: &mut [T]) {
        // tanh' = 1 - tanh², so the output is all the tape has to keep.
        for (da, (h, dh)) in da.iter_mut().zip(h.iter().zip(dh)) {
            *da = *dh * (T::ONE - *h * *h);
        }
    }
}
