//! Matrix products over `ndarray` views.
//!
//! The right-hand side is packed once and used many times: recurrent weights serve all steps of a
//! window. Matrices are row-major; rows of the left-hand side and of the result may lie apart, see
//! [`Strided`].
//!
//! Orders of summation, on which bits depend: every output is one chain of fused multiply-adds over
//! the inner index in order. [`gemm_acc`] adds the finished sum, as min-char-rnn adds
//! `np.dot(Whh, h)` to what the input gave, and [`gemm_bias`] adds it to the bias. A long [`gemm_tn`] into a small C
//! adds two chains, that of the first half of the rows and that of the second.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use crate::kernel::{self, Begin, Left, Pack, Product, Right, Store};
use crate::phase::{Phase, enter};
use crate::pool::Pool;
use crate::{Aligned, Real};

/// A right-hand side `B [k, n]`, laid out for the kernel: one panel of columns after the other, each
/// row by row.
#[derive(Debug)]
pub struct Packed<T> {
    /// As long as the largest matrix so far needs.
    values: Aligned<T>,
    k: usize,
    n: usize,
}

impl<T> Default for Packed<T> {
    /// A matrix without rows and columns; the first that is packed makes room for itself.
    fn default() -> Self {
        Self { values: Aligned::default(), k: 0, n: 0 }
    }
}

impl<T: Real> Packed<T> {
    /// Overwrites it with `b [k, n]`.
    ///
    /// # Panics
    /// If `b` is not contiguous.
    #[track_caller]
    pub fn pack(&mut self, b: ArrayView2<'_, T>, pool: &mut Pool) {
        let _phase = enter(Phase::Layout);
        self.lay_out(flat(&b, "B"), b.dim(), false, pool);
    }

    /// Overwrites it with the transpose of `b [n, k]`.
    ///
    /// # Panics
    /// If `b` is not contiguous.
    #[track_caller]
    pub fn pack_transposed(&mut self, b: ArrayView2<'_, T>, pool: &mut Pool) {
        let _phase = enter(Phase::Layout);
        self.lay_out(flat(&b, "B"), (b.ncols(), b.nrows()), true, pool);
    }

    /// Allocates only where it grows.
    fn lay_out(&mut self, b: &[T], (k, n): (usize, usize), is_transposed: bool, pool: &mut Pool) {
        (self.k, self.n) = (k, n);
        let grid = T::grid();
        let len = grid.len(k, n);
        let mut rest = self.values.first(len, T::ZERO);
        let panels = grid.panels(n).map(move |(first, cols)| {
            let to = rest.split_off_mut(..k * grid.stride(cols)).expect("room for each panel");
            Pack { b, k, n, is_transposed, first, cols, to }
        });
        pool.each(panels, T::pack);
    }
}

/// Number of values that a [`Packed`] of a matrix `[k, n]` holds: `n` counts in whole vectors.
pub fn packed_len<T: Real>(k: usize, n: usize) -> usize {
    T::grid().len(k, n)
}

/// A matrix whose rows lie `stride` apart: those of one time step, say, among those of a window.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T> {
    /// Starts with the first row; what follows the last one does not matter.
    pub values: &'a [T],
    /// Number of rows and columns.
    pub dim: (usize, usize),
    /// From one row to the next.
    pub stride: usize,
}

/// As [`Strided`], to be written.
#[derive(Debug)]
pub struct StridedMut<'a, T> {
    /// Starts with the first row; what lies between rows is left as it is.
    pub values: &'a mut [T],
    /// Number of rows and columns.
    pub dim: (usize, usize),
    /// From one row to the next.
    pub stride: usize,
}

impl<T> StridedMut<'_, T> {
    /// Some of its columns.
    ///
    /// # Panics
    /// If it has not as many.
    #[track_caller]
    pub fn columns(self, cols: Range<usize>) -> Self {
        assert!(cols.end <= self.dim.1, "columns {cols:?} of {}", self.dim.1);
        let dim = (self.dim.0, cols.len());
        Self { values: self.values.get_mut(cols.start..).unwrap_or_default(), dim, ..self }
    }
}

