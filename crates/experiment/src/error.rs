//! Everything that can end a command, with its place, its advice and its exit code.

use std::io;
use std::path::{Path, PathBuf};

use data_io::{FileError, Looks, TextError, Unit, UnknownSymbol};
use registry::{ConfigError, Document, Place};
use rnn_model::InitError;

use crate::checkpoint::file_name;
use crate::config::short;
use crate::memory::in_bytes;
use crate::resume::Change;

/// Why a run, or a command about one, ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process of those that train together has something else than the first one.
    #[error("has another {what} than rank 0")]
    OtherRank {
        /// Which one.
        rank: usize,
        /// What of it differs.
        what: &'static str,
    },
    /// A process of those that train together is not there any more.
    #[error("no answer")]
    NoRank {
        /// Which one.
        rank: usize,
    },
    /// A mistake in a config.
    #[error("{message}")]
    Config {
        /// The config file.
        file: String,
        /// The key or value to change, unless something is missing.
        place: Option<Box<Place>>,
        /// What is wrong.
        message: String,
        /// How to mend it.
        help: Option<String>,
    },
    /// The config file cannot be read.
    #[error("cannot read the config: {source}")]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A text that cannot be trained on.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A text that was named on the command line, and is not there or cannot be read.
    #[error(transparent)]
    NoText(TextError),
    /// A text with fewer characters than a window needs.
    #[error("the {part} text has {chars} {}, {needed} are needed", if *chars == 1 { unit.one } else { unit.many })]
    TooShort {
        /// The file, or what else the text is called.
        place: String,
        /// Training or validation.
        part: &'static str,
        /// Symbols there are.
        chars: usize,
        /// Symbols there must be.
        needed: usize,
        /// Symbols of the whole text.
        whole: usize,
        /// What its symbols are.
        unit: Unit,
    },
    /// A text in which there is nothing to predict.
    #[error("every character of the text is {symbol:?}: there is nothing to predict")]
    OneSymbol {
        /// The file, or what else the text is called.
        place: String,
        /// The only symbol.
        symbol: String,
    },
    /// A run that does not fit into this machine.
    #[error("the run needs {} of memory, the machine has {}", in_bytes(*needed), in_bytes(*available))]
    TooLarge {
        /// The config file.
        file: String,
        /// Bytes needed.
        needed: u128,
        /// Bytes of memory in the machine.
        available: u128,
    },
    /// A run directory that may not be written to.
    #[error("is there already")]
    RunExists {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that is no run's.
    #[error("there is something in it, and it is no run")]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// A run directory that another process is writing to.
    #[error("in use by {}", holder.map_or("another process".into(), |holder| format!("process {holder}")))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The number of the other process, if it is known.
        holder: Option<u32>,
    },
    /// A run that is to go on with another config.
    #[error("not the config of {}: {}", checkpoint.display(), in_words(changes))]
    ConfigChanged {
        /// The checkpoint to go on from.
        checkpoint: PathBuf,
        /// The keys that differ.
        changes: Vec<Change>,
    },
    /// A run that is to go on with a config for which its checkpoint is of no use.
    #[error("does not fit the config: {} ({reason})", in_words(changes))]
    DoesNotFit {
        /// The checkpoint to go on from.
        checkpoint: PathBuf,
        /// The keys that differ.
        changes: Vec<Change>,
        /// What does not fit.
        reason: String,
    },
    /// A run that is to go on with another text.
    #[error("not the text of {}", checkpoint.display())]
    TextChanged {
        /// The file, or what else the text is called.
        place: String,
        /// The checkpoint to go on from.
        checkpoint: PathBuf,
    },
    /// A run with checkpoints, none of which is whole.
    #[error("none of the {checkpoints} checkpoints can be used; the newest, {newest}")]
    AllDamaged {
        /// The directory they are in.
        path: PathBuf,
        /// How many there are.
        checkpoints: usize,
        /// What is wrong with the newest one.
        newest: String,
    },
    /// A file or directory that cannot be written or read.
    #[error("cannot {action}: {source}")]
    Io {
        /// What it is.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A tensor file that cannot be read or written.
    #[error(transparent)]
    Tensors(#[from] FileError),
    /// Initial weights that cannot be had.
    #[error("{}", .0.message)]
    Init(#[from] InitError),
    /// A directory or file without a model of ours in it.
    #[error("{reason}")]
    NoModel {
        /// The run directory or checkpoint.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// No run directory where one is needed.
    #[error("{reason}")]
    NoRun {
        /// What was given for one.
        path: PathBuf,
        /// What it is instead.
        reason: &'static str,
    },
    /// A run that has no checkpoint yet.
    #[error("the run has no checkpoint yet")]
    NoCheckpoint {
        /// The run directory.
        path: PathBuf,
    },
    /// A prime with a character that the model's vocabulary does not have.
    #[error("the model never saw {:?}, character {} of the prime", unknown.symbol, unknown.position)]
    Prime {
        /// The character.
        unknown: UnknownSymbol,
        /// The vocabulary.
        known: Vec<String>,
    },
    /// A text with characters that the model's vocabulary does not have.
    #[error("the model never saw {symbol:?}{}", and_others(others))]
    Unknown {
        /// The file, with line and column of the first one.
        place: String,
        /// The first one.
        symbol: char,
        /// The other characters of the text that it never saw.
        others: Vec<char>,
        /// The vocabulary.
        known: Vec<String>,
    },
    /// A text that a model cannot be judged by: another one than it was trained on, or too little.
    #[error("{message}")]
    WrongText {
        /// The file, or what else the text is called.
        place: String,
        /// What is wrong with it.
        message: String,
        /// How to mend it.
        help: String,
    },
    /// An argument that means nothing here.
    #[error("{message}")]
    Argument {
        /// The argument.
        place: String,
        /// What is wrong with it.
        message: String,
        /// How to mend it.
        help: String,
    },
    /// A value that is no longer finite.
    #[error(
        "{what} is no longer finite (learning rate {learning_rate:?}, gradient norm {grad_norm:?}); {}",
        last_good(*checkpoint)
    )]
    Diverged {
        /// The step at which it was found.
        step: u64,
        /// The loss, the gradient, the weights, or a tensor of the checkpoint.
        what: String,
        /// The learning rate of that step.
        learning_rate: f64,
        /// The L2 norm of the gradient before clipping.
        grad_norm: f64,
        /// The step of the last checkpoint that was written.
        checkpoint: Option<u64>,
    },
}

/// What became of a file or directory when the system refused an `action` on it.
pub(crate) fn failed(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}

fn and_others(others: &[char]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<_> = others.iter().take(SHOWN).map(|other| format!("{other:?}")).collect();
    match (others.len(), others.len().saturating_sub(SHOWN)) {
        (0, _) => String::new(),
        (_, 0) => format!(", nor {}", shown.join(" nor ")),
        (_, more) => {
            format!(", nor {} and {more} other characters of this text", shown.join(" nor "))
        }
    }
}

/// The first few changes.
fn in_words(changes: &[Change]) -> String {
    const MOST: usize = 3;
    let change = |c: &Change| format!("`{}` is {}, and was {}", c.key, c.now, c.then);
    let more = changes.len().saturating_sub(MOST);
    // A part before its keys.
    let (kinds, keys): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.key.ends_with(".kind"));
    let mut words: Vec<_> = kinds.into_iter().chain(keys).take(MOST).map(change).collect();
    words.extend((0 < more).then(|| format!("and {more} more")));
    words.join("; ")
}

