//! Optimizers against PyTorch's, parameter for parameter after every step, in `f64`; and Lion, which
//! PyTorch has not, and Muon against the plainest code there is.
//!
//! Both fixtures hold a parameter `param0` [3, 4], twelve gradients `grads` [12, 3, 4] given from
//! outside, and `after.NAME` [12, 3, 4], the parameter after each step of an optimizer. They come from
//! PyTorch 2.15 in float64, and the metadata under NAME says which optimizer, with which settings:
//! - `fixtures/optimizers.safetensors` in words, as in "lr 0.1 momentum 0.9 nesterov";
//! - `fixtures/optimizer_keys.safetensors`, made by the script beside it, in our own keys.

use std::collections::BTreeMap;
use std::path::Path;

use optim::{BuildOptimizer, Update, builtin_optimizers};
use registry::range::Positive;
use registry::{Chosen, Document};
use safetensors::SafeTensors;
use tensor_core::pool::Pool;
use tensor_core::{Layout, Shape};

/// Both sides round each operation once, some of them in another order, over twelve steps.
const TOLERANCE: f64 = 1e-12;

/// The optimizer that TOML keys describe, and its learning rate.
fn optimizer(keys: &str) -> (Chosen<dyn BuildOptimizer>, f64) {
    let document = Document::new("keys", format!("optimizer = {{ {keys} }}"), [""; 0]);
    let part = || {
        let mut part = document.parse()?.part("optimizer", "none")?;
        let learning_rate = part.section_mut().value::<Positive>("learning_rate")?;
        Ok((builtin_optimizers().choose(part)?, learning_rate.expect("given").get()))
    };
    part().unwrap_or_else(|error: registry::ConfigError| panic!("{keys}: {error}"))
}

/// Each tensor's values, and the metadata.
struct Fixture {
    tensors: BTreeMap<String, Vec<f64>>,
    metadata: BTreeMap<String, String>,
}

fn fixture(name: &str) -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let bytes = std::fs::read(path).expect("the fixture");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let metadata = header.metadata().clone().expect("settings by name");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensors = file.iter().map(|(name, tensor)| {
        let chunks = tensor.data().as_chunks::<8>().0;
        (name.to_owned(), chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect())
    });
    Fixture { tensors: tensors.collect(), metadata: metadata.into_iter().collect() }
}

/// The worst relative deviation from `after.NAME` over all steps and entries.
fn deviation(file: &Fixture, name: &str, keys: &str) -> f64 {
    let (optimizer, learning_rate) = optimizer(keys);
    let values = |name: &str| file.tensors[name].clone();
    let mut layout = Layout::default();
    layout.push(None, [("w", Shape::Matrix(3, 4))]);

    let mut optimizer = optimizer.f64(&layout);
    let (mut params, grads, after) =
        (values("param0"), values("grads"), values(&format!("after.{name}")));
    let mut worst = 0.0_f64;
    let steps = grads.chunks_exact(params.len()).zip(after.chunks_exact(params.len()));
    assert_eq!(steps.len(), 12);
    for (step, (grads, after)) in (1..).zip(steps) {
        optimizer.update(Update {
            step,
            learning_rate,
            params: &mut params,
            grads,
            pool: &mut Pool::default(),
        });
        for (found, expected) in params.iter().zip(after) {
            let error = (found - expected).abs() / expected.abs();
            worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
        }
    }
    worst
}

#[track_caller]
fn check(file: &Fixture, name: &str, keys: &str) {
    let worst = deviation(file, name, keys);
    println!("{name:28} {worst:.1e}");
    assert!(worst <= TOLERANCE, "{name}, {keys}: off by {worst:e}");
}

/// Our keys for the settings that `optimizers.safetensors` has for `name`, in words.
fn keys_of_words(metadata: &BTreeMap<String, String>, name: &str) -> String {
    let kind = name.split('_').next().expect("a first word");
    let mut keys = format!("kind = \"{kind}\"");
    for (word, values) in settings(metadata, name) {
        keys += &match (word.as_str(), &values[..]) {
            ("lr", [value]) => format!(", learning_rate = {value}"),
            (key, []) => format!(", {key} = true"),
            (key, [value]) => format!(", {key} = {value}"),
            (key, values) => format!(", {key} = [{}]", values.join(", ")),
        };
    }
    if kind == "adagrad" {
        // Said in brackets in the metadata; ours has it inside by default, as min-char-rnn.
        keys += ", eps_inside_root = false";
    }
    keys
}

