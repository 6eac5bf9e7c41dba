//! The program itself on hostile files: refused with exit code 5, in a second, in little memory.

#![cfg(unix)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

#[path = "../../../tests/hostile.rs"]
mod hostile;

/// KiB of address space that the program gets.
const MEMORY: u32 = 256 << 10;

fn cli(args: &[&str]) -> Output {
    let limited = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_cli")]).args(args);
    command.output().expect("a shell")
}

fn checkpoint(directory: &Path) -> Vec<u8> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/karpathy.toml");
    let (config, run) = (config.display().to_string(), directory.join("run"));
    let keys = ["model.hidden_size=3", "train.steps=3", "checkpoint.every=0"];
    let mut args = vec!["run", &config, "--quiet", "--threads", "1", "--out"];
    let out = run.display().to_string();
    args.push(&out);
    args.extend(keys.iter().flat_map(|key| ["--set", *key]));
    let output = cli(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(run.join("checkpoints/step-00000003.safetensors")).expect("a checkpoint")
}

#[test]
fn every_hostile_file_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let good = checkpoint(directory.path());
    let path = directory.path().join("good.safetensors").display().to_string();
    std::fs::write(&path, &good).expect("writable");
    assert!(cli(&["check", &path]).status.success(), "the good one is taken");
    let mut sealed = good.clone();
    hostile::seal(&mut sealed);
    assert_eq!(sealed, good, "the digest is taken as the program takes it");

    let files = hostile::files(&good);
    assert!(200 <= files.len());
    let mut slowest = Duration::ZERO;
    for (index, hostile::Hostile { name, bytes, len }) in files.into_iter().enumerate() {
        let path = directory.path().join(&name);
        let mut file = File::create(&path).expect("writable");
        file.write_all(&bytes).expect("writable");
        file.set_len(len).expect("a hole");
        drop(file);
        let path = path.display().to_string();
        // Loading is the same for both, so a share of the files is enough for one.
        let commands = [&["check", &path][..], &["sample", &path, "--length", "3"]];
        for command in &commands[..if index % 4 == 0 { 2 } else { 1 }] {
            let start = Instant::now();
            let output = cli(command);
            slowest = slowest.max(start.elapsed());
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(5), "{name}: {error}");
            assert!(start.elapsed() < Duration::from_secs(1), "{name}: {:?}", start.elapsed());
            assert_eq!(output.stdout, b"", "{name}");
            assert!(error.starts_with("error: ") && error.lines().count() <= 6, "{name}: {error}");
            assert!(
                error.lines().last().is_some_and(|line| line.starts_with("help: ")),
                "{name}: {error}"
            );
            let obeyed =
                |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{2069}').contains(&c));
            assert!(!error.contains(obeyed), "{name}: {error:?}");
        }
        std::fs::remove_file(&path).expect("it was written");
    }
    println!("the slowest took {slowest:?}");
}
