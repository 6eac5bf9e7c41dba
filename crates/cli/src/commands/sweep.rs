//! `cli sweep`: one config with every combination of some keys' values.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use data_io::{Unit, durable};
use experiment::ranks::{Ranks, tell};
use experiment::{
    Axis, Ended, Error, Parts, Record, Standing, Sweep, SweepEvent, combinations, duration,
    is_free, open_config, run_names,
};
use report::Run;
use serde::Serialize;
use serde_json::json;

use crate::args::threads;
use crate::commands::run::{RUNS, all_threads, shell_word, watch_signals};
use crate::failure::printable;
use crate::progress::loss;
use crate::{Console, Failure};

/// Runs that the report shows, the best ones.
const REPORTED: usize = 8;
/// More would be a mistake.
const MOST_RUNS: usize = 10_000;

/// Run a config with every combination of some keys' values
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli sweep my.toml --grid optimizer.learning_rate=1e-3,3e-3 --grid model.hidden_size=128,256
  cli sweep my.toml --grid train.seed=1,2,3 --jobs 2
  cli sweep my.toml --grid model.cell=lstm,mlstm --grid train.seed=1,2 --halving
  cli sweep my.toml --grid model.cell=lstm,mlstm --grid train.seed=1,2 --halving --resume
  cli sweep my.toml --grid optimizer=adam,muon --grid optimizer.learning_rate=3e-3,0.05

Each combination is a run of its own, in a directory of the sweep named by its values; it is the run that
`cli run` makes of the same keys. Runs are compared by their lowest validation loss. Standard output gets
a table, the best run first, and report.html lays the best eight over each other.

With --halving all runs get a part of their steps, the better half of them twice as many, and so on to
the end: eight runs cost as much as three or four. A schedule still has all its steps before it.

On many machines: mpirun, with a program built for it (docs/scaling.md), deals the runs among its
processes; and a job array runs --task-index K --task-count N, each of whose N tasks takes every Nth run.
When all have ended, --resume without them writes the table and the report.

Ctrl-C ends the runs that are going on with a checkpoint each, and --resume goes on with all of it.

--json writes {runs}: for each one run, set (the keys), best_nats_per_char, best_step, step, secs,
parameters and ended (why it ended early, or null).")]
pub struct SweepArgs {
    /// The TOML file
    pub config: PathBuf,
    /// A key and the values to try it at, as KEY=VALUE,VALUE; can be given several times
    #[arg(long, value_name = "KEY=VALUES", required = true, value_parser = Axis::parse)]
    pub grid: Vec<Axis>,
    /// Override a key in all runs
    #[arg(long = "set", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub overrides: Vec<String>,
    /// Directory of the sweep; without it runs/NAME-sweep of the config, or NAME-sweep-2, ...
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with a sweep where it stopped; without --out that is runs/NAME-sweep
    #[arg(long)]
    pub resume: bool,
    /// Give up the worse half of the runs early, again and again
    #[arg(long)]
    pub halving: bool,
    /// Run only every Nth combination from this one on, the first being 0: a task of a job array
    #[arg(long, value_name = "K", requires = "task_count", conflicts_with_all = ["halving", "resume"])]
    pub task_index: Option<usize>,
    /// Number of tasks
    #[arg(long, value_name = "N", requires = "task_index", value_parser = threads, allow_negative_numbers = true)]
    pub task_count: Option<usize>,
    /// Runs at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads, allow_negative_numbers = true)]
    pub jobs: usize,
    /// Threads of each run; without it the jobs share as many as the machine runs at once
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Write JSON in place of the table, as described below
    #[arg(long)]
    pub json: bool,
    /// Print nothing but the result, errors and warnings
    #[arg(long)]
    pub quiet: bool,
}

