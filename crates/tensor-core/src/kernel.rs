//! The kernel behind all matrix products: a tile of sums that stay in registers.
//!
//! Every output is a chain of fused multiply-adds over the inner index in order, one rounding each.
//! So its bits depend on nothing but its row of A and its column of B: not on the size of a tile, the
//! width of a vector, or who computes which part. [`plain`] is the definition; the vectors give its
//! bits.

use crate::Real;
use crate::simd::Level;

/// How the columns of B are laid out: in panels of `most` vectors of `width` columns, a panel's rows
/// one after the other, so that a tile reads one place in memory after the other.
///
/// Only the first panel may have fewer vectors, and only the last one a vector that is not full. That
/// one begins earlier and overlaps its neighbour: vector `v` of a panel holds the columns from
/// `min(v·width, cols - width)` on. So a tile never has to look at the edge of B.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    width: usize,
    most: usize,
}

/// Most columns of a panel.
pub(crate) const WIDEST: usize = 64;

impl Grid {
    /// What suits a level's registers: six rows of a panel's sums, a row of B and a value of A.
    pub(crate) fn of<T>(level: Level) -> Self {
        let (bytes, most) = match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => (64, 4),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => (32, 2),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => (16, 4),
            Level::Plain => return Self { width: 1, most: WIDEST },
        };
        Self { width: bytes / size_of::<T>(), most }
    }

    /// The same with a single panel for all columns.
    pub fn undivided(self) -> Self {
        Self { most: isize::MAX as usize, ..self }
    }

    /// From one row of a panel of `cols` columns to the next.
    pub fn stride(self, cols: usize) -> usize {
        cols.next_multiple_of(self.width)
    }

    /// Number of values of a matrix of `k` rows and `n` columns.
    pub fn len(self, k: usize, n: usize) -> usize {
        k * self.stride(n)
    }

    /// First column and number of columns of each panel.
    #[inline(always)]
    pub fn panels(self, n: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let Self { width, most } = self;
        let vectors = n.div_ceil(width);
        let head = (vectors + most - 1) % most + 1;
        (0..vectors.div_ceil(most)).map(move |panel| {
            let first = if panel == 0 { 0 } else { (head + (panel - 1) * most) * width };
            let end = (head + panel * most) * width;
            (first, end.min(n) - first)
        })
    }
}

/// One panel to be laid out.
#[derive(Debug)]
pub struct Pack<'a, T> {
    /// `[k, n]`, or `[n, k]` if it is to be turned over.
    pub(crate) b: &'a [T],
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) is_transposed: bool,
    /// The panel's columns of B, `first..first + cols`.
    pub(crate) first: usize,
    pub(crate) cols: usize,
    /// Overwritten.
    pub(crate) to: &'a mut [T],
}

/// The definition of a panel.
pub(crate) fn plain_pack<T: Copy>(grid: Grid, pack: Pack<'_, T>) {
    let Pack { b, k, n, is_transposed, first, cols, to } = pack;
    let (row, col) = if is_transposed { (1, k) } else { (n, 1) };
    for (p, to) in to.chunks_exact_mut(grid.stride(cols)).enumerate() {
        for (v, to) in to.chunks_exact_mut(grid.width).enumerate() {
            let place = first + (v * grid.width).min(cols.saturating_sub(grid.width));
            for (lane, to) in to.iter_mut().enumerate().take(cols) {
                *to = b[p * row + (place + lane) * col];
            }
        }
    }
}

/// Where a chain starts and what becomes of its sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Store<'a, T> {
    /// `C ← Σ`
    Overwrite,
    /// `C ← C + Σ`
    Add,
    /// `C ← bias + Σ`, with a bias for each column.
    Bias(&'a [T]),
    /// The chain starts at C: `C ← C + a₀·b₀ + a₁·b₁ + …`
    Continue,
}

/// Rows of A in a product, from `first` on: element `(i, k)` lies at `i·row + k·step`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) first: usize,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// `B [k, n]`, laid out as the [`Grid`] says.
#[derive(Clone, Copy, Debug)]
pub struct Right<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) k: usize,
    pub(crate) n: usize,
}

