//! A stack of recurrent layers and the output layer above them.

use ndarray::{Array2, ArrayView2};
use tensor_core::gemm::{add_column_sums, fill_rows, gemm_acc, gemm_nt, gemm_tn_acc};
use tensor_core::{Layout, Real, Shape};

use crate::view::{matrix, matrix_mut, rows, rows_mut};
use crate::{Dims, Grads, Input, Layer, Reduction, softmax_xent};

/// A character-level language model: layers from below, then `logits = h·W_hy + b_y`.
///
/// One window is [`forward`](Self::forward), [`loss`](Self::loss), [`backward`](Self::backward).
/// Parameters, gradients and state are the caller's. Nothing is allocated after construction.
pub struct Model<T> {
    layout: Layout,
    layers: Vec<Stacked<T>>,
    vocab_size: usize,
    /// Rows of the last window, `steps·batch_size`.
    rows: usize,
    /// `[seq_len·batch_size, vocab_size]`
    logits: Array2<T>,
    /// `[seq_len·batch_size, vocab_size]`
    dlogits: Array2<T>,
    /// Gradient by the outputs of the layer in hand, `[seq_len·batch_size, hidden_size]`.
    dy: Array2<T>,
    /// Workspace, where the next `dy` is written.
    dx: Array2<T>,
}

/// A layer with its places in the flat buffers.
struct Stacked<T> {
    layer: Box<dyn Layer<T>>,
    theta: std::ops::Range<usize>,
    state: std::ops::Range<usize>,
}

impl<T: Real> Model<T> {
    /// Stacks `layers`, the first of which reads character indices.
    ///
    /// # Panics
    /// If there is no layer, or sizes do not fit: the first layer reads `vocab_size` characters,
    /// each other one the output of the layer below, and all have the same hidden and batch size.
    #[track_caller]
    pub fn new(vocab_size: usize, layers: Vec<Box<dyn Layer<T>>>) -> Self {
        let Dims { hidden_size, batch_size, seq_len, .. } = layers.first().expect("a layer").dims();
        let mut layout = Layout::default();
        let mut n_state = 0;
        let mut stack = Vec::with_capacity(layers.len());
        let mut input_size = vocab_size;
        for (index, layer) in layers.into_iter().enumerate() {
            let expected = Dims { input_size, hidden_size, batch_size, seq_len };
            assert_eq!(layer.dims(), expected, "sizes of layer {index}");
            let theta = layout.push(Some(index), layer.tensors());
            let state = n_state..n_state + layer.states().len() * batch_size * hidden_size;
            n_state = state.end;
            stack.push(Stacked { layer, theta, state });
            input_size = hidden_size;
        }
        layout.push(
            None,
            [("w_hy", Shape::Matrix(hidden_size, vocab_size)), ("b_y", Shape::Vector(vocab_size))],
        );
        let zeros = |cols| Array2::from_elem((seq_len * batch_size, cols), T::ZERO);
        Self {
            layout,
            layers: stack,
            vocab_size,
            rows: 0,
            logits: zeros(vocab_size),
            dlogits: zeros(vocab_size),
            dy: zeros(hidden_size),
            dx: zeros(hidden_size),
        }
    }

    /// The tensors in `theta` and in the gradients.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of different characters, V.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The sizes of the first layer, which reads characters.
    pub fn dims(&self) -> Dims {
        self.layers[0].layer.dims()
    }

    /// Name and place of each state vector in the flat state, each `[batch_size, hidden_size]`.
    pub fn states(&self) -> Vec<(String, std::ops::Range<usize>)> {
        let len = self.dims().batch_size * self.dims().hidden_size;
        let named = |(index, stacked): (usize, &Stacked<T>)| {
            let starts = stacked.state.clone().step_by(len);
            let name = move |(state, start): (&&str, usize)| {
                (format!("{state}_l{index}"), start..start + len)
            };
            stacked.layer.states().iter().zip(starts).map(name).collect::<Vec<_>>()
        };
        self.layers.iter().enumerate().flat_map(named).collect()
    }

    /// The state before anything was read: all zero.
    pub fn zero_state(&self) -> Vec<T> {
        vec![T::ZERO; self.layers.last().map_or(0, |stacked| stacked.state.end)]
    }

    /// The state of one lane out of `state`, as a model of one lane has it.
    pub fn lane_state(&self, state: &[T], lane: usize) -> Vec<T> {
        let hidden_size = self.dims().hidden_size;
        let vectors = self.states().into_iter().map(|(_, range)| &state[range]);
        vectors.flat_map(|vector| vector[lane * hidden_size..][..hidden_size].to_vec()).collect()
    }

