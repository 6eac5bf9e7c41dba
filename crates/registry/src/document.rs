//! The text of a config together with the overrides of a command line.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::{ConfigError, Section};

const OVERRIDE_HELP: &str = "an override is KEY=VALUE, as in `--set optimizer.learning_rate=0.01`";
/// Segments of an override's key; the parser has the same limit, and for the same reason: tables in
/// tables are walked and dropped by recursion.
const MAX_SEGMENTS: usize = 80;

/// A config file and the `KEY=VALUE` overrides laid over it.
///
/// Spans count bytes as if file and overrides were written one after the other with a byte between
/// them, so one number points into any of them, and after the last byte of each.
#[derive(Clone, Debug)]
pub struct Document {
    file: Piece,
    overrides: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    name: String,
    start: usize,
    text: String,
    /// What the TOML parser reads. For an override that is `v=VALUE`, after so many blanks that
    /// the parser's spans come out right.
    toml: String,
}

/// A place in a document, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `FILE:LINE:COLUMN`, or the override's first line.
    pub name: String,
    /// Number of the line from 1; `None` for an override.
    pub line: Option<usize>,
    /// The text of that line, without its end.
    pub text: String,
    /// Where in `text` the fault lies, in bytes on character boundaries.
    pub marked: Range<usize>,
}

impl Document {
    /// A file's name and text, and overrides as `KEY=VALUE`. A value that is a bare word instead of
    /// TOML is a string.
    pub fn new(
        name: impl Into<String>,
        text: impl Into<String>,
        overrides: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let text: String = text.into();
        // A byte order mark is no part of the first line, neither for the parser nor for a reader.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let file = Piece { name: name.into(), start: 0, toml: text.clone(), text };
        let mut start = file.text.len() + 1;
        let overrides = overrides
            .into_iter()
            .map(|text| {
                let text = text.into();
                let value_at = text.find('=').unwrap_or(text.len());
                let blanks = " ".repeat(start + value_at - 1);
                let piece = Piece {
                    name: format!("--set {}", text.lines().next().unwrap_or_default()),
                    start,
                    toml: format!("{blanks}v{}", &text[value_at..]),
                    text,
                };
                start += piece.text.len() + 1;
                piece
            })
            .collect();
        Self { file, overrides }
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Parses file and overrides, and lays the latter over the former in their order.
    ///
    /// # Errors
    /// Where a piece is not TOML, or an override leads through something that is not a table.
    pub fn parse(&self) -> Result<Section<'_>, ConfigError> {
        let table = DeTable::parse(&self.file.toml).map_err(|error| {
            ConfigError { help: None, ..syntax(&error) }
                .with_help("a config is TOML: `key = value` lines under `[section]` headers")
        })?;
        let mut root = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        for piece in &self.overrides {
            let path = piece.override_path()?;
            set(&mut root, &path, piece.override_value()?)?;
        }
        match root.into_inner() {
            DeValue::Table(table) => Ok(Section::root(table, self.file.text.len())),
            _ => unreachable!("an override has a path, so it never replaces the root"),
        }
    }

    /// Finds the line and column of a span.
    pub fn place(&self, span: &Range<usize>) -> Place {
        let override_ = self.overrides.iter().rfind(|piece| piece.start <= span.start);
        let piece = override_.unwrap_or(&self.file);
        let text = &piece.text;
        let start = text.floor_char_boundary(span.start - piece.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line_end = line_start + text[line_start..line_end].trim_end_matches('\r').len();
        let start = start.min(line_end);
        let end = text.ceil_char_boundary(span.end.saturating_sub(piece.start)).min(line_end);
        let line = text[..start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        Place {
            name: match override_ {
                None => format!("{}:{line}:{column}", piece.name),
                Some(_) => piece.name.clone(),
            },
            line: override_.is_none().then_some(line),
            text: text[line_start..line_end].to_owned(),
            marked: start - line_start..end.max(start) - line_start,
        }
    }
}

impl Piece {
    /// The segments of an override's dotted key.
    fn override_path(&self) -> Result<Vec<Spanned<DeString<'_>>>, ConfigError> {
        let whole = self.start..self.start + self.text.len();
        let Some((key, _)) = self.text.split_once('=') else {
            return Err(ConfigError::new("an override without `=`", whole).with_help(OVERRIDE_HELP));
        };
        if MAX_SEGMENTS < key.split('.').count() {
            return Err(ConfigError::new("a key with too many segments", whole)
                .with_help(format!("{MAX_SEGMENTS} are the most")));
        }
        let mut start = self.start;
        key.split('.')
            .map(|segment| {
                let span = start..start + segment.len();
                start = span.end + 1;
                let word = segment.trim();
                if word.is_empty()
                    || word.contains(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c))
                {
                    let message = format!("{key:?} is no key");
                    return Err(ConfigError::new(message, whole.clone()).with_help(OVERRIDE_HELP));
                }
                Ok(Spanned::new(span, Cow::Borrowed(word)))
            })
            .collect()
    }

