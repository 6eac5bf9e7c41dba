//! The files of a run.
//!
//! `config.toml` repeats the run; `metrics.jsonl`, `samples.txt` and `checkpoints/` hold only what
//! config, seed and text determine, so they come out the same every time; what a clock says goes
//! into `timing.jsonl`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::checkpoint::{file_name, list_checkpoints};
use crate::{Error, Event, Experiment, Flow, Observer, StepReport};

/// A run directory that is being written.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    metrics: File,
    timing: File,
    samples: File,
    log: registry::range::Every,
    /// Newest checkpoints to keep.
    keep: usize,
    /// Step of the checkpoint with the lowest validation loss.
    best: Option<u64>,
    start: Instant,
    /// Time and characters at the last line of timing.
    last: (Instant, u64),
}

impl RunDir {
    /// Makes the directory `path`, which may be there if it is empty, and writes the config into it.
    ///
    /// # Errors
    /// If there is something already, or it cannot be written to.
    pub fn create(path: &Path, experiment: &Experiment) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists if path.exists() => {
                Error::RunExists { path: path.to_owned() }
            }
            _ => failed(path, "make the directory", source),
        })?;
        let mut entries =
            fs::read_dir(path).map_err(|source| failed(path, "read the directory", source))?;
        if entries.next().is_some() {
            return Err(Error::RunExists { path: path.to_owned() });
        }
        Self::begin(path.to_owned(), experiment)
    }

    /// Makes the directory `ROOT/NAME`, or the first of `ROOT/NAME-2`, `-3`, … that is free.
    ///
    /// # Errors
    /// If none can be made.
    pub fn create_in(root: &Path, experiment: &Experiment) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(|source| failed(root, "make the directory", source))?;
        let mut number = 1;
        loop {
            let path = match number {
                1 => root.join(experiment.name()),
                _ => root.join(format!("{}-{number}", experiment.name())),
            };
            match fs::create_dir(&path) {
                Ok(()) => return Self::begin(path, experiment),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(failed(&path, "make the directory", source)),
            }
        }
    }

    fn begin(path: PathBuf, experiment: &Experiment) -> Result<Self, Error> {
        let config = experiment.config();
        write_new(&path.join("config.toml"), &config.to_text(&path))?;
        let checkpoints = path.join("checkpoints");
        fs::create_dir(&checkpoints)
            .map_err(|source| failed(&checkpoints, "make the directory", source))?;
        let now = Instant::now();
        Ok(Self {
            metrics: create_new(&path.join("metrics.jsonl"))?,
            timing: create_new(&path.join("timing.jsonl"))?,
            samples: create_new(&path.join("samples.txt"))?,
            log: config.log.every,
            keep: config.checkpoint.keep.as_usize(),
            best: None,
            start: now,
            last: (now, 0),
            path,
        })
    }

    /// Removes the directory with all that is in it: for a run that came to nothing before its first
    /// step.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn discard(self) -> Result<(), Error> {
        fs::remove_dir_all(&self.path).map_err(|source| failed(&self.path, "remove", source))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn log_step(&mut self, report: &StepReport) -> Result<(), Error> {
        self.log_metrics(&json!({
            "step": report.step,
            "split": "train",
            "nats_per_char": report.nats_per_char,
            "smooth_nats_per_char": report.smooth_nats_per_char,
            "grad_norm": report.grad_norm,
            "learning_rate": report.learning_rate,
            "chars": report.chars,
        }))?;
        let (now, (then, chars)) = (Instant::now(), self.last);
        let line = json!({
            "step": report.step,
            "elapsed_secs": (now - self.start).as_secs_f64(),
            "chars_per_sec": (report.chars - chars) as f64 / (now - then).as_secs_f64(),
        });
        self.last = (now, report.chars);
        append(&self.path, "timing.jsonl", &mut self.timing, &format!("{line}\n"))
    }

    fn log_metrics(&mut self, line: &Value) -> Result<(), Error> {
        append(&self.path, "metrics.jsonl", &mut self.metrics, &format!("{line}\n"))
    }

    /// Removes all checkpoints but the newest few and the best.
    fn remove_old_checkpoints(&self) -> Result<(), Error> {
        let directory = self.path.join("checkpoints");
        let steps =
            list_checkpoints(&directory).map_err(|source| failed(&directory, "list", source))?;
        let old = steps.len().saturating_sub(self.keep);
        for step in steps[..old].iter().filter(|step| Some(**step) != self.best) {
            let path = directory.join(file_name(*step));
            fs::remove_file(&path).map_err(|source| failed(&path, "remove", source))?;
        }
        Ok(())
    }
}

impl Observer for RunDir {
    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        match event {
            Event::Step(report) if self.log.is_due(report.step) => self.log_step(report)?,
            Event::Step(_) => {}
            Event::Eval { step, nats_per_char, chars } => self.log_metrics(&json!({
                "step": step,
                "split": "val",
                "nats_per_char": nats_per_char,
                "chars": chars,
            }))?,
            Event::Sample { step, text } => {
                let entry = format!("---- step {step} ----\n{text}\n");
                append(&self.path, "samples.txt", &mut self.samples, &entry)?;
            }
            Event::Checkpoint { step, file, best } => {
                file.write(&self.path.join("checkpoints").join(file_name(*step)))?;
                if *best {
                    self.best = Some(*step);
                }
                self.remove_old_checkpoints()?;
            }
        }
        Ok(Flow::GoOn)
    }
}

fn create_new(path: &Path) -> Result<File, Error> {
    File::create_new(path).map_err(|source| failed(path, "make the file", source))
}

fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let mut file = create_new(path)?;
    file.write_all(text.as_bytes()).map_err(|source| failed(path, "write", source))
}

fn append(directory: &Path, name: &str, file: &mut File, text: &str) -> Result<(), Error> {
    file.write_all(text.as_bytes()).map_err(|source| failed(&directory.join(name), "write", source))
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}
