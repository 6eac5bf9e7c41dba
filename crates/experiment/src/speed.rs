//! How long a run takes on this machine, found by taking some of its steps.
//!
//! Beside observers this is the only file that reads a clock. Nothing it finds enters a run: it is
//! said before one, so that a person can choose its length.
//!
//! Each thing is measured where a run does it, a little of it where there is much: a step by real
//! steps, evaluation by the start of the validation text, a sample by its first characters, yardsticks
//! by a share of the text. Windows grow from one time step on. Where the next would take too long the
//! last two tell how long the full one takes, since a step's time is a straight line over its length.
//! So even a model whose single step takes minutes is measured in seconds.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use data_io::TensorFile;

use crate::evaluator::{EVAL_STEPS, Evaluator};
use crate::{Dtype, DtypeName, Error, Experiment, SplitText, Trainer, Yardsticks, memory};

/// What the parts of a run take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// A step.
    pub step_secs: f64,
    /// An evaluation, of the whole validation text; 0 without one.
    pub eval_secs: f64,
    /// A sample.
    pub sample_secs: f64,
    /// A checkpoint, from the copy of the weights to the bytes of the file.
    pub checkpoint_secs: f64,
    /// Yardsticks, which are measured once beside training; 0 without a validation loss.
    pub yardstick_secs: f64,
    /// Whether a core is left for them.
    pub has_core_left: bool,
}

/// How often a run does what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Updates.
    pub steps: u64,
    /// Evaluations.
    pub evals: u64,
    /// Samples.
    pub samples: u64,
    /// Checkpoints at the most: when every evaluation finds the best model so far.
    pub checkpoints: u64,
}

impl Turns {
    /// Those of a run from its start to its end.
    pub fn of(experiment: &Experiment) -> Self {
        let config = experiment.config();
        let steps = config.train.steps.get() as u64;
        let due = |every: u64| steps.checked_div(every).unwrap_or(0);
        let has_text = !experiment.val_text().is_empty();
        let eval = if has_text { config.eval.every.get() as u64 } else { 0 };
        let save = config.checkpoint.every.get() as u64;
        // A step for which both are due has one checkpoint, and so has the last one.
        let both = lcm(eval, save).map_or(0, due);
        let at_end = [eval, save].iter().all(|every| *every == 0 || !steps.is_multiple_of(*every));
        Self {
            steps,
            evals: due(eval),
            samples: due(config.sample.every.get() as u64),
            checkpoints: due(eval) + due(save) - both + u64::from(at_end),
        }
    }
}

/// The least number that both divide; `None` where one is 0, or there is none of 64 bits.
fn lcm(a: u64, b: u64) -> Option<u64> {
    let (mut x, mut gcd) = (a, b);
    while x != 0 {
        (x, gcd) = (gcd % x, x);
    }
    a.checked_div(gcd)?.checked_mul(b).filter(|lcm| *lcm != 0)
}

impl Speed {
    /// Measures for about as long as `limit`, with the threads of the experiment.
    ///
    /// `None` for a run that takes more than half of the machine's memory: to measure it would take
    /// that memory too.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn measure(experiment: &Experiment, limit: Duration) -> Result<Option<Self>, Error> {
        if memory::of_machine() / 2 < experiment.memory().total() {
            return Ok(None);
        }
        match experiment.config().model.dtype {
            DtypeName::F32 => measure::<f32>(experiment, limit),
            DtypeName::F64 => measure::<f64>(experiment, limit),
        }
        .map(Some)
    }

    /// Seconds that so much takes.
    pub fn secs(&self, turns: Turns) -> f64 {
        let each = [
            (turns.steps, self.step_secs),
            (turns.evals, self.eval_secs),
            (turns.samples, self.sample_secs),
            (turns.checkpoints, self.checkpoint_secs),
        ];
        let training = each.iter().map(|(n, secs)| *n as f64 * secs).sum::<f64>();
        // A run waits for its yardsticks.
        (training + self.lost_to_yardsticks()).max(self.yardstick_secs)
    }

    /// What yardsticks take from training.
    pub(crate) fn lost_to_yardsticks(&self) -> f64 {
        if self.has_core_left { 0.0 } else { self.yardstick_secs }
    }
}

