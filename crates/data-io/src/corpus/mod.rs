//! A text of any length, where it lies: in memory, or in its files.

mod counts;
mod encoded;
mod piece;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) use self::counts::Counts;
pub use self::encoded::{EncodedCorpus, Excerpt, Reader};
use self::piece::Piece;
use crate::{TextError, Tokenizer};

/// Bytes up to which the files of a text are held in memory. Those of a longer one are read from
/// where they are, again and again, so that no text is too long for a machine.
const MAX_HELD: usize = 256 << 20;

/// A text, and what is known of it.
///
/// It is made of pieces, such as files. Each is a document, and a separator cuts it into more: a
/// model forgets where a document starts what it read before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corpus {
    /// In order, none of them empty.
    pieces: Vec<Piece>,
    /// Empty where there is none.
    separator: String,
    entropy: Option<f64>,
}

impl<T: Into<String>> From<T> for Corpus {
    /// One document.
    fn from(text: T) -> Self {
        Self::of_documents([text])
    }
}

impl Corpus {
    /// Documents one after the other.
    pub fn of_documents<T: Into<String>>(documents: impl IntoIterator<Item = T>) -> Self {
        let pieces = documents.into_iter().map(|text| Piece::made(text.into()));
        Self { pieces: pieces.filter(|piece| !piece.is_empty()).collect(), ..Self::default() }
    }

    /// Files one after the other, each a document.
    ///
    /// # Errors
    /// If one cannot be read, or all are empty.
    pub fn of_files(files: Vec<PathBuf>) -> Result<Self, TextError> {
        Self::of_files_held(files, MAX_HELD)
    }

    /// Files that are held in memory if all are no longer than `max_held` bytes.
    fn of_files_held(files: Vec<PathBuf>, max_held: usize) -> Result<Self, TextError> {
        let first = files.first().cloned().unwrap_or_default();
        let mut pieces: Vec<_> = files.into_iter().map(Piece::find).collect::<Result<_, _>>()?;
        if pieces.iter().map(Piece::len).fold(0, usize::saturating_add) <= max_held {
            pieces = pieces.into_iter().map(Piece::hold).collect::<Result<_, _>>()?;
        }
        pieces.retain(|piece| !piece.is_empty());
        if pieces.is_empty() {
            return Err(TextError::Empty { path: first });
        }
        Ok(Self { pieces, ..Self::default() })
    }

    /// The same with documents that start wherever `separator` is; with an empty one nothing is cut.
    ///
    /// Where a piece ends with a separator, the document that opens goes on in the next.
    pub fn separated_by(self, separator: impl Into<String>) -> Self {
        Self { separator: separator.into(), ..self }
    }

    /// The same with what is known of the [`entropy`](Self::entropy).
    pub fn with_entropy(self, entropy: f64) -> Self {
        Self { entropy: Some(entropy), ..self }
    }

    /// Nats per character that the text holds on average, which no model's loss can fall below
    /// other than by luck or by heart. `None` where nobody knows.
    pub fn entropy(&self) -> Option<f64> {
        self.entropy
    }

    /// Hands all of it to `see`, some of it at a time. What is handed over lies in one piece.
    ///
    /// # Errors
    /// If a file cannot be read, has changed, or is not UTF-8.
    pub fn read(&self, mut see: impl FnMut(&str)) -> Result<(), TextError> {
        let mut see = |text: &str, _| {
            see(text);
            Ok(text.len())
        };
        self.pieces.iter().try_for_each(|piece| piece.stream(&mut see))
    }

