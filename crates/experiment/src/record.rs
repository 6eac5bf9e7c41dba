//! What a run left behind, read back.
//!
//! A run may still be going on: a line that is not whole yet is left out.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data_io::Unit;
use registry::Document;
use serde::{Deserialize, Serialize};

use crate::error::failed;
use crate::run_dir::{CONFIG, METRICS, SAMPLES, TIMING};
use crate::{Config, Error, Parts, open_config};

/// The logs of a run directory.
#[derive(Debug)]
pub struct Record {
    /// The directory.
    pub path: PathBuf,
    /// Its `config.toml`.
    pub config: Document,
    /// Its `metrics.jsonl`.
    pub metrics: Vec<Metric>,
    /// Its `timing.jsonl`.
    pub timing: Vec<Timing>,
    /// Its `samples.txt`: texts with the steps after which they were written.
    pub samples: Vec<(u64, String)>,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "split", rename_all = "lowercase")]
pub enum Metric {
    /// A step of training.
    Train {
        /// Updates made so far, this one included.
        step: u64,
        /// Mean loss of the window's characters, before the update.
        nats_per_char: f64,
        /// Moving average of it.
        smooth_nats_per_char: f64,
        /// L2 norm of the gradient before transforms.
        grad_norm: f64,
        /// The learning rate of the update.
        learning_rate: f64,
        /// Characters read so far.
        chars: u64,
    },
    /// An evaluation.
    Val {
        /// Updates made before.
        step: u64,
        /// Mean loss over the whole validation text.
        nats_per_char: f64,
        /// Characters predicted.
        chars: u64,
    },
    /// Training went back to an earlier state.
    Rollback {
        /// The step that was not taken.
        step: u64,
        /// What was not finite.
        not_finite: String,
        /// Updates made before the state it went back to.
        to_step: u64,
        /// How often it went back so far.
        rollbacks: u64,
    },
}

/// A line of `timing.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Updates made so far.
    pub step: u64,
    /// Seconds of training so far.
    pub elapsed_secs: f64,
    /// Characters a second since the last line.
    pub chars_per_sec: f64,
}

impl Record {
    /// Reads the logs in a run directory.
    ///
    /// # Errors
    /// If it is none, or a log cannot be read, or has a line that no run of this version writes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            config: open_run(path, &[])?,
            metrics: lines(&path.join(METRICS))?,
            timing: lines(&path.join(TIMING))?,
            samples: samples(&read(&path.join(SAMPLES))?),
            path: path.to_owned(),
        })
    }

    /// What its losses are for each of. A config may name parts that this program does not have; then
    /// no more is known than that they are symbols.
    pub fn unit(&self, parts: &Parts) -> Unit {
        Config::parse(&self.config, parts).map_or(Unit::SYMBOL, |config| config.tokenizer.unit())
    }
}

/// Reads the config of a run directory, with overrides.
///
/// # Errors
/// If it is no run directory, or its config cannot be read.
pub fn open_run(path: &Path, overrides: &[String]) -> Result<Document, Error> {
    let config = path.join(CONFIG);
    let reason = match path {
        _ if !path.exists() => Some("there is no such run"),
        _ if !config.exists() && !run_names(path).is_empty() => {
            Some("not a run directory, but that of a sweep, with a run in each directory below it")
        }
        _ if !config.exists() => Some("not a run directory: it has no config.toml"),
        _ => None,
    };
    match reason {
        Some(reason) => Err(Error::NoRun { path: path.to_owned(), reason }),
        None => open_config(&config, overrides),
    }
}

/// The names of the run directories in a directory, such as that of a sweep, in order.
pub fn run_names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let runs = entries.filter(|entry| entry.path().join(CONFIG).is_file());
    let mut names: Vec<_> =
        runs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// A log that is not there yet is empty.
fn read(path: &Path) -> Result<String, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(failed(path, "read", source)),
    }
}

/// One value a line.
fn lines<L: for<'de> Deserialize<'de>>(path: &Path) -> Result<Vec<L>, Error> {
    let text = read(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |(index, line)| {
        serde_json::from_str(line).map_err(|error| Error::NoModel {
            path: path.to_owned(),
            reason: format!("line {} is none that this version writes: {error}", index + 1),
        })
    };
    whole.lines().enumerate().map(line).collect()
}

/// The texts, each under a line `---- step N ----`; a sample may have such a line too, but only those
/// whose steps grow are taken for one.
fn samples(text: &str) -> Vec<(u64, String)> {
    let mut samples: Vec<(u64, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let step = line
            .strip_prefix("---- step ")
            .and_then(|rest| rest.strip_suffix(" ----\n")?.parse::<u64>().ok());
        match (step, samples.last_mut()) {
            (Some(step), last) if last.as_ref().is_none_or(|(last, _)| *last < step) => {
                samples.push((step, String::new()));
            }
            (_, Some((_, sample))) => sample.push_str(line),
            (_, None) => {}
        }
    }
    for (_, sample) in &mut samples {
        sample.truncate(sample.strip_suffix('\n').map_or(sample.len(), str::len));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_cut_at_their_steps() {
        let text = "---- step 10 ----\nab\n---- step 5 ----\n\nc\n---- step 20 ----\nd";
        let expected = [(10, "ab\n---- step 5 ----\n\nc"), (20, "d")];
        assert_eq!(samples(text), expected.map(|(step, text)| (step, text.to_owned())));
        assert_eq!(samples(""), []);
    }

    #[test]
    fn a_log_is_read_up_to_its_last_whole_line() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join(TIMING);
        assert_eq!(lines::<Timing>(&path).expect("empty"), []);
        let line = r#"{"step":3,"elapsed_secs":0.5,"chars_per_sec":2.0}"#;
        std::fs::write(&path, format!("{line}\n{line}\n{{\"st")).expect("writable");
        let timing = Timing { step: 3, elapsed_secs: 0.5, chars_per_sec: 2.0 };
        assert_eq!(lines::<Timing>(&path).expect("readable"), [timing, timing]);
        std::fs::write(&path, format!("{line}\n{{}}\n")).expect("writable");
        let error = lines::<Timing>(&path).expect_err("no timing").to_string();
        assert!(error.starts_with("line 2 is none"), "{error}");
    }
}
