//! One table of a config, with a span on every key.

use std::ops::Range;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};

use crate::ConfigError;
use crate::error::suggest;
use crate::keys::keys_of;

/// A table of a config, from which keys are taken one by one.
#[derive(Clone, Debug)]
pub struct Section<'d> {
    /// Dotted, without the key at the end; empty for the root.
    path: String,
    span: Range<usize>,
    table: DeTable<'d>,
    /// Where overrides begin: spans from there on are of the command line.
    overrides_at: usize,
    /// Keys already asked for, present or not: they are known here.
    asked: Vec<String>,
}

/// A section that names a part: the name, and the part's own keys.
#[derive(Clone, Debug)]
pub struct PartSection<'d> {
    pub(crate) name: String,
    pub(crate) name_span: Option<Range<usize>>,
    pub(crate) section: Section<'d>,
}

/// The name of a part, and where it stands.
type Name = (String, Range<usize>);

impl<'d> Section<'d> {
    pub(crate) fn root(table: DeTable<'d>, overrides_at: usize) -> Self {
        Self { path: String::new(), span: 0..0, table, overrides_at, asked: Vec::new() }
    }

    /// Takes the table `key`; one that is not there is empty.
    ///
    /// # Errors
    /// If `key` is not a table.
    pub fn section(&mut self, key: &str) -> Result<Section<'d>, ConfigError> {
        match self.take(key) {
            None => Ok(self.child(key, self.span(), DeTable::new())),
            Some(value) => self.table_at(key, value),
        }
    }

    /// Takes the array of tables `key`, each of which names a part; none if it is not there.
    ///
    /// # Errors
    /// If `key` is not an array, or an entry names no part.
    pub fn parts(&mut self, key: &str) -> Result<Vec<PartSection<'d>>, ConfigError> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            let message = format!("`{}` must be an array of tables", self.path_of(key));
            return Err(ConfigError::new(message, span)
                .with_help(format!("write it as [[{key}]], or as --set '{key}=[\"NAME\"]'")));
        };
        let part = |item: Spanned<DeValue<'d>>| {
            let span = item.span();
            let (named, section) = self.named_table(key, item)?;
            let Some((name, name_span)) = named else {
                let message = format!("an entry of `{}` without `kind`", self.path_of(key));
                return Err(ConfigError::new(message, span)
                    .with_help("add the name of the part, as in kind = \"clip_norm\""));
            };
            Ok(PartSection { name, name_span: Some(name_span), section })
        };
        items.into_iter().map(part).collect()
    }

    /// Takes the part that `key` names: either a bare name or a table with `kind` and the part's
    /// own keys. Where no name is given it is `default`.
    ///
    /// # Errors
    /// If `key` is neither, or `kind` is not a string.
    pub fn part(&mut self, key: &str, default: &str) -> Result<PartSection<'d>, ConfigError> {
        let (named, section) = match self.take(key) {
            Some(value) => self.named_table(key, value)?,
            None => (None, self.child(key, self.span(), DeTable::new())),
        };
        let (name, name_span) = match named {
            Some((name, span)) => (name, Some(span)),
            None => (default.to_owned(), None),
        };
        Ok(PartSection { name, name_span, section })
    }

    /// Takes the value `key`; `None` if it is not there.
    ///
    /// # Errors
    /// If `V` refuses it.
    pub fn value<V: DeserializeOwned>(&mut self, key: &str) -> Result<Option<V>, ConfigError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let span = value.span();
        V::deserialize(ValueDeserializer::from(value)).map(Some).map_err(|error| {
            let (message, help) = in_plain_words(error.message());
            let message = format!("`{}` {message}", self.path_of(key));
            ConfigError { message, span: error.span().or(Some(span)), help }
        })
    }

    /// Takes the keys that are fields of `C`, and leaves the others for somebody else.
    ///
    /// # Errors
    /// On a missing key, or a value that `C` refuses.
    pub fn take_keys<C: DeserializeOwned + JsonSchema + 'static>(
        &mut self,
    ) -> Result<C, ConfigError> {
        let mut table = DeTable::new();
        for key in keys_of::<C>().iter() {
            if let Some((name, value)) = self.table.remove_entry(key.name.as_str()) {
                table.insert(name, value);
            }
            self.asked.push(key.name.clone());
        }
        let (path, span) = (self.path.clone(), self.span.clone());
        let overrides_at = self.overrides_at;
        Section { path, span, table, overrides_at, asked: Vec::new() }.parse()
    }

    /// Reads what is left into `C`, whose fields are the only keys allowed here.
    ///
    /// # Errors
    /// On an unknown key, a missing one, or a value that `C` refuses.
    pub fn parse<C: DeserializeOwned + JsonSchema + 'static>(mut self) -> Result<C, ConfigError> {
        let fields = keys_of::<C>();
        self.asked.extend(fields.iter().map(|key| key.name.clone()));
        self.refuse_unknown("keys")?;
        // To serde a word may also be the only key of a table, as if it had content.
        for key in fields.iter().filter(|key| !key.words.is_empty()) {
            let Some(value) = self.table.get(key.name.as_str()) else { continue };
            if !value.get_ref().is_str() {
                let (path, found) = (self.path_of(&key.name), value.get_ref().type_str());
                let message = format!("`{path}` must be a string, found {found}");
                return Err(ConfigError::new(message, value.span())
                    .with_help(format!("one of {}", key.words.join(", "))));
            }
        }
        // Serde takes as many entries as it needs and leaves the rest unread.
        for key in fields.iter() {
            let (Some(value), Some(room)) = (self.table.get(key.name.as_str()), key.room) else {
                continue;
            };
            if let DeValue::Array(items) = value.get_ref()
                && room < items.len() as u64
            {
                let (path, found) = (self.path_of(&key.name), items.len());
                let message = format!("`{path}` has room for {room} entries, found {found}");
                return Err(ConfigError::new(message, value.span()));
            }
        }
        self.parse_any()
    }

    /// Ends the reading of a section whose keys were all taken.
    ///
    /// # Errors
    /// If a key is left that nothing asked for; `what` says what it should have been.
    pub fn finish(self, what: &str) -> Result<(), ConfigError> {
        self.refuse_unknown(what)
    }

    /// The span of the value at a path of keys below this section.
    pub fn span_of(&self, path: &[&str]) -> Option<Range<usize>> {
        let (last, parents) = path.split_last()?;
        let table = parents
            .iter()
            .try_fold(&self.table, |table, key| table.get(*key)?.get_ref().as_table())?;
        table.get(*last).map(Spanned::span)
    }

    /// Replaces the string at a path of keys below this section, or each string of the array there;
    /// what else may stand there is left alone.
    pub fn map_string(&mut self, path: &[&str], mut map: impl FnMut(&str) -> String) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut table = &mut self.table;
        for key in parents {
            match table.get_mut(*key).map(Spanned::get_mut) {
                Some(DeValue::Table(inner)) => table = inner,
                _ => return,
            }
        }
        let mut replace = |value: &mut DeValue<'d>| {
            if let DeValue::String(text) = value {
                *text = map(text).into();
            }
        };
        match table.get_mut(*last).map(Spanned::get_mut) {
            Some(DeValue::Array(items)) => {
                items.iter_mut().for_each(|item| replace(item.get_mut()));
            }
            Some(value) => replace(value),
            None => {}
        }
    }

    /// Reads what is left into `C`, whatever the keys.
    pub(crate) fn parse_any<C: DeserializeOwned>(self) -> Result<C, ConfigError> {
        let spans: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), value.span()))
            .collect();
        let root = Spanned::new(self.span.clone(), DeValue::Table(self.table));
        C::deserialize(ValueDeserializer::from(root)).map_err(|error| {
            // An error of the whole section is about a key that is not there.
            let span = error.span().filter(|span| *span != self.span && *span != (0..0));
            let key = span.as_ref().and_then(|span| {
                spans.iter().find(|(_, value)| value.start <= span.start && span.end <= value.end)
            });
            let (message, help) = in_plain_words(error.message());
            let message = match (key, missing_field(&message)) {
                (Some((key, _)), _) => format!("`{}` {message}", join(&self.path, key)),
                (None, Some(key)) => format!("`{}` is missing", join(&self.path, key)),
                (None, None) if self.path.is_empty() => message,
                (None, None) => format!("`{}` {message}", self.path),
            };
            ConfigError { message, span: span.or(Some(self.span)), help }
        })
    }

    /// Where the section stands: its header, or the value that is the table; where it is not there, the
    /// one above, and for all of them the start of the file.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The section's dotted path with `key` at its end.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'d>>> {
        self.asked.push(key.to_owned());
        self.table.remove(key)
    }

    fn child(&self, key: &str, span: Range<usize>, table: DeTable<'d>) -> Section<'d> {
        let overrides_at = self.overrides_at;
        Section { path: self.path_of(key), span, table, overrides_at, asked: Vec::new() }
    }

    fn table_at(&self, key: &str, value: Spanned<DeValue<'d>>) -> Result<Section<'d>, ConfigError> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(self.child(key, span, table)),
            other => {
                let path = self.path_of(key);
                let message = format!("`{path}` must be a table, found {}", other.type_str());
                Err(ConfigError::new(message, span)
                    .with_help(format!("write its keys under [{path}]")))
            }
        }
    }

    /// The name a value gives to a part, `None` if it is a table without `kind`, and the part's keys.
    fn named_table(
        &self,
        key: &str,
        value: Spanned<DeValue<'d>>,
    ) -> Result<(Option<Name>, Section<'d>), ConfigError> {
        if let DeValue::String(name) = value.get_ref() {
            let section = self.child(key, value.span(), DeTable::new());
            return Ok((Some((name.to_string(), value.span())), section));
        }
        let mut section = self.table_at(key, value)?;
        let Some(kind) = section.take("kind") else { return Ok((None, section)) };
        match kind.get_ref() {
            DeValue::String(name) => Ok((Some((name.to_string(), kind.span())), section)),
            other => {
                let path = section.path_of("kind");
                let message = format!("`{path}` must be a string, found {}", other.type_str());
                Err(ConfigError::new(message, kind.span()))
            }
        }
    }

    fn refuse_unknown(&self, what: &str) -> Result<(), ConfigError> {
        let is_unknown =
            |key: &&Spanned<DeString<'d>>| !self.asked.iter().any(|known| known == key.get_ref());
        match self.table.keys().find(is_unknown) {
            None => Ok(()),
            Some(key) => {
                let message = format!("unknown key `{}`", self.path_of(key.get_ref()));
                let known = self.asked.iter().map(String::as_str);
                Err(ConfigError::new(message, key.span()).with_help(suggest(
                    key.get_ref(),
                    what,
                    known,
                )))
            }
        }
    }
}

