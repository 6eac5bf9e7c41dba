//! The schema for editors says of a config what `Config::parse` says.

use std::sync::LazyLock;

use experiment::{Config, Family, Parts, schema, section_keys};
use integration_tests::{cli, project};
use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::select;
use registry::{Document, document_text};
use toml::{Table, Value};

static PARTS: LazyLock<Parts> = LazyLock::new(Parts::builtin);
static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&schema(&PARTS)).expect("a valid schema"));

/// What the schema says against a config.
fn by_schema(config: &Table) -> Result<(), String> {
    let json = serde_json::to_value(config).expect("no infinite number");
    let errors: Vec<_> = VALIDATOR.iter_errors(&json).map(|error| error.to_string()).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

/// What `Config::parse` says against it.
fn by_parse(config: &Table) -> Result<(), String> {
    let document = Document::new("f.toml", document_text(config), [""; 0]);
    Config::parse(&document, &PARTS).map(drop).map_err(|error| error.to_string())
}

fn table(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Keys that do not go together: a place and some words of what `Config::parse` says, and a config
/// in which nothing else is wrong. A schema could say little of this, and nothing a person would
/// want to read.
const CROSS_KEYS: [(&str, &str, &str); 14] = [
    ("data.split", "must add up to 1", "data = { path = 'x', split = [0.5, 0.25, 0.0] }"),
    ("data.split", "nothing to train on", "data = { path = 'x', split = [0.0, 1.0, 0.0] }"),
    ("data.order", "contexts", "data = { kind = 'markov', order = 9 }"),
    ("model.tied", "an embedding as wide", "data.path = 'x'\nmodel.tied = true"),
    ("model.residual", "connects layers", "data.path = 'x'\nmodel.residual = true"),
    (
        "model.variational_dropout",
        "and none are",
        "data.path = 'x'\nmodel.variational_dropout = true",
    ),
    (
        "model.drop_connect",
        "has none",
        "data.path = 'x'\nmodel = { cell = 'min_gru', drop_connect = 0.5 }",
    ),
    ("model.forget_bias", "has none", "data.path = 'x'\nmodel.forget_bias = 1"),
    (
        "optimizer.nesterov",
        "without momentum",
        "data.path = 'x'\noptimizer = { kind = 'sgd', nesterov = true }",
    ),
    ("schedule.kind", "listens to the validation", "data.path = 'x'\nschedule.kind = 'plateau'"),
    (
        "schedule.steps",
        "only 30000 are left",
        "data.path = 'x'\nschedule = { kind = 'linear', steps = 30001 }",
    ),
    ("schedule.warmup", "of a run of", "data.path = 'x'\nschedule.warmup = 30001"),
    ("train.shards", "must divide the lanes", "data.path = 'x'\ntrain.shards = 2"),
    ("train.patience", "counts evaluations", "data.path = 'x'\ntrain.patience = 3"),
];

fn is_cross_key(error: &str) -> bool {
    let is = |(key, words, _): &(&str, &str, &str)| {
        // Any schedule may have a length, under a name of its own.
        let is_length = key.starts_with("schedule.") && words.contains("are left");
        match is_length {
            true => error.starts_with("`schedule.") && error.contains(" are left for it"),
            false => error.starts_with(&format!("`{key}` ")) && error.contains(words),
        }
    };
    CROSS_KEYS.iter().any(is)
}

#[track_caller]
fn check_agreement(config: &Table) {
    match (by_schema(config), by_parse(config)) {
        (Ok(()), Err(error)) if is_cross_key(&error) => {}
        (by_schema, by_parse) if by_schema.is_ok() == by_parse.is_ok() => {}
        (by_schema, by_parse) => {
            panic!("{config}\nschema: {by_schema:?}\nConfig::parse: {by_parse:?}")
        }
    }
}

#[test]
fn the_schema_that_is_checked_in_is_that_of_the_code() {
    let path = project("configs/schema.json");
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let listed = cli(&["list", "--schema"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert!(found == listed.out, "{} is out of date: run `cargo xtask schema`", path.display());
}

#[test]
fn the_schema_is_one_by_its_own_standard() {
    let schema = schema(&PARTS);
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn every_config_of_the_project_is_valid_and_names_its_schema() {
    let mut configs = 0;
    for file in std::fs::read_dir(project("configs")).expect("configs/ is there") {
        let path = file.expect("readable").path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        let place = path.display();
        assert!(text.starts_with("#:schema schema.json\n"), "{place} does not start with it");
        assert_eq!(by_schema(&table(&text)), Ok(()), "{place}");
        configs += 1;
    }
    assert!(0 < configs);
}

#[test]
fn the_config_that_a_run_leaves_behind_is_valid() {
    for Family { key, parts, .. } in PARTS.families() {
        for part in parts.iter().filter(|part| part.name != "file" && part.name != "plateau") {
            let mut config = table("data.path = 'x'");
            set_part(&mut config, key, part.name, None);
            if key == "data.kind" && part.name != "text" {
                config["data"].as_table_mut().expect("a section").remove("path");
            }
            let document = Document::new("f.toml", document_text(&config), [""; 0]);
            let parsed = Config::parse(&document, &PARTS).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(by_schema(&parsed.to_toml()), Ok(()), "{key} = {}", part.name);
        }
    }
}

#[test]
fn a_part_with_all_its_defaults_written_out_is_valid() {
    for Family { key, parts, .. } in PARTS.families() {
        for part in parts {
            let mut config = base(key, part.name);
            set_part(&mut config, key, part.name, None);
            for key_of_part in part.keys {
                if let Some(default) = key_of_part.default {
                    let default = Value::try_from(default).expect("a TOML value");
                    set_part(&mut config, key, part.name, Some((&key_of_part.name, default)));
                }
            }
            assert_eq!(by_schema(&config), Ok(()), "{key} = {}", part.name);
        }
    }
}

#[test]
fn mistakes_are_refused_by_both() {
    let mistakes = [
        // Unknown keys.
        "data.pth = 'x'",
        "data.path = 'x'\ntrian.steps = 5",
        "data.path = 'x'\ntrain.step = 5",
        "data.path = 'x'\nmodel.hiden_size = 5",
        "data.path = 'x'\noptimizer = { kind = 'adam', eps_inside_root = true }",
        "data.path = 'x'\nmodel.cell = { kind = 'gru', peepholes = true }",
        "data = { kind = 'copy', path = 'x' }",
        "data.path = 'x'\ntransform = [{ kind = 'clip_norm', limt = 1.0 }]",
        // Out of range.
        "data.path = 'x'\noptimizer.learning_rate = 0",
        "data.path = 'x'\noptimizer = { kind = 'sgd', momentum = 1 }",
        "data.path = 'x'\noptimizer = { kind = 'adam', betas = [0.9, 1.0] }",
        "data.path = 'x'\noptimizer = { kind = 'adam', betas = [0.9] }",
        "data.path = 'x'\noptimizer = { kind = 'adam', betas = [0.9, 0.9, 0.9] }",
        "data.path = 'x'\nmodel.hidden_size = 0",
        "data.path = 'x'\nmodel.dropout = 1.0",
        "data = { path = 'x', split = [1.0, 0.0] }",
        "data = { kind = 'copy', symbols = 27 }",
        "data = { kind = 'dyck', kinds = 5 }",
        "data.path = []",
        "data.path = ''",
        "data.path = ['x', '']",
        // Unknown parts.
        "data = { kind = 'txt', path = 'x' }",
        "data.path = 'x'\ndata.tokenizer = 'chars'",
        "data.path = 'x'\nmodel.cell = 'lstn'",
        "data.path = 'x'\nmodel.init = { kind = 'uniform' }",
        "data.path = 'x'\noptimizer.kind = 'admw'",
        "data.path = 'x'\nschedule.kind = 'cos'",
        "data.path = 'x'\ntransform = [{ kind = 'clip' }]",
        // Wrong types.
        "data.path = 5",
        "data = 5",
        "data.path = 'x'\nmodel.cell = 5",
        "data.path = 'x'\nmodel.hidden_size = 1.5",
        "data.path = 'x'\nmodel.hidden_size = '100'",
        "data.path = 'x'\nmodel.dtype = 'f16'",
        "data.path = 'x'\nmodel.dtype = { f32 = {} }",
        "data.path = 'x'\nmodel.cell = { kind = 'vanilla', activation = { tanh = {} } }",
        "data.path = 'x'\nmodel.tied = 1",
        "data.path = 'x'\noptimizer.kind = 5",
        "data.path = 'x'\ntransform = { kind = 'clip_norm' }",
        "data.path = 'x'\ntransform = [{ limit = 5.0 }]",
        // Something missing.
        "",
        "data = {}",
        "data = 'text'",
        "data.path = 'x'\nmodel.init = 'file'",
    ];
    for text in mistakes {
        let config = table(text);
        assert!(by_schema(&config).is_err(), "the schema takes\n{text}");
        assert!(by_parse(&config).is_err(), "Config::parse takes\n{text}");
    }
}

#[test]
fn keys_that_do_not_go_together_are_what_the_schema_lets_pass() {
    for (key, words, text) in CROSS_KEYS {
        let config = table(text);
        assert_eq!(by_schema(&config), Ok(()), "{text}");
        let error = by_parse(&config).expect_err(text);
        assert!(error.starts_with(&format!("`{key}` ")) && error.contains(words), "{error}");
    }
}

#[test]
fn a_float_without_a_fraction_is_what_json_cannot_tell_from_a_whole_number() {
    let config = table("data.path = 'x'\nmodel.hidden_size = 100.0");
    assert_eq!(by_schema(&config), Ok(()));
    assert!(by_parse(&config).is_err());
}

/// A config with nothing but what it needs, where `name` is put at `key`.
fn base(key: &str, name: &str) -> Table {
    match (key, name) {
        ("data.kind", "text") => table("data.path = 'x'"),
        ("data.kind", _) => table("data = {}"),
        ("model.init", "file") => {
            table("data.path = 'x'\nmodel.init = { kind = 'file', path = 'x' }")
        }
        _ => table("data.path = 'x'"),
    }
}

fn entry<'t>(table: &'t mut Table, key: &str) -> &'t mut Table {
    let inner = table.entry(key).or_insert_with(|| Table::new().into());
    if !inner.is_table() {
        *inner = Table::new().into();
    }
    inner.as_table_mut().expect("made a table")
}

/// Puts part `name` where `key` names one of its family, and perhaps one of its keys.
fn set_part(config: &mut Table, key: &str, name: &str, own: Option<(&str, Value)>) {
    let (section, last) = key.split_once('.').expect("a section and a key");
    let part = match (section, last) {
        ("transform", _) => {
            let list = config.entry(section).or_insert_with(|| vec![Table::new()].into());
            list[0].as_table_mut().expect("an entry")
        }
        (section, "kind") => entry(config, section),
        (section, last) => entry(entry(config, section), last),
    };
    part.insert("kind".into(), name.into());
    part.extend(own.map(|(key, value)| (key.to_owned(), value)));
}

/// Values at and around the ends of every range, and of every type. None is a whole number written
/// as a float.
fn values(words: &[String]) -> Vec<Value> {
    let numbers = [-1, 0, 1, 2, 3, 4, 5, 26, 27, 1_048_576, 1_048_577, 100_000_000, 100_000_001];
    let large = [1_000_000_000_000, 1_000_000_000_001, i64::MAX, i64::MIN];
    let floats = [-0.5, 1e-300, 0.5, 0.9999999999999999, 1.0000000000000002];
    let arrays = "a = [[], [0], [0.5, 0.5], [1, 0], [1, 0, 0], [0.5, 0.25, 0.25], [0.5, 1.5],
                       [0, 1, 0], [1, 0, 0, 0], ['x'], ['x', 5], ['x', ''], [['x']], [{}], [true]]";
    let tables = "a = [{}, { kind = 'normal' }, { kind = 'char' }, { x = 1 }, { tanh = {} },
                       { f32 = {} }, { kind = 5 }]";
    let list = |text: &str| table(text)["a"].as_array().expect("an array").clone();
    let mut values: Vec<Value> = numbers.into_iter().chain(large).map(Value::from).collect();
    values.extend(floats.map(Value::from));
    values.extend([true, false].map(Value::from));
    values.extend(["", "x", "normal", "tanh"].map(Value::from));
    values.extend(words.iter().map(|word| word.as_str().into()));
    values.extend([list(arrays), list(tables)].concat());
    values
}

/// Something to change in a config.
#[derive(Clone, Debug)]
enum Edit {
    /// A key of a section.
    Key { section: &'static str, key: String, value: Value },
    /// A part by name, and perhaps a key of its own.
    Part { key: &'static str, name: &'static str, own: Option<(String, Value)> },
}

impl Edit {
    fn apply(&self, config: &mut Table) {
        match self.clone() {
            Self::Key { section, key, value } => _ = entry(config, section).insert(key, value),
            Self::Part { key, name, own } => {
                set_part(
                    config,
                    key,
                    name,
                    own.as_ref().map(|(key, value)| (&**key, value.clone())),
                );
            }
        }
    }
}

/// Every key of everything with every value.
fn edits() -> Vec<Edit> {
    let mut edits = Vec::new();
    for section in section_keys() {
        for key in section.keys {
            let edit = |value| Edit::Key { section: section.name, key: key.name.clone(), value };
            edits.extend(values(&key.words).into_iter().map(edit));
        }
    }
    for Family { key: place, parts, .. } in PARTS.families() {
        if let Some((section, key)) = place.split_once('.').filter(|(name, _)| *name != "transform")
        {
            let names: Vec<_> = parts.iter().map(|part| part.name.to_owned()).collect();
            let edit = |value| Edit::Key { section, key: key.into(), value };
            edits.extend(values(&names).into_iter().map(edit));
        }
        for part in parts {
            let edit = |own| Edit::Part { key: place, name: part.name, own };
            edits.push(edit(None));
            edits.push(edit(Some(("unknown".into(), 1.into()))));
            for key in part.keys {
                let own = |value| edit(Some((key.name.clone(), value)));
                edits.extend(values(&key.words).into_iter().map(own));
            }
        }
    }
    edits
}

#[test]
fn schema_and_parse_agree_on_every_key_with_every_kind_of_value() {
    let edits = edits();
    assert!(5000 < edits.len(), "{}", edits.len());
    let mut taken = 0;
    for edit in edits {
        let mut config = match &edit {
            Edit::Part { key, name, .. } => base(key, name),
            // With evaluations, which `train.patience` counts.
            Edit::Key { .. } => {
                table("data = { path = 'x', split = [0.9, 0.1, 0.0] }\neval.every = 10")
            }
        };
        edit.apply(&mut config);
        check_agreement(&config);
        taken += usize::from(by_schema(&config).is_ok());
    }
    assert!(500 < taken, "{taken}");
}

#[test]
fn schema_and_parse_agree_on_a_name_in_place_of_a_section() {
    for section in ["data", "model", "optimizer", "schedule", "transform", "train", "log", "x"] {
        for value in values(&["adam", "copy", "text", "constant", "clip_norm"].map(String::from)) {
            let mut config = table("data.path = 'x'");
            config.insert(section.into(), value);
            check_agreement(&config);
        }
    }
    check_agreement(&table("data.path = 'x'\ntransform = ['clip_norm', { kind = 'noise' }]"));
    check_agreement(&table("data.path = 'x'\ntransform = ['clip_norm', 'x']"));
}

proptest! {
    #[test]
    fn schema_and_parse_agree_on_configs_with_several_changes(
        changes in proptest::collection::vec(select(EDITS.as_slice()), 2..6),
    ) {
        let mut config = table("data.path = 'x'");
        changes.iter().for_each(|edit| edit.apply(&mut config));
        check_agreement(&config);
    }
}

static EDITS: LazyLock<Vec<Edit>> = LazyLock::new(edits);
