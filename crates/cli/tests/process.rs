//! What only a real process shows: closed pipes, full devices, exit codes.

#![cfg(unix)]

mod hangups;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

fn cli(run: &Path) -> Command {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/karpathy.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cli"));
    command.arg("run").arg(config).arg("--out").arg(run);
    command.args(["--set", "sample.every=10", "--set", "train.steps=100000000"]);
    command
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run_with_a_checkpoint() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let mut child = cli(&run)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("a line");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(line, "data has 1557 characters, 58 unique.\n");
    assert_eq!(output.status.code(), Some(1), "a run before its end is not done: {error}");
    assert!(!error.contains("panicked"), "{error}");
    assert!(error.contains("go on with it: cargo cli resume"), "{error}");
    assert!(error.contains("standard output is closed: stopped"), "{error}");
    let checkpoints = std::fs::read_dir(run.join("checkpoints")).expect("a run directory");
    assert_eq!(checkpoints.count(), 1);
}

#[test]
fn a_full_device_ends_the_run_with_an_error() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: this system has no /dev/full");
        return;
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let output = cli(&run).stdout(full).output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.starts_with("error: standard output: cannot write: No space left"), "{error}");

    let full = File::options().write(true).open("/dev/full").expect("it was there");
    let mut list = Command::new(env!("CARGO_BIN_EXE_cli"));
    let status = list.arg("list").stdout(full).stderr(Stdio::null()).status().expect("it starts");
    assert_eq!(status.code(), Some(4));
}

#[test]
fn nothing_is_printed_in_colour_and_quiet_is_quiet() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let short = ["--set", "train.steps=20", "--set", "log.every=10"];
    let output = cli(&directory.path().join("a")).args(short).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0));
    for stream in [&output.stdout, &output.stderr] {
        assert!(!stream.contains(&0x1b) && !stream.contains(&b'\r'), "no escape codes");
    }
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with("step 10 of 20  smoothed loss "), "{error}");

    let quiet = cli(&directory.path().join("b")).args(short).arg("--quiet").output();
    let quiet = quiet.expect("it starts");
    assert_eq!((quiet.stdout.len(), quiet.stderr.len()), (0, 0));
}

#[test]
fn a_run_that_nobody_hears_of_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let status = cli(&run).stdout(full).stderr(Stdio::null()).status().expect("it starts");
    assert_eq!(status.code(), Some(4));
    assert!(!run.exists());
}

#[test]
fn figures_that_nobody_reads_are_no_failure() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    // More metrics than a buffer holds.
    let short = ["train.steps=300", "log.every=1", "data.split=[0.9, 0.1, 0.0]"];
    let short = short.into_iter().flat_map(|set| ["--set", set]);
    let status = cli(&run).args(short).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("it starts").success());
    for [command, args] in [["eval", "--by-char"], ["eval", "--json"], ["metrics", "--csv"]] {
        let mut eval = Command::new(env!("CARGO_BIN_EXE_cli"));
        eval.arg(command).arg(&run).arg(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = eval.spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{error}");
        assert_eq!(error, "");
    }
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let pipe = directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this system has no mkfifo");
        return;
    }
    let text = format!("data.path={}", pipe.display());
    let init = format!("model.init={{ kind = \"file\", path = {:?} }}", pipe.display().to_string());
    for (set, code) in [(text, 3), (init, 5)] {
        let run = directory.path().join("run");
        let output = cli(&run).args(["--set", &set]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(code));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("not a regular file"), "{error}");
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_cli"));
    let output = check.arg("check").arg(&pipe).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
}

/// Starts a run that would take for ever, and waits for its first line.
fn started(run: &Path, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command = cli(run);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut String::new()).expect("a line");
    (child, out)
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(status.expect("every system has it").success());
}

