//! A run is a function of config, seed and text, to the byte.

use std::path::Path;

use experiment::{Parts, TextModel};
use integration_tests::{cli, different, files, project};
use rnn_model::Sampler;
use tensor_core::rng::{Stream, stream};

#[track_caller]
fn run(out: &Path, overrides: &[&str]) {
    run_with(out, &[], overrides);
}

#[track_caller]
fn run_with(out: &Path, options: &[&str], overrides: &[&str]) {
    let config = project("configs/karpathy.toml").display().to_string();
    let out = out.display().to_string();
    let mut args = vec!["run", &config, "--out", &out];
    args.extend_from_slice(options);
    args.extend(overrides.iter().flat_map(|set| ["--set", *set]));
    let output = cli(&args);
    assert_eq!(output.code, 0, "{}", output.err);
}

const SHORT: [&str; 8] = [
    "train.steps=60",
    "train.batch_size=2",
    "log.every=1",
    "data.split=[0.8, 0.2, 0.0]",
    "eval.every=20",
    "sample.every=25",
    "checkpoint.every=30",
    "checkpoint.keep=1",
];

#[test]
fn the_number_of_threads_changes_no_byte() {
    const WIDE: [&str; 3] = ["train.batch_size=7", "model.layers=2", "train.steps=12"];
    let directory = tempfile::tempdir().expect("a temporary directory");
    for cell in ["vanilla", "lstm", "gru", "mlstm", "min_gru"] {
        let cell_key = format!("model.cell={cell}");
        for model in
            [&["model.dropout=0.3", "model.drop_connect=0.2"][..], &["model.layer_norm=true"]]
        {
            let mut overrides = [&SHORT[..], &WIDE, model].concat();
            overrides.push(&cell_key);
            // Every cell has recurrent weights to leave out, but those that scan.
            if cell == "min_gru" {
                overrides.retain(|key| !key.contains("drop_connect"));
            }
            let of = |threads: &str| {
                let out = directory.path().join(format!("{cell}-{threads}-{}", model.len()));
                run_with(&out, &["--threads", threads], &overrides);
                files(&out)
            };
            let one = of("1");
            for threads in ["2", "3", "11"] {
                let changed = different(&of(threads), &one);
                assert_eq!(changed, [""; 0], "{cell} {model:?} on {threads} threads");
            }
        }
    }
}

#[test]
fn two_runs_of_one_config_give_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (a, b, c) =
        (directory.path().join("a"), directory.path().join("b"), directory.path().join("c"));
    run(&a, &SHORT);
    run(&b, &SHORT);
    let (first, second) = (files(&a), files(&b));
    assert_eq!(different(&first, &second), [""; 0]);

    // The config that was written repeats the run.
    let config = a.join("config.toml").display().to_string();
    let out = c.display().to_string();
    assert_eq!(cli(&["run", &config, "--out", &out]).code, 0);
    assert_eq!(different(&files(&c), &first), [""; 0], "the run of its own config.toml");

    // And the seed does change it.
    let d = directory.path().join("d");
    run(&d, &[&SHORT[..], &["train.seed=43"]].concat());
    for name in ["metrics.jsonl", "samples.txt", "checkpoints/step-00000060.safetensors"] {
        assert!(files(&d)[name] != first[name], "{name} does not depend on the seed");
    }
}

