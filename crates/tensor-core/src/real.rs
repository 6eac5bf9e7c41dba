//! The number types a model computes in.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::kernel::{self, Begin, Grid, Pack, Product};
use crate::math;
use crate::simd::Level;

/// A real number: `f32` to train, `f64` to check gradients with, [`Dual`](crate::Dual) to check them
/// once more.
///
/// `exp`, `tanh`, `sigmoid` and `over_sqrt` of an `f32` are those of [`math`], which loops over a slice
/// vectorize; the other functions come from `libm`. Both are plain Rust, because the functions of
/// the system's library differ between systems and, through run-time dispatch, between CPUs of one
/// system. `sqrt`, `mul_add` and the four operations are exactly rounded everywhere.
pub trait Real:
    Copy
    + Debug
    + Display
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
{
    /// The neutral element of addition.
    const ZERO: Self;
    /// The neutral element of multiplication.
    const ONE: Self;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The same value in double precision.
    fn to_f64(self) -> f64;
    /// `self·a + b`, rounded once if this is a float.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `e` to the power of `self`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The logistic function `1 / (1 + exp(-self))`.
    #[inline]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
    /// Square root, exactly rounded.
    fn sqrt(self) -> Self;
    /// `self / √x`, for a positive normal `x`: within 2 ulp in `f32`, exactly rounded steps in others.
    #[inline(always)]
    fn over_sqrt(self, x: Self) -> Self {
        self / x.sqrt()
    }
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// Runs `f`, a loop over numbers of this type, compiled for this CPU's vector instructions where
    /// that pays.
    ///
    /// `f` and what it calls have to be inlined to profit, so write `#[inline(always)]` before it. What
    /// is not inlined is as right, and slower.
    #[inline(always)]
    fn vectorized<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    /// How the products lay out a matrix.
    #[doc(hidden)]
    fn grid() -> Grid {
        Grid::of::<Self>(Level::Plain)
    }

    /// Lays out some columns of a matrix.
    #[doc(hidden)]
    fn pack(pack: Pack<'_, Self>) {
        kernel::plain_pack(Self::grid(), pack);
    }

    /// Lays out some columns of a matrix, and computes as many of the first rows of a product with it as
    /// are returned.
    #[doc(hidden)]
    fn begin(begin: Begin<'_, Self>) -> usize {
        kernel::plain_pack(Self::grid(), begin.pack);
        0
    }

    /// The product that all others are made of.
    #[doc(hidden)]
    fn multiply(product: &mut Product<'_, Self>) {
        kernel::plain(Self::grid(), product);
    }
}

macro_rules! real {
    ($float:ident, $multiply:path, $pack:path, $begin:path, $exp:path, $ln:path, $tanh:path $(, $sigmoid:path, $rsqrt:path, $level:expr)?) => {
        impl Real for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $float
            }
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            // Always inlined is what `math` needs to be compiled for the caller's instruction set.
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                <$float>::mul_add(self, a, b)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline]
            fn ln(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $tanh(self)
            }
            $(#[inline(always)]
            fn sigmoid(self) -> Self {
                $sigmoid(self)
            }
            #[inline(always)]
            fn over_sqrt(self, x: Self) -> Self {
                self * $rsqrt(x)
            })?
            #[inline]
            fn sqrt(self) -> Self {
                <$float>::sqrt(self)
            }
            #[inline]
            fn is_finite(self) -> bool {
                <$float>::is_finite(self)
            }

            $(#[inline(always)]
            fn vectorized<R>(f: impl FnOnce() -> R) -> R {
                $level.run(f)
            })?

            fn grid() -> Grid {
                Grid::of::<Self>(Level::get())
            }

            fn pack(pack: Pack<'_, Self>) {
                $pack(Level::get(), pack);
            }

            fn begin(begin: Begin<'_, Self>) -> usize {
                $begin(Level::get(), begin)
            }

            fn multiply(product: &mut Product<'_, Self>) {
                $multiply(Level::get(), product);
            }
        }
    };
}

real!(
    f32,
    kernel::multiply_f32,
    kernel::pack_f32,
    kernel::begin_f32,
    math::exp,
    libm::logf,
    math::tanh,
    math::sigmoid,
    math::rsqrt,
    Level::get()
);
real!(
    f64,
    kernel::multiply_f64,
    kernel::pack_f64,
    kernel::begin_f64,
    libm::exp,
    libm::log,
    libm::tanh
);
