//! The code in the documents: Rust is compiled, TOML and JSON are parsed, commands are run.
//!
//! - `rust` is a doctest, through `documents` in `lib.rs`; `rust,ignore` is an excerpt of a file that
//!   is compiled, and its lines have to stand there in this order.
//! - `toml` is a config, whole or in part, or a `Cargo.toml`.
//! - `sh` is run where it is ours and quick, see [`Place`]; of other programs' commands at least the
//!   program, the package and the flags are known.
//! - `text` is anything else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use experiment::{Config, Parts};
use integration_tests::blocks::{blocks, documents, read, shell, spans};
use integration_tests::{cli, project};
use registry::{Document, document_text};
use tempfile::TempDir;
use toml::{Table, Value};

/// Steps of a run in a document.
const STEPS: u64 = 20;
/// Steps to which a run is said to go on.
const MORE_STEPS: u64 = 40;

#[test]
fn every_block_says_what_it_is() {
    let known = ["rust", "rust,ignore", "rust,no_run", "toml", "sh", "json", "text"];
    for block in documents().iter().flat_map(|document| blocks(document)) {
        assert!(known.contains(&block.language.as_str()), "{}: {}", block.place, block.language);
    }
}

#[test]
fn rust_is_a_doctest_or_an_excerpt() {
    let doctests = fs::read_to_string(project("tests/lib.rs")).expect("text");
    let sources: Vec<_> = ["tests/outside", "crates"].into_iter().flat_map(rust_files).collect();
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let sources: Vec<_> = sources.iter().map(|text| lines(text)).collect();
    for document in documents() {
        for block in blocks(&document) {
            match block.language.as_str() {
                "rust" | "rust,no_run" => {
                    let included = format!("include_str!(\"../{document}\")");
                    assert!(doctests.contains(&included), "{}: add {included}", block.place);
                }
                "rust,ignore" => {
                    let wanted = lines(&block.text);
                    let has = |source: &Vec<String>| {
                        let mut rest = source.iter();
                        let mut wanted = wanted.iter().filter(|line| !line.is_empty());
                        wanted.all(|line| rest.any(|found| found == line))
                    };
                    assert!(sources.iter().any(has), "{}: stands in no file", block.place);
                }
                _ => {}
            }
        }
    }
}

fn rust_files(directory: &str) -> Vec<String> {
    let (mut found, mut directories) = (Vec::new(), vec![project(directory)]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(fs::read_to_string(path).expect("text"));
            }
        }
    }
    found
}

#[test]
fn toml_is_a_config_or_a_manifest() {
    let parts = Parts::builtin();
    for block in documents().iter().flat_map(|document| blocks(document)) {
        let place = &block.place;
        if block.language != "toml" {
            continue;
        }
        let table: Table = block.text.parse().unwrap_or_else(|error| panic!("{place}: {error}"));
        if table.contains_key("dependencies") {
            check_manifest(place, &table);
            continue;
        }
        let document = Document::new(place, document_text(&whole(table)), [""; 0]);
        if let Err(error) = Config::parse(&document, &parts) {
            panic!("{place}: {error}");
        }
    }
}

/// The config that a document shows a part of: with a text to read, and where nothing is said of the
/// text with some of it to validate on, since a schedule may listen to that.
fn whole(mut config: Table) -> Table {
    if !config.contains_key("data") {
        config.insert("data".into(), Value::Table(toml::toml! { split = [0.9, 0.1, 0.0] }));
        let eval = config.entry("eval").or_insert(Value::Table(Table::new()));
        let eval = eval.as_table_mut().expect("a section");
        eval.entry("every").or_insert(Value::Integer(100));
    }
    let data = config.get_mut("data").and_then(Value::as_table_mut).expect("a section");
    if data.get("kind").is_none_or(|kind| kind.as_str() == Some("text")) {
        data.entry("path").or_insert("my.txt".into());
    }
    config
}

/// Asserts that the dependencies are there, in the versions of the workspace.
fn check_manifest(place: &str, manifest: &Table) {
    let workspace: Table = read("Cargo.toml").parse().expect("TOML");
    let known = &workspace["workspace"]["dependencies"];
    let version = |value: &Value| {
        let version = value.get("version").unwrap_or(value);
        version.as_str().map(str::to_owned)
    };
    for (name, wanted) in manifest["dependencies"].as_table().expect("a table") {
        let found = known.get(name).unwrap_or_else(|| panic!("{place}: {name}"));
        match wanted.get("path").and_then(Value::as_str) {
            Some(path) => {
                assert!(path.ends_with(found["path"].as_str().expect("a path")), "{place}: {path}")
            }
            None => assert_eq!(version(wanted), version(found), "{place}: {name}"),
        }
    }
}

#[test]
fn json_is_json() {
    for block in documents().iter().flat_map(|document| blocks(document)) {
        if block.language == "json" {
            let lines: Result<Vec<serde_json::Value>, _> =
                serde_json::Deserializer::from_str(&block.text).into_iter().collect();
            assert!(lines.is_ok(), "{}: {lines:?}", block.place);
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let directory = Path::new(&document).parent().expect("a file");
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or(link);
            if !path.contains("://") && !path.is_empty() {
                let target = project(&directory.join(path).to_string_lossy());
                assert!(target.exists(), "{document}: {link}");
            }
        }
    }
}

/// A directory in which a document's commands are run one after the other: the project's `configs`,
/// a run of one of them, `runs/karpathy`, and a text and a config of the reader's own. What is in
/// `/home/me` is here, and a run takes [`STEPS`], or [`MORE_STEPS`] where it is made longer.
struct Place {
    directory: TempDir,
}

