//! Adam: `m ← β₁·m + (1-β₁)·g`, `v ← β₂·v + (1-β₂)·g²`, `p ← p - lr·m̂ / (√v̂ + eps)`,
//! where `m̂ = m / (1-β₁ᵗ)` and `v̂ = v / (1-β₂ᵗ)`.
//!
//! Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015. `weight_decay` is an L2
//! penalty added to the gradient, as in PyTorch's `Adam`; what decays the weights themselves is
//! AdamW, another optimizer.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

use super::{Optimizer, OptimizerPart};

/// Keys of `adam`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Adam {
    /// how much of the averages of g and of g² is kept each step
    pub betas: [Fraction; 2],
    /// added to √v
    pub eps: Positive,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            betas: [Fraction::new(0.9), Fraction::new(0.999)],
            eps: Positive::new(1e-8),
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for Adam {
    const NAME: &'static str = "adam";
    const SUMMARY: &'static str = "adaptive moments with bias correction";
    const SOURCE: &'static str = "Kingma & Ba 2015";
}

impl OptimizerPart for Adam {
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State {
            keys: *self,
            m: vec![T::ZERO; layout.len()],
            v: vec![T::ZERO; layout.len()],
        })
    }
}

struct State<T> {
    keys: Adam,
    /// Average gradient.
    m: Vec<T>,
    /// Average squared gradient.
    v: Vec<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, step: u64, learning_rate: f64, params: &mut [T], grads: &[T]) {
        let [beta1, beta2] = self.keys.betas.map(Fraction::get);
        // Both averages start at zero and lean towards it early on; these undo the lean.
        let m_bias = 1.0 - libm::pow(beta1, step as f64);
        let v_bias = 1.0 - libm::pow(beta2, step as f64);

        let lr = T::from_f64(learning_rate / m_bias);
        let v_root = T::from_f64(v_bias.sqrt());
        let (keep_m, take_m) = (T::from_f64(beta1), T::from_f64(1.0 - beta1));
        let (keep_v, take_v) = (T::from_f64(beta2), T::from_f64(1.0 - beta2));
        let eps = T::from_f64(self.keys.eps.get());
        let decay = T::from_f64(self.keys.weight_decay.get());
        for (((p, g), m), v) in params.iter_mut().zip(grads).zip(&mut self.m).zip(&mut self.v) {
            let g = *g + decay * *p;
            *m = keep_m * *m + take_m * g;
            *v = keep_v * *v + take_v * g * g;
            *p -= lr * *m / (v.sqrt() / v_root + eps);
        }
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("m", &mut self.m), ("v", &mut self.v)]
    }
}
