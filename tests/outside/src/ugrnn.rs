//! Update gate RNN: `h[t] = g ⊙ h[t-1] + (1 - g) ⊙ c`, `g = σ(a_g + gate_bias)`, `c = tanh(a_c)`.
//!
//! Collins, Sohl-Dickstein & Sussillo, "Capacity and trainability in recurrent neural networks",
//! ICLR 2017.

use registry::Part;
use registry::range::NonNegative;
use rnn_model::cell::{blocks, blocks_mut};
use rnn_model::{Backward, Cell, CellPart, Dims, Forward, Layer, LayerOptions, Recurrent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

/// Keys of `ugrnn`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ugrnn {
    /// added to the gate: how much of the state is kept at first
    pub gate_bias: NonNegative,
}

impl Default for Ugrnn {
    fn default() -> Self {
        Self { gate_bias: NonNegative::new(1.0) }
    }
}

impl Part for Ugrnn {
    const NAME: &'static str = "ugrnn";
    const SUMMARY: &'static str = "update gate RNN: a GRU without its reset";
    const SOURCE: &'static str = "Collins, Sohl-Dickstein & Sussillo 2017";
}

impl CellPart for Ugrnn {
    fn layer<T: Real>(&self, dims: Dims, options: LayerOptions) -> Box<dyn Layer<T>> {
        Box::new(Recurrent::new(*self, dims, options))
    }
}

impl<T: Real> Cell<T> for Ugrnn {
    fn gates(&self) -> &'static [&'static str] {
        &["g", "c"]
    }

    fn forward(&self, step: Forward<'_, T>) {
        let [a_g, a_c] = blocks_mut(step.a);
        let bias = T::from_f64(self.gate_bias.get());
        for (unit, h) in step.h.iter_mut().enumerate() {
            let (g, c) = ((a_g[unit] + bias).sigmoid(), a_c[unit].tanh());
            *h = g * step.h_prev[unit] + (T::ONE - g) * c;
            (a_g[unit], a_c[unit]) = (g, c);
        }
    }

    fn backward(&self, step: Backward<'_, T>) {
        let [g, c] = blocks(step.a);
        let [da_g, da_c] = blocks_mut(step.da);
        for (unit, dh) in step.dh.iter().enumerate() {
            let (g, c) = (g[unit], c[unit]);
            da_g[unit] = *dh * (step.h_prev[unit] - c) * g * (T::ONE - g);
            da_c[unit] = *dh * (T::ONE - g) * (T::ONE - c * c);
            step.dh_prev[unit] += *dh * g;
        }
    }
}

#[cfg(test)]
mod tests {
    use rnn_model::gradcheck::cases;

    use super::*;

    #[test]
    fn its_gradients_are_true_whatever_the_sizes_and_options() {
        let cell = Ugrnn::default();
        for case in cases() {
            let by_differences = case.check(|dims, options| cell.layer(dims, options));
            for found in by_differences.into_iter().chain(case.check_dual(&cell)) {
                assert!(found.passes(), "{case}: {found}");
            }
        }
    }

    #[test]
    fn a_gate_that_is_open_keeps_the_state_and_one_that_is_closed_the_candidate() {
        let check = |a_g: f64, expected: f64| {
            let cell = Ugrnn { gate_bias: NonNegative::new(0.0) };
            let mut h = [0.0];
            cell.forward(Forward {
                own: &[],
                a: &mut [a_g, 0.5],
                a_h: &[],
                h_prev: &[0.25],
                c_prev: &[],
                h: &mut h,
                c: &mut [],
            });
            assert_eq!(h, [expected]);
        };
        check(40.0, 0.25);
        check(-800.0, 0.5_f64.tanh());
        check(0.0, (0.25 + 0.5_f64.tanh()) / 2.0);
    }
}
