//! Matrix products over `ndarray` views: the plain kernels, one loop nest each.
//!
//! The names say what is transposed (`n` no, `t` yes) and whether the result is overwritten or
//! accumulated (`_acc`). Rows must be contiguous, as they are in every row-major matrix and every
//! block of rows of one.
//!
//! Orders of summation, on which bits depend: [`gemm`], [`gemm_acc`] and [`gemm_tn_acc`] add the
//! terms of each output in the order of the inner index, one rounding for each product and sum;
//! [`gemm_nt`] and [`gemm_nt_acc`] take each output as one [`dot`]. What accumulates adds the
//! finished sum, as min-char-rnn adds `np.dot(Whh, h)` to what the input gave.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};

use crate::Real;
use crate::reduce::dot;

/// `C ← A·B` with `A [m, k]`, `B [k, n]`, `C [m, n]`. Overwrites `C`.
///
/// # Panics
/// If shapes do not fit or rows are not contiguous.
#[track_caller]
pub fn gemm<T: Real>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, mut c: ArrayViewMut2<'_, T>) {
    c.fill(T::ZERO);
    gemm_acc(a, b, c);
}

/// `C ← C + A·B` with `A [m, k]`, `B [k, n]`, `C [m, n]`. Accumulates into `C`.
///
/// # Panics
/// If shapes do not fit or rows are not contiguous.
#[track_caller]
pub fn gemm_acc<T: Real>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, mut c: ArrayViewMut2<'_, T>) {
    assert_shapes("A·B", (a.dim(), (a.ncols(), b.nrows())), b.ncols(), a.nrows(), c.dim());
    for (a, mut c) in a.rows().into_iter().zip(c.rows_mut()) {
        add_combination(a, b, c.as_slice_mut().expect("rows of C are contiguous"));
    }
}

/// `C ← A·Bᵀ` with `A [m, k]`, `B [n, k]`, `C [m, n]`. Overwrites `C`.
///
/// # Panics
/// If shapes do not fit or rows are not contiguous.
#[track_caller]
pub fn gemm_nt<T: Real>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, mut c: ArrayViewMut2<'_, T>) {
    c.fill(T::ZERO);
    gemm_nt_acc(a, b, c);
}

/// `C ← C + A·Bᵀ` with `A [m, k]`, `B [n, k]`, `C [m, n]`. Accumulates into `C`.
///
/// # Panics
/// If shapes do not fit or rows are not contiguous.
#[track_caller]
pub fn gemm_nt_acc<T: Real>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    mut c: ArrayViewMut2<'_, T>,
) {
    assert_shapes("A·Bᵀ", (a.dim(), (a.ncols(), b.ncols())), b.nrows(), a.nrows(), c.dim());
    for (a, mut c) in a.rows().into_iter().zip(c.rows_mut()) {
        let a = a.to_slice().expect("rows of A are contiguous");
        for (b, c) in b.rows().into_iter().zip(c.iter_mut()) {
            *c += dot(a, b.to_slice().expect("rows of B are contiguous"));
        }
    }
}

/// `C ← C + Aᵀ·B` with `A [k, m]`, `B [k, n]`, `C [m, n]`. Accumulates into `C`.
///
/// # Panics
/// If shapes do not fit or rows are not contiguous.
#[track_caller]
pub fn gemm_tn_acc<T: Real>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    mut c: ArrayViewMut2<'_, T>,
) {
    assert_shapes("Aᵀ·B", (a.dim(), (a.nrows(), b.nrows())), b.ncols(), a.ncols(), c.dim());
    for (a, mut c) in a.columns().into_iter().zip(c.rows_mut()) {
        add_combination(a, b, c.as_slice_mut().expect("rows of C are contiguous"));
    }
}

/// `c ← c + Σ_k a[k]·B[k]`, the sum taken first, its terms in order.
fn add_combination<T: Real>(a: ArrayView1<'_, T>, b: ArrayView2<'_, T>, c: &mut [T]) {
    /// Columns whose sums stay in registers while B passes by.
    const BLOCK: usize = 32;
    for (block, c) in c.chunks_mut(BLOCK).enumerate() {
        let mut sums = [T::ZERO; BLOCK];
        for (scale, b) in a.iter().zip(b.rows()) {
            let b = b.to_slice().expect("rows of B are contiguous");
            axpy(*scale, &b[block * BLOCK..][..c.len()], &mut sums);
        }
        axpy(T::ONE, &sums, c);
    }
}

