//! The JSON schema of a config, for editors.

use registry::{Entry, Registry, schema_of};
use serde_json::{Map, Value, json};

use crate::Parts;
use crate::config::{
    CheckpointKeys, DataKeys, EvalKeys, LogKeys, ModelKeys, OptimizerKeys, SampleKeys,
    ScheduleKeys, TrainKeys,
};
use crate::parts::default;

/// The schema (JSON Schema 2020-12) of every config that [`Config::parse`](crate::Config::parse)
/// takes with these parts.
///
/// It knows every section, part, key, default and range, but not
/// - keys that go together, such as `model.tied` and `model.embedding_size`;
/// - that `1.0` is no whole number, since JSON has one kind of number;
/// - `inf` and `nan`, since JSON has neither.
pub fn schema(parts: &Parts) -> Value {
    let mut data = schema_of::<DataKeys>();
    data["properties"]["tokenizer"] =
        value("what a symbol of the text is", &parts.tokenizers, default::TOKENIZER);
    let mut model = schema_of::<ModelKeys>();
    model["properties"]["cell"] = value("the kind of recurrent layer", &parts.cells, default::CELL);
    model["properties"]["init"] =
        value("the weights to start from", &parts.initializers, default::INITIALIZER);
    let (optimizer, schedule) = (schema_of::<OptimizerKeys>(), schema_of::<ScheduleKeys>());

    let sections = [
        ("data", section(&parts.sources, default::SOURCE, &data)),
        ("model", model),
        ("optimizer", section(&parts.optimizers, default::OPTIMIZER, &optimizer)),
        ("schedule", section(&parts.schedules, default::SCHEDULE, &schedule)),
        ("transform", json!({ "type": "array", "items": choice(&parts.transforms, None, None) })),
        ("train", schema_of::<TrainKeys>()),
        ("eval", schema_of::<EvalKeys>()),
        ("sample", schema_of::<SampleKeys>()),
        ("checkpoint", schema_of::<CheckpointKeys>()),
        ("log", schema_of::<LogKeys>()),
    ];
    let describe = |(name, schema): (&str, Value)| {
        let described = with_description(summary(name), schema);
        (name.to_owned(), described)
    };
    // A source whose keys all have defaults can be left out; text is none.
    let source = parts.sources.entries().iter().find(|entry| entry.name == default::SOURCE);
    let required: &[&str] = if source.is_some_and(needs_keys) { &["data"] } else { &[] };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config of a character-level language model",
        "type": "object",
        "properties": sections.into_iter().map(describe).collect::<Map<_, _>>(),
        "required": required,
        "additionalProperties": false,
    })
}

/// What a section is about.
pub(crate) fn summary(section: &str) -> &'static str {
    match section {
        "data" => "the text",
        "model" => "the network",
        "optimizer" => "how a gradient becomes a step",
        "schedule" => "how the learning rate goes over the run",
        "transform" => "what is done to the gradient, one after the other",
        "train" => "the loop",
        "eval" => "losses over the validation text",
        "sample" => "text that is written while training",
        "checkpoint" => "what is kept of the model",
        "log" => "lines of metrics",
        _ => unreachable!("there is no section {section}"),
    }
}

/// A key whose value is a part.
fn value<D: ?Sized + 'static>(meaning: &str, family: &Registry<D>, default: &str) -> Value {
    let mut schema = with_description(meaning, choice(family, Some(default), None));
    schema["default"] = default.into();
    schema
}

/// A section that names a part, and has keys of its own beside it.
fn section<D: ?Sized + 'static>(family: &Registry<D>, default: &str, own: &Value) -> Value {
    choice(family, Some(default), Some(own))
}

/// Exactly one part: its bare name where it needs no more, or a table with `kind`, its keys and
/// those in the schema `own`. The `default` needs no `kind`.
fn choice<D: ?Sized + 'static>(
    family: &Registry<D>,
    default: Option<&str>,
    own: Option<&Value>,
) -> Value {
    let table = |entry: &Entry<D>| {
        let part = entry.schema();
        let mut properties = Map::new();
        properties.insert("kind".into(), json!({ "const": entry.name }));
        let mut required = Vec::new();
        if default != Some(entry.name) {
            required.push(Value::from("kind"));
        }
        for schema in [Some(&part), own].into_iter().flatten() {
            properties.extend(schema["properties"].as_object().expect("keys").clone());
            required.extend(schema["required"].as_array().expect("keys").iter().cloned());
        }
        for (key, default) in &entry.beside {
            properties[*key]["default"] = (*default).into();
        }
        json!({
            "title": entry.name,
            "description": format!("{} ({})", entry.summary, entry.source),
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    };
    let bare = family.entries().iter().filter(|entry| !needs_keys(entry));
    let bare: Vec<_> = bare.map(|entry| entry.name).collect();
    let tables = family.entries().iter().map(table);
    json!({ "oneOf": std::iter::once(json!({ "enum": bare })).chain(tables).collect::<Vec<_>>() })
}

fn needs_keys<D: ?Sized + 'static>(entry: &Entry<D>) -> bool {
    entry.keys().iter().any(|key| key.required)
}

/// The schema, with its description in front.
fn with_description(description: &str, schema: Value) -> Value {
    let mut described = Map::new();
    described.insert("description".into(), description.into());
    described.extend(schema.as_object().cloned().unwrap_or_default());
    described.into()
}