fn measure<T: Dtype>(experiment: &Experiment, limit: Duration) -> Result<Speed, Error> {
    let mut trainer = Trainer::<T>::new(experiment);
    let step_secs = step_secs(&mut trainer, experiment, limit.mul_f64(0.6))?;
    let eval_secs = match experiment.val_text().is_empty() {
        true => 0.0,
        false => eval_secs(&trainer, experiment, limit.mul_f64(0.2))?,
    };
    let length = experiment.config().sample.length.as_usize();
    let few = length.min(200);
    let sample_secs = timed(|| trainer.sample(few)).0 * length as f64 / few as f64;
    let checkpoint_secs = checkpoint_secs(&mut trainer);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let has_core_left = experiment.threads() < cores;
    let has_yardsticks =
        !experiment.val_text().is_empty() && experiment.config().is_ever_evaluated();
    let yardstick_secs = match has_yardsticks {
        true => yardstick_secs(experiment.text(), limit.mul_f64(0.2))?,
        false => 0.0,
    };
    Ok(Speed { step_secs, eval_secs, sample_secs, checkpoint_secs, yardstick_secs, has_core_left })
}

fn step_secs<T: Dtype>(
    trainer: &mut Trainer<'_, T>,
    experiment: &Experiment,
    limit: Duration,
) -> Result<f64, Error> {
    let (start, limit) = (Instant::now(), limit.as_secs_f64());
    let full = experiment.config().train.seq_len.as_usize();
    let (mut len, mut last) = (1, None);
    trainer.shorten_windows(len);
    // Makes room for what the others find there.
    step(trainer)?;
    while len < full {
        trainer.shorten_windows(len);
        // The quicker of two: a pause that the system makes is not on the line.
        let secs = step(trainer)?.min(step(trainer)?);
        let slope = last.map_or(secs / len as f64, |(shorter, least): (usize, f64)| {
            (secs - least).max(0.0) / (len - shorter) as f64
        });
        let next = (2 * len).min(full);
        if limit / 2.0 < secs + slope * (next - len) as f64 {
            return Ok(secs + slope * (full - len) as f64);
        }
        last = Some((len, secs));
        len = next;
    }
    trainer.shorten_windows(full);
    step(trainer)?;
    let (mut steps, mut secs) = (0, 0.0);
    while steps == 0 || start.elapsed().as_secs_f64() < limit {
        secs += step(trainer)?;
        steps += 1;
    }
    Ok(secs / f64::from(steps))
}

/// The seconds of a step. One that diverges takes as long as any.
fn step<T: Dtype>(trainer: &mut Trainer<'_, T>) -> Result<f64, Error> {
    match timed(|| trainer.step()) {
        (secs, Ok(_) | Err(Error::Diverged { .. })) => Ok(secs),
        (_, Err(error)) => Err(error),
    }
}

fn eval_secs<T: Dtype>(
    trainer: &Trainer<'_, T>,
    experiment: &Experiment,
    limit: Duration,
) -> Result<f64, Error> {
    let text = experiment.val_text();
    let mut evaluator = Evaluator::<T>::new(experiment.config(), text.tokenizer().vocab_size());
    let mut len = EVAL_STEPS + 1;
    loop {
        let part = text.part(0..len.min(text.len()));
        let (secs, result) = timed(|| {
            evaluator.read(trainer.weights(), &[], &part, |_, _| ControlFlow::Continue(()))
        });
        result?;
        if part.len() == text.len() || limit.as_secs_f64() / 4.0 < secs {
            return Ok(secs * text.len() as f64 / part.len() as f64);
        }
        len *= 4;
    }
}

/// Compression takes longer for each symbol the more there are, as a power of their number.
fn yardstick_secs(text: &SplitText, limit: Duration) -> Result<f64, Error> {
    let (mut share, mut last) = (1.0_f64 / 256.0, None);
    loop {
        let (secs, result) = timed(|| Yardsticks::measure_share(text, share));
        result?;
        if share == 1.0 || limit.as_secs_f64() / 4.0 < secs {
            let growth: f64 = last.map_or(4.0, |shorter: f64| (secs / shorter).clamp(4.0, 8.0));
            return Ok(secs * growth.powf(-share.log(4.0)));
        }
        last = Some(secs);
        share *= 4.0;
    }
}

/// A file of as many values as a checkpoint has, copied for the thread that writes it, and the bytes
/// it writes.
fn checkpoint_secs<T: Dtype>(trainer: &mut Trainer<'_, T>) -> f64 {
    let n = trainer.weights().len()
        + trainer
            .slots()
            .into_iter()
            .map(|slot| slot.shape.iter().product::<usize>())
            .sum::<usize>();
    let (secs, _) = timed(|| {
        let mut file = TensorFile::default();
        file.insert("values", vec![n], T::values(vec![T::ONE; n]));
        file.clone().to_bytes()
    });
    secs
}

fn timed<R>(work: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let result = black_box(work());
    (start.elapsed().as_secs_f64(), result)
}

