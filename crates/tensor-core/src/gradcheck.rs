//! Compares a gradient with finite differences of the loss it claims to belong to.
//!
//! The derivative is taken with the five-point stencil
//! `(L(x-2h) - 8·L(x-h) + 8·L(x+h) - L(x+2h)) / 12h`, whose truncation error is `h⁴·L⁽⁵⁾/30`
//! (Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", 1988).
//! With two points the error would be `h²`, and no step size would reach eight digits.

use std::ops::Range;

/// The step `h`. Truncation is near `1e-15·L⁽⁵⁾`, round-off near `1e-12·L`.
const STEP: f64 = 5e-4;

/// The entry of one tensor where gradient and finite differences disagree most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mismatch {
    /// Position within the tensor.
    pub index: usize,
    /// The gradient's value there.
    pub analytic: f64,
    /// The derivative by finite differences.
    pub numeric: f64,
    /// `|analytic - numeric|`, relative to the largest entry of the tensor's gradient.
    ///
    /// Infinite where a value is infinite or NaN, since NaN compares as false and would pass unseen.
    pub error: f64,
    /// What halving the step changes of `numeric`, relative to the same.
    ///
    /// Where the loss is smooth that is round-off. Far more means a kink within reach of the stencil,
    /// such as that of a rectifier: the differences then say nothing of the gradient.
    pub spread: f64,
}

/// Compares `grad` with finite differences of `loss` by the entries `range` of `theta`.
///
/// `grad` is the gradient of those entries alone, as long as `range`. `theta` is restored.
/// Entries whose derivative is zero by both accounts agree; a tensor that is empty returns `None`.
///
/// # Panics
/// If `grad` is not as long as `range`.
#[track_caller]
pub fn worst_mismatch(
    theta: &mut [f64],
    range: Range<usize>,
    grad: &[f64],
    mut loss: impl FnMut(&[f64]) -> f64,
) -> Option<Mismatch> {
    assert_eq!(range.len(), grad.len(), "one gradient entry for each parameter");
    let start = range.start;
    let mut derivative = |index: usize, step: f64| {
        let saved = theta[index];
        let mut at = |offset: f64| {
            theta[index] = saved + offset;
            loss(theta)
        };
        let wide = at(-2.0 * step) - at(2.0 * step);
        let near = at(step) - at(-step);
        theta[index] = saved;
        (wide + 8.0 * near) / (12.0 * step)
    };
    let numeric: Vec<f64> = range.map(|index| derivative(index, STEP)).collect();

    let largest = numeric.iter().chain(grad).fold(0.0, |max: f64, value| max.max(value.abs()));
    let relative = |a: f64, b: f64| match (a - b).abs() {
        0.0 => 0.0,
        difference if (difference / largest).is_finite() => difference / largest,
        _ => f64::INFINITY,
    };
    let error = |index: &usize| relative(grad[*index], numeric[*index]);
    let worst = (0..grad.len()).max_by(|a, b| error(a).total_cmp(&error(b)))?;
    let finer = derivative(start + worst, STEP / 2.0);
    Some(Mismatch {
        index: worst,
        analytic: grad[worst],
        numeric: numeric[worst],
        error: error(&worst),
        spread: relative(numeric[worst], finer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grad: [f64; 3], loss: impl FnMut(&[f64]) -> f64) -> Mismatch {
        worst_mismatch(&mut [9.0, 0.3, -1.2, 0.7], 1..4, &grad, loss).expect("three entries")
    }

    #[test]
    fn a_true_gradient_passes_and_theta_is_restored() {
        let mut theta = [0.3, -1.2];
        let grad = theta.map(f64::cos);
        let loss = |theta: &[f64]| theta.iter().map(|v| v.sin()).sum();
        let worst = worst_mismatch(&mut theta, 0..2, &grad, loss).expect("two entries");
        assert!(worst.error < 1e-11, "{worst:?}");
        assert_eq!(theta, [0.3, -1.2]);
    }

    #[test]
    fn an_entry_off_by_a_millionth_is_caught_and_named() {
        let loss = |theta: &[f64]| theta.iter().map(|v| v * v).sum();
        let worst = check([0.6, -2.4 * 1.000_001, 1.4], loss);
        assert_eq!(worst.index, 1);
        assert!(9e-7 < worst.error && worst.error < 1.1e-6, "{worst:?}");
    }

    #[test]
    fn nan_never_passes() {
        let squares = |theta: &[f64]| theta.iter().map(|v| v * v).sum();
        assert_eq!(check([0.6, f64::NAN, 1.4], squares).error, f64::INFINITY);
        assert_eq!(check([0.6, -2.4, 1.4], |_| f64::NAN).error, f64::INFINITY);
        assert_eq!(check([0.6, f64::INFINITY, 1.4], squares).error, f64::INFINITY);
    }

    #[test]
    fn a_kink_within_reach_of_the_stencil_shows_and_a_smooth_loss_does_not() {
        // The kink is half a step away from the third entry.
        let bent = |theta: &[f64]| (theta[3] - 0.70025).abs() + theta[1];
        assert!(1e-3 < check([1.0, 0.0, -1.0], bent).spread);
        let squares = |theta: &[f64]| theta.iter().map(|v| v * v).sum();
        assert!(check([0.6, -2.4 * 1.01, 1.4], squares).spread < 1e-10);
    }

    #[test]
    fn a_gradient_of_zeros_passes_only_where_the_loss_is_flat() {
        assert_eq!(check([0.0; 3], |_| 5.0).error, 0.0);
        assert_eq!(check([0.0; 3], |theta| 1e-9 * theta[2]).error, 1.0);
    }
}
