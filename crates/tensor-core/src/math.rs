//! `exp`, `tanh`, `sigmoid` and `rsqrt` of an `f32`, for loops over a slice.
//!
//! They are straight lines of exactly rounded operations, integer operations and selections: no
//! branch, no table and no call. So a loop over them is vectorized at any width, and every width
//! and every CPU gives the same bits but for the sign and payload of a NaN. They want a target with
//! a fused multiply-add: there an element takes 0.1 to 0.2 ns with AVX-512 and 0.2 to 0.4 with AVX2
//! (Zen 5). Elsewhere [`f32::mul_add`] is a call to the system's `fmaf`, exactly rounded as well,
//! and an element takes 20 ns if that finds the instruction in the CPU, and more if it does not.
//!
//! The first three rest on `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`, and a polynomial for `e^r - 1`:
//! Cody & Waite, "Software Manual for the Elementary Functions", 1980. Errors are those against the
//! exact value, in units in the last place of the nearest `f32`, over all inputs as
//! `cargo xtask sweep` finds them:
//!
//! | function | worst error | at | results that are not the nearest |
//! | --- | --- | --- | --- |
//! | `exp` | 1.0128 | 59.306038 | 17359867 |
//! | `tanh` | 1.3337 | 0.5562653 | 6346704 |
//! | `sigmoid` | 1.6948 | -1.1046847 | 147928343 |
//! | `rsqrt` | 0.9957 | 1.1797703e-38 | 276728555 |
//!
//! None of the first three ever falls where `x` rises, which was tried for all inputs too.
//!
//! Coefficients are those of a weighted minimax polynomial found by the Remez exchange, rounded to
//! `f32` one at a time from the constant upwards, the ones above fitted anew after each.

use std::f32::consts::{LN_2, LOG2_E};

/// `((e^r - 1) / r - 1) / r` for `|r| ≤ ln 2 / 2 · (1 + 2⁻¹⁴)`, fitted with weight `r² / e^r`;
/// exact coefficients would be 1/2, 1/6, 1/24, … It puts `e^r` off by 3.2e-9 of its value.
const EXP: [f32; 5] = [4.9999994e-1, 1.6666517e-1, 4.1668102e-2, 8.3691925e-3, 1.3838903e-3];

/// `(tanh(a) / a - 1) / z` in `z = a²` for `0 ≤ a ≤ 9/16`, fitted with weight `a·z / tanh(a)`;
/// exact coefficients would be -1/3, 2/15, -17/315, … It puts `tanh` off by 1.4e-9 of its value.
const TANH: [f32; 5] = [-3.3333313e-1, 1.3332437e-1, -5.3835757e-2, 2.1000376e-2, -6.169614e-3];

/// What `LN_2` lacks of ln 2.
const LN_2_LOW: f32 = (std::f64::consts::LN_2 - LN_2 as f64) as f32;

/// 2^`SCALE` is far enough from the ends of an `f32` for every power of two here to be written as a normal
/// number times 2^±`SCALE`.
const SCALE: i32 = 64;
const UP: f32 = f32::from_bits(((127 + SCALE) as u32) << 23);
const DOWN: f32 = 1.0 / UP;

/// `e^x`: infinite from 88.72284 up, subnormal from -87.33655 and zero from -103.97209 down.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond, the result stays what it is at the ends. Unlike `min` and `max`, `clamp` keeps a NaN.
    let x = x.clamp(-104.0, 89.0);
    // From -150 to 128 `n` is more than an exponent holds. Only the last product rounds.
    let (more, back) = if x < 0.0 { (shift(SCALE), DOWN) } else { (shift(-SCALE), UP) };
    let (power, r) = reduce(x, 1.0, more);
    expm1(r).mul_add(power, power) * back
}

