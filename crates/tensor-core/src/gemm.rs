//! Matrix products over `ndarray` views.
//!
//! The right-hand side is packed once and used many times: recurrent weights serve all steps of a
//! window. Matrices are row-major and contiguous.
//!
//! Orders of summation, on which bits depend: every output is one chain of fused multiply-adds over
//! the inner index in order. [`gemm_acc`] adds the finished sum, as min-char-rnn adds
//! `np.dot(Whh, h)` to what the input gave; in [`gemm_tn_acc`] the chain starts at what is there.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::Real;
use crate::kernel::{Left, PANEL, Product, Store};
use crate::pool::Pool;

/// A right-hand side `B [k, n]`, laid out for the kernel: panels of 64 columns, row by row, the last
/// one filled up with zeros.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    values: Vec<T>,
    k: usize,
    n: usize,
}

impl<T> Default for Packed<T> {
    /// A matrix without rows and columns; the first that is packed makes room for itself.
    fn default() -> Self {
        Self { values: Vec::new(), k: 0, n: 0 }
    }
}

impl<T: Real> Packed<T> {
    /// Overwrites it with `b [k, n]`.
    ///
    /// # Panics
    /// If `b` is not contiguous.
    #[track_caller]
    pub fn pack(&mut self, b: ArrayView2<'_, T>, pool: &mut Pool) {
        self.resize(b.nrows(), b.ncols());
        let b = flat(&b, "B");
        pool.each(self.panels_mut(), |panel| panel.pack(b));
    }

    /// Overwrites it with the transpose of `b [n, k]`.
    ///
    /// # Panics
    /// If `b` is not contiguous.
    #[track_caller]
    pub fn pack_transposed(&mut self, b: ArrayView2<'_, T>, pool: &mut Pool) {
        self.resize(b.ncols(), b.nrows());
        let b = flat(&b, "B");
        pool.each(self.panels_mut(), |panel| panel.pack_transposed(b));
    }

    /// Allocates only where it grows. What fills up the last panel has to be zero.
    fn resize(&mut self, k: usize, n: usize) {
        if (self.k, self.n) != (k, n) {
            self.values.clear();
            self.values.resize(k * n.div_ceil(PANEL) * PANEL, T::ZERO);
            (self.k, self.n) = (k, n);
        }
    }

    fn panels_mut(&mut self) -> impl Iterator<Item = Panel<'_, T>> + Send {
        let (k, n) = (self.k, self.n);
        let panels = self.values.chunks_exact_mut((k * PANEL).max(1)).enumerate();
        panels.map(move |(index, values)| {
            let first = index * PANEL;
            Panel { values, k, n, cols: first..n.min(first + PANEL) }
        })
    }
}

/// Some columns of a [`Packed`], row by row.
struct Panel<'a, T> {
    values: &'a mut [T],
    k: usize,
    n: usize,
    cols: Range<usize>,
}

impl<T: Real> Panel<'_, T> {
    fn pack(self, b: &[T]) {
        for (row, b) in self.values.chunks_exact_mut(PANEL).zip(b.chunks_exact(self.n)) {
            row[..self.cols.len()].copy_from_slice(&b[self.cols.clone()]);
        }
    }

    fn pack_transposed(self, b: &[T]) {
        /// Rows written side by side, so that what is read is whole cache lines.
        const BLOCK: usize = 16;
        let b = &b[self.cols.start * self.k..self.cols.end * self.k];
        for (block, rows) in self.values.chunks_mut(BLOCK * PANEL).enumerate() {
            for (col, b) in b.chunks_exact(self.k).enumerate() {
                let b = &b[block * BLOCK..];
                for (row, b) in rows.chunks_exact_mut(PANEL).zip(b) {
                    row[col] = *b;
                }
            }
        }
    }
}

/// `C ← A·B` with `A [m, k]`, `B [k, n]`, `C [m, n]`. Overwrites `C`.
///
/// # Panics
/// If shapes do not fit or a matrix is not contiguous.
#[track_caller]
pub fn gemm<T: Real>(a: ArrayView2<'_, T>, b: &Packed<T>, c: ArrayViewMut2<'_, T>) {
    product(a, b, c, Store::Overwrite);
}