impl<'a, T: Real> From<ArrayView2<'a, T>> for Strided<'a, T> {
    #[track_caller]
    fn from(matrix: ArrayView2<'a, T>) -> Self {
        Self { values: flat(&matrix, "A"), dim: matrix.dim(), stride: matrix.ncols() }
    }
}

impl<'a, T: Real> From<ArrayViewMut2<'a, T>> for StridedMut<'a, T> {
    #[track_caller]
    fn from(matrix: ArrayViewMut2<'a, T>) -> Self {
        let (dim, stride) = (matrix.dim(), matrix.ncols());
        Self { values: matrix.into_slice().expect("C is contiguous"), dim, stride }
    }
}

/// Rows of A that are multiplied together: shares that hold a multiple of them waste no time.
pub const TILE: usize = kernel::ROWS;

/// `C ← A·B` with `A [m, k]`, `B [k, n]`, `C [m, n]`. Overwrites `C`.
///
/// # Panics
/// If shapes do not fit or a matrix is not contiguous.
#[inline(always)]
#[track_caller]
pub fn gemm<'a, 'c, T: Real>(
    a: impl Into<Strided<'a, T>>,
    b: &Packed<T>,
    c: impl Into<StridedMut<'c, T>>,
) {
    product(a.into(), b, c.into(), Store::Overwrite);
}

/// `C ← bias + A·B` with `A [m, k]`, `B [k, n]`, `bias [n]`, `C [m, n]`. Overwrites `C`.
///
/// # Panics
/// If shapes do not fit or a matrix is not contiguous.
#[inline(always)]
#[track_caller]
pub fn gemm_bias<'a, 'c, T: Real>(
    a: impl Into<Strided<'a, T>>,
    b: &Packed<T>,
    bias: &[T],
    c: impl Into<StridedMut<'c, T>>,
) {
    assert_eq!(bias.len(), b.n, "a bias for each column");
    product(a.into(), b, c.into(), Store::Bias(bias));
}

/// `C ← C + A·B` with `A [m, k]`, `B [k, n]`, `C [m, n]`. Adds to `C`.
///
/// # Panics
/// If shapes do not fit or a matrix is not contiguous.
#[inline(always)]
#[track_caller]
pub fn gemm_acc<'a, 'c, T: Real>(
    a: impl Into<Strided<'a, T>>,
    b: &Packed<T>,
    c: impl Into<StridedMut<'c, T>>,
) {
    product(a.into(), b, c.into(), Store::Add);
}

// Compiled where it is called from, as those above, or what it is given would be copied first: see `Product`.
#[inline(always)]
#[track_caller]
fn product<T: Real>(a: Strided<'_, T>, b: &Packed<T>, c: StridedMut<'_, T>, store: Store<'_, T>) {
    let (m, k) = a.dim;
    assert!(
        k == b.k && c.dim == (m, b.n),
        "A·B: A is {:?}, B ({}, {}), C {:?}",
        a.dim,
        b.k,
        b.n,
        c.dim
    );
    if m == 0 || b.n == 0 {
        return;
    }
    T::multiply(&mut Product {
        a: Left { values: a.values, first: 0, row: a.stride, step: 1 },
        b: Right { values: &b.values, k, n: b.n },
        rows: m,
        c: c.values,
        stride: c.stride,
        store,
    });
}

/// Rows of A and B that [`gemm_tn`] takes at a time, and most columns of B that it lays out at a time: few
/// enough to stay in a cache while all rows of C take them up. Miri has no time for so many.
const BLOCK: usize = if cfg!(miri) { 16 } else { 256 };
const COLS: usize = 2 * BLOCK;

