//! Minimal gated unit: one gate that both resets and forgets.
//!
//! ```text
//! f = σ(a_f)   n = tanh(x·W_xn + b_n + (f ⊙ h[t-1])·W_mn)   h[t] = (1 - f) ⊙ h[t-1] + f ⊙ n
//! ```
//!
//! Zhou, Wu, Zhang & Zhou, "Minimal gated unit for recurrent neural networks", 2016.
//! What they call the forget gate takes the new: a `forget_bias` above zero makes it forget sooner.

use std::ops::Range;

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use super::{blocks, blocks_mut};
use crate::{
    Backward, Cell, CellPart, Dims, Forward, Layer, LayerOptions, Mix, MixBackward, Recurrence,
    Recurrent,
};

/// `mgu` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Mgu {}

impl Part for Mgu {
    const NAME: &'static str = "mgu";
    const SUMMARY: &'static str = "minimal gated unit: a GRU with one gate";
    const SOURCE: &'static str = "Zhou et al. 2016";
}

impl CellPart for Mgu {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        Box::new(Recurrent::new(*self, dims, options))
    }
}

impl<T: Real> Cell<T> for Mgu {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["f", "n"]
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        0..1
    }

    #[inline(always)]
    fn recurrence(&self) -> Recurrence {
        Recurrence::Mixed(1)
    }

    #[inline(always)]
    fn mix(&self, step: Mix<'_, T>) {
        let [a_f, _] = blocks_mut(step.a);
        for (unit, m) in step.m.iter_mut().enumerate() {
            a_f[unit] = (a_f[unit] + step.a_h[unit]).sigmoid();
            *m = a_f[unit] * step.h_prev[unit];
        }
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        let [f, a_n] = blocks_mut(step.a);
        for (unit, h) in step.h.iter_mut().enumerate() {
            a_n[unit] = a_n[unit].tanh();
            *h = (T::ONE - f[unit]) * step.h_prev[unit] + f[unit] * a_n[unit];
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        let [f, n] = blocks(step.a);
        let [da_f, da_n] = blocks_mut(step.da);
        for (unit, dh) in step.dh.iter().enumerate() {
            let (f, n) = (f[unit], n[unit]);
            da_f[unit] = *dh * (n - step.h_prev[unit]) * f * (T::ONE - f);
            da_n[unit] = *dh * f * (T::ONE - n * n);
            step.dh_prev[unit] += *dh * (T::ONE - f);
        }
    }

    #[inline(always)]
    fn mix_backward(&self, step: MixBackward<'_, T>) {
        let [f, _] = blocks(step.a);
        let [da_f, _] = blocks_mut(step.da);
        for (unit, dm) in step.dm.iter().enumerate() {
            let f = f[unit];
            // The gate is used twice: in the state, and in what the candidate reads of it.
            da_f[unit] += *dm * step.h_prev[unit] * f * (T::ONE - f);
            step.da_h[unit] = da_f[unit];
            step.dh_prev[unit] += *dm * f;
        }
    }
}
