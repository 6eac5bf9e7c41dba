//! The layer around a cell: every matrix product, and the order they are taken in.

use std::mem::take;
use std::ops::Range;

use ndarray::ArrayView2;
use tensor_core::gemm::{Packed, add, gemm, gemm_acc};
use tensor_core::phase::{Phase, enter};
use tensor_core::pool::Pool;
use tensor_core::rng::Rng;
use tensor_core::{Aligned, Real, Shape, Tensor};

use crate::drop_connect::DropConnect;
use crate::initial::Initial;
use crate::norm::{Norm, NormMut};
use crate::projection::{Part, Projection, weight_gradient};
use crate::units::{
    MOST, ask_each, blocks, load, load_each, store, store_each, vectors, vectors_mut,
};
use crate::view::{Rows, RowsMut, columns, matrix, rows_of};
use crate::{Dims, Grads, Input, Layer, LayerOptions, LayerWindow};

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
/// A cell sees pre-activations of one lane at one step, never a weight matrix; and of them a few units
/// at a time, because its equations treat every unit alike. Marked `#[inline(always)]`, they become
/// vector instructions.
pub trait Cell<T: Real>: Send + Sync {
    /// Names of the gates in the order of their blocks in `a`.
    fn gates(&self) -> &'static [&'static str];

    /// Which of them are left in `a` as values of a sigmoid.
    fn sigmoids(&self) -> Range<usize> {
        0..0
    }

    /// How they read the state before.
    fn recurrence(&self) -> Recurrence {
        Recurrence::Sum
    }

    /// The number of gates that read `h[t-1]` through a matrix.
    #[doc(hidden)]
    #[inline(always)]
    fn reads_h(&self) -> usize {
        match self.recurrence() {
            Recurrence::None => 0,
            Recurrence::Sum | Recurrence::Apart => self.gates().len(),
            Recurrence::Mixed(first) => first,
        }
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

/// Some units of one lane at one step, forwards. A slice is `[units]` unless said otherwise.
pub struct Forward<'a, T> {
    /// The cell's own vectors, one after the other, `[vectors·units]`.
    pub own: &'a [T],
    /// Pre-activations, `[gates·units]`. The cell may leave its activations here: the way back
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

/// The same, backwards, with what [`Forward`] had and left.
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
/// Lanes know nothing of each other, so each thread takes some of them through all steps.
pub struct Recurrent<T, C> {
    cell: C,
    dims: Dims,
    projection: Projection<T>,
    initial: Initial,
    at: Places,
    /// Gates that read `h[t-1]`, and gates that read `m`.
    reads: (usize, usize),
    drop_connect: DropConnect<T>,
    /// The recurrent weights and their transposes, laid out for the products of a window.
    w_hh: Packed<T>,
    w_mh: Packed<T>,
    w_hh_t: Packed<T>,
    w_mh_t: Packed<T>,
    /// For the products that are weight gradients.
    scratch: Aligned<T>,
    /// Time steps of the last window.
    steps: usize,
    tapes: Tapes<T>,
}

/// What is kept of a window. Row `lane·steps + t` of a tape is that of a lane at step `t`; a
/// workspace has a row for each lane.
struct Tapes<T> {
    /// Pre-activations, then what the cell left of them, `gates·H` wide; on the way back the gradient
    /// by them takes their place, row by row, because what does not fit into a cache costs more than
    /// the arithmetic.
    a: Rows<T>,
    /// `h[t-1]·W_hh` where the cell is handed it by itself, or it is normalized; then the gradient by
    /// that product.
    a_h: Rows<T>,
    /// The mixture, if there is one, `H` wide.
    m: Rows<T>,
    /// States before and after each step, `H` wide.
    h_prev: Rows<T>,
    h: Rows<T>,
    c_prev: Rows<T>,
    c: Rows<T>,
    /// States after a window, a row for each lane: where its last step writes what another step would find
    /// in the next row of `h_prev` and `c_prev`.
    h_last: Rows<T>,
    c_last: Rows<T>,
    /// Gradient by the product `m·W_mh`.
    da_m: Rows<T>,
    /// Normalize `x·W_xh`, `h[t-1]·W_hh` and `m·W_mh`. The first is the projection's.
    norm_h: Option<Norm<T>>,
    norm_m: Option<Norm<T>>,
    /// Workspace: one step's `a` where it is mixed, and the product `m·W_mh` where that is normalized.
    a_kept: Rows<T>,
    a_m: Rows<T>,
    /// Workspace: gradient by `m`.
    dm: Rows<T>,
    /// Workspace: gradients by `h[t-1]` and `c[t]`.
    dh: Rows<T>,
    dc: Rows<T>,
    /// Workspace: gradients by all parameters that are no matrix.
    d_vectors: Rows<T>,
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
    ///
    /// # Panics
    /// If the cell has more than eight gates or vectors of its own.
    #[track_caller]
    pub fn new(cell: C, dims: Dims, options: LayerOptions) -> Self {
        let Dims { hidden_size, batch_size, seq_len, .. } = dims;
        let gates = cell.gates().len();
        assert!(gates <= MOST && cell.own().len() <= MOST, "at most {MOST} gates, and vectors");
        let reads = match cell.recurrence() {
            Recurrence::Mixed(first) => (first, gates - first),
            _ => (cell.reads_h(), 0),
        };
        let is_kept = cell.recurrence() != Recurrence::Sum || options.layer_norm;
        let (width_h, width_m) = (reads.0 * hidden_size, reads.1 * hidden_size);
        let rows = seq_len * batch_size;
        let (tape, lanes) =
            (|width| Rows::zeros(rows, width), |width| Rows::zeros(batch_size, width));
        let norm = |width| (options.layer_norm && 0 < width).then(|| Norm::new(rows, width));
        let if_c = |width| if cell.has_c() { width } else { 0 };
        let if_norm = |width| if options.layer_norm { width } else { 0 };

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
            g_hh: place(if_norm(width_h)),
            g_mh: place(if_norm(width_m)),
            initial: place(initial.n_params()),
        };
        let n_vectors = projection.n_vectors() + at.initial.end - at.own.start;
        let tapes = Tapes {
            a: tape(gates * hidden_size),
            a_h: tape(if is_kept { width_h } else { 0 }),
            m: tape(if 0 < reads.1 { hidden_size } else { 0 }),
            h_prev: tape(hidden_size),
            h: tape(hidden_size),
            c_prev: tape(if_c(hidden_size)),
            c: tape(if_c(hidden_size)),
            h_last: lanes(hidden_size),
            c_last: lanes(if_c(hidden_size)),
            da_m: tape(width_m),
            norm_h: norm(width_h),
            norm_m: norm(width_m),
            a_kept: lanes(if 0 < reads.1 { gates * hidden_size } else { 0 }),
            a_m: lanes(if_norm(width_m)),
            dm: lanes(if 0 < reads.1 { hidden_size } else { 0 }),
            dh: lanes(hidden_size),
            dc: lanes(if_c(hidden_size)),
            d_vectors: lanes(n_vectors),
        };
        Self {
            drop_connect: DropConnect::new(options.drop_connect, at.w_hh.len() + at.w_mh.len()),
            w_hh: Packed::default(),
            w_mh: Packed::default(),
            w_hh_t: Packed::default(),
            w_mh_t: Packed::default(),
            scratch: Aligned::default(),
            steps: 0,
            cell,
            dims,
            projection,
            initial,
            at,
            reads,
            tapes,
        }
    }

    /// What every thread reads, and the lanes to be split among them.
    fn split<'a, 'w>(
        &'a mut self,
        theta: &'a [T],
        window: LayerWindow<'w, T>,
    ) -> (Common<'a, 'w, T, C>, Lanes<'a, T>) {
        let Self { cell, dims, projection, initial, at, reads, tapes, .. } = self;
        let rows = self.steps * dims.batch_size;
        let gates = cell.gates().len();
        let (part, norm_x) = projection.split(theta, rows);
        let common = Common {
            cell,
            hidden_size: dims.hidden_size,
            batch_size: dims.batch_size,
            steps: self.steps,
            reads: *reads,
            mixed: reads.0 * dims.hidden_size..gates * dims.hidden_size,
            window,
            part,
            own: &theta[at.own.clone()],
            g_hh: &theta[at.g_hh.clone()],
            g_mh: &theta[at.g_mh.clone()],
            initial,
            initial_theta: &theta[at.initial.clone()],
            w_hh: &self.w_hh,
            w_mh: &self.w_mh,
            w_hh_t: &self.w_hh_t,
            w_mh_t: &self.w_mh_t,
        };
        let lanes = 0..dims.batch_size;
        let lanes = Lanes {
            a: tapes.a.part_mut(0..rows),
            a_h: tapes.a_h.part_mut(0..rows),
            m: tapes.m.part_mut(0..rows),
            h_prev: tapes.h_prev.part_mut(0..rows),
            h: tapes.h.part_mut(0..rows),
            c_prev: tapes.c_prev.part_mut(0..rows),
            c: tapes.c.part_mut(0..rows),
            h_last: tapes.h_last.part_mut(lanes.clone()),
            c_last: tapes.c_last.part_mut(lanes.clone()),
            da_m: tapes.da_m.part_mut(0..rows),
            norm_x,
            norm_h: tapes.norm_h.as_mut().map(|norm| norm.part_mut(rows)),
            norm_m: tapes.norm_m.as_mut().map(|norm| norm.part_mut(rows)),
            a_kept: tapes.a_kept.part_mut(lanes.clone()),
            a_m: tapes.a_m.part_mut(lanes.clone()),
            dm: tapes.dm.part_mut(lanes.clone()),
            dh: tapes.dh.part_mut(lanes.clone()),
            dc: tapes.dc.part_mut(lanes.clone()),
            d_vectors: tapes.d_vectors.part_mut(lanes.clone()),
            lanes,
        };
        (common, lanes)
    }

    /// The weights of the state and those of the mixture.
    fn recurrent_weights<'a>(&'a self, theta: &'a [T]) -> [ArrayView2<'a, T>; 2] {
        let Self { at, dims, reads, drop_connect, .. } = self;
        let weights = drop_connect.weights(&theta[at.w_hh.start..at.w_mh.end]);
        let (w_hh, w_mh) = weights.split_at(at.w_hh.len());
        [(w_hh, reads.0), (w_mh, reads.1)]
            .map(|(w, gates)| matrix(w, dims.hidden_size, gates * dims.hidden_size))
    }
}