/// From how many columns of C on a block of A is turned over: for each panel of them it is read once more,
/// and a column of a matrix takes a line of a cache for every value.
const OFTEN: usize = BLOCK;

/// From how many rows on [`gemm_tn`] sums their two halves apart, and of how large a C at the most: to add
/// the second sum must take no time beside making it.
const LONG: usize = 4 * BLOCK;
const SMALL: usize = 1 << 17;

/// `C ← Aᵀ·B` with `A [k, m]`, `B [k, n]` and `C [m, n]`. Overwrites `C`, and `scratch`, which grows as it
/// is needed. No bit depends on the number of threads.
///
/// # Panics
/// If shapes do not fit or a matrix is not contiguous.
#[track_caller]
pub fn gemm_tn<T: Real>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    mut c: ArrayViewMut2<'_, T>,
    scratch: &mut Aligned<T>,
    pool: &mut Pool,
) {
    let ((m, n), k) = (c.dim(), a.nrows());
    assert!(
        k == b.nrows() && (m, n) == (a.ncols(), b.ncols()),
        "Aᵀ·B: A is {:?}, B {:?}, C {:?}",
        a.dim(),
        b.dim(),
        c.dim()
    );
    assert!(c.is_standard_layout(), "C {:?} is not contiguous", c.dim());
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        c.fill(T::ZERO);
        return;
    }
    let (a, b) = ((flat(&a, "A"), m), (flat(&b, "B"), n));
    let Division { half, axis, each, cols, lens } = Division::of((m, k, n), pool.threads());
    let [of_a, of_b, of_c] = lens;
    let (sums, of_second) = if half < k { (2, (m, n)) } else { (1, (0, 0)) };
    let (len, len_of_second) = (of_a + of_b + of_c, of_second.0 * of_second.1);
    let shares = c.len_of(axis).div_ceil(each);
    let scratch = scratch.first(len_of_second + sums * shares * len, T::ZERO);
    let (second, scratch) = scratch.split_at_mut(len_of_second);
    {
        let mut second = ArrayViewMut2::from_shape(of_second, &mut *second).expect("as long");
        let shares_of_first = c.axis_chunks_iter_mut(axis, each).enumerate();
        let shares_of_second = second.axis_chunks_iter_mut(axis, each).enumerate();
        let all = shares_of_first.map(|share| (0..half, share));
        let all = all.chain(shares_of_second.map(|share| (half..k, share)));
        pool.each(all.zip(scratch.chunks_mut(len)), |((range, (share, mut c)), scratch)| {
            let (a, b) = (rows_of(a, &range), rows_of(b, &range));
            let (a_block, scratch) = scratch.split_at_mut(of_a);
            let (b_block, c_block) = scratch.split_at_mut(of_b);
            let (row, col) = if axis == Axis(0) { (share * each, 0) } else { (0, share * each) };
            for (block, c) in c.axis_chunks_iter_mut(Axis(1), cols).enumerate() {
                part(a, b, (row, col + block * cols), c, a_block, b_block, c_block);
            }
        });
    }
    add(second, c.as_slice_mut().expect("contiguous"));
}

/// How [`gemm_tn`] divides the rows of A and B, and C.
///
/// What another thread has written is slow to reach. So of two threads each gets half of the rows, which
/// are about those that it wrote. Of more, each gets a share of the longer side of C as well, for which
/// it lays out by itself what it needs of A and B.
struct Division {
    /// Rows whose sum is one chain; those after them, if any, are another.
    half: usize,
    /// So much of this side of C is a share.
    axis: Axis,
    each: usize,
    /// Columns of a share that are computed before the next ones.
    cols: usize,
    /// Values for which a share needs room: what is turned over of A, laid out of B, and summed of C where
    /// that is no slice.
    lens: [usize; 3],
}

