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

/// The units from `at` on; where the vector ends, zeros.
#[inline(always)]
pub(crate) fn load<T: Real>(from: &[T], at: usize) -> Units<T> {
    match from[at..].first_chunk() {
        Some(whole) => *whole,
        None => load_end(&from[at..]),
    }
}

#[inline(never)]
fn load_end<T: Real>(from: &[T]) -> Units<T> {
    let mut units = [T::ZERO; UNITS];
    units.iter_mut().zip(from).for_each(|(unit, from)| *unit = *from);
    units
}

/// The reverse of [`load`].
#[inline(always)]
pub(crate) fn store<T: Real>(units: &Units<T>, to: &mut [T], at: usize) {
    match to[at..].first_chunk_mut() {
        Some(whole) => *whole = *units,
        None => store_end(units, &mut to[at..]),
    }
}

#[inline(never)]
fn store_end<T: Real>(units: &Units<T>, to: &mut [T]) {
    to.iter_mut().zip(units).for_each(|(to, unit)| *to = *unit);
}

/// Asks for the units from `at` on of each of the vectors in a row, `len` long: the next lane's lie far
/// from those of this one.
#[inline(always)]
pub(crate) fn ask_each<T>(row: &[T], at: usize, len: usize) {
    for vector in (0..row.len()).step_by(len) {
        prefetch(row, vector + at);
    }
}

/// [`load`]s from each of as many vectors as `few` has, which lie one after the other in `from`.
#[inline(always)]
pub(crate) fn load_each<T: Real>(few: &mut [Units<T>], from: &[T], at: usize) {
    let len = from.len() / few.len().max(1);
    for (vector, units) in few.iter_mut().enumerate() {
        *units = load(&from[vector * len..][..len], at);
    }
}

/// The reverse of [`load_each`].
#[inline(always)]
pub(crate) fn store_each<T: Real>(few: &[Units<T>], to: &mut [T], at: usize) {
    let len = to.len() / few.len().max(1);
    for (vector, units) in few.iter().enumerate() {
        store(units, &mut to[vector * len..][..len], at);
    }
}
