//! The layer around a cell: every matrix product, and the order they are taken in.

use std::ops::Range;

use ndarray::ArrayView2;
use tensor_core::gemm::{gemm, gemm_acc, gemm_nt, gemm_nt_acc, gemm_tn_acc};
use tensor_core::rng::Rng;
use tensor_core::{Real, Shape, Tensor};

use crate::drop_connect::DropConnect;
use crate::initial::Initial;
use crate::norm::Norm;
use crate::projection::Projection;
use crate::view::{Rows, columns, columns_mut, matrix, matrix_mut};
use crate::{Dims, Grads, Layer, LayerOptions, LayerWindow};

/// How a cell's gates read the state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrence {
    /// Not through a matrix.
    None,
    /// `a = x·W_xh + b_h + h[t-1]·W_hh`, all gates alike.
    Sum,
    /// `a = x·W_xh + b_h` and `a_h = h[t-1]·W_hh` are handed to the cell one by one.
    Apart,
    /// As `Apart`, but for the first so many gates. From those the cell mixes a vector `m`, and the
    /// other gates read that: `a = x·W_xh + b_h + m·W_mh`.
    Mixed(usize),
}

/// A vector of parameters of the cell's own, `[hidden_size]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnVector {
    /// Its name.
    pub name: &'static str,
    /// The gate it belongs to.
    pub gate: &'static [&'static str],
    /// What it starts at; `None` leaves that to the initializer.
    pub start: Option<f64>,
}

/// The equations of one time step and their exact reverse.
///
/// A cell sees pre-activations of one lane at one step, never a weight matrix.
pub trait Cell<T: Real>: Send {
    /// Names of the gates in the order of their blocks in `a`, each `[hidden_size]`.
    fn gates(&self) -> &'static [&'static str];

    /// How they read the state before.
    fn recurrence(&self) -> Recurrence {
        Recurrence::Sum
    }

    /// Whether there is a cell vector `c` beside `h`.
    fn has_c(&self) -> bool {
        false
    }

    /// Vectors of parameters beside the layer's.
    fn own(&self) -> &'static [OwnVector] {
        &[]
    }

    /// Mixes `m`, for [`Recurrence::Mixed`].
    fn mix(&self, _step: Mix<'_, T>) {}

    /// Overwrites `h`, and `c` where there is one.
    fn forward(&self, step: Forward<'_, T>);

    /// The reverse of [`forward`](Self::forward).
    fn backward(&self, step: Backward<'_, T>);

    /// The reverse of [`mix`](Self::mix).
    fn mix_backward(&self, _step: MixBackward<'_, T>) {}
}

/// One step of one lane, forwards. A slice is `[hidden_size]` unless said otherwise.
pub struct Forward<'a, T> {
    /// The cell's own vectors, one after the other.
    pub own: &'a [T],
    /// Pre-activations, `[gates·hidden_size]`. The cell may leave its activations here: the way back
    /// finds what it left.
    pub a: &'a mut [T],
    /// Products of `h[t-1]` where they come by themselves, else empty.
    pub a_h: &'a [T],
    /// `h[t-1]`.
    pub h_prev: &'a [T],
    /// `c[t-1]`, empty if there is none.
    pub c_prev: &'a [T],
    /// `h[t]`, overwritten.
    pub h: &'a mut [T],
    /// `c[t]`, overwritten.
    pub c: &'a mut [T],
}

/// One step of one lane, backwards, with what [`Forward`] had and left.
#[expect(missing_docs, reason = "they are the fields of Forward")]
pub struct Backward<'a, T> {
    pub own: &'a [T],
    pub a: &'a [T],
    pub a_h: &'a [T],
    pub h_prev: &'a [T],
    pub c_prev: &'a [T],
    pub h: &'a [T],
    pub c: &'a [T],
    /// Gradient by `h[t]`: from the output of this step and from all later steps together.
    pub dh: &'a [T],
    /// Gradient by `c[t]` from later steps. Overwritten with that by `c[t-1]`.
    pub dc: &'a mut [T],
    /// Gradient by `h[t-1]` through the equations; the layer adds what comes through its products.
    /// Accumulates.
    pub dh_prev: &'a mut [T],
    /// Gradient by the pre-activations. Overwritten.
    pub da: &'a mut [T],
    /// Gradient by `a_h`. Overwritten, but for [`Recurrence::Mixed`].
    pub da_h: &'a mut [T],
    /// Gradient by the cell's own vectors. Accumulates.
    pub d_own: &'a mut [T],
}

/// How a cell mixes the vector that its other gates read.
#[expect(missing_docs, reason = "they are the fields of Forward")]
pub struct Mix<'a, T> {
    pub a: &'a mut [T],
    pub a_h: &'a [T],
    pub h_prev: &'a [T],
    /// The mixture. Overwritten.
    pub m: &'a mut [T],
}

