//! What is measured and how: [`workloads`] for the benches and for `cargo xtask peers`, and the
//! program as a person runs it, timed from outside.

mod program;
mod workload;

pub use program::{Program, Run, StartUp};
pub use workload::{Workload, growth, workloads};
