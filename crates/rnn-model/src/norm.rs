//! Layer normalization: `y = gain ⊙ (x - mean) / √(variance + eps)`, over each row.
//!
//! Ba, Kiros & Hinton, "Layer normalization", 2016. There is no bias: the one of the pre-activation
//! does its work.

use tensor_core::Real;
use tensor_core::reduce::{dot, sum};

use crate::view::{Rows, RowsMut};

/// Keeps the root from zero; the value of PyTorch's `nn.LayerNorm`.
const EPS: f64 = 1e-5;

/// What the way back needs of each row of a window.
#[derive(Debug)]
pub(crate) struct Norm<T> {
    /// Tape: `(x - mean) / √(variance + eps)`.
    normalized: Rows<T>,
    /// Tape: `1 / √(variance + eps)` of each row, `[rows, 1]`.
    scale: Rows<T>,
}

impl<T: Real> Norm<T> {
    pub fn new(rows: usize, width: usize) -> Self {
        Self { normalized: Rows::zeros(rows, width), scale: Rows::zeros(rows, 1) }
    }

    /// Number of values kept.
    pub fn len(&self) -> usize {
        self.normalized.len() + self.scale.len()
    }

    /// The first `rows` rows, to be split among threads.
    pub fn part_mut(&mut self, rows: usize) -> NormMut<'_, T> {
        NormMut {
            normalized: self.normalized.part_mut(0..rows),
            scale: self.scale.part_mut(0..rows),
        }
    }
}

/// Some rows of a [`Norm`].
#[derive(Debug)]
pub(crate) struct NormMut<'a, T> {
    normalized: RowsMut<'a, T>,
    scale: RowsMut<'a, T>,
}

impl<'a, T: Real> NormMut<'a, T> {
    /// Takes the first `count` rows away.
    pub fn take(&mut self, count: usize) -> NormMut<'a, T> {
        NormMut { normalized: self.normalized.take(count), scale: self.scale.take(count) }
    }

    /// Overwrites `x`, which is row `row` of the window, with its normalized form.
    pub fn forward(&mut self, row: usize, gain: &[T], x: &mut [T]) {
        let n = T::from_f64(x.len() as f64);
        let normalized = self.normalized.row_mut(row);
        self.scale.row_mut(row)[0] = T::vectorized(
            #[inline(always)]
            || {
                let mean = sum(x) / n;
                for (normalized, x) in normalized.iter_mut().zip(&*x) {
                    *normalized = *x - mean;
                }
                let variance = dot(normalized, normalized) / n;
                let scale = T::ONE / (variance + T::from_f64(EPS)).sqrt();
                for ((x, normalized), gain) in x.iter_mut().zip(normalized).zip(gain) {
                    *normalized *= scale;
                    *x = *normalized * *gain;
                }
                scale
            },
        );
    }

    /// Overwrites `d`, the gradient by the result of a row, with that by what it was made of.
    /// Accumulates into `d_gain`.
    pub fn backward(&self, row: usize, gain: &[T], d: &mut [T], d_gain: &mut [T]) {
        let n = T::from_f64(d.len() as f64);
        let (normalized, scale) = (self.normalized.row(row), self.scale.row(row)[0]);
        T::vectorized(
            #[inline(always)]
            || {
                for ((d, d_gain), (normalized, gain)) in
                    d.iter_mut().zip(d_gain).zip(normalized.iter().zip(gain))
                {
                    *d_gain += *d * *normalized;
                    *d *= *gain;
                }
                // Mean and variance depend on every entry of the row.
                let (mean, along) = (sum(d) / n, dot(d, normalized) / n);
                for (d, normalized) in d.iter_mut().zip(normalized) {
                    *d = scale * (*d - mean - *normalized * along);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_far_from_zero_is_normalized_as_one_around_it() {
        let around_zero = [0.5, -1.25, 0.75, 2.0, 0.25];
        let normalized = |mut row: [f64; 5]| {
            Norm::new(1, 5).part_mut(1).forward(0, &[1.0; 5], &mut row);
            row
        };
        let far = normalized(around_zero.map(|value| 1e8 + value));
        for (near, far) in normalized(around_zero).iter().zip(far) {
            // The mean of the latter is rounded by up to 1e-8.
            assert!((near - far).abs() < 1e-7, "{near} and {far}");
        }
    }

    #[test]
    fn a_row_of_any_width_has_the_mean_zero_and_the_variance_one() {
        for width in [2, 15, 16, 17, 37, 64] {
            let mut row: Vec<f64> = (0..width).map(|i| 3.0 + f64::from(i * i % 11)).collect();
            Norm::new(1, row.len()).part_mut(1).forward(0, &vec![1.0; row.len()], &mut row);
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| x * x).sum::<f64>() / n;
            assert!(
                mean.abs() < 1e-14 && (variance - 1.0).abs() < 1e-4,
                "{width}: {mean}, {variance}"
            );
        }
    }
}
