//! TensorBoard's own reader finds in a run's event files what is in its logs.

use std::path::Path;
use std::process::Command;

use experiment::{Metric, Record};
use integration_tests::{cli, project};

/// Prints what TensorBoard has after reading a directory, a line for each number and each text.
const READER: &str = r#"
import sys
from tensorboard.backend.event_processing import plugin_event_accumulator as reader
from tensorboard.util import tensor_util
events = reader.EventAccumulator(sys.argv[1], size_guidance={reader.TENSORS: 0})
events.Reload()
for tag in events.Tags()["tensors"]:
    plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
    for event in events.Tensors(tag):
        value = tensor_util.make_ndarray(event.tensor_proto).flat[0]
        shown = value.hex() if plugin == "text" else repr(float(value))
        print(plugin, tag, event.step, shown)
"#;

/// What TensorBoard finds, or `None` where there is none. `CHAR_RNN_PYTHON` names a Python that has it.
fn read_by_tensorboard(directory: &Path) -> Option<String> {
    let python = std::env::var("CHAR_RNN_PYTHON").unwrap_or("python3".into());
    let run = |script: &str| Command::new(&python).args(["-c", script]).arg(directory).output();
    let has_it = run("import tensorboard").is_ok_and(|output| output.status.success());
    if !has_it {
        assert!(std::env::var_os("CHAR_RNN_PYTHON").is_none(), "{python} has no tensorboard");
        return None;
    }
    let output = run(READER).expect("it started before");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn tensorboard_reads_a_run_that_was_stopped_and_resumed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run").display().to_string();
    let config = project("configs/karpathy.toml").display().to_string();
    let sets = [
        "log.tensorboard=true",
        "log.every=5",
        "train.steps=20",
        "checkpoint.every=10",
        "eval.every=10",
        "sample.every=10",
        "data.split=[0.9, 0.1, 0.0]",
    ];
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    let output = cli(&[&["run", &config, "--out", &run], &sets[..]].concat());
    assert_eq!(output.code, 0, "{}", output.err);
    let run = Path::new(&run);
    // As if it had been killed after step 20, before that had become a checkpoint.
    std::fs::remove_file(run.join("checkpoints/step-00000020.safetensors")).expect("there");
    let best = Record::open(run).expect("a run");
    let output = cli(&["resume", &run.display().to_string()]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(Record::open(run).expect("a run").metrics, best.metrics);

    let files = std::fs::read_dir(run.join("tensorboard")).expect("there");
    assert_eq!(files.count(), 2);
    let Some(found) = read_by_tensorboard(&run.join("tensorboard")) else {
        eprintln!("skipped: python3 has no tensorboard; CHAR_RNN_PYTHON names one that has");
        return;
    };
    let mut expected = Vec::new();
    for metric in best.metrics {
        let mut scalar = |tag: &str, step: u64, value: f64| {
            expected.push(format!("scalars {tag} {step} {:?}", f64::from(value as f32)));
        };
        match metric {
            Metric::Train {
                step,
                nats_per_char,
                smooth_nats_per_char,
                grad_norm,
                learning_rate,
                chars,
            } => {
                scalar("train/nats_per_char", step, nats_per_char);
                scalar("train/smooth_nats_per_char", step, smooth_nats_per_char);
                scalar("train/grad_norm", step, grad_norm);
                scalar("train/learning_rate", step, learning_rate);
                scalar("train/chars", step, chars as f64);
            }
            Metric::Val { step, nats_per_char, .. } => {
                scalar("val/nats_per_char", step, nats_per_char);
                scalar("val/bits_per_char", step, nats_per_char / std::f64::consts::LN_2);
            }
            Metric::Rollback { .. } => unreachable!("nothing diverges in 20 steps"),
        }
    }
    for (step, text) in best.samples {
        let shown: String = text.lines().map(|line| format!("    {line}\n")).collect();
        let hex: String = shown.bytes().map(|byte| format!("{byte:02x}")).collect();
        expected.push(format!("text sample {step} {hex}"));
    }
    let mut found: Vec<_> = found.lines().map(str::to_owned).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
