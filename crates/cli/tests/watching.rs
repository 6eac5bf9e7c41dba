//! What a script gets of a run: events, metrics, completions and manual pages.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn cli(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cli")).args(args).output().expect("the program starts")
}

/// Trains for 40 steps, with evaluations.
fn run(directory: &Path, args: &[&str]) -> Output {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/karpathy.toml");
    let (config, run) = (config.display().to_string(), directory.join("run").display().to_string());
    let sets = [
        "train.steps=40",
        "log.every=10",
        "eval.every=20",
        "sample.every=20",
        "checkpoint.every=20",
        "data.split=[0.8, 0.2, 0.0]",
        "model.hidden_size=10",
    ];
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    cli(&[&["run", &config, "--out", &run], &sets[..], args].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The values of some keys.
fn pick(value: &Value, keys: &[&str]) -> Vec<Value> {
    keys.iter().map(|key| value[*key].clone()).collect()
}

const STEP: [&str; 6] =
    ["step", "nats_per_char", "smooth_nats_per_char", "grad_norm", "learning_rate", "chars"];

#[test]
fn json_has_every_event_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = run(directory.path(), &["--json", "--quiet"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let events = lines(&text(&output.stdout));
    let names: Vec<_> =
        events.iter().map(|event| event["event"].as_str().expect("a word")).collect();
    let half = ["step", "step", "eval", "sample", "checkpoint"];
    assert_eq!(names, [&["start"], &half[..], &half, &["end"]].concat());
    assert_eq!(
        pick(&events[0], &["from_step", "steps", "vocab_size"]),
        [0, 40, 58].map(Value::from)
    );

    let metrics =
        std::fs::read_to_string(directory.path().join("run/metrics.jsonl")).expect("there");
    let metrics = lines(&metrics);
    let of = |kind: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["event"] == kind).collect()
    };
    let split = |name: &'static str| metrics.iter().filter(move |line| line["split"] == name);
    for (event, line) in of("step").into_iter().zip(split("train")) {
        assert_eq!(pick(event, &STEP), pick(line, &STEP));
    }
    for (event, line) in of("eval").into_iter().zip(split("val")) {
        let keys = ["step", "nats_per_char", "chars"];
        assert_eq!(pick(event, &keys), pick(line, &keys));
        let [nats, bits] = ["nats_per_char", "bits_per_char"].map(|key| event[key].as_f64());
        assert_eq!(bits.expect("a number"), nats.expect("a number") / std::f64::consts::LN_2);
    }
    let samples = std::fs::read_to_string(directory.path().join("run/samples.txt")).expect("there");
    let told = of("sample").into_iter().map(|event| {
        format!("---- step {} ----\n{}\n", event["step"], event["text"].as_str().expect("a text"))
    });
    assert_eq!(told.collect::<String>(), samples);
    let end = &events[events.len() - 1];
    assert_eq!(
        pick(end, &["outcome", "step", "signal"]),
        ["complete".into(), 40.into(), Value::Null]
    );
    let best = split("val").min_by(|a, b| {
        let nats = |line: &Value| line["nats_per_char"].as_f64().expect("a number");
        nats(a).total_cmp(&nats(b))
    });
    let best = pick(best.expect("evaluations"), &["step", "nats_per_char"]);
    assert_eq!(pick(end, &["best_step", "best_val_nats_per_char"]), best);

    // On a second one, standard error has what it has without --json.
    let again = cli(&["resume", &directory.path().join("run").display().to_string(), "--json"]);
    let events = lines(&text(&again.stdout));
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["from_step"], 40);
    assert!(text(&again.stderr).contains(": 0 steps in "));
}

#[test]
fn json_ends_with_the_error_or_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let diverges = ["--json", "--set", "optimizer={ kind = \"sgd\", learning_rate = 1e308 }"];
    let output = run(directory.path(), &diverges);
    assert_eq!(output.status.code(), Some(7));
    let end = lines(&text(&output.stdout)).pop().expect("an event");
    assert_eq!(pick(&end, &["outcome", "exit_code"]), ["error".into(), Value::from(7)]);
    assert!(end["error"].as_str().expect("a text").contains("finite"), "{end}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let still = ["optimizer={ kind = \"sgd\", learning_rate = 1e-30 }", "train.patience=1"];
    let output = run(directory.path(), &["--json", "--set", still[0], "--set", still[1]]);
    let end = lines(&text(&output.stdout)).pop().expect("an event");
    assert_eq!(pick(&end, &["outcome", "step"]), ["early_stop".into(), Value::from(40)]);
}

#[test]
fn a_script_that_stops_reading_ends_the_run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/karpathy.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cli"));
    command.arg("run").arg(config).arg("--out").arg(directory.path().join("run")).arg("--json");
    command.args(["--set", "train.steps=100000000", "--set", "log.every=1"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut out, &mut String::new()).expect("a line");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard output is closed: stopped"));
}

#[test]
fn a_file_gets_a_line_now_and_then_and_not_one_for_every_step() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let error = text(&run(directory.path(), &["--set", "log.every=1"]).stderr);
    let steps: Vec<_> = error.lines().filter(|line| line.contains("  smoothed loss ")).collect();
    // Two, unless the machine has much else to do.
    assert!((2..10).contains(&steps.len()), "{error}");
    assert!(steps[0].starts_with("step 1 of 40 "), "{error}");
    assert!(steps[steps.len() - 1].starts_with("step 40 of 40 "), "{error}");
}

