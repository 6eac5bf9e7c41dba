//! `cli eval` and the yardsticks of a run.

use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::{Output, cli, project};
use serde_json::Value;

/// A short run of the project's config in a directory of its own, with a copy of the text beside it.
struct Run {
    directory: tempfile::TempDir,
}

const SHORT: [&str; 6] = [
    "train.steps=60",
    "train.batch_size=2",
    "data.split=[0.7, 0.2, 0.1]",
    "eval.every=20",
    "checkpoint.every=20",
    "checkpoint.keep=9",
];

impl Run {
    fn new(overrides: &[&str]) -> Self {
        let run = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::copy(project("configs/data/input.txt"), run.text()).expect("writable");
        let output = run.train(&[], overrides);
        assert_eq!(output.code, 0, "{}", output.err);
        run
    }

    /// Trains, or goes on.
    fn train(&self, options: &[&str], overrides: &[&str]) -> Output {
        let config = project("configs/karpathy.toml").display().to_string();
        let (out, text) = (self.path(), format!("data.path={}", self.text().display()));
        let mut args = vec!["run", &config, "--out", &out, "--set", &text];
        args.extend(SHORT.iter().chain(overrides).flat_map(|set| ["--set", *set]));
        args.extend_from_slice(options);
        cli(&args)
    }

    fn path(&self) -> String {
        self.directory.path().join("run").display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("run").join(name)
    }

    fn text(&self) -> PathBuf {
        self.directory.path().join("text.txt")
    }

    fn eval(&self, args: &[&str]) -> Output {
        cli(&[&["eval", &self.path()], args].concat())
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let output = self.eval(&[args, &["--json"]].concat());
        assert_eq!(output.code, 0, "{}", output.err);
        serde_json::from_str(&output.out).expect("JSON")
    }

    /// The steps and losses of its evaluations.
    fn validations(&self) -> Vec<(u64, f64)> {
        let metrics = fs::read_to_string(self.file("metrics.jsonl")).expect("there");
        let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines
            .filter(|line| line["split"] == "val")
            .map(|line| (line["step"].as_u64().expect("a step"), nats(&line)))
            .collect()
    }
}

/// Each part of the validation text is read as a text of its own; the first character of one is the last
/// of the one before, which it is predicted from.
#[test]
fn the_validation_text_may_be_read_in_parts() {
    const PARTS: usize = 4;
    let run = Run::new(&["eval.parts=4"]);
    let text = fs::read_to_string(run.text()).expect("text");
    let len = text.len();
    assert_eq!(text.chars().count(), len, "a byte is a character");
    let whole = run.json(&["--split", "val"]);
    let n = whole["chars"].as_u64().expect("a number") as usize;
    let start = len * 7 / 10 + usize::from(!(len * 7).is_multiple_of(10));
    let start = [start - 1, start].into_iter().find(|start| {
        // Where the split falls is `data-io`'s business: the whole of it has the loss of the split.
        let nats_of = nats_of_text(&run, &text[*start..start + n + 1]);
        nats_of == nats(&whole)
    });
    let start = start.expect("the validation text is there");
    let total: f64 = (0..PARTS)
        .map(|part| (n * part / PARTS, n * (part + 1) / PARTS))
        .map(|(from, to)| (to - from) as f64 * nats_of_text(&run, &text[start + from..=start + to]))
        .sum();
    let (_, found) = *run.validations().last().expect("one at the end");
    assert!((found - total / n as f64).abs() < 1e-12, "{found} and {}", total / n as f64);
    assert!(1e-6 < (found - nats(&whole)).abs(), "the state is not carried from part to part");
}

fn nats_of_text(run: &Run, text: &str) -> f64 {
    let path = run.file("part.txt");
    fs::write(&path, text).expect("writable");
    nats(&run.json(&["--text", &path.display().to_string()]))
}

fn nats(value: &Value) -> f64 {
    value["nats_per_char"].as_f64().expect("a loss")
}