/// The reverse of [`Mix`].
#[expect(missing_docs, reason = "they are the fields of Backward")]
pub struct MixBackward<'a, T> {
    pub a: &'a [T],
    pub a_h: &'a [T],
    pub h_prev: &'a [T],
    /// Gradient by the mixture.
    pub dm: &'a [T],
    pub dh_prev: &'a mut [T],
    /// Gradient by all pre-activations, as [`Cell::backward`] left it: those that went into the
    /// mixture are to be completed.
    pub da: &'a mut [T],
    /// Gradient by `a_h`. Overwritten.
    pub da_h: &'a mut [T],
}

/// A recurrent layer made of a [`Cell`].
///
/// Of a window's products only those of the state, and their reverse, have to wait for the step
/// before. All others are one product for the whole window, which is far faster than one a step.
pub struct Recurrent<T, C> {
    cell: C,
    dims: Dims,
    projection: Projection<T>,
    initial: Initial,
    at: Places,
    /// Gates that read `h[t-1]`, and gates that read `m`.
    reads: (usize, usize),
    /// Normalizes `h[t-1]·W_hh`, and `m·W_mh`.
    norms: (Option<Norm<T>>, Option<Norm<T>>),
    drop_connect: DropConnect<T>,
    /// Time steps of the last window.
    steps: usize,
    /// Tape: pre-activations, then what the cell left of them, `[seq_len·batch_size, gates·H]`.
    a: Rows<T>,
    /// Tape: `h[t-1]·W_hh` where it is by itself.
    a_h: Rows<T>,
    /// Tape: the mixture, if there is one, `[seq_len·batch_size, H]`.
    m: Rows<T>,
    /// Tape: states before and after each step, `[seq_len·batch_size, H]`.
    h_prev: Rows<T>,
    h: Rows<T>,
    c_prev: Rows<T>,
    c: Rows<T>,
    /// Gradient by `a`.
    da: Rows<T>,
    /// Gradient by the product `h[t-1]·W_hh`, where it is not that by `a`.
    da_h: Rows<T>,
    /// Gradient by the product `m·W_mh`, where it is not that by `a`.
    da_m: Rows<T>,
    /// Workspace: the product `m·W_mh` before it is normalized, `[batch_size, …]`.
    a_m: Rows<T>,
    /// Workspace: gradients by `h[t]`, `h[t-1]`, `c[t]` and `m[t]`, `[batch_size, H]`.
    dh: Rows<T>,
    dh_prev: Rows<T>,
    dc: Rows<T>,
    dm: Rows<T>,
}

/// Where the parameters lie in the layer's `theta`, after those of the projection.
struct Places {
    w_hh: Range<usize>,
    w_mh: Range<usize>,
    own: Range<usize>,
    g_hh: Range<usize>,
    g_mh: Range<usize>,
    initial: Range<usize>,
}

