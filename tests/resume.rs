//! A run that was stopped and resumed ends in the bytes of one that was not.

use std::path::Path;

use data_io::TensorFile;
use experiment::ranks::Alone;
use experiment::{
    Checkpoint, Experiment, Family, Parts, Permitted, Resumed, RunDir, StepReport, Trainer, train,
    train_from,
};
use integration_tests::{StopAfter, different, files, prepare};

const STEPS: u64 = 40;

/// A small model, so that thousands of steps take seconds.
const SMALL: [&str; 8] = [
    "model.hidden_size=7",
    "train.steps=40",
    "train.batch_size=2",
    "train.seq_len=6",
    "data.split=[0.9, 0.1, 0.0]",
    "optimizer.learning_rate=0.01",
    "sample.length=20",
    "log.every=1",
];

fn small(overrides: &[&str]) -> Experiment {
    prepare("configs/karpathy.toml", &[&SMALL, overrides].concat())
}

/// One step, with an evaluation and a sample now and then as a run has them.
fn turn(trainer: &mut Trainer<'_, f32>) -> (StepReport, Option<(f64, u64)>, Option<String>) {
    let report = trainer.step().expect("finite");
    let eval = report.step.is_multiple_of(3).then(|| trainer.evaluate().expect("readable"));
    let sample = report.step.is_multiple_of(7).then(|| trainer.sample(10));
    (report, eval.flatten(), sample)
}

/// Stops after every step, goes on from the checkpoint of that moment, and compares all that is told
/// from there to the end, and the last checkpoint.
#[track_caller]
fn check(overrides: &[&str]) {
    let experiment = small(overrides);
    let mut whole = Trainer::<f32>::new(&experiment);
    let mut checkpoints = vec![whole.checkpoint().expect("finite")];
    let mut turns = Vec::new();
    for _ in 0..STEPS {
        turns.push(turn(&mut whole));
        checkpoints.push(whole.checkpoint().expect("finite"));
    }
    let last = checkpoints[STEPS as usize].to_bytes();
    for (k, checkpoint) in checkpoints.iter().enumerate() {
        let mut resumed = Trainer::<f32>::new(&experiment);
        resumed.restore(checkpoint, Path::new("x")).expect("its own");
        for (step, expected) in turns.iter().enumerate().skip(k) {
            assert_eq!(turn(&mut resumed), *expected, "{overrides:?}: step {step} from {k}");
        }
        let found = resumed.checkpoint().expect("finite").to_bytes();
        assert!(found == last, "{overrides:?}: the last checkpoint from {k}");
    }
}

#[test]
fn every_part_goes_on_from_every_step() {
    for Family { name, key, parts, .. } in Parts::builtin().families() {
        let is_tried = |name: &str| match key {
            "data.kind" | "data.tokenizer" => false,
            "model.init" => false,
            "schedule.kind" => name != "plateau",
            _ => true,
        };
        for part in parts.iter().filter(|part| is_tried(part.name)) {
            match key {
                _ if name == "transforms" => {
                    check(&[&format!("transform=[{{ kind = \"{}\" }}]", part.name)]);
                }
                _ => check(&[&format!("{key}={}", part.name), "transform=[]"]),
            }
        }
    }
}

#[test]
fn every_option_goes_on_from_every_step() {
    let plateau = "schedule={ kind = \"plateau\", patience = 0, factor = 0.5, threshold = 0.01 }";
    check(&[plateau]);
    check(&["schedule.warmup=20", "schedule.kind=cosine"]);
    check(&["model.dropout=0.4"]);
    check(&["model.dropout=0.4", "model.layers=2", "model.variational_dropout=true"]);
    check(&["model.drop_connect=0.4"]);
    check(&["optimizer.ema=0.9"]);
    check(&["train.lengths=random"]);
    check(&["train.lengths=random", "train.lanes=offset"]);
    check(&["train.lanes=offset"]);
    check(&["model.learned_state=true", "model.layer_norm=true", "model.cell=lstm"]);
    check(&["optimizer={ kind = \"sgd\", momentum = 0.9, nesterov = true }"]);
    check(&["optimizer={ kind = \"rmsprop\", centered = true, momentum = 0.5 }"]);
    check(&[
        "optimizer={ kind = \"adam\", ema = 0.99, learning_rate = 0.01 }",
        plateau,
        "model.dropout=0.3",
        "train.lengths=random",
        "transform=[\"noise\", \"clip_norm\"]",
    ]);
}

