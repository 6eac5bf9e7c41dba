//! A stack of recurrent layers with what is below, between and above them.

use std::ops::Range;

use ndarray::ArrayView2;
use tensor_core::gemm::{Packed, add, column_sums, gemm, gemm_bias};
use tensor_core::phase::{Phase, enter};
use tensor_core::pool::Pool;
use tensor_core::rng::Rng;
use tensor_core::{Aligned, Layout, Real, Shape};

use crate::dropout::Dropout;
use crate::projection::weight_gradient;
use crate::view::{Rows, matrix, rows_of};
use crate::{Dims, Grads, Input, Layer, LayerWindow, Reduction, softmax_xent};

/// What is around the layers of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Architecture {
    /// Number of different characters, V.
    pub vocab_size: usize,
    /// Width of a learned vector for each character, which the first layer reads; without it that
    /// reads the character itself. Bengio et al., "A neural probabilistic language model", 2003.
    pub embedding_size: Option<usize>,
    /// The output weights are the embedding. Press & Wolf, "Using the output embedding to improve
    /// language models", EACL 2017.
    pub tied: bool,
    /// Each layer but the first adds its input to its output. He et al., "Deep residual learning for
    /// image recognition", CVPR 2016.
    pub residual: bool,
    /// Share of every layer's outputs that is left out in training.
    pub dropout: f64,
    /// One mask for all steps of a window, instead of one a step.
    pub variational: bool,
}

/// A window of characters.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The characters, lane after lane: row `b·steps + t` is lane `b` at step `t`.
    pub x: &'a [u32],
    /// For each of them, whether a text starts there, whatever was read before. Empty if none does.
    pub resets: &'a [bool],
}

impl<'a> From<&'a [u32]> for Window<'a> {
    fn from(x: &'a [u32]) -> Self {
        Self { x, resets: &[] }
    }
}

impl<'a> From<&'a Vec<u32>> for Window<'a> {
    fn from(x: &'a Vec<u32>) -> Self {
        Self { x, resets: &[] }
    }
}

/// A character-level language model: an embedding if wanted, layers from below, then
/// `logits = h·W_hy + b_y`.
///
/// One window is [`forward`](Self::forward), [`loss`](Self::loss), [`backward`](Self::backward).
/// Parameters, gradients and state are the caller's. Nothing is allocated after the first window.
pub struct Model<T> {
    architecture: Architecture,
    layout: Layout,
    layers: Vec<Stacked<T>>,
    /// The embedding `w_e [vocab_size, embedding_size]`, output weights and output bias.
    w_e: Range<usize>,
    w_hy: Range<usize>,
    b_y: Range<usize>,
    /// Rows of the last window, `batch_size·steps`.
    rows: usize,
    /// Tape: embedded characters, `[batch_size·seq_len, embedding_size]`.
    embedded: Rows<T>,
    /// `[batch_size·seq_len, vocab_size]`
    logits: Rows<T>,
    /// `[batch_size·seq_len, vocab_size]`
    dlogits: Rows<T>,
    /// Gradient by the outputs of the layer in hand, `[batch_size·seq_len, hidden_size]`.
    dy: Rows<T>,
    /// Workspace, where the next `dy` is written.
    dx: Rows<T>,
    /// Gradient by the embedded characters.
    d_embedded: Rows<T>,
    /// The loss of each row, `[batch_size·seq_len, 1]`.
    losses: Rows<T>,
    /// The output weights and their transpose, laid out for the products of a window.
    output: Packed<T>,
    output_t: Packed<T>,
    /// For the weight gradient.
    scratch: Aligned<T>,
    pool: Pool,
}

/// A layer with its places in the flat buffers and what becomes of its output.
struct Stacked<T> {
    layer: Box<dyn Layer<T>>,
    theta: Range<usize>,
    state: Range<usize>,
    residual: bool,
    dropout: Option<Dropout<T>>,
    /// The output where it is not the layer's own, `[batch_size·seq_len, hidden_size]`.
    y: Option<Rows<T>>,
}

impl<T: Real> Stacked<T> {
    /// What the next layer reads.
    fn output(&self, rows: usize) -> ArrayView2<'_, T> {
        match &self.y {
            None => self.layer.output(),
            Some(y) => y.view(0..rows),
        }
    }

    /// Makes `y` of the layer's output and its input `x`.
    fn finish(&mut self, x: Input<'_, T>) {
        let Some(y) = &mut self.y else { return };
        let rows = x.rows();
        let mut out = y.view_mut(0..rows);
        out.assign(&self.layer.output());
        if let (true, Input::Dense(x)) = (self.residual, x) {
            out += &x;
        }
        if let Some(dropout) = &self.dropout {
            dropout.apply(rows, y);
        }
    }
}

