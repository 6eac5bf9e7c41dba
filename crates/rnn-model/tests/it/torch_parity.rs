//! Logits, loss, gradients and final states against PyTorch, in float64.
//!
//! `fixtures/CELL_lL_vV_hH_tT_bB.safetensors` come from PyTorch 2.15: `nn.RNN` (tanh),
//! `nn.LSTM` or `nn.GRU` of L layers over one-hot characters, then `nn.Linear`; the loss is
//! `F.cross_entropy`, a mean over steps and lanes. Parameters, states and gradients have the names of
//! the state dict; `ids` and `targets` are `[T, B]`, states `[L, B, H]`.

use std::collections::BTreeMap;
use std::path::Path;

use rnn_model::state_dict::{self, Tensor};
use rnn_model::{Architecture, Dims, LayerOptions, Model, Reduction, builtin_cells};
use safetensors::{Dtype, SafeTensors};

struct Reference {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Reference {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let bytes = std::fs::read(path).expect("the fixture");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let tensors = file.iter().map(|(name, tensor)| {
            let chunks = tensor.data().as_chunks::<8>().0;
            let values = match tensor.dtype() {
                Dtype::I64 => {
                    chunks.iter().map(|chunk| i64::from_le_bytes(*chunk) as f64).collect()
                }
                Dtype::F64 => chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect(),
                other => panic!("{name} is {other:?}"),
            };
            (name.to_owned(), (tensor.shape().to_vec(), values))
        });
        Self { tensors: tensors.collect() }
    }

    fn get(&self, name: &str) -> &(Vec<usize>, Vec<f64>) {
        self.tensors.get(name).unwrap_or_else(|| panic!("{name} is not in the fixture"))
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.get(name).1.iter().map(|id| *id as u32).collect()
    }
}

/// Asserts that the worst difference is at most 1e-12 of the largest value.
#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= 1e-12 * largest, "{what}: {worst:e} of {largest}");
}

fn build(cell: &str, vocab_size: usize, layers: usize, dims: Dims) -> Model<f64> {
    let document = registry::Document::new("test", format!("cell = \"{cell}\""), [""; 0]);
    let part = document.parse().expect("TOML").part("cell", "").expect("a name");
    let part = builtin_cells().choose(part).expect("registered");
    let layer = |index| {
        let input_size = if index == 0 { vocab_size } else { dims.hidden_size };
        part.f64(Dims { input_size, ..dims }, LayerOptions::default())
    };
    let architecture = Architecture { vocab_size, ..Architecture::default() };
    Model::new(architecture, (0..layers).map(layer).collect())
}

#[track_caller]
fn check(cell: &str, [layers, vocab_size, hidden_size, seq_len, batch_size]: [usize; 5]) {
    let file = format!(
        "{cell}_l{layers}_v{vocab_size}_h{hidden_size}_t{seq_len}_b{batch_size}.safetensors"
    );
    let reference = Reference::read(&file);
    let dims = Dims { input_size: vocab_size, hidden_size, batch_size, seq_len };
    let mut model = build(cell, vocab_size, layers, dims);

    let mut theta = vec![0.0; model.layout().len()];
    let find = |name: &str| {
        let (shape, values) = reference.tensors.get(&format!("param.{name}"))?.clone();
        Some(Tensor { name: name.to_owned(), shape, values })
    };
    state_dict::import(model.layout(), &mut theta, find).expect("every parameter");

    // PyTorch keeps all layers of one state vector together, we all vectors of one layer.
    let len = batch_size * hidden_size;
    let states = |h: &str, c: &str| -> Vec<f64> {
        let of_layer =
            |name: &str, layer: usize| reference.get(name).1[layer * len..][..len].to_vec();
        let vectors = if cell == "lstm" { vec![h, c] } else { vec![h] };
        (0..layers)
            .flat_map(|layer| {
                vectors.iter().flat_map(move |name| of_layer(name, layer)).collect::<Vec<_>>()
            })
            .collect()
    };

    // PyTorch's rows are step after step, ours lane after lane.
    let row = |lane: usize, t: usize| t * batch_size + lane;
    let rows = (0..batch_size).flat_map(|lane| (0..seq_len).map(move |t| row(lane, t)));
    let rows: Vec<_> = rows.collect();
    let ids = |name| {
        let ids = reference.ids(name);
        rows.iter().map(|row| ids[*row]).collect::<Vec<_>>()
    };
    let (x, y) = (ids("ids"), ids("targets"));
    model.forward(&theta, &x, &states("h0", "c0"));
    let mut logits = vec![0.0; rows.len() * vocab_size];
    for (found, row) in model.logits().rows().into_iter().zip(&rows) {
        logits[row * vocab_size..][..vocab_size].copy_from_slice(found.to_slice().expect("a row"));
    }
    close("logits", &logits, &reference.get("logits").1);
    let loss = model.loss(&y, Reduction::Mean) / y.len() as f64;
    close("loss", &[loss], &reference.get("loss_mean_nats").1);
    let mut state = model.zero_state();
    model.carry(&mut state);
    close("final state", &state, &states("hn", "cn"));

    let mut grads = vec![f64::NAN; theta.len()];
    model.backward(&theta, &x, &mut grads, None);
    for tensor in state_dict::export(model.layout(), &grads) {
        let (shape, expected) = reference.get(&format!("grad.{}", tensor.name));
        assert_eq!(tensor.shape, *shape, "{}", tensor.name);
        let (mut found, mut expected) = (tensor.values, expected.clone());
        if tensor.name.contains("bias_hh") {
            // PyTorch gives both biases one gradient where only their sum matters; ours is in
            // `bias_ih`. In a GRU the last third, the candidate's, has its own.
            let own = if cell == "gru" { found.len() / 3 } else { 0 };
            found.drain(..found.len() - own);
            expected.drain(..expected.len() - own);
        }
        close(&tensor.name, &found, &expected);
    }
}

#[test]
fn vanilla_is_nn_rnn() {
    check("vanilla", [1, 7, 5, 6, 1]);
    check("vanilla", [2, 11, 8, 9, 3]);
    check("vanilla", [3, 13, 6, 5, 2]);
}

#[test]
fn lstm_is_nn_lstm() {
    check("lstm", [1, 7, 5, 6, 1]);
    check("lstm", [2, 11, 8, 9, 3]);
    check("lstm", [3, 13, 6, 5, 2]);
}

#[test]
fn gru_is_nn_gru() {
    check("gru", [1, 7, 5, 6, 1]);
    check("gru", [2, 11, 8, 9, 3]);
    check("gru", [3, 13, 6, 5, 2]);
}
