//! What a checkpoint and an initializer read of a model: names, places and starts.

use std::ops::Range;

use rnn_model::gradcheck::{Case, cases, variants};
use rnn_model::{LayerOptions, builtin_cells};

/// Two layers of three lanes of four units.
#[track_caller]
fn check(cell: &str, expected: &[(&str, Range<usize>)]) {
    let cells = variants(&builtin_cells());
    let cell = cells.iter().find(|variant| variant.name == cell).expect("registered");
    let case = Case { layers: 2, hidden_size: 4, batch_size: 3, ..cases()[0] };
    let model = case.model(|dims, options| cell.cell.f32(dims, options));
    let expected = expected.iter().map(|(name, range)| ((*name).to_owned(), range.clone()));
    assert_eq!(model.states(), expected.collect::<Vec<_>>());
}

#[test]
fn every_vector_of_every_layer_has_its_place() {
    let each_one = [("h_l0", 0..12), ("h_l1", 12..24)];
    check("vanilla", &each_one);
    check("gru", &each_one);
    check("min_gru", &each_one);
    check("lstm", &[("h_l0", 0..12), ("c_l0", 12..24), ("h_l1", 24..36), ("c_l1", 36..48)]);
}

#[test]
fn a_gain_starts_at_one() {
    let options = LayerOptions { layer_norm: true, ..LayerOptions::default() };
    for cell in variants(&builtin_cells()) {
        let model =
            Case { options, ..cases()[0] }.model(|dims, options| cell.cell.f32(dims, options));
        let mut gains = model.layout().segments().iter().filter(|segment| segment.tensor == "g_xh");
        assert_eq!(gains.next().expect("a norm has a gain").start, Some(1.0), "{}", cell.name);
    }
}