/// What all lanes of a window share.
struct Common<'a, 'w, T, C> {
    cell: &'a C,
    hidden_size: usize,
    batch_size: usize,
    steps: usize,
    /// Gates that read `h[t-1]`, and gates that read `m`.
    reads: (usize, usize),
    /// Columns of `a` that belong to the gates that read `m`.
    mixed: Range<usize>,
    window: LayerWindow<'w, T>,
    part: Part<'a, T>,
    own: &'a [T],
    g_hh: &'a [T],
    g_mh: &'a [T],
    initial: &'a Initial,
    initial_theta: &'a [T],
    w_hh: &'a Packed<T>,
    w_mh: &'a Packed<T>,
    w_hh_t: &'a Packed<T>,
    w_mh_t: &'a Packed<T>,
}

/// Some lanes of [`Tapes`]: what one thread works on.
struct Lanes<'a, T> {
    lanes: Range<usize>,
    a: RowsMut<'a, T>,
    a_h: RowsMut<'a, T>,
    m: RowsMut<'a, T>,
    h_prev: RowsMut<'a, T>,
    h: RowsMut<'a, T>,
    c_prev: RowsMut<'a, T>,
    c: RowsMut<'a, T>,
    h_last: RowsMut<'a, T>,
    c_last: RowsMut<'a, T>,
    da_m: RowsMut<'a, T>,
    norm_x: Option<NormMut<'a, T>>,
    norm_h: Option<NormMut<'a, T>>,
    norm_m: Option<NormMut<'a, T>>,
    a_kept: RowsMut<'a, T>,
    a_m: RowsMut<'a, T>,
    dm: RowsMut<'a, T>,
    dh: RowsMut<'a, T>,
    dc: RowsMut<'a, T>,
    d_vectors: RowsMut<'a, T>,
}

