//! The vanilla cell: `h[t] = tanh(a)`, with `a = x[t]·W_xh + b_h + h[t-1]·W_hh`.
//!
//! Elman, "Finding structure in time", Cognitive Science 14 (1990); the cell of min-char-rnn. With
//! `relu` it is that of Le, Jaitly & Hinton, "A simple way to initialize recurrent networks of
//! rectified linear units", 2015.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use super::Activation;
use crate::{Backward, Cell, CellPart, Dims, Forward, Layer, LayerOptions, Recurrent};

/// Keys of `vanilla`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Vanilla {
    /// the function of the pre-activation
    pub activation: Activation,
}

impl Part for Vanilla {
    const NAME: &'static str = "vanilla";
    const SUMMARY: &'static str = "one tanh of input and state, as in min-char-rnn";
    const SOURCE: &'static str = "Elman 1990";
}

impl CellPart for Vanilla {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        Box::new(Recurrent::new(*self, dims, options))
    }
}

impl<T: Real> Cell<T> for Vanilla {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["h"]
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        for (h, a) in step.h.iter_mut().zip(step.a) {
            *h = self.activation.of(*a);
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        for (da, (h, dh)) in step.da.iter_mut().zip(step.h.iter().zip(step.dh)) {
            *da = *dh * self.activation.slope(*h);
        }
    }
}
