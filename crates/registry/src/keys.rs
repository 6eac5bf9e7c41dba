//! What keys a struct has, for people and for editors: all of it from the struct's JSON schema.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use crate::text::value_text;

/// One key of a part or section, for people to read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Whether it must be given.
    pub required: bool,
    /// What it is when it is not given; `None` for nothing at all.
    pub default: Option<Value>,
    /// The numbers allowed, such as `> 0`; empty if the default's type says it all.
    pub range: String,
    /// The words to choose from; empty if it is not a matter of words.
    pub words: Vec<String>,
    /// What it does.
    pub meaning: String,
    /// How many entries an array of a fixed length has room for.
    #[serde(skip)]
    pub(crate) room: Option<u64>,
}

impl Key {
    /// The default as it would be written in a config.
    pub fn default_text(&self) -> Option<String> {
        let value = toml::Value::try_from(self.default.as_ref()?);
        Some(value_text(&value.expect("a default is a TOML value")))
    }
}

/// The keys of a struct, found in its schema the first time they are asked for: every config that is
/// read needs those of all its sections, several times.
pub fn keys_of<C: JsonSchema + 'static>() -> Arc<[Key]> {
    static FOUND: Mutex<BTreeMap<TypeId, Arc<[Key]>>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = || keys_in(&schema_of::<C>()).into();
    found.entry(TypeId::of::<C>()).or_insert_with(keys).clone()
}

/// The JSON schema (2020-12) of a table with the keys of `C` and no others.
///
/// It refers to nothing outside itself, so it can stand in a larger one.
pub fn schema_of<C: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<C>().to_value();
    let field = |key: &str| schema.get(key).cloned();
    let mut properties = field("properties").unwrap_or(json!({}));
    properties.as_object_mut().expect("fields by name").values_mut().for_each(tidy);
    json!({
        "type": "object",
        "properties": properties,
        "required": field("required").unwrap_or(json!([])),
        "additionalProperties": false,
    })
}

/// The keys in a schema by [`schema_of`].
pub(crate) fn keys_in(schema: &Value) -> Vec<Key> {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let fields = schema["properties"].as_object().expect("written by `schema_of`");
    let key = |(name, field): (&String, &Value)| Key {
        name: name.clone(),
        required: required.iter().any(|required| required == name),
        default: field.get("default").cloned(),
        range: describe_range(field),
        words: words_of(field),
        meaning: field["description"].as_str().unwrap_or_default().to_owned(),
        room: field["maxItems"].as_u64(),
    };
    fields.iter().map(key).collect()
}

/// Leaves in the schema of a field what a reader of the config can use.
fn tidy(field: &mut Value) {
    let Some(field) = field.as_object_mut() else { return };
    if let Some(Value::String(text)) = field.get_mut("description") {
        *text = text.lines().collect::<Vec<_>>().join(" ");
    }
    // An optional key that is left out is not `null`, which TOML does not have.
    if field.get("default").is_some_and(Value::is_null) {
        field.remove("default");
    }
    if let Some(Value::Array(types)) = field.get_mut("type")
        && types.len() == 2
        && types[1] == "null"
    {
        let only = types.swap_remove(0);
        field.insert("type".into(), only);
    }
    // Words that are documented one by one are words all the same.
    let words: Option<Vec<Value>> = field.get("oneOf").and_then(|choices| {
        let words = choices.as_array()?.iter().map(|choice| match choice.get("const") {
            Some(word) => Some(vec![word.clone()]),
            None => choice.get("enum")?.as_array().cloned(),
        });
        words.collect::<Option<Vec<_>>>().map(|words| words.concat())
    });
    if let Some(words) = words.filter(|words| words.iter().all(Value::is_string)) {
        field.remove("oneOf");
        field.insert("type".into(), "string".into());
        field.insert("enum".into(), words.into());
    }
}

