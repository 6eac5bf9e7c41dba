//! A short run, in a directory of its own, to which something happens.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benches::Program;
use tempfile::TempDir;

use super::is_clear;
use super::trace::{CALLS, Trace};

/// Overrides of `configs/karpathy.toml`: every kind of file is written several times, and two
/// checkpoints are larger than 64 KiB.
const OVERRIDES: [&str; 10] = [
    "train.steps=14",
    "model.hidden_size=32",
    "train.batch_size=2",
    "data.split=[0.9, 0.1, 0.0]",
    "log.every=1",
    "eval.every=4",
    "sample.every=5",
    "sample.length=40",
    "checkpoint.every=4",
    "checkpoint.keep=1",
];

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The run, and what it ends in when nothing happens.
pub struct Scene {
    program: Program,
    config: PathBuf,
    expected: Files,
    duration: Duration,
}

/// How a process ended.
pub struct Outcome {
    /// 128 and its number for a signal.
    pub code: i32,
    /// What it said.
    pub error: String,
}

impl Scene {
    pub fn new(program: Program) -> Result<Self, Box<dyn std::error::Error>> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in it");
        let config = project.join("configs/karpathy.toml");
        let mut scene = Self { program, config, expected: Files::new(), duration: Duration::ZERO };
        let run = scene.start()?;
        let start = Instant::now();
        let outcome = run.under(&[])?;
        let (duration, expected) = (start.elapsed(), files(&run.path)?);
        if outcome.code != 0 {
            return Err(format!("a run that nothing happened to failed: {}", outcome.error).into());
        }
        (scene.duration, scene.expected) = (duration, expected);
        Ok(scene)
    }

    /// A new directory for the run.
    pub fn start(&self) -> std::io::Result<Run<'_>> {
        // In memory where there is such a place: what is tested is an order of calls, and no disk.
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory)?,
            false => tempfile::tempdir()?,
        };
        let path = directory.path().join("run");
        Ok(Run { scene: self, directory, path })
    }

    /// Seconds that the run takes.
    pub fn duration(&self) -> f64 {
        self.duration.as_secs_f64()
    }

    /// Bytes of the largest file of the run.
    pub fn largest_file(&self) -> u64 {
        self.expected.values().map(Vec::len).max().unwrap_or_default() as u64
    }

    /// The system calls of the run on its files.
    pub fn trace(&self) -> Result<Trace, Box<dyn std::error::Error>> {
        let run = self.start()?;
        let log = run.directory.path().join("trace");
        let calls = format!("trace={}", CALLS.join(","));
        let strace = ["strace", "-f", "-qq", "-y", "-o", &log.display().to_string(), "-e", &calls];
        let outcome = run.under(&strace)?;
        if outcome.code != 0 {
            return Err(format!("the run failed under strace: {}", outcome.error).into());
        }
        Ok(Trace::parse(&fs::read_to_string(log)?, &run.path.display().to_string()))
    }
}

/// A run to which something happens.
pub struct Run<'s> {
    scene: &'s Scene,
    directory: TempDir,
    path: PathBuf,
}

