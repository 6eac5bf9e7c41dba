//! RAdam: Adam whose steps wait until the average of `g²` can be trusted. With
//! `ρ∞ = 2/(1-β₂) - 1` and `ρₜ = ρ∞ - 2·t·β₂ᵗ/(1-β₂ᵗ)` it is `p ← p - lr·r·m̂ / v̂`, where
//! `r = √((ρₜ-4)(ρₜ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρₜ))` and `v̂ = (√v + eps) / √(1-β₂ᵗ)`, once `ρₜ` is above 5,
//! and `p ← p - lr·m̂` before.
//!
//! Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020. The paper
//! starts to divide at `ρₜ > 4`; 5 is what its authors' code and PyTorch have. eps is added before
//! the bias correction, as in PyTorch, and `weight_decay` is an L2 penalty added to the gradient.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `radam`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RAdam {
    /// how much of the averages of g and of g² is kept each step
    pub betas: [Fraction; 2],
    /// added to √v
    pub eps: Positive,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for RAdam {
    fn default() -> Self {
        Self {
            betas: [Fraction::new(0.9), Fraction::new(0.999)],
            eps: Positive::new(1e-8),
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for RAdam {
    const NAME: &'static str = "radam";
    const SUMMARY: &'static str = "Adam with a warm-up of its own";
    const SOURCE: &'static str = "Liu et al. 2020";
}

impl OptimizerPart for RAdam {
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State {
            keys: *self,
            m: Aligned::new(T::ZERO, layout.len()),
            v: Aligned::new(T::ZERO, layout.len()),
        })
    }
}

struct State<T> {
    keys: RAdam,
    /// Average gradient.
    m: Aligned<T>,
    /// Average squared gradient.
    v: Aligned<T>,
}

/// `r·√(1-β₂ᵗ)`: what a step is multiplied with where it is divided by `√v + eps`; `None` as long
/// as it is not.
fn rectification(step: u64, beta2: f64) -> Option<f64> {
    let t = step as f64;
    let power = libm::pow(beta2, t);
    let longest = 2.0 / (1.0 - beta2) - 1.0;
    let length = longest - 2.0 * t * power / (1.0 - power);
    (5.0 < length).then(|| {
        let variance = (length - 4.0) * (length - 2.0) * longest
            / ((longest - 4.0) * (longest - 2.0) * length);
        variance.sqrt() * (1.0 - power).sqrt()
    })
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let [beta1, beta2] = self.keys.betas.map(Fraction::get);
        let lr = update.learning_rate / (1.0 - libm::pow(beta1, update.step as f64));
        let rectification = rectification(update.step, beta2);
        let lr = T::from_f64(lr * rectification.unwrap_or(1.0));
        let divides = rectification.is_some();
        let (keep_m, take_m) = (T::from_f64(beta1), T::from_f64(1.0 - beta1));
        let (keep_v, take_v) = (T::from_f64(beta2), T::from_f64(1.0 - beta2));
        let eps = T::from_f64(self.keys.eps.get());
        let decay = T::from_f64(self.keys.weight_decay.get());
        update.each_entry(
            Reach::All,
            [&mut self.m, &mut self.v],
            #[inline(always)]
            |p, g, [m, v]| {
                let g = g + decay * p;
                let m = keep_m * m + take_m * g;
                let v = keep_v * v + take_v * g * g;
                let step = if divides { lr * m / (v.sqrt() + eps) } else { lr * m };
                (p - step, [m, v])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("m", &mut self.m), ("v", &mut self.v)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::probe::trajectory;

    #[test]
    fn the_first_steps_are_those_of_momentum() {
        let keys = RAdam { betas: [0.5, 0.999].map(Fraction::new), ..RAdam::default() };
        let [first, second] = trajectory(keys, 1.0, &[[3.0], [6.0]], [0.0]);
        // m̂ is 1.5 / 0.5, then 3.75 / 0.75.
        assert_eq!((first, second), ([-3.0], [-8.0]));
    }

    #[test]
    fn dividing_starts_at_the_sixth_step_and_ends_as_adam() {
        // ρₜ passes 4 after 4 steps and 5 after 5, whatever β₂ near 1.
        assert_eq!((1..9).find(|step| rectification(*step, 0.999).is_some()), Some(6));
        let late = rectification(100_000, 0.999).expect("above 5 for long");
        assert!((late - 1.0).abs() < 1e-9, "{late}");
        let early = rectification(6, 0.999).expect("above 5");
        assert!(early < 0.01, "{early}");
    }

    #[test]
    fn an_average_too_short_to_trust_never_divides() {
        // β₂ = 0.5 gives ρ∞ = 3.
        assert!((1..1000).all(|step| rectification(step, 0.5).is_none()));
    }

    #[test]
    fn weight_decay_joins_the_gradient() {
        let keys = RAdam { weight_decay: NonNegative::new(0.25), ..RAdam::default() };
        let decayed = trajectory(keys, 0.1, &[[0.5]], [2.0]);
        assert_eq!(decayed, trajectory(RAdam::default(), 0.1, &[[1.0]], [2.0]));
    }
}
