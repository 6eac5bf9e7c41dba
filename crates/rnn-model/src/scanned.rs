//! A layer without products of the state: `h[t] = keep[t] ⊙ h[t-1] + take[t]`, where `keep` and
//! `take` depend on the inputs alone.
//!
//! So they are computed for the whole window at once, and all that is left to do step by step is one
//! multiplication and addition for each unit: a scan. Feng et al., "Were RNNs all we needed?", 2024.

use std::ops::Range;

use ndarray::ArrayView2;
use tensor_core::gemm::add;
use tensor_core::phase::{Phase, enter};
use tensor_core::pool::Pool;
use tensor_core::{Aligned, Real, Tensor};

use crate::initial::Initial;
use crate::norm::NormMut;
use crate::projection::{Part, Projection};
use crate::units::{MOST, blocks, load, load_each, store, store_each, vectors, vectors_mut};
use crate::view::{Rows, RowsMut, columns, rows_of};
use crate::{Dims, Grads, Input, Layer, LayerOptions, LayerWindow};

/// The equations of a cell whose gates read the input alone, for a few units at a time.
pub trait ScanCell<T: Real>: Send + Sync {
    /// Names of the gates in the order of their blocks in `a`.
    fn gates(&self) -> &'static [&'static str];

    /// Which of them are left in `a` as values of a sigmoid.
    fn sigmoids(&self) -> Range<usize> {
        0..0
    }

    /// Overwrites `keep` and `take`, `[units]`. The cell may leave its activations in `a`,
    /// `[gates·units]`: the way back finds what it left.
    fn open(&self, a: &mut [T], keep: &mut [T], take: &mut [T]);

    /// The reverse of [`open`](Self::open): overwrites `da`.
    fn close(&self, a: &[T], keep: &[T], d_keep: &[T], d_take: &[T], da: &mut [T]);
}

/// A recurrent layer made of a [`ScanCell`].
pub struct Scanned<T, C> {
    cell: C,
    dims: Dims,
    projection: Projection<T>,
    /// For the weight gradient.
    scratch: Aligned<T>,
    initial: Initial,
    /// Time steps of the last window.
    steps: usize,
    tapes: Tapes<T>,
}

/// What is kept of a window: tapes with a row for each lane and step, workspaces with one a lane.
struct Tapes<T> {
    /// Tape: pre-activations, then what the cell left of them, `gates·H` wide.
    a: Rows<T>,
    /// Tape: `H` wide each.
    keep: Rows<T>,
    take: Rows<T>,
    h_prev: Rows<T>,
    h: Rows<T>,
    /// Gradient by `a`.
    da: Rows<T>,
    /// Workspace: gradients by `h[t]` and by `keep[t]`.
    dh: Rows<T>,
    d_keep: Rows<T>,
    /// Workspace: gradients by all parameters that are no matrix.
    d_vectors: Rows<T>,
}

impl<T: Real, C: ScanCell<T>> Scanned<T, C> {
    /// A layer with an empty tape. It has no recurrent weights, so none are left out.
    ///
    /// # Panics
    /// If the cell has more than eight gates.
    #[track_caller]
    pub fn new(cell: C, dims: Dims, options: LayerOptions) -> Self {
        let Dims { hidden_size, batch_size, seq_len, .. } = dims;
        assert!(cell.gates().len() <= MOST, "at most {MOST} gates");
        let tape = |width| Rows::zeros(seq_len * batch_size, width);
        let lanes = |width| Rows::zeros(batch_size, width);
        let width = cell.gates().len() * hidden_size;
        let projection = Projection::new(cell.gates(), dims, options);
        let initial = Initial::new(options.learned_state, hidden_size, 1);
        let tapes = Tapes {
            a: tape(width),
            keep: tape(hidden_size),
            take: tape(hidden_size),
            h_prev: tape(hidden_size),
            h: tape(hidden_size),
            da: tape(width),
            dh: lanes(hidden_size),
            d_keep: lanes(hidden_size),
            d_vectors: lanes(projection.n_vectors() + initial.n_params()),
        };
        Self { projection, scratch: Aligned::default(), initial, steps: 0, cell, dims, tapes }
    }