/// The logistic function `1 / (1 + e^-x)`, as exact where it is subnormal as elsewhere.
///
/// With `a = |x|`, `e^a = (1 + m) / s` and `s` a power of two, that of `-a` is `s / (1 + s + m)`; that of `a`
/// is one minus it, rounded once more.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let a = x.abs();
    let (scaled, r) = reduce(if 104.0 < a { 104.0 } else { a }, -1.0, shift(SCALE));
    let s = scaled * DOWN;
    // `1 + s` exactly, as a sum of two, so that adding `m` is all that rounds.
    let high = 1.0 + s;
    let low = s - (high - 1.0);
    let negative = scaled / (high + (low + expm1(r))) * DOWN;
    if x < 0.0 { negative } else { 1.0 - negative }
}

/// Hyperbolic tangent, exactly odd.
///
/// An odd polynomial where the result is below one half, `1 - 2 / (e^2a + 1)` with `a = |x|` above:
/// there what is subtracted is smaller than the result, and so are its errors.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let z = a * a;
    let small = horner(z, TANH).mul_add(a * z, a);
    // From 9.02 on the result is one.
    let (s, half) = reduce(if 10.0 < a { 10.0 } else { a }, 2.0, shift(0));
    let large = 1.0 - 2.0 / expm1(half + half).mul_add(s, s + 1.0);
    // tanh(0.55) = 0.5005.
    (if a < 0.55 { small } else { large }).copysign(x)
}

/// `1 / √x` of a positive normal number; of zero and subnormal ones nonsense that is finite, of
/// infinity infinity, and NaN stays NaN.
///
/// A root and a division keep the same slow unit of a CPU busy, and this takes a quarter of their time.
/// Half the bits, negated, are a guess within 4 % (the “fast inverse square root” of Quake III Arena, 1999);
/// each round leaves the cube of its error, by `1/√(1 - e) = 1 + e/2 + 3/8·e² + …` (Chebyshev's method).
#[inline(always)]
pub fn rsqrt(x: f32) -> f32 {
    let guess = f32::from_bits(0x5f37_5a86_u32.wrapping_sub(x.to_bits() >> 1));
    closer(x, closer(x, guess))
}

/// Closer to `1 / √x` than `y` is.
#[inline(always)]
fn closer(x: f32, y: f32) -> f32 {
    let e = (-x * y).mul_add(y, 1.0);
    (y * e).mul_add(e.mul_add(0.375, 0.5), y)
}

/// 1.5·2²³ and the exponent of 2^`k`: a number of up to 22 bits that is added to it is rounded to a whole
/// one, and ends in the exponent of 2^(that number + `k`).
const fn shift(k: i32) -> f32 {
    (3 << 22) as f32 + (127 + k) as f32
}

/// `2^(n + k)` and `r`, where `x = n·ln 2 / by + r`, given the [`shift`] of `k` and a power of two. Nonsense
/// for a NaN, but that its `r` is one.
#[inline(always)]
fn reduce(x: f32, by: f32, shift: f32) -> (f32, f32) {
    let shifted = x.mul_add(by * LOG2_E, shift);
    let n = shifted - shift;
    // `by·x - n·LN_2` is a multiple of 2⁻²⁵ below 1/2 unless `n` is zero, so it is exact.
    let r = n.mul_add(-LN_2_LOW / by, n.mul_add(-LN_2 / by, x));
    (f32::from_bits(shifted.to_bits() << 23), r)
}

/// `e^r - 1` for what [`reduce`] leaves.
#[inline(always)]
fn expm1(r: f32) -> f32 {
    horner(r, EXP).mul_add(r * r, r)
}

/// `Σ coefficients[i]·x^i`.
#[inline(always)]
fn horner<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, coefficients[i]);
    }
    sum
}