/// A product over all columns of B.
///
/// It is handed on by reference. A copy of it is made of halves of sixteen bytes, and a half that was just
/// written as two words is not there before both have left for the cache: of a row of 100 by 100, a tenth
/// of the time.
#[derive(Debug)]
pub struct Product<'a, T> {
    pub(crate) a: Left<'a, T>,
    pub(crate) b: Right<'a, T>,
    /// Rows of A and of C.
    pub(crate) rows: usize,
    pub(crate) c: &'a mut [T],
    /// From one row of C to the next.
    pub(crate) stride: usize,
    pub(crate) store: Store<'a, T>,
}

/// A panel to be laid out, and a product with it: of columns of A.
#[derive(Debug)]
pub struct Begin<'a, T> {
    pub(crate) pack: Pack<'a, T>,
    pub(crate) a: Left<'a, T>,
    /// Rows of C.
    pub(crate) rows: usize,
    /// From the panel's first column on.
    pub(crate) c: &'a mut [T],
    /// From one row of C to the next.
    pub(crate) stride: usize,
    /// [`Store::Overwrite`] or [`Store::Continue`].
    pub(crate) store: Store<'a, T>,
}

/// Some columns of B.
#[derive(Clone, Copy, Debug)]
struct Panel<'a, T> {
    /// Rows of as many vectors as its columns fill.
    values: &'a [T],
    /// Its columns in B are `first..first + cols`.
    first: usize,
    cols: usize,
}

impl<T> Panel<'_, T> {
    /// Its columns of a row of C.
    #[inline(always)]
    fn of<'c>(&self, row: &'c [T]) -> &'c [T] {
        &row[self.first..][..self.cols]
    }
}

impl<'a, T> Right<'a, T> {
    #[inline(always)]
    fn panels(self, grid: Grid) -> impl Iterator<Item = Panel<'a, T>> + Clone {
        let Self { values, k, n } = self;
        grid.panels(n).map(move |(first, cols)| {
            // Only the last panel has a vector that is not full.
            Panel { values: &values[first * k..][..k * grid.stride(cols)], first, cols }
        })
    }
}

/// The definition of a product, for a B of which no vectors overlap; what any number type can do.
#[inline(always)]
pub(crate) fn plain<T: Real>(grid: Grid, product: &mut Product<'_, T>) {
    let Product { a, b, rows, ref mut c, stride, store } = *product;
    for Panel { values, first, cols } in b.panels(grid) {
        for i in 0..rows {
            let c = &mut c[i * stride + first..][..cols];
            let mut sums = [T::ZERO; WIDEST];
            if store == Store::Continue {
                sums[..cols].copy_from_slice(c);
            }
            for (k, b) in values.chunks_exact(grid.stride(cols)).enumerate() {
                let scale = a.values[(a.first + i) * a.row + k * a.step];
                for (sum, b) in sums[..cols].iter_mut().zip(b) {
                    *sum = scale.mul_add(*b, *sum);
                }
            }
            for (col, (c, sum)) in c.iter_mut().zip(sums).enumerate() {
                *c = match store {
                    Store::Overwrite | Store::Continue => sum,
                    Store::Add => *c + sum,
                    Store::Bias(bias) => bias[first + col] + sum,
                };
            }
        }
    }
}

/// Rows in a tile.
pub(crate) const ROWS: usize = 6;

/// Rows of A and C that all panels are multiplied into before the next ones are touched: few enough to
/// stay in a cache, and many, because each block reads all of B.
pub(crate) const ROW_BLOCK: usize = 16 * ROWS;

/// Most rows of a panel that are multiplied before the next ones are touched: few enough to be in a cache
/// still when the next tile reads them again. Miri has no time for so many.
pub(crate) const DEPTH: usize = if cfg!(miri) { 16 } else { 512 };

/// Steps of a tile's chains that are taken at a turn: what counts and compares would take the place of
/// multiply-adds if it came at every step.
const TURN: usize = 4;

/// How many steps ahead a row of B is asked for while it is not laid out, and lies far from the one before.
const AHEAD: usize = 8;

