//! Sources of text, one file each: files, and processes whose entropy is known.
//!
//! No model predicts a text better than its entropy rate, so a made text says how good a model is
//! in a way that no file can.

mod copy;
mod dyck;
mod markov;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use registry::range::Size;
use registry::{Conflict, Entry, Part, Registry};
use tensor_core::rng::{Rng, uniform};

pub use self::copy::Copy;
pub use self::dyck::Dyck;
pub use self::markov::Markov;
pub use self::text::{Paths, Text};
use crate::{Corpus, UnknownSymbol};

/// Where a text comes from: what `data.kind` names.
pub trait Source: Send + Sync {
    /// Finds or makes the text, the same one each time.
    ///
    /// # Errors
    /// If there is no text.
    fn read(&self) -> Result<Corpus, TextError>;

    /// What every document starts with; empty where there is nothing they have in common.
    fn opening(&self) -> &str {
        ""
    }
}

/// The entry of source `P`.
pub fn entry<P: Part + Source>() -> Entry<dyn Source> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every source this crate offers, by the name a config uses.
pub fn builtin_sources() -> Registry<dyn Source> {
    Registry::new("source", [entry::<Copy>(), entry::<Dyck>(), entry::<Markov>(), entry::<Text>()])
}

/// A text that cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error("cannot read the text: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pattern that no file matches.
    #[error("no file matches this pattern")]
    NoMatch {
        /// The pattern.
        path: PathBuf,
    },
    /// Something that is neither a file nor a pattern.
    #[error("not a pattern of file names: {reason}")]
    Pattern {
        /// The would-be pattern.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A byte that no UTF-8 text has there.
    #[error("not UTF-8: byte 0x{byte:02x} at offset {offset}")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line it is in, from 1.
        line: usize,
        /// Bytes before it.
        offset: usize,
        /// Its value.
        byte: u8,
        /// What the file seems to be instead.
        looks: Looks,
    },
    /// Nothing there.
    #[error("the text is empty")]
    Empty {
        /// The file, the first of several.
        path: PathBuf,
    },
    /// A file that is no longer what was read of it at first.
    #[error("the text was changed while it was in use")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A symbol that the vocabulary does not have.
    #[error("{unknown}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The symbol, and where it is in the file.
        unknown: UnknownSymbol,
    },
}

/// What a file that is not UTF-8 seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// It has the mark of UTF-16.
    Utf16,
    /// It has bytes that no text has.
    Binary,
    /// It is UTF-8 but for a part of a character at its start or its end.
    Cut,
    /// Text in another encoding.
    Encoded,
}

impl Looks {
    /// What a file seems to be that starts with `start`, and in which the first byte that is not UTF-8
    /// belongs to a character that the end cuts off, or does not.
    pub fn of(start: &[u8], ends_in_character: bool) -> Self {
        let is_inner = |byte: &u8| (0x80..0xc0).contains(byte);
        let cut = start.iter().take(3).take_while(|byte| is_inner(byte)).count();
        let starts_in_character = cut != 0
            && match std::str::from_utf8(&start[cut..]) {
                Ok(rest) => !rest.is_ascii(),
                Err(error) => error.error_len().is_none(),
            };
        match start {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Self::Utf16,
            _ if start.contains(&0) => Self::Binary,
            _ if ends_in_character || starts_in_character => Self::Cut,
            _ => Self::Encoded,
        }
    }
}

impl TextError {
    /// The file or pattern.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::NoMatch { path }
            | Self::Pattern { path, .. }
            | Self::NotUtf8 { path, .. }
            | Self::Empty { path }
            | Self::Changed { path }
            | Self::Unknown { path, .. } => path,
        }
    }
}

/// The `index`-th symbol of a made text.
fn letter(index: usize) -> char {
    char::from(b'a' + index as u8)
}

/// Refuses a number of symbols for which there are no letters, or nothing to predict.
fn check_letters(symbols: Size) -> Result<(), Conflict> {
    if (2..=26).contains(&symbols.get()) {
        return Ok(());
    }
    let message = format!("must be from 2 to 26, found {}", symbols.get());
    Err(Conflict { key: "symbols", message, help: "the symbols are letters from a to z".into() })
}

/// A number below `n`, each equally likely.
fn below(rng: &mut Rng, n: usize) -> usize {
    (uniform(rng) * n as f64) as usize
}

