//! Softmax cross-entropy.

use ndarray::{ArrayView2, ArrayViewMut2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

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

/// Softmax cross-entropy, summed over all rows, in nats.
///
/// `logits` and `dlogits` are `[rows, vocab_size]`; `targets` has one index for each row.
/// Overwrites `dlogits` with `weight · (softmax(logits) - onehot(targets))`, the gradient of
/// `weight` times the sum that is returned.
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
) -> T {
    assert_eq!(logits.nrows(), targets.len(), "one target for each row");
    assert_eq!(logits.dim(), dlogits.dim(), "one gradient for each logit");
    let mut total = T::ZERO;
    for ((logits, mut dlogits), target) in
        logits.rows().into_iter().zip(dlogits.rows_mut()).zip(targets)
    {
        let target = *target as usize;
        let max =
            logits.iter().fold(logits[0], |max, logit| if max < *logit { *logit } else { max });
        let mut sum = T::ZERO;
        for (probability, logit) in dlogits.iter_mut().zip(logits) {
            *probability = (*logit - max).exp();
            sum += *probability;
        }
        total += sum.ln() - (logits[target] - max);

        let scale = weight / sum;
        for probability in &mut dlogits {
            *probability *= scale;
        }
        dlogits[target] -= weight;
    }
    total
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn equal_logits_cost_the_logarithm_of_their_number() {
        let logits = Array2::<f64>::zeros((2, 7));
        let mut dlogits = logits.clone();
        let total = softmax_xent(logits.view(), &[3, 0], 0.5, dlogits.view_mut());
        assert!((total - 2.0 * 7.0_f64.ln()).abs() < 1e-15);
        assert!((dlogits[(0, 3)] - 0.5 * (1.0 / 7.0 - 1.0)).abs() < 1e-16);
        assert!((dlogits[(0, 2)] - 0.5 / 7.0).abs() < 1e-16);
    }

    #[test]
    fn huge_logits_stay_finite() {
        let logits = array![[-3e38_f32, 3e38, 0.0]];
        let mut dlogits = logits.clone();
        assert_eq!(softmax_xent(logits.view(), &[1], 1.0, dlogits.view_mut()), 0.0);
        assert_eq!(dlogits, array![[0.0, 0.0, 0.0]]);
    }

    #[test]
    fn a_nan_logit_makes_the_loss_nan() {
        let logits = array![[0.0_f32, f32::NAN, 0.0]];
        let mut dlogits = logits.clone();
        assert!(softmax_xent(logits.view(), &[0], 1.0, dlogits.view_mut()).is_nan());
    }
}