macro_rules! kernel {
    ($multiply:ident, $pack:ident, $begin:ident, $float:ident, $vector:ident) => {
        /// [`plain`] with vectors.
        pub(crate) fn $multiply(level: Level, product: &mut Product<'_, $float>) {
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512(simd) => $multiply::all::<_, 4, 1>(simd, product),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2(simd) => $multiply::all::<_, 2, 3>(simd, product),
                #[cfg(target_arch = "aarch64")]
                Level::Neon(simd) => $multiply::all::<_, 4, 1>(simd, product),
                Level::Plain => plain(Grid::of::<$float>(level), product),
            }
        }

        /// [`plain_pack`] with vectors.
        pub(crate) fn $pack(level: Level, pack: Pack<'_, $float>) {
            const SIZE: usize = size_of::<$float>();
            let grid = Grid::of::<$float>(level);
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512(simd) => $multiply::pack::<_, { 64 / SIZE }>(simd, grid, pack),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2(simd) => $multiply::pack::<_, { 32 / SIZE }>(simd, grid, pack),
                #[cfg(target_arch = "aarch64")]
                Level::Neon(simd) => $multiply::pack::<_, { 16 / SIZE }>(simd, grid, pack),
                Level::Plain => plain_pack(grid, pack),
            }
        }

        /// Lays out a panel, and computes the first rows of a product with it on the way. Returns how many.
        pub(crate) fn $begin(level: Level, begin: Begin<'_, $float>) -> usize {
            const SIZE: usize = size_of::<$float>();
            let grid = Grid::of::<$float>(level);
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512(simd) => $multiply::begin::<_, { 64 / SIZE }>(simd, grid, begin),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2(simd) => $multiply::begin::<_, { 32 / SIZE }>(simd, grid, begin),
                #[cfg(target_arch = "aarch64")]
                Level::Neon(simd) => $multiply::begin::<_, { 16 / SIZE }>(simd, grid, begin),
                Level::Plain => {
                    plain_pack(grid, begin.pack);
                    0
                }
            }
        }

        mod $multiply {
            use std::ops::Add;

            use fearless_simd::{Simd, SimdBase, SimdFloat};

            use crate::prefetch::prefetch;

            use super::{
                AHEAD, Begin, DEPTH, Grid, Left, Pack, Panel, Product, ROW_BLOCK, ROWS, Store,
                TURN, WIDEST, plain, plain_pack,
            };

            /// Values in a line of a cache.
            const LINE: usize = 64 / size_of::<$float>();

            /// The whole product, by tiles of up to `MOST` vectors. Of a single row, `OTHERS` panels are
            /// multiplied beside one.
            #[inline(always)]
            pub fn all<S: Simd, const MOST: usize, const OTHERS: usize>(
                simd: S,
                product: &mut Product<'_, $float>,
            ) {
                // That of the level, made of constants: dividing by others would take longer than a row.
                let grid = Grid { width: S::$vector::LEN, most: MOST };
                if product.b.n < grid.width {
                    simd.vectorize(
                        #[inline(always)]
                        || plain(grid, product),
                    );
                    return;
                }
                if product.rows == 1 && product.a.step == 1 {
                    simd.vectorize(
                        #[inline(always)]
                        || lines::<S, MOST, OTHERS>(simd, product),
                    );
                    return;
                }
                let Product { a, b, rows, ref mut c, stride, store } = *product;
                // Spread evenly over as few blocks and tiles as will do: a tile of one row takes as long
                // as one of four, since its chains are too few to keep the units busy.
                let blocks = rows.div_ceil(ROW_BLOCK);
                for block in 0..blocks {
                    let first = rows * block / blocks;
                    let rows = rows * (block + 1) / blocks - first;
                    let panels = b.panels(grid);
                    // After the last panel the first is due again: for the next block or, in a
                    // recurrence, for the next step.
                    let after = panels.clone().cycle().skip(1);
                    for (panel, after) in panels.zip(after) {
                        let block = Block {
                            rows,
                            a: Left { first: a.first + first, ..a },
                            b: panel,
                            k: b.k,
                            next: after.values,
                            c: &mut c[first * stride + panel.first..],
                            stride,
                            store,
                        };
                        match store {
                            Store::Add | Store::Bias(_) if DEPTH < b.k => {
                                then_add::<S, MOST>(simd, block);
                            }
                            _ => slices::<S, MOST>(simd, block),
                        }
                    }
                }
            }

            /// A panel's columns of C, and some of its rows.
            struct Block<'a> {
                rows: usize,
                a: Left<'a, $float>,
                b: Panel<'a, $float>,
                /// Rows of B.
                k: usize,
                /// What will be read after B: each tile asks for a line of it at each row of B.
                next: &'a [$float],
                c: &'a mut [$float],
                stride: usize,
                store: Store<'a, $float>,
            }

            /// A block whose chains are finished elsewhere before they are added to anything: a chain that
            /// is cut goes on from what was stored, which must be the sum alone.
            #[inline(never)]
            fn then_add<S: Simd, const MOST: usize>(simd: S, block: Block<'_>) {
                let Block { rows, b: Panel { first, cols, .. }, c, stride, store, .. } = block;
                let mut sums = [[0.0; WIDEST]; ROW_BLOCK];
                let flat = sums.as_flattened_mut();
                let elsewhere = Block { c: flat, stride: WIDEST, store: Store::Overwrite, ..block };
                slices::<S, MOST>(simd, elsewhere);
                for (c, sums) in c.chunks_mut(stride).zip(&sums[..rows]) {
                    if let Store::Bias(bias) = store {
                        c[..cols].copy_from_slice(&bias[first..][..cols]);
                    }
                    for (c, sum) in c.iter_mut().zip(&sums[..cols]) {
                        *c += *sum;
                    }
                }
            }

            /// A block, some rows of B after the other: few enough to be in a cache still when the next
            /// tile wants them. They ask for the next ones, which may lie far away.
            #[inline(always)]
            fn slices<S: Simd, const MOST: usize>(simd: S, block: Block<'_>) {
                let Block { rows, a, b: panel, k, next: after, c, stride, store } = block;
                let tiles = rows.div_ceil(ROWS);
                let (height, higher) = (rows / tiles, rows % tiles);
                let vectors = panel.cols.div_ceil(S::$vector::LEN);
                let row_of_b = vectors * S::$vector::LEN;
                let slices = k.div_ceil(DEPTH).max(1);
                for slice in 0..slices {
                    let (top, bottom) = (k * slice / slices, k * (slice + 1) / slices);
                    let (values, rest) = panel.values.split_at(bottom * row_of_b);
                    let b = Panel { values: &values[top * row_of_b..], ..panel };
                    let next = if rest.is_empty() { after } else { rest };
                    let store = if slice == 0 { store } else { Store::Continue };
                    let values = &a.values[top * a.step..];
                    let (mut begin, mut asked) = (0, 0);
                    for (rows, count) in [(height + 1, higher), (height, tiles - higher)] {
                        if 0 < count {
                            let c = &mut c[begin * stride..];
                            let a = Left { values, first: a.first + begin, ..a };
                            let next = next.get(asked..).unwrap_or_default();
                            let k = bottom - top;
                            let tile = Block { rows, a, b, k, next, c, stride, store };
                            pick::<S, MOST>(simd, vectors, count, tile);
                            asked += count * k * LINE;
                        }
                        begin += count * rows;
                    }
                }
            }

            /// [`tiles`] of as many rows and vectors as the first one has.
            #[inline(always)]
            fn pick<S: Simd, const MOST: usize>(s: S, vectors: usize, n: usize, at: Block<'_>) {
                match (at.rows, vectors) {
                    (1, 1) => tiles::<S, 1, 1>(s, n, at),
                    (2, 1) => tiles::<S, 2, 1>(s, n, at),
                    (3, 1) => tiles::<S, 3, 1>(s, n, at),
                    (4, 1) => tiles::<S, 4, 1>(s, n, at),
                    (5, 1) => tiles::<S, 5, 1>(s, n, at),
                    (6, 1) => tiles::<S, 6, 1>(s, n, at),
                    (1, 2) => tiles::<S, 1, 2>(s, n, at),
                    (2, 2) => tiles::<S, 2, 2>(s, n, at),
                    (3, 2) => tiles::<S, 3, 2>(s, n, at),
                    (4, 2) => tiles::<S, 4, 2>(s, n, at),
                    (5, 2) => tiles::<S, 5, 2>(s, n, at),
                    (6, 2) => tiles::<S, 6, 2>(s, n, at),
                    (1, 3) if 3 <= MOST => tiles::<S, 1, 3>(s, n, at),
                    (2, 3) if 3 <= MOST => tiles::<S, 2, 3>(s, n, at),
                    (3, 3) if 3 <= MOST => tiles::<S, 3, 3>(s, n, at),
                    (4, 3) if 3 <= MOST => tiles::<S, 4, 3>(s, n, at),
                    (5, 3) if 3 <= MOST => tiles::<S, 5, 3>(s, n, at),
                    (6, 3) if 3 <= MOST => tiles::<S, 6, 3>(s, n, at),
                    (1, 4) if 4 <= MOST => tiles::<S, 1, 4>(s, n, at),
                    (2, 4) if 4 <= MOST => tiles::<S, 2, 4>(s, n, at),
                    (3, 4) if 4 <= MOST => tiles::<S, 3, 4>(s, n, at),
                    (4, 4) if 4 <= MOST => tiles::<S, 4, 4>(s, n, at),
                    (5, 4) if 4 <= MOST => tiles::<S, 5, 4>(s, n, at),
                    (6, 4) if 4 <= MOST => tiles::<S, 6, 4>(s, n, at),
                    (rows, _) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
                }
            }

            /// `count` tiles below each other, of which `first` is the uppermost.
            #[inline(always)]
            fn tiles<S: Simd, const R: usize, const V: usize>(
                s: S,
                count: usize,
                first: Block<'_>,
            ) {
                s.vectorize(
                    #[inline(always)]
                    || {
                        let Block { a, b, k, next, c, stride, store, .. } = first;
                        for n in 0..count {
                            let a = Left { first: a.first + n * R, ..a };
                            let c = &mut c[n * R * stride..];
                            let next = next.get(n * k * LINE..).unwrap_or_default();
                            tile::<S, R, V>(s, a, b, next, c, stride, store);
                        }
                    },
                );
            }

            /// `R` rows and `V` vectors of C, in registers while k goes on.
            #[inline(always)]
            fn tile<S: Simd, const R: usize, const V: usize>(
                simd: S,
                a: Left<'_, $float>,
                b: Panel<'_, $float>,
                next: &[$float],
                c: &mut [$float],
                stride: usize,
                store: Store<'_, $float>,
            ) {
                let Panel { values: b, first, cols } = b;
                for r in 0..R {
                    let row = r * stride;
                    prefetch(c, row);
                    prefetch(c, row + cols - 1);
                }
                let mut sums = [[S::$vector::splat(simd, 0.0); V]; R];
                if store == Store::Continue {
                    for r in 0..R {
                        sums[r] = load(simd, &c[r * stride..][..cols]);
                    }
                }
                if a.step == 1 {
                    let k = b.len() / (V * S::$vector::LEN);
                    let mut rows = [&a.values[..0]; R];
                    for r in 0..R {
                        rows[r] = &a.values[(a.first + r) * a.row..][..k];
                    }
                    for turn in 0..k / TURN {
                        steps::<S, R, V, TURN>(simd, rows, b, next, turn * TURN, &mut sums);
                    }
                    for p in k / TURN * TURN..k {
                        steps::<S, R, V, 1>(simd, rows, b, next, p, &mut sums);
                    }
                } else {
                    // Columns of A: what a tile needs at one step lies side by side.
                    assert!(a.row == 1 && a.first + R <= a.step);
                    let b = b.chunks_exact(V * S::$vector::LEN);
                    for ((p, scales), b) in a.values.chunks_exact(a.step).enumerate().zip(b) {
                        prefetch(next, p * LINE);
                        step::<S, R, V>(simd, &scales[a.first..], load(simd, b), &mut sums);
                    }
                }
                // Loops so short that all of them are unrolled, or the sums would go through memory. All that
                // is read of C is read before any of it is written, because two vectors may overlap.
                match store {
                    Store::Overwrite | Store::Continue => {}
                    Store::Add => {
                        for r in 0..R {
                            sums[r] = plus(load(simd, &c[r * stride..][..cols]), sums[r]);
                        }
                    }
                    Store::Bias(bias) => {
                        let bias = load(simd, &bias[first..][..cols]);
                        for r in 0..R {
                            sums[r] = plus(bias, sums[r]);
                        }
                    }
                }
                for r in 0..R {
                    put(simd, sums[r], &mut c[r * stride..][..cols]);
                }
            }

            /// One step of a tile's chains: what it needs of A lies side by side.
            #[inline(always)]
            fn step<S: Simd, const R: usize, const V: usize>(
                simd: S,
                scales: &[$float],
                b: [S::$vector; V],
                sums: &mut [[S::$vector; V]; R],
            ) {
                let scales = &scales[..R];
                for r in 0..R {
                    let scale = S::$vector::splat(simd, scales[r]);
                    for v in 0..V {
                        sums[r][v] = scale.mul_add(b[v], sums[r][v]);
                    }
                }
            }

            /// `P` steps of a tile's chains, from step `first` on.
            #[inline(always)]
            fn steps<S: Simd, const R: usize, const V: usize, const P: usize>(
                simd: S,
                rows: [&[$float]; R],
                b: &[$float],
                next: &[$float],
                first: usize,
                sums: &mut [[S::$vector; V]; R],
            ) {
                let width = V * S::$vector::LEN;
                let b = &b[first * width..][..P * width];
                let mut scales = [&rows[0][..0]; R];
                for r in 0..R {
                    scales[r] = &rows[r][first..][..P];
                }
                for p in 0..P {
                    prefetch(next, (first + p) * LINE);
                    let b: [_; V] = load(simd, &b[p * width..][..width]);
                    for r in 0..R {
                        let scale = S::$vector::splat(simd, scales[r][p]);
                        for v in 0..V {
                            sums[r][v] = scale.mul_add(b[v], sums[r][v]);
                        }
                    }
                }
            }

            /// One row, some panels at once: the chains of one alone would wait for each other.
            #[inline(always)]
            fn lines<S: Simd, const MOST: usize, const OTHERS: usize>(
                simd: S,
                product: &mut Product<'_, $float>,
            ) {
                let Product { a, b, ref mut c, store, .. } = *product;
                let a = &a.values[a.first * a.row..][..b.k];
                // Made of constants here too: what a closure is handed is none.
                let mut panels = b.panels(Grid { width: S::$vector::LEN, most: MOST });
                while let Some(one) = panels.next() {
                    let vectors = one.cols.div_ceil(S::$vector::LEN);
                    let at = Line { a, c, store };
                    if let Some(other) = panels.next() {
                        // Where panels run out, one is computed twice.
                        let mut others = [other; OTHERS];
                        for other in &mut others[1..] {
                            *other = panels.next().unwrap_or(*other);
                        }
                        match vectors {
                            1 => line::<S, 1, MOST, OTHERS>(simd, one, others, at),
                            2 => line::<S, 2, MOST, OTHERS>(simd, one, others, at),
                            3 => line::<S, 3, MOST, OTHERS>(simd, one, others, at),
                            _ => line::<S, MOST, MOST, OTHERS>(simd, one, others, at),
                        }
                    } else {
                        match vectors {
                            1 => line::<S, 1, MOST, 0>(simd, one, [], at),
                            2 => line::<S, 2, MOST, 0>(simd, one, [], at),
                            3 => line::<S, 3, MOST, 0>(simd, one, [], at),
                            _ => line::<S, MOST, MOST, 0>(simd, one, [], at),
                        }
                    }
                }
            }

            /// A row of A and one of C.
            struct Line<'a> {
                a: &'a [$float],
                c: &'a mut [$float],
                store: Store<'a, $float>,
            }

            /// One panel of `U` vectors and `N` others of `V`.
            #[inline(always)]
            fn line<S: Simd, const U: usize, const V: usize, const N: usize>(
                simd: S,
                one: Panel<'_, $float>,
                others: [Panel<'_, $float>; N],
                line: Line<'_>,
            ) {
                let Line { a, c, store } = line;
                let mut ones = [S::$vector::splat(simd, 0.0); U];
                let mut sums = [[S::$vector::splat(simd, 0.0); V]; N];
                if store == Store::Continue {
                    ones = load(simd, one.of(c));
                    for n in 0..N {
                        sums[n] = load(simd, others[n].of(c));
                    }
                }
                let stride = V * S::$vector::LEN;
                let rows = others.map(|panel| &panel.values[..a.len() * stride]);
                let rows_of_one = one.values.chunks_exact(U * S::$vector::LEN);
                for ((p, a), b) in a.iter().enumerate().zip(rows_of_one) {
                    let scale = S::$vector::splat(simd, *a);
                    let b: [_; U] = load(simd, b);
                    for u in 0..U {
                        ones[u] = scale.mul_add(b[u], ones[u]);
                    }
                    for n in 0..N {
                        let b: [_; V] = load(simd, &rows[n][p * stride..][..stride]);
                        for v in 0..V {
                            sums[n][v] = scale.mul_add(b[v], sums[n][v]);
                        }
                    }
                }
                let before = match store {
                    Store::Overwrite | Store::Continue => None,
                    Store::Add => Some(&*c),
                    Store::Bias(bias) => Some(bias),
                };
                if let Some(before) = before {
                    ones = plus(load(simd, one.of(before)), ones);
                    for n in 0..N {
                        sums[n] = plus(load(simd, others[n].of(before)), sums[n]);
                    }
                }
                put(simd, ones, &mut c[one.first..][..one.cols]);
                for n in 0..N {
                    put(simd, sums[n], &mut c[others[n].first..][..others[n].cols]);
                }
            }

            // Loops instead of `map` and `from_fn`, whose insides are not compiled for the level.

            /// The `V` vectors of a row: one after the other, but for the last, which ends where the row
            /// does.
            #[inline(always)]
            fn load<S: Simd, const V: usize>(simd: S, row: &[$float]) -> [S::$vector; V] {
                let width = S::$vector::LEN;
                assert!((V - 1) * width < row.len());
                let mut vectors = [S::$vector::splat(simd, 0.0); V];
                for v in 0..V - 1 {
                    vectors[v] = S::$vector::from_slice(simd, &row[v * width..][..width]);
                }
                vectors[V - 1] = S::$vector::from_slice(simd, &row[row.len() - width..]);
                vectors
            }

            /// The reverse of [`load`].
            #[inline(always)]
            fn put<S: Simd, const V: usize>(
                _simd: S,
                vectors: [S::$vector; V],
                row: &mut [$float],
            ) {
                let (width, len) = (S::$vector::LEN, row.len());
                assert!((V - 1) * width < len);
                for v in 0..V - 1 {
                    vectors[v].store_slice(&mut row[v * width..][..width]);
                }
                vectors[V - 1].store_slice(&mut row[len - width..]);
            }

            /// `a + b`.
            #[inline(always)]
            fn plus<V: Copy + Add<Output = V>, const N: usize>(a: [V; N], b: [V; N]) -> [V; N] {
                let mut sum = b;
                for n in 0..N {
                    sum[n] = a[n] + b[n];
                }
                sum
            }

            #[inline(always)]
            pub fn pack<S: Simd, const W: usize>(simd: S, grid: Grid, pack: Pack<'_, $float>) {
                let Pack { b, k, n, is_transposed, first, cols, to } = pack;
                if cols < W || is_transposed && k < W {
                    plain_pack(grid, Pack { b, k, n, is_transposed, first, cols, to });
                    return;
                }
                simd.vectorize(
                    #[inline(always)]
                    || {
                        let stride = grid.stride(cols);
                        if !is_transposed {
                            let from = b.chunks_exact(n).map(|b| &b[first..][..cols]);
                            match stride / W {
                                1 => copy::<S, 1>(simd, from, to),
                                2 => copy::<S, 2>(simd, from, to),
                                3 => copy::<S, 3>(simd, from, to),
                                _ => copy::<S, 4>(simd, from, to),
                            }
                            return;
                        }
                        let places = (0..stride / W).map(|v| (v * W).min(cols - W)).enumerate();
                        for (v, place) in places {
                            // Squares; the last one may overlap, and write the same once more.
                            for p in (0..k).step_by(W).map(|p| p.min(k - W)) {
                                let mut rows = [S::$vector::splat(simd, 0.0); W];
                                for (r, row) in rows.iter_mut().enumerate() {
                                    let from = &b[(first + place + r) * k + p..][..W];
                                    *row = S::$vector::from_slice(simd, from);
                                }
                                for (r, row) in transpose::<S, W>(rows).iter().enumerate() {
                                    row.store_slice(&mut to[(p + r) * stride + v * W..][..W]);
                                }
                            }
                        }
                    },
                );
            }

            pub fn begin<S: Simd, const W: usize>(
                simd: S,
                grid: Grid,
                begin: Begin<'_, $float>,
            ) -> usize {
                let cols = begin.pack.cols;
                if begin.rows < ROWS || cols < W {
                    pack::<S, W>(simd, grid, begin.pack);
                    return 0;
                }
                simd.vectorize(
                    #[inline(always)]
                    || match grid.stride(cols) / W {
                        1 => first_tile::<S, 1>(simd, begin),
                        2 => first_tile::<S, 2>(simd, begin),
                        3 => first_tile::<S, 3>(simd, begin),
                        _ => first_tile::<S, 4>(simd, begin),
                    },
                );
                ROWS
            }

            /// A [`tile`] that lays out the rows of B as they come by. They come from far away, and while they do
            /// there is something to multiply.
            #[inline(always)]
            fn first_tile<S: Simd, const V: usize>(simd: S, begin: Begin<'_, $float>) {
                let Begin { pack, a, c, stride, store, .. } = begin;
                let Pack { b, n, first, cols, to, .. } = pack;
                assert!(a.row == 1 && a.first + ROWS <= a.step);
                assert!(matches!(store, Store::Overwrite | Store::Continue));
                let mut sums = [[S::$vector::splat(simd, 0.0); V]; ROWS];
                if store == Store::Continue {
                    for r in 0..ROWS {
                        sums[r] = load(simd, &c[r * stride..][..cols]);
                    }
                }
                let all_scales = a.values.chunks_exact(a.step);
                let rows = b.chunks_exact(n).zip(to.chunks_exact_mut(V * S::$vector::LEN));
                for ((p, scales), (row, to)) in all_scales.enumerate().zip(rows) {
                    for v in 0..V {
                        prefetch(b, (p + AHEAD) * n + first + v * S::$vector::LEN);
                    }
                    let b: [_; V] = load(simd, &row[first..][..cols]);
                    put(simd, b, to);
                    step(simd, &scales[a.first..], b, &mut sums);
                }
                for r in 0..ROWS {
                    put(simd, sums[r], &mut c[r * stride..][..cols]);
                }
            }

            /// Rows of `V` vectors, one after the other.
            #[inline(always)]
            fn copy<'a, S: Simd, const V: usize>(
                simd: S,
                from: impl Iterator<Item = &'a [$float]>,
                to: &mut [$float],
            ) {
                for (to, from) in to.chunks_exact_mut(V * S::$vector::LEN).zip(from) {
                    put::<S, V>(simd, load(simd, from), to);
                }
            }

            /// A square turned over.
            ///
            /// Dealing out both halves in turn moves the bits of all indices on by one: the last bit
            /// of a column becomes the first of a row. After as many turns as a row has bits, columns
            /// are rows.
            #[inline(always)]
            fn transpose<S: Simd, const W: usize>(mut rows: [S::$vector; W]) -> [S::$vector; W] {
                for _ in 0..W.ilog2() {
                    let halves = rows;
                    for r in 0..W / 2 {
                        let (low, high) = (halves[r], halves[r + W / 2]);
                        (rows[2 * r], rows[2 * r + 1]) = (low.zip_low(high), low.zip_high(high));
                    }
                }
                rows
            }
        }
    };
}

kernel!(multiply_f32, pack_f32, begin_f32, f32, f32s);
kernel!(multiply_f64, pack_f64, begin_f64, f64, f64s);