#[test]
fn a_run_directory_holds_what_it_should() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("run");
    run(&out, &SHORT);
    let files = files(&out);
    let text = |name: &str| String::from_utf8(files[name].clone()).expect("UTF-8");

    let lines: Vec<serde_json::Value> = text("metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of_split = |split| lines.iter().filter(|line| line["split"] == split).collect::<Vec<_>>();
    let (train, val) = (of_split("train"), of_split("val"));
    assert_eq!((train.len(), val.len(), lines.len()), (60, 3, 63));
    for (step, line) in (1..).zip(&train) {
        assert_eq!(line["step"], step);
        assert_eq!(line["chars"], step * 50);
        assert_eq!(line["learning_rate"], 0.1);
        assert!(0.0 < line["grad_norm"].as_f64().expect("a number"));
    }
    // The average of min-char-rnn, from what the lines themselves say.
    let mut smooth = 58_f64.ln();
    for line in &train {
        smooth = 0.999 * smooth + 0.001 * line["nats_per_char"].as_f64().expect("a number");
        let written = line["smooth_nats_per_char"].as_f64().expect("a number");
        assert!((written - smooth).abs() < 1e-12);
    }

    let samples = text("samples.txt");
    assert_eq!(samples.matches("---- step ").count(), 2);
    assert!(samples.starts_with("---- step 25 ----\n"));
    let first = samples.split("---- step 50 ----\n").next().expect("two samples");
    assert_eq!(first.trim_start_matches("---- step 25 ----\n").chars().count(), 200 + 1);

    // The newest one, and the best by validation loss where that is another.
    let best = val.iter().min_by(|a, b| {
        a["nats_per_char"].as_f64().partial_cmp(&b["nats_per_char"].as_f64()).expect("numbers")
    });
    let best = best.expect("evaluations")["step"].as_u64().expect("a step");
    for step in [best, 60] {
        assert!(files.contains_key(&format!("checkpoints/step-{step:08}.safetensors")), "{step}");
    }
    assert!(files.keys().filter(|name| name.starts_with("checkpoints/")).count() <= 2);
}

#[test]
fn a_sample_is_a_function_of_model_prime_and_seed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("run");
    run(&out, &["train.steps=3000"]);
    let out = out.display().to_string();
    let sample = |args: &[&str]| {
        let output = cli(&[&["sample", &out, "--length", "80"], args].concat());
        assert_eq!(output.code, 0, "{}", output.err);
        output.out
    };
    let plain = sample(&["--prime", "The "]);
    assert_eq!(plain.chars().count(), 80, "exactly the characters asked for, and nothing else");
    assert_eq!(sample(&["--prime", "The "]), plain);
    assert_ne!(sample(&["--prime", "The ", "--seed", "7"]), plain);
    // The whole prime is read, not only its last character.
    assert_ne!(sample(&["--prime", "## lamp. "]), sample(&["--prime", "The clock "]));
    let greedy = sample(&["--temperature", "0"]);
    assert_eq!(sample(&["--top-k", "1", "--seed", "9"]), greedy);
    assert_eq!(sample(&["--top-p", "1e-9", "--seed", "9"]), greedy);
    let stopped = sample(&["--stop", "e"]);
    assert!(stopped.ends_with('e') && stopped.matches('e').count() == 1, "{stopped:?}");
    let three = sample(&["--count", "3", "--prime", "The "]);
    assert!(three.starts_with(&format!("{plain}\n")), "the first of several is the one alone");
    assert_eq!(three.chars().count(), 3 * 81);
}

/// What `cli sample` writes is drawn from the probabilities of the whole window's forward pass.
#[test]
fn writing_step_by_step_is_reading_the_text_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("run");
    run(&out, &["train.steps=200", "model.dtype=f64", "model.layers=2"]);
    let mut model = TextModel::open(&out, &Parts::builtin()).expect("a checkpoint");
    let mut rng = stream(5, Stream::Sample);
    model.prime("The lamp").expect("known characters");
    let written: String =
        (0..40).map(|_| model.write(&Sampler::default(), &mut rng).to_owned()).collect();

    // The same characters as a prime leave the same state behind, so they go on in the same way.
    let go_on = |model: &mut TextModel| {
        let mut rng = stream(6, Stream::Sample);
        (0..40).map(|_| model.write(&Sampler::default(), &mut rng).to_owned()).collect::<String>()
    };
    let expected = go_on(&mut model);
    model.prime(&format!("The lamp{written}")).expect("known characters");
    assert_eq!(go_on(&mut model), expected);
}
