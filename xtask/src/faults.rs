//! `cargo xtask faults`: that a run cannot be lost, tested as databases are.
//!
//! A short run is killed before every system call by which it writes, one after the other; each of
//! them is made to fail; the disk is made too small; and runs are killed at random. After each the run
//! is resumed, and has to end in the bytes of a run that nothing happened to. Pillai et al., "All file
//! systems are not created equal", OSDI 2014.
//!
//! System calls are counted and tampered with by `strace`, on Linux.

mod run;
mod trace;

use std::io::{self, Write};
use std::time::Duration;

use benches::Program;
use tensor_core::rng::{Stream, stream, uniform};

use self::run::{Outcome, Scene};
pub use self::run::{files, works};
use self::trace::{CALLS, Trace};
use crate::table;

/// Arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub struct Args {
    /// Every seventh system call and twenty chains of kills, in a minute
    #[arg(long)]
    quick: bool,
    /// Chains of kills at random times
    #[arg(long, value_name = "N", default_value = "1000")]
    chains: u64,
}

/// Errors that a call is made to fail with.
const ERRORS: [&str; 2] = ["ENOSPC", "EIO"];

/// Prints a line for each kind of fault.
///
/// # Errors
/// If a run does not end as it should.
pub fn run(args: Args) -> crate::Result {
    let scene = Scene::new(Program::build(["--release"], [])?)?;
    let mut rows = Rows::default();
    let step = if args.quick { 7 } else { 1 };
    match trace::missing() {
        Some(reason) => rows.skip("system calls", reason),
        None => {
            let trace = scene.trace()?;
            rows.add("data synced, renamed, directory synced", trace.order());
            killed(&scene, &trace, step, &mut rows)?;
            failing(&scene, &trace, step, &mut rows)?;
        }
    }
    too_large(&scene, step, &mut rows)?;
    too_small(&scene, &mut rows)?;
    chains(&scene, if args.quick { 20 } else { args.chains }, &mut rows)?;
    rows.finish()
}

fn killed(scene: &Scene, trace: &Trace, step: usize, rows: &mut Rows) -> crate::Result {
    for call in CALLS {
        let mut results = Vec::new();
        for n in trace.numbers(call).into_iter().step_by(step) {
            let run = scene.start()?;
            let code = run.injected(&format!("{call}:signal=SIGKILL:when={n}"), trace)?.code;
            let resumed = run.resumed();
            let killed = if code == 137 { Ok(()) } else { Err(format!("exit code {code}")) };
            results.push(killed.and(resumed).map_err(|error| format!("{call} {n}: {error}")));
        }
        rows.add(&format!("killed before {call}"), results);
    }
    Ok(())
}

fn failing(scene: &Scene, trace: &Trace, step: usize, rows: &mut Rows) -> crate::Result {
    for call in CALLS {
        for (kind, more) in [("once", ""), ("for good", "+")] {
            // Closing for good comes to a directory, see `numbers_that_may_fail`.
            if call == "close" && more == "+" {
                continue;
            }
            let mut results = Vec::new();
            for n in trace.numbers_that_may_fail(call).into_iter().step_by(step) {
                for error in ERRORS {
                    let run = scene.start()?;
                    let fault = format!("{call}:error={error}:when={n}{more}");
                    let outcome = run.injected(&fault, trace)?;
                    let result = run.failed_well(&outcome).and_then(|()| run.resumed());
                    results.push(result.map_err(|what| format!("{call} {n} {error}: {what}")));
                }
            }
            rows.add(&format!("{call} fails {kind}"), results);
        }
    }
    Ok(())
}

/// A limit on the size of files, up to which a write is short and then fails.
fn too_large(scene: &Scene, step: usize, rows: &mut Rows) -> crate::Result {
    let name = "files limited in size";
    if !run::works("prlimit", &["--version"]) {
        rows.skip(name, "needs `prlimit`".into());
        return Ok(());
    }
    let largest = scene.largest_file();
    let mut results = Vec::new();
    for limit in (0..largest).step_by((largest as usize / 50 * step).max(1)) {
        let run = scene.start()?;
        let outcome = run.under(&["prlimit", &format!("--fsize={limit}"), "--"])?;
        let result = run.failed_well(&outcome).and_then(|()| run.resumed());
        results.push(result.map_err(|what| format!("{limit} bytes: {what}")));
    }
    rows.add(name, results);
    Ok(())
}

/// A disk that is too small for a second checkpoint.
fn too_small(scene: &Scene, rows: &mut Rows) -> crate::Result {
    let name = "a disk of 64 KiB";
    if !run::works("unshare", &["-m", "true"]) {
        rows.skip(name, "needs `unshare`, and the right to mount".into());
        return Ok(());
    }
    let mut run = scene.start()?;
    let mounted = run.on_small_disk(64)?;
    rows.add(name, vec![mounted]);
    Ok(())
}

fn chains(scene: &Scene, n: u64, rows: &mut Rows) -> crate::Result {
    let mut rng = stream(7, Stream::Data);
    let whole = scene.duration();
    let mut results = Vec::new();
    for chain in 0..n {
        let run = scene.start()?;
        for _ in 0..=(uniform(&mut rng) * 4.0) as u32 {
            run.killed_after(Duration::from_secs_f64(whole * uniform(&mut rng)))?;
        }
        results.push(run.resumed().map_err(|error| format!("chain {chain}: {error}")));
    }
    rows.add("chains of one to four kills", results);
    Ok(())
}

/// What was tried, and how often it came out well.
#[derive(Default)]
pub struct Rows {
    rows: Vec<[String; 4]>,
    failed: Vec<String>,
}

impl Rows {
    pub fn add(&mut self, name: &str, results: Vec<Result<(), String>>) {
        let n = results.len();
        let errors: Vec<String> = results.into_iter().filter_map(Result::err).collect();
        let first = errors.first().cloned().unwrap_or_default();
        eprintln!("{name}: {} of {n} {first}", n - errors.len());
        self.rows.push([name.into(), n.to_string(), (n - errors.len()).to_string(), first]);
        self.failed.extend(errors);
    }

    pub fn skip(&mut self, name: &str, reason: String) {
        self.rows.push([name.into(), "-".into(), "-".into(), format!("not run: {reason}")]);
    }

    pub fn finish(self) -> crate::Result {
        let table = table::render(["", "tried", "well", ""], &self.rows);
        write!(io::stdout(), "{table}")?;
        match self.failed.len() {
            0 => Ok(()),
            failed => Err(format!("{failed} runs did not end as they should").into()),
        }
    }
}

/// What a failed run has to look like.
fn is_clear(outcome: &Outcome) -> Result<(), String> {
    match outcome.code {
        4 if outcome.error.contains("error: ") && outcome.error.contains("help: ") => Ok(()),
        4 => Err(format!("says {:?}", outcome.error)),
        code => Err(format!("exit code {code}: {:?}", outcome.error.lines().next())),
    }
}