/// `52 µs`, `19.0 ms`, `2.2 s`, `3 min 20 s`, `2 h 5 min`.
pub fn in_time(secs: f64) -> String {
    if secs < 0.001 {
        return format!("{:.0} µs", 1e6 * secs);
    }
    if secs < 1.0 {
        return format!("{:.1} ms", 1e3 * secs);
    }
    if secs < 10.0 {
        return format!("{secs:.1} s");
    }
    duration(secs)
}

/// `12 s`, `3 min 20 s`, `2 h 5 min`: in whole seconds.
pub fn duration(secs: f64) -> String {
    let secs = secs.round().max(0.0) as u64;
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs} s"),
        (0, mins, secs) => format!("{mins} min {secs} s"),
        (hours, mins, _) => format!("{hours} h {mins} min"),
    }
}

#[cfg(test)]
mod tests {
    use registry::Document;

    use super::*;
    use crate::Parts;

    fn prepare(keys: &[&str]) -> Experiment {
        let text = "[data]\nkind = \"markov\"\nlength = 5000\n[model]\nhidden_size = 8\n";
        let document = Document::new("c.toml", text, keys.iter().copied());
        Experiment::prepare(&document, &Parts::builtin()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(0.4), "0 s");
        assert_eq!(duration(200.2), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
    }

    #[test]
    fn times_are_short() {
        let times = [0.000_052, 0.019, 2.25, 59.7, 200.2, 7500.0].map(in_time);
        assert_eq!(times, ["52 µs", "19.0 ms", "2.2 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]);
    }

    #[test]
    fn a_checkpoint_is_counted_once_where_it_is_due_twice() {
        let check = |keys: &[&str], steps, evals, samples, checkpoints| {
            let expected = Turns { steps, evals, samples, checkpoints };
            assert_eq!(Turns::of(&prepare(keys)), expected, "{keys:?}");
        };
        let with_text = "data.split=[0.9, 0.1, 0.0]";
        check(&["train.steps=12", "checkpoint.every=0"], 12, 0, 0, 1);
        check(&["train.steps=12", "checkpoint.every=5", "sample.every=4"], 12, 0, 3, 3);
        check(&["train.steps=12", "checkpoint.every=6", "eval.every=2"], 12, 0, 0, 2);
        let both = ["train.steps=13", "checkpoint.every=6", "eval.every=4", with_text];
        // 4, 6, 8, 12 and the last.
        check(&both, 13, 3, 0, 5);
        check(&["train.steps=13", "checkpoint.every=0", "eval.every=13", with_text], 13, 1, 0, 1);
    }

    #[test]
    fn a_run_waits_for_its_yardsticks_and_shares_its_cores_with_them() {
        let mut experiment = prepare(&["data.split=[0.9, 0.1, 0.0]"]);
        experiment.set_threads(thread::available_parallelism().map_or(1, usize::from));
        let limit = Duration::from_millis(100);
        let measured = Speed::measure(&experiment, limit).expect("made").expect("small");
        assert!(0.0 < measured.yardstick_secs && !measured.has_core_left, "{measured:?}");

        let secs = |step_secs, has_core_left| {
            let speed = Speed { step_secs, yardstick_secs: 8.0, has_core_left, ..measured };
            speed.secs(Turns { steps: 10, evals: 0, samples: 0, checkpoints: 0 })
        };
        assert_eq!([secs(0.5, false), secs(0.5, true), secs(2.0, true)], [13.0, 8.0, 20.0]);
    }

    #[test]
    fn everything_a_run_does_takes_time() {
        let experiment = prepare(&["data.split=[0.9, 0.1, 0.0]", "train.steps=1000"]);
        let limit = Duration::from_millis(100);
        let speed = Speed::measure(&experiment, limit).expect("made").expect("small");
        let Speed { step_secs, eval_secs, sample_secs, checkpoint_secs, .. } = speed;
        for secs in [step_secs, eval_secs, sample_secs, checkpoint_secs] {
            assert!(0.0 < secs, "{speed:?}");
        }
        let turns = Turns { steps: 10, evals: 2, samples: 3, checkpoints: 1 };
        let sum = 10.0 * step_secs + 2.0 * eval_secs + 3.0 * sample_secs + checkpoint_secs;
        let alone = Speed { yardstick_secs: 0.0, ..speed };
        assert!((alone.secs(turns) - sum).abs() < 1e-9);
        let without = prepare(&["train.steps=10"]);
        let speed = Speed::measure(&without, limit).expect("made").expect("small");
        assert_eq!((speed.eval_secs, speed.yardstick_secs), (0.0, 0.0));
    }
}
