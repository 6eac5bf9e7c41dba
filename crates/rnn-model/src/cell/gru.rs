//! Gated recurrent unit:
//!
//! ```text
//! r = σ(a_r)   z = σ(a_z)   h[t] = (1 - z) ⊙ n + z ⊙ h[t-1]
//! n = tanh(x·W_xn + b_n + r ⊙ (h[t-1]·W_hn + b_hh))     reset_after, PyTorch's nn.GRU
//! n = tanh(x·W_xn + b_n + (r ⊙ h[t-1])·W_mn)            the original
//! ```
//!
//! Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
//! translation", EMNLP 2014, whose first version on arXiv has the reset after the product, as cuDNN
//! and PyTorch do, and whose later ones have it before. Papers disagree on which of `z` and `1 - z`
//! keeps the state; here `z` does, as in PyTorch.

use std::ops::Range;

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use super::{blocks, blocks_mut};
use crate::{
    Backward, Cell, CellPart, Dims, Forward, Layer, LayerOptions, Mix, MixBackward, OwnVector,
    Recurrence, Recurrent,
};

/// Keys of `gru`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Gru {
    /// reset what the product made of the state, as PyTorch does, not the state before it
    pub reset_after: bool,
}

impl Default for Gru {
    fn default() -> Self {
        Self { reset_after: true }
    }
}

impl Part for Gru {
    const NAME: &'static str = "gru";
    const SUMMARY: &'static str = "gated recurrent unit, PyTorch's form or the original";
    const SOURCE: &'static str = "Cho et al. 2014";
}

impl CellPart for Gru {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        match self.reset_after {
            true => Box::new(Recurrent::new(ResetAfter, dims, options)),
            false => Box::new(Recurrent::new(ResetBefore, dims, options)),
        }
    }
}

const GATES: &[&str] = &["r", "z", "n"];

struct ResetAfter;

impl<T: Real> Cell<T> for ResetAfter {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        GATES
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        0..2
    }

    #[inline(always)]
    fn recurrence(&self) -> Recurrence {
        Recurrence::Apart
    }

    #[inline(always)]
    fn own(&self) -> &'static [OwnVector] {
        &[OwnVector { name: "b_hh", gate: &["n"], start: None }]
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        let [a_r, a_z, a_n] = blocks_mut(step.a);
        let [h_r, h_z, h_n] = blocks(step.a_h);
        for (unit, h) in step.h.iter_mut().enumerate() {
            let r = (a_r[unit] + h_r[unit]).sigmoid();
            let z = (a_z[unit] + h_z[unit]).sigmoid();
            let n = (a_n[unit] + r * (h_n[unit] + step.own[unit])).tanh();
            *h = (T::ONE - z) * n + z * step.h_prev[unit];
            (a_r[unit], a_z[unit], a_n[unit]) = (r, z, n);
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        let [r, z, n] = blocks(step.a);
        let [_, _, h_n] = blocks(step.a_h);
        let [da_r, da_z, da_n] = blocks_mut(step.da);
        let [dh_r, dh_z, dh_n] = blocks_mut(step.da_h);
        for (unit, dh) in step.dh.iter().enumerate() {
            let (r, z, n) = (r[unit], z[unit], n[unit]);
            da_z[unit] = *dh * (step.h_prev[unit] - n) * z * (T::ONE - z);
            da_n[unit] = *dh * (T::ONE - z) * (T::ONE - n * n);
            da_r[unit] = da_n[unit] * (h_n[unit] + step.own[unit]) * r * (T::ONE - r);
            // The reset stands between the product and the candidate.
            (dh_r[unit], dh_z[unit], dh_n[unit]) = (da_r[unit], da_z[unit], da_n[unit] * r);
            step.d_own[unit] += dh_n[unit];
            step.dh_prev[unit] += *dh * z;
        }
    }
}

struct ResetBefore;

impl<T: Real> Cell<T> for ResetBefore {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        GATES
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        0..2
    }

    #[inline(always)]
    fn recurrence(&self) -> Recurrence {
        Recurrence::Mixed(2)
    }

    #[inline(always)]
    fn mix(&self, step: Mix<'_, T>) {
        let [a_r, a_z, _] = blocks_mut(step.a);
        let [h_r, h_z] = blocks(step.a_h);
        for (unit, m) in step.m.iter_mut().enumerate() {
            a_r[unit] = (a_r[unit] + h_r[unit]).sigmoid();
            a_z[unit] = (a_z[unit] + h_z[unit]).sigmoid();
            *m = a_r[unit] * step.h_prev[unit];
        }
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        let [_, z, a_n] = blocks_mut(step.a);
        for (unit, h) in step.h.iter_mut().enumerate() {
            a_n[unit] = a_n[unit].tanh();
            *h = (T::ONE - z[unit]) * a_n[unit] + z[unit] * step.h_prev[unit];
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        let [_, z, n] = blocks(step.a);
        let [_, da_z, da_n] = blocks_mut(step.da);
        for (unit, dh) in step.dh.iter().enumerate() {
            let (z, n) = (z[unit], n[unit]);
            da_z[unit] = *dh * (step.h_prev[unit] - n) * z * (T::ONE - z);
            da_n[unit] = *dh * (T::ONE - z) * (T::ONE - n * n);
            step.dh_prev[unit] += *dh * z;
        }
    }

    #[inline(always)]
    fn mix_backward(&self, step: MixBackward<'_, T>) {
        let [r, _, _] = blocks(step.a);
        let [da_r, da_z, _] = blocks_mut(step.da);
        let [dh_r, dh_z] = blocks_mut(step.da_h);
        for (unit, dm) in step.dm.iter().enumerate() {
            let r = r[unit];
            da_r[unit] = *dm * step.h_prev[unit] * r * (T::ONE - r);
            (dh_r[unit], dh_z[unit]) = (da_r[unit], da_z[unit]);
            step.dh_prev[unit] += *dm * r;
        }
    }
}
