//! `cli report`: one HTML page about runs.

use std::path::{Path, PathBuf};

use clap::Args;
use data_io::durable;
use experiment::{Error, Parts};
use report::Run;

use crate::failure::printable;
use crate::{Console, Failure};

/// Where the page goes without `--out`, in the first run.
const NAME: &str = "report.html";

/// Write one HTML page about runs: curves, samples, settings, and what single units do
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cli report runs/karpathy
  cli report runs/karpathy runs/karpathy-2 -o both.html

The page needs nothing beside itself, opens from disk in any browser and loads nothing. Several runs are
laid over each other. A run that is still going on, or whose text was moved, is shown as far as it can
be. Standard output gets the path of the page.")]
pub struct ReportArgs {
    /// Run directories; the page stands in the first unless --out says otherwise
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

pub fn run(args: &ReportArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let runs: Result<Vec<_>, _> = args.runs.iter().map(|path| Run::open(path, parts)).collect();
    let runs = runs?;
    let path = args.out.clone().unwrap_or_else(|| args.runs[0].join(NAME));
    write(&path, report::page(&runs).as_bytes())?;
    for run in &runs {
        if let Err(reason) = &run.neurons {
            let _ = writeln!(console.err, "{}: {}", printable(&run.name), printable(reason));
        }
    }
    writeln!(console.out, "{}", path.display()).map_err(Failure::Output)
}

/// A file is replaced as a whole or not at all; what is no file, such as a pipe, is written to.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path.is_dir() {
        return Err(Error::Argument {
            place: path.display().to_string(),
            message: "is a directory, and the page is a file".into(),
            help: format!("give a name in it, as in --out {}", path.join(NAME).display()),
        });
    }
    let result = match path.metadata() {
        Ok(metadata) if !metadata.is_file() => std::fs::write(path, bytes),
        _ => durable::replace(path, bytes),
    };
    result.map_err(|source| Error::Io { path: path.to_owned(), action: "write the page", source })
}