impl<T: Real> Model<T> {
    /// Stacks `layers`.
    ///
    /// # Panics
    /// If there is no layer, or sizes do not fit: the first layer reads characters or their
    /// embedding, each other one the output of the layer below, and all have the same hidden and
    /// batch size. Tied output weights need an embedding of the hidden size.
    #[track_caller]
    pub fn new(architecture: Architecture, layers: Vec<Box<dyn Layer<T>>>) -> Self {
        let Architecture { vocab_size, embedding_size, tied, residual, dropout, variational } =
            architecture;
        let Dims { hidden_size, batch_size, seq_len, .. } = layers.first().expect("a layer").dims();
        assert!(!tied || embedding_size == Some(hidden_size), "tied weights need one size");
        let mut layout = Layout::default();
        let w_e =
            layout.push(None, embedding_size.map(|size| ("w_e", Shape::Matrix(vocab_size, size))));

        let rows = seq_len * batch_size;
        let mut n_state = 0;
        let mut stack = Vec::with_capacity(layers.len());
        let mut input_size = embedding_size.unwrap_or(vocab_size);
        for (index, layer) in layers.into_iter().enumerate() {
            let expected = Dims { input_size, hidden_size, batch_size, seq_len };
            assert_eq!(layer.dims(), expected, "sizes of layer {index}");
            let theta = layout.push(Some(index), layer.tensors());
            let state = n_state..n_state + layer.states().len() * batch_size * hidden_size;
            n_state = state.end;
            let residual = residual && 0 < index;
            let dropout = (0.0 < dropout)
                .then(|| Dropout::new(dropout, variational, seq_len, batch_size, hidden_size));
            let y = (residual || dropout.is_some()).then(|| Rows::zeros(rows, hidden_size));
            stack.push(Stacked { layer, theta, state, residual, dropout, y });
            input_size = hidden_size;
        }
        let weights = (!tied).then_some(("w_hy", Shape::Matrix(hidden_size, vocab_size)));
        let w_hy = layout.push(None, weights);
        let b_y = layout.push(None, [("b_y", Shape::Vector(vocab_size))]);
        let zeros = |width| Rows::zeros(rows, width);
        Self {
            architecture,
            layout,
            layers: stack,
            w_e,
            w_hy,
            b_y,
            rows: 0,
            embedded: zeros(embedding_size.unwrap_or_default()),
            logits: zeros(vocab_size),
            dlogits: zeros(vocab_size),
            dy: zeros(hidden_size),
            dx: zeros(hidden_size),
            d_embedded: zeros(embedding_size.unwrap_or_default()),
            losses: zeros(1),
            output: Packed::default(),
            output_t: Packed::default(),
            scratch: Aligned::default(),
            pool: Pool::default(),
        }
    }

    /// Lets `threads` threads work on a window. No result depends on their number.
    pub fn set_threads(&mut self, threads: usize) {
        // More threads than lanes would have nothing to do.
        let threads = threads.min(self.dims().batch_size);
        if self.pool.threads() != threads {
            self.pool = Pool::new(threads);
        }
    }

    /// The threads that work on a window, for what else there is to do between windows.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// The tensors in `theta` and in the gradients.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of different characters, V.
    pub fn vocab_size(&self) -> usize {
        self.architecture.vocab_size
    }

    /// The sizes of the first layer.
    pub fn dims(&self) -> Dims {
        self.layers[0].layer.dims()
    }

    /// Name and place of each state vector in the flat state, each `[batch_size, hidden_size]`.
    pub fn states(&self) -> Vec<(String, Range<usize>)> {
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

    /// A state of zeros. Where the initial state is learned, [`Window::resets`] is what asks for it.
    pub fn zero_state(&self) -> Vec<T> {
        vec![T::ZERO; self.state_len()]
    }

    /// Number of values of the flat state.
    pub fn state_len(&self) -> usize {
        self.layers.last().map_or(0, |stacked| stacked.state.end)
    }

    /// The state of one lane out of `state`, as a model of one lane has it.
    pub fn lane_state(&self, state: &[T], lane: usize) -> Vec<T> {
        let hidden_size = self.dims().hidden_size;
        let vectors = self.states().into_iter().map(|(_, range)| &state[range]);
        vectors.flat_map(|vector| vector[lane * hidden_size..][..hidden_size].to_vec()).collect()
    }

    /// Draws what dropout leaves out of the windows from here on, until it is drawn again.
    pub fn draw_masks(&mut self, rng: &mut Rng) {
        for Stacked { layer, dropout, .. } in &mut self.layers {
            layer.draw_masks(rng);
            if let Some(dropout) = dropout {
                dropout.draw(rng);
            }
        }
    }

    /// Lays out `theta` for the windows from here on, until it is called again.
    ///
    /// # Panics
    /// If `theta` is not as long as it has to be.
    #[track_caller]
    pub fn prepare(&mut self, theta: &[T]) {
        assert_eq!(theta.len(), self.layout.len(), "number of parameters");
        let Self { architecture, layers, embedded, w_e, w_hy, pool, output, .. } = self;
        for index in 0..layers.len() {
            let (below, rest) = layers.split_at_mut(index);
            let x = input_of(&[], embedded, below);
            rest[0].layer.prepare(&theta[rest[0].theta.clone()], x, pool);
        }
        let (hidden_size, vocab_size) =
            (layers[0].layer.dims().hidden_size, architecture.vocab_size);
        if architecture.tied {
            output.pack_transposed(matrix(&theta[w_e.clone()], vocab_size, hidden_size), pool);
        } else {
            output.pack(matrix(&theta[w_hy.clone()], hidden_size, vocab_size), pool);
        }
    }

    /// Runs a window of at most `seq_len` steps from `state`: fills the tape and the logits.
    ///
    /// # Panics
    /// If `theta`, the window or `state` is not as long as it has to be, or an index not below
    /// `vocab_size`.
    #[track_caller]
    pub fn forward<'w>(&mut self, theta: &[T], window: impl Into<Window<'w>>, state: &[T]) {
        self.prepare(theta);
        self.read(theta, window, state);
    }

