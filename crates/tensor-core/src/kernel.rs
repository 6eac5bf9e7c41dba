//! The one kernel behind all matrix products: a tile of sums that stay in registers.
//!
//! Every output is a chain of fused multiply-adds over the inner index in order, one rounding each.
//! So its bits depend on nothing but its row of A and its column of B: not on the size of a tile, the
//! width of a vector, or who computes which part.

use crate::Real;
use crate::simd::Level;

/// Columns of B that lie packed side by side.
pub(crate) const PANEL: usize = 64;

/// What becomes of a finished sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// `C ← Σ`
    Overwrite,
    /// `C ← C + Σ`
    Add,
    /// The chain starts at C: `C ← C + a₀·b₀ + a₁·b₁ + …`
    Continue,
}

/// The rows of A in a product: element `(i, k)` lies at `i·row + k·step`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// The product of all rows of A with one panel of B.
#[derive(Debug)]
pub struct Product<'a, T> {
    pub(crate) a: Left<'a, T>,
    /// `[k, PANEL]`
    pub(crate) panel: &'a [T],
    /// Rows of A and of C.
    pub(crate) rows: usize,
    /// Starts at the panel's first column in the first row of C.
    pub(crate) c: &'a mut [T],
    /// From one row of C to the next.
    pub(crate) stride: usize,
    /// Columns of the panel in use.
    pub(crate) cols: usize,
    pub(crate) store: Store,
}

/// The definition; what any number type can do.
pub(crate) fn plain<T: Real>(product: Product<'_, T>) {
    let Product { a, panel, rows, c, stride, cols, store } = product;
    for i in 0..rows {
        let c = &mut c[i * stride..][..cols];
        let mut sums = [T::ZERO; PANEL];
        if store == Store::Continue {
            sums[..cols].copy_from_slice(c);
        }
        for (k, b) in panel.as_chunks::<PANEL>().0.iter().enumerate() {
            let scale = a.values[i * a.row + k * a.step];
            for (sum, b) in sums[..cols].iter_mut().zip(b) {
                *sum = scale.mul_add(*b, *sum);
            }
        }
        for (c, sum) in c.iter_mut().zip(sums) {
            *c = if store == Store::Add { *c + sum } else { sum };
        }
    }
}

/// Rows in a tile: six times four vectors of sums, four of B and one of A fill 32 registers.
const ROWS: usize = 6;

