//! What the integration tests share.

pub mod blocks;
#[path = "rank_threads.rs"]
pub mod ranks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use experiment::{Error, Event, Experiment, Flow, Observer, Parts, open_config};
use tempfile::TempDir;

/// A path in the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project").join(path)
}

/// Prepares a config of the project with overrides.
///
/// # Panics
/// If the config is not valid.
#[track_caller]
pub fn prepare(config: &str, overrides: &[&str]) -> Experiment {
    let overrides: Vec<_> = overrides.iter().map(ToString::to_string).collect();
    let document = open_config(&project(config), &overrides).expect("readable");
    Experiment::prepare(&document, &Parts::builtin()).unwrap_or_else(|error| panic!("{error}"))
}

/// Every file of a run but the one with clock readings, by its path in the run.
///
/// # Panics
/// If it is no run directory.
pub fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for directory in [run.to_owned(), run.join("checkpoints")] {
        for entry in std::fs::read_dir(directory).expect("a run directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(run).expect("below it").display().to_string();
            if path.is_file() && name != "timing.jsonl" {
                files.insert(name, std::fs::read(path).expect("readable"));
            }
        }
    }
    files
}

/// The files that are not the same in two runs, and from which byte on.
pub fn different(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let differs = |name: &String| match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) if a == b => None,
        (Some(a), Some(b)) => {
            let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            Some(format!("{name} from byte {same} on, of {} and {}", a.len(), b.len()))
        }
        (Some(_), None) => Some(format!("{name} only in the first")),
        (None, _) => Some(format!("{name} only in the second")),
    };
    names.into_iter().filter_map(differs).collect()
}

/// What a command line of `cli` gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code.
    pub code: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command line of `cli`, without the program's name, in this process.
pub fn cli(args: &[&str]) -> Output {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = cli::Console { out: &mut out, err: &mut err, draws_bar: false };
    let args = std::iter::once("cli").chain(args.iter().copied());
    let code = cli::run(args, &Parts::builtin(), &mut console);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Output { code, out: text(out), err: text(err) }
}

/// Ends a run after one of its steps.
#[derive(Clone, Copy, Debug)]
pub struct StopAfter(pub u64);

impl Observer for StopAfter {
    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        match event {
            Event::Step(report) if report.step == self.0 => Ok(Flow::Stop),
            _ => Ok(Flow::GoOn),
        }
    }
}

/// A run of `configs/karpathy.toml` over `text`, which is `text.txt` in the directory, with overrides:
/// the directory and the path of the run in it.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn run_over(text: &str, overrides: &[&str]) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("text.txt"), text).expect("writable");
    let run = directory.path().join("run").display().to_string();
    let data = format!("data.path={}", directory.path().join("text.txt").display());
    let config = project("configs/karpathy.toml").display().to_string();
    let mut args = vec!["run", &config, "--quiet", "--out", &run, "--set", &data];
    args.extend(overrides.iter().flat_map(|set| ["--set", *set]));
    let output = cli(&args);
    assert_eq!(output.code, 0, "{}", output.err);
    (directory, run)
}

/// Rust in documents, as doctests; `documents.rs` sees to it that none is missing.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../ARCHITECTURE.md")]
    struct Architecture;
    #[doc = include_str!("../docs/guide.md")]
    struct Guide;
    #[doc = include_str!("../docs/numbers.md")]
    struct Numbers;
    #[doc = include_str!("../docs/your-own-part.md")]
    struct YourOwnPart;
}
