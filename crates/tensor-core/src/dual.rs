//! Dual numbers: a value with its derivative by one variable, carried through every operation.
//!
//! Clifford, "Preliminary sketch of biquaternions", 1871; as forward-mode differentiation Wengert,
//! "A simple automatic derivative evaluation program", 1964. Unlike finite differences nothing
//! cancels, so a derivative is as exact as the value.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::Real;

/// A value and its derivative. Compares by value alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dual {
    /// The value.
    pub value: f64,
    /// Its derivative by the variable in question.
    pub derivative: f64,
}

impl Dual {
    /// The variable itself: a value whose derivative is one.
    pub fn variable(value: f64) -> Self {
        Self { value, derivative: 1.0 }
    }

    /// `value` with the derivative of a function at `self`, by the chain rule.
    #[inline]
    fn chain(self, value: f64, slope: f64) -> Self {
        Self { value, derivative: slope * self.derivative }
    }
}

impl fmt::Display for Dual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} + {}ε", self.value, self.derivative)
    }
}

impl PartialEq for Dual {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Dual {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Add for Dual {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, derivative: self.derivative + other.derivative }
    }
}

impl Sub for Dual {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, derivative: self.derivative - other.derivative }
    }
}

impl Mul for Dual {
    type Output = Self;
    #[inline]
    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            derivative: self.derivative * other.value + self.value * other.derivative,
        }
    }
}

impl Div for Dual {
    type Output = Self;
    #[inline]
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self { value, derivative: (self.derivative - value * other.derivative) / other.value }
    }
}

impl Neg for Dual {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        Self { value: -self.value, derivative: -self.derivative }
    }
}

macro_rules! assign {
    ($($trait:ident $method:ident $operator:tt;)*) => {
        $(impl $trait for Dual {
            #[inline]
            fn $method(&mut self, other: Self) {
                *self = *self $operator other;
            }
        })*
    };
}

assign! {
    AddAssign add_assign +;
    SubAssign sub_assign -;
    MulAssign mul_assign *;
    DivAssign div_assign /;
}

impl Real for Dual {
    const ZERO: Self = Self { value: 0.0, derivative: 0.0 };
    const ONE: Self = Self { value: 1.0, derivative: 0.0 };

    fn from_f64(value: f64) -> Self {
        Self { value, derivative: 0.0 }
    }
    fn to_f64(self) -> f64 {
        self.value
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        self * a + b
    }
    fn exp(self) -> Self {
        let value = Real::exp(self.value);
        self.chain(value, value)
    }
    fn ln(self) -> Self {
        self.chain(Real::ln(self.value), 1.0 / self.value)
    }
    fn tanh(self) -> Self {
        let value = Real::tanh(self.value);
        self.chain(value, 1.0 - value * value)
    }
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        self.chain(value, 0.5 / value)
    }
    fn is_finite(self) -> bool {
        self.value.is_finite() && self.derivative.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the derivative written down by hand.
    #[track_caller]
    fn check(function: impl Fn(Dual) -> Dual, x: f64, derivative: f64) {
        let found = function(Dual::variable(x));
        assert!(
            (found.derivative - derivative).abs() <= 1e-15 * derivative.abs().max(1.0),
            "{found}"
        );
        let constant = function(Dual::from_f64(x));
        assert_eq!((constant.value, constant.derivative), (found.value, 0.0));
    }

    #[test]
    fn derivatives_are_those_of_the_textbook() {
        let two = Dual::from_f64(2.0);
        check(|x| x + x * two, 0.7, 3.0);
        check(|x| two - x, 0.7, -1.0);
        check(|x| x * x * x, 0.7, 3.0 * 0.49);
        check(|x| two / x, 0.7, -2.0 / 0.49);
        check(|x| x / two, 0.7, 0.5);
        check(|x| -x, 0.7, -1.0);
        check(|x| x.mul_add(x * two, two * x), 0.7, 4.8);
        check(Real::exp, 0.7, 0.7_f64.exp());
        check(Real::ln, 0.7, 1.0 / 0.7);
        check(Real::tanh, 0.7, 1.0 - 0.7_f64.tanh().powi(2));
        check(Real::sqrt, 0.7, 0.5 / 0.7_f64.sqrt());
        let s = 1.0 / (1.0 + (-0.7_f64).exp());
        check(Real::sigmoid, 0.7, s * (1.0 - s));
    }

    #[test]
    fn assignments_are_the_operations() {
        let (a, b) = (Dual { value: 3.0, derivative: 5.0 }, Dual { value: 2.0, derivative: -1.0 });
        let mut all = [a; 4];
        all[0] += b;
        all[1] -= b;
        all[2] *= b;
        all[3] /= b;
        let expected = [(5.0, 4.0), (1.0, 6.0), (6.0, 7.0), (1.5, 3.25)];
        assert_eq!(all.map(|dual| (dual.value, dual.derivative)), expected);
    }

    #[test]
    fn it_compares_as_its_value_whatever_the_derivative() {
        let (a, b) = (Dual { value: 3.0, derivative: 5.0 }, Dual { value: 3.0, derivative: -1.0 });
        assert!(a == b && a != -b && -b < a && b >= a);
        assert_eq!((a.to_f64(), (-a).to_f64()), (3.0, -3.0));
        assert_eq!(b.to_string(), "3 + -1ε");
    }

    #[test]
    fn it_is_finite_if_its_value_and_its_derivative_are() {
        let is_finite = |value, derivative| Real::is_finite(Dual { value, derivative });
        assert!(is_finite(1.0, 2.0));
        assert!(!is_finite(f64::NAN, 2.0) && !is_finite(1.0, f64::INFINITY));
    }
}
