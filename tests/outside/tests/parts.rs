//! A part from elsewhere is used, listed and checked like one of the workspace.

use std::path::Path;
use std::process::{Command, Output};

fn outside(args: &[&str]) -> Output {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_outside"));
    command.current_dir(project).args(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_optimizer_from_outside_trains_and_its_checkpoint_writes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run").display().to_string();
    let set = |key| ["--set", key];
    let overrides = [
        set("optimizer.kind=sign_sgd"),
        set("optimizer.learning_rate=0.001"),
        set("train.steps=400"),
    ];
    let args =
        [&["run", "configs/karpathy.toml", "--out", &run], overrides.as_flattened()].concat();
    let output = outside(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let metrics = std::fs::read_to_string(Path::new(&run).join("metrics.jsonl")).expect("metrics");
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| line.split("\"smooth_nats_per_char\":").nth(1).expect("the key"))
        .map(|rest| rest.split(',').next().expect("a value").parse().expect("a number"))
        .collect();
    assert!(losses[1] < losses[0], "it learns: {losses:?}");
    let config = std::fs::read_to_string(Path::new(&run).join("config.toml")).expect("a config");
    assert!(config.contains("kind = \"sign_sgd\"\nmomentum = 0.9"), "{config}");

    let output = outside(&["sample", &run, "--length", "50"]);
    assert_eq!((text(&output.stdout).chars().count(), output.status.code()), (50, Some(0)));
}

#[test]
fn its_keys_are_listed_and_its_errors_have_places() {
    let listed = text(&outside(&["list", "optimizers"]).stdout);
    assert!(listed.contains("sign_sgd"), "{listed}");
    assert!(listed.contains("momentum         = 0.9 [0 ≤ … < 1]"), "{listed}");

    let check = |set: &str, expected: &[&str]| {
        let output = outside(&["run", "configs/karpathy.toml", "--set", set]);
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        for line in expected {
            assert!(error.contains(line), "{line} is not in {error}");
        }
    };
    check(
        "optimizer={ kind = \"sign_sgd\", momentum = 1.5 }",
        &[
            "`optimizer.momentum` must be at least 0 and less than 1, found 1.5\n",
            " | optimizer={ kind = \"sign_sgd\", momentum = 1.5 }\n",
            "                                             ^^^\n",
        ],
    );
    check(
        "optimizer.kind=sign_sdg",
        &["unknown optimizer `sign_sdg`\n", "help: did you mean `sign_sgd`? known optimizers: "],
    );
}