impl<'d> PartSection<'d> {
    /// Forgets the file's keys for which `is_foreign` holds, if the part was named by an override: a
    /// part on the command line takes the place of the file's, whose keys go with it.
    pub(crate) fn forget_replaced(&mut self, is_foreign: impl Fn(&str) -> bool) {
        let overrides_at = self.section.overrides_at;
        if self.name_span.as_ref().is_none_or(|span| span.start < overrides_at) {
            return;
        }
        let of_file = |value: &Spanned<DeValue<'d>>| value.span().start < overrides_at;
        let replaced: Vec<_> = (self.section.table.iter())
            .filter(|(key, value)| of_file(value) && is_foreign(key.get_ref()))
            .map(|(key, _)| key.get_ref().clone())
            .collect();
        for key in replaced {
            self.section.table.remove(&*key);
        }
    }

    /// The part's keys. A key that is not the part's own, such as the learning rate, is taken out
    /// of here before the part is chosen.
    pub fn section_mut(&mut self) -> &mut Section<'d> {
        &mut self.section
    }

    /// The name of the part.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What serde found in the place of what it wanted.
fn found_and_wanted(message: &str) -> Option<(&str, &str)> {
    let (fault, wanted) = message.rsplit_once(", expected ")?;
    let kinds = ["invalid type: ", "invalid value: ", "invalid ", "unknown variant "];
    let found = kinds.iter().find_map(|kind| fault.strip_prefix(kind))?;
    Some((found, wanted))
}

