//! A run ends when its validation loss has not improved for long enough, and a resumed one likewise.

use std::path::Path;

use experiment::ranks::Alone;
use experiment::{
    Checkpoint, Experiment, Observer, Outcome, Parts, Permitted, Resumed, RunDir, open_config,
    train_from,
};
use integration_tests::{StopAfter, cli, different, files, prepare};

/// At its best after a few steps: what it learns of the first half of the text does not hold in the
/// second.
const OVERFITS: [&str; 10] = [
    "model.hidden_size=12",
    "train.steps=3000",
    "train.patience=3",
    "data.split=[0.2, 0.8, 0.0]",
    "optimizer={ kind = \"adam\", learning_rate = 0.01 }",
    "eval.every=20",
    "sample.every=70",
    "checkpoint.every=50",
    "checkpoint.keep=1",
    "log.every=10",
];

/// Starts or goes on with a run, at most to step `to`.
fn go_on(path: &Path, experiment: &Experiment, to: u64) -> Outcome {
    let resumed = RunDir::resume(path, experiment, &Permitted::default()).expect("it can go on");
    let Resumed { mut run, checkpoint, .. } = resumed;
    let observers: &mut [&mut dyn Observer] = &mut [&mut run, &mut StopAfter(to)];
    train_from(experiment, checkpoint.as_ref(), &Alone, observers).expect("finite")
}

/// The steps and losses of the evaluations in a run.
fn evaluations(path: &Path) -> Vec<(u64, f64)> {
    let record = experiment::Record::open(path).expect("a run");
    let evaluation = |metric: &experiment::Metric| match metric {
        experiment::Metric::Val { step, nats_per_char, .. } => Some((*step, *nats_per_char)),
        _ => None,
    };
    record.metrics.iter().filter_map(evaluation).collect()
}

#[test]
fn a_run_ends_after_so_many_evaluations_without_a_better_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let experiment = prepare("configs/karpathy.toml", &OVERFITS);
    let outcome = go_on(directory.path(), &experiment, u64::MAX);
    let evaluations = evaluations(directory.path());
    let best = evaluations.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are some");
    assert!(outcome.out_of_patience && !outcome.stopped, "{outcome:?}");
    assert_eq!(outcome.best, Some(*best));
    assert_eq!(outcome.step, best.0 + 3 * 20);
    assert_eq!(evaluations.last().expect("there are some").0, outcome.step);
    // The best and the last are kept.
    for step in [best.0, outcome.step] {
        let path = directory.path().join(format!("checkpoints/step-{step:08}.safetensors"));
        assert_eq!(Checkpoint::read(&path).expect("kept").step(), step);
    }

    // It never was so long without a better one before.
    let mut least = f64::INFINITY;
    let mut since = 0;
    for (step, nats) in &evaluations {
        since = if *nats < least { 0 } else { since + 1 };
        least = least.min(*nats);
        assert_eq!(3 <= since, *step == outcome.step);
    }
}

#[test]
fn a_run_that_was_stopped_ends_in_the_same_bytes_and_one_that_had_ended_stays() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let experiment = prepare("configs/karpathy.toml", &OVERFITS);
    let end = go_on(&path("whole"), &experiment, u64::MAX).step;
    let whole = files(&path("whole"));
    // Around evaluations, the best one and the end.
    let best = end - 60;
    for stop in [1, best - 1, best, best + 1, end - 21, end - 20, end - 1, end] {
        let name = path(&stop.to_string());
        assert_eq!(go_on(&name, &experiment, stop).step, stop);
        let outcome = go_on(&name, &experiment, u64::MAX);
        assert_eq!((outcome.step, outcome.out_of_patience), (end, true), "from {stop}");
        assert_eq!(different(&files(&name), &whole), [""; 0], "after a stop at step {stop}");
    }
    // Again and again.
    assert_eq!(go_on(&path("whole"), &experiment, u64::MAX).step, end);
    assert_eq!(different(&files(&path("whole")), &whole), [""; 0]);
}

#[test]
fn the_command_says_why_it_ended_and_more_patience_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run").display().to_string();
    let config = integration_tests::project("configs/karpathy.toml").display().to_string();
    let mut args = vec!["run", &config, "--out", &run];
    args.extend(OVERFITS.iter().flat_map(|set| ["--set", *set]));
    let output = cli(&args);
    assert_eq!(output.code, 0, "{}", output.err);
    let reason =
        "ended early: no lower validation loss in 3 evaluations (train.patience)\nthe best";
    assert!(output.err.contains(reason), "{}", output.err);
    let last = evaluations(Path::new(&run)).last().expect("there are some").0;

    let output = cli(&["resume", &run]);
    assert!(output.err.contains(": 0 steps in "), "{}", output.err);
    assert!(output.err.contains(reason), "{}", output.err);
    let steps = format!("train.steps={}", last + 10);
    let output = cli(&["resume", &run, "--set", "train.patience=0", "--set", &steps]);
    assert!(output.err.contains(": 10 steps in "), "{}", output.err);
    let reason = format!("ended at its last step, {}\nthe best", last + 10);
    assert!(output.err.contains(&reason), "{}", output.err);
}

#[test]
fn patience_without_evaluations_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run").display().to_string();
    let config = integration_tests::project("configs/karpathy.toml").display().to_string();
    for set in ["data.split=[1.0, 0.0, 0.0]", "eval.every=0"] {
        let split = "data.split=[0.9, 0.1, 0.0]";
        let sets = ["--set", "train.patience=1", "--set", split, "--set", set];
        let output = cli(&[&["run", &config, "--out", &run], &sets[..]].concat());
        assert_eq!(output.code, 2, "{}", output.err);
        let message = "`train.patience` counts evaluations, and there are none";
        assert!(output.err.contains(message), "{}", output.err);
        assert!(!Path::new(&run).exists());
    }
}

/// Takes the lines of some keys out of the configs in a run's newest checkpoint, as if an older version
/// had written it.
fn without_keys(run: &Path, keys: &[&str]) {
    let path = experiment::newest_checkpoint(run).expect("a run");
    let mut file = data_io::TensorFile::read(&path).expect("whole");
    let config = file.metadata["config"].as_str().expect("a text");
    let is_kept = |line: &&str| !keys.iter().any(|key| line.starts_with(&format!("{key} =")));
    let older: String = config.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
    assert_eq!(older.lines().count() + keys.len(), config.lines().count());
    file.metadata.insert("config".into(), older.into());
    file.write(&path).expect("writable");
}

#[test]
fn a_checkpoint_that_is_older_than_a_key_goes_on_with_its_default() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let short = ["train.steps=20", "checkpoint.every=5", "model.hidden_size=8"];
    let experiment = prepare("configs/karpathy.toml", &short);
    go_on(&run, &experiment, 10);
    without_keys(&run, &["patience", "tensorboard", "tied"]);
    assert_eq!(go_on(&run, &experiment, u64::MAX).step, 20);

    without_keys(&run, &["patience"]);
    let other = ["train.patience=7", "data.split=[0.9, 0.1, 0.0]", "eval.every=5"];
    let overrides: Vec<_> =
        [&short[..2], &other].concat().iter().map(ToString::to_string).collect();
    let document = open_config(&run.join("config.toml"), &overrides).expect("readable");
    let experiment = Experiment::prepare(&document, &Parts::builtin()).expect("valid");
    let permitted = ["data.split", "eval.every"].map(str::to_owned).to_vec();
    let permitted = Permitted { keys: permitted, ..Permitted::default() };
    let error = RunDir::resume(&run, &experiment, &permitted).expect_err("changed");
    assert!(error.to_string().contains("train.patience"), "{error}");
}
