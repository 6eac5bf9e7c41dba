//! What a layer makes of its inputs for the whole window at once: `a = x·W_xh + b_h`.

use std::ops::Range;

use ndarray::ArrayView2;
use tensor_core::gemm::{Packed, add, gemm, gemm_bias, gemm_tn};
use tensor_core::phase::{Phase, enter};
use tensor_core::pool::Pool;
use tensor_core::{Aligned, Real, Shape, Tensor};

use crate::norm::{Norm, NormMut};
use crate::view::{RowsMut, matrix, matrix_mut};
use crate::{Dims, Input, LayerOptions};

/// The input projection, with the result of the product normalized if wanted.
pub(crate) struct Projection<T> {
    input_size: usize,
    gates: &'static [&'static str],
    width: usize,
    /// Normalizes `x·W_xh`.
    norm: Option<Norm<T>>,
    /// `W_xh` and its transpose, if the inputs are vectors: of a character a row is picked.
    w_xh: Packed<T>,
    w_xh_t: Packed<T>,
}

impl<T: Real> Projection<T> {
    pub fn new(gates: &'static [&'static str], dims: Dims, options: LayerOptions) -> Self {
        let width = gates.len() * dims.hidden_size;
        let norm = options.layer_norm.then(|| Norm::new(dims.seq_len * dims.batch_size, width));
        let input_size = dims.input_size;
        let (w_xh, w_xh_t) = (Packed::default(), Packed::default());
        Self { input_size, gates, width, norm, w_xh, w_xh_t }
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
        self.weights().end + self.n_vectors()
    }

    /// Number of parameters behind the weights: bias and gain.
    pub fn n_vectors(&self) -> usize {
        if self.norm.is_some() { 2 * self.width } else { self.width }
    }

    /// Number of values kept.
    pub fn tape_len(&self) -> usize {
        self.norm.as_ref().map_or(0, Norm::len)
    }

    fn weights(&self) -> Range<usize> {
        0..self.input_size * self.width
    }

    /// Lays out the weights for [`Part::forward`].
    pub fn pack(&mut self, theta: &[T], x: Input<'_, T>, pool: &mut Pool) {
        if let Input::Dense(_) = x {
            let weights = matrix(&theta[self.weights()], self.input_size, self.width);
            self.w_xh.pack(weights, pool);
        }
    }

    /// Lays out the weights for [`Part::backward`].
    pub fn pack_transposed(&mut self, theta: &[T], x: Input<'_, T>, pool: &mut Pool) {
        if let Input::Dense(_) = x {
            let weights = matrix(&theta[self.weights()], self.input_size, self.width);
            self.w_xh_t.pack_transposed(weights, pool);
        }
    }

    /// What all parts share, and the tape of the first `rows` rows.
    pub fn split<'a>(
        &'a mut self,
        theta: &'a [T],
        rows: usize,
    ) -> (Part<'a, T>, Option<NormMut<'a, T>>) {
        let weights = self.weights();
        let (bias, gain) = theta[weights.end..][..self.n_vectors()].split_at(self.width);
        let Self { norm, w_xh, w_xh_t, .. } = self;
        let part = Part { weights: &theta[weights], bias, gain, w_xh, w_xh_t };
        (part, norm.as_mut().map(|norm| norm.part_mut(rows)))
    }

    /// Overwrites the weights' places in `grads` with the gradient by them, from that by `a`; and `scratch`.
    pub fn weight_gradient(
        &self,
        x: Input<'_, T>,
        da: ArrayView2<'_, T>,
        grads: &mut [T],
        scratch: &mut Aligned<T>,
        pool: &mut Pool,
    ) {
        let _phase = enter(Phase::WeightGradients);
        let grads = &mut grads[self.weights()];
        match x {
            Input::Dense(x) => weight_gradient(x, da, grads, scratch, pool),
            Input::Ids(ids) => {
                let da = da.to_slice().expect("rows are contiguous");
                // Each thread has characters of its own.
                let each = self.input_size.div_ceil(4 * pool.threads()).max(1);
                let each = if pool.threads() == 1 { self.input_size } else { each };
                let chunks = grads.chunks_mut(each * self.width).enumerate();
                pool.each(chunks, |(chunk, grads)| {
                    let own = chunk * each..(chunk + 1) * each;
                    grads.fill(T::ZERO);
                    for (id, da) in ids.iter().zip(da.chunks_exact(self.width)) {
                        if own.contains(&(*id as usize)) {
                            let row = (*id as usize - own.start) * self.width;
                            add(da, &mut grads[row..][..self.width]);
                        }
                    }
                });
            }
        }
    }
}

