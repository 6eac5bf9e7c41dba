//! Sums over a slice, in a fixed block structure.
//!
//! A sum taken strictly from left to right cannot be vectorized; one whose order is left to the
//! compiler differs between CPUs. So element `i` always goes to partial sum `i % LANES`, and the
//! partial sums are always folded in the same tree. Any vector width up to `LANES` gives these bits.

use std::ops::Add;

use crate::Real;

/// Number of partial sums.
const LANES: usize = 16;

/// `Σ a[i]·b[i]`.
///
/// # Panics
/// If the lengths differ.
#[inline(always)]
#[track_caller]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    assert_eq!(a.len(), b.len(), "dot product of slices of different lengths");
    let mut partial = [T::ZERO; LANES];
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            partial[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_tail.iter().zip(b_tail).enumerate() {
        partial[lane] += *a * *b;
    }
    fold(partial, T::add)
}

/// `Σ x[i]` in the order that the module describes; zero for none.
#[inline(always)]
pub fn sum<T: Real>(values: &[T]) -> T {
    let mut partial = [T::ZERO; LANES];
    let (blocks, tail) = values.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            partial[lane] += block[lane];
        }
    }
    // Zeros in the place of what the last block lacks change no sum, as none is -0; and sums that are not
    // reached one by one stay in a vector.
    let mut last = [T::ZERO; LANES];
    for (last, value) in last.iter_mut().zip(tail) {
        *last = *value;
    }
    for lane in 0..LANES {
        partial[lane] += last[lane];
    }
    fold(partial, T::add)
}

/// The largest value, where no value is NaN; any value otherwise.
///
/// # Panics
/// If there is none.
#[inline(always)]
#[track_caller]
pub fn maximum<T: Real>(values: &[T]) -> T {
    let larger = |a: T, b: T| if a < b { b } else { a };
    let mut most = [values[0]; LANES];
    // Unlike a sum, a maximum may see a value twice: the last block ends where the values do.
    let (blocks, tail) = values.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            most[lane] = larger(most[lane], block[lane]);
        }
    }
    if let Some(last) = values.last_chunk::<LANES>() {
        for lane in 0..LANES {
            most[lane] = larger(most[lane], last[lane]);
        }
    } else {
        for (most, value) in most.iter_mut().zip(tail) {
            *most = larger(*most, *value);
        }
    }
    fold(most, larger)
}

/// The L2 norm of `values`, accumulated in `f64`.
///
/// Not finite exactly when a value is not, for `f32`: no square of an `f32` overflows an `f64`.
pub fn norm<T: Real>(values: &[T]) -> f64 {
    let mut partial = [0.0; LANES];
    let (blocks, tail) = values.as_chunks::<LANES>();
    T::vectorized(
        #[inline(always)]
        || {
            for block in blocks {
                for lane in 0..LANES {
                    let value = block[lane].to_f64();
                    partial[lane] += value * value;
                }
            }
        },
    );
    for (lane, value) in tail.iter().enumerate() {
        let value = value.to_f64();
        partial[lane] += value * value;
    }
    fold(partial, f64::add).sqrt()
}

/// Sums that [`all_finite`] takes side by side. Their order is of no account, so there may be more of
/// them, which wait less for each other.
const SUMS: usize = 4 * LANES;

/// Whether no value is infinite or NaN.
pub fn all_finite<T: Real>(values: &[T]) -> bool {
    // Times zero is zero for a finite value and NaN for any other. A sum of blocks, unlike a
    // search, is vectorized.
    let mut partial = [T::ZERO; SUMS];
    let (blocks, tail) = values.as_chunks::<SUMS>();
    T::vectorized(
        #[inline(always)]
        || {
            for block in blocks {
                for lane in 0..SUMS {
                    partial[lane] += block[lane] * T::ZERO;
                }
            }
        },
    );
    partial.iter().chain(tail).all(|value| value.is_finite())
}

/// Folds the upper half onto the lower until one is left.
#[inline(always)]
fn fold<T: Real>(mut partial: [T; LANES], two: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while 0 < half {
        for lane in 0..half {
            partial[lane] = two(partial[lane], partial[lane + half]);
        }
        half /= 2;
    }
    partial[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_on_integers_around_the_block_size() {
        for len in [0, 1, LANES - 1, LANES, LANES + 1, 5 * LANES + 3] {
            let a: Vec<f64> = (0..len).map(|i| i as f64 + 1.0).collect();
            let b: Vec<f64> = (0..len).map(|i| 3.0 - i as f64).collect();
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), expected, "length {len}");
            assert_eq!(sum(&b), b.iter().sum::<f64>(), "length {len}");
            assert_eq!(norm(&a), a.iter().map(|a| a * a).sum::<f64>().sqrt(), "length {len}");
        }
    }

    /// Of real numbers, which show any other order.
    #[test]
    fn sums_are_taken_in_the_order_described() {
        for len in [0, 1, LANES - 1, LANES, LANES + 1, 5 * LANES + 3] {
            let values: Vec<f32> = (0..len).map(|i| (i as f32 * 0.7).sin() - 0.4).collect();
            let mut partial = [0.0; LANES];
            for (i, value) in values.iter().enumerate() {
                partial[i % LANES] += value;
            }
            for half in [8, 4, 2, 1] {
                for lane in 0..half {
                    partial[lane] += partial[lane + half];
                }
            }
            assert_eq!(sum(&values).to_bits(), partial[0].to_bits(), "length {len}");
            assert_eq!(dot(&values, &vec![1.0; len]).to_bits(), partial[0].to_bits());
        }
    }

    #[test]
    fn the_largest_is_found_wherever_it_is() {
        for len in [1, LANES - 1, LANES, LANES + 1, 3 * LANES + 5] {
            for index in 0..len {
                let mut values: Vec<f32> = (0..len).map(|i| -3.0 - i as f32).collect();
                values[index] = -2.0;
                assert_eq!(maximum(&values), -2.0, "at {index} of {len}");
            }
        }
    }

    #[test]
    fn one_value_that_is_not_finite_is_found_anywhere() {
        for len in [1, LANES - 1, LANES, LANES + 1, 3 * LANES + 5, SUMS, SUMS + 1, 2 * SUMS + 5] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for index in 0..len {
                    let mut values = vec![f32::MAX; len];
                    assert!(all_finite(&values));
                    values[index] = bad;
                    assert!(!all_finite(&values), "{bad} at {index} of {len}");
                }
            }
        }
    }

    #[test]
    fn norm_of_huge_f32_is_finite_and_of_nan_is_not() {
        assert!(norm(&[f32::MAX; 40]).is_finite());
        assert!(norm(&[1.0, f32::NAN]).is_nan());
        assert_eq!(norm(&[f32::NEG_INFINITY]), f64::INFINITY);
    }
}