/// Each word and the numbers after it. Text in brackets is left out, and `as OTHER,` stands for what
/// is said of another.
fn settings(metadata: &BTreeMap<String, String>, name: &str) -> Vec<(String, Vec<String>)> {
    let mut text = metadata[name].as_str();
    let mut settings = Vec::new();
    if let Some((other, rest)) = text.strip_prefix("as ").and_then(|text| text.split_once(',')) {
        settings = self::settings(metadata, other);
        text = rest;
    }
    let outside_brackets = text.split('(').map(|part| part.rsplit(')').next().unwrap_or(part));
    for word in outside_brackets.flat_map(str::split_whitespace) {
        match settings.last_mut() {
            Some((_, values)) if word.parse::<f64>().is_ok() => values.push(word.to_owned()),
            _ if word == "decoupled" => {} // What adamw is.
            _ => settings.push((word.to_owned(), Vec::new())),
        }
    }
    settings
}

#[test]
fn thirteen_trajectories_are_those_of_pytorch() {
    let file = fixture("optimizers.safetensors");
    let names: Vec<_> = file.tensors.keys().filter_map(|key| key.strip_prefix("after.")).collect();
    assert_eq!(names.len(), 13);
    for name in names {
        check(&file, name, &keys_of_words(&file.metadata, name));
    }
}

#[test]
fn the_keys_that_those_leave_at_their_defaults_are_pytorchs_too() {
    let file = fixture("optimizer_keys.safetensors");
    assert_eq!(file.metadata.len(), 14);
    for (name, keys) in &file.metadata {
        check(&file, name, keys);
    }
}

/// What each setting in words became, so that none of them can get lost unseen.
#[test]
fn words_become_keys() {
    let metadata = fixture("optimizers.safetensors").metadata;
    let check = |name, expected: &str| assert_eq!(keys_of_words(&metadata, name), expected);
    check("sgd_nesterov", "kind = \"sgd\", learning_rate = 0.1, momentum = 0.9, nesterov = true");
    check("sgd_weight_decay", "kind = \"sgd\", learning_rate = 0.1, weight_decay = 0.01");
    let adam = "learning_rate = 0.002, betas = [0.9, 0.99], eps = 1e-8";
    check("adamw", &format!("kind = \"adamw\", {adam}, weight_decay = 0.1"));
    check("nadam", &format!("kind = \"nadam\", {adam}, momentum_decay = 0.004"));
    let rmsprop = "learning_rate = 0.01, alpha = 0.95, eps = 1e-8";
    check("rmsprop_momentum", &format!("kind = \"rmsprop\", {rmsprop}, momentum = 0.9"));
}

/// Tensors of all kinds, and numbers for them that no two entries share.
mod plain {
    use super::*;

    pub const SHAPES: [Shape; 5] = [
        Shape::Matrix(3, 5),
        Shape::Vector(5),
        Shape::Matrix(7, 2),
        Shape::Matrix(1, 4),
        Shape::Vector(1),
    ];

    pub fn layout() -> Layout {
        let mut layout = Layout::default();
        layout.push(None, SHAPES.map(|shape| ("w", shape)));
        layout
    }

    pub fn numbers(seed: usize, len: usize) -> Vec<f64> {
        (0..len)
            .map(|i| ((i * 37 + seed * 101) as f64 * 0.61).sin() * 1.5_f64.powi(i as i32 % 7 - 3))
            .collect()
    }

    /// Steps the optimizer of `keys` and a plain one, which is handed step number, parameters,
    /// gradients and as many numbers to keep as there are parameters, twice; the worst difference.
    pub fn difference(
        keys: &str,
        mut plain: impl FnMut(i32, &mut [f64], &[f64], &mut [f64], &mut [f64]),
    ) -> f64 {
        let (layout, (part, learning_rate)) = (layout(), optimizer(keys));
        let mut optimizer = part.f64(&layout);
        let len = layout.len();
        let (mut found, mut expected) = (numbers(0, len), numbers(0, len));
        let (mut m, mut v) = (vec![0.0; len], vec![0.0; len]);
        let mut worst = 0.0_f64;
        for step in 1..=20 {
            let grads = numbers(step as usize, len);
            optimizer.update(Update {
                step: step as u64,
                learning_rate,
                params: &mut found,
                grads: &grads,
                pool: &mut Pool::default(),
            });
            plain(step, &mut expected, &grads, &mut m, &mut v);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(found.is_finite());
                worst = worst.max((found - expected).abs());
            }
        }
        worst
    }
}