/// Entropy of a distribution in nats, `-Σ p ln p`.
fn entropy(probabilities: &[f64]) -> f64 {
    let terms = probabilities.iter().filter(|p| 0.0 < **p).map(|p| p * libm::log(*p));
    0.0 - terms.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use registry::{Chosen, Document};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;

    pub(super) fn choose(config: &str) -> Result<Chosen<dyn Source>, String> {
        let mut registry = builtin_sources();
        registry.register(entry::<Alphabet>());
        let document = Document::new("config", config, [""; 0]);
        let part = document.parse().and_then(|mut root| root.part("data", "text"));
        part.and_then(|part| registry.choose(part)).map_err(|error| error.message)
    }

    /// A source of another crate.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    struct Alphabet {}

    impl Part for Alphabet {
        const NAME: &'static str = "alphabet";
        const SUMMARY: &'static str = "the letters in order";
        const SOURCE: &'static str = "this test";
    }

    impl Source for Alphabet {
        fn read(&self) -> Result<Corpus, TextError> {
            Ok(Corpus::from(('a'..='z').collect::<String>()).with_entropy(0.0))
        }
    }

    #[test]
    fn what_is_not_utf8_is_told_apart() {
        let check = |bytes: &[u8], expected: Looks| {
            let error = std::str::from_utf8(bytes).expect_err("not UTF-8");
            assert_eq!(Looks::of(bytes, error.error_len().is_none()), expected, "{bytes:x?}");
        };
        check(b"\xff\xfea\0", Looks::Utf16);
        check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Looks::Binary);
        check(b"na\xefve", Looks::Encoded);
        check(b"\xabbien\xbb", Looks::Encoded);
        check(b"\xabbien", Looks::Encoded);
        let text = "漢字";
        check(&text.as_bytes()[..5], Looks::Cut);
        check(&text.as_bytes()[1..], Looks::Cut);
        check(&text.as_bytes()[1..5], Looks::Cut);
    }

    #[test]
    fn a_source_from_outside_is_chosen_by_its_name() {
        let corpus = choose("data.kind = \"alphabet\"").expect("registered").read();
        assert_eq!(corpus.expect("always").text().expect("made").len(), 26);
    }

    #[test]
    fn every_made_text_repeats_itself_and_changes_with_its_seed() {
        for kind in ["copy", "dyck", "markov"] {
            let read = |length: usize, seed: u64| {
                let keys = format!("kind = \"{kind}\", length = {length}, seed = {seed}");
                let source = choose(&format!("data = {{ {keys} }}")).expect("valid");
                source.read().expect("made without files")
            };
            let corpus = read(5000, 1);
            assert_eq!(corpus, read(5000, 1), "{kind}");
            assert_ne!(corpus, read(5000, 2), "{kind}");
            let text = |corpus: &Corpus| corpus.text().expect("made");
            assert_eq!(text(&corpus).len(), 5000, "{kind}");
            assert_eq!(text(&corpus)[..3000], text(&read(3000, 1)), "{kind}");
            assert_eq!(text(&read(1, 1)), text(&corpus)[..1], "{kind}");
            let largest = (text(&corpus).len() as f64).ln();
            let entropy = corpus.entropy().expect("known");
            assert!((0.0..largest).contains(&entropy), "{kind}");
        }
    }

    #[test]
    fn made_texts_are_the_same_everywhere_and_forever() {
        let check = |kind: &str, begins: &str, entropy: f64| {
            let source = choose(&format!("data = {{ kind = \"{kind}\", length = 60 }}"));
            let corpus = source.expect("valid").read().expect("made without files");
            let text = corpus.text().expect("made");
            assert_eq!((text.as_str(), corpus.entropy()), (begins, Some(entropy)), "{kind}");
        };
        check(
            "copy",
            "aabdfbcded....................aabdfbcded\nheffecehge.........",
            0.5071808638243502,
        );
        check(
            "dyck",
            "(()([[]]))[][]()()([][((())([[]()]))[()()]])([()[[]((([()])(",
            0.9530773732699248,
        );
        check(
            "markov",
            "hdbcgheadfcdehhegehhdbhaefggfhfaeghegheghcafgghcadhegeeahege",
            1.4506087427131136,
        );
    }

    #[test]
    fn keys_out_of_their_range_are_refused() {
        let check = |keys: &str, expected: &str| {
            let found = choose(&format!("data = {{ {keys} }}")).map(|_| ()).expect_err("refused");
            assert_eq!(found, expected);
        };
        check("kind = 'copy', symbols = 27", "`data.symbols` must be from 2 to 26, found 27");
        check("kind = 'markov', symbols = 1", "`data.symbols` must be from 2 to 26, found 1");
        check(
            "kind = 'markov', symbols = 4, order = 6",
            "`data.order` makes 4^6 contexts, and 1024 are the most",
        );
        check(
            "kind = 'markov', order = 1000000",
            "`data.order` makes 8^1000000 contexts, and 1024 are the most",
        );
        check("kind = 'dyck', kinds = 5", "`data.kinds` must be from 1 to 4, found 5");
        check(
            "kind = 'dyck', p_open = 1",
            "`data.p_open` must be at least 0 and less than 1, found 1",
        );
        check("kind = 'text'", "`data.path` is missing");
        check("path = 3", "`data.path` must be a path or an array of paths, found 3");
        check("path = []", "`data.path` must be a path or an array of paths, found length 0");
    }
}
