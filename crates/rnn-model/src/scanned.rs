//! A layer without products of the state: `h[t] = keep[t] ⊙ h[t-1] + take[t]`, where `keep` and
//! `take` depend on the inputs alone.
//!
//! So they are computed for the whole window at once, and all that is left to do step by step is one
//! multiplication and addition for each unit: a scan. Feng et al., "Were RNNs all we needed?", 2024.

use ndarray::ArrayView2;
use tensor_core::{Real, Tensor};

use crate::initial::Initial;
use crate::projection::Projection;
use crate::view::Rows;
use crate::{Dims, Grads, Layer, LayerOptions, LayerWindow};

/// The equations of a cell whose gates read the input alone.
pub trait ScanCell<T: Real>: Send {
    /// Names of the gates in the order of their blocks in `a`, each `[hidden_size]`.
    fn gates(&self) -> &'static [&'static str];

    /// Overwrites `keep` and `take`, `[hidden_size]`. The cell may leave its activations in `a`,
    /// `[gates·hidden_size]`: the way back finds what it left.
    fn open(&self, a: &mut [T], keep: &mut [T], take: &mut [T]);

    /// The reverse of [`open`](Self::open): overwrites `da`.
    fn close(&self, a: &[T], keep: &[T], d_keep: &[T], d_take: &[T], da: &mut [T]);
}

/// A recurrent layer made of a [`ScanCell`].
pub struct Scanned<T, C> {
    cell: C,
    dims: Dims,
    projection: Projection<T>,
    initial: Initial,
    /// Time steps of the last window.
    steps: usize,
    /// Tape: pre-activations, then what the cell left of them, `[seq_len·batch_size, gates·H]`.
    a: Rows<T>,
    /// Tape: `[seq_len·batch_size, H]` each.
    keep: Rows<T>,
    take: Rows<T>,
    h_prev: Rows<T>,
    h: Rows<T>,
    /// Gradient by `a`.
    da: Rows<T>,
    /// Workspace: gradients by `h[t]` and by `keep[t]`, `[batch_size, H]`.
    dh: Rows<T>,
    d_keep: Rows<T>,
}

impl<T: Real, C: ScanCell<T>> Scanned<T, C> {
    /// A layer with an empty tape. It has no recurrent weights, so none are left out.
    pub fn new(cell: C, dims: Dims, options: LayerOptions) -> Self {
        let Dims { hidden_size, batch_size, seq_len, .. } = dims;
        let tape = |width| Rows::zeros(seq_len * batch_size, width);
        let width = cell.gates().len() * hidden_size;
        Self {
            projection: Projection::new(cell.gates(), dims, options),
            initial: Initial::new(options.learned_state, hidden_size, 1),
            steps: 0,
            a: tape(width),
            keep: tape(hidden_size),
            take: tape(hidden_size),
            h_prev: tape(hidden_size),
            h: tape(hidden_size),
            da: tape(width),
            dh: Rows::zeros(batch_size, hidden_size),
            d_keep: Rows::zeros(batch_size, hidden_size),
            cell,
            dims,
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
        let rows = [
            &self.a,
            &self.keep,
            &self.take,
            &self.h_prev,
            &self.h,
            &self.da,
            &self.dh,
            &self.d_keep,
        ];
        rows.iter().map(|rows| rows.len()).sum::<usize>() + self.projection.tape_len()
    }

    fn forward(&mut self, theta: &[T], window: LayerWindow<'_, T>, state: &[T]) {
        let Dims { hidden_size, batch_size, .. } = self.dims;
        self.steps = window.x.rows() / batch_size;
        self.projection.forward(theta, window.x, &mut self.a);
        for row in 0..self.steps * batch_size {
            self.cell.open(self.a.row_mut(row), self.keep.row_mut(row), self.take.row_mut(row));
        }

        let initial = &theta[self.projection.n_params()..];
        for row in 0..self.steps * batch_size {
            let h_prev = self.h_prev.row_mut(row);
            if window.resets.get(row).is_some_and(|starts| *starts) {
                self.initial.write(initial, 0, h_prev);
            } else if row < batch_size {
                h_prev.copy_from_slice(&state[row * hidden_size..][..hidden_size]);
            } else {
                h_prev.copy_from_slice(self.h.row(row - batch_size));
            }
            let (keep, take) = (self.keep.row(row), self.take.row(row));
            for (unit, h) in self.h.row_mut(row).iter_mut().enumerate() {
                *h = keep[unit] * h_prev[unit] + take[unit];
            }
        }
    }

    fn output(&self) -> ArrayView2<'_, T> {
        self.h.view(0..self.steps * self.dims.batch_size)
    }

    fn carry(&self, state: &mut [T]) {
        let end = self.steps * self.dims.batch_size;
        state.copy_from_slice(self.h.flat(end - self.dims.batch_size..end));
    }

    fn backward(
        &mut self,
        theta: &[T],
        window: LayerWindow<'_, T>,
        dy: ArrayView2<'_, T>,
        grads: Grads<'_, T>,
    ) {
        let batch_size = self.dims.batch_size;
        let n_projection = self.projection.n_params();
        self.dh.fill_zero();
        for row in (0..self.steps * batch_size).rev() {
            let lane = row % batch_size;
            let (dh, d_keep) = (self.dh.row_mut(lane), self.d_keep.row_mut(lane));
            // h[t] is read by the output of this step and by the next step.
            for ((dh, dy), (d_keep, h_prev)) in
                dh.iter_mut().zip(dy.row(row)).zip(d_keep.iter_mut().zip(self.h_prev.row(row)))
            {
                *dh += *dy;
                *d_keep = *dh * *h_prev;
            }
            let (a, keep) = (self.a.row(row), self.keep.row(row));
            self.cell.close(a, keep, d_keep, dh, self.da.row_mut(row));
            for (dh, keep) in dh.iter_mut().zip(keep) {
                *dh *= *keep;
            }
            if window.resets.get(row).is_some_and(|starts| *starts) {
                self.initial.take_back(0, dh, &mut grads.theta[n_projection..]);
            }
        }
        if let Some(d_state) = grads.state {
            d_state.copy_from_slice(self.dh.flat(0..batch_size));
        }
        self.projection.backward(theta, window.x, &mut self.da, grads.theta, grads.x);
    }
}
