//! The files of a run.
//!
//! `config.toml` repeats the run; `metrics.jsonl`, `samples.txt` and `checkpoints/` hold only what
//! config, seed and text determine, so they come out the same every time; what a clock says goes
//! into `timing.jsonl`, and into `tensorboard/` where that is asked for. `lock` keeps a second process
//! away.
//!
//! A checkpoint vouches for the two logs: it has their lengths and digests at its step, and they are
//! synced before it gets its name. So a run goes on from any checkpoint: what is in the logs behind
//! it is cut off, and written again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use data_io::{TensorFile, durable};
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, file_name, list_checkpoints};
use crate::error::failed;
use crate::lock::{LOCK, Lock};
use crate::log_file::{LogFile, Vouched};
use crate::memory::in_bytes;
use crate::resume::{Permitted, check_same};
use crate::tensorboard::{TENSORBOARD, TensorBoard};
use crate::writer::Writer;
use crate::yardsticks::YARDSTICKS;
use crate::{Error, Event, Experiment, Flow, Observer, StepReport};

pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const SAMPLES: &str = "samples.txt";
pub(crate) const TIMING: &str = "timing.jsonl";
const CHECKPOINTS: &str = "checkpoints";

/// The key under which a checkpoint's metadata have the state of the logs.
const LOGS: &str = "logs";

/// A run directory that is being written.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Whether nothing of it was there before.
    is_new: bool,
    /// The config as it is to be written.
    config: String,
    /// Bytes that a checkpoint takes at the least.
    checkpoint_len: u128,
    /// The step from which training goes on, and that of the best checkpoint.
    from: (u64, Option<u64>),
    /// Writes what has to be synced. Done before the lock is released.
    writer: Writer,
    metrics: LogFile,
    samples: LogFile,
    timing: File,
    tensorboard: Option<TensorBoard>,
    log: registry::range::Every,
    kept: Kept,
    start: Instant,
    /// Seconds that were spent before it.
    elapsed_before: f64,
    /// Time and characters at the last line of timing.
    last: (Instant, u64),
    _lock: Lock,
}

/// A run directory to go on in.
#[derive(Debug)]
pub struct Resumed {
    /// The directory.
    pub run: RunDir,
    /// Where to go on; `None` if the run has no checkpoint yet, and starts.
    pub checkpoint: Option<Checkpoint>,
    /// What is wrong with the newer checkpoints, newest first.
    pub damaged: Vec<Error>,
}

