//! Dropout of a layer's outputs.
//!
//! Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15
//! (2014), between layers and before the output, never from step to step, as Zaremba, Sutskever &
//! Vinyals, "Recurrent neural network regularization", 2014. PyTorch leaves out the last one. The
//! variational form keeps one mask for all steps of a lane's window: Gal & Ghahramani, "A theoretically
//! grounded application of dropout in recurrent neural networks", NeurIPS 2016.

use tensor_core::Real;
use tensor_core::rng::{self, Rng};

use crate::view::Rows;

/// A mask over the outputs of a layer.
pub(crate) struct Dropout<T> {
    rate: f64,
    variational: bool,
    /// Zero, or `1 / (1 - rate)`; one until it is drawn. `[seq_len·batch_size, hidden_size]`, or
    /// `[batch_size, hidden_size]` in the variational form.
    mask: Rows<T>,
    rows: usize,
}

impl<T: Real> Dropout<T> {
    pub fn new(
        rate: f64,
        variational: bool,
        seq_len: usize,
        batch_size: usize,
        width: usize,
    ) -> Self {
        let rows = if variational { batch_size } else { seq_len * batch_size };
        let mut mask = Rows::zeros(rows, width);
        mask.flat_mut(0..rows).fill(T::ONE);
        Self { rate, variational, mask, rows }
    }

    pub fn draw(&mut self, rng: &mut Rng) {
        fill_mask(self.rate, rng, self.mask.flat_mut(0..self.rows));
    }

    /// Puts the `count` rows of the window, or their gradient, under the mask.
    pub fn apply(&self, count: usize, values: &mut Rows<T>) {
        let rows_each = if self.variational { count / self.rows } else { 1 };
        T::vectorized(
            #[inline(always)]
            || {
                for row in 0..count {
                    let values = values.row_mut(row).iter_mut();
                    for (value, mask) in values.zip(self.mask.row(row / rows_each)) {
                        *value *= *mask;
                    }
                }
            },
        );
    }
}

/// Overwrites `mask` with zeros at `rate` and `1 / (1 - rate)` elsewhere.
pub(crate) fn fill_mask<T: Real>(rate: f64, rng: &mut Rng, mask: &mut [T]) {
    let kept = T::from_f64(1.0 / (1.0 - rate));
    rng::fill(rng, mask, |number| if number < rate { T::ZERO } else { kept });
}

#[cfg(test)]
mod tests {
    use tensor_core::rng::{Stream, stream};

    use super::*;

    #[test]
    fn what_is_kept_makes_up_for_what_is_left_out() {
        let (steps, lanes, width) = (20, 3, 100);
        for variational in [false, true] {
            let mut dropout = Dropout::new(0.2, variational, steps, lanes, width);
            dropout.draw(&mut stream(1, Stream::Dropout));
            let mut values = Rows::zeros(steps * lanes, width);
            values.flat_mut(0..steps * lanes).fill(1.0);
            dropout.apply(steps * lanes, &mut values);

            let all = values.flat(0..steps * lanes);
            assert!(all.iter().all(|value| [0.0, 1.25].contains(value)));
            let left_out = all.iter().filter(|value| **value == 0.0).count() as f64;
            // Masks are drawn for all rows, or for those of one step. Four standard errors.
            let drawn = if variational { lanes * width } else { steps * lanes * width };
            let error = 4.0 * (0.2_f64 * 0.8 / drawn as f64).sqrt();
            assert!((left_out / all.len() as f64 - 0.2).abs() < error, "{left_out}");
            // Rows lie lane by lane.
            for row in 1..steps * lanes {
                let is_as_before = values.row(row) == values.row(row - 1);
                assert_eq!(is_as_before, variational && row % steps != 0, "row {row}");
            }
        }
    }
}
