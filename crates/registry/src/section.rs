//! One table of a config, with a span on every key.

use std::ops::Range;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};

use crate::ConfigError;
use crate::error::suggest;
use crate::part::keys_of;

/// A table of a config, from which keys are taken one by one.
#[derive(Clone, Debug)]
pub struct Section<'d> {
    /// Dotted, without the key at the end; empty for the root.
    path: String,
    span: Option<Range<usize>>,
    table: DeTable<'d>,
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

impl<'d> Section<'d> {
    pub(crate) fn root(table: DeTable<'d>) -> Self {
        Self { path: String::new(), span: None, table, asked: Vec::new() }
    }

    /// Takes the table `key`; one that is not there is empty.
    ///
    /// # Errors
    /// If `key` is not a table.
    pub fn section(&mut self, key: &str) -> Result<Section<'d>, ConfigError> {
        match self.take(key) {
            None => Ok(self.child(key, None, DeTable::new())),
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
            return Err(ConfigError::new(message, span).with_help(format!("write it as [[{key}]]")));
        };
        items
            .into_iter()
            .map(|item| {
                let span = item.span();
                self.part_from(key, item)?.ok_or_else(|| {
                    ConfigError::new(
                        format!("an entry of `{}` without `kind`", self.path_of(key)),
                        span,
                    )
                    .with_help("add the name of the part, as in kind = \"clip_norm\"")
                })
            })
            .collect()
    }

    /// Takes the part that `key` names: either a bare name or a table with `kind` and the part's
    /// own keys. Where no name is given it is `default`.
    ///
    /// # Errors
    /// If `key` is neither, or `kind` is not a string.
    pub fn part(&mut self, key: &str, default: &str) -> Result<PartSection<'d>, ConfigError> {
        let nothing = self.child(key, None, DeTable::new());
        let Some(value) = self.take(key) else { return Ok(nothing.into_part(default)) };
        let span = value.span();
        match self.part_from(key, value.clone())? {
            Some(part) => Ok(part),
            None => Ok(Self { span: Some(span), ..self.table_at(key, value)? }.into_part(default)),
        }
    }

    /// Takes the value `key`; `None` if it is not there.
    ///
    /// # Errors
    /// If `V` refuses it.
    pub fn value<V: DeserializeOwned>(&mut self, key: &str) -> Result<Option<V>, ConfigError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let span = value.span();
        V::deserialize(ValueDeserializer::from(value)).map(Some).map_err(|error| {
            let message = format!("`{}` {}", self.path_of(key), error.message().trim_end());
            ConfigError::new(message, error.span().unwrap_or(span))
        })
    }

    /// Reads what is left into `C`, whose fields are the only keys allowed here.
    ///
    /// # Errors
    /// On an unknown key, a missing one, or a value that `C` refuses.
    pub fn parse<C: DeserializeOwned + JsonSchema>(mut self) -> Result<C, ConfigError> {
        let fields = keys_of::<C>();
        self.asked.extend(fields.iter().map(|key| key.name.clone()));
        self.refuse_unknown("keys")?;
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

    /// Replaces the string at a path of keys below this section, if one stands there.
    pub fn map_string(&mut self, path: &[&str], map: impl FnOnce(&str) -> String) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut table = &mut self.table;
        for key in parents {
            match table.get_mut(*key).map(Spanned::get_mut) {
                Some(DeValue::Table(inner)) => table = inner,
                _ => return,
            }
        }
        if let Some(DeValue::String(text)) = table.get_mut(*last).map(Spanned::get_mut) {
            *text = map(text).into();
        }
    }

    /// Reads what is left into `C`, whatever the keys.
    pub(crate) fn parse_any<C: DeserializeOwned>(self) -> Result<C, ConfigError> {
        let spans: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), value.span()))
            .collect();
        let root = Spanned::new(self.span.clone().unwrap_or(0..0), DeValue::Table(self.table));
        C::deserialize(ValueDeserializer::from(root)).map_err(|error| {
            // An error of the whole section is about a key that is not there.
            let span =
                error.span().filter(|span| Some(span) != self.span.as_ref() && *span != (0..0));
            let key = span.as_ref().and_then(|span| {
                spans.iter().find(|(_, value)| value.start <= span.start && span.end <= value.end)
            });
            let path = match key {
                Some((key, _)) => join(&self.path, key),
                None => self.path,
            };
            let message = error.message().trim_end();
            ConfigError {
                message: if path.is_empty() {
                    message.into()
                } else {
                    format!("`{path}` {message}")
                },
                span: span.or(self.span),
                help: None,
            }
        })
    }

    /// The section's dotted path with `key` at its end.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'d>>> {
        self.asked.push(key.to_owned());
        self.table.remove(key)
    }

    fn child(&self, key: &str, span: Option<Range<usize>>, table: DeTable<'d>) -> Section<'d> {
        Section { path: self.path_of(key), span, table, asked: Vec::new() }
    }

    fn table_at(&self, key: &str, value: Spanned<DeValue<'d>>) -> Result<Section<'d>, ConfigError> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(self.child(key, Some(span), table)),
            other => {
                let path = self.path_of(key);
                let message = format!("`{path}` must be a table, found {}", other.type_str());
                Err(ConfigError::new(message, span)
                    .with_help(format!("write its keys under [{path}]")))
            }
        }
    }

    /// The part a value names, `None` if it is a table without `kind`.
    fn part_from(
        &self,
        key: &str,
        value: Spanned<DeValue<'d>>,
    ) -> Result<Option<PartSection<'d>>, ConfigError> {
        if let DeValue::String(name) = value.get_ref() {
            let section = self.child(key, Some(value.span()), DeTable::new());
            let (name, name_span) = (name.to_string(), Some(value.span()));
            return Ok(Some(PartSection { name, name_span, section }));
        }
        let mut section = self.table_at(key, value)?;
        let Some(kind) = section.take("kind") else { return Ok(None) };
        match kind.get_ref() {
            DeValue::String(name) => {
                let (name, name_span) = (name.to_string(), Some(kind.span()));
                Ok(Some(PartSection { name, name_span, section }))
            }
            other => {
                let message = format!(
                    "`{}` must be a string, found {}",
                    section.path_of("kind"),
                    other.type_str()
                );
                Err(ConfigError::new(message, kind.span()))
            }
        }
    }

    fn into_part(self, default: &str) -> PartSection<'d> {
        PartSection { name: default.to_owned(), name_span: None, section: self }
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