impl RunDir {
    /// Makes the directory `path`, which may be there if it is empty, and writes the config into it.
    ///
    /// # Errors
    /// If there is something already, or another process is at it, or it cannot be written to.
    pub fn create(path: &Path, experiment: &Experiment) -> Result<Self, Error> {
        let exists = || Error::RunExists { path: path.to_owned() };
        make_directory(path)?;
        if !is_empty(path)? && !path.join(LOCK).exists() {
            return Err(exists());
        }
        let lock = Lock::take(path)?;
        if !is_empty(path)? {
            return Err(exists());
        }
        Self::begin(path, experiment, lock)
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
                Ok(()) => return Self::begin(&path, experiment, Lock::take(&path)?),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(failed(&path, "make the directory", source)),
            }
        }
    }

    fn begin(path: &Path, experiment: &Experiment, lock: Lock) -> Result<Self, Error> {
        let mut run = Self::open(path, experiment, lock)?;
        run.is_new = true;
        Ok(run)
    }

    /// Opens the directory `path` to go on from its newest good checkpoint, or from the start if it
    /// has none; it is made if it is not there. Nothing that was written is changed before training
    /// starts.
    ///
    /// # Errors
    /// If the directory is something else, or another process is at it; if all its checkpoints are
    /// damaged; or if config or text are not those of the run and `permitted` does not say that they
    /// may differ.
    pub fn resume(
        path: &Path,
        experiment: &Experiment,
        permitted: &Permitted,
    ) -> Result<Resumed, Error> {
        make_directory(path)?;
        if !is_run(path)? {
            return Err(Error::NotARun { path: path.to_owned() });
        }
        let lock = Lock::take(path)?;
        let mut run = Self::open(path, experiment, lock)?;
        for directory in [path, &run.checkpoints()] {
            durable::remove_unfinished(directory)
                .map_err(|source| failed(directory, "clean up", source))?;
        }

        let (mut checkpoint, damaged) = run.newest_good()?;
        if let Some(checkpoint) = &mut checkpoint {
            checkpoint.changes = check_same(checkpoint, experiment, permitted)?;
        }
        if let Some(Checkpoint { head, .. }) = &checkpoint {
            run.from = (head.step, head.best.map(|(step, _)| step));
            run.last.1 = head.chars;
        }
        Ok(Resumed { run, checkpoint, damaged })
    }

    /// Opens the files in a directory, or makes them. Nothing in them is changed.
    fn open(path: &Path, experiment: &Experiment, lock: Lock) -> Result<Self, Error> {
        let config = experiment.config();
        let timing = path.join(TIMING);
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&timing);
        let checkpoints = path.join(CHECKPOINTS);
        make_directory(&checkpoints)?;
        let now = Instant::now();
        Ok(Self {
            writer: Writer::start(path)?,
            metrics: LogFile::open(path.join(METRICS))?,
            samples: LogFile::open(path.join(SAMPLES))?,
            timing: opened.map_err(|source| failed(&timing, "open", source))?,
            tensorboard: (config.log.tensorboard)
                .then(|| TensorBoard::new(path.join(TENSORBOARD), config.log.every)),
            log: config.log.every,
            kept: Kept {
                newest: config.checkpoint.keep.as_usize(),
                every: config.checkpoint.every,
                last: config.train.steps.get() as u64,
            },
            start: now,
            is_new: false,
            config: config.to_text(path),
            checkpoint_len: experiment.memory().file,
            from: (0, None),
            elapsed_before: 0.0,
            last: (now, 0),
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Writes the config, unless it is there; it comes last of what a new directory gets, and then
    /// the names of all of it are synced.
    fn write_config(&mut self) -> Result<(), Error> {
        let (directory, path) = (self.path.clone(), self.path.join(CONFIG));
        let text = std::mem::take(&mut self.config);
        if fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()) {
            return Ok(());
        }
        self.writer.send(move || {
            durable::replace(&path, text.as_bytes())
                .map_err(|source| failed(&path, "write", source))?;
            durable::sync_directory(directory.parent().unwrap_or(Path::new("")))
                .map_err(|source| failed(&directory, "sync the directory above", source))
        })
    }

    /// The newest checkpoint that is whole and whose logs are there, and what is wrong with newer ones.
    fn newest_good(&mut self) -> Result<(Option<Checkpoint>, Vec<Error>), Error> {
        let directory = self.checkpoints();
        let steps =
            list_checkpoints(&directory).map_err(|source| failed(&directory, "list", source))?;
        let mut damaged = Vec::new();
        for step in steps.into_iter().rev() {
            match Checkpoint::read(&directory.join(file_name(step))) {
                Ok(checkpoint) => match self.without_log(&checkpoint)? {
                    None => return Ok((Some(checkpoint), damaged)),
                    Some(error) => damaged.push(error),
                },
                // What cannot be read now may be a good one, which must not be given up.
                Err(error) if error.exit_code() == 4 => return Err(error),
                Err(error) => damaged.push(error),
            }
        }
        if damaged.is_empty() {
            return Ok((None, damaged));
        }
        let (checkpoints, newest) = (damaged.len(), damaged.remove(0));
        let newest = format!("{}: {newest}", newest.place());
        Err(Error::AllDamaged { path: directory, checkpoints, newest })
    }

    /// What is wrong with the logs that a checkpoint vouches for.
    fn without_log(&mut self, checkpoint: &Checkpoint) -> Result<Option<Error>, Error> {
        let logs = &checkpoint.file.metadata.get(LOGS).cloned().unwrap_or_default();
        for (name, log) in [(METRICS, &mut self.metrics), (SAMPLES, &mut self.samples)] {
            let vouched: Option<Vouched> =
                logs.get(name).cloned().and_then(|value| serde_json::from_value(value).ok());
            let Some(vouched) = vouched else {
                let reason = format!("it does not say what was in {name}");
                return Ok(Some(Error::NoModel { path: checkpoint.path.clone(), reason }));
            };
            if !log.holds(&vouched)? {
                let reason = format!(
                    "the first {} bytes of {} are not what they were",
                    vouched.len,
                    log.path().display()
                );
                return Ok(Some(Error::NoModel { path: checkpoint.path.clone(), reason }));
            }
        }
        Ok(None)
    }

    /// Removes the directory with all that is in it, if it is new: for a run that came to nothing
    /// before its first step.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn discard(mut self) -> Result<(), Error> {
        self.writer.finish()?;
        if !self.is_new {
            return Ok(());
        }
        fs::remove_dir_all(&self.path).map_err(|source| failed(&self.path, "remove", source))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a run on a disk that has no room for even one of its checkpoints: better now than after
    /// the steps before the first.
    fn check_space(&self) -> Result<(), Error> {
        let (free, needed) = (durable::free_space(&self.path), self.checkpoint_len);
        match free.map(u128::from) {
            Some(free) if free < needed => {
                let (needed, free) = (in_bytes(needed), in_bytes(free));
                let reason = format!("one takes {needed}, and the disk has {free} left");
                let source = io::Error::new(io::ErrorKind::StorageFull, reason);
                Err(failed(&self.path, "write a checkpoint", source))
            }
            _ => Ok(()),
        }
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
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
        // Fewer where training went back.
        let chars = report.chars.saturating_sub(chars);
        let line = json!({
            "step": report.step,
            "elapsed_secs": self.elapsed_before + (now - self.start).as_secs_f64(),
            "chars_per_sec": chars as f64 / (now - then).as_secs_f64(),
        });
        self.last = (now, report.chars);
        self.timing
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|source| failed(&self.path.join(TIMING), "write", source))
    }

    fn log_metrics(&mut self, line: &Value) -> Result<(), Error> {
        self.metrics.append(&format!("{line}\n"))
    }

    /// Has a checkpoint written: logs first, then the file, then those it replaces are removed.
    fn save(&mut self, step: u64, file: &TensorFile, best: Option<u64>) -> Result<(), Error> {
        let mut file = file.clone();
        let logs = json!({ METRICS: self.metrics.vouched(), SAMPLES: self.samples.vouched() });
        file.metadata.insert(LOGS.into(), logs);
        let (sync_metrics, sync_samples) = (self.metrics.syncer(), self.samples.syncer());
        let (directory, kept) = (self.checkpoints(), self.kept);
        self.writer.send(move || {
            sync_metrics()?;
            sync_samples()?;
            file.write(&directory.join(file_name(step)))?;
            kept.remove_others(&directory, step, best)
        })
    }
}