pub fn run(
    args: &SweepArgs,
    parts: &Parts,
    ranks: &dyn Ranks,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let runs: usize = args.grid.iter().map(|axis| axis.values.len()).product();
    if MOST_RUNS < runs {
        return Err(too_many(runs).into());
    }
    // So that a config that is not there is the first thing to be said.
    open_config(&args.config, &args.overrides)?;
    let mut combinations = combinations(&args.grid);
    if let Some((index, count)) = args.task_index.zip(args.task_count) {
        check_task(index, count, runs)?;
        combinations = combinations.into_iter().skip(index).step_by(count).collect();
    }
    let sweep = Sweep {
        config: args.config.clone(),
        overrides: args.overrides.clone(),
        combinations,
        root: root(args, ranks)?,
        jobs: args.jobs,
        threads: args.threads.unwrap_or((all_threads() / args.jobs).max(1)),
        halving: args.halving,
    };
    // By each rank for itself, so that none waits for one that has given up.
    if args.resume {
        check_grid(&sweep)?;
    }
    let signals = watch_signals()?;
    let name = |index: usize| printable(&sweep.combinations[index].name);
    let err = &mut *console.err;
    let mut hear = |event| {
        let line = match event {
            SweepEvent::Damaged { index, what } => {
                format!("warning: {}  {}\n", name(index), printable(&what))
            }
            _ if args.quiet => return,
            SweepEvent::Rung { .. } if ranks.rank() != 0 => return,
            SweepEvent::Rung { runs: 1, step } => format!("one run to step {step}\n"),
            SweepEvent::Rung { runs, step } => format!("{runs} runs to step {step}\n"),
            SweepEvent::Eval { index, step, nats_per_char, unit } => {
                let loss = loss(nats_per_char, unit);
                format!("{}  step {step}  validation {loss}\n", name(index))
            }
            SweepEvent::Reached(standing) => {
                format!("{}  {}\n", name(standing.index), so_far(&standing))
            }
        };
        // At once, for other ranks may write here too.
        let _ = err.write_all(line.as_bytes());
    };
    let place = shell_word(&sweep.root.display().to_string());
    let Some(standings) = sweep.run(parts, ranks, &|| signals.received().is_some(), &mut hear)?
    else {
        // Another rank's, if it is not ours.
        let Some(signal) = signals.received() else { return Ok(()) };
        if ranks.rank() == 0 {
            let name = signal.name();
            let _ = writeln!(console.err, "{name}: saved; go on with --out {place} --resume");
        }
        return Err(Failure::Signal(signal));
    };
    if ranks.rank() != 0 {
        return Ok(());
    }
    let rows: Vec<_> = standings.iter().map(|standing| Row::of(standing, &sweep)).collect();
    let written = match args.json {
        true => writeln!(console.out, "{}", json!({ "runs": rows })),
        false => {
            let unit = Unit::of_all(standings.iter().map(|standing| standing.unit));
            write_table(&rows, unit, console.out)
        }
    };
    written.and_then(|()| console.out.flush()).map_err(Failure::Output)?;
    if args.task_index.is_some() {
        return Ok(());
    }
    let page = write_report(&standings, &sweep, parts)?;
    if !args.quiet {
        let _ = writeln!(console.err, "{}", shell_word(&page.display().to_string()));
    }
    Ok(())
}

fn too_many(runs: usize) -> Error {
    Error::Argument {
        place: "--grid".into(),
        message: format!("{runs} combinations, at most {MOST_RUNS} are run"),
        help: "give fewer values, or sweep over some keys first".into(),
    }
}

fn check_task(index: usize, count: usize, runs: usize) -> Result<(), Error> {
    if index < count && index < runs {
        return Ok(());
    }
    let (tasks, last) = (count.min(runs), count.min(runs) - 1);
    Err(Error::Argument {
        place: "--task-index".into(),
        message: format!("task {index} of {count} has nothing to do among {runs} runs"),
        help: format!("number the tasks from 0 to {last}, with --task-count {tasks}"),
    })
}

/// Refuses to go on with the sweep of another grid: its runs would stand beside these, and its report would
/// be lost.
fn check_grid(sweep: &Sweep) -> Result<(), Error> {
    let is_ours = |name: &str| sweep.combinations.iter().any(|ours| ours.name == name);
    let other = run_names(&sweep.root).into_iter().find(|name| !is_ours(name));
    let Some(other) = other else { return Ok(()) };
    Err(Error::Argument {
        place: sweep.root.display().to_string(),
        message: format!("holds {}, a run of another grid", shell_word(&other)),
        help: "give the grid that it was begun with, or --out with the directory of the sweep to go on \
               with"
            .into(),
    })
}