impl Run<'_> {
    fn command(&self, before: &[&str]) -> Command {
        let program = self.scene.program.path().as_os_str();
        let mut words = before.iter().map(OsStr::new).chain([program]);
        let mut command = Command::new(words.next().expect("the program at least"));
        command.args(words).arg("run").arg(&self.scene.config);
        command.args(OVERRIDES.iter().flat_map(|set| ["--set", set]));
        // With one thread every run has the same system calls.
        command.args(["--quiet", "--resume", "--threads", "1", "--out"]).arg(&self.path);
        command
    }

    /// Runs it by another program.
    pub fn under(&self, before: &[&str]) -> std::io::Result<Outcome> {
        let output = self.command(before).output()?;
        let status = output.status;
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Outcome { code: code.unwrap_or(-1), error })
    }

    /// Runs it with one of its system calls on its files tampered with.
    pub fn injected(&self, fault: &str, trace: &Trace) -> std::io::Result<Outcome> {
        let call = fault.split(':').next().unwrap_or_default();
        let (calls, inject) = (format!("trace={call}"), format!("inject={fault}"));
        let mut words = vec!["strace", "-f", "-qq", "-o", "/dev/null", "-e", &calls, "-e", &inject];
        let paths = trace.paths().map(|path| format!("{}{path}", self.path.display()));
        let paths: Vec<_> = paths.collect();
        words.extend(paths.iter().flat_map(|path| ["-P", path]));
        self.under(&words)
    }

    /// Runs it and kills it, unless it is done before.
    pub fn killed_after(&self, time: Duration) -> std::io::Result<()> {
        let mut child = self.command(&[]).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(time);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Runs it on a disk of so many KiB, then on one that has grown.
    pub fn on_small_disk(&mut self, kib: u32) -> std::io::Result<Result<(), String>> {
        fs::create_dir(&self.path)?;
        // Nobody else sees the disk, and it is gone when the shell ends, so what is on it is copied.
        let script =
            "set -u; d=$1; k=$2; shift 2; mount -t tmpfs -o size=${k}k none \"$d\" || exit 99
            \"$@\"; code=$?; echo code $code >&2; find \"$d\" -name '*.tmp' >&2
            mount -o remount,size=64m \"$d\" || exit 99
            \"$@\"; code=$?; mkdir \"$d-copy\"; cp -r \"$d\"/. \"$d-copy\"; exit $code";
        let (path, size) = (self.path.display().to_string(), kib.to_string());
        let outcome = self.under(&["unshare", "-m", "sh", "-c", script, "sh", &path, &size])?;
        let is_left = outcome.error.lines().any(|line| line.ends_with(".tmp"));
        if outcome.code != 0 || !outcome.error.contains("code 4") || is_left {
            return Ok(Err(outcome.error));
        }
        self.path = self.directory.path().join("run-copy");
        Ok(self.ended_well())
    }

    /// Whether a run in which something failed said so, lost nothing and left nothing lying about;
    /// or did not need it, and ended as if nothing had happened.
    pub fn failed_well(&self, outcome: &Outcome) -> Result<(), String> {
        if outcome.code == 0 {
            return self.ended_well();
        }
        is_clear(outcome)?;
        for (name, _) in files(&self.path).unwrap_or_default() {
            let path = self.path.join(&name);
            if name.extension().is_some_and(|ending| ending == "tmp") {
                return Err(format!("{} is left", name.display()));
            }
            if name.starts_with("checkpoints") {
                let check =
                    Command::new(self.scene.program.path()).arg("check").arg(&path).output();
                if !check.is_ok_and(|output| output.status.success()) {
                    return Err(format!("{} is no good checkpoint", name.display()));
                }
            }
        }
        Ok(())
    }

    /// Whether it ends in the expected bytes when it is resumed.
    pub fn resumed(&self) -> Result<(), String> {
        let outcome = self.under(&[]).map_err(|error| error.to_string())?;
        match outcome.code {
            0 => self.ended_well(),
            code => Err(format!("resumed: exit code {code}: {}", outcome.error)),
        }
    }

    fn ended_well(&self) -> Result<(), String> {
        let found = files(&self.path).map_err(|error| error.to_string())?;
        let expected = &self.scene.expected;
        let differs = |name: &&PathBuf| found.get(*name) != expected.get(*name);
        match found.keys().chain(expected.keys()).find(differs) {
            None => Ok(()),
            Some(name) => Err(format!("{} differs", name.display())),
        }
    }
}

/// The files of a run that depend on nothing but config, seed and text.
pub fn files(run: &Path) -> std::io::Result<Files> {
    let mut files = Files::new();
    for directory in ["", "checkpoints"] {
        for entry in fs::read_dir(run.join(directory))? {
            let name = Path::new(directory).join(entry?.file_name());
            let is_left_out = ["timing.jsonl", "lock"].map(Path::new).contains(&&*name);
            if run.join(&name).is_file() && !is_left_out {
                files.insert(name.clone(), fs::read(run.join(&name))?);
            }
        }
    }
    Ok(files)
}

/// Whether a program runs.
pub fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