/// Serde's message in the words of a config instead of Rust's, and advice where there is any.
fn in_plain_words(message: &str) -> (String, Option<String>) {
    let message = message.trim_end();
    let Some((found, wanted)) = found_and_wanted(message) else {
        return (message.to_owned(), None);
    };
    let wanted = match wanted {
        // What is whole and none that fits is too large.
        "i64" | "u64" if found.starts_with("integer ") => "a whole number below 2^63",
        "i64" | "u64" => "a whole number",
        "f64" => "a number",
        "a sequence" => "an array",
        "a boolean" => "true or false",
        other => other,
    };
    // A number or a word is shown as it is, without its type.
    let found = match found.split('`').nth(1) {
        _ if found == "sequence" => "an array",
        _ if found == "map" => "a table",
        Some(value) if !found.starts_with(['s', '`']) => value,
        _ => found.trim_start_matches("string "),
    };
    let whole = found.strip_suffix(".0").filter(|_| wanted == "a whole number");
    let help = whole.map(|whole| format!("write it without a point or an exponent: {whole}"));
    (format!("must be {wanted}, found {found}"), help)
}

/// The key that serde says is missing.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::Document;
    use crate::range::{Fraction, Share, Size};

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Data {
        size: Size,
        share: Share,
        word: Word,
        split: [Share; 2],
        pair: (i64, bool),
        names: Vec<String>,
        limit: Option<Fraction>,
    }

    impl Default for Data {
        fn default() -> Self {
            Self {
                size: Size::new(3),
                share: Share::new(0.5),
                word: Word::One,
                split: [Share::new(0.0); 2],
                pair: (0, false),
                names: Vec::new(),
                limit: None,
            }
        }
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    /// Nothing here has a default.
    #[derive(Debug, Deserialize, JsonSchema)]
    struct Text {
        path: String,
        len: Size,
    }

    /// Reads sections `data` and `text`, part `cell`, whose rate is everybody's, and array `step`.
    fn read(document: &Document) -> Result<String, ConfigError> {
        let mut root = document.parse()?;
        let data: Data = root.section("data")?.parse()?;
        let mut cell = root.part("cell", "plain")?;
        let rate: Option<Fraction> = cell.section_mut().value("rate")?;
        let mut words = vec![cell.name().to_owned()];
        words.extend(rate.map(|rate| rate.get().to_string()));
        cell.section.finish("keys")?;
        for step in root.parts("step")? {
            words.push(step.name().to_owned());
            step.section.finish("keys")?;
        }
        if root.span_of(&["text"]).is_some() {
            let Text { path, len } = root.section("text")?.parse()?;
            words.push(format!("{path}:{}", len.get()));
        }
        root.finish("sections")?;
        words.push(format!("{} {:?} {:?}", data.size.get(), data.word, data.names));
        words.push(format!("{:?} {:?} {:?} {:?}", data.share, data.split, data.pair, data.limit));
        Ok(words[..words.len() - 1].join(" "))
    }

    #[track_caller]
    fn check(toml: &str, overrides: &[&str], expected: &str) {
        let document = Document::new("f", toml, overrides.iter().copied());
        let found = read(&document).map_err(|error| error.describe(&document));
        assert_eq!(found.unwrap_or_else(|error| error), expected);
    }

    #[test]
    fn what_is_left_out_has_its_default_and_overrides_win() {
        check("", &[], "plain 3 One []");
        check("[data]\nsize = 7\nword = \"two\"", &[], "plain 7 Two []");
        check(
            "data.size = 7",
            &["data.size=0x10", "data.names=[a, 'b']"],
            "--set data.names=[a, 'b'] \
            string values must be quoted, expected literal string; an override is KEY=VALUE, as in \
            `--set optimizer.learning_rate=0.01`",
        );
        check("data.size = 7", &["data.size=0x10", "data.names=['b']"], "plain 16 One [\"b\"]");
        check("[text]\nlen = 1\npath = 'é\"'", &["text.len=2"], "plain é\":2 3 One []");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let keys = "known keys: size, share, word, split, pair, names, limit";
        check(
            "[data]\nsize = 1\nsizes = 1",
            &[],
            &format!("f:3:1 unknown key `data.sizes`; did you mean `size`? {keys}"),
        );
        check("[data]\nq = 1\nr = 1", &[], &format!("f:2:1 unknown key `data.q`; {keys}"));
        check("data = { 'é' = 1 }", &[], &format!("f:1:10 unknown key `data.é`; {keys}"));
        let found = "--set data.sharp=1 unknown key `data.sharp`; did you mean `share`? ";
        check("", &["data.sharp=1"], &format!("{found}{keys}"));
        // A section that is read first is known, one that is never asked for is not.
        check(
            "[date]\nsize = 1",
            &[],
            "f:1:2 unknown key `date`; did you mean `data`? known sections: data, cell, step",
        );
    }

    #[test]
    fn a_mistyped_kind_is_recognized() {
        let expected = "unknown key `cell.knd`; did you mean `kind`? known keys: kind, rate";
        check("[cell]\nknd = \"gru\"", &[], &format!("f:2:1 {expected}"));
        check("[cell]\nkind = \"gru\"\nknd = 1", &[], &format!("f:3:1 {expected}"));
    }

    #[test]
    fn a_missing_key_is_named_at_the_header_of_its_section() {
        check("\n[text]\nlen = 1", &[], "f:2:1 `text.path` is missing");
        check("[text]", &[], "f:1:1 `text.path` is missing");
        check("text = {path = \"a\"}", &[], "f:1:8 `text.len` is missing");
        check("", &["text.path=a"], "--set text.path=a `text.len` is missing");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_marked() {
        let refused = |value: &str, expected: &str| {
            check(&format!("[data]\n{value}"), &[], expected);
        };
        refused("size = true", "f:2:8 `data.size` must be a whole number, found true");
        refused(
            "size = 1.0",
            "f:2:8 `data.size` must be a whole number, found 1.0; write it without a point or an exponent: 1",
        );
        refused("share = []", "f:2:9 `data.share` must be a number, found an array");
        refused("word = 'three'", "f:2:8 `data.word` must be `one` or `two`, found `three`");
        let words = "one of one, two";
        refused("word = 3", &format!("f:2:8 `data.word` must be a string, found integer; {words}"));
        refused(
            "word.one = {}",
            &format!("f:2:1 `data.word` must be a string, found table; {words}"),
        );
        refused("names = 'a'", "f:2:9 `data.names` must be an array, found \"a\"");
        refused("names = [1]", "f:2:10 `data.names` must be a string, found 1");
        refused("limit = 'é'", "f:2:9 `data.limit` must be a number, found \"é\"");
        check(
            "data = 1",
            &[],
            "f:1:8 `data` must be a table, found integer; write its keys under [data]",
        );
        check(
            "[[data]]\nsize = 1",
            &[],
            "f:1:1 `data` must be a table, found array; write its keys under [data]",
        );
    }

    #[test]
    fn an_array_takes_as_many_entries_as_it_has_places() {
        check("data.split = [0, 1]\ndata.pair = [1, true]", &[], "plain 3 One []");
        check("data.split = [0, 0, 1]", &[], "f:1:14 `data.split` has room for 2 entries, found 3");
        check(
            "data.pair = [1, true, 2]",
            &[],
            "f:1:13 `data.pair` has room for 2 entries, found 3",
        );
        check(
            "data.split = [1]",
            &[],
            "f:1:14 `data.split` must be an array of length 2, found length 1",
        );
        check("data.split = [0, 2]", &[], "f:1:14 `data.split` must be from 0 to 1, found 2");
    }

    #[test]
    fn a_part_is_a_bare_name_or_a_table_with_kind() {
        check("cell = \"gru\"", &[], "gru 3 One []");
        check("cell = { kind = \"gru\", rate = 0.5 }", &[], "gru 0.5 3 One []");
        check("[cell]\nrate = 0.25", &[], "plain 0.25 3 One []");
        check("cell = \"gru\"", &["cell.rate=0.5"], "gru 0.5 3 One []");
        check("cell = \"gru\"", &["cell=lstm"], "lstm 3 One []");
        check(
            "cell = 1",
            &[],
            "f:1:8 `cell` must be a table, found integer; write its keys under [cell]",
        );
        check("[cell]\nkind = 1.5", &[], "f:2:8 `cell.kind` must be a string, found float");
        check("[cell.kind]", &[], "f:1:1 `cell.kind` must be a string, found table");
        check(
            "[cell]\nrate = 1",
            &[],
            "f:2:8 `cell.rate` must be at least 0 and less than 1, found 1",
        );
    }

    #[test]
    fn an_array_of_parts_keeps_its_order() {
        check("[[step]]\nkind = \"b\"\n[[step]]\nkind = \"a\"", &[], "plain b a 3 One []");
        check("step = [\"b\", { kind = \"a\" }]", &["step.0=c"], "plain c a 3 One []");
        check("step = []", &[], "plain 3 One []");
        let help = "add the name of the part, as in kind = \"clip_norm\"";
        check(
            "[[step]]\nkind = \"b\"\n[[step]]\nx = 1",
            &[],
            &format!("f:3:1 an entry of `step` without `kind`; {help}"),
        );
        check("[[step]]\nkind = \"b\"\nx = 1", &[], "f:3:1 unknown key `step.x`; known keys: kind");
        check(
            "[step]\nkind = \"b\"",
            &[],
            "f:1:1 `step` must be an array of tables; write it as [[step]], or as --set 'step=[\"NAME\"]'",
        );
        check(
            "step = [1]",
            &[],
            "f:1:9 `step` must be a table, found integer; write its keys under [step]",
        );
    }

    #[test]
    fn a_string_is_mapped_where_it_stands() {
        let document = Document::new("f", "a.b = \"x\"\nc = 1\nd = ['y', 'z']", [""; 0]);
        let mut root = document.parse().expect("valid");
        for path in [&["a", "b"][..], &["a", "c"], &["c"], &["c", "d"], &["d"], &[]] {
            root.map_string(path, |text| format!("{text}!"));
        }
        assert_eq!(root.section("a").unwrap().value::<String>("b"), Ok(Some("x!".into())));
        assert_eq!(root.value::<i64>("c"), Ok(Some(1)));
        assert_eq!(root.value("d"), Ok(Some(["y!".to_owned(), "z!".into()])));
    }
}
