//! The command `cli`, with the parts of this workspace.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main_with(|_| {})
}
