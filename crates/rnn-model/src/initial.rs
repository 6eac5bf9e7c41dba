//! The state a text starts from: zero, or learned.

use tensor_core::{Real, Shape, Tensor};

/// The initial value of each state vector, `[hidden_size]`, the same in every lane.
pub(crate) struct Initial {
    learned: bool,
    hidden_size: usize,
    vectors: usize,
}

impl Initial {
    pub fn new(learned: bool, hidden_size: usize, vectors: usize) -> Self {
        Self { learned, hidden_size, vectors }
    }

    pub fn n_params(&self) -> usize {
        if self.learned { self.vectors * self.hidden_size } else { 0 }
    }

    /// `h_0`, and `c_0`.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> {
        let shape = Shape::Vector(self.hidden_size);
        let tensor = move |name| Tensor { name, shape, gates: &[], start: Some(0.0) };
        let count = if self.learned { self.vectors } else { 0 };
        ["h_0", "c_0"].into_iter().take(count).map(tensor)
    }

    /// Overwrites `out` with the initial value of a state vector.
    pub fn write<T: Real>(&self, theta: &[T], vector: usize, out: &mut [T]) {
        match self.learned {
            true => out.copy_from_slice(&theta[vector * self.hidden_size..][..self.hidden_size]),
            false => out.fill(T::ZERO),
        }
    }

    /// Moves `d`, the gradient by a state vector that was the initial one, to `grads`.
    pub fn take_back<T: Real>(&self, vector: usize, d: &mut [T], grads: &mut [T]) {
        if self.learned && !d.is_empty() {
            for (grad, d) in grads[vector * self.hidden_size..].iter_mut().zip(&*d) {
                *grad += *d;
            }
        }
        d.fill(T::ZERO);
    }
}