impl Division {
    fn of((m, k, n): (usize, usize, usize), threads: usize) -> Self {
        let is_halved = LONG <= k && m * n <= SMALL;
        let shares = if is_halved && threads.is_multiple_of(2) { threads / 2 } else { threads };
        let is_tall = n < m;
        let (rows, cols) = if is_tall { (m.div_ceil(shares), n) } else { (m, n.div_ceil(shares)) };
        let cols = cols.next_multiple_of(WHOLE);
        let (axis, each) = if is_tall { (Axis(0), rows) } else { (Axis(1), cols) };
        let cols = COLS.min(cols);
        // Shares of a tall C would each turn over what all of them need.
        let is_turned = OFTEN <= cols && BLOCK <= k && !is_tall;
        let of_a = if is_turned { m * BLOCK } else { 0 };
        let half = if is_halved { k / 2 } else { k };
        Self { half, axis, each, cols, lens: [of_a, BLOCK.min(k) * cols, rows * cols] }
    }
}

/// Some rows of a matrix of `cols` columns.
fn rows_of<'a, T>((matrix, cols): (&'a [T], usize), rows: &Range<usize>) -> (&'a [T], usize) {
    (&matrix[rows.start * cols..rows.end * cols], cols)
}

/// Up to so many rows of C, B is laid out one panel at a time, and each is multiplied by all rows before the
/// next one takes its place: what the rows take of A is still in a cache then.
const NEAR: usize = 2 * BLOCK;

/// Columns of the widest vector.
const WHOLE: usize = 16;

/// As much of `Aᵀ·B` as `c` has, from a row and a column on. Rows of A are `m` long, those of B `n`.
/// Overwrites all the rest. Where `a_block` has room for it, A is turned over.
fn part<T: Real>(
    (a, m): (&[T], usize),
    (b, n): (&[T], usize),
    (row, col): (usize, usize),
    mut c: ArrayViewMut2<'_, T>,
    a_block: &mut [T],
    b_block: &mut [T],
    c_block: &mut [T],
) {
    let (grid, (rows, cols)) = (T::grid(), c.dim());
    // Columns among others are not a slice that is theirs alone, so the kernel gets one and it is copied
    // when all rows of A and B are through.
    let is_whole = c.is_standard_layout();
    for (block, (a, b)) in a.chunks(BLOCK * m).zip(b.chunks(BLOCK * n)).enumerate() {
        let k = b.len() / n;
        let store = if block == 0 { Store::Overwrite } else { Store::Continue };
        let (c, stride) = (c.as_slice_mut().unwrap_or(&mut *c_block), cols);
        let as_it_lies = Left { values: a, first: row, row: 1, step: m };
        // The last block, if it is shorter, is read as it lies.
        let turned = if k == BLOCK && !a_block.is_empty() {
            let (to, is_transposed) = (&mut *a_block, true);
            T::pack(Pack { b: a, k: m, n: k, is_transposed, first: 0, cols: k, to });
            Left { values: &*a_block, first: row, row: k, step: 1 }
        } else {
            as_it_lies
        };
        let together = if rows <= NEAR { grid } else { grid.undivided() };
        for (left, width) in together.panels(cols) {
            let mut done = 0;
            for (place, cols) in grid.panels(width) {
                let to = &mut b_block[place * k..][..k * grid.stride(cols)];
                let (first, is_transposed) = (col + left + place, false);
                let pack = Pack { b, k, n, is_transposed, first, cols, to };
                let c = &mut c[left + place..];
                done = T::begin(Begin { pack, a: as_it_lies, rows, c, stride, store });
            }
            if done < rows {
                T::multiply(&mut Product {
                    a: Left { first: row + done, ..turned },
                    b: Right { values: b_block, k, n: width },
                    rows: rows - done,
                    c: &mut c[done * stride + left..],
                    stride,
                    store,
                });
            }
        }
    }
    if !is_whole {
        for (block, mut c) in c_block.chunks_exact(cols).zip(c.rows_mut()) {
            c.as_slice_mut().expect("rows are contiguous").copy_from_slice(block);
        }
    }
}