impl<T: Real, C: Cell<T>> Recurrent<T, C> {
    /// A layer with an empty tape.
    pub fn new(cell: C, dims: Dims, options: LayerOptions) -> Self {
        let Dims { hidden_size, batch_size, seq_len, .. } = dims;
        let gates = cell.gates().len();
        let reads = match cell.recurrence() {
            Recurrence::None => (0, 0),
            Recurrence::Sum | Recurrence::Apart => (gates, 0),
            Recurrence::Mixed(first) => (first, gates - first),
        };
        let is_apart = cell.recurrence() != Recurrence::Sum || options.layer_norm;
        let (width_h, width_m) = (reads.0 * hidden_size, reads.1 * hidden_size);
        let norm_m = if options.layer_norm { width_m } else { 0 };
        let rows = seq_len * batch_size;
        let (tape, lanes) =
            (|width| Rows::zeros(rows, width), |width| Rows::zeros(batch_size, width));
        let norm = |width| (options.layer_norm && 0 < width).then(|| Norm::new(rows, width));
        let if_c = |width| if cell.has_c() { width } else { 0 };
        let if_mixed = |width| if reads.1 == 0 { 0 } else { width };
        let if_apart = |width| if is_apart { width } else { 0 };

        let projection = Projection::new(cell.gates(), dims, options);
        let initial =
            Initial::new(options.learned_state, hidden_size, if cell.has_c() { 2 } else { 1 });
        let mut end = projection.n_params();
        let mut place = |len: usize| {
            end += len;
            end - len..end
        };
        let at = Places {
            w_hh: place(hidden_size * width_h),
            w_mh: place(hidden_size * width_m),
            own: place(cell.own().len() * hidden_size),
            g_hh: place(if options.layer_norm { width_h } else { 0 }),
            g_mh: place(norm_m),
            initial: place(initial.n_params()),
        };
        Self {
            drop_connect: DropConnect::new(options.drop_connect, at.w_hh.len() + at.w_mh.len()),
            norms: (norm(width_h), norm(width_m)),
            a: tape(gates * hidden_size),
            a_h: tape(if_apart(width_h)),
            m: tape(if_mixed(hidden_size)),
            h_prev: tape(hidden_size),
            h: tape(hidden_size),
            c_prev: tape(if_c(hidden_size)),
            c: tape(if_c(hidden_size)),
            da: tape(gates * hidden_size),
            da_h: tape(if_apart(width_h)),
            da_m: tape(norm_m),
            a_m: lanes(norm_m),
            dh: lanes(hidden_size),
            dh_prev: lanes(hidden_size),
            dc: lanes(if_c(hidden_size)),
            dm: lanes(if_mixed(hidden_size)),
            steps: 0,
            cell,
            dims,
            projection,
            initial,
            at,
            reads,
        }
    }

    /// The rows of time step `t`.
    fn at_step(&self, t: usize) -> Range<usize> {
        t * self.dims.batch_size..(t + 1) * self.dims.batch_size
    }

    /// Columns of `a` that belong to the gates that read `m`.
    fn mixed_columns(&self) -> Range<usize> {
        let hidden_size = self.dims.hidden_size;
        self.reads.0 * hidden_size..(self.reads.0 + self.reads.1) * hidden_size
    }

    /// Overwrites the state before step `t` with the one after the step before, or with what is
    /// carried into the window, or with the initial one.
    fn begin(&mut self, t: usize, theta: &[T], resets: &[bool], state: &[T]) {
        let Self { at, initial, h_prev, h, c_prev, c, dims, .. } = self;
        let (now, hidden_size) = (t * dims.batch_size, dims.hidden_size);
        let theta = &theta[at.initial.clone()];
        let vectors = [(h_prev, &*h), (c_prev, &*c)];
        for (vector, (prev, behind)) in vectors.into_iter().enumerate() {
            if behind.len() == 0 {
                continue;
            }
            for lane in 0..dims.batch_size {
                let row = now + lane;
                let prev = prev.row_mut(row);
                if resets.get(row).is_some_and(|starts| *starts) {
                    initial.write(theta, vector, prev);
                } else if t == 0 {
                    let carried = (vector * dims.batch_size + lane) * hidden_size;
                    prev.copy_from_slice(&state[carried..][..hidden_size]);
                } else {
                    prev.copy_from_slice(behind.row(row - dims.batch_size));
                }
            }
        }
    }