impl Observer for RunDir {
    /// Cuts off what was written after the checkpoint, and removes what a run that was killed had not
    /// come to remove.
    fn start(&mut self) -> Result<(), Error> {
        self.check_space()?;
        self.metrics.cut()?;
        self.samples.cut()?;
        let (step, best) = self.from;
        self.elapsed_before = cut_timing(&self.path.join(TIMING), &self.timing, step)?;
        self.write_config()?;
        if let Some(tensorboard) = &mut self.tensorboard {
            tensorboard.start(step)?;
        }
        self.kept.remove_others(&self.checkpoints(), step, best)
    }

    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        self.writer.check()?;
        if let Some(tensorboard) = &mut self.tensorboard {
            tensorboard.observe(event)?;
        }
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
                self.samples.append(&format!("---- step {step} ----\n{text}\n"))?;
            }
            Event::Checkpoint { step, file, best } => self.save(*step, file, *best)?,
            Event::Rollback { step, what, to, rollbacks } => self.log_metrics(&json!({
                "step": step,
                "split": "rollback",
                "not_finite": what,
                "to_step": to,
                "rollbacks": rollbacks,
            }))?,
        }
        Ok(Flow::GoOn)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.writer.finish()
    }
}

/// Which checkpoints are kept: the newest few of those at their regular steps, the best by validation
/// loss, and the one from which training would go on.
///
/// It depends on nothing but their steps. So a run that was stopped in between, and has a checkpoint
/// of that moment, ends with the same files as one that was not.
#[derive(Clone, Copy, Debug)]
struct Kept {
    newest: usize,
    every: registry::range::Every,
    /// The last step of the run.
    last: u64,
}

