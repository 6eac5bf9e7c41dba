//! The commands, one file each.

pub mod check;
pub mod completions;
pub mod eval;
pub mod list;
pub mod man;
pub mod metrics;
pub mod new;
pub mod novelty;
pub mod report;
pub mod run;
pub mod sample;
pub mod score;
pub mod sweep;
