//! minGRU: `h[t] = (1 - z) ⊙ h[t-1] + z ⊙ g(a_n)`, `z = σ(a_z)`, where both pre-activations depend on
//! the input alone and `g(a) = a + 1/2` for `a ≥ 0`, else `σ(a)`.
//!
//! Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, "Were RNNs all we needed?", 2024, with the positive
//! candidate of its appendix, which their experiments use. They scan in logarithms to stay in range
//! on a parallel machine; step by step there is no need.

use std::ops::Range;

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

use super::{blocks, blocks_mut};
use crate::{CellPart, Dims, Layer, LayerOptions, ScanCell, Scanned};

/// `min_gru` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MinGru {}

impl Part for MinGru {
    const NAME: &'static str = "min_gru";
    const SUMMARY: &'static str = "GRU whose gates read the input alone: no product of the state";
    const SOURCE: &'static str = "Feng et al. 2024";
}

impl CellPart for MinGru {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        Box::new(Scanned::new(*self, dims, options))
    }
}

impl<T: Real> ScanCell<T> for MinGru {
    #[inline(always)]
    fn gates(&self) -> &'static [&'static str] {
        &["z", "n"]
    }

    #[inline(always)]
    fn sigmoids(&self) -> Range<usize> {
        0..1
    }

    #[inline(always)]
    fn open(&self, a: &mut [T], keep: &mut [T], take: &mut [T]) {
        let [a_z, a_n] = blocks_mut(a);
        for (unit, (keep, take)) in keep.iter_mut().zip(take).enumerate() {
            let (z, n) = (a_z[unit].sigmoid(), candidate(a_n[unit]));
            *keep = T::ONE - z;
            *take = z * n;
            (a_z[unit], a_n[unit]) = (z, n);
        }
    }

    #[inline(always)]
    fn close(&self, a: &[T], _keep: &[T], d_keep: &[T], d_take: &[T], da: &mut [T]) {
        let [z, n] = blocks(a);
        let [da_z, da_n] = blocks_mut(da);
        for (unit, (d_keep, d_take)) in d_keep.iter().zip(d_take).enumerate() {
            let (z, n) = (z[unit], n[unit]);
            da_z[unit] = (*d_take * n - *d_keep) * z * (T::ONE - z);
            da_n[unit] = *d_take * z * candidate_slope(n);
        }
    }
}

/// `a + 1/2` for `a ≥ 0`, else `σ(a)`: positive, continuous, unbounded above.
#[inline(always)]
pub(super) fn candidate<T: Real>(a: T) -> T {
    if a < T::ZERO { a.sigmoid() } else { a + T::from_f64(0.5) }
}

/// The derivative of [`candidate`], from its value.
#[inline(always)]
pub(super) fn candidate_slope<T: Real>(value: T) -> T {
    if value < T::from_f64(0.5) { value * (T::ONE - value) } else { T::ONE }
}