/// Everything at once, with what a run directory adds: logs, and which checkpoints are kept.
const ALL: [&str; 9] = [
    "optimizer={ kind = \"adam\", ema = 0.9, learning_rate = 0.01 }",
    "schedule={ kind = \"plateau\", patience = 0, factor = 0.9, threshold = 0.01 }",
    "model.dropout=0.3",
    "train.lengths=random",
    "eval.every=8",
    "sample.every=9",
    "checkpoint.every=15",
    "checkpoint.keep=1",
    "train.on_divergence=rollback",
];

fn resume(run: &Path, experiment: &Experiment) -> Resumed {
    let resumed = RunDir::resume(run, experiment, &Permitted::default()).expect("it can go on");
    assert!(resumed.damaged.is_empty());
    resumed
}

#[test]
fn a_run_directory_goes_on_from_every_step() {
    let experiment = small(&ALL);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let mut run = RunDir::create(&path("whole"), &experiment).expect("new");
    train(&experiment, &mut [&mut run]).expect("finite");
    drop(run);
    let whole = files(&path("whole"));

    for k in 0..=STEPS {
        let name = path(&k.to_string());
        let mut run = RunDir::create(&name, &experiment).expect("new");
        if 0 < k {
            train(&experiment, &mut [&mut run, &mut StopAfter(k)]).expect("finite");
        }
        drop(run);
        let Resumed { mut run, checkpoint, .. } = resume(&name, &experiment);
        assert_eq!(checkpoint.as_ref().map_or(0, Checkpoint::step), k);
        train_from(&experiment, checkpoint.as_ref(), &Alone, &mut [&mut run]).expect("finite");
        drop(run);
        assert_eq!(different(&files(&name), &whole), [""; 0], "after a stop at step {k}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let overrides = ["optimizer={ kind = \"adam\", learning_rate = 0.01 }", "optimizer.ema=0.9"];
    let experiment = small(&overrides);
    let mut trainer = Trainer::<f32>::new(&experiment);
    for _ in 0..3 {
        trainer.step().expect("finite");
    }
    let good = trainer.checkpoint().expect("finite");
    let check = |change: &dyn Fn(&mut TensorFile), expected: &str| {
        let mut file = good.clone();
        change(&mut file);
        let error = Trainer::<f32>::new(&experiment).restore(&file, Path::new("x")).err();
        let error = error.unwrap_or_else(|| panic!("taken, and not refused: {expected}"));
        assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 5));
    };
    let metadata = |key: &'static str, value: serde_json::Value| {
        move |file: &mut TensorFile| _ = file.metadata.insert(key.into(), value.clone())
    };
    for name in good.tensors.keys().filter(|name| *name != "rnn.bias_hh_l0") {
        // A missing tensor of the weights is named by who reads a state dict.
        let is_weight = !name.starts_with("optimizer.") && !name.starts_with("state.");
        if !is_weight {
            let missing = format!("it has no tensor `{name}`");
            check(&|file| _ = file.tensors.remove(name), &missing);
        }
        let mut longer = good.clone();
        let tensor = longer.tensors.get_mut(name).expect("there");
        tensor.shape = vec![tensor.values.len(), 1, 1];
        let error = Trainer::<f32>::new(&experiment).restore(&longer, Path::new("x"));
        let error = error.expect_err("another shape").to_string();
        assert!(error.contains(name.as_str()), "{error}");
    }
    check(
        &|file| {
            let tensor = file.tensors.get_mut("optimizer.m").expect("of adam");
            tensor.values = data_io::Values::F64(tensor.values.to_f64());
        },
        "tensor `optimizer.m` is not in the run's number type",
    );
    let more = data_io::Values::F32(vec![1.0]);
    check(
        &|file| file.insert("optimizer.more", vec![1], more.clone()),
        "it has tensors that this run has not",
    );
    check(&metadata("windows", [3, 7].into_iter().collect()), "[3, 7] is no place in the text");
    check(
        &metadata("symbols", ["a", "b"].into_iter().collect()),
        "its vocabulary is not that of the text",
    );
    check(&metadata("sample_rng_word", "-1".into()), "its `sample_rng_word` is no number");
    check(&metadata("format", 2.into()), "the checkpoint has a format this version does not know");
    check(
        &|file| _ = file.metadata.remove("chars"),
        "not a checkpoint of this program: missing field `chars`",
    );
}