impl<'a, T: Real> Lanes<'a, T> {
    /// Takes the first lanes away, as many as are `each` thread's share.
    fn take(&mut self, each: usize, steps: usize) -> Option<Self> {
        let lanes = each.min(self.lanes.len());
        let rows = lanes * steps;
        let first = self.lanes.start;
        self.lanes.start += lanes;
        (0 < lanes).then(|| Self {
            lanes: first..first + lanes,
            a: self.a.take(rows),
            a_h: self.a_h.take(rows),
            m: self.m.take(rows),
            h_prev: self.h_prev.take(rows),
            h: self.h.take(rows),
            c_prev: self.c_prev.take(rows),
            c: self.c.take(rows),
            h_last: self.h_last.take(lanes),
            c_last: self.c_last.take(lanes),
            da_m: self.da_m.take(rows),
            norm_x: self.norm_x.as_mut().map(|norm| norm.take(rows)),
            norm_h: self.norm_h.as_mut().map(|norm| norm.take(rows)),
            norm_m: self.norm_m.as_mut().map(|norm| norm.take(rows)),
            a_kept: self.a_kept.take(lanes),
            a_m: self.a_m.take(lanes),
            dm: self.dm.take(lanes),
            dh: self.dh.take(lanes),
            dc: self.dc.take(lanes),
            d_vectors: self.d_vectors.take(lanes),
        })
    }

