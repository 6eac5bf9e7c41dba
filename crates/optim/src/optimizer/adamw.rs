//! AdamW: Adam whose weight decay stays out of the averages,
//! `p ← (1 - lr·weight_decay)·p`, then Adam's step `p ← p - lr·m̂ / (√v̂ + eps)`.
//!
//! Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019. As in PyTorch the decay
//! is multiplied with the learning rate; the paper multiplies it with the schedule's factor alone.

use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::adam::AdamStep;
use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `adamw`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AdamW {
    /// how much of the averages of g and of g² is kept each step
    pub betas: [Fraction; 2],
    /// added to √v
    pub eps: Positive,
    /// share of the parameters that is taken off, times the learning rate
    pub weight_decay: NonNegative,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            betas: [Fraction::new(0.9), Fraction::new(0.999)],
            eps: Positive::new(1e-8),
            weight_decay: NonNegative::new(0.01),
        }
    }
}

impl Part for AdamW {
    const NAME: &'static str = "adamw";
    const SUMMARY: &'static str = "Adam with weight decay apart from the gradient";
    const SOURCE: &'static str = "Loshchilov & Hutter 2019";
}

impl OptimizerPart for AdamW {
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State {
            keys: *self,
            m: Aligned::new(T::ZERO, layout.len()),
            v: Aligned::new(T::ZERO, layout.len()),
        })
    }
}

struct State<T> {
    keys: AdamW,
    /// Average gradient.
    m: Aligned<T>,
    /// Average squared gradient.
    v: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let AdamW { betas, eps, weight_decay } = self.keys;
        let keep = T::from_f64(1.0 - update.learning_rate * weight_decay.get());
        let rule = AdamStep::new(update.step, update.learning_rate, betas, eps);
        update.each_entry(
            Reach::All,
            [&mut self.m, &mut self.v],
            #[inline(always)]
            |p, g, [m, v]| {
                let (descent, averages) = rule.descent(g, [m, v]);
                (keep * p - descent, averages)
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
    use crate::optimizer::{Adam, probe::trajectory};

    #[test]
    fn a_zero_gradient_leaves_the_decay_alone() {
        let keys = AdamW { weight_decay: NonNegative::new(0.5), ..AdamW::default() };
        assert_eq!(trajectory(keys, 0.5, &[[0.0]; 2], [16.0]), [[12.0], [9.0]]);
    }

    #[test]
    fn without_decay_it_is_adam() {
        let keys = AdamW { weight_decay: NonNegative::new(0.0), ..AdamW::default() };
        let grads = [[1.0, -3.0], [0.5, 2.0], [0.0, 1.0]];
        let adam = trajectory(Adam::default(), 0.1, &grads, [2.0, -1.0]);
        assert_eq!(trajectory(keys, 0.1, &grads, [2.0, -1.0]), adam);
    }
}
