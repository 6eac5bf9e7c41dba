//! How a command fails: what a person reads, and the exit code.

use std::fmt::{self, Display, Formatter};
use std::io;

use clap::error::{ContextKind, ContextValue};
use experiment::{Error, section_keys};
use registry::Place;

use crate::signals::Received;

/// Why a command ended early.
pub enum Failure {
    /// The command line makes no sense.
    Usage(clap::Error),
    /// The command failed.
    Run(Error),
    /// Standard output takes no more.
    Output(io::Error),
    /// Standard output takes no more, and a run has stopped for it before its end.
    Unseen(io::Error),
    /// A signal ended the run.
    Signal(Received),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

impl Failure {
    /// The exit code of the process.
    ///
    /// A reader that has seen enough, as in `cli sample … | head -1`, is no failure; but a run that
    /// has not come to its end for it is not done.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Run(error) => error.exit_code(),
            Self::Output(error) if is_closed(error) => 0,
            Self::Unseen(error) if is_closed(error) => 1,
            Self::Output(_) | Self::Unseen(_) => 4,
            Self::Signal(signal) => signal.exit_code(),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// `error: WHERE: WHAT`, the line of the config it is about, and `help: HOW TO MEND IT`.
impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => {
                writeln!(f, "error: command line: {}", first_paragraph(error))?;
                writeln!(f, "help: {}", advice(error))
            }
            Self::Run(error) => {
                writeln!(
                    f,
                    "error: {}: {}",
                    printable(&error.place()),
                    printable(&error.to_string())
                )?;
                if let Error::Config { place: Some(place), .. } = error {
                    show_line(f, place)?;
                }
                match error.help() {
                    Some(help) => writeln!(f, "help: {}", printable(&help)),
                    None => Ok(()),
                }
            }
            Self::Output(error) if is_closed(error) => Ok(()),
            Self::Unseen(error) if is_closed(error) => {
                writeln!(f, "standard output is closed: stopped")
            }
            Self::Output(error) | Self::Unseen(error) => {
                writeln!(f, "error: standard output: cannot write: {error}")?;
                writeln!(f, "help: free some space, or send the output elsewhere")
            }
            // What was saved, and how to go on, was said before.
            Self::Signal(_) => Ok(()),
        }
    }
}

/// The line of the config with a caret below what is wrong.
fn show_line(f: &mut Formatter<'_>, place: &Place) -> fmt::Result {
    // A long line is cut to what stands around the fault.
    let before: Vec<char> = place.text[..place.marked.start].chars().collect();
    let start = before.len().saturating_sub(60);
    let before: String = before[start..].iter().collect();
    let marked: String = place.text[place.marked.clone()].chars().take(60).collect();
    let after: String = place.text[place.marked.end..].chars().take(20).collect();

    let number = place.line.map(|line| line.to_string()).unwrap_or_default();
    let line = [&before, &marked, &after].map(|text| printable(text)).concat();
    writeln!(f, "{number} | {line}")?;
    let indent = number.len() + printable(&before).chars().count();
    writeln!(f, "{:indent$}   {}", "", "^".repeat(printable(&marked).chars().count().max(1)))
}

/// Whether the character reorders those around it, so that a name reads as another one.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line of a size to be read, with nothing in it that a terminal would obey.
pub fn printable(text: &str) -> String {
    const MOST: usize = 400;
    let escape = |c: char| match c {
        '\n' | '\t' => " ".to_owned(),
        c if c.is_control() || turns_text(c) => c.escape_default().to_string(),
        c => c.to_string(),
    };
    let shown: String = text.chars().take(MOST).map(escape).collect();
    if text.chars().nth(MOST).is_some() { shown + "…" } else { shown }
}

/// What clap says before its usage and hints, on one line.
fn first_paragraph(error: &clap::Error) -> String {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return "no command given".into();
    }
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.trim_start_matches("error: ").split_whitespace().collect();
    printable(&words.join(" "))
}

fn advice(error: &clap::Error) -> String {
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && error.kind() == clap::error::ErrorKind::UnknownArgument
    {
        if argument == "--threads" {
            return "reading and writing take one thread; run, resume, sweep, check and new have --threads".into();
        }
        if let Some(key) = key_of(argument) {
            return format!(
                "`{key}` is a key of a config: --set {key}=VALUE, with run, resume, sweep, check and eval"
            );
        }
    }
    let suggestion =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
            .into_iter()
            .find_map(|kind| error.get(kind));
    match suggestion {
        Some(ContextValue::String(word)) => format!("did you mean `{word}`?"),
        Some(ContextValue::Strings(words)) if !words.is_empty() => {
            format!("did you mean `{}`?", words[0])
        }
        _ => "`--help` lists the commands, `COMMAND --help` shows one with examples".into(),
    }
}

/// The only key of a config that an option can be meant for, as `train.seed` is for `--seed` and for
/// `--train.seed`.
fn key_of(option: &str) -> Option<String> {
    let word = option.trim_start_matches('-').replace('-', "_");
    let sections = section_keys();
    let all = sections.iter().flat_map(|section| {
        section.keys.iter().map(|key| format!("{}.{}", section.name, key.name))
    });
    let mut meant = all.filter(|key| format!(".{key}").ends_with(&format!(".{word}")));
    meant.next().filter(|_| meant.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_as_rust_writes_it() {
        assert_eq!(printable("a\r\u{1b}[31m\u{202e}\0é"), "a\\r\\u{1b}[31m\\u{202e}\\u{0}é");
        assert_eq!(printable("a\nb\tc"), "a b c");
    }
}