#[test]
fn the_figure_is_the_runs_own_validation_loss_to_the_last_bit() {
    for overrides in [
        &["optimizer.ema=0.9"][..],
        &["model.cell=lstm", "model.layers=2", "model.dropout=0.3", "data.separator=\"\\n\""],
        &["model.dtype=f64", "data.tokenizer=byte"],
    ] {
        let run = Run::new(overrides);
        let validations = run.validations();
        assert_eq!(validations.len(), 3);
        for (step, expected) in validations {
            let path = run.file(&format!("checkpoints/step-{step:08}.safetensors"));
            let output = cli(&["eval", &path.display().to_string(), "--json"]);
            let found: Value = serde_json::from_str(&output.out).expect("JSON");
            assert_eq!(nats(&found).to_bits(), expected.to_bits(), "{overrides:?}, step {step}");
            assert_eq!(found["step"], step);
        }
        let newest = run.json(&[]);
        assert_eq!(nats(&newest), run.validations()[2].1);
        assert_eq!((&newest["step"], &newest["split"]), (&60.into(), &"val".into()));
        assert_eq!(newest["yardsticks"]["chars"], newest["chars"]);
        let ratio = newest["bits_per_char"].as_f64().expect("bits") / nats(&newest);
        assert!((ratio - std::f64::consts::LOG2_E).abs() < 1e-12, "{ratio}");
        let perplexity = newest["perplexity"].as_f64().expect("a number");
        assert!((perplexity.ln() - nats(&newest)).abs() < 1e-12, "{perplexity}");
    }
}

#[test]
fn the_best_checkpoint_is_that_of_the_lowest_validation_loss() {
    // So little text that it is soon known by heart.
    let run = Run::new(&[
        "data.split=[0.1, 0.9, 0.0]",
        "train.steps=600",
        "eval.every=100",
        "checkpoint.every=0",
        "checkpoint.keep=1",
    ]);
    let validations = run.validations();
    let best = validations.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("evaluations");
    assert_ne!(best.0, 600, "{validations:?}");
    let found = run.json(&["--best"]);
    assert_eq!((found["step"].as_u64(), nats(&found)), (Some(best.0), best.1));
}

#[test]
fn every_part_of_the_text_is_read_and_has_yardsticks_that_mean_something() {
    let run = Run::new(&[]);
    let n_chars = fs::read_to_string(run.text()).expect("there").chars().count() as u64;
    let [train, val, test] = ["train", "val", "test"].map(|split| run.json(&["--split", split]));
    let chars = |value: &Value| value["chars"].as_u64().expect("a number");
    // The first of each part is not predicted.
    assert_eq!(chars(&train) + chars(&val) + chars(&test) + 3, n_chars);
    assert!(train["yardsticks"]["ngrams"].is_null() && train["yardsticks"]["xz"].is_null());
    for part in [&val, &test] {
        let yardsticks = &part["yardsticks"];
        assert_eq!(yardsticks["train_chars"], chars(&train) + 1);
        assert_eq!(yardsticks["scored_chars"], chars(part));
        let ngrams = yardsticks["ngrams"].as_array().expect("n-grams");
        assert_eq!(ngrams.len(), 8);
        let loss = |order: usize| ngrams[order - 1]["witten_bell"].as_f64().expect("a loss");
        assert!(loss(3) < loss(2) && loss(2) < loss(1));
        assert!(loss(1) < yardsticks["uniform"].as_f64().expect("a loss"));
    }
    assert_ne!(val["yardsticks"]["ngrams"], test["yardsticks"]["ngrams"]);

    let shown = run.eval(&[]).out;
    let line = format!(
        "validation text of {}: {} characters predicted, ",
        run.text().display(),
        chars(&val)
    );
    assert!(shown.contains(&line), "{shown}");
    // After 60 steps.
    assert!(
        shown.contains("worse than a 2-gram") || shown.contains("worse than frequencies"),
        "{shown}"
    );
    for name in ["a 3-gram", "guessing", "xz", "this model"] {
        assert!(shown.lines().any(|line| line.ends_with(name)), "{name}: {shown}");
    }
}

