//! From a launcher's process to a rank.
//!
//! `mpirun` gives a job the exit code of the first process that ended badly, and for one that was killed
//! that is its signal, not a failure of ours. So the process that the launcher starts is not the rank: it
//! starts the rank as its child and waits, and when the child is killed it says so and ends with exit code 1.
//! The child has a process group of its own and gets signals from its parent alone, so each of them once.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode};
use std::{env, io, thread};

use experiment::ranks::{Alone, Ranks};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::MpiRanks;

/// In which a launcher tells a process its rank: Open MPI, any with PMIx, MPICH and Intel MPI.
const LAUNCHERS: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"];

/// The process that waits for a rank, told to the rank.
const WAITING: &str = "CHAR_RNN_RANK_OF";

/// A process that a signal ended, as shells have it; those are told to all ranks, so they leave together.
const FIRST_SIGNAL: u8 = 128;

/// Runs `program` as one of the ranks of an MPI job, or alone where no launcher started this process, and
/// returns its exit code. The program is given whom it runs with.
pub fn launch(program: impl FnOnce(&dyn Ranks) -> u8) -> ExitCode {
    let Some(rank) = LAUNCHERS.iter().find_map(|name| env::var(name).ok()) else {
        return program(&Alone).into();
    };
    let code = match env::var(WAITING) {
        Ok(waiting) => join(&waiting, program),
        Err(_) => wait_for_child(&rank),
    };
    code.unwrap_or_else(|error| {
        eprintln!("error: rank {rank}: {error}");
        ExitCode::FAILURE
    })
}

/// Starts the same command line as a child, and gives its exit code.
fn wait_for_child(rank: &str) -> io::Result<ExitCode> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(WAITING, std::process::id().to_string());
    let mut child = command.process_group(0).spawn()?;
    let process = Pid::from_child(&child);
    thread::spawn(move || {
        for signal in signals.forever() {
            let signal = Signal::from_named_raw(signal).expect("one of three");
            // It may have ended.
            let _ = kill_process(process, signal);
        }
    });
    let status = child.wait()?;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok((code as u8).into()),
        (None, signal) => {
            let name = signal.and_then(signal_hook::low_level::signal_name).unwrap_or("a signal");
            eprintln!(
                "error: rank {rank}: ended by {name}, and with it the job; what is saved is whole\n\
                 help: a run goes on from its last checkpoint with resume, on any number of ranks"
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

fn join(waiting: &str, program: impl FnOnce(&dyn Ranks) -> u8) -> io::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().to_string() != waiting) {
        return Err(io::Error::other("what the launcher started has ended"));
    }
    let ranks = MpiRanks::join()?.ok_or_else(|| io::Error::other("MPI is in use already"))?;
    let code = program(&ranks);
    if code == 0 || FIRST_SIGNAL <= code {
        ranks.leave();
    } else {
        // The others do not know. A process that ends without leaving ends the job.
        std::mem::forget(ranks);
    }
    Ok(code.into())
}