    /// Takes the products of step `t`, and lets the cell mix where it does.
    fn recur(&mut self, t: usize, theta: &[T]) {
        let (now, mixed) = (self.at_step(t), self.mixed_columns());
        let Self { at, dims, reads, cell, a, a_h, a_m, m, h_prev, norms, drop_connect, .. } = self;
        let hidden_size = dims.hidden_size;
        let weights = drop_connect.weights(&theta[at.w_hh.start..at.w_mh.end]);
        let (w_hh, w_mh) = weights.split_at(at.w_hh.len());
        let w_hh = matrix(w_hh, hidden_size, reads.0 * hidden_size);
        let w_mh = matrix(w_mh, hidden_size, reads.1 * hidden_size);

        if 0 < reads.0 {
            if a_h.len() == 0 {
                gemm_acc(h_prev.view(now.clone()), w_hh, a.view_mut(now.clone()));
            } else {
                gemm(h_prev.view(now.clone()), w_hh, a_h.view_mut(now.clone()));
            }
        }
        if let Some(norm) = &mut norms.0 {
            norm.forward(now.clone(), &theta[at.g_hh.clone()], a_h.flat_mut(now.clone()));
            if cell.recurrence() == Recurrence::Sum {
                add(a_h.flat(now.clone()), a.flat_mut(now.clone()));
            }
        }
        if reads.1 == 0 {
            return;
        }
        for row in now.clone() {
            let (a, a_h, h_prev) = (a.row_mut(row), a_h.row(row), h_prev.row(row));
            cell.mix(Mix { a, a_h, h_prev, m: m.row_mut(row) });
        }
        match &mut norms.1 {
            None => {
                let a = columns_mut(a.view_mut(now.clone()), mixed);
                gemm_acc(m.view(now), w_mh, a);
            }
            Some(norm) => {
                let lanes = 0..dims.batch_size;
                gemm(m.view(now.clone()), w_mh, a_m.view_mut(lanes.clone()));
                norm.forward(now.clone(), &theta[at.g_mh.clone()], a_m.flat_mut(lanes));
                for (lane, row) in now.enumerate() {
                    add(a_m.row(lane), &mut a.row_mut(row)[mixed.clone()]);
                }
            }
        }
    }

    /// The reverse of [`recur`](Self::recur): completes `da` and adds to `dh_prev`.
    fn recur_back(&mut self, t: usize, theta: &[T], grads: &mut [T]) {
        let (now, mixed, lanes) = (self.at_step(t), self.mixed_columns(), 0..self.dims.batch_size);
        let Self { at, dims, reads, cell, norms, drop_connect, .. } = self;
        let Self { a, a_h, h_prev, da, da_h, da_m, dh_prev, dm, .. } = self;
        let hidden_size = dims.hidden_size;
        let weights = drop_connect.weights(&theta[at.w_hh.start..at.w_mh.end]);
        let (w_hh, w_mh) = weights.split_at(at.w_hh.len());
        let w_hh = matrix(w_hh, hidden_size, reads.0 * hidden_size);
        let w_mh = matrix(w_mh, hidden_size, reads.1 * hidden_size);

        if 0 < reads.1 {
            let by_product = match &norms.1 {
                None => columns(da.view(now.clone()), mixed),
                Some(norm) => {
                    for row in now.clone() {
                        da_m.row_mut(row).copy_from_slice(&da.row(row)[mixed.clone()]);
                    }
                    let (gain, d_gain) = (&theta[at.g_mh.clone()], &mut grads[at.g_mh.clone()]);
                    norm.backward(now.clone(), gain, da_m.flat_mut(now.clone()), d_gain);
                    da_m.view(now.clone())
                }
            };
            gemm_nt(by_product, w_mh, dm.view_mut(lanes.clone()));
            for (lane, row) in now.clone().enumerate() {
                cell.mix_backward(MixBackward {
                    a: a.row(row),
                    a_h: a_h.row(row),
                    h_prev: h_prev.row(row),
                    dm: dm.row(lane),
                    dh_prev: dh_prev.row_mut(lane),
                    da: da.row_mut(row),
                    da_h: da_h.row_mut(row),
                });
            }
        }
        if let Some(norm) = &norms.0 {
            if cell.recurrence() == Recurrence::Sum {
                da_h.flat_mut(now.clone()).copy_from_slice(da.flat(now.clone()));
            }
            let (gain, d_gain) = (&theta[at.g_hh.clone()], &mut grads[at.g_hh.clone()]);
            norm.backward(now.clone(), gain, da_h.flat_mut(now.clone()), d_gain);
        }
        if 0 < reads.0 {
            let by_product = if a_h.len() == 0 { da.view(now) } else { da_h.view(now) };
            gemm_nt_acc(by_product, w_hh, dh_prev.view_mut(lanes));
        }
    }
}