    /// What every thread reads, and the lanes to be split among them.
    fn split<'a, 'w>(
        &'a mut self,
        theta: &'a [T],
        window: LayerWindow<'w, T>,
    ) -> (Common<'a, 'w, T, C>, Lanes<'a, T>) {
        let Self { cell, dims, projection, initial, tapes, .. } = self;
        let rows = self.steps * dims.batch_size;
        let initial_theta = &theta[projection.n_params()..];
        let (part, norm_x) = projection.split(theta, rows);
        let common = Common {
            cell,
            hidden_size: dims.hidden_size,
            steps: self.steps,
            window,
            part,
            initial,
            initial_theta,
        };
        let lanes = 0..dims.batch_size;
        let lanes = Lanes {
            a: tapes.a.part_mut(0..rows),
            keep: tapes.keep.part_mut(0..rows),
            take: tapes.take.part_mut(0..rows),
            h_prev: tapes.h_prev.part_mut(0..rows),
            h: tapes.h.part_mut(0..rows),
            da: tapes.da.part_mut(0..rows),
            norm_x,
            dh: tapes.dh.part_mut(lanes.clone()),
            d_keep: tapes.d_keep.part_mut(lanes.clone()),
            d_vectors: tapes.d_vectors.part_mut(lanes.clone()),
            lanes,
        };
        (common, lanes)
    }
}

/// What all lanes of a window share.
struct Common<'a, 'w, T, C> {
    cell: &'a C,
    hidden_size: usize,
    steps: usize,
    window: LayerWindow<'w, T>,
    part: Part<'a, T>,
    initial: &'a Initial,
    initial_theta: &'a [T],
}

impl<T: Real, C: ScanCell<T>> Common<'_, '_, T, C> {
    /// Whether a text starts in a lane at step `t`.
    fn starts(&self, lane: usize, t: usize) -> bool {
        self.window.resets.get(lane * self.steps + t).is_some_and(|starts| *starts)
    }
}

/// Some lanes of [`Tapes`]: what one thread works on.
struct Lanes<'a, T> {
    lanes: Range<usize>,
    a: RowsMut<'a, T>,
    keep: RowsMut<'a, T>,
    take: RowsMut<'a, T>,
    h_prev: RowsMut<'a, T>,
    h: RowsMut<'a, T>,
    da: RowsMut<'a, T>,
    norm_x: Option<NormMut<'a, T>>,
    dh: RowsMut<'a, T>,
    d_keep: RowsMut<'a, T>,
    d_vectors: RowsMut<'a, T>,
}