#[track_caller]
fn flat<'a, T>(matrix: &ArrayView2<'a, T>, name: &str) -> &'a [T] {
    matrix.to_slice().unwrap_or_else(|| panic!("{name} {:?} is not contiguous", matrix.dim()))
}

/// `out[j] ← Σ_i A[i, j]`, the rows in order. Overwrites `out`.
///
/// # Panics
/// If `out` is not as long as a row, or `a` not contiguous.
#[track_caller]
pub fn column_sums<T: Real>(a: ArrayView2<'_, T>, out: &mut [T]) {
    assert_eq!(a.ncols(), out.len(), "column sums of {:?} into {}", a.dim(), out.len());
    T::vectorized(
        #[inline(always)]
        || {
            out.fill(T::ZERO);
            for row in flat(&a, "A").chunks_exact(out.len()) {
                for (out, value) in out.iter_mut().zip(row) {
                    *out += *value;
                }
            }
        },
    );
}

/// `y ← y + x`, entry by entry, as far as the shorter of them goes.
pub fn add<T: Real>(x: &[T], y: &mut [T]) {
    T::vectorized(
        #[inline(always)]
        || {
            for (y, x) in y.iter_mut().zip(x) {
                *y += *x;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2};
    use proptest::prelude::*;

    use super::*;
    use crate::Dual;
    use crate::kernel::{DEPTH, Grid, ROW_BLOCK, plain_pack};
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

    /// Real numbers, whose sums show any other order: bit for bit the plain kernel.
    fn levels_agree(
        (rows, k, n): (usize, usize, usize),
        by_columns: bool,
        store: usize,
        seed: u32,
    ) {
        let value = |i: usize| ((i * 71 + seed as usize * 13) as f64 * 0.7).sin();
        let a: Vec<f64> = (0..rows * k).map(value).collect();
        let b = Array2::from_shape_fn((k, n), |(i, j)| value(i * n + j + 5000));
        let c: Vec<f64> = (0..rows * (n + 3)).map(|i| value(i + 9000)).collect();
        let bias: Vec<f64> = (0..n).map(|i| value(i + 7000)).collect();
        let (row, step) = if by_columns { (1, rows) } else { (k, 1) };
        let b = b.as_slice().expect("contiguous");

        fn narrow(values: &[f64]) -> Vec<f32> {
            values.iter().map(|value| *value as f32).collect()
        }
        macro_rules! agree {
            ($kernel:path, $begin:path, $float:ident, $a:expr, $b:expr, $c:expr, $bias:expr) => {{
                let (a, b, c, bias) = ($a, $b, $c, $bias);
                let c_before = c.to_vec();
                let store =
                    [Store::Overwrite, Store::Add, Store::Bias(&bias), Store::Continue][store];
                let mut expected = None;
                for level in Level::all().into_iter().rev() {
                    let grid = Grid::of::<$float>(level);
                    let mut values = vec![0.0; grid.len(k, n)];
                    for (first, cols) in grid.panels(n) {
                        let to = &mut values[first * k..][..k * grid.stride(cols)];
                        let (b, is_transposed) = (&b[..], false);
                        plain_pack(grid, Pack { b, k, n, is_transposed, first, cols, to });
                    }
                    let mut found = c.to_vec();
                    $kernel(
                        level,
                        &mut Product {
                            a: Left { values: &a[..], first: 0, row, step },
                            b: Right { values: &values, k, n },
                            rows,
                            c: &mut found,
                            stride: n + 3,
                            store,
                        },
                    );
                    let expected = expected.get_or_insert_with(|| found.clone());
                    assert_eq!(&found, expected, "{}", level.name());
                    if !by_columns || !matches!(store, Store::Overwrite | Store::Continue) {
                        continue;
                    }
                    // What is computed while panels are laid out, and the panels.
                    let mut laid_out = vec![0.0; grid.len(k, n)];
                    let mut begun = c.to_vec();
                    for (first, cols) in grid.panels(n) {
                        let to = &mut laid_out[first * k..][..k * grid.stride(cols)];
                        let (b, is_transposed) = (&b[..], false);
                        let pack = Pack { b, k, n, is_transposed, first, cols, to };
                        let a = Left { values: &a[..], first: 0, row, step };
                        let (c, stride) = (&mut begun[first..], n + 3);
                        let done = $begin(level, Begin { pack, a, rows, c, stride, store });
                        for row in 0..rows {
                            let of = |c: &[$float]| c[row * (n + 3) + first..][..cols].to_vec();
                            let expected = if row < done { of(expected) } else { of(&c_before) };
                            assert_eq!(of(&begun), expected, "{} row {row}", level.name());
                        }
                    }
                    assert_eq!(laid_out, values, "{}", level.name());
                }
            }};
        }
        agree!(kernel::multiply_f64, kernel::begin_f64, f64, &a, b, &c, &bias[..]);
        let (a, b, c, bias) = (narrow(&a), narrow(b), narrow(&c), narrow(&bias));
        agree!(kernel::multiply_f32, kernel::begin_f32, f32, a, b, c, bias);
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

            let bias = integers(1, n, seed + 3);
            let mut out = c.clone();
            let from = bias.as_slice().expect("contiguous");
            gemm_bias(a.view(), &packed(b.view()), from, out.view_mut());
            let biased = bias.broadcast((m, n)).expect("one row").to_owned();
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &biased));

            let mut by_columns = Packed::default();
            by_columns.pack_transposed(transposed(&b).view(), &mut Pool::new(2));
            let mut out = c.clone();
            gemm(a.view(), &by_columns, out.view_mut());
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &zero));

            let mut out = Array2::from_elem((m, n), f64::NAN);
            let mut scratch = Aligned::default();
            gemm_tn(transposed(&a).view(), b.view(), out.view_mut(), &mut scratch, &mut Pool::new(2));
            prop_assert_eq!(&out, &naive(a.view(), b.view(), &zero));
        }

        #[test]
        fn every_level_gives_the_bits_of_the_plain_kernel(
            rows in 1_usize..15, k in 0_usize..40, n in 1_usize..200,
            by_columns: bool, store in 0_usize..4, seed in 0_u32..99,
        ) {
            levels_agree((rows, k, n), by_columns, store, seed);
        }

        #[test]
        fn every_level_packs_as_the_plain_kernel(
            k in 0_usize..40, n in 0_usize..150, is_transposed: bool,
        ) {
            macro_rules! agree {
                ($kernel:path, $float:ident) => {{
                    let b: Vec<_> = (0..k * n).map(|i| i as $float).collect();
                    for level in Level::all() {
                        let grid = Grid::of::<$float>(level);
                        for (first, cols) in grid.panels(n) {
                            let run = |with: &dyn Fn(Pack<'_, $float>)| {
                                let mut to = vec![-1.0; k * grid.stride(cols)];
                                with(Pack { b: &b, k, n, is_transposed, first, cols, to: &mut to });
                                to
                            };
                            let expected = run(&|pack| plain_pack(grid, pack));
                            prop_assert_eq!(run(&|pack| $kernel(level, pack)), expected);
                        }
                    }
                }};
            }
            agree!(kernel::pack_f64, f64);
            agree!(kernel::pack_f32, f32);
        }

        #[test]
        fn rows_that_lie_apart_give_the_product_of_their_matrix(
            m in 1_usize..9, k in 1_usize..20, n in 1_usize..90, gap in 0_usize..9,
        ) {
            let (a, b, c) = (integers(m, k, 1), integers(k, n, 2), integers(m, n, 3));
            let apart = |matrix: &Array2<f64>| {
                let mut wide = Array2::from_elem((m, matrix.ncols() + gap), f64::NAN);
                wide.slice_mut(ndarray::s![.., ..matrix.ncols()]).assign(matrix);
                wide.into_raw_vec_and_offset().0
            };
            let (wide_a, mut wide_c, mut expected) = (apart(&a), apart(&c), c.clone());
            let b = packed(b.view());
            gemm_acc(a.view(), &b, expected.view_mut());
            let strided = Strided { values: &wide_a, dim: (m, k), stride: k + gap };
            let values = &mut wide_c[..];
            gemm_acc(strided, &b, StridedMut { values, dim: (m, n), stride: n + gap });
            for (found, expected) in wide_c.chunks(n + gap).zip(expected.outer_iter()) {
                prop_assert_eq!(&found[..n], expected.to_slice().expect("contiguous"));
                prop_assert!(found[n..].iter().all(|between| between.is_nan()));
            }
        }
    }

    #[test]
    fn every_level_cuts_long_chains_and_many_rows_without_a_trace() {
        let (rows, n) = if cfg!(miri) { (7, 9) } else { (ROW_BLOCK + 4, 70) };
        for store in 0..4 {
            levels_agree((rows, 2 * DEPTH + 7, n), false, store, 1);
            levels_agree((7, DEPTH + 1, n), true, store, 2);
        }
    }

    #[test]
    fn matrices_of_several_blocks_each_way_give_their_product() {
        let mut scratch = Aligned::default();
        let more = BLOCK + 4;
        // Several blocks of B's rows, of its columns, of rows of few columns, of C's rows; and several panels of B,
        // used up one by one, and all together.
        let shapes = if cfg!(miri) {
            [
                (2, more, 40),
                (2, 3, 2 * COLS + 9),
                (2, 2 * BLOCK + 8, 5),
                (ROW_BLOCK + 4, more, 3),
                (NEAR, more, 70),
                (NEAR + 1, more, 50),
            ]
        } else {
            [
                (53, more, 300),
                (5, 30, 2 * COLS + 9),
                (49, 2 * BLOCK + 8, 5),
                (150, more, 40),
                (NEAR, more, NEAR + 79),
                (NEAR + 9, more, 150),
            ]
        };
        for (m, k, n) in shapes {
            let (a, b) = (integers(m, k, 1), integers(k, n, 2));
            let expected = naive(a.view(), b.view(), &Array2::zeros((m, n)));
            for threads in [1, 3] {
                let (mut out, mut pool) = (Array2::from_elem((m, n), f64::NAN), Pool::new(threads));
                let at = transposed(&a);
                gemm_tn(at.view(), b.view(), out.view_mut(), &mut scratch, &mut pool);
                assert_eq!(out, expected);
            }
            let c = integers(m, n, 3);
            let mut out = c.clone();
            gemm_acc(a.view(), &packed(b.view()), out.view_mut());
            assert_eq!(out, expected + c);
        }
    }

    /// Of real numbers, which show any other order: that of the definition, whoever sums what.
    #[test]
    fn many_rows_are_summed_in_two_halves_by_any_number_of_threads() {
        let chain = |a: &Array2<f32>, b: &Array2<f32>, rows: Range<usize>, (i, j)| {
            rows.fold(0.0, |sum, k| f32::mul_add(a[(k, i)], b[(k, j)], sum))
        };
        let value = |i: usize| ((i * 71) as f32 * 0.7).sin();
        // Wide, tall, too few rows, and more values than are halved.
        let few = [(LONG + 5, (7, 20)), (LONG, (20, 7))];
        let more = [(LONG + 5, (20, 70)), (LONG, (40, 18)), (LONG - 1, (9, 9)), (LONG, (300, 500))];
        for &(k, (m, n)) in if cfg!(miri) { &few[..] } else { &more } {
            let a = Array2::from_shape_fn((k, m), |(i, j)| value(i * m + j));
            let b = Array2::from_shape_fn((k, n), |(i, j)| value(i * n + j + 777));
            let half = if LONG <= k && m * n <= SMALL { k / 2 } else { k };
            let expected = Array2::from_shape_fn((m, n), |at| {
                let first = chain(&a, &b, 0..half, at);
                if half < k { first + chain(&a, &b, half..k, at) } else { first }
            });
            for threads in [1, 2, 3, 4] {
                let mut out = Array2::from_elem((m, n), f32::NAN);
                let (mut scratch, mut pool) = (Aligned::default(), Pool::new(threads));
                gemm_tn(a.view(), b.view(), out.view_mut(), &mut scratch, &mut pool);
                assert_eq!(out, expected, "{m} by {k} by {n}, {threads} threads");
            }
        }
    }

    #[test]
    fn a_product_of_dual_numbers_carries_the_derivative_of_the_product() {
        // A' and B' stand in the derivatives: (A·B)' = A'·B + A·B'.
        let (a, da) = (integers(3, 5, 1), integers(3, 5, 2));
        let (b, db) = (integers(5, 4, 3), integers(5, 4, 4));
        let dual = |value: &Array2<f64>, derivative: &Array2<f64>| {
            Array2::from_shape_fn(value.dim(), |at| Dual {
                value: value[at],
                derivative: derivative[at],
            })
        };
        let mut panel = Packed::default();
        panel.pack(dual(&b, &db).view(), &mut Pool::new(1));
        let mut c = Array2::from_elem((3, 4), Dual::default());
        gemm(dual(&a, &da).view(), &panel, c.view_mut());
        let none = Array2::zeros((3, 4));
        let product = naive(a.view(), b.view(), &none);
        let derivative = naive(a.view(), db.view(), &naive(da.view(), b.view(), &none));
        assert_eq!(c.mapv(|c| c.value), product);
        assert_eq!(c.mapv(|c| c.derivative), derivative);
    }

    #[test]
    fn a_product_can_fill_some_columns() {
        let (a, b) = (integers(3, 4, 1), integers(4, 5, 2));
        let mut c = Array2::from_elem((3, 9), f64::NAN);
        let values = c.as_slice_mut().expect("contiguous");
        let whole = StridedMut { values, dim: (3, 9), stride: 9 };
        gemm(a.view(), &packed(b.view()), whole.columns(2..7));
        let expected = naive(a.view(), b.view(), &Array2::zeros((3, 5)));
        assert_eq!(c.slice(ndarray::s![.., 2..7]), expected);
        assert!(c.slice(ndarray::s![.., ..2]).iter().all(|c| c.is_nan()));
        assert!(c.slice(ndarray::s![.., 7..]).iter().all(|c| c.is_nan()));
    }

    #[test]
    fn packed_len_is_what_a_packed_matrix_takes() {
        for (k, n) in [(1, 1), (3, 5), (7, 64), (2, 65), (5, 200)] {
            let packed = packed(integers(k, n, 0).view());
            assert_eq!(packed.values.len(), packed_len::<f64>(k, n));
            assert!(k * n <= packed_len::<f64>(k, n));
        }
    }

    #[test]
    fn vectors_add_as_far_as_the_shorter_goes() {
        let mut y = [1.0, 10.0, 100.0];
        add(&[2.0, 3.0], &mut y);
        assert_eq!(y, [3.0, 13.0, 100.0]);
    }

    #[test]
    fn column_sums_overwrite() {
        let mut out = [f64::NAN; 2];
        column_sums(Array2::from(vec![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).view(), &mut out);
        assert_eq!(out, [9.0, 12.0]);
    }

    #[test]
    #[should_panic(expected = "A·B: A is (2, 3)")]
    fn a_wrong_shape_names_the_product() {
        let b = packed(integers(4, 2, 0).view());
        gemm(integers(2, 3, 0).view(), &b, Array2::zeros((2, 2)).view_mut());
    }
}