impl<T: Real, C: Cell<T>> Layer<T> for Recurrent<T, C> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn tensors(&self) -> Vec<Tensor> {
        let (gates, (by_h, by_m)) = (self.cell.gates(), self.reads);
        let hidden_size = self.dims.hidden_size;
        let matrix = |name, gates: &'static [&'static str]| {
            let shape = Shape::Matrix(hidden_size, gates.len() * hidden_size);
            Tensor { name, shape, gates, start: None }
        };
        let gain = |name, gates: &'static [&'static str]| {
            let shape = Shape::Vector(gates.len() * hidden_size);
            Tensor { name, shape, gates, start: Some(1.0) }
        };
        let own = |own: &OwnVector| {
            let shape = Shape::Vector(hidden_size);
            Tensor { name: own.name, shape, gates: own.gate, start: own.start }
        };
        let mut tensors: Vec<_> = self.projection.tensors().collect();
        let first = &gates[..by_h];
        let mixed = &gates[by_h..by_h + by_m];
        tensors.extend((0 < by_h).then(|| matrix("w_hh", first)));
        tensors.extend((0 < by_m).then(|| matrix("w_mh", mixed)));
        tensors.extend(self.cell.own().iter().map(own));
        tensors.extend(self.norms.0.as_ref().map(|_| gain("g_hh", first)));
        tensors.extend(self.norms.1.as_ref().map(|_| gain("g_mh", mixed)));
        tensors.extend(self.initial.tensors());
        tensors
    }

    fn states(&self) -> &'static [&'static str] {
        if self.cell.has_c() { &["h", "c"] } else { &["h"] }
    }

    fn tape_len(&self) -> usize {
        let tapes = [&self.a, &self.a_h, &self.m, &self.h_prev, &self.h, &self.c_prev, &self.c];
        let gradients = [&self.da, &self.da_h, &self.da_m];
        let workspace = [&self.a_m, &self.dh, &self.dh_prev, &self.dc, &self.dm];
        let all = tapes.iter().chain(&gradients).chain(&workspace);
        let norms = [&self.norms.0, &self.norms.1].into_iter().flatten().map(Norm::len);
        all.map(|rows| rows.len()).sum::<usize>()
            + norms.sum::<usize>()
            + self.projection.tape_len()
            + self.drop_connect.len()
    }

    fn draw_masks(&mut self, rng: &mut Rng) {
        self.drop_connect.draw(rng);
    }

    fn forward(&mut self, theta: &[T], window: LayerWindow<'_, T>, state: &[T]) {
        self.steps = window.x.rows() / self.dims.batch_size;
        self.drop_connect.apply(&theta[self.at.w_hh.start..self.at.w_mh.end]);

        // Nothing here depends on h, so the whole window is one product.
        self.projection.forward(theta, window.x, &mut self.a);

        let own = &theta[self.at.own.clone()];
        for t in 0..self.steps {
            self.begin(t, theta, window.resets, state);
            self.recur(t, theta);
            let is_sum = self.cell.recurrence() == Recurrence::Sum;
            for row in self.at_step(t) {
                self.cell.forward(Forward {
                    own,
                    a: self.a.row_mut(row),
                    a_h: if is_sum { &[] } else { self.a_h.row(row) },
                    h_prev: self.h_prev.row(row),
                    c_prev: self.c_prev.row(row),
                    h: self.h.row_mut(row),
                    c: self.c.row_mut(row),
                });
            }
        }
    }

    fn output(&self) -> ArrayView2<'_, T> {
        self.h.view(0..self.steps * self.dims.batch_size)
    }

    fn carry(&self, state: &mut [T]) {
        let last = self.at_step(self.steps - 1);
        let (h, c) = state.split_at_mut(self.dims.batch_size * self.dims.hidden_size);
        h.copy_from_slice(self.h.flat(last.clone()));
        c.copy_from_slice(self.c.flat(last));
    }

    fn backward(
        &mut self,
        theta: &[T],
        window: LayerWindow<'_, T>,
        dy: ArrayView2<'_, T>,
        grads: Grads<'_, T>,
    ) {
        let (hidden_size, own) = (self.dims.hidden_size, self.at.own.clone());
        let recurrence = self.cell.recurrence();
        self.dh_prev.fill_zero();
        self.dc.fill_zero();
        for t in (0..self.steps).rev() {
            let now = self.at_step(t);
            // h[t] is read by the output of this step and by the next step.
            std::mem::swap(&mut self.dh, &mut self.dh_prev);
            self.dh_prev.fill_zero();
            for (lane, row) in now.clone().enumerate() {
                let dy = dy.row(row);
                add(dy.to_slice().expect("rows are contiguous"), self.dh.row_mut(lane));
                self.cell.backward(Backward {
                    own: &theta[own.clone()],
                    a: self.a.row(row),
                    a_h: if recurrence == Recurrence::Sum { &[] } else { self.a_h.row(row) },
                    h_prev: self.h_prev.row(row),
                    c_prev: self.c_prev.row(row),
                    h: self.h.row(row),
                    c: self.c.row(row),
                    dh: self.dh.row(lane),
                    dc: self.dc.row_mut(lane),
                    dh_prev: self.dh_prev.row_mut(lane),
                    da: self.da.row_mut(row),
                    da_h: if recurrence == Recurrence::Apart {
                        self.da_h.row_mut(row)
                    } else {
                        &mut []
                    },
                    d_own: &mut grads.theta[own.clone()],
                });
            }
            self.recur_back(t, theta, grads.theta);

            // A text that starts here read no earlier step, but the initial state.
            for (lane, row) in now.enumerate() {
                if window.resets.get(row).is_some_and(|starts| *starts) {
                    let d_initial = &mut grads.theta[self.at.initial.clone()];
                    for (vector, d) in [&mut self.dh_prev, &mut self.dc].into_iter().enumerate() {
                        self.initial.take_back(vector, d.row_mut(lane), d_initial);
                    }
                }
            }
        }
        if let Some(d_state) = grads.state {
            let lanes = 0..self.dims.batch_size;
            let (d_h, d_c) = d_state.split_at_mut(self.dims.batch_size * hidden_size);
            d_h.copy_from_slice(self.dh_prev.flat(lanes.clone()));
            d_c.copy_from_slice(self.dc.flat(lanes));
        }

        // Weight gradients waited for the end of the loop: one product each, not one for each step.
        let rows = 0..self.steps * self.dims.batch_size;
        let (by_h, by_m) = (self.reads.0 * hidden_size, self.reads.1 * hidden_size);
        let (weights, mixed) = (self.at.w_hh.start..self.at.w_mh.end, self.mixed_columns());
        let d_weights = self.drop_connect.gradient(&mut grads.theta[weights.clone()]);
        let (d_w_hh, d_w_mh) = d_weights.split_at_mut(self.at.w_hh.len());
        if 0 < by_h {
            let da_h = if self.a_h.len() == 0 { &self.da } else { &self.da_h };
            let d_w_hh = matrix_mut(d_w_hh, hidden_size, by_h);
            gemm_tn_acc(self.h_prev.view(rows.clone()), da_h.view(rows.clone()), d_w_hh);
        }
        if 0 < by_m {
            let da_m = match self.norms.1 {
                None => columns(self.da.view(rows.clone()), mixed),
                Some(_) => self.da_m.view(rows.clone()),
            };
            gemm_tn_acc(self.m.view(rows), da_m, matrix_mut(d_w_mh, hidden_size, by_m));
        }
        self.drop_connect.finish(&mut grads.theta[weights]);
        self.projection.backward(theta, window.x, &mut self.da, grads.theta, grads.x);
    }
}

/// `y ← y + x`.
fn add<T: Real>(x: &[T], y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += *x;
    }
}