/// How far `found` is from `exact`, in units in the last place of the `f32` nearest to `exact`.
///
/// Infinity counts as 2¹²⁸. Nothing is near a NaN but a NaN.
pub fn ulps(found: f32, exact: f64) -> f64 {
    if found.is_nan() || exact.is_nan() {
        return if found.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let end = 2.0 * 2_f64.powi(127);
    let (found, exact) = (f64::from(found).clamp(-end, end), exact.clamp(-end, end));
    let bits = (exact.abs() as f32).min(f32::MAX).to_bits();
    let unit = f32::from_bits(bits | 1) - f32::from_bits(bits & !1);
    (found - exact).abs() / f64::from(unit)
}

#[cfg(test)]
mod tests {
    use std::f32::consts::E;

    use fearless_simd::{Level, Simd};

    use super::*;
    use crate::Real;

    const TINIEST: f32 = f32::from_bits(1);

    #[track_caller]
    fn check(function: fn(f32) -> f32, table: &[(f32, f32)]) {
        for &(x, expected) in table {
            let found = function(x);
            assert_eq!(found.to_bits(), expected.to_bits(), "{found:e} for {x:e}");
        }
        for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(u32::MAX)] {
            assert!(function(nan).is_nan());
        }
    }

    #[test]
    fn exp_at_the_ends_and_at_zero() {
        check(
            exp,
            &[
                (0.0, 1.0),
                (-0.0, 1.0),
                (TINIEST, 1.0),
                (-f32::MIN_POSITIVE, 1.0),
                (1.0, E),
                (88.72283, f32::from_bits(0x7f7f_ff84)),
                (88.72284, f32::INFINITY),
                (f32::MAX, f32::INFINITY),
                (f32::INFINITY, f32::INFINITY),
                (-87.33655, f32::from_bits(0x007f_ffe6)),
                (-103.97207, TINIEST),
                (-103.97209, 0.0),
                (f32::MIN, 0.0),
                (f32::NEG_INFINITY, 0.0),
            ],
        );
    }

    #[test]
    fn sigmoid_at_the_ends_and_at_zero() {
        check(
            sigmoid,
            &[
                (0.0, 0.5),
                (-0.0, 0.5),
                (TINIEST, 0.5),
                (-TINIEST, 0.5),
                (17.5, 1.0),
                (f32::MAX, 1.0),
                (f32::INFINITY, 1.0),
                (-100.0, exp(-100.0)),
                (-103.97207, TINIEST),
                (-103.97209, 0.0),
                (f32::MIN, 0.0),
                (f32::NEG_INFINITY, 0.0),
            ],
        );
    }

    #[test]
    fn tanh_at_the_ends_and_at_zero() {
        check(
            tanh,
            &[
                (0.0, 0.0),
                (-0.0, -0.0),
                (TINIEST, TINIEST),
                (-TINIEST, -TINIEST),
                (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
                (1e-5, 1e-5),
                (9.1, 1.0),
                (-9.1, -1.0),
                (f32::MAX, 1.0),
                (f32::INFINITY, 1.0),
                (f32::NEG_INFINITY, -1.0),
            ],
        );
    }

    /// One input in a thousand, of every exponent; `cargo xtask sweep` takes them all.
    fn sample() -> impl Iterator<Item = f32> {
        (0..=u32::MAX).step_by(1031).map(f32::from_bits)
    }

    #[track_caller]
    fn within(bound: f64, function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) {
        for x in sample() {
            let found = function(x);
            let error = ulps(found, exact(f64::from(x)));
            assert!(error <= bound, "{found:e} for {x:e} is off by {error} ulp");
        }
    }

    #[test]
    fn exp_is_as_exact_as_stated() {
        within(1.013, exp, Real::exp);
    }

    #[test]
    fn sigmoid_is_as_exact_as_stated() {
        within(1.695, sigmoid, Real::sigmoid);
    }

    #[test]
    fn tanh_is_as_exact_as_stated_and_odd() {
        within(1.334, tanh, Real::tanh);
        for x in sample().filter(|x| !x.is_nan()) {
            assert_eq!(tanh(-x).to_bits(), (-tanh(x)).to_bits(), "{x:e}");
        }
    }

    #[test]
    fn rsqrt_is_as_exact_as_stated() {
        let normal = |x: &f32| x.is_normal() && 0.0 < *x;
        for x in sample().filter(normal).chain([f32::MIN_POSITIVE, f32::MAX]) {
            let error = ulps(rsqrt(x), 1.0 / f64::from(x).sqrt());
            assert!(error <= 0.996, "of {x:e} is off by {error} ulp");
        }
        assert!(rsqrt(0.0).is_finite() && rsqrt(TINIEST).is_finite());
        assert!(rsqrt(f32::NAN).is_nan() && rsqrt(f32::INFINITY) == f32::INFINITY);
    }

    #[test]
    fn over_sqrt_is_as_exact_as_stated() {
        for (a, x) in
            sample().filter(|x| x.is_normal()).zip(sample().map(|x| x.abs()).skip(1 << 20))
        {
            let exact = f64::from(a).over_sqrt(f64::from(x));
            if x.is_normal() && (exact as f32).is_normal() {
                let error = ulps(a.over_sqrt(x), exact);
                assert!(error <= 2.0, "{a:e} over √{x:e} is off by {error} ulp");
            }
        }
    }

    #[test]
    fn ulps_of_neighbours_is_one() {
        for x in [0.0, TINIEST, 1e-40, f32::MIN_POSITIVE, 1.0, 3.0, -1.5, 1e30] {
            assert_eq!(ulps(x, f64::from(x)), 0.0);
            assert_eq!(ulps(x.next_up(), f64::from(x)), 1.0, "{x:e}");
        }
        assert_eq!(ulps(f32::MAX, f64::INFINITY), 1.0);
        assert_eq!(ulps(f32::INFINITY, f64::from(f32::MAX)), 1.0);
        assert_eq!(ulps(f32::INFINITY, 1e300), 0.0);
        assert_eq!(ulps(f32::NAN, f64::NAN), 0.0);
        assert_eq!(ulps(f32::NAN, 1.0), f64::INFINITY);
        assert_eq!(ulps(1.0, f64::NAN), f64::INFINITY);
    }

    /// The bits of `function` of each input, from a loop compiled for every instruction set that
    /// this CPU has.
    fn at_every_level(
        function: impl Fn(f32) -> f32 + Copy,
        inputs: &[f32],
    ) -> Vec<(&'static str, Vec<u32>)> {
        // What is not inlined is not compiled for the instruction set.
        #[inline(always)]
        fn map(function: impl Fn(f32) -> f32, inputs: &[f32]) -> Vec<u32> {
            let mut outputs = vec![0; inputs.len()];
            for (output, x) in outputs.iter_mut().zip(inputs) {
                *output = function(*x).to_bits();
            }
            outputs
        }
        let best = Level::new();
        let map_best = fearless_simd::dispatch!(best, simd => {
            simd.vectorize(|| map(function, inputs))
        });
        let mut results = vec![("best", map_best)];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            let sse2 = best.as_sse2().map(|simd| simd.vectorize(|| map(function, inputs)));
            let avx2 = best.as_avx2().map(|simd| simd.vectorize(|| map(function, inputs)));
            results.extend(sse2.map(|bits| ("SSE2", bits)));
            results.extend(avx2.map(|bits| ("AVX2", bits)));
        }
        results
    }

    #[test]
    fn vectorized_loops_give_the_bits_of_scalar_calls() {
        #[track_caller]
        fn compare(function: impl Fn(f32) -> f32 + Copy) {
            let inputs: Vec<f32> = sample().filter(|x| !x.is_nan()).step_by(97).collect();
            for len in [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, inputs.len()] {
                let inputs = &inputs[inputs.len() - len..];
                let scalar: Vec<u32> =
                    inputs.iter().map(|x| std::hint::black_box(function(*x)).to_bits()).collect();
                for (level, vectorized) in at_every_level(function, inputs) {
                    assert_eq!(vectorized, scalar, "{len} values, {level}");
                }
            }
        }
        compare(exp);
        compare(sigmoid);
        compare(tanh);
        compare(rsqrt);
    }
}
