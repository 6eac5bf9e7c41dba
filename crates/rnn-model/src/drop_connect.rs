//! DropConnect: recurrent weights that are left out of a training window, `W ⊙ mask` in place of `W`.
//!
//! Wan et al., "Regularization of neural networks using DropConnect", ICML 2013, who leave weights of
//! feed-forward layers out, others for each example. That it is the recurrent ones, and one mask for all
//! steps and lanes of a window, is as in Merity, Keskar & Socher, "Regularizing and optimizing LSTM
//! language models", ICLR 2018. Weights that stay are scaled by `1 / (1 - rate)`, so that to evaluate and
//! to sample, which leave none out, needs no other scale.

use tensor_core::Real;
use tensor_core::rng::Rng;

use crate::dropout::fill_mask;

/// A mask over weights; without one if the rate is zero.
pub(crate) struct DropConnect<T> {
    rate: f64,
    /// Zero, or `1 / (1 - rate)`. One until it is drawn.
    mask: Vec<T>,
    /// The weights under the mask.
    weights: Vec<T>,
    /// Gradient by those.
    gradient: Vec<T>,
}

impl<T: Real> DropConnect<T> {
    pub fn new(rate: f64, n_weights: usize) -> Self {
        let len = if rate == 0.0 { 0 } else { n_weights };
        let (weights, gradient) = (vec![T::ZERO; len], vec![T::ZERO; len]);
        Self { rate, mask: vec![T::ONE; len], weights, gradient }
    }

    pub fn draw(&mut self, rng: &mut Rng) {
        fill_mask(self.rate, rng, &mut self.mask);
    }

    /// Puts `theta`, the weights, under the mask.
    pub fn apply(&mut self, theta: &[T]) {
        for (weight, (theta, mask)) in self.weights.iter_mut().zip(theta.iter().zip(&self.mask)) {
            *weight = *theta * *mask;
        }
    }

    /// The weights to compute with.
    pub fn weights<'a>(&'a self, theta: &'a [T]) -> &'a [T] {
        if self.mask.is_empty() { theta } else { &self.weights }
    }

    /// Where the gradient by [`weights`](Self::weights) is to be written.
    pub fn gradient<'a>(&'a mut self, grads: &'a mut [T]) -> &'a mut [T] {
        if self.mask.is_empty() { grads } else { &mut self.gradient }
    }

    /// Makes of what was written there `grads`, the gradient by `theta`: that by `W ⊙ mask`, times the
    /// mask.
    pub fn finish(&mut self, grads: &mut [T]) {
        for (grad, (gradient, mask)) in grads.iter_mut().zip(self.gradient.iter().zip(&self.mask)) {
            *grad = *gradient * *mask;
        }
    }

    /// Number of values that it holds in memory.
    pub fn len(&self) -> usize {
        self.mask.len() + self.weights.len() + self.gradient.len()
    }
}
