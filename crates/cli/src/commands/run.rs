//! `cli run` trains what a config says; `cli resume` goes on with a run.

use std::path::Path;
use std::time::{Duration, Instant};

use data_io::Unit;
use experiment::ranks::Ranks;
use experiment::{
    Checkpoint, Error, Event, Experiment, Flow, Measuring, Observer, Outcome, Parts, Permitted,
    Resumed, RunDir, Yardsticks, agree, counted, duration, open_config, open_run, train_from,
};

use crate::args::{ChangedArgs, HowArgs, ResumeArgs, RunArgs};
use crate::failure::printable;
use crate::progress::{Progress, loss};
use crate::signals::Signals;
use crate::{Console, Failure};

/// Where runs are that nobody gave a place.
pub const RUNS: &str = "runs";

pub fn run(
    args: &RunArgs,
    parts: &Parts,
    ranks: &dyn Ranks,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let document = open_config(&args.config, &args.overrides)?;
    let mut experiment = Experiment::prepare(&document, parts)?;
    // Before there is a directory.
    agree(&experiment, ranks)?;
    let signals = watch_signals()?;
    if args.resume {
        let named = || Path::new(RUNS).join(experiment.name());
        let path = args.out.clone().unwrap_or_else(named);
        let permitted = permitted(args.changed, Vec::new());
        return go_on(&path, &mut experiment, &permitted, args.how, signals, ranks, console);
    }
    if ranks.rank() != 0 {
        return follow(&mut experiment, None, args.how, signals, ranks);
    }
    let run = match &args.out {
        Some(path) => RunDir::create(path, &experiment)?,
        None => RunDir::create_in(Path::new(RUNS), &experiment)?,
    };
    train(&mut experiment, run, None, args.how, signals, ranks, console)
}

pub fn resume(
    args: &ResumeArgs,
    parts: &Parts,
    ranks: &dyn Ranks,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let document = open_run(&args.run, &args.overrides)?;
    let mut experiment = Experiment::prepare(&document, parts)?;
    agree(&experiment, ranks)?;
    let signals = watch_signals()?;
    let key = |set: &String| set.split('=').next().unwrap_or_default().trim().to_owned();
    let permitted = permitted(args.changed, args.overrides.iter().map(key).collect());
    go_on(&args.run, &mut experiment, &permitted, args.how, signals, ranks, console)
}

fn permitted(changed: ChangedArgs, keys: Vec<String>) -> Permitted {
    Permitted { config: changed.allow_changed_config, text: changed.allow_changed_text, keys }
}

fn go_on(
    path: &Path,
    experiment: &mut Experiment,
    permitted: &Permitted,
    how: HowArgs,
    signals: &Signals,
    ranks: &dyn Ranks,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if ranks.rank() != 0 {
        let checkpoint = Checkpoint::of_first(None, ranks)?;
        return follow(experiment, checkpoint, how, signals, ranks);
    }
    let Resumed { run, checkpoint, damaged } = RunDir::resume(path, experiment, permitted)?;
    for error in &damaged {
        let (place, error) = (printable(&error.place()), printable(&error.to_string()));
        let _ = writeln!(console.err, "warning: {place}: {error}");
    }
    if let (Some(checkpoint), false) = (&checkpoint, damaged.is_empty()) {
        let path = printable(&checkpoint.path().display().to_string());
        let _ = writeln!(console.err, "warning: going on from {path} instead");
    }
    if checkpoint.is_none() && !how.quiet {
        let path = printable(&path.display().to_string());
        let _ =
            writeln!(console.err, "{path}: no checkpoint yet, so the run starts at its first step");
    }
    let checkpoint = Checkpoint::of_first(checkpoint, ranks)?;
    train(experiment, run, checkpoint, how, signals, ranks, console)
}