fn last_good(checkpoint: Option<u64>) -> String {
    match checkpoint {
        Some(step) => format!("the last good checkpoint is {}", file_name(step)),
        None => "there is no checkpoint".into(),
    }
}

impl Error {
    /// Turns an error's span into a place of `document`.
    pub fn config(error: ConfigError, document: &Document) -> Self {
        Self::Config {
            file: document.name().to_owned(),
            place: error.span.map(|span| Box::new(document.place(&span))),
            message: error.message,
            help: error
                .help
                .or_else(|| Some("`list` shows every key with its default and range".into())),
        }
    }

    /// The exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. }
            | Self::ReadConfig { .. }
            | Self::TooLarge { .. }
            | Self::RunExists { .. }
            | Self::NotARun { .. }
            | Self::ConfigChanged { .. }
            | Self::Argument { .. }
            | Self::Prime { .. } => 2,
            Self::Text(TextError::Read { source, .. }) if !is_missing(source) => 4,
            Self::NoText(TextError::Read { source, .. }) if !is_missing(source) => 4,
            Self::Text(_)
            | Self::NoText(_)
            | Self::TooShort { .. }
            | Self::OneSymbol { .. }
            | Self::Unknown { .. }
            | Self::WrongText { .. }
            | Self::TextChanged { .. } => 3,
            Self::Io { .. } | Self::Tensors(FileError::Write { .. }) => 4,
            Self::Tensors(FileError::Read { source, .. }) if !is_missing(source) => 4,
            Self::Tensors(_)
            | Self::Init(_)
            | Self::NoModel { .. }
            | Self::NoRun { .. }
            | Self::NoCheckpoint { .. }
            | Self::AllDamaged { .. }
            | Self::DoesNotFit { .. } => 5,
            Self::InUse { .. } => 6,
            Self::OtherRank { .. } | Self::NoRank { .. } => 1,
            Self::Diverged { .. } => 7,
        }
    }

    /// What the error is about: a file, with line and column where it has them, a step, an option.
    pub fn place(&self) -> String {
        match self {
            Self::Config { place: Some(place), .. } => place.name.clone(),
            Self::Config { file, place: None, .. } | Self::TooLarge { file, .. } => file.clone(),
            Self::ReadConfig { path, .. }
            | Self::RunExists { path }
            | Self::NotARun { path }
            | Self::InUse { path, .. }
            | Self::AllDamaged { path, .. }
            | Self::Io { path, .. }
            | Self::NoModel { path, .. }
            | Self::NoRun { path, .. }
            | Self::NoCheckpoint { path } => path.display().to_string(),
            Self::Text(TextError::NotUtf8 { path, line, .. }) => {
                format!("{}:{line}", short(path))
            }
            Self::Text(error) | Self::NoText(error) => short(error.path()),
            Self::Tensors(error) => error.path().display().to_string(),
            Self::Init(error) => error.place.clone(),
            Self::Prime { .. } => "--prime".into(),
            Self::Argument { place, .. }
            | Self::WrongText { place, .. }
            | Self::TooShort { place, .. }
            | Self::TextChanged { place, .. }
            | Self::Unknown { place, .. }
            | Self::OneSymbol { place, .. } => place.clone(),
            Self::ConfigChanged { .. } => "config".into(),
            Self::DoesNotFit { checkpoint, .. } => checkpoint.display().to_string(),
            Self::Diverged { step, .. } => format!("step {step}"),
            Self::OtherRank { rank, .. } | Self::NoRank { rank } => format!("rank {rank}"),
        }
    }

    /// How to mend it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Config { help, .. } => return help.clone(),
            Self::ReadConfig { .. } => "give the path of a TOML file, as in configs/karpathy.toml".into(),
            Self::NoText(_) => {
                "give a text file, or a pattern in which * stands for any characters of a name".into()
            }
            Self::Text(TextError::Read { .. }) => {
                "check the path; that of a config leads from its file, and --set data.path=FILE overrides it".into()
            }
            Self::Text(TextError::NoMatch { .. } | TextError::Pattern { .. }) => {
                "data.path is relative to the config file; in it * stands for any characters of a name".into()
            }
            Self::Text(TextError::Empty { .. }) => "put some text into it".into(),
            Self::Text(TextError::Changed { .. }) => {
                "leave a text as it is while it is trained on, or train on a copy of it".into()
            }
            Self::Text(TextError::Unknown { .. }) => {
                "take a text of the model's characters, or train with tokenizer = \"char_byte\"".into()
            }
            Self::Text(TextError::NotUtf8 { looks, .. }) => match looks {
                Looks::Utf16 => "it looks like UTF-16: convert it with `iconv -f UTF-16 -t UTF-8 OLD > NEW`",
                Looks::Binary => "it looks like no text at all: give one that any editor shows, unpacked and exported",
                Looks::Cut => {
                    "it looks like UTF-8 that was cut inside a character: take the whole text, or leave the \
                     rest of the character out with `iconv -c -f UTF-8 -t UTF-8 OLD > NEW`"
                }
                Looks::Encoded => "convert it, as in `iconv -f LATIN1 -t UTF-8 OLD > NEW`",
            }
            .into(),
            Self::TooShort { part: "validation", .. } => {
                "hold more of the text out, or none of it, with data.split".into()
            }
            Self::TooShort { chars, needed, whole, unit, .. } => {
                let split = if *chars < *whole && needed + 2 <= *whole { "change data.split, or " } else { "" };
                format!(
                    "{split}use a longer text, or a lower train.seq_len or train.batch_size: each of the \
                     batch_size places that are read side by side takes seq_len + 2 {}",
                    unit.many
                )
            }
            Self::OneSymbol { .. } => "use a text with at least two different characters".into(),
            Self::TooLarge { .. } => {
                "lower model.hidden_size, model.layers, train.batch_size or train.seq_len".into()
            }
            Self::RunExists { .. } => {
                "go on with it with --resume, choose another --out, or leave it out for a new name".into()
            }
            Self::NotARun { .. } => "choose another --out".into(),
            Self::InUse { .. } => "wait for it to end, or choose another --out".into(),
            Self::OtherRank { .. } => {
                "give every rank the same files, the same options and the same version of this program".into()
            }
            Self::NoRank { .. } => {
                "see what that rank says; a run that had begun goes on with resume, on any number of ranks".into()
            }
            Self::ConfigChanged { .. } => {
                "take the changes back with --set, go on with them with --allow-changed-config, or begin a new \
                 run"
                    .into()
            }
            Self::DoesNotFit { .. } => {
                "a run keeps its kind of optimizer and all that has a tensor, such as the model's sizes: leave \
                 that as it was, or begin a new run"
                    .into()
            }
            Self::TextChanged { .. } => {
                "give the old text with --set data.path=FILE, or go on at the start of the new one with \
                 --allow-changed-text"
                    .into()
            }
            Self::AllDamaged { .. } => {
                "put a good checkpoint back, or begin a new run with another --out".into()
            }
            Self::Io { source, .. } | Self::Tensors(FileError::Write { source, .. }) => {
                match source.kind() {
                    io::ErrorKind::StorageFull => "free some space and run it again".into(),
                    io::ErrorKind::PermissionDenied => "choose a place you may write to".into(),
                    _ => "choose another place".into(),
                }
            }
            Self::Tensors(FileError::Read { .. }) | Self::NoModel { .. } => {
                "give a run directory, such as runs/karpathy, or a .safetensors checkpoint in one".into()
            }
            Self::NoRun { .. } => "give a run directory, such as runs/karpathy".into(),
            Self::NoCheckpoint { .. } => {
                "a run has one when it ends or is stopped, and every checkpoint.every steps".into()
            }
            Self::Tensors(FileError::Foreign { foreign, .. }) => foreign.help.into(),
            Self::Tensors(FileError::Dtype { .. }) => {
                "write the weights as 32-bit floats, as in PyTorch's `tensor.float()`".into()
            }
            Self::Tensors(FileError::TooLarge { .. }) => {
                "end other programs, raise the limit on memory, or take a smaller model".into()
            }
            Self::Tensors(FileError::Digest { .. }) => {
                "the file was changed or damaged after it was written: take another checkpoint".into()
            }
            Self::Tensors(FileError::Format { .. } | FileError::NotFinite { .. }) => {
                "take another checkpoint, or train again".into()
            }
            Self::Unknown { symbol, known, .. }
            | Self::Prime { unknown: UnknownSymbol { symbol, .. }, known } => {
                let nearest = nearest_known(*symbol, known);
                format!("{nearest}; a model trained with data.tokenizer = \"char_byte\" reads every text")
            }
            Self::Argument { help, .. } | Self::WrongText { help, .. } => help.clone(),
            Self::Init(error) => error.help.clone(),
            Self::Diverged { .. } => {
                "lower optimizer.learning_rate, clip harder, as in [[transform]] kind = \"clip_norm\", or \
                 raise the optimizer's eps"
                    .into()
            }
        };
        Some(help)
    }
}

