//! The commands, one file each.

pub mod check;
pub mod eval;
pub mod list;
pub mod novelty;
pub mod run;
pub mod sample;
pub mod score;
