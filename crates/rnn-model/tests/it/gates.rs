//! Which gates a layer shows, and that they are those that open and shut.

use rnn_model::gradcheck::{Variant, variants};
use rnn_model::{Architecture, Dims, LayerOptions, Model, builtin_cells};

/// With weights of zero every sigmoid is a half, and everything else zero. So one that is shown has
/// to be a half for every unit and step, and with biases of eight nearly one.
#[test]
fn gates_are_sigmoids() {
    let dims = Dims { input_size: 3, hidden_size: 5, batch_size: 2, seq_len: 4 };
    let architecture = Architecture { vocab_size: 3, ..Architecture::default() };
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
            let ids: Vec<u32> = vec![0, 1, 2, 0, 2, 1];
            model.forward(&theta, &ids, &model.zero_state());
            for (gate, values) in model.gates().next().expect("a layer") {
                assert_eq!(values.dim(), (6, 5), "{name}");
                let is_close = |value: &f64| (value - expected).abs() < 1e-3;
                assert!(values.iter().all(is_close), "{name}, {gate}: {values}");
            }
        }
        let gates = model.gates().next().expect("a layer");
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
