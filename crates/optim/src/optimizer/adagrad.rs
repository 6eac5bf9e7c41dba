//! Adagrad: `s ← s + g²`, `p ← p - lr·g / √(s + eps)`.
//!
//! Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
//! optimization", JMLR 12 (2011). The paper has `δ + √s` in the denominator, as PyTorch does;
//! min-char-rnn puts it inside the root. The two differ while `s` is small, which is at the start.

use registry::Part;
use registry::range::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

use super::{Optimizer, OptimizerPart};

/// Keys of `adagrad`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Adagrad {
    /// keeps the denominator from zero; PyTorch has 1e-10
    pub eps: NonNegative,
    /// √(s + eps) as in min-char-rnn, or √s + eps as in PyTorch
    pub eps_inside_root: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { eps: NonNegative::new(1e-8), eps_inside_root: true }
    }
}

impl Part for Adagrad {
    const NAME: &'static str = "adagrad";
    const SUMMARY: &'static str = "steps shrink with the sum of squared gradients";
    const SOURCE: &'static str = "Duchi, Hazan & Singer 2011";
}

impl OptimizerPart for Adagrad {
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State { keys: *self, sum: vec![T::ZERO; layout.len()] })
    }
}

struct State<T> {
    keys: Adagrad,
    /// Sum of squared gradients.
    sum: Vec<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, _step: u64, learning_rate: f64, params: &mut [T], grads: &[T]) {
        let (lr, eps) = (T::from_f64(learning_rate), T::from_f64(self.keys.eps.get()));
        let entries = params.iter_mut().zip(grads).zip(&mut self.sum);
        if self.keys.eps_inside_root {
            for ((p, g), s) in entries {
                *s += *g * *g;
                *p -= lr * *g / (*s + eps).sqrt();
            }
        } else {
            for ((p, g), s) in entries {
                *s += *g * *g;
                *p -= lr * *g / (s.sqrt() + eps);
            }
        }
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("sum", &mut self.sum)]
    }
}
