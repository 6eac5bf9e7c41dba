//! From a launcher's process to a rank.
//!
//! `mpirun` gives a job the exit code of the first process that ended badly, and for one that was killed
//! that is its signal, not a failure of ours. So the process that the launcher starts is not the rank: it
//! starts the rank as its child and waits, and when the child is killed it says so and ends with exit code 1.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{env, io};

use experiment::ranks::{Alone, Ranks};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

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
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The launcher sends it to the child too, which ends in order.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let mut child = Command::new(env::current_exe()?);
    child.args(env::args_os().skip(1)).env(WAITING, std::process::id().to_string());
    let status = child.status()?;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok((code as u8).into()),
        (None, signal) => {
            let name = signal.and_then(signal_hook::low_level::signal_name).unwrap_or("a signal");
            eprintln!(
                "error: rank {rank}: ended by {name}, and with it the job; what is saved is whole\n\
                 help: go on from the last checkpoint with resume, on any number of ranks"
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
