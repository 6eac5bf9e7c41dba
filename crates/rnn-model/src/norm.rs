//! Layer normalization: `y = gain ⊙ (x - mean) / √(variance + eps)`, over each row.
//!
//! Ba, Kiros & Hinton, "Layer normalization", 2016. There is no bias: the one of the pre-activation
//! does its work.

use std::ops::Range;

use tensor_core::Real;

use crate::view::Rows;

/// Keeps the root from zero; the value of PyTorch's `nn.LayerNorm`.
const EPS: f64 = 1e-5;

/// Normalizes rows, and keeps of each what the way back needs.
pub(crate) struct Norm<T> {
    /// Tape: `(x - mean) / √(variance + eps)`.
    normalized: Rows<T>,
    /// Tape: `1 / √(variance + eps)` of each row.
    scale: Vec<T>,
    width: usize,
}

impl<T: Real> Norm<T> {
    pub fn new(rows: usize, width: usize) -> Self {
        Self { normalized: Rows::zeros(rows, width), scale: vec![T::ZERO; rows], width }
    }

    /// Number of values kept.
    pub fn len(&self) -> usize {
        self.normalized.len() + self.scale.len()
    }

    /// Overwrites `values`, the given rows of the window, with their normalized form.
    pub fn forward(&mut self, rows: Range<usize>, gain: &[T], values: &mut [T]) {
        let n = T::from_f64(self.width as f64);
        for (row, x) in rows.zip(values.chunks_exact_mut(self.width)) {
            let mean = sum(x.iter().copied()) / n;
            let variance = sum(x.iter().map(|x| (*x - mean) * (*x - mean))) / n;
            let scale = T::ONE / (variance + T::from_f64(EPS)).sqrt();
            self.scale[row] = scale;
            for ((x, normalized), gain) in x.iter_mut().zip(self.normalized.row_mut(row)).zip(gain)
            {
                *normalized = (*x - mean) * scale;
                *x = *normalized * *gain;
            }
        }
    }

    /// Overwrites `d`, the gradient by the results of the given rows, with that by what they were
    /// made of. Accumulates into `d_gain`.
    pub fn backward(&self, rows: Range<usize>, gain: &[T], d: &mut [T], d_gain: &mut [T]) {
        let n = T::from_f64(self.width as f64);
        for (row, d) in rows.zip(d.chunks_exact_mut(self.width)) {
            let normalized = self.normalized.row(row);
            for ((d, d_gain), (normalized, gain)) in
                d.iter_mut().zip(&mut *d_gain).zip(normalized.iter().zip(gain))
            {
                *d_gain += *d * *normalized;
                *d *= *gain;
            }
            // Mean and variance depend on every entry of the row.
            let mean = sum(d.iter().copied()) / n;
            let along = sum(d.iter().zip(normalized).map(|(d, x)| *d * *x)) / n;
            for (d, normalized) in d.iter_mut().zip(normalized) {
                *d = self.scale[row] * (*d - mean - *normalized * along);
            }
        }
    }
}

fn sum<T: Real>(values: impl Iterator<Item = T>) -> T {
    values.fold(T::ZERO, |sum, value| sum + value)
}
