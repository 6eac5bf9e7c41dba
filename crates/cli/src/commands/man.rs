//! `cli man`: manual pages.

use std::path::{Path, PathBuf};

use clap::{Args as Arguments, Command, CommandFactory};
use clap_mangen::Man;
use experiment::Error;

use crate::args::Args;
use crate::{Console, Failure};

/// Write manual pages
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli man | man -l -
  cli man run | man -l -
  cli man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// The page of one command; without it the one about all of them
    #[arg(conflicts_with = "out")]
    pub command: Option<String>,
    /// Write all pages into a directory, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

pub fn run(args: &ManArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let pages = pages();
    if let Some(directory) = &args.out {
        return write_all(&pages, directory).map_err(Failure::Run);
    }
    let wanted = args.command.as_deref();
    let Some((_, page)) = pages.iter().find(|(name, _)| name.as_deref() == wanted) else {
        let wanted = wanted.unwrap_or_default();
        let known = pages.iter().filter_map(|(name, _)| name.as_deref());
        return Err(Failure::Run(Error::Argument {
            place: "man".into(),
            message: format!("there is no command `{wanted}`"),
            help: registry::suggest(wanted, "commands", known),
        }));
    };
    console.out.write_all(&page.text).map_err(Failure::Output)
}

struct Page {
    file: String,
    text: Vec<u8>,
}

/// The page about the program, and those of its commands by their names.
fn pages() -> Vec<(Option<String>, Page)> {
    let mut program = Args::command();
    program.build();
    let page = |command: &Command| {
        let (man, mut text) = (Man::new(command.clone()), Vec::new());
        man.render(&mut text).expect("a buffer takes all");
        Page { file: man.get_filename(), text }
    };
    let commands = program.get_subcommands();
    let commands = commands.map(|command| (Some(command.get_name().to_owned()), page(command)));
    std::iter::once((None, page(&program))).chain(commands).collect()
}

fn write_all(pages: &[(Option<String>, Page)], directory: &Path) -> Result<(), Error> {
    let failed = |path: &Path, action| {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    };
    std::fs::create_dir_all(directory).map_err(failed(directory, "make the directory"))?;
    pages.iter().try_for_each(|(_, page)| {
        let path = directory.join(&page.file);
        std::fs::write(&path, &page.text).map_err(failed(&path, "write"))
    })
}
