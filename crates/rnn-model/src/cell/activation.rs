//! The function of a pre-activation, where a cell leaves the choice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Real;

/// The function of a pre-activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Hyperbolic tangent.
    #[default]
    Tanh,
    /// `max(0, a)`.
    Relu,
}

impl Activation {
    /// The function's value.
    #[inline(always)]
    pub fn of<T: Real>(self, a: T) -> T {
        match self {
            Self::Tanh => a.tanh(),
            // A NaN has to stay one.
            Self::Relu if a < T::ZERO => T::ZERO,
            Self::Relu => a,
        }
    }

    /// The derivative, from the function's value: that is all a tape has to keep.
    #[inline(always)]
    pub fn slope<T: Real>(self, value: T) -> T {
        match self {
            Self::Tanh => T::ONE - value * value,
            Self::Relu if T::ZERO < value => T::ONE,
            Self::Relu => T::ZERO,
        }
    }
}
