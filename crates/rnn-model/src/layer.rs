//! A recurrent layer over a whole window.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};
use tensor_core::pool::Pool;
use tensor_core::rng::Rng;
use tensor_core::{Real, Tensor};

use crate::view::rows_of;

/// The sizes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Width of an input, D; for character indices the number of different characters.
    pub input_size: usize,
    /// Width of the output, H.
    pub hidden_size: usize,
    /// Lanes side by side, B.
    pub batch_size: usize,
    /// Most time steps in one window, T.
    pub seq_len: usize,
}

/// What can be done to any layer beside its cell's equations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerOptions {
    /// Normalize the result of every product of a weight matrix, each row by itself, with a learned
    /// gain. Ba, Kiros & Hinton, "Layer normalization", 2016.
    pub layer_norm: bool,
    /// Learn the state that a text starts from, instead of zero.
    pub learned_state: bool,
    /// Share of the recurrent weights that is left out of each training window. Wan et al.,
    /// "Regularization of neural networks using DropConnect", ICML 2013; for recurrent weights
    /// Merity, Keskar & Socher, "Regularizing and optimizing LSTM language models", ICLR 2018.
    pub drop_connect: f64,
}

/// The inputs of one window, lane after lane: row `b·steps + t` is lane `b` at step `t`.
///
/// A window may have fewer steps than [`Dims::seq_len`].
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, T> {
    /// Character indices, each standing for a one-hot vector, `[batch_size·steps]`.
    Ids(&'a [u32]),
    /// Vectors, `[batch_size·steps, input_size]`.
    Dense(ArrayView2<'a, T>),
}

impl<'a, T: Real> Input<'a, T> {
    /// Some of the rows.
    pub(crate) fn rows_of(&self, rows: Range<usize>) -> Self {
        match self {
            Self::Ids(ids) => Self::Ids(&ids[rows]),
            Self::Dense(x) => Self::Dense(rows_of(*x, rows)),
        }
    }

    /// Number of rows, `batch_size·steps`.
    pub fn rows(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Dense(rows) => rows.nrows(),
        }
    }
}

/// What a layer reads of a window.
#[derive(Clone, Copy, Debug)]
pub struct LayerWindow<'a, T> {
    /// The inputs.
    pub x: Input<'a, T>,
    /// For each row, whether a text starts there: the state before it is the initial one, whatever
    /// was carried. Empty if none does.
    pub resets: &'a [bool],
}

/// Where a backward pass writes.
#[derive(Debug)]
pub struct Grads<'a, T> {
    /// By the layer's parameters. Overwritten.
    pub theta: &'a mut [T],
    /// By the inputs, `[batch_size·steps, input_size]`. Overwritten. `None` saves the work.
    pub x: Option<ArrayViewMut2<'a, T>>,
    /// By the state before the window, laid out as that. Overwritten. `None` saves the work.
    pub state: Option<&'a mut [T]>,
}

/// A recurrent layer: what a [`Model`](crate::Model) stacks.
///
/// A layer keeps the activations of the last window for the backward pass (its tape), and its
/// weights as its products want them; parameters and state belong to the caller. It allocates when it
/// is built and at its first window, then never again.
/// Most layers are a [`Recurrent`](crate::Recurrent) over a cell; what does not fit that mould
/// implements this trait itself.
pub trait Layer<T: Real>: Send {
    /// The sizes it was built with.
    fn dims(&self) -> Dims;

    /// The parameters, in the order in which they lie in `theta`.
    fn tensors(&self) -> Vec<Tensor>;

    /// Names of the state vectors; each is `[batch_size, hidden_size]`, one after the other.
    fn states(&self) -> &'static [&'static str];

    /// Number of values the layer keeps for itself, tape and workspace together.
    fn tape_len(&self) -> usize;

    /// Draws what is left out of the windows from here on, until it is drawn again.
    fn draw_masks(&mut self, _rng: &mut Rng) {}

    /// Lays out the weights for the windows from here on, which read inputs like `x`, until it is
    /// called again. `theta` does not change meanwhile.
    fn prepare(&mut self, _theta: &[T], _x: Input<'_, T>, _pool: &mut Pool) {}

    /// Runs a window from `state`, and fills the tape.
    ///
    /// What the threads of `pool` do side by side must not show in any bit.
    fn forward(&mut self, theta: &[T], window: LayerWindow<'_, T>, state: &[T], pool: &mut Pool);

    /// The outputs of the last window, `[batch_size·steps, hidden_size]`.
    fn output(&self) -> ArrayView2<'_, T>;

    /// The gates of the last window by their names, each `[batch_size·steps, hidden_size]`, between 0,
    /// shut, and 1, open: what comes out of a sigmoid. A layer need not have any.
    fn gates(&self) -> Vec<(&'static str, ArrayView2<'_, T>)> {
        Vec::new()
    }

    /// Overwrites `state` with the state after the last window, which carries into the next one.
    fn carry(&self, state: &mut [T]);

    /// Goes back through the last window, given the same `theta` and `window` and the gradient `dy`
    /// by its outputs. Once: it may write over the tape.
    ///
    /// No gradient enters from the next window: that is where back-propagation is truncated.
    fn backward(
        &mut self,
        theta: &[T],
        window: LayerWindow<'_, T>,
        dy: ArrayView2<'_, T>,
        grads: Grads<'_, T>,
        pool: &mut Pool,
    );
}
