//! How many values a layer says it keeps, against what it allocates.

use allocation_counter::measure;
use rnn_model::gradcheck::{Variant, variants};
use rnn_model::{Dims, Layer, LayerOptions, builtin_cells};
use tensor_core::Real;

/// The bytes that a layer takes when it is built and keeps, and the values it says it keeps.
fn kept<T: Real>(build: impl FnOnce() -> Box<dyn Layer<T>>) -> (i64, usize) {
    let mut layer = None;
    let allocated = measure(|| layer = Some(build()));
    (allocated.bytes_current, layer.expect("built").tape_len())
}

#[test]
fn a_layer_keeps_as_many_values_as_it_says() {
    let dims = Dims { input_size: 7, hidden_size: 5, batch_size: 3, seq_len: 11 };
    let plain = LayerOptions::default();
    let all = [
        plain,
        LayerOptions { layer_norm: true, ..plain },
        LayerOptions { learned_state: true, ..plain },
        LayerOptions { drop_connect: 0.5, ..plain },
        LayerOptions { layer_norm: true, learned_state: true, drop_connect: 0.5 },
    ];
    for Variant { name, cell } in variants(&builtin_cells()) {
        for options in all {
            let (single, values) = kept(|| cell.f32(dims, options));
            let (double, _) = kept(|| cell.f64(dims, options));
            // What is of another size in the two is numbers.
            assert_eq!(double - single, 4 * values as i64, "{name} with {options:?}");
        }
    }
}