/// Trains with the first rank, which alone writes and speaks.
fn follow(
    experiment: &mut Experiment,
    checkpoint: Option<Checkpoint>,
    how: HowArgs,
    mut signals: &Signals,
    ranks: &dyn Ranks,
) -> Result<(), Failure> {
    experiment.set_threads(how.threads.unwrap_or_else(all_threads));
    let mut measuring = Measuring::new(Path::new(""), experiment, ranks);
    let observers: &mut [&mut dyn Observer] = &mut [&mut measuring, &mut signals];
    let outcome = train_from(experiment, checkpoint.as_ref(), ranks, observers)?;
    if !outcome.stopped {
        measuring.wait()?;
    }
    match signals.received().filter(|_| outcome.stopped) {
        Some(signal) => Err(Failure::Signal(signal)),
        None => Ok(()),
    }
}

/// As many as the machine runs at once.
pub fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn train(
    experiment: &mut Experiment,
    mut run: RunDir,
    checkpoint: Option<Checkpoint>,
    how: HowArgs,
    mut signals: &Signals,
    ranks: &dyn Ranks,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    experiment.set_threads(how.threads.unwrap_or_else(all_threads));
    let path = run.path().to_owned();
    let first = checkpoint.as_ref().map_or(0, Checkpoint::step);
    let start = Instant::now();
    let mut measuring = Measuring::new(&path, experiment, ranks);
    let mut progress = Progress::new(console, how, experiment, checkpoint.as_ref());
    if let Err(error) = progress.begin(&path, experiment, first) {
        // Nobody would see what it does.
        run.discard()?;
        return Err(Failure::Unseen(error));
    }
    let mut shown = Shown { progress: &mut progress, measuring: &mut measuring, is_said: false };
    let observers: &mut [&mut dyn Observer] = &mut [&mut run, &mut shown, &mut signals];
    let result = train_from(experiment, checkpoint.as_ref(), ranks, observers);
    let (trained, is_said) = (start.elapsed(), shown.is_said);
    let written = progress.finish(&result, signals.received());
    let outcome = result?;
    ended_by_signal(signals, &path, &outcome, console)?;
    if outcome.stopped && !how.quiet {
        let run = shell_word(&path.display().to_string());
        let _ = writeln!(console.err, "saved after step {}", outcome.step);
        let _ = writeln!(console.err, "go on with it: {} resume {run}", called());
    }
    written.map_err(if outcome.stopped { Failure::Unseen } else { Failure::Output })?;
    let unit = experiment.config().tokenizer.unit();
    if !outcome.stopped {
        if measuring.is_measuring() && !how.quiet {
            let _ = writeln!(
                console.err,
                "trained; n-grams and xz are still measured, to compare it with"
            );
        }
        if let (Some(yardsticks), false) = (measuring.wait()?, is_said || how.quiet) {
            let _ = writeln!(console.err, "{}", in_a_line(yardsticks, unit));
        }
    }
    if how.quiet {
        return Ok(());
    }

    let run = shell_word(&path.display().to_string());
    let waited = match start.elapsed() - trained {
        waited if waited < Duration::from_secs(1) => String::new(),
        waited => format!(" ({} more for yardsticks)", duration(waited.as_secs_f64())),
    };
    let _ = writeln!(
        console.err,
        "{run}: {} in {}{waited}, smoothed loss {}",
        counted(outcome.step - first, "step"),
        duration(trained.as_secs_f64()),
        loss(outcome.smooth_nats_per_char, unit),
    );
    let _ = writeln!(console.err, "{}", why_it_ended(&outcome, experiment, first));
    if !outcome.stopped {
        let verdict = verdict(&outcome, measuring.yardsticks(), experiment, &run);
        let _ = writeln!(console.err, "{verdict}");
    }
    // Without a word the newest checkpoint writes.
    let best = outcome.best.is_some_and(|(step, _)| step != outcome.step);
    let best = if best { " --best" } else { "" };
    let _ = writeln!(console.err, "write with it: {} sample {run}{best} --length 500", called());
    Ok(())
}

/// For a run that ended by itself, or was stopped by what is no signal.
fn why_it_ended(outcome: &Outcome, experiment: &Experiment, first: u64) -> String {
    let train = &experiment.config().train;
    if outcome.out_of_patience {
        let patience = train.patience.get();
        format!("ended early: no lower validation loss in {patience} evaluations (train.patience)")
    } else if outcome.step < train.steps.get() as u64 {
        format!("ended before step {}", train.steps.get())
    } else if outcome.step == first {
        format!("nothing to do after step {first}; a larger --set train.steps=N makes it longer")
    } else {
        format!("ended at its last step, {}", train.steps.get())
    }
}

