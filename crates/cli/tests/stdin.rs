//! What is read from standard input, and what becomes of a reader that has seen enough.

#![cfg(unix)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cli"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the program says to a text on its standard input.
fn cli(args: &[&str], input: &[u8]) -> Output {
    let mut child = command(args).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end before it has read all.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn train(overrides: &[&str]) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/karpathy.toml");
    let (config, run) = (config.display().to_string(), directory.path().join("run"));
    let run = run.display().to_string();
    let mut args = vec!["run", &config, "--quiet", "--out", &run, "--set", "train.steps=300"];
    args.extend(overrides.iter().flat_map(|set| ["--set", *set]));
    let output = cli(&args, b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    (directory, run)
}

/// A conversation over a pipe: each line is gone on from, and all before it is remembered.
#[test]
fn a_conversation_goes_on_from_every_line() {
    let (_directory, run) = train(&["train.steps=3000"]);
    let talk = |input: &str, more: &[&str]| {
        let args = [&["sample", &run, "--interactive", "--length", "40"], more].concat();
        let output = cli(&args, input.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "seed 42\n", "no prompt where nobody types");
        text(&output.stdout)
    };
    let sample =
        |args: &[&str]| text(&cli(&[&["sample", &run, "--length"], args].concat(), b"").stdout);
    assert_eq!(talk("", &[]), "");
    // The first line is a prime, an empty line lets the model go on, and the last needs no end.
    for (input, prime) in
        [("The lamp\n\n", "The lamp"), ("The lamp\r\n\r\n", "The lamp"), ("\n\n", "")]
    {
        let whole = sample(&["80", "--prime", prime]);
        let half = whole.floor_char_boundary(whole.char_indices().nth(40).expect("longer").0);
        let expected = format!("{}\n{}\n", &whole[..half], &whole[half..]);
        assert_eq!(talk(input, &[]), expected, "{input:?}");
    }
    let one = sample(&["40", "--prime", "The lamp"]) + "\n";
    assert_eq!(talk("The lamp", &[]), one);
    // With a prime the first line comes after it.
    assert_eq!(talk(" lamp", &["--prime", "The"]), one);
    // What is typed later counts, and so does what was typed before. That two lines have other successors, this
    // model's weights decide: where their last bits change, two others may have to be taken.
    let (first, second) = (talk("The lamp\nt\n", &[]), talk("The lamp\n# A\n", &[]));
    assert!(first.starts_with(&one) && second.starts_with(&one) && first != second);
    let other = talk("\"\nt\n", &[]);
    assert_ne!(first.get(one.len()..), other.get(one.len()..));
    let stopped = talk("The lamp\n\n", &["--stop", " "]);
    assert!(stopped.lines().all(|line| line.ends_with(' ') && line.matches(' ').count() == 1));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let (_directory, run) = train(&[]);
    let args = ["sample", &run, "--interactive", "--length", "10"];
    let check = |input: &[u8], expected: &str| {
        let output = cli(&args, input);
        let error = text(&output.stderr);
        assert_eq!(error.lines().nth(1), Some(expected));
        assert!(error.lines().nth(2).is_some_and(|line| line.starts_with("help: ")), "{error}");
        assert_eq!((output.status.code(), error.lines().count()), (Some(3), 3), "{error}");
        assert_eq!(text(&output.stdout).chars().count(), 11, "the first line was answered");
    };
    check(
        "The\nla\u{301}mp\n".as_bytes(),
        "error: standard input:2:3: the model never saw '\\u{301}'",
    );
    check(b"The\nl\xe9mp\n", "error: standard input:2: not UTF-8: byte 0xe9 at offset 1");
    for more in ["--novelty", "--count=2", "--json"] {
        let output = cli(&["sample", &run, "--interactive", more], b"");
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("cannot be used with"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_text_on_standard_input_is_scored_as_one_in_a_file() {
    let (directory, run) = train(&[]);
    let file = directory.path().join("file.txt").display().to_string();
    let content = "The lamp was lit.\nThe clock\n";
    std::fs::write(&file, content).expect("writable");
    for mode in [&[][..], &["--lines"], &["--json"], &["--chars"]] {
        let [from_file, from_stdin] = [file.as_str(), "-"].map(|path| {
            let output = cli(&[&["score", &run, path], mode].concat(), content.as_bytes());
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            text(&output.stdout)
        });
        assert_eq!(from_stdin, from_file.replace(&file, "standard input"));
    }
    let check = |input: &[u8], expected: &str| {
        let output = cli(&["score", &run, "-"], input);
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), error.lines().next()), (Some(3), Some(expected)));
    };
    check(b"", "error: standard input: the text is empty");
    check(b"a\nb\xff", "error: standard input:2: not UTF-8: byte 0xff at offset 3");
    check("The\n lamp€".as_bytes(), "error: standard input:2:6: the model never saw '€'");
}

#[test]
fn a_reader_that_has_seen_enough_ends_every_output() {
    let (directory, run) = train(&[]);
    let file = directory.path().join("file.txt").display().to_string();
    std::fs::write(&file, "The lamp was lit.\n".repeat(200_000)).expect("writable");
    for args in [
        &["score", &run, &file, "--lines"][..],
        &["score", &run, &file, "--chars"],
        &["score", &run, &file, "--json"],
        &["list"],
        &["sample", &run, "--length", "100000000"],
        &["sample", &run, "--count", "100000000", "--length", "20"],
    ] {
        let mut child = command(args).spawn().expect("the program starts");
        let mut out = child.stdout.take().expect("piped");
        out.read_exact(&mut [0; 50]).expect("a start");
        drop(out);
        let output = child.wait_with_output().expect("it ends");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
        assert!(error.lines().all(|line| line.starts_with("seed ")), "{args:?}: {error}");
    }
}