    /// All of it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn text(&self) -> Result<String, TextError> {
        let mut all = String::new();
        self.read(|text| all.push_str(text))?;
        Ok(all)
    }

    /// Its different characters, and how often each of them occurs.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn characters(&self) -> Result<BTreeMap<char, usize>, TextError> {
        let mut counts = Counts::default();
        self.read(|text| counts.add(text))?;
        Ok(counts.into_map())
    }

    /// The corpus in the symbols of `tokenizer`, none of which spans two documents or two pieces.
    ///
    /// # Errors
    /// As [`read`](Self::read), or on a symbol that the vocabulary does not have.
    pub fn encode(self, tokenizer: Box<dyn Tokenizer>) -> Result<EncodedCorpus, TextError> {
        EncodedCorpus::new(self, tokenizer)
    }

    /// A digest of the text: of the bytes of each of its files, and of nothing about them, such as
    /// their names.
    fn digest(&self) -> Result<String, TextError> {
        let mut hasher = blake3::Hasher::new();
        for piece in &self.pieces {
            hasher.update(&(piece.len() as u64).to_le_bytes());
            piece.stream(&mut |text: &str, _| {
                hasher.update(text.as_bytes());
                Ok(text.len())
            })?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Bytes of text in memory.
    fn held(&self) -> usize {
        self.pieces.iter().map(Piece::held).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::BuildTokenizer;
    use crate::tokenizer::Char;

    #[test]
    fn characters_are_counted_in_order() {
        let text = "añ\u{10ffff}b\0a".to_owned() + &"xyz".repeat(9_999) + "ñ";
        let expected = [
            ('\0', 1),
            ('a', 2),
            ('b', 1),
            ('x', 9_999),
            ('y', 9_999),
            ('z', 9_999),
            ('ñ', 2),
            ('\u{10ffff}', 1),
        ];
        let characters = Corpus::from(text).characters().expect("made");
        assert_eq!(characters.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_text_in_its_files_is_the_same_as_in_memory() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let texts = ["Мой дядя самых честных правил\n".repeat(20_000), "\n".into(), "yes".into()];
        let files: Vec<_> = (0..3).map(|n| directory.path().join(n.to_string())).collect();
        for (file, text) in files.iter().zip(&texts) {
            fs::write(file, text).expect("writable");
        }
        let [held, in_files] = [texts.concat().len(), texts.concat().len() - 1].map(|max_held| {
            let corpus = Corpus::of_files_held(files.clone(), max_held).expect("there");
            assert_eq!(corpus.text().expect("UTF-8"), texts.concat());
            let corpus = corpus.separated_by("\n");
            let tokenizer = Char {}.fit(&corpus).expect("UTF-8");
            corpus.encode(tokenizer).expect("its own text")
        });
        assert!(texts.concat().len() < held.memory(1) as usize);
        assert!(in_files.memory(1) < 40_000, "{}", in_files.memory(1));
        assert_eq!(held.tokenizer().symbols(), in_files.tokenizer().symbols());
        let [held, in_files] = [held, in_files].map(|corpus| {
            let (mut ids, mut starts) = (vec![0; corpus.len()], vec![false; corpus.len()]);
            let mut reader = corpus.excerpt(0..corpus.len()).reader(1);
            reader.read(0, 0, &mut ids, &mut starts).expect("UTF-8");
            (ids, starts)
        });
        assert!(held == in_files);
    }

    #[test]
    fn a_digest_is_of_the_content_and_not_of_names_or_where_it_is() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let digest = |texts: &[&str], prefix: &str, max_held| {
            let file = |(n, text): (usize, &&str)| {
                let path = directory.path().join(format!("{prefix}{n}"));
                fs::write(&path, text).expect("writable");
                path
            };
            let files = texts.iter().enumerate().map(file).collect();
            Corpus::of_files_held(files, max_held).expect("there").digest().expect("UTF-8")
        };
        let first = digest(&["ab", "é"], "x", MAX_HELD);
        assert_eq!(first, digest(&["ab", "é"], "y", MAX_HELD));
        assert_eq!(first, digest(&["ab", "é"], "x", 0));
        for other in [&["ab", "e"][..], &["abé"], &["é", "ab"], &["a", "bé"], &["ab", "é", "é"]]
        {
            assert_ne!(first, digest(other, "x", MAX_HELD), "{other:?}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_found_in_a_long_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("text");
        let check = |start: &str, end: &[u8], expected_byte: u8| {
            let lines = format!("{start}line é\n").repeat(50_000);
            fs::write(&file, [lines.as_bytes(), end].concat()).expect("writable");
            for max_held in [0, MAX_HELD] {
                let corpus = Corpus::of_files_held(vec![file.clone()], max_held).expect("there");
                let error = corpus.characters().expect_err("not UTF-8");
                let TextError::NotUtf8 { line, offset, byte, .. } = error else {
                    panic!("{error}")
                };
                assert_eq!((line, offset, byte), (50_001, lines.len(), expected_byte));
            }
        };
        check("", b"\xffmore", 0xff);
        check("x", b"\xe6\xbc", 0xe6);
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("text");
        let check = |change: fn(&PathBuf), is_expected: fn(&TextError) -> bool| {
            fs::write(&file, "aé".repeat(2000)).expect("writable");
            let corpus = Corpus::of_files_held(vec![file.clone()], 0).expect("there");
            let tokenizer = Char {}.fit(&corpus).expect("UTF-8");
            let corpus = corpus.encode(tokenizer).expect("its own text");
            let mut reader = corpus.excerpt(0..4000).reader(1);
            reader.read(0, 0, &mut [0], &mut [false]).expect("unchanged");
            change(&file);
            let error = reader.read(0, 3999, &mut [0], &mut [false]).expect_err("changed");
            assert!(is_expected(&error), "{error:?}");
            assert_eq!(error.path(), file);
        };
        let is_changed = |error: &TextError| matches!(error, TextError::Changed { .. });
        check(|path| fs::write(path, "a").expect("writable"), is_changed);
        check(|path| fs::write(path, "aé".repeat(2001)).expect("writable"), is_changed);
        check(
            |path| {
                fs::write(path, "éa".repeat(2000)).expect("writable");
                let later = SystemTime::now() + Duration::from_secs(9);
                File::options()
                    .write(true)
                    .open(path)
                    .and_then(|file| file.set_modified(later))
                    .expect("writable");
            },
            is_changed,
        );
        check(
            |path| fs::remove_file(path).expect("there"),
            |error| matches!(error, TextError::Read { .. }),
        );
    }
}
