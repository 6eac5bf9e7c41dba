//! What is held out is held out, and what writes is what is scored.

use std::fs;
use std::path::Path;

use integration_tests::{cli, project};
use serde_json::Value;
use tensor_core::rng::{Stream, stream, uniform};

/// Of 1557 characters the last 312 validate.
const FIRST_HELD_OUT: usize = 1245;
/// A character in the last window of 25 that fits before them.
const LAST_WINDOW: usize = 1210;

/// Trains on `text` with the last fifth held out; with averaged weights, so that a model which is not
/// the one that trains is evaluated and writes.
fn train(directory: &Path, name: &str, text: &str) -> String {
    let file = directory.join(format!("{name}.txt"));
    fs::write(&file, text).expect("writable");
    let (config, run) = (project("configs/karpathy.toml"), directory.join(name));
    let (config, run) = (config.display().to_string(), run.display().to_string());
    let sets = [
        format!("data.path={}", file.display()),
        "data.split=[0.8, 0.2, 0.0]".into(),
        "optimizer.ema=0.99".into(),
        "train.steps=1500".into(),
        "eval.every=500".into(),
        "log.every=1".into(),
        "sample.every=0".into(),
    ];
    let sets = sets.iter().flat_map(|set| ["--set", set.as_str()]);
    let output = cli(&["run", &config, "--out", &run].into_iter().chain(sets).collect::<Vec<_>>());
    assert_eq!(output.code, 0, "{}", output.err);
    run
}

fn text() -> Vec<char> {
    fs::read_to_string(project("configs/data/input.txt")).expect("there").chars().collect()
}

/// The held-out characters in an order of chance.
fn shuffled(text: &[char]) -> String {
    let mut text = text.to_vec();
    let mut rng = stream(7, Stream::Sample);
    for last in (FIRST_HELD_OUT + 1..text.len()).rev() {
        let among = last + 1 - FIRST_HELD_OUT;
        text.swap(last, FIRST_HELD_OUT + (uniform(&mut rng) * among as f64) as usize);
    }
    text.into_iter().collect()
}

fn lines(run: &str, split: &str) -> Vec<String> {
    let metrics = fs::read_to_string(Path::new(run).join("metrics.jsonl")).expect("there");
    let of = format!("\"split\":\"{split}\"");
    metrics.lines().filter(|line| line.contains(&of)).map(str::to_owned).collect()
}

fn nats(run: &str, options: &[&str]) -> f64 {
    let output = cli(&[&["eval", run, "--json"], options].concat());
    assert_eq!(output.code, 0, "{}", output.err);
    let value: Value = serde_json::from_str(&output.out).expect("JSON");
    value["nats_per_char"].as_f64().expect("a loss")
}

#[test]
fn no_held_out_character_is_trained_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = text();
    let whole: String = text.iter().collect();
    let run = train(directory.path(), "whole", &whole);
    // Other characters there, in the same number: everything but the evaluations stays as it is.
    let other = train(directory.path(), "other", &shuffled(&text));
    assert_eq!(lines(&run, "train").len(), 1500);
    assert!(lines(&run, "train") == lines(&other, "train"), "held-out characters count");
    assert_ne!(lines(&run, "val"), lines(&other, "val"));
    let write = |run: &str| cli(&["sample", run, "--length", "300"]).out;
    assert_eq!(write(&run), write(&other));

    // The test would see it if a single one were: two characters of the last window change places.
    let mut changed = text.clone();
    changed.swap(LAST_WINDOW, LAST_WINDOW + 2);
    assert_ne!(changed, text);
    let changed = train(directory.path(), "changed", &changed.iter().collect::<String>());
    assert!(lines(&run, "train") != lines(&changed, "train"), "characters trained on do not count");
}

#[test]
fn a_held_out_text_out_of_order_costs_much_more() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = text();
    let run = train(directory.path(), "whole", &text.iter().collect::<String>());
    let file = directory.path().join("shuffled.txt").display().to_string();
    let shuffled: String = shuffled(&text).chars().skip(FIRST_HELD_OUT).collect();
    fs::write(&file, &shuffled).expect("writable");
    let (in_order, out_of_order) = (nats(&run, &[]), nats(&run, &["--text", &file]));
    assert!(in_order + 1.0 < out_of_order, "{in_order} in order, {out_of_order} out of order");
}

#[test]
fn what_writes_is_what_is_scored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = train(directory.path(), "whole", &text().iter().collect::<String>());
    let written = cli(&["sample", &run, "--temperature", "0", "--length", "40"]);
    assert_eq!(written.code, 0, "{}", written.err);
    let written: Vec<char> = written.out.chars().collect();
    let bits = |text: &[char]| -> Vec<f64> {
        let file = directory.path().join("scored.txt").display().to_string();
        fs::write(&file, text.iter().collect::<String>()).expect("writable");
        let output = cli(&["score", &run, &file, "--chars"]);
        assert_eq!(output.code, 0, "{}", output.err);
        let bits = |line: &str| line.split('\t').next().and_then(|bits| bits.parse().ok());
        output.out.lines().map(|line| bits(line).expect("bits")).collect()
    };
    // At temperature 0 the model writes what it finds likeliest, so nothing else can cost less there.
    let likeliest = bits(&written);
    for (place, c) in [(0, 'e'), (5, ' '), (17, 't'), (39, '\n')] {
        let mut other = written.clone();
        other[place] = if written[place] == c { 'a' } else { c };
        let costs = bits(&other);
        assert_eq!(costs[..place], likeliest[..place]);
        assert!(likeliest[place] < costs[place], "{c:?} at {place} in {written:?}");
    }
}
