//! signSGD: `u ← momentum·u + (1 - momentum)·g`, `p ← p - lr·sign(u)`.
//!
//! Bernstein, Wang, Azizzadenesheli & Anandkumar, "signSGD: compressed optimisation for non-convex
//! problems", ICML 2018; with momentum it is the paper's Signum.

use optim::{Optimizer, OptimizerPart, Reach, Update};
use registry::Part;
use registry::range::Fraction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

/// Keys of `sign_sgd`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SignSgd {
    /// how much of the average gradient is kept each step
    pub momentum: Fraction,
}

impl Default for SignSgd {
    fn default() -> Self {
        Self { momentum: Fraction::new(0.9) }
    }
}

impl Part for SignSgd {
    const NAME: &'static str = "sign_sgd";
    const SUMMARY: &'static str = "steps of one length, against the sign of the average gradient";
    const SOURCE: &'static str = "Bernstein et al. 2018";
}

impl OptimizerPart for SignSgd {
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State { keys: *self, average: vec![T::ZERO; layout.len()] })
    }
}

struct State<T> {
    keys: SignSgd,
    average: Vec<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let lr = T::from_f64(update.learning_rate);
        let keep = T::from_f64(self.keys.momentum.get());
        let take = T::from_f64(1.0 - self.keys.momentum.get());
        update.each_entry(
            Reach::All,
            [&mut self.average],
            #[inline(always)]
            |p, g, [u]| {
                let u = keep * u + take * g;
                let step = if T::ZERO < u {
                    lr
                } else if u < T::ZERO {
                    -lr
                } else {
                    T::ZERO
                };
                (p - step, [u])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("average", &mut self.average)]
    }
}