/// "it does know …": the same letter in the other case where the model knows it, or what comes next to
/// it in writing, such as a straight quotation mark for a curved one; else a few that it knows.
pub fn nearest_known(symbol: char, known: &[String]) -> String {
    let lower = symbol.to_lowercase().to_string();
    let other_case = |known: &&String| !known.is_empty() && known.to_lowercase() == lower;
    if let Some(known) = known.iter().find(other_case) {
        return format!("it does know {known:?}");
    }
    let is_known =
        |text: &String| !text.is_empty() && text.chars().all(|c| known.contains(&c.to_string()));
    let plain = in_ascii(symbol);
    if let Some(plain) = [plain.clone(), plain.to_lowercase()].into_iter().find(is_known) {
        return format!("it does know {plain:?}");
    }
    let is_like = |known: &&String| {
        let mut chars = known.chars();
        let only = chars.next().filter(|_| chars.next().is_none());
        only.is_some_and(|known| in_ascii(known) == symbol.to_string())
    };
    if let Some(known) = known.iter().find(is_like) {
        return format!("it does know {known:?}");
    }
    // Those of its script, most likely.
    let distance = |known: &char| (*known as u32).abs_diff(symbol as u32);
    let mut near: Vec<char> = known.iter().filter_map(|known| known.chars().next()).collect();
    near.retain(|known| !known.is_whitespace());
    near.sort_by_key(distance);
    near.truncate(60);
    near.sort();
    let such_as = if near.len() == known.len() { ":" } else { ", such as" };
    format!("it knows {} characters{such_as} {}", known.len(), String::from_iter(near))
}

