//! What the workspace does to itself, as `cargo xtask COMMAND`.
//!
//! Checks that take arguments, print tables or steer `cargo` would otherwise become shell scripts,
//! which run on some systems and are tested on none. The alias is in `.cargo/config.toml`.
//!
//! A command is a file with an `Args` and a `run`, and its line in [`Command`] and in `main`.

mod browser;
mod determinism;
mod docs;
#[cfg(unix)]
mod faults;
mod fuzz;
mod gradcheck;
mod mutants;
mod peers;
mod proptest;
#[cfg(unix)]
mod ranks;
mod roofline;
mod sanitize;
mod scaling;
mod schema;
mod seeds;
mod sweep;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a command ends in; the error is for a person to read.
type Result = std::result::Result<(), Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Checks of the workspace")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the tests of a report in Chromium, or takes a picture of one.
    Browser(browser::Args),
    /// Runs the same configs in every way this machine can compute them, and compares what comes out.
    Determinism(determinism::Args),
    /// Writes the pages about parts and sections, docs/parts.
    Docs(docs::Args),
    /// Kills runs, makes their system calls fail and their disks too small, and resumes them.
    #[cfg(unix)]
    Faults(faults::Args),
    /// Tries bytes by the million on everything that reads a file or a command line.
    Fuzz(fuzz::Args),
    /// Checks gradients against finite differences.
    Gradcheck(gradcheck::Args),
    /// Plants mistakes in the crates that compute, each of which a test has to catch.
    Mutants(mutants::Args),
    /// Times this program and others on the same work, and prints the ratios.
    Peers(peers::Args),
    /// Runs the property tests of the workspace with many cases each.
    Proptest(proptest::Args),
    /// Trains in several processes over MPI, kills some, and compares what comes out.
    #[cfg(unix)]
    Ranks(ranks::Args),
    /// Shows, phase by phase, how much of the machine's peak a step of training gets.
    Roofline(roofline::Args),
    /// Runs the kernels' tests in Miri and with AddressSanitizer.
    Sanitize(sanitize::Args),
    /// Estimates what a step takes on up to 1024 ranks.
    Scaling(scaling::Args),
    /// Writes the JSON schema of a config, for editors.
    Schema(schema::Args),
    /// Trains configs/karpathy.toml with several seeds, and shows where each ends.
    Seeds(seeds::Args),
    /// Takes the error of `exp`, `tanh`, `sigmoid` and `rsqrt` over all inputs.
    Sweep(sweep::Args),
}

fn main() -> ExitCode {
    let result = match Xtask::parse().command {
        Command::Browser(args) => browser::run(args),
        Command::Determinism(args) => determinism::run(args),
        Command::Docs(args) => docs::run(args),
        #[cfg(unix)]
        Command::Faults(args) => faults::run(args),
        Command::Fuzz(args) => fuzz::run(args),
        Command::Gradcheck(args) => gradcheck::run(args),
        Command::Mutants(args) => mutants::run(args),
        Command::Peers(args) => peers::run(args),
        Command::Proptest(args) => proptest::run(args),
        #[cfg(unix)]
        Command::Ranks(args) => ranks::run(args),
        Command::Roofline(args) => roofline::run(args),
        Command::Sanitize(args) => sanitize::run(args),
        Command::Scaling(args) => scaling::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Seeds(args) => seeds::run(args),
        Command::Sweep(args) => sweep::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use integration_tests::blocks::{documents, shell, spans};

    use super::*;

    /// A command in a document, `cargo xtask NAME --flag`, is one that is there.
    #[test]
    fn the_commands_in_documents_exist() {
        let xtask = Xtask::command();
        let mut found = 0;
        for (place, words) in
            documents().iter().flat_map(|path| [shell(path), spans(path)].concat())
        {
            let [cargo, xtask_word, name, args @ ..] = &words[..] else { continue };
            if cargo != "cargo" || xtask_word != "xtask" {
                continue;
            }
            let command = xtask.find_subcommand(name);
            let command = command.unwrap_or_else(|| panic!("{place}: there is no {name}"));
            let own = args.iter().take_while(|arg| *arg != "--");
            for flag in own.filter_map(|arg| arg.strip_prefix("--")) {
                let mut known = command.get_arguments().filter_map(clap::Arg::get_long);
                assert!(known.any(|long| long == flag), "{place}: {name} has no --{flag}");
            }
            found += 1;
        }
        assert!(0 < found);
    }
}
