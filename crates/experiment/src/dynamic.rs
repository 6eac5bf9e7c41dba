//! Dynamic evaluation: a model that goes on learning from what it has read.
//!
//! After each window, which was predicted with what was learnt before it, comes a step of gradient
//! descent. So a text that repeats itself, or is another one than was trained on, costs less and
//! less. A weight whose gradients are usually large moves less for one of them, and is drawn back more
//! to the value it was trained to, `θ₀`. With the gradient `g` of a window, and over many windows
//! of the training text `r = √mean(g²)` of each weight and the mean `R` of all `r`:
//!
//! ```text
//! θ ← θ - rate · g/(r + R) + min(decay · r/R, 1) · (θ₀ - θ)
//! ```
//!
//! Krause, Kahembwe, Murray & Renals, "Dynamic evaluation of neural sequence models", 2018, whose
//! denominator has a constant of its own for `R`: this one knows no units. The idea is from Mikolov,
//! Karafiát, Burget, Černocký & Khudanpur, "Recurrent neural network based language model", 2010.

use std::ops::ControlFlow;

use data_io::{Excerpt, TextError};
use rnn_model::{Model, Reduction, Window};
use tensor_core::Real;
use tensor_core::reduce::sum;

use crate::config::Mode;
use crate::evaluator::each_window;
use crate::{Config, Dtype, build_model};

/// Symbols of a window: Krause et al.'s for characters.
const WINDOW: usize = 20;

/// Pieces of the training text whose gradients are looked at, evenly spread, and symbols of each.
const PIECES: usize = 20;
const PIECE: usize = 100 * WINDOW;

/// How a model learns from what it reads.
#[derive(Clone, Copy)]
pub struct Dynamic<'a> {
    /// Size of a step, above 0.
    pub rate: f64,
    /// Share of the way back to what it was trained to, for an average weight and each window; from
    /// 0 to 1.
    pub decay: f64,
    /// What it was trained on. Without it gradients are compared with those of the text so far.
    pub trained_on: Option<&'a Excerpt<'a>>,
}

/// As [`Evaluator::read`](crate::evaluator::Evaluator::read), while a copy of `trained` learns. Where
/// the rate is too high the losses are not finite any more.
///
/// # Errors
/// If a text cannot be read any more.
pub(crate) fn read<T: Dtype>(
    config: &Config,
    trained: &[T],
    text: &Excerpt<'_>,
    dynamic: Dynamic<'_>,
    mut see: impl FnMut(&[u32], &Model<T>) -> ControlFlow<()>,
) -> Result<f64, TextError> {
    let vocab_size = text.tokenizer().vocab_size();
    let mut model = build_model::<T>(config, Mode::Read, vocab_size, 1, WINDOW);
    let (mut theta, mut state) = (trained.to_vec(), model.zero_state());
    let mut grads = vec![T::ZERO; theta.len()];
    let mut usual = Usual::new(theta.len());

    for piece in dynamic.trained_on.iter().flat_map(|text| pieces(text)) {
        each_window(None, &piece, WINDOW, |window, targets| {
            learn(&mut model, trained, window, targets, &mut state, &mut grads);
            usual.add(&grads);
            ControlFlow::Continue(())
        })?;
    }
    let is_known = 0 < usual.windows;
    usual.take_roots();

    state.fill(T::ZERO);
    let mut total = 0.0;
    each_window(None, text, WINDOW, |window, targets| {
        total += learn(&mut model, &theta, window, targets, &mut state, &mut grads);
        let flow = see(targets, &model);
        if !is_known {
            usual.add(&grads);
            usual.take_roots();
        }
        step(dynamic, trained, &grads, &usual, &mut theta);
        flow
    })?;
    Ok(total)
}

/// Some of a text, if it is long; all of it otherwise.
fn pieces<'c>(text: &Excerpt<'c>) -> impl Iterator<Item = Excerpt<'c>> {
    let (count, len) = if text.len() <= PIECES * PIECE { (1, text.len()) } else { (PIECES, PIECE) };
    let spare = text.len() - len;
    (0..count).map(move |piece| {
        let start = spare * piece / (count - 1).max(1);
        text.part(start..start + len)
    })
}

/// Reads a window. Overwrites `grads` with the gradient of the sum of its losses, which it returns,
/// and `state` with that after it.
fn learn<T: Dtype>(
    model: &mut Model<T>,
    theta: &[T],
    window: Window<'_>,
    targets: &[u32],
    state: &mut [T],
    grads: &mut [T],
) -> f64 {
    model.forward(theta, window, state);
    let loss = model.loss(targets, Reduction::Sum).to_f64();
    model.backward(theta, window, grads, None);
    model.carry(state);
    loss
}

/// How large the gradient by each weight usually is.
struct Usual<T> {
    /// Sums of squares over windows.
    squares: Vec<T>,
    windows: usize,
    /// Roots of the mean squares, and their mean.
    roots: Vec<T>,
    mean: T,
}

impl<T: Real> Usual<T> {
    fn new(len: usize) -> Self {
        let zeros = || vec![T::ZERO; len];
        Self { squares: zeros(), windows: 0, roots: zeros(), mean: T::ZERO }
    }

    fn add(&mut self, grads: &[T]) {
        self.windows += 1;
        for (square, gradient) in self.squares.iter_mut().zip(grads) {
            *square += *gradient * *gradient;
        }
    }

    fn take_roots(&mut self) {
        let windows = T::from_f64(self.windows.max(1) as f64);
        T::vectorized(
            #[inline(always)]
            || {
                for (root, square) in self.roots.iter_mut().zip(&self.squares) {
                    *root = (*square / windows).sqrt();
                }
            },
        );
        self.mean = sum(&self.roots) / T::from_f64(self.roots.len() as f64);
    }
}

/// One step from `theta`, which is overwritten. None where no weight has had a gradient so far.
fn step<T: Real>(
    dynamic: Dynamic<'_>,
    trained: &[T],
    grads: &[T],
    usual: &Usual<T>,
    theta: &mut [T],
) {
    if usual.mean == T::ZERO {
        return;
    }
    let (rate, decay) = (T::from_f64(dynamic.rate), T::from_f64(dynamic.decay));
    T::vectorized(
        #[inline(always)]
        || {
            let weights = theta.iter_mut().zip(trained);
            for ((weight, trained), (gradient, root)) in weights.zip(grads.iter().zip(&usual.roots))
            {
                let pull = decay * *root / usual.mean;
                let pull = if pull < T::ONE { pull } else { T::ONE };
                let back = pull * (*trained - *weight);
                *weight += back - rate * *gradient / (*root + usual.mean);
            }
        },
    );
}
