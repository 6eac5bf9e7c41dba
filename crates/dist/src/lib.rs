//! Training on several machines: `experiment::ranks::Ranks` over MPI.
//!
//! Without the feature `mpi` this crate is empty, and nothing of MPI is built. With it `launch` finds out
//! whether a launcher such as `mpirun` started this process; what the ranks have to tell each other is the
//! business of `experiment`, and here only bytes are moved.

#![cfg(feature = "mpi")]

mod launch;
mod mpi_ranks;

pub use launch::launch;
pub use mpi_ranks::MpiRanks;