#[test]
fn lion_is_the_one_of_its_paper() {
    let keys = "kind = \"lion\", learning_rate = 0.01, betas = [0.8, 0.95], weight_decay = 0.3";
    let worst = plain::difference(keys, |_, params, grads, m, _| {
        for i in 0..params.len() {
            let c = 0.8 * m[i] + 0.2 * grads[i];
            let update = if c == 0.0 { 0.0 } else { c.signum() };
            params[i] -= 0.01 * (update + 0.3 * params[i]);
            m[i] = 0.95 * m[i] + 0.05 * grads[i];
        }
    });
    println!("lion {worst:.1e}");
    assert!(worst <= 1e-14, "{worst:e}");
}

type Rows = Vec<Vec<f64>>;

fn product(a: &Rows, b: &Rows) -> Rows {
    let entry = |row: &Vec<f64>, col: usize| (0..b.len()).map(|k| row[k] * b[k][col]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|col| entry(row, col)).collect()).collect()
}

fn transpose(a: &Rows) -> Rows {
    (0..a[0].len()).map(|col| a.iter().map(|row| row[col]).collect()).collect()
}

/// `a·X + b·(X·Xᵀ)·X + c·(X·Xᵀ)²·X`, five times, on the side where there are fewer rows.
fn newton_schulz(u: &Rows) -> Rows {
    if u[0].len() < u.len() {
        return transpose(&newton_schulz(&transpose(u)));
    }
    let norm = u.iter().flatten().map(|u| u * u).sum::<f64>().sqrt();
    let mut x: Rows = u.iter().map(|row| row.iter().map(|u| u / norm).collect()).collect();
    for _ in 0..5 {
        let gram = product(&x, &transpose(&x));
        let third = product(&gram, &x);
        let fifth = product(&gram, &third);
        for (i, row) in x.iter_mut().enumerate() {
            for (j, x) in row.iter_mut().enumerate() {
                *x = 3.4445 * *x - 4.7750 * third[i][j] + 2.0315 * fifth[i][j];
            }
        }
    }
    x
}

#[test]
fn muon_is_the_one_of_its_authors() {
    let keys = "kind = \"muon\", learning_rate = 0.01, momentum = 0.8, betas = [0.7, 0.9],
                weight_decay = 0.3, eps = 1e-6, adjust_lr_fn = \"original\"";
    let worst = plain::difference(&keys.replace('\n', ""), |step, params, grads, m, v| {
        let mut start = 0;
        for shape in plain::SHAPES {
            let range = start..start + shape.len();
            start = range.end;
            match shape {
                Shape::Matrix(inputs, outputs) => {
                    let mut u = Vec::new();
                    for i in range.clone() {
                        m[i] = 0.8 * m[i] + 0.2 * grads[i];
                        u.push(0.8 * m[i] + 0.2 * grads[i]);
                    }
                    let u: Rows = u.chunks(outputs).map(<[f64]>::to_vec).collect();
                    let scale = (outputs as f64 / inputs as f64).max(1.0).sqrt();
                    for (i, u) in range.zip(newton_schulz(&u).concat()) {
                        params[i] -= 0.01 * (0.3 * params[i] + scale * u);
                    }
                }
                Shape::Vector(_) => {
                    for i in range {
                        m[i] = 0.7 * m[i] + 0.3 * grads[i];
                        v[i] = 0.9 * v[i] + 0.1 * grads[i] * grads[i];
                        let m_hat = m[i] / (1.0 - 0.7_f64.powi(step));
                        let v_hat = v[i] / (1.0 - 0.9_f64.powi(step));
                        params[i] -= 0.01 * (0.3 * params[i] + m_hat / (v_hat.sqrt() + 1e-6));
                    }
                }
            }
        }
    });
    println!("muon {worst:.1e}");
    // The iteration enlarges a small singular value, and the rounding of it, up to 3.4445⁵ = 485 times.
    assert!(worst <= 1e-13, "{worst:e}");
}
