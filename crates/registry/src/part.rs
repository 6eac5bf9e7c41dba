//! Parts, and the registries that find them by name.

use std::ops::Deref;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::suggest;
use crate::keys::{keys_in, keys_of, schema_of};
use crate::{ConfigError, Key, PartSection, Section};

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
    /// Keys that it shares its section with, and what they default to beside it.
    pub beside: Vec<(&'static str, f64)>,
    schema: fn() -> serde_json::Value,
    parse: Box<Parse<D>>,
}

/// Reads a section into a part and all its keys with their values.
type Parse<D> = dyn Fn(Section<'_>) -> Result<(Box<D>, toml::Table), ConfigError> + Send + Sync;

impl<D: ?Sized + 'static> Entry<D> {
    /// The entry of part `P`; `erase` boxes it as the family's trait object.
    ///
    /// A family wraps this in a function of its own, so that a list of parts is a list of types.
    pub fn new<P: Part>(erase: fn(P) -> Box<D>) -> Self {
        Self {
            name: P::NAME,
            summary: P::SUMMARY,
            source: P::SOURCE,
            beside: Vec::new(),
            schema: schema_of::<P>,
            parse: Box::new(move |section| {
                let (path, whole) = (section.path_of(""), section.span());
                let spans: Vec<_> = keys_of::<P>()
                    .iter()
                    .filter_map(|key| Some((section.span_of(&[&key.name])?, key.name.clone())))
                    .collect();
                let part: P = section.parse()?;
                part.check().map_err(|conflict| ConfigError {
                    message: format!("`{path}{}` {}", conflict.key, conflict.message),
                    // A key that was left out is a default that goes with nothing else there.
                    span: spans
                        .into_iter()
                        .find(|(_, key)| key == conflict.key)
                        .map(|(span, _)| span)
                        .or(Some(whole.clone())),
                    help: Some(conflict.help),
                })?;
                // TOML writes fewer values than it reads: integers end at 2^63.
                let keys = toml::Table::try_from(&part).map_err(|error| ConfigError {
                    message: format!("`{}` {error}", path.trim_end_matches('.')),
                    span: Some(whole),
                    help: None,
                })?;
                Ok((erase(part), keys))
            }),
        }
    }

    /// The same with a default of its own for a key that it shares its section with.
    pub fn with_default(mut self, key: &'static str, value: f64) -> Self {
        self.beside.push((key, value));
        self
    }

    /// The part's keys.
    pub fn keys(&self) -> Vec<Key> {
        keys_in(&self.schema())
    }

    /// The JSON schema of a table with the part's keys, see [`schema_of`]. It knows nothing of
    /// `kind`, nor of keys that go together.
    pub fn schema(&self) -> serde_json::Value {
        (self.schema)()
    }
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
    pub fn choose(&self, mut part: PartSection<'_>) -> Result<Chosen<D>, ConfigError> {
        let chosen = part.name().to_owned();
        part.forget_replaced(|key| {
            let has_key = |entry: &Entry<D>| entry.keys().iter().any(|known| known.name == key);
            let (mut own, mut others) = (false, false);
            for entry in self.entries.iter().filter(|entry| has_key(entry)) {
                match entry.name == chosen {
                    true => own = true,
                    false => others = true,
                }
            }
            others && !own
        });
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

    /// What a key beside the part of a name defaults to, where the part has a word in that.
    pub fn default_beside(&self, name: &str, key: &str) -> Option<f64> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        entry.beside.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::Document;
    use crate::range::{Positive, Share};

    /// A family of another crate.
    trait Shape {
        fn area(&self) -> f64;
    }

    fn entry<P: Part + Shape>() -> Entry<dyn Shape> {
        Entry::new::<P>(|part| Box::new(part))
    }

    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    struct Dot {}

    impl Part for Dot {
        const NAME: &'static str = "dot";
        const SUMMARY: &'static str = "no extent";
        const SOURCE: &'static str = "Euclid";
    }

    impl Shape for Dot {
        fn area(&self) -> f64 {
            0.0
        }
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Ring {
        /// radius of the hole,
        /// in metres
        inner: Share,
        /// radius of the whole
        outer: Positive,
        color: Option<String>,
    }

    impl Default for Ring {
        fn default() -> Self {
            Self { inner: Share::new(0.5), outer: Positive::new(1.0), color: None }
        }
    }

    impl Part for Ring {
        const NAME: &'static str = "ring";
        const SUMMARY: &'static str = "a disc with a hole";
        const SOURCE: &'static str = "Archimedes";

        fn check(&self) -> Result<(), Conflict> {
            if self.inner.get() < self.outer.get() {
                return Ok(());
            }
            let message = format!("must be below `outer`, {}", self.outer.get());
            Err(Conflict { key: "inner", message, help: "make it smaller".into() })
        }
    }

    impl Shape for Ring {
        fn area(&self) -> f64 {
            self.outer.get().powi(2) - self.inner.get().powi(2)
        }
    }

    /// A part with a key that has no default, and one wider than TOML can write.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    struct Grid {
        cells: u64,
    }

    impl Part for Grid {
        const NAME: &'static str = "grid";
        const SUMMARY: &'static str = "squares";
        const SOURCE: &'static str = "Descartes";
    }

    impl Shape for Grid {
        fn area(&self) -> f64 {
            self.cells.count_ones().into()
        }
    }

    fn shapes() -> Registry<dyn Shape> {
        Registry::new("shape", [entry::<Dot>(), entry::<Ring>(), entry::<Grid>()])
    }

    /// Chooses `[shape]` and compares it as TOML, after its area, or the error.
    #[track_caller]
    fn check(toml: &str, overrides: &[&str], expected: &str) {
        let document = Document::new("f", toml, overrides.iter().copied());
        let choose = || {
            let mut root = document.parse()?;
            let chosen = shapes().choose(root.part("shape", "dot")?)?;
            root.finish("sections")?;
            Ok(format!("{} {}", chosen.area(), chosen.to_toml()))
        };
        let found = choose().map_err(|error: ConfigError| error.describe(&document));
        assert_eq!(found.unwrap_or_else(|error| error), expected);
    }

    #[test]
    fn a_part_named_by_an_override_takes_the_keys_of_the_other_away() {
        let ring = "[shape]\nkind = \"ring\"\nouter = 2\ninner = 0.1";
        check(ring, &["shape.kind=dot"], "0 \"dot\"");
        check(ring, &["shape.kind=ring"], "3.99 { kind = \"ring\", inner = 0.1, outer = 2.0 }");
        check(ring, &["shape.kind=dot", "shape.outer=3"], &unknown("shape.outer", "f:3:1"));
        // In a file a word is not swapped, but meant.
        let file = "[shape]\nkind = \"dot\"\nouter = 2";
        check(file, &[], &unknown("shape.outer", "f:3:1"));
        check(
            "[shape]\nkind = \"ring\"\nodd = 2",
            &["shape.kind=dot"],
            &unknown("shape.odd", "f:3:1"),
        );
    }

    fn unknown(key: &str, place: &str) -> String {
        format!("{place} unknown key `{key}`; known keys: kind")
    }

    #[test]
    fn a_chosen_part_has_every_key_and_reads_back_as_itself() {
        check("", &[], "0 \"dot\"");
        check("shape = \"ring\"", &[], "0.75 { kind = \"ring\", inner = 0.5, outer = 1.0 }");
        check(
            "[shape]\nkind = \"ring\"\nouter = 2",
            &["shape.color=red", "shape.inner=0"],
            "4 { kind = \"ring\", inner = 0.0, outer = 2.0, color = \"red\" }",
        );
        let text = "shape = { kind = \"ring\", inner = 0.25, outer = 0.5, color = \"é\" }";
        check(text, &[], &text.replacen("shape =", "0.1875", 1));
    }

    #[test]
    fn a_mistake_in_a_part_is_marked() {
        let known = "known shapes: dot, ring, grid";
        check(
            "shape = \"rong\"",
            &[],
            &format!("f:1:9 unknown shape `rong`; did you mean `ring`? {known}"),
        );
        check("[shape]\nkind = \"\"", &[], &format!("f:2:8 unknown shape ``; {known}"));
        check("", &["shape=é y"], &format!("--set shape=é y unknown shape `é y`; {known}"));
        let keys = "known keys: kind, inner, outer, color";
        check(
            "[shape]\nkind = \"ring\"\nouted = 1",
            &[],
            &format!("f:3:1 unknown key `shape.outed`; did you mean `outer`? {keys}"),
        );
        check("[shape]\nx = 1", &[], "f:2:1 unknown key `shape.x`; known keys: kind");
        check(
            "[shape]\nkind = \"ring\"\nouter = 0",
            &[],
            "f:3:9 `shape.outer` must be finite and greater than 0, found 0",
        );
        check("shape = \"grid\"", &[], "f:1:9 `shape.cells` is missing");
        check(
            "shape.kind = \"grid\"",
            &["shape.cells=x"],
            "--set shape.cells=x `shape.cells` \
            must be a whole number, found \"x\"",
        );
    }

    #[test]
    fn keys_that_do_not_go_together_are_marked_where_they_stand() {
        let conflict =
            |outer| format!("`shape.inner` must be below `outer`, {outer}; make it smaller");
        check("[shape]\ninner = 1\nkind = \"ring\"", &[], &format!("f:2:9 {}", conflict("1")));
        check(
            "shape = \"ring\"",
            &["shape.outer=0.25"],
            &format!("--set shape.outer=0.25 {}", conflict("0.25")),
        );
        let text = "[shape]\nkind = \"ring\"\nouter = 0.5";
        check(text, &[], &format!("f:1:1 {}", conflict("0.5")));
        check(text, &["shape.inner=0.75"], &format!("--set shape.inner=0.75 {}", conflict("0.5")));
    }

    #[test]
    fn a_value_that_toml_cannot_write_is_refused() {
        let text = |cells| format!("shape = {{ kind = \"grid\", cells = {cells} }}");
        check(
            &text("9223372036854775807"),
            &[],
            &text("9223372036854775807").replacen("shape =", "63", 1),
        );
        check(&text("9223372036854775808"), &[], "f:1:9 `shape` u64 value was too large");
    }

    #[test]
    fn an_entry_lists_the_keys_of_its_part() {
        let names = |entry: usize| -> Vec<_> {
            shapes().entries()[entry].keys().into_iter().map(|key| key.name).collect()
        };
        assert_eq!((names(0), names(1)), (vec![], vec_of(["inner", "outer", "color"])));
        let meaning = shapes().entries()[1].keys().remove(0).meaning;
        assert_eq!(meaning, "radius of the hole, in metres");
        // Without `#[serde(default)]` the key has to be given, whatever the struct's own default.
        let cells = shapes().entries()[2].keys().remove(0);
        assert_eq!((cells.required, cells.default), (true, None));
    }

    fn vec_of<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    #[test]
    #[should_panic(expected = "two parts of family shape are called `dot`")]
    fn two_parts_of_one_name_are_refused() {
        shapes().register(entry::<Dot>());
    }
}
