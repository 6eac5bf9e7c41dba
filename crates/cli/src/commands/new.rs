//! `cli new`: writes a config that suits a text and fills a budget of time.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use data_io::{Paths, TextError, durable};
use experiment::{Error, Parts, Plan};

use crate::args::threads;
use crate::commands::run::{all_threads, called, shell_word};
use crate::failure::printable;
use crate::{Console, Failure};

/// Write a config with comments that suits a text
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cli new my.txt
  cli new my.txt --budget 1h -o configs/mine.toml
  cli new 'texts/*.txt' --budget 90s
  cli new my.txt -o - | less

It looks at the text, measures this machine for a few seconds and writes NAME.toml, whose comments say
what was found, what each key does, how long the run takes and which loss to expect. Steps are fixed in
the config, so the run is the same on every machine, and takes the budget on this one.")]
pub struct NewArgs {
    /// The text file; several, or a pattern in quotes, are read one after the other
    #[arg(value_name = "TEXT", required = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub texts: Vec<String>,
    /// How long the run may take, such as 90s, 10min or 1h30min; from 5s to 30days. Where that is more
    /// than the text is worth, the config stops sooner and says so
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = budget, allow_hyphen_values = true)]
    pub budget: Duration,
    /// The config to write, - for standard output; without it NAME.toml in this directory
    #[arg(short, long, value_name = "CONFIG")]
    pub out: Option<PathBuf>,
    /// Write over a config that is there
    #[arg(long)]
    pub force: bool,
    /// Threads the run will use; without it as many as the machine runs at once
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    pub threads: Option<usize>,
}

/// The shortest run that is planned: what is measured before takes about as long.
const LEAST: Duration = Duration::from_secs(5);
/// The longest.
const MOST: Duration = Duration::from_secs(30 * 24 * 3600);

fn budget(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "must be a time with its unit, such as 90s, 10min or 1h30min".to_owned())?;
    match (LEAST..=MOST).contains(&time) {
        true => Ok(time),
        false => Err("must be from 5s to 30days".into()),
    }
}

pub fn run(args: &NewArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let paths = match &args.texts[..] {
        [text] => Paths::One(text.clone()),
        texts => Paths::Many(texts.to_vec()),
    };
    let files = paths.files().map_err(Error::NoText)?;
    let to_output = args.out.as_deref() == Some(Path::new("-"));
    let config = match &args.out {
        Some(path) if !to_output => path.clone(),
        _ => name_for(&files),
    };
    if !to_output {
        check_place(&config, &files, args.force)?;
    }

    let threads = args.threads.unwrap_or_else(all_threads);
    let plan = Plan::new(&config, &paths, args.budget, threads, parts).map_err(as_argument)?;
    if to_output {
        return console.out.write_all(plan.text().as_bytes()).map_err(Failure::Output);
    }
    let text = plan.text();
    let written = match args.force {
        true => durable::replace(&config, text.as_bytes()),
        // Another one may have come there meanwhile.
        false => OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&config)
            .and_then(|mut file| file.write_all(text.as_bytes())),
    };
    written.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => is_there(&config),
        _ => cannot_write(&config, source),
    })?;

    for note in plan.notes() {
        let _ = writeln!(console.err, "{}", printable(&note));
    }
    let name = shell_word(&config.display().to_string());
    let _ = writeln!(console.err, "{name}: {}", plan.summary());
    let _ = writeln!(console.err, "train it: {} run {name}", called());
    Ok(())
}

/// `STEM.toml` of the file, or of the directory that several files are in.
fn name_for(files: &[PathBuf]) -> PathBuf {
    let stem = match files {
        [file] => file.file_stem(),
        _ => files.first().and_then(|file| file.parent()).and_then(Path::file_name),
    };
    let mut name = stem.unwrap_or("text".as_ref()).to_owned();
    name.push(".toml");
    name.into()
}

/// Refuses what would be refused after measuring, before it.
fn check_place(config: &Path, files: &[PathBuf], force: bool) -> Result<(), Error> {
    let real = config.canonicalize();
    if real.as_ref().is_ok_and(|real| {
        files.iter().any(|file| file.canonicalize().is_ok_and(|file| file == *real))
    }) {
        return Err(Error::Argument {
            place: config.display().to_string(),
            message: "is the text itself".into(),
            help: "give another place with -o CONFIG".into(),
        });
    }
    if config.is_dir() {
        return Err(cannot_write(config, ErrorKind::IsADirectory.into()));
    }
    if config.symlink_metadata().is_ok() && !force {
        return Err(is_there(config));
    }
    let directory = match config.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match directory.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(cannot_write(config, ErrorKind::NotADirectory.into())),
        Err(source) => Err(cannot_write(config, source)),
    }
}

fn is_there(config: &Path) -> Error {
    Error::Argument {
        place: config.display().to_string(),
        message: "is there already".into(),
        help: "give another place with -o CONFIG, or write over it with --force".into(),
    }
}

fn cannot_write(config: &Path, source: io::Error) -> Error {
    Error::Io { path: config.to_owned(), action: "write the config", source }
}

/// The path of the text is an argument here, and no key of a config.
fn as_argument(error: Error) -> Error {
    use TextError::{NoMatch, Pattern, Read};
    match error {
        Error::Text(error @ (Read { .. } | NoMatch { .. } | Pattern { .. })) => {
            Error::NoText(error)
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_time_that_a_person_means() {
        let secs = |text| budget(text).map(|time| time.as_secs());
        let times = ["90s", "10min", "1h30min", "2 h", "30days"].map(secs);
        assert_eq!(times, [90, 600, 5400, 7200, 2_592_000].map(Ok));
        for text in ["0", "-1", "-1min", "soon", "", "10", "1s", "10years", "9999999999999999999h"]
        {
            assert!(budget(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_config_is_called_as_its_text() {
        let name = |files: &[&str]| {
            name_for(&files.iter().map(PathBuf::from).collect::<Vec<_>>()).display().to_string()
        };
        assert_eq!(name(&["a/my.txt"]), "my.toml");
        assert_eq!(name(&["my"]), "my.toml");
        assert_eq!(name(&["a/b/1.txt", "a/b/2.txt"]), "b.toml");
        assert_eq!(name(&["1.txt", "2.txt"]), "text.toml");
    }
}
