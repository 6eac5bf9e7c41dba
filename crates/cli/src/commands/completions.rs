//! `cli completions`: what a shell needs to complete commands and options.

use clap::{Args as Arguments, CommandFactory};
use clap_complete::{Shell, generate};

use crate::args::Args;
use crate::{Console, Failure};

/// Write a script by which a shell completes commands and options
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli completions bash > ~/.local/share/bash-completion/completions/cli
  cli completions zsh > ~/.zfunc/_cli
  cli completions fish > ~/.config/fish/completions/cli.fish
  source <(cli completions bash)")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

pub fn run(args: &CompletionsArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    // Into memory first: it panics where it cannot write.
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    console.out.write_all(&script).map_err(Failure::Output)
}
