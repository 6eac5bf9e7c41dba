//! Text files, one or many.

use std::fmt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Source, TextError};
use crate::Corpus;

/// Keys of `text`.
///
/// Each file is a document. A separator cuts files into more of them, and is the first thing in the
/// document it opens: a model that starts from nothing is given the separator to read, as the `.`
/// around makemore's names, and predicting the next separator is how it ends a document.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Text {
    /// the text file, a pattern such as "texts/*.txt", or an array of those
    pub path: Paths,
    /// text that opens a document, at which the state is zeroed, such as "\n"; empty for none
    #[serde(default)]
    pub separator: String,
}

impl Part for Text {
    const NAME: &'static str = "text";
    const SUMMARY: &'static str = "text files, one after the other";
    const SOURCE: &'static str = "char-rnn, Karpathy 2015";

    fn check(&self) -> Result<(), Conflict> {
        if self.path.as_slice().iter().all(|path| !path.is_empty()) {
            return Ok(());
        }
        let help = "name a file, as in path = \"my.txt\"".to_owned();
        Err(Conflict { key: "path", message: "is empty".into(), help })
    }
}

impl Source for Text {
    fn read(&self) -> Result<Corpus, TextError> {
        Ok(Corpus::of_files(self.path.files()?)?.separated_by(&*self.separator))
    }

    fn opening(&self) -> &str {
        &self.separator
    }
}

/// One path or several, each of which may be a pattern.
///
/// In a pattern `*` stands for any characters of a name, `?` for one, `[ab]` for one of those, and
/// `**` for any directories; hidden files are left out. What is there under the very name given is
/// meant literally, so a file may be called `a[1].txt`. The files of a pattern are in the order of
/// their paths, byte by byte and component by component, the patterns in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Paths {
    /// A path or pattern.
    One(#[schemars(length(min = 1))] String),
    /// Several; at least one.
    Many(#[schemars(length(min = 1), inner(length(min = 1)))] Vec<String>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::One(String::new())
    }
}

impl Paths {
    /// The paths and patterns in order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }

    /// The same with another path for each.
    pub fn map(&self, mut map: impl FnMut(&str) -> String) -> Self {
        match self {
            Self::One(path) => Self::One(map(path)),
            Self::Many(paths) => Self::Many(paths.iter().map(|path| map(path)).collect()),
        }
    }