/// A run's progress, and its yardsticks as soon as they are there.
struct Shown<'a, 'c, 'w, 'e> {
    progress: &'a mut Progress<'c, 'w>,
    measuring: &'a mut Measuring<'e>,
    is_said: bool,
}

impl Observer for Shown<'_, '_, '_, '_> {
    fn start(&mut self) -> Result<(), Error> {
        self.measuring.start()?;
        self.progress.start()
    }

    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        self.measuring.observe(event)?;
        if let (Some(yardsticks), false) = (self.measuring.yardsticks(), self.is_said) {
            self.progress.line(&in_a_line(yardsticks, self.progress.unit()));
            self.is_said = true;
        }
        self.progress.observe(event)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Observer::finish(self.progress)
    }
}

fn in_a_line(yardsticks: &Yardsticks, unit: Unit) -> String {
    let named = yardsticks.named();
    let named: Vec<_> = named.iter().map(|(name, nats)| format!("{name} {nats:.2}")).collect();
    format!("yardsticks in nats/{}: {}", unit.short, named.join(", "))
}

/// Whether the model of a run is good.
fn verdict(
    outcome: &Outcome,
    yardsticks: Option<&Yardsticks>,
    experiment: &Experiment,
    run: &str,
) -> String {
    let config = experiment.config();
    let unit = config.tokenizer.unit();
    let guessing = experiment.uniform();
    match outcome.best {
        Some((step, nats)) => {
            let verdict = yardsticks.map(|them| format!(": {}", them.verdict(nats)));
            format!(
                "the best validation, {}, was at step {step}{}",
                loss(nats, unit),
                verdict.unwrap_or_default()
            )
        }
        // A short run may well stand a little above it: the average starts there, and first steps are bold.
        None if 1.1 * guessing < outcome.smooth_nats_per_char => format!(
            "worse than guessing, which costs {}: a lower optimizer.learning_rate, or a [[transform]] that \
             clips gradients, may mend it",
            loss(guessing, unit)
        ),
        None if experiment.val_text().is_empty() => format!(
            "no validation text: to know how good it is hold some text out, as in --set \
             'data.split=[0.9, 0.1, 0.0]'; how well it knows its own: {} eval {run} --split train",
            called()
        ),
        None => format!(
            "no validation loss with eval.every = {}; to know how good it is: {} eval {run}",
            config.eval.every.get(),
            called()
        ),
    }
}

/// Whether it was a signal that ended a run; then says how to go on.
fn ended_by_signal(
    signals: &Signals,
    path: &Path,
    outcome: &Outcome,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let Some(signal) = signals.received().filter(|_| outcome.stopped) else { return Ok(()) };
    let (name, run) = (signal.name(), shell_word(&path.display().to_string()));
    let _ = writeln!(console.err, "{name}: saved after step {}", outcome.step);
    let _ = writeln!(console.err, "go on with it: {} resume {run}", called());
    Err(Failure::Signal(signal))
}

/// Before the first file is written: a limit on their size is a signal too.
pub fn watch_signals() -> Result<&'static Signals, Error> {
    let failed = |source| Error::Io { path: "process".into(), action: "watch for signals", source };
    Signals::watch().map_err(failed)
}

/// What starts this program: in a checkout it is cargo that does.
pub fn called() -> &'static str {
    if std::env::var_os("CARGO_MANIFEST_DIR").is_some() { "cargo cli" } else { "cli" }
}

/// The text as one word of a shell, with nothing in it that a terminal would obey.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    match text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.to_owned(),
        false => format!("'{}'", printable(text).replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        let check = |text, expected: &str| assert_eq!(shell_word(text), expected);
        check("runs/karpathy-2", "runs/karpathy-2");
        check("runs/é", "runs/é");
        check("my run", "'my run'");
        check("-x", "'-x'");
        check("it's", "'it'\\''s'");
        check("a\u{1b}[31m", "'a\\u{1b}[31m'");
    }
}
