//! Multiplicative LSTM: an LSTM whose recurrent weights depend on the input.
//!
//! ```text
//! m = (x·W_xm + b_m) ⊙ (h[t-1]·W_hm)
//! i = σ(a_i)   f = σ(a_f)   o = σ(a_o)   g = tanh(a_g),   each a = x·W_x + b + m·W_m
//! c[t] = f ⊙ c[t-1] + i ⊙ g
//! h[t] = o ⊙ tanh(c[t])
//! ```
//!
//! Krause, Lu, Murray & Renals, "Multiplicative LSTM for sequence modelling", 2016. The paper has no
//! bias in `m`.

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

/// `mlstm` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Mlstm {}

impl Part for Mlstm {
    const NAME: &'static str = "mlstm";
    const SUMMARY: &'static str = "LSTM whose recurrent weights depend on the input";
    const SOURCE: &'static str = "Krause et al. 2016";
}

impl CellPart for Mlstm {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        Box::new(Recurrent::new(*self, dims, options))
    }
}

impl<T: Real> Cell<T> for Mlstm {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["m", "i", "f", "o", "g"]
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        1..4
    }

    #[inline(always)]
    fn recurrence(&self) -> Recurrence {
        Recurrence::Mixed(1)
    }

    #[inline(always)]
    fn has_c(&self) -> bool {
        true
    }

    #[inline(always)]
    fn mix(&self, step: Mix<'_, T>) {
        for (m, (a, a_h)) in step.m.iter_mut().zip(step.a.iter().zip(step.a_h)) {
            *m = *a * *a_h;
        }
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        let [_, a_i, a_f, a_o, a_g] = blocks_mut(step.a);
        for (unit, h) in step.h.iter_mut().enumerate() {
            let (i, f, o) = (a_i[unit].sigmoid(), a_f[unit].sigmoid(), a_o[unit].sigmoid());
            let g = a_g[unit].tanh();
            let c = f * step.c_prev[unit] + i * g;
            *h = o * c.tanh();
            step.c[unit] = c;
            (a_i[unit], a_f[unit], a_o[unit], a_g[unit]) = (i, f, o, g);
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        let [_, i, f, o, g] = blocks(step.a);
        let [_, da_i, da_f, da_o, da_g] = blocks_mut(step.da);
        for (unit, dh) in step.dh.iter().enumerate() {
            let (i, f, o, g) = (i[unit], f[unit], o[unit], g[unit]);
            let tanh_c = step.c[unit].tanh();
            let dc = step.dc[unit] + *dh * o * (T::ONE - tanh_c * tanh_c);
            da_o[unit] = *dh * tanh_c * o * (T::ONE - o);
            da_i[unit] = dc * g * i * (T::ONE - i);
            da_f[unit] = dc * step.c_prev[unit] * f * (T::ONE - f);
            da_g[unit] = dc * i * (T::ONE - g * g);
            step.dc[unit] = dc * f;
        }
    }

    #[inline(always)]
    fn mix_backward(&self, step: MixBackward<'_, T>) {
        for (unit, dm) in step.dm.iter().enumerate() {
            step.da[unit] = *dm * step.a_h[unit];
            step.da_h[unit] = *dm * step.a[unit];
        }
    }
}