    /// The files they stand for.
    ///
    /// # Errors
    /// If a pattern matches nothing, or is none.
    pub fn files(&self) -> Result<Vec<PathBuf>, TextError> {
        let files: Vec<_> =
            self.as_slice().iter().map(|path| files_of(path)).collect::<Result<_, _>>()?;
        Ok(files.concat())
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        // An untagged enum would say no more than that nothing fits.
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or an array of paths")
            }
            fn visit_str<E>(self, path: &str) -> Result<Paths, E> {
                Ok(Paths::One(path.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = items.next_element()? {
                    paths.push(path);
                }
                if paths.is_empty() {
                    return Err(A::Error::invalid_length(0, &self));
                }
                Ok(Paths::Many(paths))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

fn files_of(path: &str) -> Result<Vec<PathBuf>, TextError> {
    let whole = Path::new(path);
    if !path.contains(['*', '?', '[']) || whole.exists() {
        return Ok(vec![whole.to_owned()]);
    }
    // Directories that are there are meant literally: nobody chose their names for this pattern.
    let (mut directory, mut rest) = (PathBuf::new(), whole.components());
    while let Some(name) = rest.clone().next()
        && directory.join(name).is_dir()
    {
        directory.push(name);
        rest.next();
    }
    let directory = Pattern::escape(&directory.to_string_lossy());
    let pattern = Path::new(&directory).join(rest.as_path());

    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let matches = glob_with(&pattern.to_string_lossy(), options)
        .map_err(|error| TextError::Pattern { path: whole.to_owned(), reason: error.msg })?;
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|error| TextError::Read {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if found.is_file() {
            files.push(found);
        }
    }
    if files.is_empty() {
        return Err(TextError::NoMatch { path: whole.to_owned() });
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::Looks;

    fn directory(files: &[(&str, &[u8])]) -> TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("in the directory")).expect("writable");
            fs::write(path, content).expect("writable");
        }
        directory
    }

    fn read(directory: &TempDir, paths: &[&str]) -> Result<Corpus, TextError> {
        let path = Paths::Many(paths.iter().map(ToString::to_string).collect());
        let path = path.map(|path| directory.path().join(path).display().to_string());
        Text { path, separator: String::new() }.read()
    }

    #[test]
    fn files_are_in_the_order_given_and_sorted_within_a_pattern() {
        let directory = directory(&[
            ("t/b.txt", b"B"),
            ("t/a.txt", b"A"),
            ("t/sub/c.txt", b"C"),
            ("t/.hidden.txt", b"H"),
            ("t/d.md", b"D"),
            ("t/t.txt", b"T"),
            ("t/x.txt/inside", b"I"),
            ("e.txt", "É".as_bytes()),
        ]);
        let check = |paths: &[&str], expected: &str| {
            let corpus = read(&directory, paths).expect("readable");
            assert_eq!(corpus.text().expect("UTF-8"), expected, "{paths:?}");
        };
        check(&["e.txt"], "É");
        check(&["t/*.txt"], "ABT");
        check(&["t/*"], "ABDT");
        check(&["t/**/*.txt"], "ABCT");
        check(&["t/[b-d].*", "e.txt", "t/?.txt"], "BDÉABT");
    }

    #[test]
    fn a_name_that_is_there_is_no_pattern() {
        let directory = directory(&[
            ("a[1].txt", b"bracket"),
            ("a1.txt", b"one"),
            ("[x]*/n1.txt", b"in "),
            ("[x]*/n2.txt", b"brackets"),
            ("xx/n3.txt", b"no"),
        ]);
        let check = |path: &str, expected: &str| {
            let text = read(&directory, &[path]).and_then(|corpus| corpus.text());
            assert_eq!(text.expect("there"), expected, "{path}");
        };
        check("a[1].txt", "bracket");
        check("[x]*/n?.txt", "in brackets");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = directory(&[
            ("good.txt", b"good"),
            ("latin1.txt", b"line\nna\xefve"),
            ("utf16.txt", b"\xff\xfea\0"),
            ("empty.txt", b""),
            ("empty2.txt", b""),
        ]);
        let check = |paths: &[&str], name: &str, expected: &str| {
            let text = read(&directory, paths).and_then(|corpus| corpus.text());
            let error = text.expect_err("unreadable");
            assert_eq!(error.path(), directory.path().join(name), "{paths:?}");
            let error = error.to_string();
            assert!(error.starts_with(expected), "{paths:?}: {error}");
        };
        check(&["good.txt", "none.txt"], "none.txt", "cannot read the text: ");
        check(&["good.txt", "n*.md"], "n*.md", "no file matches this pattern");
        check(&["gone/*.txt"], "gone/*.txt", "no file matches this pattern");
        check(&["a***"], "a***", "not a pattern of file names: wildcards are either regular");
        check(&["g*.txt", "l*.txt"], "latin1.txt", "not UTF-8: byte 0xef at offset 7");
        check(&["utf16.txt"], "utf16.txt", "not UTF-8: byte 0xff at offset 0");
        check(&["empty2.txt"], "empty2.txt", "the text is empty");
        check(&["empty*.txt"], "empty.txt", "the text is empty");

        let corpus = read(&directory, &["empty.txt", "good.txt"]).expect("some");
        assert_eq!(corpus.text().expect("UTF-8"), "good");

        let error = |path: &str| read(&directory, &[path]).and_then(|corpus| corpus.text());
        let latin1 = error("latin1.txt").expect_err("not UTF-8");
        assert!(matches!(latin1, TextError::NotUtf8 { line: 2, looks: Looks::Encoded, .. }));
        let utf16 = error("utf16.txt").expect_err("not UTF-8");
        assert!(matches!(utf16, TextError::NotUtf8 { line: 1, looks: Looks::Utf16, .. }));
    }
}