/// How a character is written in ASCII; empty where it is not. What a letter of another script sounds
/// like is not how it is written, nor is what a sign stands for.
fn in_ascii(symbol: char) -> String {
    let is_latin = matches!(symbol, '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{fb00}'..='\u{fb06}' | '\u{ff21}'..='\u{ff5a}');
    match deunicode::deunicode_char(symbol) {
        Some(plain) if symbol.is_alphanumeric() && is_latin => plain.to_owned(),
        Some(plain) if !symbol.is_alphanumeric() && !plain.contains(char::is_alphanumeric) => {
            plain.to_owned()
        }
        _ => String::new(),
    }
}

/// Whether there is no such file, rather than one that cannot be read.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_others_that_a_model_never_saw_are_named() {
        let check = |others: &str, expected: &str| {
            assert_eq!(and_others(&others.chars().collect::<Vec<_>>()), expected);
        };
        check("", "");
        check("a", ", nor 'a'");
        check("ab", ", nor 'a' nor 'b'");
        let ten =
            ", nor '0' nor '1' nor '2' nor '3' nor '4' nor '5' nor '6' nor '7' nor '8' nor '9'";
        check("0123456789", ten);
        check("0123456789ab", &format!("{ten} and 2 other characters of this text"));
    }

    #[test]
    fn the_nearest_known_character_is_found() {
        let check = |symbol, known: &str, expected: &str| {
            let known: Vec<_> = known.chars().map(String::from).collect();
            assert_eq!(nearest_known(symbol, &known), expected, "{symbol:?}");
        };
        check('q', "aQ", "it does know \"Q\"");
        check('Ж', "жa", "it does know \"ж\"");
        check('é', "abe", "it does know \"e\"");
        check('É', "abe", "it does know \"e\"");
        check('“', "a\"", "it does know \"\\\"\"");
        check('–', "a-", "it does know \"-\"");
        check('…', "a.", "it does know \"...\"");
        check('\u{a0}', "a b", "it does know \" \"");
        check('"', "a”", "it does know \"”\"");
        check('€', "ab\n", "it knows 3 characters, such as ab");
        check('§', "sa", "it knows 2 characters: as");
        check('漢', "字b", "it knows 2 characters: b字");
        check('漢', "Han", "it knows 3 characters: Han");
        let many: String = ('a'..='z').chain('α'..='ω').chain('а'..='я').collect();
        check('你', &many, &format!("it knows 83 characters, such as {}", &many[23..]));
        check('б', "ab", "it knows 2 characters: ab");
        check('ｂ', "ab", "it does know \"b\"");
        check('ﬁ', "fi", "it does know \"fi\"");
    }
}
