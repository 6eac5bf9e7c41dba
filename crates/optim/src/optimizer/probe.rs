//! What the unit tests of the optimizers share.

use tensor_core::pool::Pool;
use tensor_core::{Layout, Shape};

use super::{OptimizerPart, Update};

/// The parameters of one bias after each of the given gradients.
pub(super) fn trajectory<const STEPS: usize, const LEN: usize>(
    part: impl OptimizerPart,
    learning_rate: f64,
    grads: &[[f64; LEN]; STEPS],
    start: [f64; LEN],
) -> [[f64; LEN]; STEPS] {
    let mut layout = Layout::default();
    layout.push(None, [("b", Shape::Vector(LEN))]);
    let mut optimizer = part.optimizer::<f64>(&layout);
    let (mut params, mut step) = (start, 0);
    grads.map(|grads| {
        step += 1;
        optimizer.update(Update {
            step,
            learning_rate,
            params: &mut params,
            grads: &grads,
            pool: &mut Pool::default(),
        });
        params
    })
}