macro_rules! kernel {
    ($name:ident, $float:ident, $vector:ident) => {
        /// [`plain`] with vectors.
        pub(crate) fn $name(level: Level, product: Product<'_, $float>) {
            mod tiles {
                use fearless_simd::{Simd, SimdBase, SimdFloat};

                use super::{Left, PANEL, Product, ROWS, Store};

                #[inline(always)]
                pub fn all<S: Simd, const MOST: usize>(simd: S, product: Product<'_, $float>) {
                    let Product { a, panel, rows, c, stride, cols, store } = product;
                    let width = S::$vector::LEN;
                    // Rows spread evenly over as few tiles as will do.
                    let tiles = rows.div_ceil(ROWS);
                    for first in (0..cols).step_by(MOST * width) {
                        let cols = (cols - first).min(MOST * width);
                        let vectors = cols.div_ceil(width);
                        let mut done = 0;
                        for tile in 0..tiles {
                            let end = rows * (tile + 1) / tiles;
                            let values = a.values.get(done * a.row..).unwrap_or_default();
                            let at = At {
                                a: Left { values, ..a },
                                panel: panel.get(first..).unwrap_or_default(),
                                k: panel.len() / PANEL,
                                c: &mut c[done * stride + first..],
                                stride,
                                cols,
                                store,
                            };
                            pick::<S, MOST>(simd, end - done, vectors, at);
                            done = end;
                        }
                    }
                }

                /// One tile.
                struct At<'a> {
                    a: Left<'a, $float>,
                    panel: &'a [$float],
                    k: usize,
                    c: &'a mut [$float],
                    stride: usize,
                    cols: usize,
                    store: Store,
                }

                #[inline(always)]
                fn pick<S: Simd, const MOST: usize>(s: S, rows: usize, vectors: usize, at: At<'_>) {
                    match (rows, vectors) {
                        (1, 1) => tile::<S, 1, 1>(s, at),
                        (2, 1) => tile::<S, 2, 1>(s, at),
                        (3, 1) => tile::<S, 3, 1>(s, at),
                        (4, 1) => tile::<S, 4, 1>(s, at),
                        (5, 1) => tile::<S, 5, 1>(s, at),
                        (6, 1) => tile::<S, 6, 1>(s, at),
                        (1, 2) => tile::<S, 1, 2>(s, at),
                        (2, 2) => tile::<S, 2, 2>(s, at),
                        (3, 2) => tile::<S, 3, 2>(s, at),
                        (4, 2) => tile::<S, 4, 2>(s, at),
                        (5, 2) => tile::<S, 5, 2>(s, at),
                        (6, 2) => tile::<S, 6, 2>(s, at),
                        (1, 3) if 3 <= MOST => tile::<S, 1, 3>(s, at),
                        (2, 3) if 3 <= MOST => tile::<S, 2, 3>(s, at),
                        (3, 3) if 3 <= MOST => tile::<S, 3, 3>(s, at),
                        (4, 3) if 3 <= MOST => tile::<S, 4, 3>(s, at),
                        (5, 3) if 3 <= MOST => tile::<S, 5, 3>(s, at),
                        (6, 3) if 3 <= MOST => tile::<S, 6, 3>(s, at),
                        (1, 4) if 4 <= MOST => tile::<S, 1, 4>(s, at),
                        (2, 4) if 4 <= MOST => tile::<S, 2, 4>(s, at),
                        (3, 4) if 4 <= MOST => tile::<S, 3, 4>(s, at),
                        (4, 4) if 4 <= MOST => tile::<S, 4, 4>(s, at),
                        (5, 4) if 4 <= MOST => tile::<S, 5, 4>(s, at),
                        (6, 4) if 4 <= MOST => tile::<S, 6, 4>(s, at),
                        _ => unreachable!("a tile of {rows} rows and {vectors} vectors"),
                    }
                }

                #[inline(always)]
                fn tile<S: Simd, const R: usize, const V: usize>(simd: S, at: At<'_>) {
                    simd.vectorize(
                        #[inline(always)]
                        || {
                            let At { a, panel, k, c, stride, cols, store } = at;
                            let width = S::$vector::LEN;
                            let mut sums = [[S::$vector::splat(simd, 0.0); V]; R];
                            // A tile at the edge goes through a buffer of whole vectors.
                            let mut edge = [[0.0; PANEL]; R];
                            let whole = cols == V * width;
                            if store == Store::Continue {
                                for r in 0..R {
                                    let row = if whole {
                                        &c[r * stride..][..V * width]
                                    } else {
                                        edge[r][..cols].copy_from_slice(&c[r * stride..][..cols]);
                                        &edge[r][..V * width]
                                    };
                                    for v in 0..V {
                                        sums[r][v] = S::$vector::from_slice(
                                            simd,
                                            &row[v * width..][..width],
                                        );
                                    }
                                }
                            }
                            if a.step == 1 {
                                let rows: [_; R] =
                                    std::array::from_fn(|r| &a.values[r * a.row..][..k]);
                                for p in 0..k {
                                    let b = &panel[p * PANEL..][..V * width];
                                    let b: [_; V] = std::array::from_fn(|v| {
                                        S::$vector::from_slice(simd, &b[v * width..][..width])
                                    });
                                    for r in 0..R {
                                        let scale = S::$vector::splat(simd, rows[r][p]);
                                        for v in 0..V {
                                            sums[r][v] = scale.mul_add(b[v], sums[r][v]);
                                        }
                                    }
                                }
                            } else {
                                // Columns of A: what a tile needs at one step lies side by side.
                                for p in 0..k {
                                    let b = &panel[p * PANEL..][..V * width];
                                    let b: [_; V] = std::array::from_fn(|v| {
                                        S::$vector::from_slice(simd, &b[v * width..][..width])
                                    });
                                    let scales = &a.values[p * a.step..][..R];
                                    for r in 0..R {
                                        let scale = S::$vector::splat(simd, scales[r]);
                                        for v in 0..V {
                                            sums[r][v] = scale.mul_add(b[v], sums[r][v]);
                                        }
                                    }
                                }
                            }
                            for r in 0..R {
                                let row = &mut c[r * stride..][..cols];
                                if !whole {
                                    edge[r][..cols].copy_from_slice(row);
                                }
                                let out = if whole { &mut *row } else { &mut edge[r][..V * width] };
                                for v in 0..V {
                                    let out = &mut out[v * width..][..width];
                                    let sum = match store {
                                        Store::Add => {
                                            S::$vector::from_slice(simd, out) + sums[r][v]
                                        }
                                        _ => sums[r][v],
                                    };
                                    sum.store_slice(out);
                                }
                                if !whole {
                                    row.copy_from_slice(&edge[r][..cols]);
                                }
                            }
                        },
                    );
                }
            }

            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512(simd) => tiles::all::<_, 4>(simd, product),
                // Sixteen registers: six times two sums.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2(simd) => tiles::all::<_, 2>(simd, product),
                #[cfg(target_arch = "aarch64")]
                Level::Neon(simd) => tiles::all::<_, 4>(simd, product),
                Level::Plain => plain(product),
            }
        }
    };
}

kernel!(kernel_f32, f32, f32s);
kernel!(kernel_f64, f64, f64s);