    /// The whole window forwards, from `state`.
    fn forward<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, state: &[T]) {
        let _phase = enter(Phase::Recurrence);
        // Nothing here depends on h, so the whole window is one product.
        let x =
            common.window.x.rows_of(self.lanes.start * common.steps..self.lanes.end * common.steps);
        common.part.forward(x, &mut self.a, self.norm_x.as_mut());
        for t in 0..common.steps {
            self.begin(common, t, state);
            if 0 < common.reads.0 {
                self.add_product(common, t);
            }
            if 0 < common.reads.1 {
                self.mix(common, t);
            }
            self.cell_forward(common, t);
        }
    }

    /// Overwrites the state before step `t` where it is not the one after the step before: at the first
    /// step with what is carried into the window, and where a text starts with the initial one.
    fn begin<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, t: usize, state: &[T]) {
        if 0 < t && common.window.resets.is_empty() {
            return;
        }
        let Self { h_prev, c_prev, .. } = self;
        for (vector, prev) in [h_prev, c_prev].into_iter().enumerate() {
            if prev.is_empty() {
                continue;
            }
            for (index, lane) in self.lanes.clone().enumerate() {
                let prev = prev.row_mut(index * common.steps + t);
                if common.starts(lane, t) {
                    common.initial.write(common.initial_theta, vector, prev);
                } else if t == 0 {
                    let carried = (vector * common.batch_size + lane) * common.hidden_size;
                    prev.copy_from_slice(&state[carried..][..common.hidden_size]);
                }
            }
        }
    }

    /// Adds `h[t-1]·W_hh` to `a`, or overwrites `a_h` with it, as the cell wants it.
    fn add_product<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, t: usize) {
        let h_prev = self.h_prev.every(common.steps, t);
        if self.a_h.is_empty() {
            gemm_acc(h_prev, common.w_hh, self.a.every_mut(common.steps, t));
            return;
        }
        gemm(h_prev, common.w_hh, self.a_h.every_mut(common.steps, t));
        let Some(norm) = &mut self.norm_h else { return };
        for row in (t..).step_by(common.steps).take(self.lanes.len()) {
            norm.forward(row, common.g_hh, self.a_h.row_mut(row));
            if common.cell.recurrence() == Recurrence::Sum {
                add(self.a_h.row(row), self.a.row_mut(row));
            }
        }
    }

    /// Lets the cell mix what its other gates read, and adds their product to `a`.
    fn mix<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, t: usize) {
        for lane in 0..self.lanes.len() {
            let row = lane * common.steps + t;
            let Self { a, m, h_prev, a_h, .. } = self;
            let (m, h_prev) = (m.row_mut(row), h_prev.row(row));
            T::vectorized(
                #[inline(always)]
                || {
                    let (gates, by_h) = (common.cell.gates().len(), common.cell.reads_h());
                    let mut row_a = vectors_mut(a.row_mut(row), common.hidden_size, gates);
                    let row_a_h = vectors(a_h.row(row), common.hidden_size, by_h);
                    blocks!(common.hidden_size, |at| {
                        let [mut a, mut a_h] = at.few();
                        let (a, a_h) = (&mut a[..gates], &mut a_h[..by_h]);
                        load_each(a, &row_a, at);
                        load_each(a_h, &row_a_h, at);
                        let mut units_m = at.zeros();
                        common.cell.mix(Mix {
                            a: a.as_flattened_mut(),
                            a_h: a_h.as_flattened(),
                            h_prev: &load(h_prev, at),
                            m: &mut units_m,
                        });
                        store_each(a, &mut row_a, at);
                        store(&units_m, m, at);
                    });
                },
            );
        }
        let m = self.m.every(common.steps, t);
        let Some(norm) = &mut self.norm_m else {
            let a = self.a.every_mut(common.steps, t).columns(common.mixed.clone());
            return gemm_acc(m, common.w_mh, a);
        };
        gemm(m, common.w_mh, self.a_m.all_mut());
        for lane in 0..self.lanes.len() {
            let row = lane * common.steps + t;
            norm.forward(row, common.g_mh, self.a_m.row_mut(lane));
            add(self.a_m.row(lane), &mut self.a.row_mut(row)[common.mixed.clone()]);
        }
    }

    /// The cell's equations of step `t`. The state after it is written twice, once to where the next step
    /// finds it.
    fn cell_forward<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, t: usize) {
        T::vectorized(
            #[inline(always)]
            || {
                // Asked in here they are constants, and the lengths that follow from them as well.
                let gates = common.cell.gates().len();
                let is_sum = common.cell.recurrence() == Recurrence::Sum;
                let by_h = if is_sum { 0 } else { common.cell.reads_h() };
                let n_c = usize::from(common.cell.has_c());
                let n_own = common.cell.own().len();
                let Common { hidden_size, steps, .. } = *common;
                let row_own = vectors(common.own, hidden_size, n_own);
                for lane in 0..self.lanes.len() {
                    let row = lane * steps + t;
                    let (h_prev, mut h_next) = self.h_prev.row_and_next(row);
                    let (c_prev, mut c_next) = self.c_prev.row_and_next(row);
                    if t + 1 == steps {
                        (h_next, c_next) = (self.h_last.row_mut(lane), self.c_last.row_mut(lane));
                    }
                    let mut row_a = vectors_mut(self.a.row_mut(row), hidden_size, gates);
                    let row_a_h = vectors(self.a_h.row(row), hidden_size, by_h);
                    let row_h_prev = vectors(h_prev, hidden_size, 1);
                    let row_c_prev = vectors(c_prev, hidden_size, n_c);
                    let mut row_h_next = vectors_mut(h_next, hidden_size, 1);
                    let mut row_c_next = vectors_mut(c_next, hidden_size, n_c);
                    let mut row_h = vectors_mut(self.h.row_mut(row), hidden_size, 1);
                    let mut row_c = vectors_mut(self.c.row_mut(row), hidden_size, n_c);
                    blocks!(hidden_size, |at| {
                        // Of the next lane, what no product has just read or written.
                        ask_each(&row_a[..gates], at, gates * steps * hidden_size);
                        ask_each(&row_h[..1], at, steps * hidden_size);
                        ask_each(&row_c[..n_c], at, steps * hidden_size);
                        // Of this block alone, so that they stay in registers.
                        let [mut own, mut a, mut a_h, mut h_prev, mut c_prev, mut h, mut c] =
                            at.few();
                        load_each(&mut own[..n_own], &row_own, at);
                        load_each(&mut a[..gates], &row_a, at);
                        load_each(&mut a_h[..by_h], &row_a_h, at);
                        load_each(&mut h_prev[..1], &row_h_prev, at);
                        load_each(&mut c_prev[..n_c], &row_c_prev, at);
                        common.cell.forward(Forward {
                            own: own[..n_own].as_flattened(),
                            a: a[..gates].as_flattened_mut(),
                            a_h: a_h[..by_h].as_flattened(),
                            h_prev: h_prev[..1].as_flattened(),
                            c_prev: c_prev[..n_c].as_flattened(),
                            h: h[..1].as_flattened_mut(),
                            c: c[..n_c].as_flattened_mut(),
                        });
                        store_each(&a[..gates], &mut row_a, at);
                        store_each(&h[..1], &mut row_h, at);
                        store_each(&c[..n_c], &mut row_c, at);
                        store_each(&h[..1], &mut row_h_next, at);
                        store_each(&c[..n_c], &mut row_c_next, at);
                    });
                }
            },
        );
    }

    /// The whole window backwards, given the gradient `dy` by all outputs of these lanes.
    fn backward<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, dy: ArrayView2<'_, T>) {
        let _phase = enter(Phase::RecurrenceBackward);
        self.dh.flat_mut().fill(T::ZERO);
        self.dc.flat_mut().fill(T::ZERO);
        self.d_vectors.flat_mut().fill(T::ZERO);
        let n_projection = common.part.n_vectors();
        for t in (0..common.steps).rev() {
            if 0 < common.reads.1 {
                for lane in 0..self.lanes.len() {
                    let a = self.a.row(lane * common.steps + t);
                    self.a_kept.row_mut(lane).copy_from_slice(a);
                }
            }
            self.cell_backward(common, t, dy);
            if 0 < common.reads.1 {
                self.mix_backward(common, t);
            }
            if 0 < common.reads.0 {
                self.norm_backward(common, t);
                let by_product = if self.a_h.is_empty() { &self.a } else { &self.a_h };
                let by_product = by_product.every(common.steps, t);
                gemm_acc(by_product, common.w_hh_t, self.dh.all_mut());
            }
            for (index, lane) in self.lanes.clone().enumerate() {
                let row = index * common.steps + t;
                let d_vectors = self.d_vectors.row_mut(index);
                let (d_projection, d_vectors) = d_vectors.split_at_mut(n_projection);
                let da = self.a.row_mut(row);
                common.part.backward_row(row, da, self.norm_x.as_mut(), d_projection);
                // A text that starts here read no earlier step, but the initial state.
                if common.starts(lane, t) {
                    let n_initial = common.initial_theta.len();
                    let d_initial = d_vectors.len() - n_initial;
                    let d_initial = &mut d_vectors[d_initial..];
                    common.initial.take_back(0, self.dh.row_mut(index), d_initial);
                    common.initial.take_back(1, self.dc.row_mut(index), d_initial);
                }
            }
        }
    }

    /// Where `h[t-1]·W_hh` is normalized, overwrites `a_h` with the gradient by what it was before.
    fn norm_backward<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, t: usize) {
        let Some(norm) = &mut self.norm_h else { return };
        for lane in 0..self.lanes.len() {
            let row = lane * common.steps + t;
            if common.cell.recurrence() == Recurrence::Sum {
                self.a_h.row_mut(row).copy_from_slice(self.a.row(row));
            }
            let d_gain = common.g_hh_in(self.d_vectors.row_mut(lane));
            norm.backward(row, common.g_hh, self.a_h.row_mut(row), d_gain);
        }
    }

    /// The reverse of the cell's equations of step `t`: `dh` and `dc` become those by the step before.
    fn cell_backward<C: Cell<T>>(
        &mut self,
        common: &Common<'_, '_, T, C>,
        t: usize,
        dy: ArrayView2<'_, T>,
    ) {
        let all_dy = dy.to_slice().expect("rows are contiguous");
        let first = common.part.n_vectors();
        let d_own = first..first + common.own.len();
        T::vectorized(
            #[inline(always)]
            || {
                // As in `cell_forward`.
                let gates = common.cell.gates().len();
                let recurrence = common.cell.recurrence();
                let n_h = common.cell.reads_h();
                let by_h = if recurrence == Recurrence::Sum { 0 } else { n_h };
                let d_by_h = if recurrence == Recurrence::Apart { n_h } else { 0 };
                let n_c = usize::from(common.cell.has_c());
                let n_own = common.cell.own().len();
                let Common { hidden_size, steps, .. } = *common;
                let row_own = vectors(common.own, hidden_size, n_own);
                for lane in 0..self.lanes.len() {
                    let row = lane * steps + t;
                    let row_dy = vectors(&all_dy[row * hidden_size..], hidden_size, 1);
                    let mut row_a = vectors_mut(self.a.row_mut(row), hidden_size, gates);
                    let mut row_a_h = vectors_mut(self.a_h.row_mut(row), hidden_size, by_h);
                    let row_h_prev = vectors(self.h_prev.row(row), hidden_size, 1);
                    let row_c_prev = vectors(self.c_prev.row(row), hidden_size, n_c);
                    let row_h = vectors(self.h.row(row), hidden_size, 1);
                    let row_c = vectors(self.c.row(row), hidden_size, n_c);
                    let mut row_dh = vectors_mut(self.dh.row_mut(lane), hidden_size, 1);
                    let mut row_dc = vectors_mut(self.dc.row_mut(lane), hidden_size, n_c);
                    let row_d_own = &mut self.d_vectors.row_mut(lane)[d_own.clone()];
                    let mut row_d_own = vectors_mut(row_d_own, hidden_size, n_own);
                    blocks!(hidden_size, |at| {
                        // Of the next lane. The cells with a memory read no h here.
                        ask_each(&row_a[..gates], at, gates * steps * hidden_size);
                        ask_each(&row_a_h[..by_h], at, by_h * steps * hidden_size);
                        ask_each(&row_h_prev[..1 - n_c], at, steps * hidden_size);
                        ask_each(&row_c_prev[..n_c], at, steps * hidden_size);
                        ask_each(&row_h[..1 - n_c], at, steps * hidden_size);
                        ask_each(&row_c[..n_c], at, steps * hidden_size);
                        ask_each(&row_dy[..1], at, steps * hidden_size);
                        let [mut own, mut a, mut a_h, mut h_prev, mut c_prev, mut h, mut c] =
                            at.few();
                        let [mut dy, mut dh, mut dc, mut dh_prev, mut da, mut da_h, mut d_own] =
                            at.few();
                        load_each(&mut own[..n_own], &row_own, at);
                        load_each(&mut a[..gates], &row_a, at);
                        load_each(&mut a_h[..by_h], &row_a_h, at);
                        load_each(&mut h_prev[..1], &row_h_prev, at);
                        load_each(&mut c_prev[..n_c], &row_c_prev, at);
                        load_each(&mut h[..1], &row_h, at);
                        load_each(&mut c[..n_c], &row_c, at);
                        load_each(&mut dy[..1], &row_dy, at);
                        load_each(&mut dh[..1], &row_dh, at);
                        load_each(&mut dc[..n_c], &row_dc, at);
                        load_each(&mut d_own[..n_own], &row_d_own, at);
                        // h[t] is read by the output of this step and by the next step.
                        for (dh, dy) in dh[0].iter_mut().zip(dy[0]) {
                            *dh += dy;
                        }
                        common.cell.backward(Backward {
                            own: own[..n_own].as_flattened(),
                            a: a[..gates].as_flattened(),
                            a_h: a_h[..by_h].as_flattened(),
                            h_prev: h_prev[..1].as_flattened(),
                            c_prev: c_prev[..n_c].as_flattened(),
                            h: h[..1].as_flattened(),
                            c: c[..n_c].as_flattened(),
                            dh: dh[..1].as_flattened(),
                            dc: dc[..n_c].as_flattened_mut(),
                            dh_prev: dh_prev[..1].as_flattened_mut(),
                            da: da[..gates].as_flattened_mut(),
                            da_h: da_h[..d_by_h].as_flattened_mut(),
                            d_own: d_own[..n_own].as_flattened_mut(),
                        });
                        store_each(&dh_prev[..1], &mut row_dh, at);
                        store_each(&dc[..n_c], &mut row_dc, at);
                        store_each(&da[..gates], &mut row_a, at);
                        store_each(&da_h[..d_by_h], &mut row_a_h, at);
                        store_each(&d_own[..n_own], &mut row_d_own, at);
                    });
                }
            },
        );
    }

    /// The reverse of [`mix`](Self::mix): completes `da`, and adds to `dh`.
    fn mix_backward<C: Cell<T>>(&mut self, common: &Common<'_, '_, T, C>, t: usize) {
        for lane in 0..self.lanes.len() {
            let row = lane * common.steps + t;
            let by_product = self.da_m.row_mut(row);
            by_product.copy_from_slice(&self.a.row(row)[common.mixed.clone()]);
            if let Some(norm) = &mut self.norm_m {
                let d_gain = common.g_mh_in(self.d_vectors.row_mut(lane));
                norm.backward(row, common.g_mh, by_product, d_gain);
            }
        }
        gemm(self.da_m.every(common.steps, t), common.w_mh_t, self.dm.all_mut());
        T::vectorized(
            #[inline(always)]
            || {
                let (gates, by_h) = (common.cell.gates().len(), common.cell.reads_h());
                for lane in 0..self.lanes.len() {
                    let row = lane * common.steps + t;
                    let row_a = vectors(self.a_kept.row(lane), common.hidden_size, gates);
                    let mut row_a_h = vectors_mut(self.a_h.row_mut(row), common.hidden_size, by_h);
                    let mut row_da = vectors_mut(self.a.row_mut(row), common.hidden_size, gates);
                    blocks!(common.hidden_size, |at| {
                        let [mut a, mut a_h, mut da, mut da_h] = at.few();
                        let (a, da) = (&mut a[..gates], &mut da[..gates]);
                        let (a_h, da_h) = (&mut a_h[..by_h], &mut da_h[..by_h]);
                        load_each(a, &row_a, at);
                        load_each(a_h, &row_a_h, at);
                        load_each(da, &row_da, at);
                        let mut dh_prev = load(self.dh.row(lane), at);
                        common.cell.mix_backward(MixBackward {
                            a: a.as_flattened(),
                            a_h: a_h.as_flattened(),
                            h_prev: &load(self.h_prev.row(row), at),
                            dm: &load(self.dm.row(lane), at),
                            dh_prev: &mut dh_prev,
                            da: da.as_flattened_mut(),
                            da_h: da_h.as_flattened_mut(),
                        });
                        store(&dh_prev, self.dh.row_mut(lane), at);
                        store_each(da, &mut row_da, at);
                        store_each(da_h, &mut row_a_h, at);
                    });
                }
            },
        );
    }
}

