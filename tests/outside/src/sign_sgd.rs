//! signSGD: `u ← momentum·u + (1 - momentum)·g`, `p ← p - lr·sign(u)`.
//!
//! Bernstein, Wang, Azizzadenesheli & Anandkumar, "signSGD: compressed optimisation for non-convex
//! problems", ICML 2018; with momentum it is the paper's Signum.

use optim::{Optimizer, OptimizerPart};
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
    fn update(&mut self, _step: u64, learning_rate: f64, params: &mut [T], grads: &[T]) {
        let lr = T::from_f64(learning_rate);
        let keep = T::from_f64(self.keys.momentum.get());
        let take = T::from_f64(1.0 - self.keys.momentum.get());
        for ((p, g), u) in params.iter_mut().zip(grads).zip(&mut self.average) {
            *u = keep * *u + take * *g;
            if T::ZERO < *u {
                *p -= lr;
            } else if *u < T::ZERO {
                *p += lr;
            }
        }
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("average", &mut self.average)]
    }
}
