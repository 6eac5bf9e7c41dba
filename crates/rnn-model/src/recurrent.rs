//! The layer around a cell: every matrix product, and the order they are taken in.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use tensor_core::gemm::{add_column_sums, axpy, fill_rows, gemm, gemm_acc, gemm_nt, gemm_tn_acc};
use tensor_core::{Real, Shape};

use crate::view::{flat, flat_mut, matrix, matrix_mut, rows, rows_mut, take, take_mut};
use crate::{Dims, Grads, Input, Layer};

/// The element-wise equations of one time step and their exact reverse.
///
/// A cell sees pre-activations, never a weight: `a_x = x·W_xh + b_h` from the input and
/// `a_h = h[t-1]·W_hh` from the state, each `[batch_size, gates·hidden_size]`.
pub trait Cell<T: Real>: Send {
    /// Pre-activations for each hidden unit.
    const GATES: usize;

    /// Overwrites `h`, the state `[batch_size, hidden_size]` behind this step.
    fn forward(&self, a_x: &[T], a_h: &[T], h: &mut [T]);

    /// Overwrites `da`, the gradient by `a_x` and by `a_h`, which only ever occur as their sum.
    ///
    /// `h` is what [`forward`](Self::forward) wrote, `dh` the gradient by it: from the output of
    /// this step and from all later steps together.
    fn backward(&self, h: &[T], dh: &[T], da: &mut [T]);
}

/// A recurrent layer made of a [`Cell`].
///
/// Of a window's products only `h[t-1]·W_hh`, and its reverse, have to wait for the step before.
/// All others are one product for the whole window, which is far faster than one for each step.
pub struct Recurrent<T, C> {
    cell: C,
    dims: Dims,
    /// Time steps of the last window.
    steps: usize,
    /// Tape: `x·W_xh + b_h`, `[seq_len·batch_size, gates·hidden_size]`.
    a_x: Array2<T>,
    /// Tape: the state before the window, then behind each step,
    /// `[(1 + seq_len)·batch_size, hidden_size]`.
    h: Array2<T>,
    /// Gradient by the pre-activations, `[seq_len·batch_size, gates·hidden_size]`.
    da: Array2<T>,
    /// Workspace: `h[t-1]·W_hh`, `[batch_size, gates·hidden_size]`.
    a_h: Array2<T>,
    /// Workspace: gradient by `h[t]`, `[batch_size, hidden_size]`.
    dh: Array2<T>,
}

/// The parameters as matrices.
struct Params<'a, T> {
    /// `[input_size, gates·hidden_size]`
    w_xh: ArrayView2<'a, T>,
    /// `[hidden_size, gates·hidden_size]`
    w_hh: ArrayView2<'a, T>,
    /// `[gates·hidden_size]`
    b_h: &'a [T],
}

impl<T: Real, C: Cell<T>> Recurrent<T, C> {
    /// A layer with an empty tape.
    pub fn new(cell: C, dims: Dims) -> Self {
        let Dims { hidden_size, batch_size, seq_len, .. } = dims;
        let zeros = |rows, cols| Array2::from_elem((rows, cols), T::ZERO);
        Self {
            cell,
            dims,
            steps: 0,
            a_x: zeros(seq_len * batch_size, C::GATES * hidden_size),
            h: zeros((1 + seq_len) * batch_size, hidden_size),
            da: zeros(seq_len * batch_size, C::GATES * hidden_size),
            a_h: zeros(batch_size, C::GATES * hidden_size),
            dh: zeros(batch_size, hidden_size),
        }
    }

    /// The rows of time step `t`.
    fn at(&self, t: usize) -> Range<usize> {
        t * self.dims.batch_size..(t + 1) * self.dims.batch_size
    }

    /// The rows of all time steps of the last window.
    fn window(&self) -> Range<usize> {
        0..self.steps * self.dims.batch_size
    }

    fn params<'a>(&self, mut theta: &'a [T]) -> Params<'a, T> {
        let Dims { input_size, hidden_size, .. } = self.dims;
        let width = C::GATES * hidden_size;
        Params {
            w_xh: matrix(take(&mut theta, input_size * width), input_size, width),
            w_hh: matrix(take(&mut theta, hidden_size * width), hidden_size, width),
            b_h: take(&mut theta, width),
        }
    }
}

