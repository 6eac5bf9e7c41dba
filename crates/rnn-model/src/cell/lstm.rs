//! Long short-term memory:
//!
//! ```text
//! i = σ(a_i)   f = σ(a_f)   o = σ(a_o)   g = tanh(a_g)
//! c[t] = f ⊙ c[t-1] + i ⊙ g
//! h[t] = o ⊙ tanh(c[t])
//! ```
//!
//! Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), with the forget
//! gate of Gers, Schmidhuber & Cummins, "Learning to forget", 2000; PyTorch's `nn.LSTM`.
//!
//! With `peepholes` the gates see the memory: `a_i` and `a_f` get `p ⊙ c[t-1]`, `a_o` gets
//! `p_o ⊙ c[t]` (Gers & Schmidhuber, "Recurrent nets that time and count", 2000). With `coupled`
//! what is forgotten makes room for what is new: `i = 1 - f` (Greff et al., "LSTM: a search space
//! odyssey", 2017, where it does as well with fewer weights).

use std::ops::Range;

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use super::{blocks, blocks_mut};
use crate::{Backward, Cell, CellPart, Dims, Forward, Layer, LayerOptions, OwnVector, Recurrent};

/// Keys of `lstm`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Lstm {
    /// the gates see the memory, each unit its own
    pub peepholes: bool,
    /// input gate = 1 - forget gate
    pub coupled: bool,
}

impl Part for Lstm {
    const NAME: &'static str = "lstm";
    const SUMMARY: &'static str =
        "long short-term memory, PyTorch's form; peepholes and coupled gates if wanted";
    const SOURCE: &'static str = "Hochreiter & Schmidhuber 1997";
}

impl CellPart for Lstm {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        match (self.coupled, self.peepholes) {
            (false, false) => Box::new(Recurrent::new(Full::<false>, dims, options)),
            (false, true) => Box::new(Recurrent::new(Full::<true>, dims, options)),
            (true, false) => Box::new(Recurrent::new(Coupled::<false>, dims, options)),
            (true, true) => Box::new(Recurrent::new(Coupled::<true>, dims, options)),
        }
    }
}

const fn peephole(name: &'static str, gate: &'static [&'static str]) -> OwnVector {
    OwnVector { name, gate, start: None }
}

/// The LSTM with a gate for the input.
struct Full<const PEEPHOLES: bool>;

impl<T: Real, const PEEPHOLES: bool> Cell<T> for Full<PEEPHOLES> {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["i", "f", "o", "g"]
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        0..3
    }

    #[inline(always)]
    fn has_c(&self) -> bool {
        true
    }

    #[inline(always)]
    fn own(&self) -> &'static [OwnVector] {
        const OWN: [OwnVector; 3] =
            [peephole("p_i", &["i"]), peephole("p_f", &["f"]), peephole("p_o", &["o"])];
        if PEEPHOLES { &OWN } else { &[] }
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        let [a_i, a_f, a_o, a_g] = blocks_mut(step.a);
        if PEEPHOLES {
            let [p_i, p_f, _] = blocks(step.own);
            for (unit, c_prev) in step.c_prev.iter().enumerate() {
                a_i[unit] += p_i[unit] * *c_prev;
                a_f[unit] += p_f[unit] * *c_prev;
            }
        }
        for (unit, c) in step.c.iter_mut().enumerate() {
            let (i, f, g) = (a_i[unit].sigmoid(), a_f[unit].sigmoid(), a_g[unit].tanh());
            *c = f * step.c_prev[unit] + i * g;
            (a_i[unit], a_f[unit], a_g[unit]) = (i, f, g);
        }
        if PEEPHOLES {
            let [_, _, p_o] = blocks(step.own);
            for (unit, c) in step.c.iter().enumerate() {
                a_o[unit] += p_o[unit] * *c;
            }
        }
        for (unit, h) in step.h.iter_mut().enumerate() {
            a_o[unit] = a_o[unit].sigmoid();
            *h = a_o[unit] * step.c[unit].tanh();
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        let [i, f, o, g] = blocks(step.a);
        let [da_i, da_f, da_o, da_g] = blocks_mut(step.da);
        for unit in 0..step.h.len() {
            let (i, f, o, g) = (i[unit], f[unit], o[unit], g[unit]);
            let (c_prev, c, dh) = (step.c_prev[unit], step.c[unit], step.dh[unit]);
            let tanh_c = c.tanh();
            da_o[unit] = dh * tanh_c * o * (T::ONE - o);
            let mut dc = step.dc[unit] + dh * o * (T::ONE - tanh_c * tanh_c);
            if PEEPHOLES {
                let [_, _, p_o] = blocks(step.own);
                dc += da_o[unit] * p_o[unit];
            }
            da_i[unit] = dc * g * i * (T::ONE - i);
            da_f[unit] = dc * c_prev * f * (T::ONE - f);
            da_g[unit] = dc * i * (T::ONE - g * g);
            step.dc[unit] = dc * f;
            if PEEPHOLES {
                let [p_i, p_f, _] = blocks(step.own);
                step.dc[unit] += da_i[unit] * p_i[unit] + da_f[unit] * p_f[unit];
                let [d_p_i, d_p_f, d_p_o] = blocks_mut(step.d_own);
                d_p_i[unit] += da_i[unit] * c_prev;
                d_p_f[unit] += da_f[unit] * c_prev;
                d_p_o[unit] += da_o[unit] * c;
            }
        }
    }
}