/// `grads ← xᵀ·da`. Overwrites `scratch`.
pub(crate) fn weight_gradient<T: Real>(
    x: ArrayView2<'_, T>,
    da: ArrayView2<'_, T>,
    grads: &mut [T],
    scratch: &mut Aligned<T>,
    pool: &mut Pool,
) {
    let _phase = enter(Phase::WeightGradients);
    gemm_tn(x, da, matrix_mut(grads, x.ncols(), da.ncols()), scratch, pool);
}

/// What the projection of any rows of a window needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a, T> {
    weights: &'a [T],
    bias: &'a [T],
    /// Empty without a norm.
    gain: &'a [T],
    w_xh: &'a Packed<T>,
    w_xh_t: &'a Packed<T>,
}

impl<T: Real> Part<'_, T> {
    /// Number of bias and gain together.
    pub fn n_vectors(&self) -> usize {
        self.bias.len() + self.gain.len()
    }

    /// The weights of a character.
    fn row_of(&self, id: u32) -> &[T] {
        &self.weights[id as usize * self.bias.len()..][..self.bias.len()]
    }

    /// Overwrites `a`, the rows that belong to `x`.
    pub fn forward(
        &self,
        x: Input<'_, T>,
        a: &mut RowsMut<'_, T>,
        norm: Option<&mut NormMut<'_, T>>,
    ) {
        let _phase = enter(Phase::Input);
        match (norm, x) {
            (None, Input::Ids(ids)) => {
                T::vectorized(
                    #[inline(always)]
                    || {
                        for (row, id) in ids.iter().enumerate() {
                            let a = a.row_mut(row).iter_mut();
                            for ((a, w), b) in a.zip(self.row_of(*id)).zip(self.bias) {
                                *a = *b + *w;
                            }
                        }
                    },
                );
            }
            (None, Input::Dense(x)) => {
                gemm_bias(x, self.w_xh, self.bias, a.all_mut());
            }
            (Some(norm), x) => {
                match x {
                    Input::Dense(x) => gemm(x, self.w_xh, a.all_mut()),
                    Input::Ids(ids) => {
                        for (row, id) in ids.iter().enumerate() {
                            a.row_mut(row).copy_from_slice(self.row_of(*id));
                        }
                    }
                }
                for row in 0..x.rows() {
                    norm.forward(row, self.gain, a.row_mut(row));
                    add(self.bias, a.row_mut(row));
                }
            }
        }
    }

    /// Accumulates into `d_vectors`, the gradient by bias and gain. Where the product is normalized,
    /// overwrites `da` with the gradient by it.
    pub fn backward_row(
        &self,
        row: usize,
        da: &mut [T],
        norm: Option<&mut NormMut<'_, T>>,
        d_vectors: &mut [T],
    ) {
        let (d_bias, d_gain) = d_vectors.split_at_mut(self.bias.len());
        add(da, d_bias);
        if let Some(norm) = norm {
            norm.backward(row, self.gain, da, d_gain);
        }
    }

    /// Overwrites `dx` with the gradient by the inputs.
    pub fn dx(&self, da: &RowsMut<'_, T>, mut dx: RowsMut<'_, T>) {
        let _phase = enter(Phase::InputBackward);
        gemm(da.all(), self.w_xh_t, dx.all_mut());
    }
}
