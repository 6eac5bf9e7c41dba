//! The same learning rate at every step.

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// `constant` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Constant {}

impl Part for Constant {
    const NAME: &'static str = "constant";
    const SUMMARY: &'static str = "the same learning rate at every step";
    const SOURCE: &'static str = "Robbins & Monro 1951";
}

impl Schedule for Constant {
    fn factor(&self, _step: u64, _steps: u64) -> f64 {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors;
    use super::*;

    #[test]
    fn it_changes_nothing() {
        assert_eq!(factors(&Constant {}, 3), [1.0; 3]);
    }
}