    /// Runs a window of characters from `state`: fills the tape and the logits.
    ///
    /// `x` is time-major, `[steps·batch_size]`, of at most `seq_len` steps.
    ///
    /// # Panics
    /// If `theta`, `x` or `state` is not as long as it has to be, or an index not below
    /// `vocab_size`.
    #[track_caller]
    pub fn forward(&mut self, theta: &[T], x: &[u32], state: &[T]) {
        let Dims { batch_size, seq_len, .. } = self.dims();
        assert!(
            x.len().is_multiple_of(batch_size) && x.len() <= seq_len * batch_size,
            "a window of {} characters for {batch_size} lanes of at most {seq_len} steps",
            x.len()
        );
        assert_eq!(theta.len(), self.layout.len(), "number of parameters");
        self.rows = x.len();

        for index in 0..self.layers.len() {
            let (below, rest) = self.layers.split_at_mut(index);
            let input = input_of(x, below);
            let Stacked { layer, theta: at, state: state_at } = &mut rest[0];
            layer.forward(&theta[at.clone()], input, &state[state_at.clone()]);
        }

        let (w_hy, b_y) = self.head(theta);
        let h = self.layers.last().expect("a layer").layer.output();
        let mut logits = rows_mut(&mut self.logits, 0..self.rows);
        fill_rows(b_y, logits.view_mut());
        gemm_acc(h, w_hy, logits);
    }

    /// The logits of the last window, `[steps·batch_size, vocab_size]`.
    pub fn logits(&self) -> ArrayView2<'_, T> {
        rows(&self.logits, 0..self.rows)
    }

    /// Overwrites `state` with the state behind the last window.
    pub fn carry(&self, state: &mut [T]) {
        for Stacked { layer, state: at, .. } in &self.layers {
            layer.carry(&mut state[at.clone()]);
        }
    }

    /// Cross-entropy of the last window against `targets`, summed over all its characters, in nats.
    ///
    /// Prepares the backward pass of that sum times [`Reduction::weight`].
    ///
    /// # Panics
    /// If there is not one target, below `vocab_size`, for each input.
    #[track_caller]
    pub fn loss(&mut self, targets: &[u32], reduction: Reduction) -> T {
        let batch_size = self.dims().batch_size;
        let weight = T::from_f64(reduction.weight(self.rows / batch_size, batch_size));
        let dlogits = rows_mut(&mut self.dlogits, 0..self.rows);
        softmax_xent(rows(&self.logits, 0..self.rows), targets, weight, dlogits)
    }

    /// Goes back through the last window, after [`loss`](Self::loss), with the same `theta` and `x`.
    ///
    /// Accumulates into `grads`, laid out as `theta`. Overwrites `d_state`, laid out as the state,
    /// with the gradient by the state before the window.
    pub fn backward(
        &mut self,
        theta: &[T],
        x: &[u32],
        grads: &mut [T],
        mut d_state: Option<&mut [T]>,
    ) {
        let window = 0..self.rows;
        let dlogits = rows(&self.dlogits, window.clone());
        let (w_hy, _) = self.head(theta);
        let h = self.layers.last().expect("a layer").layer.output();
        let (hidden_size, vocab_size) = w_hy.dim();
        let (_, d_head) = grads.split_at_mut(self.head_start());
        let (d_w_hy, d_b_y) = d_head.split_at_mut(hidden_size * vocab_size);
        gemm_tn_acc(h, dlogits, matrix_mut(d_w_hy, hidden_size, vocab_size));
        add_column_sums(dlogits, d_b_y);
        gemm_nt(dlogits, w_hy, rows_mut(&mut self.dy, window.clone()));

        for index in (0..self.layers.len()).rev() {
            let (below, rest) = self.layers.split_at_mut(index);
            let input = input_of(x, below);
            let Stacked { layer, theta: at, state: state_at } = &mut rest[0];
            let into = Grads {
                theta: &mut grads[at.clone()],
                x: (0 < index).then(|| rows_mut(&mut self.dx, window.clone())),
                state: d_state.as_deref_mut().map(|d_state| &mut d_state[state_at.clone()]),
            };
            layer.backward(&theta[at.clone()], input, rows(&self.dy, window.clone()), into);
            std::mem::swap(&mut self.dy, &mut self.dx);
        }
    }

    /// Where the output layer begins in the flat buffer: behind the last recurrent layer.
    fn head_start(&self) -> usize {
        self.layers.last().map_or(0, |stacked| stacked.theta.end)
    }

    /// `w_hy [hidden_size, vocab_size]` and `b_y [vocab_size]`.
    fn head<'a>(&self, theta: &'a [T]) -> (ArrayView2<'a, T>, &'a [T]) {
        let hidden_size = self.dims().hidden_size;
        let (w_hy, b_y) = theta[self.head_start()..].split_at(hidden_size * self.vocab_size);
        (matrix(w_hy, hidden_size, self.vocab_size), b_y)
    }
}

/// What a layer reads: the characters, or the outputs of the layer below.
fn input_of<'a, T: Real>(x: &'a [u32], below: &'a [Stacked<T>]) -> Input<'a, T> {
    match below.last() {
        None => Input::Ids(x),
        Some(stacked) => Input::Dense(stacked.layer.output()),
    }
}