impl<T: Real, C: Cell<T>> Layer<T> for Recurrent<T, C> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn tensors(&self) -> Vec<(&'static str, Shape)> {
        let Dims { input_size, hidden_size, .. } = self.dims;
        let width = C::GATES * hidden_size;
        vec![
            ("w_xh", Shape::Matrix(input_size, width)),
            ("w_hh", Shape::Matrix(hidden_size, width)),
            ("b_h", Shape::Vector(width)),
        ]
    }

    fn states(&self) -> &'static [&'static str] {
        &["h"]
    }

    fn tape_len(&self) -> usize {
        [&self.a_x, &self.h, &self.da, &self.a_h, &self.dh].iter().map(|array| array.len()).sum()
    }

    fn forward(&mut self, theta: &[T], x: Input<'_, T>, state: &[T]) {
        let p = self.params(theta);
        let batch_size = self.dims.batch_size;
        self.steps = x.rows() / batch_size;
        flat_mut(rows_mut(&mut self.h, 0..batch_size)).copy_from_slice(state);

        // Nothing here depends on h, so the whole window is one product.
        project(x, &p, rows_mut(&mut self.a_x, 0..x.rows()));

        for t in 0..self.steps {
            let (now, next) = (self.at(t), self.at(t + 1));
            gemm(rows(&self.h, now.clone()), p.w_hh, self.a_h.view_mut());
            let (a_x, a_h) = (flat(rows(&self.a_x, now)), flat(self.a_h.view()));
            self.cell.forward(a_x, a_h, flat_mut(rows_mut(&mut self.h, next)));
        }
    }

    fn output(&self) -> ArrayView2<'_, T> {
        rows(&self.h, self.dims.batch_size..self.at(self.steps).end)
    }

    fn carry(&self, state: &mut [T]) {
        state.copy_from_slice(flat(rows(&self.h, self.at(self.steps))));
    }

    fn backward(
        &mut self,
        theta: &[T],
        x: Input<'_, T>,
        dy: ArrayView2<'_, T>,
        grads: Grads<'_, T>,
    ) {
        let p = self.params(theta);

        self.dh.fill(T::ZERO);
        for t in (0..self.steps).rev() {
            let (now, next) = (self.at(t), self.at(t + 1));
            // h[t] is read by the output of this step and by the next step.
            self.dh += &dy.slice_axis(Axis(0), Slice::from(now.clone()));
            let (h, dh) = (flat(rows(&self.h, next)), flat(self.dh.view()));
            self.cell.backward(h, dh, flat_mut(rows_mut(&mut self.da, now.clone())));
            if 0 < t || grads.state.is_some() {
                gemm_nt(rows(&self.da, now), p.w_hh, self.dh.view_mut());
            }
        }
        if let Some(d_state) = grads.state {
            d_state.copy_from_slice(flat(self.dh.view()));
        }

        // Weight gradients waited for the end of the loop: one product each, not one for each step.
        let window = self.window();
        let (da, h_prev) = (rows(&self.da, window.clone()), rows(&self.h, window));
        let mut rest = grads.theta;
        let d_w_xh = matrix_mut(take_mut(&mut rest, p.w_xh.len()), p.w_xh.nrows(), p.w_xh.ncols());
        let d_w_hh = matrix_mut(take_mut(&mut rest, p.w_hh.len()), p.w_hh.nrows(), p.w_hh.ncols());
        let d_b_h = take_mut(&mut rest, p.b_h.len());
        project_back(x, da, d_w_xh);
        gemm_tn_acc(h_prev, da, d_w_hh);
        add_column_sums(da, d_b_h);
        if let Some(dx) = grads.x {
            gemm_nt(da, p.w_xh, dx);
        }
    }
}

/// `a_x ← x·W_xh + b_h`. A one-hot input picks a row.
fn project<T: Real>(x: Input<'_, T>, p: &Params<'_, T>, mut a_x: ArrayViewMut2<'_, T>) {
    fill_rows(p.b_h, a_x.view_mut());
    match x {
        Input::Dense(x) => gemm_acc(x, p.w_xh, a_x),
        Input::Ids(ids) => {
            for (id, mut a_x) in ids.iter().zip(a_x.rows_mut()) {
                a_x += &p.w_xh.row(*id as usize);
            }
        }
    }
}

/// `dW_xh ← dW_xh + xᵀ·da`. A one-hot input adds to a row.
fn project_back<T: Real>(x: Input<'_, T>, da: ArrayView2<'_, T>, mut d_w_xh: ArrayViewMut2<'_, T>) {
    match x {
        Input::Dense(x) => gemm_tn_acc(x, da, d_w_xh),
        Input::Ids(ids) => {
            for (id, da) in ids.iter().zip(da.rows()) {
                let mut row = d_w_xh.row_mut(*id as usize);
                let row = row.as_slice_mut().expect("rows are contiguous");
                axpy(T::ONE, da.to_slice().expect("rows are contiguous"), row);
            }
        }
    }
}