#[test]
fn a_run_leaves_yardsticks_behind_and_says_where_it_stands() {
    let run = Run::new(&[]);
    let first = fs::read(run.file("yardsticks.json")).expect("written");
    let other = Run { directory: tempfile::tempdir().expect("a temporary directory") };
    fs::copy(run.text(), other.text()).expect("writable");
    let output = other.train(&["--threads", "2", "--quiet"], &[]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    assert!(fs::read(other.file("yardsticks.json")).expect("written") == first);
    let yardsticks: Value = serde_json::from_slice(&first).expect("JSON");
    let mut of_eval = run.json(&[])["yardsticks"].clone();
    assert_eq!(of_eval, yardsticks);

    // A run that goes on takes them as they are.
    of_eval["xz"] = 0.25.into();
    fs::write(run.file("yardsticks.json"), of_eval.to_string()).expect("writable");
    let output = run.train(&["--resume", "--allow-changed-config"], &["train.steps=80"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.err.contains("xz 0.25"), "{}", output.err);
    let (step, loss) = *run.validations().iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("some");
    let bits = loss / std::f64::consts::LN_2;
    let line = format!(
        "the best validation, {loss:.3} nats/char, {bits:.3} bits/char, was at step {step}: better than "
    );
    assert!(output.err.lines().any(|found| found.starts_with(&line)), "{}", output.err);
    assert!(
        fs::read(run.file("yardsticks.json")).expect("there") == of_eval.to_string().as_bytes()
    );

    // They are another text's.
    fs::write(run.text(), fs::read_to_string(run.text()).expect("there").repeat(2))
        .expect("writable");
    let changed = ["--resume", "--allow-changed-config", "--allow-changed-text"];
    assert_eq!(run.train(&changed, &["train.steps=100"]).code, 0);
    let now: Value = serde_json::from_slice(&fs::read(run.file("yardsticks.json")).expect("there"))
        .expect("JSON");
    assert_ne!(now["xz"], of_eval["xz"]);

    let none = Run { directory: tempfile::tempdir().expect("a temporary directory") };
    fs::copy(other.text(), none.text()).expect("writable");
    let output = none.train(&[], &["data.split=[1.0, 0.0, 0.0]"]);
    assert!(
        output.err.contains("no validation text: to know how good it is hold some text out"),
        "{}",
        output.err
    );
    assert!(!none.file("yardsticks.json").exists());
}

#[test]
fn a_figure_is_one_for_each_symbol_and_says_what_those_are() {
    for (tokenizer, one, short) in
        [("char", "character", "char"), ("byte", "byte", "byte"), ("char_byte", "symbol", "symbol")]
    {
        let run = Run { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::copy(project("configs/data/input.txt"), run.text()).expect("writable");
        let trained = run.train(&[], &[&format!("data.tokenizer={tokenizer}")]);
        let config = run.file("config.toml").display().to_string();
        let checked = cli(&["check", &config, "--no-time"]);
        let shown = [
            (trained.err, format!(" nats/{short}, ")),
            (checked.out, format!(" nats/{short}, all symbols alike")),
            (cli(&["metrics", &run.path()]).out, format!("  {short}s/s\n")),
            (run.eval(&["--by-char"]).out, format!("  nats/{short}  {one}, and what")),
        ];
        let other = |text: &str| text.contains("/char") || text.contains("character");
        for (text, expected) in shown {
            assert!(text.contains(&expected), "{expected}: {text}");
            assert!(one == "character" || !other(&text), "{tokenizer}: {text}");
        }
    }
}

#[test]
fn a_run_that_waits_for_its_yardsticks_says_so() {
    let run = Run { directory: tempfile::tempdir().expect("a temporary directory") };
    let text = fs::read_to_string(project("configs/data/input.txt")).expect("there");
    fs::write(run.text(), text.repeat(300)).expect("writable");
    // Hardly anything to train and to validate, and much to measure.
    let sets = ["train.steps=1", "eval.every=1", "data.split=[0.998, 0.002, 0.0]"];
    let err = run.train(&[], &sets).err;
    let line = |start: &str| err.lines().position(|line| line.starts_with(start));
    let lines = ["trained; n-grams and xz", "yardsticks in nats/char: ", "the best validation, "];
    let lines = lines.map(|start| line(start).unwrap_or_else(|| panic!("{start}: {err}")));
    assert!(lines.is_sorted(), "{err}");
}

#[test]
fn nobody_measures_yardsticks_for_a_run_without_a_validation_loss() {
    for every in [0, 61] {
        let run = Run { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::copy(project("configs/data/input.txt"), run.text()).expect("writable");
        let err = run.train(&[], &[&format!("eval.every={every}")]).err;
        let word =
            format!("no validation loss with eval.every = {every}; to know how good it is: ");
        assert!(err.contains(&format!("{word}cargo cli eval {}\n", run.path())), "{err}");
        assert!(!err.contains("yardsticks") && !run.file("yardsticks.json").exists(), "{err}");
    }
}

#[test]
fn a_run_that_learnt_nonsense_is_told_so() {
    let end = |keys: &[&str]| {
        let run = Run { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::copy(project("configs/data/input.txt"), run.text()).expect("writable");
        run.train(&[], &[&["eval.every=0", "train.steps=3000"], keys].concat()).err
    };
    // Adagrad's rate is far too much for Adam.
    for nonsense in [&["transform=[]", "optimizer.learning_rate=1e6"][..], &["optimizer.kind=adam"]]
    {
        let err = end(nonsense);
        assert!(err.contains("worse than guessing, which costs 4.060 nats"), "{err}");
    }
    for sense in [&["transform=[]", "optimizer.learning_rate=0.1"][..], &[]] {
        let err = end(sense);
        assert!(!err.contains("guessing"), "{err}");
    }
}

#[test]
fn the_table_of_characters_adds_up() {
    let run = Run::new(&[]);
    let found = run.json(&["--by-char"]);
    let rows = found["by_char"].as_array().expect("rows");
    let sum = |key: &str| rows.iter().map(|row| row[key].as_f64().expect("a number")).sum::<f64>();
    assert!((sum("share_of_text") - 1.0).abs() < 1e-9 && (sum("share_of_loss") - 1.0).abs() < 1e-9);
    assert_eq!(sum("count"), found["chars"].as_f64().expect("a number"));
    let total: f64 =
        rows.iter().map(|row| nats(row) * row["count"].as_f64().expect("a number")).sum();
    assert!((total / sum("count") - nats(&found)).abs() < 1e-6);
    let shares: Vec<_> = rows.iter().map(|row| row["share_of_loss"].as_f64()).collect();
    assert!(shares.is_sorted_by(|a, b| a >= b));
    // It is never expected instead of itself, and after 60 steps it is a frequent one.
    assert!(rows.iter().all(|row| row["expected_instead"] != row["symbol"]));
    let spaces = rows.iter().filter(|row| row["expected_instead"] == " ").count();
    assert!(2 * spaces > rows.len(), "{rows:?}");

    let shown = run.eval(&["--by-char"]).out;
    assert!(shown.contains("the characters that cost most, 20 of "), "{shown}");
    assert!(shown.lines().any(|line| line.contains("  \" \"  ")), "{shown}");
}

#[test]
fn a_model_that_goes_on_learning_gets_better_at_a_text_that_repeats_itself() {
    let run = Run::new(&[]);
    let file = run.directory.path().join("again.txt");
    fs::write(&file, "the lamp and the lane.\n".repeat(200)).expect("writable");
    let checkpoint = run.file("checkpoints/step-00000060.safetensors");
    let before = fs::read(&checkpoint).expect("there");
    let file = file.display().to_string();
    let still = run.json(&["--text", &file]);
    let learning = run.json(&["--text", &file, "--dynamic"]);
    assert!(nats(&learning) < 0.9 * nats(&still), "{} {}", nats(&learning), nats(&still));
    assert_eq!(learning["chars"], still["chars"]);
    assert!(fs::read(&checkpoint).expect("there") == before);

    // Where the text it was trained on is gone, steps are as large as this one's gradients say.
    let gone = run.json(&["--text", &file, "--dynamic", "--set", "data.path=gone.txt"]);
    assert!(nats(&gone) != nats(&learning), "both {}", nats(&gone));
    assert!(nats(&gone) < 0.9 * nats(&still), "{} {}", nats(&gone), nats(&still));

    // Nothing is learnt from a window before it is predicted: up to 20 characters cost the same.
    fs::write(&file, "the lamp and the lane").expect("writable");
    let [still, learning] =
        [&["--text", &file][..], &["--text", &file, "--dynamic"]].map(|args| run.json(args));
    assert!((nats(&still) - nats(&learning)).abs() < 1e-6);

    // Drawn back, those weights most that usually have the largest gradients, it learns less.
    let args = ["--dynamic", "--rate", "0.003", "--decay", "1"];
    let [still, held, free] = [&[][..], &args, &args[..3]].map(|args| nats(&run.json(args)));
    assert!(free < held && still - held < 0.7 * (still - free), "{still} {held} {free}");

    let output = run.eval(&["--dynamic", "--rate", "1e300"]);
    assert_eq!(output.code, 2, "{}", output.err);
    assert!(output.err.starts_with("error: --rate: the model unlearns all"), "{}", output.err);
}

#[track_caller]
fn check(output: &Output, code: u8, expected: &str, help: &str) {
    assert_eq!(output.code, code, "{}", output.err);
    assert!(output.err.lines().any(|line| line.contains(expected)), "{}", output.err);
    let last = output.err.lines().last().unwrap_or_default();
    assert!(last.starts_with("help: ") && last.contains(help), "{}", output.err);
    assert_eq!(output.out, "");
}

#[test]
fn a_text_that_is_another_one_or_not_there_is_refused_with_advice() {
    let run = Run::new(&[]);
    let expected = run.json(&[]);
    let moved = run.directory.path().join("moved.txt");
    fs::rename(run.text(), &moved).expect("writable");
    check(&run.eval(&[]), 3, "cannot read the text", "--set data.path=FILE");
    let set = format!("data.path={}", moved.display());
    assert_eq!(nats(&run.json(&["--set", &set])), nats(&expected));

    let text = fs::read_to_string(&moved).expect("there");
    fs::write(run.text(), text.replace("lamp", "lane")).expect("writable");
    check(&run.eval(&[]), 3, "not the text of ", "--text FILE");
    fs::write(run.text(), text.clone() + "Ω").expect("writable");
    check(&run.eval(&[]), 3, "not the text of ", "--text FILE");
    // It may still be read as one that is not the run's; then nothing is known of the training text.
    fs::write(run.text(), text.replace("lamp", "lane")).expect("writable");
    let output = run.eval(&["--text", &run.text().display().to_string(), "--json"]);
    assert!(output.err.starts_with("no yardsticks but guessing: "), "{}", output.err);
    let found: Value = serde_json::from_str(&output.out).expect("JSON");
    assert!(found["yardsticks"]["ngrams"].is_null() && found["split"].is_null());

    let alone = run.directory.path().join("alone.safetensors");
    fs::copy(run.file("checkpoints/step-00000060.safetensors"), &alone).expect("writable");
    check(&cli(&["eval", &alone.display().to_string()]), 3, "in no run directory", "--text FILE");

    fs::rename(&moved, run.text()).expect("writable");
    let output = run.eval(&["--set", "data.split=[0.5, 0.5, 0.0]"]);
    assert_eq!(output.code, 0);
    assert!(output.err.contains("the model may know some of this text"), "{}", output.err);
}

#[test]
fn bad_input_gets_a_clear_word() {
    let run = Run::new(&["data.split=[1.0, 0.0, 0.0]"]);
    check(&run.eval(&[]), 3, "no validation text: data.split is [1.0, 0.0, 0.0]", "--text FILE");
    check(&run.eval(&["--best"]), 5, "the run has no validation loss", "");
    check(&run.eval(&["--split", "tset"]), 2, "invalid value 'tset'", "`test`");
    check(&run.eval(&["--split", "train", "--text", "x"]), 2, "cannot be used with", "");
    check(&run.eval(&["--rate", "0.1"]), 2, "--dynamic", "");
    check(&run.eval(&["--dynamic", "--rate", "-1"]), 2, "above 0", "");
    check(&run.eval(&["--dynamic", "--decay", "1.5"]), 2, "from 0 to 1", "");
    check(&run.eval(&["--decay", "0.1"]), 2, "--dynamic", "");
    check(&cli(&["eval", "no-such-run"]), 5, "there is no such run or checkpoint", "");
    let checkpoint = run.file("checkpoints/step-00000060.safetensors").display().to_string();
    check(&cli(&["eval", &checkpoint, "--best"]), 5, "the best one of a run", "run directory");

    let file = run.directory.path().join("file");
    let eval = |bytes: &[u8]| {
        fs::write(&file, bytes).expect("writable");
        run.eval(&["--text", &file.display().to_string()])
    };
    check(&eval(b""), 3, "the text is empty", "");
    check(&eval(b"a"), 3, "one character: the first is read and none predicted", "longer");
    check(&eval("a lamp Ж".as_bytes()), 3, "file:1:8: the model never saw 'Ж'", "char_byte");
    check(&eval(b"\xff\xfea"), 3, "not UTF-8", "");
    assert_eq!(eval(b"an").code, 0);
    let none = run.directory.path().join("none").display().to_string();
    check(&run.eval(&["--text", &none]), 3, "cannot read the text", "");

    // A run whose first checkpoint is not there yet.
    for entry in fs::read_dir(run.file("checkpoints")).expect("a directory") {
        fs::remove_file(entry.expect("an entry").path()).expect("writable");
    }
    check(&run.eval(&[]), 5, "the run has no checkpoint yet", "");
}

#[test]
fn a_tokenizer_with_bytes_takes_any_text() {
    let run = Run::new(&["data.tokenizer=char_byte"]);
    let file = run.directory.path().join("file");
    fs::write(&file, "Ж Ω 女").expect("writable");
    let found = run.json(&["--text", &file.display().to_string(), "--by-char"]);
    assert_eq!(found["chars"], "Ж Ω 女".len() - 1);
}

#[test]
fn a_run_is_evaluated_while_it_is_being_written() {
    let run = Run::new(&[]);
    let lock = fs::File::options().write(true).open(run.file("lock")).expect("there");
    lock.try_lock().expect("nobody has it");
    assert_eq!(nats(&run.json(&[])), run.validations()[2].1);
    assert!(Path::new(&run.path()).exists());
}
