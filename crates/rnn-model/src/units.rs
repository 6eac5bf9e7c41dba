//! A cell's vectors, a few units at a time.
//!
//! A cell's equations treat every unit alike. So a layer hands it a fixed number of them in arrays of
//! their own, and the compiler makes vector instructions of loops as plain as in the paper: their
//! length is known, and no two slices overlap.

use tensor_core::{Real, prefetch};

/// Units that a cell sees at once.
pub(crate) const UNITS: usize = 16;

/// Most gates, or vectors of its own, that a cell may have.
pub(crate) const MOST: usize = 8;

/// Some units of a vector.
pub(crate) type Units<T> = [T; UNITS];

/// Some units of up to [`MOST`] vectors.
pub(crate) type Few<T> = [Units<T>; MOST];

/// Which units of a vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    first: usize,
    /// Whether there are [`UNITS`] of them.
    is_whole: bool,
}

/// Does `block` with all units of a vector of `len`, one block after the other.
///
/// It is compiled twice: what the last block needs, if it is not a whole one, would keep the units of
/// all others from staying in registers.
#[inline(always)]
pub(crate) fn blocks(len: usize, mut block: impl FnMut(At)) {
    let rest = len - len % UNITS;
    for first in (0..rest).step_by(UNITS) {
        block(At { first, is_whole: true });
    }
    if rest < len {
        block(At { first: rest, is_whole: false });
    }
}

/// The units of a vector that are `at` a place; zeros where it ends.
#[inline(always)]
pub(crate) fn load<T: Real>(from: &[T], at: At) -> Units<T> {
    let from = &from[at.first..];
    if at.is_whole { *from.first_chunk().expect("a whole block") } else { load_end(from) }
}

#[inline(never)]
fn load_end<T: Real>(from: &[T]) -> Units<T> {
    let mut units = [T::ZERO; UNITS];
    units.iter_mut().zip(from).for_each(|(unit, from)| *unit = *from);
    units
}

/// The reverse of [`load`].
#[inline(always)]
pub(crate) fn store<T: Real>(units: &Units<T>, to: &mut [T], at: At) {
    let to = &mut to[at.first..];
    if at.is_whole {
        *to.first_chunk_mut().expect("a whole block") = *units;
    } else {
        store_end(units, to);
    }
}

#[inline(never)]
fn store_end<T: Real>(units: &Units<T>, to: &mut [T]) {
    to.iter_mut().zip(units).for_each(|(to, unit)| *to = *unit);
}

/// Asks for some units of each of the vectors in each of the rows, `len` long: the next lane's lie far
/// from those of this one.
#[inline(always)]
pub(crate) fn ask_each<T, const N: usize>(rows: [&[T]; N], at: At, len: usize) {
    for row in rows {
        // `step_by` would divide to know how often, which takes longer than what the cell does.
        let mut place = at.first;
        while place < row.len() {
            prefetch(row, place);
            place += len;
        }
    }
}

/// [`load`]s from each of as many vectors as `few` has, which lie one after the other in `from`.
#[inline(always)]
pub(crate) fn load_each<T: Real>(few: &mut [Units<T>], from: &[T], at: At) {
    let len = from.len() / few.len().max(1);
    for (vector, units) in few.iter_mut().enumerate() {
        *units = load(&from[vector * len..][..len], at);
    }
}

/// The reverse of [`load_each`].
#[inline(always)]
pub(crate) fn store_each<T: Real>(few: &[Units<T>], to: &mut [T], at: At) {
    let len = to.len() / few.len().max(1);
    for (vector, units) in few.iter().enumerate() {
        store(units, &mut to[vector * len..][..len], at);
    }
}
