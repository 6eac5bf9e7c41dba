//! Which gates a layer shows, and that they are those that open and shut.

use ndarray::ArrayView2;
use rnn_model::gradcheck::{Variant, variants};
use rnn_model::{Architecture, Dims, LayerOptions, Model, builtin_cells};

/// With weights of zero every sigmoid is a half, and everything else zero. So one that is shown has
/// to be a half for every unit and step, and with biases of eight nearly one.
#[test]
fn gates_are_sigmoids() {
    let dims = Dims { input_size: 3, hidden_size: 5, batch_size: 2, seq_len: 4 };
    let architecture = Architecture { vocab_size: 3, ..Architecture::default() };
    let ids: Vec<u32> = vec![0, 1, 2, 0, 2, 1];
    let mut shown = Vec::new();
    for Variant { name, cell } in variants(&builtin_cells()) {
        let layer = cell.f64(dims, LayerOptions::default());
        let mut model = Model::new(architecture, vec![layer]);
        let mut theta = vec![0.0; model.layout().len()];
        for (bias, expected) in [(0.0, 0.5), (8.0, 1.0)] {
            for segment in model.layout().segments() {
                if segment.tensor == "b_h" {
                    theta[segment.range.clone()].fill(bias);
                }
            }
            model.forward(&theta, &ids, &model.zero_state());
            for (gate, values) in model.gates().next().expect("a layer") {
                assert_eq!(values.dim(), (6, 5), "{name}");
                let is_close = |value: &f64| (value - expected).abs() < 1e-3;
                assert!(values.iter().all(is_close), "{name}, {gate}: {values}");
            }
        }
        // A bias for each gate: those that are shown have to be neighbours, in their order.
        for segment in model.layout().segments() {
            if segment.tensor == "b_h" {
                let gates = theta[segment.range.clone()].chunks_exact_mut(5).enumerate();
                gates.for_each(|(gate, biases)| biases.fill(gate as f64));
            }
        }
        model.forward(&theta, &ids, &model.zero_state());
        let gates = model.gates().next().expect("a layer");
        for (gate, neighbour) in gates.iter().zip(&gates[1.min(gates.len())..]) {
            let bias =
                |values: ArrayView2<'_, f64>| values.mapv(|value| (value / (1.0 - value)).ln());
            let difference = bias(neighbour.1) - bias(gate.1);
            let is_one = |value: &f64| (value - 1.0).abs() < 1e-12;
            assert!(difference.iter().all(is_one), "{name}, {} and {}", gate.0, neighbour.0);
        }
        let gates: Vec<_> = gates.into_iter().map(|(gate, _)| gate).collect();
        shown.push(format!("{name}: {}", gates.join(" ")));
    }
    let expected = [
        "vanilla: ",
        "lstm: i f o",
        "gru: r z",
        "mgu: f",
        "min_gru: z",
        "min_lstm: i f",
        "mlstm: i f o",
        "indrnn: ",
    ];
    for line in expected {
        assert!(shown.iter().any(|shown| shown == line), "{line:?} is not in {shown:?}");
    }
}
