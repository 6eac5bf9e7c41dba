//! Parts, and the registries that find them by name.

use std::fmt::Write as _;
use std::ops::Deref;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::suggest;
use crate::{ConfigError, PartSection, Section};

/// What every swappable part says of itself. The struct is its keys.
///
/// ```
/// use registry::{Part, range::Fraction};
///
/// /// Keys of `sgd`.
/// #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// #[serde(default)]
/// struct Sgd {
///     /// share of the last step that is taken again
///     momentum: Fraction,
/// }
///
/// impl Default for Sgd {
///     fn default() -> Self {
///         Self { momentum: Fraction::new(0.0) }
///     }
/// }
///
/// impl Part for Sgd {
///     const NAME: &'static str = "sgd";
///     const SUMMARY: &'static str = "a step against the gradient";
///     const SOURCE: &'static str = "Robbins & Monro 1951";
/// }
/// ```
pub trait Part: Default + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// The word in a config.
    const NAME: &'static str;
    /// One line: what it does.
    const SUMMARY: &'static str;
    /// Author and year.
    const SOURCE: &'static str;

    /// Checks what no single key's type can: that the keys go together.
    ///
    /// # Errors
    /// The key to change, and why.
    fn check(&self) -> Result<(), Conflict> {
        Ok(())
    }
}

/// Keys of a part that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key to change.
    pub key: &'static str,
    /// What is wrong with it, as in "needs a momentum above 0".
    pub message: String,
    /// How to mend it.
    pub help: String,
}

/// One key of a part or section, for people to read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// The key.
    pub name: String,
    /// As it would be written in TOML; `None` if the key must be given.
    pub default: Option<String>,
    /// The values allowed, such as `> 0`; empty if the type says it all.
    pub range: String,
    /// What it does.
    pub meaning: String,
}

/// The keys of a struct, from its schema, without defaults.
pub fn keys_of<C: JsonSchema>() -> Vec<Key> {
    let schema = schema_for!(C);
    let Some(fields) = schema.get("properties").and_then(|fields| fields.as_object()) else {
        return Vec::new();
    };
    fields
        .iter()
        .map(|(name, field)| Key {
            name: name.clone(),
            default: field.get("default").map(|value| value.to_string()),
            range: describe_range(field),
            meaning: field
                .get("description")
                .and_then(|text| text.as_str())
                .map(|text| text.lines().collect::<Vec<_>>().join(" "))
                .unwrap_or_default(),
        })
        .collect()
}

/// `> 0`, `≥ 0`, `0 ≤ … < 1`, or the words to choose from.
fn describe_range(field: &serde_json::Value) -> String {
    if let Some(words) = field.get("enum").and_then(|words| words.as_array()) {
        return words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    }
    // An array's range is that of its items.
    let field = field.get("items").unwrap_or(field);
    let bound = |key: &str| field.get(key).filter(|bound| !bound.is_null());
    let mut range = String::new();
    let (min, above) = (bound("minimum"), bound("exclusiveMinimum"));
    let (max, below) = (bound("maximum"), bound("exclusiveMaximum"));
    let upper = max.map(|max| format!("≤ {max}")).or(below.map(|below| format!("< {below}")));
    match (min, above, upper) {
        (None, None, None) => {}
        (None, None, Some(upper)) => range = upper,
        (Some(min), _, None) => _ = write!(range, "≥ {min}"),
        (None, Some(above), None) => _ = write!(range, "> {above}"),
        (Some(min), _, Some(upper)) => _ = write!(range, "{min} ≤ … {upper}"),
        (None, Some(above), Some(upper)) => _ = write!(range, "{above} < … {upper}"),
    }
    range
}

/// One part of a family: what it is, and how a section of a config becomes one.
///
/// `D` is the family's object-safe trait, as in `Entry<dyn BuildOptimizer>`.
pub struct Entry<D: ?Sized> {
    /// The word in a config.
    pub name: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// Author and year.
    pub source: &'static str,
    keys: fn() -> Vec<Key>,
    parse: Box<Parse<D>>,
}