fn words_of(field: &Value) -> Vec<String> {
    let words = field["enum"].as_array().map_or(&[][..], Vec::as_slice);
    words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `> 0`, `≥ 0`, `0 ≤ … < 1`.
fn describe_range(field: &Value) -> String {
    // An array's range is that of its items.
    let field = field.get("items").unwrap_or(field);
    let bound = |key: &str, sign: &str| {
        let bound = field.get(key).filter(|bound| !bound.is_null())?;
        Some((sign.to_owned(), describe_bound(bound)))
    };
    let lower = bound("minimum", "≤").or(bound("exclusiveMinimum", "<"));
    let upper = bound("maximum", "≤").or(bound("exclusiveMaximum", "<"));
    match (lower, upper) {
        (None, None) => String::new(),
        (None, Some((sign, most))) => format!("{sign} {most}"),
        (Some((sign, least)), None) if sign == "≤" => format!("≥ {least}"),
        (Some((_, least)), None) => format!("> {least}"),
        (Some((from, least)), Some((to, most))) => format!("{least} {from} … {to} {most}"),
    }
}

/// A number, long powers of ten as such.
fn describe_bound(bound: &Value) -> String {
    let digits = bound.to_string();
    match digits.strip_prefix('1') {
        Some(zeros) if 9 <= zeros.len() && zeros.bytes().all(|digit| digit == b'0') => {
            format!("10^{}", zeros.len())
        }
        _ => digits,
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::range::{Fraction, NonNegative, Positive, Size, Steps};

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Color {
        /// as blood
        Red,
        Green,
        /// as the sky
        Blue,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Keys {
        /// a number
        /// on two lines
        eps: Positive,
        pair: [Fraction; 2],
        least: NonNegative,
        size: Size,
        steps: Steps,
        /// a word
        color: Color,
        name: Option<String>,
    }

    impl Default for Keys {
        fn default() -> Self {
            Self {
                eps: Positive::new(1e-8),
                pair: [0.9, 0.999].map(Fraction::new),
                least: NonNegative::new(0.0),
                size: Size::new(100),
                steps: Steps::new(3),
                color: Color::Red,
                name: None,
            }
        }
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Given {
        path: String,
        #[serde(default)]
        rest: String,
    }

    /// `name default [range] words: meaning` of each key.
    #[track_caller]
    fn check<C: JsonSchema + 'static>(expected: &[&str]) {
        let line = |key: &Key| {
            let default = match (key.required, key.default_text()) {
                (true, None) => "required".into(),
                (false, default) => default.unwrap_or("none".into()),
                (true, Some(default)) => panic!("{} is required and has {default}", key.name),
            };
            let words = key.words.join(" ");
            format!("{} {default} [{}] {words}: {}", key.name, key.range, key.meaning)
        };
        assert_eq!(keys_of::<C>().iter().map(line).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_key_has_default_range_words_and_meaning() {
        check::<Keys>(&[
            "eps 1e-8 [> 0] : a number on two lines",
            "pair [0.9, 0.999] [0 ≤ … < 1] : ",
            "least 0.0 [≥ 0] : ",
            "size 100 [1 ≤ … ≤ 1048576] : ",
            "steps 3 [1 ≤ … ≤ 10^12] : ",
            "color \"red\" [] green red blue: a word",
            "name none [] : ",
        ]);
        check::<Given>(&["path required [] : ", "rest \"\" [] : "]);
    }

    #[test]
    fn a_schema_stands_for_itself() {
        let expected = json!({
            "type": "object",
            "properties": {
                "eps": {
                    "description": "a number on two lines",
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "default": 1e-8,
                },
                "pair": {
                    "type": "array",
                    "items": { "type": "number", "minimum": 0, "exclusiveMaximum": 1 },
                    "minItems": 2,
                    "maxItems": 2,
                    "default": [0.9, 0.999],
                },
                "least": { "type": "number", "minimum": 0, "default": 0.0 },
                "size": { "type": "integer", "minimum": 1, "maximum": 1_048_576, "default": 100 },
                "steps": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 1_000_000_000_000_i64,
                    "default": 3,
                },
                "color": {
                    "description": "a word",
                    "type": "string",
                    "enum": ["green", "red", "blue"],
                    "default": "red",
                },
                "name": { "type": "string" },
            },
            "required": [],
            "additionalProperties": false,
        });
        assert_eq!(schema_of::<Keys>(), expected);
    }
}