/// `C ← C + A·B` with `A [m, k]`, `B [k, n]`, `C [m, n]`. Adds to `C`.
///
/// # Panics
/// If shapes do not fit or a matrix is not contiguous.
#[track_caller]
pub fn gemm_acc<T: Real>(a: ArrayView2<'_, T>, b: &Packed<T>, c: ArrayViewMut2<'_, T>) {
    product(a, b, c, Store::Add);
}

#[track_caller]
fn product<T: Real>(
    a: ArrayView2<'_, T>,
    b: &Packed<T>,
    mut c: ArrayViewMut2<'_, T>,
    store: Store,
) {
    let (m, k, n) = (a.nrows(), b.k, b.n);
    assert!(
        a.ncols() == k && c.dim() == (m, n),
        "A·B: A is {:?}, B ({k}, {n}), C {:?}",
        a.dim(),
        c.dim()
    );
    if m == 0 || n == 0 {
        return;
    }
    let a = Left { values: flat(&a, "A"), row: k, step: 1 };
    let c = flat_mut(&mut c);
    for first in (0..n).step_by(PANEL) {
        T::multiply(Product {
            a,
            panel: &b.values[first * k..][..k * PANEL],
            rows: m,
            c: &mut c[first..],
            stride: n,
            cols: PANEL.min(n - first),
            store,
        });
    }
}

/// `C ← C + Aᵀ·B` with `A [k, m]`, `B [k, n]`, and `C` those of its rows that begin at `first`.
/// Every chain starts at `C`.
///
/// # Panics
/// If shapes do not fit or a matrix is not contiguous.
#[track_caller]
pub fn gemm_tn_acc<T: Real>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    c: ArrayViewMut2<'_, T>,
    first: usize,
) {
    assert!(
        a.nrows() == b.nrows() && first + c.nrows() <= a.ncols() && c.ncols() == b.ncols(),
        "Aᵀ·B: A is {:?}, B {:?}, C {:?} from {first}",
        a.dim(),
        b.dim(),
        c.dim()
    );
    // What is packed at a time. A small one costs little to set up.
    if a.nrows() <= 32 {
        product_tn::<32, T>(a, b, c, first);
    } else {
        product_tn::<256, T>(a, b, c, first);
    }
}

#[track_caller]
fn product_tn<const BLOCK: usize, T: Real>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    mut c: ArrayViewMut2<'_, T>,
    first: usize,
) {
    let (k, m, (rows, n)) = (a.nrows(), a.ncols(), c.dim());
    if rows == 0 || n == 0 {
        return;
    }
    let (a, b, c) = (flat(&a, "A"), flat(&b, "B"), flat_mut(&mut c));
    let mut packed = [[T::ZERO; PANEL]; BLOCK];
    for begin in (0..k).step_by(BLOCK) {
        let len = BLOCK.min(k - begin);
        for col in (0..n).step_by(PANEL) {
            let cols = PANEL.min(n - col);
            for (row, b) in packed.iter_mut().zip(b[begin * n..].chunks_exact(n).take(len)) {
                row[..cols].copy_from_slice(&b[col..][..cols]);
            }
            T::multiply(Product {
                a: Left { values: &a[begin * m + first..], row: 1, step: m },
                panel: packed[..len].as_flattened(),
                rows,
                c: &mut c[col..],
                stride: n,
                cols,
                store: Store::Continue,
            });
        }
    }
}

#[track_caller]
fn flat<'a, T>(matrix: &ArrayView2<'a, T>, name: &str) -> &'a [T] {
    matrix.to_slice().unwrap_or_else(|| panic!("{name} {:?} is not contiguous", matrix.dim()))
}

#[track_caller]
fn flat_mut<'a, T>(matrix: &'a mut ArrayViewMut2<'_, T>) -> &'a mut [T] {
    matrix.as_slice_mut().expect("C is contiguous")
}