/// Reads a section into a part and all its keys with their values.
type Parse<D> = dyn Fn(Section<'_>) -> Result<(Box<D>, toml::Table), ConfigError>;

impl<D: ?Sized + 'static> Entry<D> {
    /// The entry of part `P`; `erase` boxes it as the family's trait object.
    ///
    /// A family wraps this in a function of its own, so that a list of parts is a list of types.
    pub fn new<P: Part>(erase: fn(P) -> Box<D>) -> Self {
        Self {
            name: P::NAME,
            summary: P::SUMMARY,
            source: P::SOURCE,
            keys: keys_with_defaults::<P>,
            parse: Box::new(move |section| {
                let path = section.path_of("");
                let spans: Vec<_> = keys_of::<P>()
                    .into_iter()
                    .filter_map(|key| Some((section.span_of(&[&key.name])?, key.name)))
                    .collect();
                let part: P = section.parse()?;
                part.check().map_err(|conflict| ConfigError {
                    message: format!("`{path}{}` {}", conflict.key, conflict.message),
                    span: spans
                        .into_iter()
                        .find(|(_, key)| key == conflict.key)
                        .map(|(span, _)| span),
                    help: Some(conflict.help),
                })?;
                let keys = table_of(&part);
                Ok((erase(part), keys))
            }),
        }
    }

    /// The part's keys with their defaults.
    pub fn keys(&self) -> Vec<Key> {
        (self.keys)()
    }
}

fn keys_with_defaults<P: Part>() -> Vec<Key> {
    let defaults = table_of(&P::default());
    let default = |key: &Key| defaults.get(&key.name).map(ToString::to_string);
    keys_of::<P>().into_iter().map(|key| Key { default: default(&key), ..key }).collect()
}

fn table_of(part: &impl Serialize) -> toml::Table {
    toml::Table::try_from(part).expect("a part is a struct of TOML values")
}

/// The parts of one family by name.
pub struct Registry<D: ?Sized> {
    family: &'static str,
    entries: Vec<Entry<D>>,
}

impl<D: ?Sized + 'static> Registry<D> {
    /// The registry of `family`, in the singular, with the parts it starts with.
    ///
    /// # Panics
    /// If two entries have one name.
    #[track_caller]
    pub fn new(family: &'static str, entries: impl IntoIterator<Item = Entry<D>>) -> Self {
        let mut registry = Self { family, entries: Vec::new() };
        for entry in entries {
            registry.register(entry);
        }
        registry
    }

    /// Adds a part.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn register(&mut self, entry: Entry<D>) {
        let taken = self.entries.iter().any(|known| known.name == entry.name);
        assert!(!taken, "two parts of family {} are called `{}`", self.family, entry.name);
        self.entries.push(entry);
    }

    /// What the parts are, in the singular.
    pub fn family(&self) -> &'static str {
        self.family
    }

    /// Every part in the order of registration.
    pub fn entries(&self) -> &[Entry<D>] {
        &self.entries
    }

    /// Finds the part a section names, and reads and checks its keys.
    ///
    /// # Errors
    /// On a name nobody registered, and on keys the part refuses.
    pub fn choose(&self, part: PartSection<'_>) -> Result<Chosen<D>, ConfigError> {
        let PartSection { name, name_span, section } = part;
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else {
            let known = self.entries.iter().map(|entry| entry.name);
            return Err(ConfigError {
                message: format!("unknown {} `{name}`", self.family),
                span: name_span,
                help: Some(suggest(&name, &format!("{}s", self.family), known)),
            });
        };
        let (part, keys) = (entry.parse)(section)?;
        Ok(Chosen { name: entry.name, keys, part })
    }
}

/// A part that a config has chosen, with all its keys.
pub struct Chosen<D: ?Sized> {
    /// The word in the config.
    pub name: &'static str,
    /// Every key with its value, defaults included.
    pub keys: toml::Table,
    part: Box<D>,
}

impl<D: ?Sized> Deref for Chosen<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.part
    }
}

impl<D: ?Sized> Chosen<D> {
    /// The part as a config would name it: the bare name if it has no keys, else a table.
    pub fn to_toml(&self) -> toml::Value {
        if self.keys.is_empty() {
            return self.name.into();
        }
        toml::Value::Table(self.to_table())
    }

    /// The part as a table with `kind`.
    pub fn to_table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        table.insert("kind".into(), self.name.into());
        table.extend(self.keys.clone());
        table
    }
}
