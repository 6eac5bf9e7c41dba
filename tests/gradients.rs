//! Every registered cell against finite differences, at the shapes of `cargo xtask gradcheck`.

use std::collections::BTreeMap;

use rnn_model::builtin_cells;
use rnn_model::gradcheck::{cases, with_default_keys};

#[test]
fn every_registered_cell_has_true_gradients() {
    for cell in with_default_keys(&builtin_cells()) {
        for case in cases() {
            for finding in case.check(|dims, options| cell.f64(dims, options)) {
                assert!(finding.passes(), "{} at {case}: {finding}", cell.name);
            }
        }
    }
}

/// Where a gradient is zero at every shape, one that was forgotten would pass as well.
#[test]
fn every_tensor_of_a_registered_cell_has_a_gradient_at_some_shape() {
    for cell in with_default_keys(&builtin_cells()) {
        let mut largest = BTreeMap::new();
        for case in cases() {
            for finding in case.check(|dims, options| cell.f64(dims, options)) {
                let largest = largest.entry((finding.tensor, finding.layer)).or_insert(0.0_f64);
                *largest = largest.max(finding.largest);
            }
        }
        for (tensor, largest) in largest {
            assert!(0.0 < largest, "{}: {tensor:?}", cell.name);
        }
    }
}