    /// An override's value: TOML if it parses as that, else the bare word as a string.
    fn override_value(&self) -> Result<Spanned<DeValue<'_>>, ConfigError> {
        let value_at = self.text.find('=').map_or(self.text.len(), |at| at + 1);
        let span = self.start + value_at..self.start + self.text.len();
        let word = self.text[value_at..].trim();
        match DeTable::parse(&self.toml).map(|table| table.into_inner()) {
            Ok(mut table) if table.len() == 1 => {
                Ok(table.remove("v").expect("the key was written here"))
            }
            Ok(_) => {
                Err(ConfigError::new("an override sets one value", span).with_help(OVERRIDE_HELP))
            }
            Err(_) if is_bare_word(word) => {
                Ok(Spanned::new(span, DeValue::String(Cow::Borrowed(word))))
            }
            Err(_) if word.is_empty() => {
                Err(ConfigError::new("the value is missing", span).with_help(OVERRIDE_HELP))
            }
            Err(error) => {
                Err(ConfigError { span: Some(span), ..syntax(&error) }.with_help(OVERRIDE_HELP))
            }
        }
    }
}

fn is_bare_word(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| "\"'[]{}#,=".contains(c) || c.is_control())
}

fn syntax(error: &toml::de::Error) -> ConfigError {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    ConfigError { message, span: error.span(), help: None }
}

