//! One HTML page about runs: curves laid over each other, how good they are, samples, speed, settings,
//! and what single units do.
//!
//! [`Run::open`] gathers what a run directory has, [`page`] makes the page. It refers to nothing
//! outside itself, opens from disk, and forbids itself to load anything. Each part of the page is a
//! file here. Nothing is trained, and nothing printed.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let run = report::Run::open("runs/karpathy".as_ref(), &experiment::Parts::builtin())?;
//! std::fs::write("report.html", report::page(&[run]))?;
//! # Ok(())
//! # }
//! ```

mod chart;
mod config;
mod curves;
mod neurons;
mod novelty;
mod page;
mod run;
mod samples;
mod verdict;

pub use curves::{Along, Curves, Point};
pub use novelty::{Copies, LENGTHS};
pub use page::page;
pub use run::{Model, Passage, Run};