#[test]
fn verbose_lines_have_what_the_others_have_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = run(directory.path(), &["--verbose"]);
    let error = text(&output.stderr);
    let steps: Vec<_> = error.lines().filter(|line| line.starts_with("step ")).collect();
    // Four steps and two evaluations.
    assert_eq!(steps.len(), 6, "{error}");
    assert!(steps[0].starts_with("step 10 of 40  loss "), "{error}");
    assert!(steps[0].contains("  gradient norm ") && steps[0].contains("  learning rate 0.1  "));
    let validation = steps.iter().filter(|line| line.contains("  validation "));
    for line in validation {
        assert!(line.contains(" nats/char, ") && line.ends_with(" bits/char"), "{error}");
    }
    assert!(error.contains("ended at its last step, 40\nthe best validation, "), "{error}");
    let refused = run(directory.path(), &["--verbose", "--quiet"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn metrics_are_written_as_csv_and_as_a_table() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    run(directory.path(), &["--quiet"]);
    let run = directory.path().join("run");
    let path = run.display().to_string();
    // As if the last line were still being written.
    let log = run.join("metrics.jsonl");
    let mut metrics = std::fs::read_to_string(&log).expect("there");
    metrics.push_str("{\"step\":50,\"spl");
    std::fs::write(&log, &metrics).expect("writable");

    let output = cli(&["metrics", &path, "--csv"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let csv = text(&output.stdout);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
    let cell = |row: &csv::StringRecord, name: &str| {
        row[header.iter().position(|column| column == name).expect("a column")].to_owned()
    };
    let whole = lines(&metrics[..metrics.rfind('\n').expect("lines")]);
    assert_eq!(rows.len(), whole.len());
    for (row, line) in rows.iter().zip(&whole) {
        assert_eq!(cell(row, "split"), line["split"].as_str().expect("a word"));
        assert_eq!(cell(row, "step"), line["step"].to_string());
        for key in ["nats_per_char", "smooth_nats_per_char", "grad_norm", "learning_rate"] {
            let number = cell(row, key).parse::<f64>().ok().map(f64::to_bits);
            assert_eq!(number, line[key].as_f64().map(f64::to_bits), "{key}");
        }
        assert_eq!(cell(row, "chars_per_sec").is_empty(), cell(row, "split") == "val");
    }

    let file = directory.path().join("metrics.csv");
    let output = cli(&["metrics", &path, "--csv", "--out", &file.display().to_string()]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert_eq!(std::fs::read_to_string(&file).expect("written"), csv);

    let table = text(&cli(&["metrics", &path]).stdout);
    assert_eq!(table.lines().count(), 1 + whole.len(), "{table}");
    assert!(table.trim_start().starts_with("step  split    nats    bits"), "{table}");

    for (args, code) in [
        (vec!["metrics", "/nowhere"], 5),
        (vec!["metrics", &path, "--out", "/nowhere/metrics.csv"], 4),
    ] {
        let output = cli(&args);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        assert!(text(&output.stderr).starts_with("error: /nowhere"), "{}", text(&output.stderr));
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let script = cli(&["completions", "bash"]).stdout;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("cli.bash");
    std::fs::write(&file, script).expect("writable");
    let complete = |words: &[&str]| {
        let test = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; _cli cli {:?} {:?}; echo \"${{COMPREPLY[@]}}\"",
            file.display(),
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let output = Command::new("bash").args(["--norc", "-c", &test]).output().ok()?;
        assert!(output.status.success(), "{}", text(&output.stderr));
        Some(text(&output.stdout))
    };
    let Some(commands) = complete(&["cli", "m"]) else {
        eprintln!("skipped: there is no bash");
        return;
    };
    assert_eq!(commands.split_whitespace().collect::<Vec<_>>(), ["metrics", "man"]);
    let options = complete(&["cli", "run", "--j"]).expect("there was a bash");
    assert_eq!(options.trim(), "--json");
}

#[test]
fn every_shell_has_completions_and_every_command_a_manual_page() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = cli(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("metrics"), "{shell}");
    }

    let directory = tempfile::tempdir().expect("a temporary directory");
    let pages = directory.path().join("man1");
    assert_eq!(cli(&["man", "--out", &pages.display().to_string()]).status.code(), Some(0));
    let main = std::fs::read_to_string(pages.join("cli.1")).expect("there");
    assert_eq!(text(&cli(&["man"]).stdout), main);
    // The commands that `--help` lists.
    let help = text(&cli(&["--help"]).stdout);
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = list
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"metrics"), "{help}");
    for command in &commands {
        let page = std::fs::read_to_string(pages.join(format!("cli-{command}.1"))).expect("there");
        assert!(page.contains("Examples:"), "{command} has examples");
        assert_eq!(text(&cli(&["man", command]).stdout), page);
        assert!(
            page.contains(&format!("cli {command}")) || page.contains(&format!("cli\\ {command}"))
        );
    }
    assert_eq!(std::fs::read_dir(&pages).expect("there").count(), 1 + commands.len());

    let output = cli(&["man", "metric"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `metrics`?"), "{}", text(&output.stderr));
}