/// Replaces what stands at `path`, adding tables on the way where there is nothing yet.
fn set<'d>(
    node: &mut Spanned<DeValue<'d>>,
    path: &[Spanned<DeString<'d>>],
    value: Spanned<DeValue<'d>>,
) -> Result<(), ConfigError> {
    let Some((key, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    match node.get_mut() {
        DeValue::Table(table) => {
            let empty = || Spanned::new(key.span(), DeValue::Table(DeTable::new()));
            set(table.entry(key.clone()).or_insert_with(empty), rest, value)
        }
        DeValue::Array(items) => {
            let len = items.len();
            let index = key.get_ref().parse::<usize>().ok();
            match index.and_then(|index| items.get_mut(index)) {
                Some(item) => set(item, rest, value),
                None => {
                    let message = format!("`{}` is no index into {len} entries", key.get_ref());
                    Err(ConfigError::new(message, key.span())
                        .with_help("entries count from 0, as in --set transform.0.limit=1"))
                }
            }
        }
        // `model.init.std=0.1` over `init = "normal"`: the name becomes the table's `kind`.
        DeValue::String(_) => {
            let name =
                std::mem::replace(node, Spanned::new(key.span(), DeValue::Table(DeTable::new())));
            if let DeValue::Table(table) = node.get_mut() {
                table.insert(Spanned::new(name.span(), Cow::Borrowed("kind")), name);
            }
            set(node, path, value)
        }
        other => {
            let message = format!("`{}` leads into a value: {}", key.get_ref(), other.type_str());
            Err(ConfigError::new(message, key.span()).with_help("only tables have keys"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "[a]\nb = 1\nc = \"x\"\n[[t]]\nk = 1\n[[t]]\nk = 2\n";

    fn root(overrides: &[&str]) -> Result<toml::Table, String> {
        let document = Document::new("f.toml", FILE, overrides.iter().copied());
        let section = document.parse().map_err(|error| error.message)?;
        Ok(section.parse_any().expect("a table of anything"))
    }

    #[track_caller]
    fn check(overrides: &[&str], expected: &str) {
        let expected: toml::Table = expected.parse().expect("valid TOML");
        assert_eq!(root(overrides), Ok(expected));
    }

    #[test]
    fn an_override_replaces_what_stands_at_its_key() {
        let t = "[[t]]\nk = 1\n[[t]]\nk = 2\n";
        check(&["a.b=2.5"], &format!("[a]\nb = 2.5\nc = \"x\"\n{t}"));
        check(&["a.b=word", "a.b=[1, 2]"], &format!("[a]\nb = [1, 2]\nc = \"x\"\n{t}"));
        check(&["a={z=nan}", "a.z=9"], &format!("[a]\nz = 9\n{t}"));
        check(&["n.e.w=path/to/file.txt"], &format!("{FILE}[n.e]\nw = \"path/to/file.txt\""));
        check(&["t.1.k=5"], "[a]\nb = 1\nc = \"x\"\n[[t]]\nk = 1\n[[t]]\nk = 5\n");
        check(&["a.c.std=1"], &format!("[a]\nb = 1\nc = {{ kind = \"x\", std = 1 }}\n{t}"));
    }

    #[test]
    fn a_malformed_override_is_refused() {
        let check = |text, expected: &str| assert_eq!(root(&[text]), Err(expected.into()));
        check("a.b", "an override without `=`");
        check("=1", "\"\" is no key");
        check("a..b=1", "\"a..b\" is no key");
        check("a.b=1\nc=2", "an override sets one value");
        check("t.2.k=1", "`2` is no index into 2 entries");
        check("a.b.c=1", "`c` leads into a value: integer");
        check(&format!("{}a=1", "a.".repeat(1_000_000)), "a key with too many segments");
        assert!(root(&["a.b=[1,"]).is_err());
        assert!(root(&["a.b="]).is_err());
    }

    #[test]
    fn a_span_becomes_a_place_in_the_file_or_an_override() {
        let document = Document::new("f.toml", "a = 1\nb = \"é\" # x\n", ["k.l=word"]);
        let place = document.place(&(10..14));
        assert_eq!((place.name.as_str(), place.line), ("f.toml:2:5", Some(2)));
        assert_eq!(&place.text[place.marked], "\"é\"");

        let section = document.parse().expect("valid");
        let value = section.span_of(&["k", "l"]).expect("set");
        let place = document.place(&value);
        assert_eq!((place.name.as_str(), place.line), ("--set k.l=word", None));
        assert_eq!(&place.text[place.marked], "word");
    }

    #[track_caller]
    fn check_error(text: &str, overrides: &[&str], expected: &str) {
        let document = Document::new("f", text, overrides.iter().copied());
        let error = document.parse().expect_err("malformed");
        let found = ConfigError { help: None, ..error }.describe(&document);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_fault_at_the_end_of_a_piece_is_that_pieces() {
        check_error("[a", &["b=1"], "f:1:3 unclosed table, expected `]`");
        check_error("", &["", "b=1"], "--set  an override without `=`");
        check_error("", &["b=1", "c"], "--set c an override without `=`");
        check_error("a = 1\n[b", &[], "f:2:3 unclosed table, expected `]`");
    }

    #[test]
    fn a_byte_order_mark_and_line_ends_are_not_shown() {
        check_error("\u{feff}[a", &["b=1"], "f:1:3 unclosed table, expected `]`");
        let document = Document::new("f", "é = 1\r\nb = 2\r\n", ["a=1\nb"]);
        let place = document.place(&(6..8));
        assert_eq!((place.text.as_str(), place.marked), ("é = 1", 6..6));
        let place = document.place(&(8..99));
        assert_eq!((place.text.as_str(), place.marked), ("b = 2", 0..5));
        assert_eq!(document.place(&(16..17)).name, "--set a=1");
    }

    #[test]
    fn an_override_of_a_long_file_has_the_right_span() {
        let text = "# a comment\n".repeat(20_000);
        let document = Document::new("f", text.clone(), ["a=[1, 2"]);
        let error = document.parse().expect_err("malformed");
        assert_eq!(document.place(&error.span.expect("there")).text, "a=[1, 2");
        let document = Document::new("f", text, ["k=[1, 2]", "k='é'"]);
        let mut root = document.parse().expect("valid");
        let place = document.place(&root.span_of(&["k"]).expect("set"));
        assert_eq!(&place.text[place.marked], "'é'");
        assert_eq!(root.value::<String>("k"), Ok(Some("é".into())));
    }

    /// Text that comes close to TOML more often than arbitrary text does.
    fn nearly_toml() -> impl Strategy<Value = String> {
        let words = [
            "[",
            "]",
            "[[",
            "]]",
            "=",
            "=",
            ".",
            ".",
            "a",
            "b",
            "kind",
            "0",
            "1",
            "\"",
            "'",
            "\"\"\"",
            "'''",
            "\n",
            "\n",
            "\r\n",
            "\r",
            " ",
            "\t",
            "#",
            "{",
            "}",
            ",",
            "-",
            "+",
            "nan",
            "inf",
            "1e400",
            "0x",
            "_",
            "true",
            "1979-05-27",
            "T00:00",
            "\\u00e",
            "\\",
            "\0",
            "é",
            "𝕏",
            "\u{feff}",
            "e\u{301}",
            "99999999999999999999",
            "a.b = 1\n",
            "[a]\n",
            "[[t]]\n",
            "kind = \"x\"\n",
        ];
        let words = prop::sample::select(words.to_vec());
        prop_oneof![
            prop::collection::vec(words, 0..30).prop_map(|words| words.concat()),
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(4096)))]

        #[test]
        fn no_text_and_no_override_panics(
            text in nearly_toml(),
            overrides in prop::collection::vec(nearly_toml(), 0..4),
            (start, len) in (0_usize..200, 0_usize..50),
        ) {
            let document = Document::new("f", text, overrides);
            let show = |span: &Range<usize>| {
                let place = document.place(span);
                let _marked = &place.text[place.marked];
            };
            show(&(start..start + len));
            let read = || {
                let mut root = document.parse()?;
                root.map_string(&["a", "b"], |text| text.to_owned());
                root.part("b", "x")?.section.parse_any::<toml::Table>()?;
                root.parts("t")?;
                root.value::<String>("kind")?;
                root.section("a")?.parse_any::<toml::Table>()?;
                root.clone().parse_any::<toml::Table>()?;
                root.finish("sections")
            };
            if let Err(ConfigError { span: Some(span), .. }) = read() {
                show(&span);
            }
        }
    }
}
