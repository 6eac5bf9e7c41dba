//! Training against NumPy's min-char-rnn, number for number.
//!
//! The figures come from Karpathy's gist run in float64 on `configs/data/input.txt`, characters in
//! code point order, with `numpy.random.default_rng(7)` for the weights and Adagrad at 0.01:
//! `fixtures/min_char_rnn/lr0.01.safetensors` holds initial weights `init.*`, the clipped gradients
//! of the first iteration `grad0.*`, the weights after 100 iterations `after100.*`, and 2000 losses,
//! each a sum of nats over 25 steps. At this rate training is not chaotic: two float64 runs that
//! add in different orders agree to 1e-14 throughout.

use std::path::Path;

use data_io::{TensorFile, Values};
use experiment::Trainer;
use integration_tests::{prepare, project};
use rnn_model::state_dict;

/// The reference's names of our tensors, and PyTorch's.
const NAMES: [(&str, &str); 5] = [
    ("Wxh", "rnn.weight_ih_l0"),
    ("Whh", "rnn.weight_hh_l0"),
    ("bh", "rnn.bias_ih_l0"),
    ("Why", "head.weight"),
    ("by", "head.bias"),
];

fn reference() -> TensorFile {
    let path = project("tests/fixtures/min_char_rnn/lr0.01.safetensors");
    TensorFile::read(&path).expect("the fixture")
}

/// Writes the reference's initial weights under PyTorch's names.
fn write_initial_weights(reference: &TensorFile, path: &Path) {
    let mut file = TensorFile::default();
    for (name, torch) in NAMES {
        let tensor = &reference.tensors[&format!("init.{name}")];
        // min-char-rnn keeps a bias as a column.
        let shape = match tensor.shape[..] {
            [len, 1] => vec![len],
            _ => tensor.shape.clone(),
        };
        file.insert(torch, shape, Values::F64(tensor.values.to_f64()));
    }
    file.write(path).expect("writable");
}

/// Trains `configs/karpathy.toml` in f64 from the reference's initial weights.
fn with_trainer(learning_rate: f64, test: impl FnOnce(&TensorFile, Trainer<'_, f64>)) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let weights = directory.path().join("init.safetensors");
    let reference = reference();
    write_initial_weights(&reference, &weights);
    let experiment = prepare(
        "configs/karpathy.toml",
        &[
            "model.dtype=f64",
            &format!(
                "model.init={{ kind = \"file\", path = {:?} }}",
                weights.display().to_string()
            ),
            &format!("optimizer.learning_rate={learning_rate}"),
        ],
    );
    let trainer = Trainer::new(&experiment);
    test(&reference, trainer);
}

/// The worst difference of any tensor, relative to the largest value of that tensor.
fn worst_difference(
    reference: &TensorFile,
    kind: &str,
    trainer: &Trainer<'_, f64>,
    flat: &[f64],
) -> f64 {
    let tensors = state_dict::export(trainer.model().layout(), flat);
    let difference = |(name, torch): &(&str, &str)| {
        let expected = reference.tensors[&format!("{kind}.{name}")].values.to_f64();
        let found = &tensors.iter().find(|tensor| tensor.name == *torch).expect("exported").values;
        assert_eq!(found.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        worst / largest
    };
    NAMES.iter().map(difference).fold(0.0, f64::max)
}

#[test]
fn losses_gradients_and_weights_are_those_of_min_char_rnn() {
    with_trainer(0.01, |reference, mut trainer| {
        let losses = reference.tensors["loss"].values.to_f64();
        assert_eq!(losses.len(), 2000);
        for (step, expected) in (1..).zip(losses) {
            let found = 25.0 * trainer.step().expect("finite").nats_per_char;
            let error = (found - expected).abs() / expected;
            assert!(error <= 1e-10, "loss of step {step}: {found}, expected {expected}");
            if step == 1 {
                let worst = worst_difference(reference, "grad0", &trainer, trainer.grads());
                assert!(worst <= 1e-12, "first gradients: {worst:e}");
            }
            if step == 100 {
                let worst = worst_difference(reference, "after100", &trainer, trainer.theta());
                assert!(worst <= 1e-10, "weights after 100 steps: {worst:e}");
            }
        }
    });
}

/// At learning rate 0.1 a difference of 4e-16 in the weights has grown to 1e-7 by the seventh
/// iteration, so only the first six losses can be compared.
#[test]
fn the_first_losses_at_the_seeds_own_learning_rate_are_those_of_min_char_rnn() {
    const LOSSES: [f64; 6] = [
        101.51258020552862,
        94.61418094563129,
        198.22921409482424,
        192.14328923165647,
        267.30082505821713,
        220.3769520480179,
    ];
    with_trainer(0.1, |_, mut trainer| {
        for (step, expected) in (1..).zip(LOSSES) {
            let found = 25.0 * trainer.step().expect("finite").nats_per_char;
            let error = (found - expected).abs() / expected;
            assert!(error <= 1e-8, "loss of step {step}: {found}, expected {expected}");
        }
    });
}

/// min-char-rnn's smoothed loss after 30000 steps, in nats per window, over NumPy's seeds: 2.3, 3.3,
/// 4.0, 7.1, 14.6. The spread is Adagrad's own at this rate; 20 is the bound for any seed.
/// `cargo xtask seeds` looks at more of them.
#[test]
fn the_default_config_learns_as_min_char_rnn_does() {
    let experiment = prepare("configs/karpathy.toml", &["train.seed=3"]);
    let mut trainer = Trainer::<f32>::new(&experiment);
    let mut smooth = f64::INFINITY;
    for _ in 0..30_000 {
        smooth = 25.0 * trainer.step().expect("finite").smooth_nats_per_char;
    }
    assert!(smooth <= 20.0, "{smooth}");
}