impl<T: Real, C: Cell<T>> Common<'_, '_, T, C> {
    /// Whether a text starts in a lane at step `t`.
    fn starts(&self, lane: usize, t: usize) -> bool {
        self.window.resets.get(lane * self.steps + t).is_some_and(|starts| *starts)
    }

    /// The gradient by the gain of `h[t-1]·W_hh`, out of that by all vectors.
    fn g_hh_in<'v>(&self, d_vectors: &'v mut [T]) -> &'v mut [T] {
        &mut d_vectors[self.part.n_vectors() + self.own.len()..][..self.g_hh.len()]
    }

    /// The gradient by the gain of `m·W_mh`, out of that by all vectors.
    fn g_mh_in<'v>(&self, d_vectors: &'v mut [T]) -> &'v mut [T] {
        let before = self.part.n_vectors() + self.own.len() + self.g_hh.len();
        &mut d_vectors[before..][..self.g_mh.len()]
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
        tensors.extend(self.tapes.norm_h.as_ref().map(|_| gain("g_hh", first)));
        tensors.extend(self.tapes.norm_m.as_ref().map(|_| gain("g_mh", mixed)));
        tensors.extend(self.initial.tensors());
        tensors
    }

    fn states(&self) -> &'static [&'static str] {
        if self.cell.has_c() { &["h", "c"] } else { &["h"] }
    }

    fn tape_len(&self) -> usize {
        let t = &self.tapes;
        let rows = [
            &t.a,
            &t.a_h,
            &t.m,
            &t.h_prev,
            &t.h,
            &t.c_prev,
            &t.c,
            &t.h_last,
            &t.c_last,
            &t.da_m,
            &t.a_kept,
            &t.a_m,
            &t.dm,
            &t.dh,
            &t.dc,
            &t.d_vectors,
        ];
        let norms = [&t.norm_h, &t.norm_m].into_iter().flatten().map(Norm::len);
        rows.iter().map(|rows| rows.len()).sum::<usize>()
            + norms.sum::<usize>()
            + self.projection.tape_len()
            + self.drop_connect.len()
    }

    fn draw_masks(&mut self, rng: &mut Rng) {
        self.drop_connect.draw(rng);
    }

    fn prepare(&mut self, theta: &[T], x: Input<'_, T>, pool: &mut Pool) {
        self.drop_connect.apply(&theta[self.at.w_hh.start..self.at.w_mh.end]);
        self.projection.pack(theta, x, pool);
        let (mut w_hh, mut w_mh) = (take(&mut self.w_hh), take(&mut self.w_mh));
        let [by_h, by_m] = self.recurrent_weights(theta);
        w_hh.pack(by_h, pool);
        w_mh.pack(by_m, pool);
        (self.w_hh, self.w_mh) = (w_hh, w_mh);
    }

    fn forward(&mut self, theta: &[T], window: LayerWindow<'_, T>, state: &[T], pool: &mut Pool) {
        self.steps = window.x.rows() / self.dims.batch_size;
        let each = self.dims.batch_size.div_ceil(pool.threads());
        let (common, mut lanes) = self.split(theta, window);
        let parts = std::iter::from_fn(|| lanes.take(each, common.steps));
        pool.each(parts, |mut lanes| lanes.forward(&common, state));
    }

    fn output(&self) -> ArrayView2<'_, T> {
        self.tapes.h.view(0..self.steps * self.dims.batch_size)
    }

    fn gates(&self) -> Vec<(&'static str, ArrayView2<'_, T>)> {
        let a = self.tapes.a.view(0..self.steps * self.dims.batch_size);
        let block = |gate: usize| columns(a, gate * self.dims.hidden_size, self.dims.hidden_size);
        let (names, sigmoids) = (self.cell.gates(), self.cell.sigmoids());
        sigmoids.map(|gate| (names[gate], block(gate))).collect()
    }

    fn carry(&self, state: &mut [T]) {
        let (h, c) = state.split_at_mut(self.dims.batch_size * self.dims.hidden_size);
        h.copy_from_slice(self.tapes.h_last.flat(0..self.dims.batch_size));
        c.copy_from_slice(self.tapes.c_last.flat(0..self.dims.batch_size));
    }

    fn backward(
        &mut self,
        theta: &[T],
        window: LayerWindow<'_, T>,
        dy: ArrayView2<'_, T>,
        grads: Grads<'_, T>,
        pool: &mut Pool,
    ) {
        self.projection.pack_transposed(theta, window.x, pool);
        let (mut w_hh_t, mut w_mh_t) = (take(&mut self.w_hh_t), take(&mut self.w_mh_t));
        let [by_h, by_m] = self.recurrent_weights(theta);
        w_hh_t.pack_transposed(by_h, pool);
        w_mh_t.pack_transposed(by_m, pool);
        (self.w_hh_t, self.w_mh_t) = (w_hh_t, w_mh_t);

        let Dims { hidden_size, batch_size, .. } = self.dims;
        let steps = self.steps;
        let each = batch_size.div_ceil(pool.threads());
        let (common, mut lanes) = self.split(theta, window);
        let mut dx = grads.x.map(RowsMut::of);
        let parts = std::iter::from_fn(|| {
            let part = lanes.take(each, steps)?;
            let dx = dx.as_mut().map(|dx| dx.take(part.lanes.len() * steps));
            Some((part, dx))
        });
        pool.each(parts, |(mut lanes, dx)| {
            let rows = lanes.lanes.start * steps..lanes.lanes.end * steps;
            lanes.backward(&common, rows_of(dy, rows));
            if let Some(dx) = dx {
                common.part.dx(&lanes.a, dx);
            }
        });

        let Self { at, reads, projection, drop_connect, scratch, tapes, .. } = self;
        let Tapes { a: da, a_h: da_h, m, h_prev, da_m, dh, dc, d_vectors, .. } = &*tapes;
        if let Some(d_state) = grads.state {
            let (d_h, d_c) = d_state.split_at_mut(batch_size * hidden_size);
            d_h.copy_from_slice(dh.flat(0..batch_size));
            d_c.copy_from_slice(dc.flat(0..batch_size));
        }
        // Each lane summed its own steps; the sum over the lanes is taken in their order.
        let n_projection = projection.n_vectors();
        let (in_projection, w_hh) = (projection.n_params() - n_projection, at.w_hh.start);
        grads.theta[in_projection..w_hh].fill(T::ZERO);
        grads.theta[at.own.start..].fill(T::ZERO);
        for lane in 0..batch_size {
            let (d_projection, d_rest) = d_vectors.row(lane).split_at(n_projection);
            add(d_projection, &mut grads.theta[in_projection..w_hh]);
            add(d_rest, &mut grads.theta[at.own.start..]);
        }

        // Weight gradients waited for the end of the loop: one product each, not one for each step.
        let rows = 0..steps * batch_size;
        let weights = at.w_hh.start..at.w_mh.end;
        let d_weights = drop_connect.gradient(&mut grads.theta[weights.clone()]);
        let (d_w_hh, d_w_mh) = d_weights.split_at_mut(at.w_hh.len());
        if 0 < reads.0 {
            let by_product = if da_h.len() == 0 { da } else { da_h };
            let (h_prev, by_product) = (h_prev.view(rows.clone()), by_product.view(rows.clone()));
            weight_gradient(h_prev, by_product, d_w_hh, scratch, pool);
        }
        if 0 < reads.1 {
            let (m, da_m) = (m.view(rows.clone()), da_m.view(rows.clone()));
            weight_gradient(m, da_m, d_w_mh, scratch, pool);
        }
        drop_connect.finish(&mut grads.theta[weights]);
        projection.weight_gradient(window.x, da.view(rows), grads.theta, scratch, pool);
    }
}
