//! Compares a gradient with finite differences of the loss it claims to belong to.
//!
//! The derivative is taken with the five-point stencil
//! `(L(x-2h) - 8·L(x-h) + 8·L(x+h) - L(x+2h)) / 12h`, whose truncation error is `h⁴·L⁽⁵⁾/30`
//! (Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", 1988).
//! With two points the error would be `h²`, and no step size would reach eight digits.
//!
//! Which `h` is best depends on the loss: a wide one suffers from truncation, a narrow one from
//! round-off. So `h` is halved until two neighbours agree, as Ridders, "Accurate computation of F'(x)
//! and F'(x)F''(x)", 1982, does. What the gradient says has no part in that.

use std::ops::Range;

/// The widest step `h`.
const STEP: f64 = 2e-3;
/// How often it may be halved, down to `2e-9`.
const HALVINGS: usize = 20;
/// Differences that agree to so much of the tensor's largest gradient are halved no further.
const SETTLED: f64 = 1e-10;

/// The entry of one tensor where gradient and derivative disagree most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mismatch {
    /// Position within the tensor.
    pub index: usize,
    /// The gradient's value there.
    pub analytic: f64,
    /// The derivative it is compared with.
    pub numeric: f64,
    /// `|analytic - numeric|`, relative to the largest entry of the tensor's gradient.
    ///
    /// Infinite where a value is infinite or NaN, since NaN compares as false and would pass unseen.
    pub error: f64,
    /// What the last halving of the step changed of `numeric`, and what round-off may have, relative
    /// to the same.
    ///
    /// Where the loss is smooth that is little. Far more means a kink within reach of every
    /// stencil, such as that of a rectifier: the differences then say nothing of the gradient.
    pub spread: f64,
}

impl Mismatch {
    /// The entry where `grad` and `exact`, derivatives that are no estimate, disagree most.
    ///
    /// Entries that are zero by both accounts agree; a tensor that is empty returns `None`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn worst(grad: &[f64], exact: &[f64]) -> Option<Self> {
        let settled: Vec<_> =
            exact.iter().map(|value| Estimate { value: *value, spread: 0.0 }).collect();
        worst(grad, &settled)
    }
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
    let mut difference = |index: usize, step: f64| {
        let saved = theta[index];
        let mut at = |offset: f64| {
            theta[index] = saved + offset;
            loss(theta)
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        theta[index] = saved;
        difference
    };
    // Only the largest of all tells how accurate the others have to be.
    let mut estimates: Vec<_> = range
        .clone()
        .map(|index| Estimate::new(f64::MAX, |step| difference(index, step)))
        .collect();
    let largest = largest(grad, &estimates);
    let goal = SETTLED * largest;
    for (index, estimate) in range.zip(&mut estimates) {
        if goal < estimate.spread && 0.0 < largest {
            *estimate = Estimate::new(goal, |step| difference(index, step));
        }
    }
    worst(grad, &estimates)
}

/// A derivative by differences, and how far two of them are apart.
#[derive(Clone, Copy)]
struct Estimate {
    value: f64,
    spread: f64,
}

impl Estimate {
    /// Halves the step until two neighbours differ by no more than `goal`, and takes the two that
    /// differ least. `difference` is that of two points, one step to either side.
    fn new(goal: f64, mut difference: impl FnMut(f64) -> f64) -> Self {
        // Of two such with steps 2h and h the five-point stencil is what leaves no term h².
        let mut step = STEP;
        let (mut wide, mut near) = (difference(2.0 * step), difference(step));
        let mut value = (4.0 * near - wide) / 3.0;
        let mut best = Self { value, spread: f64::INFINITY };
        for _ in 0..HALVINGS {
            step /= 2.0;
            (wide, near) = (near, difference(step));
            let finer = (4.0 * near - wide) / 3.0;
            // Of a loss of a few nats less than this is no difference. Two that agree by chance,
            // because there is nothing left of either, are no better for it.
            let spread = (finer - value).abs() + f64::EPSILON / step;
            if spread < best.spread {
                best = Self { value: finer, spread };
            }
            if best.spread <= goal {
                break;
            }
            value = finer;
        }
        best
    }
}