/// The LSTM whose input gate is what the forget gate leaves.
struct Coupled<const PEEPHOLES: bool>;

impl<T: Real, const PEEPHOLES: bool> Cell<T> for Coupled<PEEPHOLES> {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["f", "o", "g"]
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        0..2
    }

    #[inline(always)]
    fn has_c(&self) -> bool {
        true
    }

    #[inline(always)]
    fn own(&self) -> &'static [OwnVector] {
        const OWN: [OwnVector; 2] = [peephole("p_f", &["f"]), peephole("p_o", &["o"])];
        if PEEPHOLES { &OWN } else { &[] }
    }

    #[inline(always)]
    fn forward(&self, step: Forward<'_, T>) {
        let [a_f, a_o, a_g] = blocks_mut(step.a);
        for (unit, h) in step.h.iter_mut().enumerate() {
            let c_prev = step.c_prev[unit];
            if PEEPHOLES {
                a_f[unit] += blocks::<2, T>(step.own)[0][unit] * c_prev;
            }
            let (f, g) = (a_f[unit].sigmoid(), a_g[unit].tanh());
            let c = f * c_prev + (T::ONE - f) * g;
            if PEEPHOLES {
                a_o[unit] += blocks::<2, T>(step.own)[1][unit] * c;
            }
            let o = a_o[unit].sigmoid();
            *h = o * c.tanh();
            step.c[unit] = c;
            (a_f[unit], a_o[unit], a_g[unit]) = (f, o, g);
        }
    }

    #[inline(always)]
    fn backward(&self, step: Backward<'_, T>) {
        let [f, o, g] = blocks(step.a);
        let [da_f, da_o, da_g] = blocks_mut(step.da);
        for unit in 0..step.h.len() {
            let (f, o, g) = (f[unit], o[unit], g[unit]);
            let (c_prev, c, dh) = (step.c_prev[unit], step.c[unit], step.dh[unit]);
            let tanh_c = c.tanh();
            da_o[unit] = dh * tanh_c * o * (T::ONE - o);
            let mut dc = step.dc[unit] + dh * o * (T::ONE - tanh_c * tanh_c);
            if PEEPHOLES {
                dc += da_o[unit] * blocks::<2, T>(step.own)[1][unit];
            }
            da_f[unit] = dc * (c_prev - g) * f * (T::ONE - f);
            da_g[unit] = dc * (T::ONE - f) * (T::ONE - g * g);
            step.dc[unit] = dc * f;
            if PEEPHOLES {
                step.dc[unit] += da_f[unit] * blocks::<2, T>(step.own)[0][unit];
                let [d_p_f, d_p_o] = blocks_mut(step.d_own);
                d_p_f[unit] += da_f[unit] * c_prev;
                d_p_o[unit] += da_o[unit] * c;
            }
        }
    }
}
