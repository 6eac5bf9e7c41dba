//! A cell's vectors, a few units at a time.
//!
//! A cell's equations treat every unit alike. So a layer hands it a fixed number of them in arrays of
//! their own, and the compiler makes vector instructions of loops as plain as in the paper: their
//! length is known, and no two slices overlap. How many vectors there are is handed along as a constant:
//! kept in a structure beside them it would be none, and there would be no vector instructions.

use tensor_core::{Real, prefetch};

/// Most gates, or vectors of its own, that a cell may have.
pub(crate) const MOST: usize = 8;

/// `N` units of up to [`MOST`] vectors.
pub(crate) type Few<T, const N: usize> = [[T; N]; MOST];

/// Which `N` units of a vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<const N: usize> {
    pub first: usize,
}

impl<const N: usize> At<N> {
    /// So many zeros.
    #[inline(always)]
    pub fn zeros<T: Real>(self) -> [T; N] {
        [T::ZERO; N]
    }

    /// So many zeros in each of [`MOST`] vectors, `V` times.
    #[inline(always)]
    pub fn few<T: Real, const V: usize>(self) -> [Few<T, N>; V] {
        [[[T::ZERO; N]; MOST]; V]
    }
}

/// Does a block with all units of a vector of some length, in their order: with 16 at a time as long as
/// there are as many, then with four, then with one.
///
/// A macro, because `at` has another type each time, and so everything that is made of it.
macro_rules! blocks {
    ($len:expr, |$at:ident| $block:block) => {{
        let (len, mut first) = ($len, 0);
        blocks!(of 16, len, first, $at, $block);
        blocks!(of 4, len, first, $at, $block);
        blocks!(of 1, len, first, $at, $block);
    }};
    (of $units:literal, $len:ident, $first:ident, $at:ident, $block:block) => {
        while $units <= $len - $first {
            let $at = $crate::units::At::<$units> { first: $first };
            $block
            $first += $units;
        }
    };
}
pub(crate) use blocks;

/// The units of a vector that are `at` a place.
#[inline(always)]
pub(crate) fn load<T: Real, const N: usize>(from: &[T], at: At<N>) -> [T; N] {
    *from[at.first..].first_chunk().expect("as many units")
}

/// The reverse of [`load`].
#[inline(always)]
pub(crate) fn store<T: Real, const N: usize>(units: &[T; N], to: &mut [T], at: At<N>) {
    *to[at.first..].first_chunk_mut().expect("as many units") = *units;
}

/// The first `count` vectors of `len` units each, which lie one after the other in `row`; others are
/// empty.
///
/// Split before a loop over their units, they all have one length, and the loop looks at it once.
#[inline(always)]
pub(crate) fn vectors<T>(mut row: &[T], len: usize, count: usize) -> [&[T]; MOST] {
    let mut vectors = [&[][..]; MOST];
    for vector in &mut vectors[..count] {
        (*vector, row) = row.split_at(len);
    }
    vectors
}

/// As [`vectors`].
#[inline(always)]
pub(crate) fn vectors_mut<T>(mut row: &mut [T], len: usize, count: usize) -> [&mut [T]; MOST] {
    let mut vectors: [&mut [T]; MOST] = Default::default();
    for vector in &mut vectors[..count] {
        (*vector, row) = row.split_at_mut(len);
    }
    vectors
}

/// Asks for units that lie `distance` behind those of each of the vectors, as the next lane's do: far
/// from those of this one.
#[inline(always)]
pub(crate) fn ask_each<T, const N: usize>(vectors: &[impl AsRef<[T]>], at: At<N>, distance: usize) {
    for vector in vectors {
        prefetch(vector.as_ref(), distance + at.first);
    }
}

/// [`load`]s from each of as many vectors as `few` has.
#[inline(always)]
pub(crate) fn load_each<T: Real, const N: usize>(
    few: &mut [[T; N]],
    vectors: &[impl AsRef<[T]>],
    at: At<N>,
) {
    for (units, vector) in few.iter_mut().zip(vectors) {
        *units = load(vector.as_ref(), at);
    }
}

/// The reverse of [`load_each`].
#[inline(always)]
pub(crate) fn store_each<T: Real, const N: usize>(
    few: &[[T; N]],
    vectors: &mut [&mut [T]],
    at: At<N>,
) {
    for (units, vector) in few.iter().zip(vectors) {
        store(units, vector, at);
    }
}
