//! NAdam: Adam that looks ahead along its momentum as Nesterov's method does,
//! `p ← p - lr·((1-μₜ)·g / (1-Πₜ) + μₜ₊₁·m / (1-Πₜ·μₜ₊₁)) / (√v̂ + eps)`, with Adam's averages `m`
//! and `v`, `μₜ = β₁·(1 - 0.96^(momentum_decay·t) / 2)` and `Πₜ = μ₁·…·μₜ`.
//!
//! Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016. The paper also averages
//! the gradient with weights `μₜ`; PyTorch keeps `β₁` there, and so does this. `weight_decay` is an
//! L2 penalty added to the gradient, as in PyTorch.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `nadam`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NAdam {
    /// how much of the averages of g and of g² is kept each step
    pub betas: [Fraction; 2],
    /// added to √v
    pub eps: Positive,
    /// how fast the momentum goes from half of its beta to all of it
    pub momentum_decay: NonNegative,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            betas: [Fraction::new(0.9), Fraction::new(0.999)],
            eps: Positive::new(1e-8),
            momentum_decay: NonNegative::new(0.004),
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for NAdam {
    const NAME: &'static str = "nadam";
    const SUMMARY: &'static str = "Adam with Nesterov's look ahead";
    const SOURCE: &'static str = "Dozat 2016";
}

impl OptimizerPart for NAdam {
    const LEARNING_RATE: f64 = 2e-3;

    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State {
            keys: *self,
            m: Aligned::new(T::ZERO, layout.len()),
            v: Aligned::new(T::ZERO, layout.len()),
            mu_product: [T::ONE],
        })
    }
}

struct State<T> {
    keys: NAdam,
    /// Average gradient.
    m: Aligned<T>,
    /// Average squared gradient.
    v: Aligned<T>,
    /// `Πₜ`, which no formula gives for a step without those before it.
    mu_product: [T; 1],
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let NAdam { betas, eps, momentum_decay, weight_decay } = self.keys;
        let [beta1, beta2] = betas.map(Fraction::get);
        let mu_at =
            |step: u64| beta1 * (1.0 - 0.5 * libm::pow(0.96, step as f64 * momentum_decay.get()));
        let (mu, mu_next) = (mu_at(update.step), mu_at(update.step + 1));
        self.mu_product[0] *= T::from_f64(mu);
        let mu_product = self.mu_product[0].to_f64();

        let v_bias = T::from_f64(1.0 - libm::pow(beta2, update.step as f64));
        let lr_g = T::from_f64(update.learning_rate * (1.0 - mu) / (1.0 - mu_product));
        let lr_m = T::from_f64(update.learning_rate * mu_next / (1.0 - mu_product * mu_next));
        let (keep_m, take_m) = (T::from_f64(beta1), T::from_f64(1.0 - beta1));
        let (keep_v, take_v) = (T::from_f64(beta2), T::from_f64(1.0 - beta2));
        let (eps, decay) = (T::from_f64(eps.get()), T::from_f64(weight_decay.get()));
        update.each_entry(
            Reach::All,
            [&mut self.m, &mut self.v],
            #[inline(always)]
            |p, g, [m, v]| {
                let g = g + decay * p;
                let m = keep_m * m + take_m * g;
                let v = keep_v * v + take_v * g * g;
                (p - (lr_g * g + lr_m * m) / ((v / v_bias).sqrt() + eps), [m, v])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("m", &mut self.m), ("v", &mut self.v), ("mu_product", &mut self.mu_product)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    #[test]
    fn momentum_looks_one_step_ahead() {
        // Without decay μ is β₁/2 = 0.25 for ever.
        let keys = NAdam {
            betas: [0.5, 0.0].map(Fraction::new),
            eps: Positive::new(1e-300),
            momentum_decay: NonNegative::new(0.0),
            ..NAdam::default()
        };
        let [first, second] = trajectory(keys, 1.0, &[[2.0], [4.0]], [0.0]);
        // m is 1 and 2.5; √v is |g|; Π is 1/4 and 1/16.
        let expected = -(0.75 / 0.75) - (0.25 * 1.0 / (15.0 / 16.0)) / 2.0;
        assert!((first[0] - expected).abs() < 1e-15, "{first:?} instead of {expected}");
        let expected = first[0] - 0.75 / (15.0 / 16.0) - (0.25 * 2.5 / (63.0 / 64.0)) / 4.0;
        assert!((second[0] - expected).abs() < 1e-15, "{second:?} instead of {expected}");
    }

    #[test]
    fn weight_decay_joins_the_gradient() {
        let keys = NAdam { weight_decay: NonNegative::new(0.25), ..NAdam::default() };
        let decayed = trajectory(keys, 0.1, &[[0.5]], [2.0]);
        assert_eq!(decayed, trajectory(NAdam::default(), 0.1, &[[1.0]], [2.0]));
    }
}