impl<T: Real> Lanes<'_, T> {
    /// Takes the first lanes away, as many as are `each` thread's share.
    fn take(&mut self, each: usize, steps: usize) -> Option<Self> {
        let lanes = each.min(self.lanes.len());
        let rows = lanes * steps;
        let first = self.lanes.start;
        self.lanes.start += lanes;
        (0 < lanes).then(|| Self {
            lanes: first..first + lanes,
            a: self.a.take(rows),
            keep: self.keep.take(rows),
            take: self.take.take(rows),
            h_prev: self.h_prev.take(rows),
            h: self.h.take(rows),
            da: self.da.take(rows),
            norm_x: self.norm_x.as_mut().map(|norm| norm.take(rows)),
            dh: self.dh.take(lanes),
            d_keep: self.d_keep.take(lanes),
            d_vectors: self.d_vectors.take(lanes),
        })
    }

    /// The whole window forwards, from `state`.
    fn forward<C: ScanCell<T>>(&mut self, common: &Common<'_, '_, T, C>, state: &[T]) {
        let _phase = enter(Phase::Recurrence);
        let Common { cell, hidden_size, steps, .. } = *common;
        let x = common.window.x.rows_of(self.lanes.start * steps..self.lanes.end * steps);
        common.part.forward(x, &mut self.a, self.norm_x.as_mut());
        T::vectorized(
            #[inline(always)]
            || {
                let gates = cell.gates().len();
                for row in 0..x.rows() {
                    let mut row_a = vectors_mut(self.a.row_mut(row), hidden_size, gates);
                    blocks!(hidden_size, |at| {
                        let [mut a] = at.few();
                        let a = &mut a[..gates];
                        load_each(a, &row_a, at);
                        let (mut keep, mut take) = (at.zeros(), at.zeros());
                        cell.open(a.as_flattened_mut(), &mut keep, &mut take);
                        store_each(a, &mut row_a, at);
                        store(&keep, self.keep.row_mut(row), at);
                        store(&take, self.take.row_mut(row), at);
                    });
                }
            },
        );
        for (index, lane) in self.lanes.clone().enumerate() {
            for t in 0..steps {
                let row = index * steps + t;
                let h_prev = self.h_prev.row_mut(row);
                if common.starts(lane, t) {
                    common.initial.write(common.initial_theta, 0, h_prev);
                } else if t == 0 {
                    h_prev.copy_from_slice(&state[lane * hidden_size..][..hidden_size]);
                } else {
                    h_prev.copy_from_slice(self.h.row(row - 1));
                }
                let gates = self.keep.row(row).iter().zip(self.take.row(row)).zip(&*h_prev);
                for (h, ((keep, take), h_prev)) in self.h.row_mut(row).iter_mut().zip(gates) {
                    *h = *keep * *h_prev + *take;
                }
            }
        }
    }

    /// The whole window backwards, given the gradient `dy` by all outputs of these lanes.
    fn backward<C: ScanCell<T>>(&mut self, common: &Common<'_, '_, T, C>, dy: ArrayView2<'_, T>) {
        let _phase = enter(Phase::RecurrenceBackward);
        let Common { cell, hidden_size, steps, .. } = *common;
        let n_projection = common.part.n_vectors();
        let dy = dy.to_slice().expect("rows are contiguous");
        self.dh.flat_mut().fill(T::ZERO);
        self.d_vectors.flat_mut().fill(T::ZERO);
        for (index, lane) in self.lanes.clone().enumerate() {
            let (dh, d_keep) = (self.dh.row_mut(index), self.d_keep.row_mut(index));
            let d_vectors = self.d_vectors.row_mut(index);
            let (d_projection, d_initial) = d_vectors.split_at_mut(n_projection);
            for t in (0..steps).rev() {
                let row = index * steps + t;
                let (keep, h_prev) = (self.keep.row(row), self.h_prev.row(row));
                // h[t] is read by the output of this step and by the next step.
                add(&dy[row * hidden_size..][..hidden_size], dh);
                for ((d_keep, dh), h_prev) in d_keep.iter_mut().zip(&*dh).zip(h_prev) {
                    *d_keep = *dh * *h_prev;
                }
                let (a, da) = (self.a.row(row), self.da.row_mut(row));
                T::vectorized(
                    #[inline(always)]
                    || {
                        let gates = cell.gates().len();
                        let row_a = vectors(a, hidden_size, gates);
                        let mut row_da = vectors_mut(da, hidden_size, gates);
                        blocks!(hidden_size, |at| {
                            let [mut few_a, mut few_da] = at.few();
                            let (few_a, few_da) = (&mut few_a[..gates], &mut few_da[..gates]);
                            load_each(few_a, &row_a, at);
                            cell.close(
                                few_a.as_flattened(),
                                &load(keep, at),
                                &load(d_keep, at),
                                &load(dh, at),
                                few_da.as_flattened_mut(),
                            );
                            store_each(few_da, &mut row_da, at);
                        });
                    },
                );
                for (dh, keep) in dh.iter_mut().zip(keep) {
                    *dh *= *keep;
                }
                common.part.backward_row(row, da, self.norm_x.as_mut(), d_projection);
                if common.starts(lane, t) {
                    common.initial.take_back(0, dh, d_initial);
                }
            }
        }
    }
}

impl<T: Real, C: ScanCell<T>> Layer<T> for Scanned<T, C> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.projection.tensors().chain(self.initial.tensors()).collect()
    }

    fn states(&self) -> &'static [&'static str] {
        &["h"]
    }

    fn tape_len(&self) -> usize {
        let t = &self.tapes;
        let rows = [&t.a, &t.keep, &t.take, &t.h_prev, &t.h, &t.da, &t.dh, &t.d_keep, &t.d_vectors];
        rows.iter().map(|rows| rows.len()).sum::<usize>() + self.projection.tape_len()
    }

    fn prepare(&mut self, theta: &[T], x: Input<'_, T>, pool: &mut Pool) {
        self.projection.pack(theta, x, pool);
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
        for (lane, state) in state.chunks_exact_mut(self.dims.hidden_size).enumerate() {
            state.copy_from_slice(self.tapes.h.row((lane + 1) * self.steps - 1));
        }
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
        let (steps, batch_size) = (self.steps, self.dims.batch_size);
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
                common.part.dx(&lanes.da, dx);
            }
        });

        let Tapes { da, dh, d_vectors, .. } = &self.tapes;
        if let Some(d_state) = grads.state {
            d_state.copy_from_slice(dh.flat(0..batch_size));
        }
        // Each lane summed its own steps; the sum over the lanes is taken in their order.
        let first = self.projection.n_params() - self.projection.n_vectors();
        grads.theta[first..].fill(T::ZERO);
        for lane in 0..batch_size {
            add(d_vectors.row(lane), &mut grads.theta[first..]);
        }
        let da = da.view(0..steps * batch_size);
        self.projection.weight_gradient(window.x, da, grads.theta, &mut self.scratch, pool);
    }
}
