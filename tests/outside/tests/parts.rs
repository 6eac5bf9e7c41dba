//! Parts from elsewhere are used, listed and checked like those of the workspace.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const CONFIG: &str = "tests/outside/tests/own.toml";
/// The key that names a part, the part, and one of its keys with its default.
const PARTS: [(&str, &str, &str, &str); 4] = [
    ("data.tokenizer", "lower", "ascii", "false"),
    ("model.cell", "ugrnn", "gate_bias", "1.0"),
    ("optimizer.kind", "sign_sgd", "momentum", "0.9"),
    ("schedule.kind", "sgdr", "period_mult", "2"),
];

fn outside(args: &[&str]) -> Output {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_outside"));
    command.current_dir(project).args(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_slice(&outside(args).stdout).expect("valid JSON")
}

#[test]
fn parts_from_outside_train_and_their_checkpoint_writes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run").display().to_string();
    let output = outside(&["run", CONFIG, "--out", &run]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let metrics = std::fs::read_to_string(Path::new(&run).join("metrics.jsonl")).expect("metrics");
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("valid JSON"))
        .map(|line| line["smooth_nats_per_char"].as_f64().expect("a number"))
        .collect();
    assert_eq!(losses.len(), 4);
    assert!(losses.is_sorted_by(|before, after| after < before), "it learns: {losses:?}");
    let config = std::fs::read_to_string(Path::new(&run).join("config.toml")).expect("a config");
    for expected in [
        "kind = \"sign_sgd\"\nmomentum = 0.9",
        "kind = \"sgdr\"\nperiod = 100\nperiod_mult = 2\nmin_factor = 0.0",
        "[data.tokenizer]\nkind = \"lower\"\nascii = false",
        "[model.cell]\nkind = \"ugrnn\"\ngate_bias = 0.5",
    ] {
        assert!(config.contains(expected), "{expected} is not in {config}");
    }

    let output = outside(&["sample", &run, "--length", "50", "--prime", "THE"]);
    let written = text(&output.stdout);
    assert_eq!((written.chars().count(), output.status.code()), (50, Some(0)));
    assert_eq!(written, written.to_lowercase());
}

#[test]
fn they_are_listed_with_their_keys() {
    let listed = text(&outside(&["list"]).stdout);
    let catalog = json(&["list", "--json"]);
    let find = |list: &Value, field: &str, value: &str| -> Value {
        let items = list.as_array().expect("an array").iter();
        let mut found = items.filter(|item| item[field] == value);
        found.next().unwrap_or_else(|| panic!("no {value} in {list}")).clone()
    };
    for (family, part, key, default) in PARTS {
        let line = |line: &str| line.starts_with(&format!("    {key} ")) && line.contains(default);
        assert!(listed.contains(&format!("\n  {part} ")), "{listed}");
        assert!(listed.lines().any(line), "{listed}");

        let part = find(&find(&catalog["families"], "key", family)["parts"], "name", part);
        assert_eq!(find(&part["keys"], "name", key)["default"].to_string(), default);
    }
}

#[test]
fn the_programs_own_schema_takes_them_and_refuses_their_mistakes() {
    let schema = json(&["list", "--schema"]);
    let validator = jsonschema::draft202012::new(&schema).expect("a valid schema");
    let check = |replace: &str, by: &str, expected: bool| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own.toml");
        let config = std::fs::read_to_string(path).expect("readable");
        assert!(config.contains(replace), "{replace}");
        let config: toml::Table = config.replace(replace, by).parse().expect("valid TOML");
        let config = serde_json::to_value(config).expect("no infinite number");
        assert_eq!(validator.is_valid(&config), expected, "{by} for {replace}");
    };
    check("", "", true);
    check("\"lower\"", "{ kind = \"lower\", ascii = true }", true);
    check("\"lower\"", "{ kind = \"lower\", ascii = 1 }", false);
    check("gate_bias = 0.5", "gate_bias = -0.5", false);
    check("gate_bias = 0.5", "gate = 0.5", false);
    check("sign_sgd", "sign_sdg", false);
    check("period = 100", "period = 0", false);
    check("period = 100", "min_factor = 1", true);
}

/// Runs the config with `set`, and finds each of `expected` in the error.
#[track_caller]
fn check_error(set: &str, expected: &[&str]) {
    let output = outside(&["check", CONFIG, "--set", set]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    let error = text(&output.stderr);
    for line in expected {
        assert!(error.contains(line), "{line} is not in {error}");
    }
}

#[test]
fn their_mistakes_are_marked_where_they_are() {
    check_error(
        "optimizer.momentum=1.5",
        &[
            "error: --set optimizer.momentum=1.5: `optimizer.momentum` must be at least 0 and less \
             than 1, found 1.5\n",
            " | optimizer.momentum=1.5\n",
            "                      ^^^\n",
        ],
    );
    check_error(
        "optimizer.kind=sign_sdg",
        &["unknown optimizer `sign_sdg`\n", "help: did you mean `sign_sgd`? known optimizers: "],
    );
    check_error(
        "model.cell.gate_bais=1",
        &["unknown key `model.cell.gate_bais`\n", "help: did you mean `gate_bias`?"],
    );
    check_error(
        "data.tokenizer.ascii=1",
        &["`data.tokenizer.ascii` must be true or false, found 1"],
    );
    // Keys that do not go together are marked in the file, where one of them stands.
    check_error(
        "train.steps=50",
        &[
            "own.toml:17:10: `schedule.period` of 100 steps is longer than the run, 50\n",
            "17 | period = 100\n",
            "              ^^^\n",
        ],
    );
}

#[test]
fn a_mistake_in_a_file_has_its_line_column_and_caret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("c.toml");
    let text = "[data]\npath = \"x\"\n\n[model]\ncell = { kind = \"ugrnn\", gate_bias = -1 }\n";
    std::fs::write(&path, text).expect("written");
    let output = outside(&["check", &path.display().to_string()]);
    let expected = format!(
        "error: {}:5:38: `model.cell.gate_bias` must be finite and at least 0, found -1\n\
         5 | cell = {{ kind = \"ugrnn\", gate_bias = -1 }}\n\
         {:41}^^\n",
        path.display(),
        "",
    );
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.starts_with(&expected), "{error}\n{expected}");
}
