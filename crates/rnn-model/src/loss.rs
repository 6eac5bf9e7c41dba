//! Softmax cross-entropy.

use ndarray::{ArrayView2, ArrayViewMut2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;
use tensor_core::reduce::{maximum, sum};

/// How the losses of a window's characters become the one loss that is differentiated.
///
/// It scales gradients, so it changes what a learning rate and a clipping bound mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// Sum over the steps, mean over the lanes, as in min-char-rnn.
    #[default]
    Sum,
    /// Mean over steps and lanes, as is PyTorch's default.
    Mean,
}

impl Reduction {
    /// The weight of one character's loss in a window of `steps` steps of `batch_size` lanes.
    pub fn weight(self, steps: usize, batch_size: usize) -> f64 {
        match self {
            Self::Sum => 1.0 / batch_size as f64,
            Self::Mean => 1.0 / (steps * batch_size) as f64,
        }
    }
}

/// Softmax cross-entropy of each row, in nats.
///
/// `logits` and `dlogits` are `[rows, vocab_size]`; `targets` has one index for each row. Overwrites
/// `losses`, one for each row, and `dlogits` with `weight · (softmax(logits) - onehot(targets))`, the
/// gradient of `weight` times their sum.
/// Shifts each row by its maximum first: `exp` overflows `f32` near 88.
///
/// # Panics
/// If a target is not below `vocab_size`, or the number of rows differs.
#[track_caller]
pub fn softmax_xent<T: Real>(
    logits: ArrayView2<'_, T>,
    targets: &[u32],
    weight: T,
    mut dlogits: ArrayViewMut2<'_, T>,
    losses: &mut [T],
) {
    assert_eq!(logits.nrows(), targets.len(), "one target for each row");
    assert_eq!(logits.nrows(), losses.len(), "one loss for each row");
    assert_eq!(logits.dim(), dlogits.dim(), "one gradient for each logit");
    let vocab_size = logits.ncols();
    let logits = logits.to_slice().expect("rows are contiguous").chunks_exact(vocab_size);
    let dlogits = dlogits.as_slice_mut().expect("rows are contiguous");
    T::vectorized(
        #[inline(always)]
        || {
            let rows = dlogits.chunks_exact_mut(vocab_size).zip(logits);
            for ((dlogits, logits), (target, loss)) in rows.zip(targets.iter().zip(losses)) {
                *loss = row_xent(logits, *target as usize, weight, dlogits);
            }
        },
    );
}

#[inline(always)]
fn row_xent<T: Real>(logits: &[T], target: usize, weight: T, dlogits: &mut [T]) -> T {
    let max = maximum(logits);
    for (probability, logit) in dlogits.iter_mut().zip(logits) {
        *probability = (*logit - max).exp();
    }
    let sum = sum(dlogits);
    let scale = weight / sum;
    for probability in &mut *dlogits {
        *probability *= scale;
    }
    dlogits[target] -= weight;
    sum.ln() - (logits[target] - max)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn xent<T: Real>(logits: ArrayView2<'_, T>, targets: &[u32], weight: f64) -> (T, Array2<T>) {
        let mut dlogits = logits.to_owned();
        let mut losses = vec![T::ZERO; targets.len()];
        softmax_xent(logits, targets, T::from_f64(weight), dlogits.view_mut(), &mut losses);
        (losses.into_iter().fold(T::ZERO, |sum, loss| sum + loss), dlogits)
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_their_number() {
        let logits = Array2::<f64>::zeros((2, 7));
        let (total, dlogits) = xent(logits.view(), &[3, 0], 0.5);
        assert!((total - 2.0 * 7.0_f64.ln()).abs() < 1e-15);
        assert!((dlogits[(0, 3)] - 0.5 * (1.0 / 7.0 - 1.0)).abs() < 1e-16);
        assert!((dlogits[(0, 2)] - 0.5 / 7.0).abs() < 1e-16);
    }

    #[test]
    fn a_mean_is_over_lanes_and_if_asked_for_over_steps() {
        assert_eq!(Reduction::Sum.weight(8, 4), 1.0 / 4.0);
        assert_eq!(Reduction::Mean.weight(8, 4), 1.0 / 32.0);
    }

    #[test]
    fn huge_logits_stay_finite() {
        let logits = array![[-3e38_f32, 3e38, 0.0]];
        assert_eq!(xent(logits.view(), &[1], 1.0), (0.0, array![[0.0, 0.0, 0.0]]));
    }

    #[test]
    fn a_nan_logit_makes_the_loss_nan() {
        let logits = array![[0.0_f32, f32::NAN, 0.0]];
        assert!(xent(logits.view(), &[1], 1.0).0.is_nan());
    }
}
