//! `cli list` as people and programs read it.

use integration_tests::cli;
use serde_json::{Value, json};

fn listed(args: &[&str]) -> String {
    let output = cli(&[&["list"], args].concat());
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    output.out
}

fn catalog(args: &[&str]) -> Value {
    serde_json::from_str(&listed(&[args, &["--json"]].concat())).expect("valid JSON")
}

#[test]
fn a_family_is_a_table_of_its_parts_and_their_keys() {
    let text = listed(&["transforms"]);
    let expected = "\
transforms: transform.kind
  clip_value      clips each entry of the gradient, as in min-char-rnn (Mikolov 2012)
    limit     5.0    > 0  greatest absolute value of an entry
";
    assert!(text.starts_with(expected), "{text}");

    let text = listed(&["optimizers"]);
    assert!(text.starts_with("optimizers: optimizer.kind, \"adagrad\" unless given\n"), "{text}");
    let eps = "    eps              1e-8               > 0        keeps the denominator from zero; PyTorch has\n";
    assert!(text.contains(eps), "{text}");
    // The keys that every optimizer has stand in the same section.
    assert!(text.contains("\n[optimizer]  how a gradient becomes a step\n    learning_rate  0.1 "));
    assert!(!text.contains("[train]"));
}

#[test]
fn no_line_is_wider_than_a_hundred_columns() {
    for line in listed(&[]).lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line, line.trim_end());
    }
}

#[test]
fn only_what_has_no_default_must_be_given() {
    let text = listed(&[]);
    let given: Vec<_> = text.lines().filter(|line| line.contains("must be given")).collect();
    assert_eq!(given.len(), 2, "{given:?}");
    assert!(given.iter().all(|line| line.starts_with("    path ")), "{given:?}");

    let catalog = catalog(&[]);
    for section in catalog["sections"].as_array().expect("sections") {
        for key in section["keys"].as_array().expect("keys") {
            assert!(!key["default"].is_null() && key["required"] == false, "{key}");
        }
    }
}

#[test]
fn json_has_every_fact_as_a_value() {
    let catalog = catalog(&[]);
    let find = |list: &Value, name: &str| -> Value {
        let items = list.as_array().expect("an array").iter();
        items.clone().find(|item| item["name"] == name).expect("there is one").clone()
    };
    let optimizers = find(&catalog["families"], "optimizers");
    assert_eq!(
        (&optimizers["key"], &optimizers["default"]),
        (&json!("optimizer.kind"), &json!("adagrad"))
    );
    let adam = find(&optimizers["parts"], "adam");
    assert_eq!(adam["source"], "Kingma & Ba 2015");
    let eps = json!({
        "name": "eps",
        "required": false,
        "default": 1e-8,
        "range": "> 0",
        "words": [],
        "meaning": "added to √v",
    });
    assert_eq!(find(&adam["keys"], "eps"), eps);
    assert_eq!(find(&adam["keys"], "betas")["default"], json!([0.9, 0.999]));
    assert_eq!(find(&adam["keys"], "learning_rate")["default"], 0.001);
    let model = find(&catalog["sections"], "model");
    assert_eq!(find(&model["keys"], "dtype")["words"], json!(["f32", "f64"]));
    let text = find(&find(&catalog["families"], "sources")["parts"], "text");
    let path = find(&text["keys"], "path");
    assert_eq!((&path["default"], &path["required"]), (&Value::Null, &json!(true)));
    let transforms = find(&catalog["families"], "transforms");
    assert_eq!(transforms["default"], Value::Null);
}

#[test]
fn json_of_one_family_has_the_same_form() {
    let (all, some) = (catalog(&[]), catalog(&["schedules"]));
    let families = all["families"].as_array().expect("families").iter();
    let schedules: Vec<_> = families.filter(|family| family["name"] == "schedules").collect();
    assert_eq!(some["families"], json!(schedules));
    assert_eq!(some["sections"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_family_that_is_not_there_is_answered_with_those_that_are() {
    let output = cli(&["list", "optimisers"]);
    assert_eq!((output.code, output.out.as_str()), (2, ""));
    let expected = "error: list: there is no family `optimisers`\n\
        help: did you mean `optimizers`? known families: sources, ";
    assert!(output.err.starts_with(expected), "{}", output.err);
}