fn largest(grad: &[f64], estimates: &[Estimate]) -> f64 {
    let numeric = estimates.iter().map(|estimate| &estimate.value);
    numeric.chain(grad).fold(0.0, |max: f64, value| max.max(value.abs()))
}

#[track_caller]
fn worst(grad: &[f64], estimates: &[Estimate]) -> Option<Mismatch> {
    assert_eq!(grad.len(), estimates.len(), "one gradient entry for each derivative");
    let largest = largest(grad, estimates);
    let relative = |difference: f64| match difference.abs() {
        0.0 => 0.0,
        difference if (difference / largest).is_finite() => difference / largest,
        _ => f64::INFINITY,
    };
    let mismatch = |(index, (analytic, estimate)): (usize, (&f64, &Estimate))| Mismatch {
        index,
        analytic: *analytic,
        numeric: estimate.value,
        error: relative(*analytic - estimate.value),
        spread: relative(estimate.spread),
    };
    let all = grad.iter().zip(estimates).enumerate().map(mismatch);
    all.max_by(|a, b| a.error.total_cmp(&b.error))
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
        // Within reach of every step. The widest see it almost in their middle, and almost agree.
        let bent = |theta: &[f64]| (theta[3] - 0.700_000_001).abs() + theta[1];
        let worst = check([1.0, 0.0, -1.0], bent);
        assert!(1e-3 < worst.error && 1e-8 < worst.spread, "{worst:?}");
        let squares = |theta: &[f64]| theta.iter().map(|v| v * v).sum();
        assert!(check([0.6, -2.4 * 1.01, 1.4], squares).spread < 1e-10);
    }

    #[test]
    fn a_kink_beyond_reach_of_a_narrow_step_is_no_hindrance() {
        let bent = |theta: &[f64]| (theta[3] - 0.7005).abs() + theta[1];
        assert!(check([1.0, 0.0, -1.0], bent).error < 1e-10);
        assert!(9e-4 < check([1.0, 0.0, -1.001], bent).error);
    }

    #[test]
    fn a_loss_too_steep_for_a_wide_step_is_measured_with_a_narrow_one() {
        // As layer normalization is around a row of zeros.
        let steep = |theta: &[f64]| (theta[2] + 1.2) / ((theta[2] + 1.2).powi(2) + 1e-5).sqrt();
        let slope = 1e-5_f64.powf(-0.5);
        assert!(check([0.0, slope, 0.0], steep).error < 2e-9);
        assert!(1e-7 < check([0.0, slope * 1.000_001, 0.0], steep).error);
    }

    #[test]
    fn a_small_loss_is_measured_as_closely_as_a_large_one() {
        let steep = |x: f64| 1e-6 * x / (x.powi(2) + 1e-5).sqrt();
        let slope = 1e-6 * 1e-5_f64.powf(-0.5);
        assert!(check([0.0, slope, 0.0], |theta| steep(theta[2] + 1.2)).error < 1e-6);
        let huge = Mismatch::worst(&[1e200, 2e200], &[1e200, 4e200]).expect("two entries");
        assert_eq!((huge.index, huge.error), (1, 0.5));
    }

    #[test]
    fn exact_derivatives_are_compared_as_they_are() {
        let worst = Mismatch::worst(&[0.5, -2.0, 0.0], &[0.5, -2.0, 1e-9]).expect("three entries");
        assert_eq!((worst.index, worst.error, worst.spread), (2, 5e-10, 0.0));
        let worst = Mismatch::worst(&[0.5, f64::NAN], &[0.5, 0.5]).expect("two entries");
        assert_eq!((worst.index, worst.error), (1, f64::INFINITY));
        assert_eq!(Mismatch::worst(&[], &[]), None);
    }

    #[test]
    fn a_gradient_of_zeros_passes_only_where_the_loss_is_flat() {
        assert_eq!(check([0.0; 3], |_| 5.0).error, 0.0);
        assert_eq!(check([0.0; 3], |theta| 1e-9 * theta[2]).error, 1.0);
    }
}
