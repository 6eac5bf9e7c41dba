//! Adagrad: `s ← s + g²`, `p ← p - lr·g / √(s + eps)`.
//!
//! Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
//! optimization", JMLR 12 (2011). The paper has `δ + √s` in the denominator, as PyTorch does;
//! min-char-rnn puts it inside the root. The two differ while `s` is small, which is at the start.
//! Inside, root and quotient are one function in `f32`, off by less than two units in the last place.
//! `weight_decay` is an L2 penalty added to the gradient, as in PyTorch.

use registry::Part;
use registry::range::{NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Aligned, Layout, Real};

use super::{Optimizer, OptimizerPart, Reach, Update};

/// Keys of `adagrad`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Adagrad {
    /// keeps the denominator from zero; PyTorch has 1e-10
    pub eps: Positive,
    /// √(s + eps) as in min-char-rnn, or √s + eps as in PyTorch
    pub eps_inside_root: bool,
    /// share of the parameters that is added to the gradient
    pub weight_decay: NonNegative,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self {
            eps: Positive::new(1e-8),
            eps_inside_root: true,
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for Adagrad {
    const NAME: &'static str = "adagrad";
    const SUMMARY: &'static str = "steps shrink with the sum of squared gradients";
    const SOURCE: &'static str = "Duchi, Hazan & Singer 2011";
}

impl OptimizerPart for Adagrad {
    /// min-char-rnn's; PyTorch has 0.01.
    const LEARNING_RATE: f64 = 0.1;

    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        Box::new(State { keys: *self, sum: Aligned::new(T::ZERO, layout.len()) })
    }
}

struct State<T> {
    keys: Adagrad,
    /// Sum of squared gradients.
    sum: Aligned<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let Adagrad { eps, eps_inside_root, weight_decay } = self.keys;
        let (lr, eps) = (T::from_f64(update.learning_rate), T::from_f64(eps.get()));
        let reach = if weight_decay.get() == 0.0 { Reach::WithGradient } else { Reach::All };
        let decay = T::from_f64(weight_decay.get());
        update.each_entry(
            reach,
            [&mut self.sum],
            #[inline(always)]
            |p, g, [s]| {
                let g = g + decay * p;
                let s = s + g * g;
                let step = if eps_inside_root {
                    (lr * g).over_sqrt(s + eps)
                } else {
                    lr * g / (s.sqrt() + eps)
                };
                (p - step, [s])
            },
        );
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("sum", &mut self.sum)]
    }
}

#[cfg(test)]
mod tests {
    use tensor_core::Shape;
    use tensor_core::pool::Pool;

    use super::*;
    use crate::optimizer::probe::trajectory;

    #[test]
    fn eps_stands_inside_the_root_or_beside_it() {
        let keys = Adagrad { eps: Positive::new(0.75), ..Adagrad::default() };
        // √(0.25 + 0.75) = 1, √0.25 + 0.75 = 1.25.
        assert_eq!(trajectory(keys, 1.0, &[[0.5]], [2.0]), [[1.5]]);
        let keys = Adagrad { eps_inside_root: false, ..keys };
        assert_eq!(trajectory(keys, 1.0, &[[0.5]], [2.0]), [[1.6]]);
    }

    /// Where root and quotient are one function, and `eps` is nothing.
    #[test]
    fn a_step_in_single_precision_is_near_the_exact_one_and_none_without_a_gradient() {
        let keys = Adagrad { eps: Positive::new(1e-50), ..Adagrad::default() };
        let mut layout = Layout::default();
        layout.push(None, [("b", Shape::Vector(3))]);
        let mut optimizer = keys.optimizer::<f32>(&layout);
        let (mut params, grads) = ([2.0, 2.0, 2.0_f32], [0.0, 0.3, -7.0_f32]);
        optimizer.update(Update {
            step: 1,
            learning_rate: 0.1,
            params: &mut params,
            grads: &grads,
            pool: &mut Pool::default(),
        });
        // g / √g² is one.
        assert_eq!(params[0], 2.0);
        for (param, exact) in params[1..].iter().zip([1.9_f32, 2.1]) {
            assert!((param - exact).abs() <= f32::EPSILON, "{param}, not {exact}");
        }
    }

    #[test]
    fn steps_shrink_with_what_was_summed_up() {
        let keys = Adagrad { eps: Positive::new(1e-300), ..Adagrad::default() };
        // s is 9, then 25.
        assert_eq!(trajectory(keys, 1.0, &[[3.0], [4.0]], [2.0]), [[1.0], [1.0 - 4.0 / 5.0]]);
    }

    #[test]
    fn entries_without_a_gradient_stay_and_their_neighbours_move() {
        let (zero, mut some) = ([0.0; 100], [0.0; 100]);
        (some[3], some[99]) = (1.0, -1.0);
        let [first, second] = trajectory(Adagrad::default(), 0.1, &[zero, some], [2.0; 100]);
        assert_eq!(first, [2.0; 100]);
        let moved: Vec<_> = (0..100).filter(|index| second[*index] != 2.0).collect();
        assert_eq!(moved, [3, 99]);
    }

    #[test]
    fn weight_decay_joins_the_gradient() {
        let keys = Adagrad { weight_decay: NonNegative::new(0.25), ..Adagrad::default() };
        let decayed = trajectory(keys, 0.1, &[[0.5]], [2.0]);
        assert_eq!(decayed, trajectory(Adagrad::default(), 0.1, &[[1.0]], [2.0]));
        let alone = trajectory(keys, 0.1, &[[0.0]], [2.0]);
        assert_eq!(alone, trajectory(Adagrad::default(), 0.1, &[[0.5]], [2.0]));
    }
}