    /// As [`forward`](Self::forward), with the `theta` that was [`prepare`](Self::prepare)d.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    #[track_caller]
    pub fn read<'w>(&mut self, theta: &[T], window: impl Into<Window<'w>>, state: &[T]) {
        let Window { x, resets } = window.into();
        let Dims { batch_size, seq_len, .. } = self.dims();
        assert!(
            x.len().is_multiple_of(batch_size) && x.len() <= seq_len * batch_size && !x.is_empty(),
            "a window of {} characters for {batch_size} lanes of at most {seq_len} steps",
            x.len()
        );
        assert!(resets.is_empty() || resets.len() == x.len(), "one reset for each character");
        assert_eq!(theta.len(), self.layout.len(), "number of parameters");
        self.rows = x.len();

        if let Some(size) = self.architecture.embedding_size {
            let w_e = &theta[self.w_e.clone()];
            for (row, id) in x.iter().enumerate() {
                self.embedded.row_mut(row).copy_from_slice(&w_e[*id as usize * size..][..size]);
            }
        }
        for index in 0..self.layers.len() {
            let (below, rest) = self.layers.split_at_mut(index);
            let x = input_of(x, &self.embedded, below);
            let Stacked { layer, theta: at, state: state_at, .. } = &mut rest[0];
            let (theta, state) = (&theta[at.clone()], &state[state_at.clone()]);
            layer.forward(theta, LayerWindow { x, resets }, state, &mut self.pool);
            rest[0].finish(x);
        }

        let _phase = enter(Phase::Output);
        let y = self.layers.last().expect("a layer").output(self.rows);
        let (bias, output) = (&theta[self.b_y.clone()], &self.output);
        let mut logits = self.logits.part_mut(0..self.rows);
        self.pool.each(
            shares(self.rows, self.pool.threads(), |rows| {
                (rows_of(y, rows.clone()), logits.take(rows.len()))
            }),
            |(y, mut logits)| {
                gemm_bias(y, output, bias, logits.all_mut());
            },
        );
    }

    /// The logits of the last window, `[batch_size·steps, vocab_size]`.
    pub fn logits(&self) -> ArrayView2<'_, T> {
        self.logits.view(0..self.rows)
    }

    /// What each layer, from below, made of the last window, `[batch_size·steps, hidden_size]`, before
    /// anything is added to it or left out.
    pub fn outputs(&self) -> impl Iterator<Item = ArrayView2<'_, T>> {
        self.layers.iter().map(|stacked| stacked.layer.output())
    }

    /// The [gates](Layer::gates) of each layer, from below, in the last window.
    pub fn gates(&self) -> impl Iterator<Item = Vec<(&'static str, ArrayView2<'_, T>)>> {
        self.layers.iter().map(|stacked| stacked.layer.gates())
    }

    /// Overwrites `state` with the state after the last window.
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
        let _phase = enter(Phase::Loss);
        let batch_size = self.dims().batch_size;
        let weight = T::from_f64(reduction.weight(self.rows / batch_size, batch_size));
        assert_eq!(targets.len(), self.rows, "one target for each input");
        let logits = self.logits.view(0..self.rows);
        let mut dlogits = self.dlogits.part_mut(0..self.rows);
        let mut losses = self.losses.part_mut(0..self.rows);
        self.pool.each(
            shares(self.rows, self.pool.threads(), |rows| {
                let (dlogits, losses) = (dlogits.take(rows.len()), losses.take(rows.len()));
                (rows_of(logits, rows.clone()), &targets[rows], dlogits, losses)
            }),
            |(logits, targets, mut dlogits, mut losses)| {
                softmax_xent(logits, targets, weight, dlogits.view_mut(), losses.flat_mut());
            },
        );
        self.losses().iter().fold(T::ZERO, |sum, loss| sum + *loss)
    }

    /// The loss of each row of the last window, in nats, after [`loss`](Self::loss).
    pub fn losses(&self) -> &[T] {
        self.losses.flat(0..self.rows)
    }

    /// Goes back through the last window, after [`loss`](Self::loss), with the same `theta` and
    /// window. Once, for it uses up the tape.
    ///
    /// Overwrites `grads`, laid out as `theta`, and `d_state`, laid out as the state, with the gradient by
    /// the state before the window.
    pub fn backward<'w>(
        &mut self,
        theta: &[T],
        window: impl Into<Window<'w>>,
        grads: &mut [T],
        mut d_state: Option<&mut [T]>,
    ) {
        let Window { x, resets } = window.into();
        let window = 0..self.rows;
        self.backward_head(theta, grads);

        for index in (0..self.layers.len()).rev() {
            let (below, rest) = self.layers.split_at_mut(index);
            let input = input_of(x, &self.embedded, below);
            let Stacked { layer, theta: at, state: state_at, residual, dropout, .. } = &mut rest[0];
            if let Some(dropout) = dropout {
                dropout.apply(window.len(), &mut self.dy);
            }
            let dx = match input {
                Input::Ids(_) => None,
                Input::Dense(_) if index == 0 => Some(self.d_embedded.view_mut(window.clone())),
                Input::Dense(_) => Some(self.dx.view_mut(window.clone())),
            };
            let into = Grads {
                theta: &mut grads[at.clone()],
                x: dx,
                state: d_state.as_deref_mut().map(|d_state| &mut d_state[state_at.clone()]),
            };
            let window = LayerWindow { x: input, resets };
            let dy = self.dy.view(0..x.len());
            layer.backward(&theta[at.clone()], window, dy, into, &mut self.pool);
            if *residual {
                add(self.dy.flat(0..x.len()), self.dx.flat_mut(0..x.len()));
            }
            std::mem::swap(&mut self.dy, &mut self.dx);
        }

        if let Some(size) = self.architecture.embedding_size {
            let d_w_e = &mut grads[self.w_e.clone()];
            // Tied, they have their gradient as output weights already.
            if !self.architecture.tied {
                d_w_e.fill(T::ZERO);
            }
            for (row, id) in x.iter().enumerate() {
                add(self.d_embedded.row(row), &mut d_w_e[*id as usize * size..][..size]);
            }
        }
    }

    /// Overwrites `dy` with the gradient by the outputs of the last layer.
    fn backward_head(&mut self, theta: &[T], grads: &mut [T]) {
        let _phase = enter(Phase::OutputBackward);
        let hidden_size = self.dims().hidden_size;
        let (vocab_size, tied) = (self.vocab_size(), self.architecture.tied);
        let Self { layers, dlogits, dy, w_e, w_hy, b_y, rows, output_t, scratch, pool, .. } = self;
        let y = layers.last().expect("a layer").output(*rows);
        let dlogits = dlogits.view(0..*rows);
        column_sums(dlogits, &mut grads[b_y.clone()]);
        if tied {
            output_t.pack(matrix(&theta[w_e.clone()], vocab_size, hidden_size), pool);
            weight_gradient(dlogits, y, &mut grads[w_e.clone()], scratch, pool);
        } else {
            output_t.pack_transposed(matrix(&theta[w_hy.clone()], hidden_size, vocab_size), pool);
            weight_gradient(y, dlogits, &mut grads[w_hy.clone()], scratch, pool);
        }
        let mut dy = dy.part_mut(0..*rows);
        pool.each(
            shares(*rows, pool.threads(), |rows| {
                (rows_of(dlogits, rows.clone()), dy.take(rows.len()))
            }),
            |(dlogits, mut dy)| gemm(dlogits, output_t, dy.all_mut()),
        );
    }
}

/// What `part` makes of a share of `rows` rows for each thread.
fn shares<R>(
    rows: usize,
    threads: usize,
    mut part: impl FnMut(Range<usize>) -> R,
) -> impl Iterator<Item = R> {
    let each = rows.div_ceil(threads).max(1);
    (0..rows).step_by(each).map(move |first| part(first..rows.min(first + each)))
}

/// What a layer reads: the characters, their embedding, or the outputs of the layer below.
fn input_of<'a, T: Real>(
    x: &'a [u32],
    embedded: &'a Rows<T>,
    below: &'a [Stacked<T>],
) -> Input<'a, T> {
    match below.last() {
        Some(stacked) => Input::Dense(stacked.output(x.len())),
        None if embedded.len() == 0 => Input::Ids(x),
        None => Input::Dense(embedded.view(0..x.len())),
    }
}
