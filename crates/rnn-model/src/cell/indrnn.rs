//! Independently recurrent cell: `h[t] = relu(x·W_xh + b_h + u ⊙ h[t-1])`.
//!
//! Each unit sees of the state only itself, so what a gradient does over time is decided unit by
//! unit by `u`. Li, Li, Cook, Zhu & Gao, "Independently recurrent neural network (IndRNN)", CVPR
//! 2018. `u` starts at one, which keeps the state; the paper also bounds it.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use super::Activation;
use crate::{
    Backward, Cell, CellPart, Dims, Forward, Layer, LayerOptions, OwnVector, Recurrence, Recurrent,
};

/// Keys of `indrnn`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IndRnn {
    /// the function of the pre-activation
    pub activation: Activation,
}

impl Default for IndRnn {
    fn default() -> Self {
        Self { activation: Activation::Relu }
    }
}

impl Part for IndRnn {
    const NAME: &'static str = "indrnn";
    const SUMMARY: &'static str = "each unit remembers itself alone";
    const SOURCE: &'static str = "Li et al. 2018";
}

impl CellPart for IndRnn {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        Box::new(Recurrent::new(*self, dims, options))
    }
}

impl<T: Real> Cell<T> for IndRnn {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["h"]
    }

    #[inline(always)]
    fn recurrence(&self) -> Recurrence {
        Recurrence::None
    }

    #[inline(always)]
    fn own(&self) -> &'static [OwnVector] {
        &[OwnVector { name: "u", gate: &["h"], start: Some(1.0) }]
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        for (unit, h) in step.h.iter_mut().enumerate() {
            *h = self.activation.of(step.a[unit] + step.own[unit] * step.h_prev[unit]);
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        for (unit, dh) in step.dh.iter().enumerate() {
            let da = *dh * self.activation.slope(step.h[unit]);
            step.da[unit] = da;
            step.d_own[unit] += da * step.h_prev[unit];
            step.dh_prev[unit] += da * step.own[unit];
        }
    }
}
