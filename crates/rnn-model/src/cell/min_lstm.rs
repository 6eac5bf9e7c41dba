//! minLSTM: `h[t] = f' ⊙ h[t-1] + i' ⊙ g(a_g)` with `f' = f / (f + i)`, `i' = i / (f + i)`, `f = σ(a_f)`,
//! `i = σ(a_i)`, where all pre-activations depend on the input alone and `g(a) = a + 1/2` for
//! `a ≥ 0`, else `σ(a)`.
//!
//! Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, "Were RNNs all we needed?", 2024. See
//! [`MinGru`](super::MinGru) for the candidate and the scan.

use std::ops::Range;

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use super::min_gru::{candidate, candidate_slope};
use super::{blocks, blocks_mut};
use crate::{CellPart, Dims, Layer, LayerOptions, ScanCell, Scanned};

/// `min_lstm` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MinLstm {}

impl Part for MinLstm {
    const NAME: &'static str = "min_lstm";
    const SUMMARY: &'static str = "LSTM whose gates read the input alone: no product of the state";
    const SOURCE: &'static str = "Feng et al. 2024";
}

impl CellPart for MinLstm {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        Box::new(Scanned::new(*self, dims, options))
    }
}

impl<T: Real> ScanCell<T> for MinLstm {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["i", "f", "g"]
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        0..2
    }

    #[inline(always)]
    fn open(&self, a: &mut [T], keep: &mut [T], take: &mut [T]) {
        let [a_i, a_f, a_g] = blocks_mut(a);
        for (unit, (keep, take)) in keep.iter_mut().zip(take).enumerate() {
            let (i, f, g) = (a_i[unit].sigmoid(), a_f[unit].sigmoid(), candidate(a_g[unit]));
            *keep = f / (f + i);
            *take = i / (f + i) * g;
            (a_i[unit], a_f[unit], a_g[unit]) = (i, f, g);
        }
    }

    #[inline(always)]
    fn close(&self, a: &[T], keep: &[T], d_keep: &[T], d_take: &[T], da: &mut [T]) {
        let [i, f, g] = blocks(a);
        let [da_i, da_f, da_g] = blocks_mut(da);
        for (unit, (d_keep, d_take)) in d_keep.iter().zip(d_take).enumerate() {
            let (i, f, g, keep) = (i[unit], f[unit], g[unit], keep[unit]);
            // The shares f' and i' = 1 - f' have opposite derivatives:
            // ∂f'/∂a_f = f'·i'·(1 - f) and ∂f'/∂a_i = -f'·i'·(1 - i).
            let d_share = (*d_keep - *d_take * g) * keep * (T::ONE - keep);
            da_f[unit] = d_share * (T::ONE - f);
            da_i[unit] = -d_share * (T::ONE - i);
            da_g[unit] = *d_take * (T::ONE - keep) * candidate_slope(g);
        }
    }
}
