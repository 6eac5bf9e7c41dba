//! Dynamic evaluation: a model that goes on learning from what it has read.
//!
//! After each window, which was predicted with what was learnt before it, comes a step of gradient
//! descent on the sum of its losses, `θ ← θ - rate·∇`. So a text that repeats itself, or is another
//! one than was trained on, costs less and less.
//!
//! Mikolov, Karafiát, Burget, Černocký & Khudanpur, "Recurrent neural network based language model",
//! 2010; Krause, Kahembwe, Murray & Renals, "Dynamic evaluation of neural sequence models", 2018. They
//! also scale the step of each weight by its gradients on the training text, which is left out here.

use std::ops::ControlFlow;

use data_io::{Excerpt, TextError};
use rnn_model::{Model, Reduction};

use crate::config::Mode;
use crate::evaluator::each_window;
use crate::{Config, Dtype, build_model};

/// Symbols of a window: Krause et al.'s for characters.
const WINDOW: usize = 20;

/// As [`Evaluator::read`](crate::evaluator::Evaluator::read), while a copy of `theta` learns. Where
/// the rate is too high the losses are not finite any more.
///
/// # Errors
/// If the text cannot be read any more.
pub(crate) fn read<T: Dtype>(
    config: &Config,
    theta: &[T],
    text: &Excerpt<'_>,
    rate: f64,
    mut see: impl FnMut(&[u32], &Model<T>) -> ControlFlow<()>,
) -> Result<f64, TextError> {
    let vocab_size = text.tokenizer().vocab_size();
    let mut model = build_model::<T>(config, Mode::Read, vocab_size, 1, WINDOW);
    let (mut theta, mut state) = (theta.to_vec(), model.zero_state());
    let mut grads = vec![T::ZERO; theta.len()];
    let (rate, mut total) = (T::from_f64(rate), 0.0);
    each_window(None, text, WINDOW, |window, targets| {
        model.forward(&theta, window, &state);
        total += model.loss(targets, Reduction::Sum).to_f64();
        let flow = see(targets, &model);
        grads.fill(T::ZERO);
        model.backward(&theta, window, &mut grads, None);
        model.carry(&mut state);
        for (weight, gradient) in theta.iter_mut().zip(&grads) {
            *weight -= rate * *gradient;
        }
        flow
    })?;
    Ok(total)
}
