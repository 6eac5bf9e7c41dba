//! AdaMax: Adam with a decaying maximum in place of the root mean square,
//! `m ← β₁·m + (1-β₁)·g`, `u ← max(β₂·u, |g| + eps)`, `p ← p - lr·m / ((1-β₁ᵗ)·u)`.
//!
//! Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1. The paper has
//! no eps and divides zero by zero where a gradient has always been zero; PyTorch adds eps to `|g|`,
//! and so does this. A maximum does not lean towards the zero it starts from, so `u` is not corrected.
//! `weight_decay` is an L2 penalty added to the gradient, as in PyTorch.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `adamax`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AdaMax {
    /// how much of the average of g and of the maximum of |g| is kept each step
    pub betas: [Fraction; 2],
    /// added to |g|
    pub eps: Positive,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for AdaMax {
    fn default() -> Self {
        Self {
            betas: [Fraction::new(0.9), Fraction::new(0.999)],
            eps: Positive::new(1e-8),
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for AdaMax {
    const NAME: &'static str = "adamax";
    const SUMMARY: &'static str = "Adam with a decaying maximum of the gradient";
    const SOURCE: &'static str = "Kingma & Ba 2015";
}

impl OptimizerPart for AdaMax {
    const LEARNING_RATE: f64 = 2e-3;

    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State {
            keys: *self,
            m: Aligned::new(T::ZERO, layout.len()),
            u: Aligned::new(T::ZERO, layout.len()),
        })
    }
}

struct State<T> {
    keys: AdaMax,
    /// Average gradient.
    m: Aligned<T>,
    /// Decaying maximum of the gradient's absolute value.
    u: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let [beta1, beta2] = self.keys.betas.map(Fraction::get);
        let lr = T::from_f64(update.learning_rate / (1.0 - libm::pow(beta1, update.step as f64)));
        let (keep_m, take_m) = (T::from_f64(beta1), T::from_f64(1.0 - beta1));
        let keep_u = T::from_f64(beta2);
        let eps = T::from_f64(self.keys.eps.get());
        let decay = T::from_f64(self.keys.weight_decay.get());
        update.each_entry(
            Reach::All,
            [&mut self.m, &mut self.u],
            #[inline(always)]
            |p, g, [m, u]| {
                let g = g + decay * p;
                let m = keep_m * m + take_m * g;
                let (kept, found) = (keep_u * u, if g < T::ZERO { -g } else { g } + eps);
                let u = if found < kept { kept } else { found };
                (p - lr * m / u, [m, u])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("m", &mut self.m), ("u", &mut self.u)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    #[test]
    fn a_large_gradient_is_remembered_and_decays() {
        let keys = AdaMax {
            betas: [0.0, 0.5].map(Fraction::new),
            eps: Positive::new(1e-300),
            ..AdaMax::default()
        };
        // u is 8, 4 and, since 3 is above 2, 3.
        let p = trajectory(keys, 1.0, &[[-8.0], [2.0], [3.0]], [0.0]);
        assert_eq!(p, [[1.0], [0.5], [-0.5]]);
    }

    #[test]
    fn the_average_gradient_is_corrected_for_its_start() {
        let keys = AdaMax { betas: [0.5, 0.5].map(Fraction::new), ..AdaMax::default() };
        let [first, second] = trajectory(keys, 1.0, &[[1.0], [2.0]], [0.0]);
        // m = 0.5·0.5 + 0.5·2, over 1 - 0.5², over u = 2.
        assert!((first[0] + 1.0).abs() < 1e-7, "{first:?}");
        assert!((second[0] - first[0] + 1.25 / 0.75 / 2.0).abs() < 1e-7, "{second:?}");
    }

    #[test]
    fn weight_decay_joins_the_gradient() {
        let keys = AdaMax { weight_decay: NonNegative::new(0.25), ..AdaMax::default() };
        let decayed = trajectory(keys, 0.1, &[[0.5], [0.5]], [2.0])[0];
        assert_eq!(decayed, trajectory(AdaMax::default(), 0.1, &[[1.0]], [2.0])[0]);
    }
}
