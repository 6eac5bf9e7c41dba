//! What a layer makes of its inputs for the whole window at once: `a = x·W_xh + b_h`.

use std::ops::Range;

use ndarray::ArrayViewMut2;
use tensor_core::gemm::{add_column_sums, axpy, fill_rows, gemm_acc, gemm_nt, gemm_tn_acc};
use tensor_core::{Real, Shape, Tensor};

use crate::norm::Norm;
use crate::view::{Rows, matrix, matrix_mut};
use crate::{Dims, Input, LayerOptions};

/// The input projection, with the result of the product normalized if wanted.
pub(crate) struct Projection<T> {
    input_size: usize,
    gates: &'static [&'static str],
    width: usize,
    norm: Option<Norm<T>>,
}

/// Where the parameters lie in `theta`.
struct Places {
    weights: Range<usize>,
    bias: Range<usize>,
    gain: Range<usize>,
}

impl<T: Real> Projection<T> {
    pub fn new(gates: &'static [&'static str], dims: Dims, options: LayerOptions) -> Self {
        let width = gates.len() * dims.hidden_size;
        let norm = options.layer_norm.then(|| Norm::new(dims.seq_len * dims.batch_size, width));
        Self { input_size: dims.input_size, gates, width, norm }
    }

    /// `w_xh [input_size, gates·hidden_size]`, `b_h [gates·hidden_size]`, and the gain `g_xh`.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> {
        let tensor = |name, shape| Tensor { name, shape, gates: self.gates, start: None };
        let gain = Tensor { start: Some(1.0), ..tensor("g_xh", Shape::Vector(self.width)) };
        [
            tensor("w_xh", Shape::Matrix(self.input_size, self.width)),
            tensor("b_h", Shape::Vector(self.width)),
        ]
        .into_iter()
        .chain(self.norm.as_ref().map(|_| gain))
    }

    /// Number of parameters, which come first in the layer's.
    pub fn n_params(&self) -> usize {
        self.tensors().map(|tensor| tensor.shape.len()).sum()
    }

    /// Number of values kept.
    pub fn tape_len(&self) -> usize {
        self.norm.as_ref().map_or(0, Norm::len)
    }

    fn places(&self) -> Places {
        let weights = self.input_size * self.width;
        let bias = weights + self.width;
        Places { weights: 0..weights, bias: weights..bias, gain: bias..self.n_params() }
    }

    /// Overwrites the first rows of `a`. A one-hot input picks a row of the weights.
    pub fn forward(&mut self, theta: &[T], x: Input<'_, T>, a: &mut Rows<T>) {
        let Places { weights, bias, gain } = self.places();
        let w_xh = matrix(&theta[weights], self.input_size, self.width);
        let rows = 0..x.rows();
        let bias = &theta[bias];
        match (&self.norm, x) {
            (None, _) => fill_rows(bias, a.view_mut(rows.clone())),
            (Some(_), _) => a.flat_mut(rows.clone()).fill(T::ZERO),
        }
        match x {
            Input::Dense(x) => gemm_acc(x, w_xh, a.view_mut(rows.clone())),
            Input::Ids(ids) => {
                for (row, id) in ids.iter().enumerate() {
                    let weights = w_xh.row(*id as usize);
                    axpy(T::ONE, weights.to_slice().expect("rows are contiguous"), a.row_mut(row));
                }
            }
        }
        if let Some(norm) = &mut self.norm {
            norm.forward(rows.clone(), &theta[gain], a.flat_mut(rows.clone()));
            for row in rows {
                axpy(T::ONE, bias, a.row_mut(row));
            }
        }
    }

    /// Accumulates into `grads`, and overwrites `dx`. `da` is the gradient by `a`, and is overwritten.
    pub fn backward(
        &self,
        theta: &[T],
        x: Input<'_, T>,
        da: &mut Rows<T>,
        grads: &mut [T],
        dx: Option<ArrayViewMut2<'_, T>>,
    ) {
        let Places { weights, bias, gain } = self.places();
        let rows = 0..x.rows();
        add_column_sums(da.view(rows.clone()), &mut grads[bias]);
        if let Some(norm) = &self.norm {
            let d_gain = &mut grads[gain.clone()];
            norm.backward(rows.clone(), &theta[gain], da.flat_mut(rows.clone()), d_gain);
        }
        let mut d_w_xh = matrix_mut(&mut grads[weights.clone()], self.input_size, self.width);
        match x {
            Input::Dense(x) => gemm_tn_acc(x, da.view(rows.clone()), d_w_xh),
            Input::Ids(ids) => {
                for (row, id) in ids.iter().enumerate() {
                    let mut sums = d_w_xh.row_mut(*id as usize);
                    axpy(T::ONE, da.row(row), sums.as_slice_mut().expect("rows are contiguous"));
                }
            }
        }
        if let Some(dx) = dx {
            gemm_nt(da.view(rows), matrix(&theta[weights], self.input_size, self.width), dx);
        }
    }
}