/// `out[j] ← out[j] + Σ_i A[i, j]`, the rows in order. Accumulates into `out`.
///
/// # Panics
/// If `out` is not as long as a row.
#[track_caller]
pub fn add_column_sums<T: Real>(a: ArrayView2<'_, T>, out: &mut [T]) {
    assert_eq!(a.ncols(), out.len(), "column sums of {:?} into {}", a.dim(), out.len());
    for row in a.rows() {
        for (out, value) in out.iter_mut().zip(row) {
            *out += *value;
        }
    }
}

/// Overwrites every row of `c` with `bias`.
///
/// # Panics
/// If `bias` is not as long as a row.
#[track_caller]
pub fn fill_rows<T: Real>(bias: &[T], mut c: ArrayViewMut2<'_, T>) {
    assert_eq!(c.ncols(), bias.len(), "rows of {:?} from {}", c.dim(), bias.len());
    for mut row in c.rows_mut() {
        row.as_slice_mut().expect("rows are contiguous").copy_from_slice(bias);
    }
}

/// `y ← y + scale·x`.
#[inline]
pub fn axpy<T: Real>(scale: T, x: &[T], y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * *x;
    }
}

#[track_caller]
fn assert_shapes(
    product: &str,
    (a, inner): ((usize, usize), (usize, usize)),
    cols: usize,
    rows: usize,
    c: (usize, usize),
) {
    assert!(
        inner.0 == inner.1 && c == (rows, cols),
        "{product}: A is {a:?}, inner sizes {} and {}, C is {c:?}, expected ({rows}, {cols})",
        inner.0,
        inner.1
    );
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2};
    use proptest::prelude::*;

    use super::*;

    /// The definition, with nothing shared with the kernels.
    fn naive(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, c: &Array2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(c.dim(), |(i, j)| {
            c[(i, j)] + (0..a.ncols()).map(|k| a[(i, k)] * b[(k, j)]).sum::<f64>()
        })
    }

    /// Small integers, so that every order of summation gives the same exact sum.
    fn integers(rows: usize, cols: usize, seed: i64) -> Array2<f64> {
        Array2::from_shape_fn((rows, cols), |(i, j)| {
            ((i as i64 * 31 + j as i64 * 17 + seed * 7) % 13 - 6) as f64
        })
    }

    proptest! {
        #[test]
        fn products_agree_with_their_definition(
            m in 0_usize..9, k in 0_usize..40, n in 0_usize..9, seed in 0_i64..50,
        ) {
            let (a, b, c) = (integers(m, k, seed), integers(k, n, seed + 1), integers(m, n, seed + 2));
            let (a_t, b_t) = (a.t().as_standard_layout().to_owned(), b.t().as_standard_layout().to_owned());
            let zero = Array2::zeros((m, n));

            let mut out = c.clone();
            gemm(a.view(), b.view(), out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &zero));

            let mut out = c.clone();
            gemm_acc(a.view(), b.view(), out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &c));

            let mut out = c.clone();
            gemm_nt(a.view(), b_t.view(), out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &zero));

            let mut out = c.clone();
            gemm_nt_acc(a.view(), b_t.view(), out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &c));

            let mut out = c.clone();
            gemm_tn_acc(a_t.view(), b.view(), out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &c));
        }

        /// Products of real numbers, within the usual bound `k·ε·|A|·|B|` of the exact sum.
        #[test]
        fn products_are_accurate(m in 1_usize..5, k in 1_usize..70, n in 1_usize..5, seed in 0_u32..99) {
            let value = |i: usize, j: usize| ((i * 71 + j * 29 + seed as usize * 13) as f64 * 0.7).sin();
            let a = Array2::from_shape_fn((m, k), |(i, j)| value(i, j) as f32);
            let b = Array2::from_shape_fn((n, k), |(i, j)| value(i + 100, j) as f32);
            let mut out = Array2::zeros((m, n));
            gemm_nt(a.view(), b.view(), out.view_mut());
            for ((i, j), out) in out.indexed_iter() {
                let exact: f64 = (0..k).map(|p| f64::from(a[(i, p)]) * f64::from(b[(j, p)])).sum();
                prop_assert!((f64::from(*out) - exact).abs() <= k as f64 * f64::from(f32::EPSILON));
            }
        }
    }

    #[test]
    fn column_sums_accumulate() {
        let mut out = [1.0, 10.0];
        add_column_sums(Array2::from(vec![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).view(), &mut out);
        assert_eq!(out, [10.0, 22.0]);
    }

    #[test]
    #[should_panic(expected = "A·B: A is (2, 3)")]
    fn a_wrong_shape_names_the_product() {
        gemm(integers(2, 3, 0).view(), integers(4, 2, 0).view(), Array2::zeros((2, 2)).view_mut());
    }
}
