//! The command line: arguments in, text and an exit code out.
//!
//! Everything it does is in the crate `experiment`, for other programs to call; here it is shown to
//! a person. Results go to standard output, everything else to standard error.
//!
//! A program with parts of its own is this in its `main`:
//!
//! ```no_run
//! # use registry::Part;
//! fn main() -> std::process::ExitCode {
//!     cli::main_with(|parts| {
//!         // parts.optimizers.register(optim::optimizer::entry::<MyOptimizer>());
//! #       let _ = parts;
//!     })
//! }
//! ```

mod args;
mod commands;
mod failure;
mod panel;
mod progress;
mod signals;
mod terminal;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use experiment::Parts;
use experiment::ranks::{Alone, Ranks};

use crate::args::{Args, Command};
use crate::failure::Failure;
use crate::terminal::Escaped;

/// Where a command writes.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Everything else. What cannot be written here is lost without a word.
    pub err: &'a mut dyn Write,
    /// Whether standard error is a terminal, on which a panel may be drawn.
    pub draws_bar: bool,
}

/// Runs the command line of this process with the builtin parts and those that `register` adds. With the
/// feature `mpi`, together with the other processes of its job, if a launcher such as `mpirun` started it.
pub fn main_with(register: impl FnOnce(&mut Parts)) -> ExitCode {
    let mut parts = Parts::builtin();
    register(&mut parts);
    #[cfg(feature = "mpi")]
    return dist::launch(|ranks| run_process(&parts, ranks));
    #[cfg(not(feature = "mpi"))]
    {
        let size = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].map(|name| std::env::var(name).ok());
        if size.into_iter().flatten().any(|size| size != "1") {
            eprintln!(
                "warning: started as one of many by an MPI launcher, but built without the feature \
                 `mpi`: each of them does the same on its own"
            );
        }
        run_process(&parts, &Alone).into()
    }
}

fn run_process(parts: &Parts, ranks: &dyn Ranks) -> u8 {
    let (mut plain, mut err) = (io::stdout().lock(), io::stderr());
    let (on_terminal, draws_bar) = (plain.is_terminal(), err.is_terminal());
    let mut escaped;
    let out: &mut dyn Write = match on_terminal {
        true => {
            escaped = Escaped::new(plain);
            &mut escaped
        }
        false => &mut plain,
    };
    let mut console = Console { out, err: &mut err, draws_bar };
    run_among(std::env::args_os(), parts, ranks, &mut console)
}

/// Runs a command line, the program's name first, and returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    parts: &Parts,
    console: &mut Console<'_>,
) -> u8 {
    run_among(args, parts, &Alone, console)
}

/// The same for one of some processes that do it together.
pub fn run_among(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    parts: &Parts,
    ranks: &dyn Ranks,
    console: &mut Console<'_>,
) -> u8 {
    let result = match Args::try_parse_from(args) {
        Ok(args) => run_command(args.command, parts, ranks, console),
        // The first says it.
        Err(error) if ranks.rank() != 0 => return if error.use_stderr() { 2 } else { 0 },
        Err(error) if !error.use_stderr() => {
            write!(console.out, "{error}").map_err(Failure::Output)
        }
        Err(error) => Err(Failure::Usage(error)),
    };
    let result = result.and_then(|()| console.out.flush().map_err(Failure::Output));
    match result {
        Ok(()) => 0,
        Err(failure) => {
            let mut text = failure.to_string();
            if 1 < ranks.count() {
                text = text.replacen("error: ", &format!("error: rank {}: ", ranks.rank()), 1);
            }
            let _ = console.err.write_all(text.as_bytes());
            failure.exit_code()
        }
    }
}

fn run_command(
    command: Command,
    parts: &Parts,
    ranks: &dyn Ranks,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match command {
        Command::Run(args) => commands::run::run(&args, parts, ranks, console),
        Command::Resume(args) => commands::run::resume(&args, parts, ranks, console),
        Command::Sweep(args) => commands::sweep::run(&args, parts, ranks, console),
        // The rest is not shared.
        _ if ranks.rank() != 0 => Ok(()),
        Command::Sample(args) => commands::sample::run(&args, parts, console),
        Command::Score(args) => commands::score::run(&args, parts, console),
        Command::Eval(args) => commands::eval::run(&args, parts, console),
        Command::Check(args) => commands::check::run(&args, parts, console),
        Command::New(args) => commands::new::run(&args, parts, console),
        Command::List(args) => commands::list::run(&args, parts, console),
        Command::Metrics(args) => commands::metrics::run(&args, parts, console),
        Command::Completions(args) => commands::completions::run(&args, console),
        Command::Man(args) => commands::man::run(&args, console),
        Command::Report(args) => commands::report::run(&args, parts, console),
    }
}