impl Place {
    /// # Panics
    /// If it cannot be made.
    fn new(has_config: bool) -> Self {
        let place = Self { directory: tempfile::tempdir().expect("a directory") };
        let path = place.directory.path();
        fs::create_dir_all(path.join("configs/data")).expect("made");
        for directory in ["configs", "configs/data"] {
            for file in fs::read_dir(project(directory)).expect("there") {
                let file = file.expect("readable");
                if file.path().is_file() {
                    let to = path.join(directory).join(file.file_name());
                    fs::copy(file.path(), to).expect("copied");
                }
            }
        }
        fs::copy(project("configs/data/input.txt"), path.join("my.txt")).expect("copied");
        if has_config {
            fs::write(path.join("my.toml"), "[data]\npath = \"my.txt\"\n").expect("written");
        }
        std::env::set_current_dir(path).expect("entered");
        place.run("the run that is there before", &["run", "configs/karpathy.toml"]);
        place
    }

    #[track_caller]
    fn run(&self, place: &str, args: &[&str]) {
        let home = self.directory.path().to_string_lossy();
        let mut args: Vec<_> = args.iter().map(|arg| arg.replace("/home/me", &home)).collect();
        let (starts, goes_on) = (args[0] == "run", args[0] == "resume");
        let steps = format!("train.steps={}", if goes_on { MORE_STEPS } else { STEPS });
        match args.iter_mut().find(|arg| arg.starts_with("train.steps=")) {
            Some(given) => *given = steps,
            None if starts => args.extend(["--set".into(), steps]),
            None => {}
        }
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let output = cli(&args);
        assert_eq!(output.code, 0, "{place}: cli {}\n{}", args.join(" "), output.err);
    }
}

#[test]
fn commands_of_ours_run() {
    let mut ran = 0;
    for document in documents() {
        let commands = shell(&document);
        let ours: Vec<_> =
            commands.iter().filter_map(|(place, words)| Some((place, ours(words)?))).collect();
        if ours.is_empty() {
            continue;
        }
        let makes_config = ours.iter().any(|(_, args)| args[0] == "new");
        let directory = Place::new(!makes_config);
        for (place, args) in ours {
            check_flags(place, &args);
            // It would wait for somebody to type.
            if !args.contains(&"--interactive") {
                directory.run(place, &args);
                ran += 1;
            }
        }
    }
    assert!(0 < ran);
}

#[test]
fn commands_within_the_text_exist() {
    for document in documents() {
        for (place, words) in spans(&document) {
            if let Some(args) = ours(&words) {
                check_flags(&place, &args);
            }
        }
    }
}

#[test]
fn other_programs_are_known_ones() {
    let packages = packages();
    let cargo = ["add", "bench", "build", "doc", "fmt", "init", "install", "new", "run", "test"];
    for (place, words) in documents().iter().flat_map(|document| shell(document)) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let is_known = match words[..] {
            ["cli" | "git" | "jq" | "cd" | "mkdir" | "cp" | "diff" | "xdg-open", ..] => true,
            ["cargo", "cli" | "xtask" | "clippy", ..] => true,
            ["cargo", command, ..] => cargo.contains(&command),
            _ => false,
        };
        assert!(is_known, "{place}: what is `{}`?", words.join(" "));
        for package in words.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]) {
            assert!(packages.contains(package), "{place}: there is no package {package}");
        }
    }
}

/// The names of the packages in the workspace.
fn packages() -> BTreeSet<String> {
    let lock: Table = read("Cargo.lock").parse().expect("TOML");
    let packages = lock["package"].as_array().expect("packages").iter();
    // What comes from elsewhere says from where.
    let own = packages.filter(|package| package.get("source").is_none());
    own.map(|package| package["name"].as_str().expect("a name").to_owned()).collect()
}

/// The arguments of a command line of `cli`.
fn ours(words: &[String]) -> Option<Vec<&str>> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["cargo", "cli", ref args @ ..] | ["cli", ref args @ ..] if !args.is_empty() => {
            Some(args.to_vec())
        }
        _ => None,
    }
}

/// Asserts that the command and its flags are in its help.
#[track_caller]
fn check_flags(place: &str, args: &[&str]) {
    let help = match args[0].starts_with("--") {
        true => cli(&["--help"]),
        false => cli(&[args[0], "--help"]),
    };
    assert_eq!(help.code, 0, "{place}: there is no command `{}`", args[0]);
    let own = args.iter().take_while(|arg| **arg != "--");
    for flag in own.filter(|arg| arg.starts_with("--")) {
        let flag = flag.split('=').next().expect("a first part");
        let is_there = help.out.split([' ', ',', '\n', '[', ']']).any(|word| word == flag);
        assert!(is_there, "{place}: `{}` has no {flag}", args[0]);
    }
}

#[test]
fn a_part_of_a_config_is_made_whole() {
    let check = |config: &str, expected: &str| {
        let expected: Table = expected.parse().expect("TOML");
        assert_eq!(whole(config.parse().expect("TOML")), expected, "{config}");
    };
    check("", "data = { path = 'my.txt', split = [0.9, 0.1, 0.0] }\neval.every = 100");
    check("eval.every = 7", "data = { path = 'my.txt', split = [0.9, 0.1, 0.0] }\neval.every = 7");
    check("data.tokenizer = 'byte'", "data = { path = 'my.txt', tokenizer = 'byte' }");
    check("data.kind = 'markov'", "data.kind = 'markov'");
}
