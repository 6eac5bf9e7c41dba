//! `cli` with an optimizer that no crate of the workspace knows.

mod sign_sgd;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main_with(|parts| {
        parts.optimizers.register(optim::optimizer::entry::<sign_sgd::SignSgd>());
    })
}
