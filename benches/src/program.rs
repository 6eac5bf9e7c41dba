//! The program `cli`: built by cargo, and watched while it trains.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program `cli`.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// Builds it, with further arguments and environment variables of `cargo build`.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn build<'a>(
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<Self> {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--package", "cli", "--bin", "cli"])
            .args(["--message-format", "json-render-diagnostics"])
            .args(args)
            .envs(variables)
            .stderr(Stdio::inherit())
            .output()?;
        let messages = String::from_utf8_lossy(&output.stdout);
        let executable = |line: &str| {
            let message: Value = serde_json::from_str(line).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        };
        match messages.lines().find_map(executable) {
            Some(path) if output.status.success() => Ok(Self { path }),
            _ => Err(io::Error::other("`cargo build --package cli` failed")),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `cli run` has an option.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn has_option(&self, option: &str) -> io::Result<bool> {
        let help = Command::new(&self.path).args(["run", "--help"]).output()?;
        Ok(String::from_utf8_lossy(&help.stdout).contains(option))
    }

    /// Starts to train what a config says, into the directory `out`.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn train(&self, config: &Path, out: &Path, args: &[String]) -> io::Result<Run> {
        let start = Instant::now();
        let mut child = Command::new(&self.path)
            .args([OsStr::new("run"), config.as_os_str(), OsStr::new("--out"), out.as_os_str()])
            // Without it a line comes every few seconds, whatever was logged.
            .arg("--verbose")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        Ok(Run { child, lines, start })
    }

    /// Starts it anew, until its 300th step is done.
    ///
    /// # Errors
    /// If it cannot be run, or does not train.
    pub fn start_up(&self, config: &Path) -> io::Result<StartUp> {
        let out = tempfile::tempdir()?;
        let mut run = self.train(config, &out.path().join("run"), &["--set=log.every=1".into()])?;
        let (_, first_step) = run.next_step()?;
        while run.next_step()?.0 < 300 {}
        Ok(StartUp { first_step, peak_memory: run.peak_memory() })
    }
}

/// How a program begins.
#[derive(Clone, Copy, Debug)]
pub struct StartUp {
    /// Time from the start of the process to the end of its first step.
    pub first_step: Duration,
    /// The most memory it held, in bytes, where `/proc` tells.
    pub peak_memory: Option<u64>,
}

/// A program that trains. Dropped, it is stopped.
#[derive(Debug)]
pub struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    start: Instant,
}

impl Run {
    /// Waits for the next step that is logged; returns its number, and the time since the start.
    ///
    /// # Errors
    /// If the program ended, with what it said.
    pub fn next_step(&mut self) -> io::Result<(u64, Duration)> {
        let mut said = String::new();
        for line in &mut self.lines {
            let line = line?;
            // `step 200 of 30000  smoothed loss …`
            let words: Vec<_> = line.split_whitespace().take(3).collect();
            if let ["step", step, "of"] = words[..]
                && let Ok(step) = step.parse()
            {
                return Ok((step, self.start.elapsed()));
            }
            said += &format!("\n{line}");
        }
        Err(io::Error::other(format!("the run ended before it was to{said}")))
    }

    /// The most memory it has held so far, in bytes, where `/proc` tells.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
