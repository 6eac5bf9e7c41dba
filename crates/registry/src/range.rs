//! Numbers that carry their allowed range in their type.
//!
//! A field of one of these types needs no check of its own: reading a value outside the range fails
//! with the range in the message and the value's span, and `cli list` shows the range.

// `contains` is no const fn, and the constants of these types are.
#![allow(clippy::manual_range_contains)]

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

macro_rules! range {
    ($(#[$doc:meta])* $name:ident($number:ident), $words:literal, |$value:ident| $valid:expr, $schema:tt) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name($number);

        impl $name {
            /// A constant of this range; use [`TryFrom`] for a value from outside.
            ///
            /// # Panics
            /// If `value` is out of range.
            #[track_caller]
            pub const fn new($value: $number) -> Self {
                assert!($valid, $words);
                Self($value)
            }

            /// The number.
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl TryFrom<$number> for $name {
            type Error = String;

            fn try_from($value: $number) -> Result<Self, String> {
                if $valid { Ok(Self($value)) } else { Err(format!(concat!($words, ", found {}"), $value)) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $number::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

range!(
    /// A finite number above zero.
    Positive(f64), "must be finite and greater than 0",
    |value| 0.0 < value && value < f64::INFINITY,
    { "type": "number", "exclusiveMinimum": 0 }
);
range!(
    /// A finite number, zero or above.
    NonNegative(f64), "must be finite and at least 0",
    |value| 0.0 <= value && value < f64::INFINITY,
    { "type": "number", "minimum": 0 }
);
range!(
    /// A share that leaves something over: at least 0 and below 1.
    Fraction(f64), "must be at least 0 and less than 1",
    |value| 0.0 <= value && value < 1.0,
    { "type": "number", "minimum": 0, "exclusiveMaximum": 1 }
);
range!(
    /// A share: at least 0 and at most 1.
    Share(f64), "must be from 0 to 1",
    |value| 0.0 <= value && value <= 1.0,
    { "type": "number", "minimum": 0, "maximum": 1 }
);
range!(
    /// A width or a number of things held in memory.
    Size(i64), "must be from 1 to 1048576",
    |value| 1 <= value && value <= 1 << 20,
    { "type": "integer", "minimum": 1, "maximum": 1_048_576 }
);
range!(
    /// A number of things, which may be none.
    Count(i64), "must be from 0 to 1048576",
    |value| 0 <= value && value <= 1 << 20,
    { "type": "integer", "minimum": 0, "maximum": 1_048_576 }
);
range!(
    /// Characters of a text held in memory.
    Length(i64), "must be from 1 to 100000000",
    |value| 1 <= value && value <= 100_000_000,
    { "type": "integer", "minimum": 1, "maximum": 100_000_000 }
);
range!(
    /// A number of layers.
    Depth(i64), "must be from 1 to 1000",
    |value| 1 <= value && value <= 1000,
    { "type": "integer", "minimum": 1, "maximum": 1000 }
);
range!(
    /// A number of steps to take.
    Steps(i64), "must be from 1 to 10^12",
    |value| 1 <= value && value <= 1_000_000_000_000,
    { "type": "integer", "minimum": 1, "maximum": 1_000_000_000_000_i64 }
);
range!(
    /// A period in steps; 0 switches off what it governs.
    Every(i64), "must be from 0 (off) to 10^12",
    |value| 0 <= value && value <= 1_000_000_000_000,
    { "type": "integer", "minimum": 0, "maximum": 1_000_000_000_000_i64 }
);
range!(
    /// The seed of a random generator.
    Seed(i64), "must be at least 0",
    |value| 0 <= value,
    { "type": "integer", "minimum": 0 }
);

impl Depth {
    /// The number as a length.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Size {
    /// The number as a length.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Count {
    /// The number as a length.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Length {
    /// The number as a length.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Every {
    /// Whether something with this period is due at `step`, which counts from 1.
    pub const fn is_due(self, step: u64) -> bool {
        self.0 != 0 && step.is_multiple_of(self.0 as u64)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::Document;

    /// Reads `value` as `R`; "ok", or what is wrong with it.
    #[track_caller]
    fn check<R: DeserializeOwned>(value: &str, expected: &str) {
        let document = Document::new("f", format!("v = {value}"), [""; 0]);
        let found = document.parse().and_then(|mut root| root.value::<R>("v"));
        let found = found.map_or_else(|error| error.message, |_| "`v` ok".into());
        assert_eq!(found, format!("`v` {expected}"));
    }

    #[test]
    fn borders_belong_to_the_range_that_says_so() {
        check::<Positive>("5e-324", "ok");
        check::<Positive>("1.7976931348623157e308", "ok");
        check::<Positive>("9223372036854775807", "ok");
        for (value, found) in [("0", "0"), ("-0.0", "-0"), ("-1", "-1"), ("1e-400", "0")] {
            check::<Positive>(value, &format!("must be finite and greater than 0, found {found}"));
        }
        check::<NonNegative>("0", "ok");
        check::<NonNegative>("-0.0", "ok");
        check::<NonNegative>("-1", "must be finite and at least 0, found -1");
        check::<Fraction>("0.9999999999999999", "ok");
        check::<Fraction>("1", "must be at least 0 and less than 1, found 1");
        check::<Fraction>("-0.1", "must be at least 0 and less than 1, found -0.1");
        check::<Share>("1", "ok");
        check::<Share>("1.0000000000000002", "must be from 0 to 1, found 1.0000000000000002");
        check::<Size>("1", "ok");
        check::<Size>("1_048_576", "ok");
        check::<Size>("1_048_577", "must be from 1 to 1048576, found 1048577");
        check::<Size>("0", "must be from 1 to 1048576, found 0");
        check::<Count>("0", "ok");
        check::<Count>("1_048_577", "must be from 0 to 1048576, found 1048577");
        check::<Length>("1", "ok");
        check::<Length>("0", "must be from 1 to 100000000, found 0");
        check::<Length>("100_000_001", "must be from 1 to 100000000, found 100000001");
        check::<Steps>("1_000_000_000_000", "ok");
        check::<Steps>("1_000_000_000_001", "must be from 1 to 10^12, found 1000000000001");
        check::<Every>("0", "ok");
        check::<Every>("-1", "must be from 0 (off) to 10^12, found -1");
        check::<Every>("1_000_000_000_001", "must be from 0 (off) to 10^12, found 1000000000001");
        check::<Seed>("0", "ok");
        check::<Seed>("9223372036854775807", "ok");
        check::<Seed>("-9223372036854775808", "must be at least 0, found -9223372036854775808");
        let too_large = "must be a whole number below 2^63, found 9223372036854775808";
        check::<Seed>("9223372036854775808", too_large);
    }

    #[test]
    fn what_is_no_finite_number_is_in_no_range() {
        for (value, found) in [("nan", "NaN"), ("-nan", "NaN"), ("inf", "inf"), ("-inf", "-inf")] {
            check::<Positive>(value, &format!("must be finite and greater than 0, found {found}"));
            check::<NonNegative>(value, &format!("must be finite and at least 0, found {found}"));
            check::<Fraction>(value, &format!("must be at least 0 and less than 1, found {found}"));
            check::<Share>(value, &format!("must be from 0 to 1, found {found}"));
        }
        check::<Positive>("1e400", "floating-point number overflowed");
        check::<Size>("inf", "must be a whole number, found inf");
        check::<Seed>("1e3", "must be a whole number, found 1000.0");
    }

    #[test]
    fn a_period_of_zero_is_never_due() {
        assert!(!Every::new(0).is_due(0) && !Every::new(0).is_due(5));
        assert!(Every::new(5).is_due(10) && !Every::new(5).is_due(11));
    }
}