/// The rest of standard output, which has to be read for the run to go on, the exit code, and
/// standard error.
fn end(child: Child, mut out: BufReader<ChildStdout>) -> (Option<i32>, String) {
    out.read_to_end(&mut Vec::new()).expect("readable");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn n_checkpoints(run: &Path) -> usize {
    std::fs::read_dir(run.join("checkpoints")).expect("a run directory").count()
}

#[test]
fn a_signal_ends_a_run_after_its_step_with_a_checkpoint() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        if signal == "-HUP" && hangups::are_ignored() {
            continue;
        }
        let run = directory.path().join(signal);
        let (child, out) = started(&run, &[]);
        send(signal, &child);
        let (found, error) = end(child, out);
        assert_eq!(found, Some(code), "{error}");
        assert!(error.contains(": saved after step "), "{error}");
        assert_eq!(n_checkpoints(&run), 1);
        let mut check = Command::new(env!("CARGO_BIN_EXE_cli"));
        let status = check.arg("check").arg(&run).stdout(Stdio::null()).status();
        assert!(status.expect("it starts").success());
    }
}

#[test]
fn a_second_signal_ends_a_run_in_the_middle_of_its_step() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let sizes = ["model.hidden_size=2048", "train.batch_size=14", "train.seq_len=100"];
    let long = sizes.map(|size| ["--set", size]).concat();
    let (mut child, out) = started(&run, &long);
    // Two that come before the first is taken are one, so there are as many as it takes.
    while child.try_wait().expect("it was started").is_none() {
        send("-INT", &child);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(end(child, out).0, Some(130));
    assert_eq!(n_checkpoints(&run), 0);
}

/// When a terminal is closed its shell sends a signal, and then the system another.
#[test]
fn a_terminal_that_hangs_up_twice_is_no_hurry() {
    if hangups::are_ignored() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let sizes = ["model.hidden_size=1024", "train.batch_size=14", "train.seq_len=100"];
    let long = sizes.map(|size| ["--set", size]).concat();
    let (child, out) = started(&run, &long);
    send("-HUP", &child);
    std::thread::sleep(Duration::from_millis(50));
    send("-HUP", &child);
    assert_eq!(end(child, out).0, Some(129));
    assert_eq!(n_checkpoints(&run), 1);
}

#[test]
fn a_second_process_is_told_who_has_the_directory_and_a_killed_one_frees_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let (mut first, _out) = started(&run, &[]);
    for args in [&["--resume"][..], &[]] {
        let second = cli(&run).args(args).output().expect("the program starts");
        let error = String::from_utf8_lossy(&second.stderr);
        assert_eq!(second.status.code(), Some(6), "{error}");
        assert!(error.contains(&format!(": in use by process {}\n", first.id())), "{error}");
    }
    first.kill().expect("it runs");
    first.wait().expect("it ends");
    let (third, out) = started(&run, &["--resume"]);
    send("-TERM", &third);
    assert_eq!(end(third, out).0, Some(143));
}

#[test]
fn a_run_that_is_done_says_so_and_how_it_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    let status = cli(&run).args(["--quiet", "--set", "train.steps=20"]).status();
    assert!(status.expect("it starts").success());
    let resume = |args: &[&str]| {
        let mut resume = Command::new(env!("CARGO_BIN_EXE_cli"));
        let output = resume.arg("resume").arg(&run).args(args).output().expect("it starts");
        assert!(output.status.success());
        String::from_utf8(output.stderr).expect("text")
    };
    let (done, longer) =
        ("nothing to do after step 20; a larger --set train.steps", "train.steps=30");
    assert!(resume(&[]).contains(done));
    assert!(resume(&["--set", longer]).contains("ended at its last step, 30"));
}

#[test]
fn a_hint_names_the_program_as_it_was_called() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hint = |run: &str, is_cargo: bool| {
        let path = directory.path().join(run);
        let mut command = cli(&path);
        command.args(["--set", "train.steps=20"]).env_remove("CARGO_MANIFEST_DIR");
        if is_cargo {
            command.env("CARGO_MANIFEST_DIR", "/");
        }
        let output = command.output().expect("it starts");
        let text = String::from_utf8(output.stderr).expect("text");
        text.lines().last().unwrap_or_default().replace(&path.display().to_string(), "RUN")
    };
    assert_eq!(hint("a", false), "write with it: cli sample RUN --length 500");
    assert_eq!(hint("b", true), "write with it: cargo cli sample RUN --length 500");
}