/// `out[j] ← out[j] + Σ_i A[i, j]`, the rows in order. Accumulates into `out`.
///
/// # Panics
/// If `out` is not as long as a row, or `a` not contiguous.
#[track_caller]
pub fn add_column_sums<T: Real>(a: ArrayView2<'_, T>, out: &mut [T]) {
    assert_eq!(a.ncols(), out.len(), "column sums of {:?} into {}", a.dim(), out.len());
    T::vectorized(
        #[inline(always)]
        || {
            for row in flat(&a, "A").chunks_exact(out.len()) {
                for (out, value) in out.iter_mut().zip(row) {
                    *out += *value;
                }
            }
        },
    );
}

/// `y ← y + x`.
#[inline]
pub fn add<T: Real>(x: &[T], y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += *x;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2};
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::plain;
    use crate::simd::Level;

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

    fn packed(b: ArrayView2<'_, f64>) -> Packed<f64> {
        let mut packed = Packed::default();
        packed.pack(b, &mut Pool::default());
        packed
    }

    fn transposed(a: &Array2<f64>) -> Array2<f64> {
        a.t().as_standard_layout().to_owned()
    }

    proptest! {
        #[test]
        fn products_agree_with_their_definition(
            // More columns than a panel has, too.
            m in 0_usize..20, k in 0_usize..40, n in 0_usize..150, seed in 0_i64..50,
        ) {
            let (a, b, c) = (integers(m, k, seed), integers(k, n, seed + 1), integers(m, n, seed + 2));
            let zero = Array2::zeros((m, n));

            let mut out = c.clone();
            gemm(a.view(), &packed(b.view()), out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &zero));

            let mut out = c.clone();
            gemm_acc(a.view(), &packed(b.view()), out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &c));

            let mut by_columns = Packed::default();
            by_columns.pack_transposed(transposed(&b).view(), &mut Pool::new(2));
            let mut out = c.clone();
            gemm(a.view(), &by_columns, out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &zero));

            let mut out = c.clone();
            let half = m / 2;
            let (mut upper, mut lower) = out.view_mut().split_at(ndarray::Axis(0), half);
            gemm_tn_acc(transposed(&a).view(), b.view(), upper.view_mut(), 0);
            gemm_tn_acc(transposed(&a).view(), b.view(), lower.view_mut(), half);
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &c));
        }

        /// Real numbers, whose sums show any other order: bit for bit the plain kernel.
        #[test]
        fn every_level_gives_the_bits_of_the_plain_kernel(
            rows in 1_usize..15, k in 0_usize..70, cols in 1_usize..=PANEL, by_columns: bool,
            store in prop::sample::select(vec![Store::Overwrite, Store::Add, Store::Continue]),
            seed in 0_u32..99,
        ) {
            let value = |i: usize| ((i * 71 + seed as usize * 13) as f64 * 0.7).sin();
            let a: Vec<f64> = (0..rows * k).map(value).collect();
            let panel: Vec<f64> = (0..k * PANEL).map(|i| value(i + 5000)).collect();
            let c: Vec<f64> = (0..rows * (cols + 3)).map(|i| value(i + 9000)).collect();
            let (row, step) = if by_columns { (1, rows) } else { (k, 1) };

            fn narrow(values: &[f64]) -> Vec<f32> {
                values.iter().map(|value| *value as f32).collect()
            }
            macro_rules! agree {
                ($kernel:path, $a:expr, $panel:expr, $c:expr) => {{
                    let (a, panel, c) = ($a, $panel, $c);
                    let run = |c: &mut [_], with: &dyn Fn(Product<'_, _>)| {
                        let a = Left { values: &*a, row, step };
                        with(Product { a, panel: &*panel, rows, c, stride: cols + 3, cols, store });
                    };
                    let mut expected = c.to_vec();
                    run(&mut expected, &plain);
                    for level in Level::all() {
                        let mut found = c.to_vec();
                        run(&mut found, &|product| $kernel(level, product));
                        prop_assert_eq!(&found, &expected, "{}", level.name());
                    }
                }};
            }
            agree!(crate::kernel::kernel_f64, &a, &panel, &c);
            agree!(crate::kernel::kernel_f32, narrow(&a), narrow(&panel), narrow(&c));
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
        let b = packed(integers(4, 2, 0).view());
        gemm(integers(2, 3, 0).view(), &b, Array2::zeros((2, 2)).view_mut());
    }
}