impl Kept {
    /// Removes from `directory` what need not be kept beside the checkpoint of `step`. Later ones are
    /// damaged, or of a time before training went back; they are replaced when it is their turn.
    fn remove_others(self, directory: &Path, step: u64, best: Option<u64>) -> Result<(), Error> {
        let steps =
            list_checkpoints(directory).map_err(|source| failed(directory, "list", source))?;
        for old in self.others(&steps, step, best) {
            let path = directory.join(file_name(old));
            fs::remove_file(&path).map_err(|source| failed(&path, "remove", source))?;
        }
        Ok(())
    }

    fn others(self, steps: &[u64], step: u64, best: Option<u64>) -> Vec<u64> {
        let is_regular = |step: u64| self.every.is_due(step) || step == self.last;
        let behind = || steps.iter().copied().filter(|old| *old <= step);
        let regular: Vec<_> = behind().filter(|old| is_regular(*old)).collect();
        let newest = &regular[regular.len().saturating_sub(self.newest)..];
        let is_kept = |old: &u64| newest.contains(old) || *old == step || Some(*old) == best;
        behind().filter(|old| !is_kept(old)).collect()
    }
}

/// Cuts off the lines of steps after `step`, and returns the elapsed seconds of the last one left.
fn cut_timing(path: &Path, mut file: &File, step: u64) -> Result<f64, Error> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes).map_err(|source| failed(path, "read", source))?;
    let (mut len, mut elapsed) = (0, 0.0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let value: Value = serde_json::from_slice(line).unwrap_or_default();
        let is_earlier = value["step"].as_u64().is_some_and(|of| of <= step);
        if !is_earlier || !line.ends_with(b"\n") {
            break;
        }
        len += line.len();
        elapsed = value["elapsed_secs"].as_f64().unwrap_or(elapsed);
    }
    file.set_len(len as u64).map_err(|source| failed(path, "shorten", source))?;
    Ok(elapsed)
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists if path.exists() => Error::RunExists { path: path.to_owned() },
        _ => failed(path, "make the directory", source),
    })
}

/// The names in a directory but that of the lock.
fn names(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| failed(path, "read the directory", source);
    let name = |entry: io::Result<fs::DirEntry>| Ok(PathBuf::from(entry?.file_name()));
    let names: io::Result<Vec<_>> = fs::read_dir(path).map_err(unreadable)?.map(name).collect();
    let mut names = names.map_err(unreadable)?;
    names.retain(|name| name != Path::new(LOCK));
    Ok(names)
}

fn is_empty(path: &Path) -> Result<bool, Error> {
    Ok(names(path)?.is_empty())
}

/// Whether a directory is that of a run, or the beginning of one.
fn is_run(path: &Path) -> Result<bool, Error> {
    let ours = [METRICS, SAMPLES, TIMING, YARDSTICKS, CHECKPOINTS, TENSORBOARD].map(Path::new);
    let is_ours = |name: &PathBuf| ours.contains(&&**name) || durable::is_unfinished(name);
    Ok(path.join(CONFIG).exists() || names(path)?.iter().all(is_ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_kept_depend_on_their_steps_alone() {
        let kept = Kept { newest: 2, every: registry::range::Every::new(10), last: 45 };
        let check = |steps: &[u64], step, best, expected: &[u64]| {
            assert_eq!(kept.others(steps, step, best), expected, "{steps:?}");
        };
        check(&[10, 20], 20, None, &[]);
        check(&[10, 20, 30], 30, None, &[10]);
        check(&[10, 20, 30], 30, Some(10), &[]);
        // One of a stop in between is kept until the next one is there, and pushes none out.
        check(&[10, 20, 27], 27, None, &[]);
        check(&[10, 20, 27, 30], 30, None, &[10, 27]);
        // One that was the best, and is so no more.
        check(&[5, 10, 15], 15, Some(15), &[5]);
        // The last one is regular at whatever step.
        check(&[30, 40, 45], 45, None, &[30]);
        // Later ones are left alone.
        check(&[10, 20, 30, 40], 20, None, &[]);
    }
}
