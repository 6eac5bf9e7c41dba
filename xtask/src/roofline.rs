//! `cargo xtask roofline`: how much of the machine's peak a step of training gets, phase by phase.
//!
//! The program that measures has clocks compiled in, so it is built for itself: see
//! `benches/src/bin/roofline`.

use std::path::Path;
use std::process::Command;

/// Arguments of `cargo xtask roofline`.
#[derive(clap::Args)]
pub struct Args {
    /// Options of the program, such as `--only W2`; `-- --help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Builds and runs it.
///
/// # Errors
/// If that fails.
pub fn run(args: Args) -> crate::Result {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["run", "--release", "--package", "benches", "--features", "phases"])
        .args(["--bin", "roofline", "--"])
        .args(&args.options)
        .status()?;
    if status.success() { Ok(()) } else { Err("the measurement failed".into()) }
}