/// The directory of the sweep: what the first rank finds, for all of them. The tasks of a job array know
/// nothing of each other and share one.
fn root(args: &SweepArgs, ranks: &dyn Ranks) -> Result<PathBuf, Error> {
    let first = (ranks.rank() == 0).then(|| free_root(args)).transpose()?;
    let path = first.clone().unwrap_or_default().into_os_string().into_encoded_bytes();
    let said = tell(ranks, path)?;
    Ok(first.unwrap_or_else(|| String::from_utf8_lossy(&said[0]).into_owned().into()))
}

fn free_root(args: &SweepArgs) -> Result<PathBuf, Error> {
    let stem = args.config.file_stem().unwrap_or_default().to_string_lossy();
    let named = Path::new(RUNS).join(format!("{stem}-sweep"));
    let goes_on = args.resume || args.task_index.is_some();
    match &args.out {
        Some(path) if goes_on || is_free(path) => Ok(path.clone()),
        Some(path) => Err(Error::RunExists { path: path.clone() }),
        None if goes_on => Ok(named),
        None => {
            let numbered = (2..).map(|n| named.with_file_name(format!("{stem}-sweep-{n}")));
            let mut paths = std::iter::once(named.clone()).chain(numbered);
            Ok(paths.find(|path| is_free(path)).expect("numbers do not end"))
        }
    }
}

/// How far a run has come, in words.
fn so_far(standing: &Standing) -> String {
    let best = match standing.best {
        Some((step, nats)) => format!("best {} at step {step}", loss(nats, standing.unit)),
        None => "not validated".into(),
    };
    match standing.ended {
        Some(why) => format!("{}, {best}", in_words(why)),
        None => format!("at step {}, {best}", standing.step),
    }
}

fn in_words(why: Ended) -> String {
    match why {
        Ended::Diverged(step) => format!("diverged at step {step}"),
        Ended::OutOfPatience => "out of patience".into(),
    }
}

/// A run of the result. Names and meanings of these keys stay; more may come.
#[derive(Debug, Serialize)]
struct Row {
    run: PathBuf,
    set: Vec<String>,
    best_nats_per_char: Option<f64>,
    best_step: Option<u64>,
    step: u64,
    /// Of training alone, on a clock.
    secs: Option<f64>,
    parameters: usize,
    ended: Option<String>,
}

impl Row {
    fn of(standing: &Standing, sweep: &Sweep) -> Self {
        let run = sweep.run_path(standing.index);
        let timing = Record::open(&run).ok().and_then(|record| record.timing.last().copied());
        Self {
            run,
            set: sweep.combinations[standing.index].overrides.clone(),
            best_nats_per_char: standing.best.map(|(_, nats)| nats),
            best_step: standing.best.map(|(step, _)| step),
            step: standing.step,
            secs: timing.map(|timing| timing.elapsed_secs),
            parameters: standing.parameters,
            ended: standing.ended.map(in_words),
        }
    }
}

fn write_table(rows: &[Row], unit: Unit, out: &mut dyn Write) -> io::Result<()> {
    let nats = format!("nats/{}", unit.short);
    let heading = [&nats[..], "at step", "steps", "time", "parameters", "keys"];
    let cells = |row: &Row| {
        let ended = row.ended.as_ref().map_or(String::new(), |why| format!("  ({why})"));
        [
            row.best_nats_per_char.map_or("-".into(), |nats| format!("{nats:.4}")),
            row.best_step.map_or("-".into(), |step| step.to_string()),
            row.step.to_string(),
            row.secs.map_or("-".into(), duration),
            row.parameters.to_string(),
            printable(&row.set.join(" ")) + &ended,
        ]
    };
    let table: Vec<_> =
        std::iter::once(heading.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| table.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..heading.len() - 1).map(width).collect();
    for row in &table {
        for (cell, width) in row.iter().zip(&widths) {
            write!(out, "{cell:>width$}  ")?;
        }
        writeln!(out, "{}", row[heading.len() - 1])?;
    }
    Ok(())
}

fn write_report(standings: &[Standing], sweep: &Sweep, parts: &Parts) -> Result<PathBuf, Error> {
    let best = standings.iter().take(REPORTED);
    let runs: Result<Vec<_>, _> =
        best.map(|standing| Run::open(&sweep.run_path(standing.index), parts)).collect();
    let path = sweep.root.join("report.html");
    durable::replace(&path, report::page(&runs?).as_bytes()).map_err(|source| Error::Io {
        path: path.clone(),
        action: "write the page",
        source,
    })?;
    Ok(path)
}
