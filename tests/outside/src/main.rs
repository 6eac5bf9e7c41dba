//! `cli` with an optimizer, a cell, a schedule and a tokenizer that no crate of the workspace knows.

mod lower;
mod sgdr;
mod sign_sgd;
mod ugrnn;

fn main() -> std::process::ExitCode {
    cli::main_with(|parts| {
        parts.optimizers.register(optim::optimizer::entry::<sign_sgd::SignSgd>());
        parts.cells.register(rnn_model::cell::entry::<ugrnn::Ugrnn>());
        parts.schedules.register(optim::schedule::entry::<sgdr::Sgdr>());
        parts.tokenizers.register(data_io::tokenizer::entry::<lower::Lower>());
    })
}
