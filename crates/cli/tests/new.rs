//! `cli new` on every kind of text: what it says of it, and that the config it writes is a good one.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn cli(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cli"));
    command.current_dir(directory).args(args).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Numbers below `n` that look random and are the same each time: Knuth's linear congruential generator.
fn numbers(n: u64) -> impl Iterator<Item = u64> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    })
}

/// `len` words of letters.
fn words(len: usize) -> String {
    let mut letters = numbers(20).map(|n| char::from(b'a' + n as u8));
    let word = |n: u64| letters.by_ref().take(2 + n as usize).collect::<String>();
    numbers(7).take(len).map(word).collect::<Vec<_>>().join(" ")
}

/// The same in lines of ten words.
fn prose(len: usize) -> String {
    let words = words(len);
    let words: Vec<_> = words.split(' ').collect();
    words.chunks(10).map(|line| line.join(" ") + ",\n").collect()
}

fn one_each(letters: &[char], len: usize) -> String {
    numbers(letters.len() as u64).take(len).map(|n| letters[n as usize]).collect()
}

/// Makes a config for a text, and compares it with what it must and must not say. A comment may be
/// broken anywhere, so all white space counts as a blank.
#[track_caller]
fn check(content: &str, says: &[&str], does_not_say: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("my text.txt"), content).expect("writable");
    let output = cli(directory.path(), &["new", "my text.txt", "--budget", "5s", "--threads", "1"]);
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()), "{error}");
    assert!(error.ends_with("train it: cargo cli run 'my text.toml'\n"), "{error}");

    let config = fs::read_to_string(directory.path().join("my text.toml")).expect("a config");
    assert!(config.lines().all(|line| line.chars().count() < 130), "{config}");
    let words = config.replace("\n#", " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in says {
        assert!(words.contains(expected), "no {expected:?} in\n{config}");
    }
    for other in does_not_say {
        assert!(!words.contains(other), "{other:?} in\n{config}");
    }
    let output = cli(directory.path(), &["check", "my text.toml", "--no-time"]);
    let (code, error) = (output.status.code(), text(&output.stderr));
    assert_eq!((code, error), (Some(0), String::new()), "{config}");
    assert!(text(&output.stdout).starts_with("text "));
    config
}

const CRLF: &str = "end in CR LF";
const REPEATS: &str = "It repeats itself";
const TINY: &str = "It is tiny";
const LETTERS: &str = "make up nearly all of it";
const RECORDS: &str = "each is a document";
const CODE: &str = "source code or markup";
const LARGE: &str = "Its alphabet is large";

#[test]
fn prose_is_trained_on_as_it_is() {
    let config = check(
        &prose(12_000),
        &[
            "path = \"my text.txt\"",
            "tokenizer = \"char\"",
            "split = [0.9, 0.1, 0.0]",
            "layer_norm = true",
            "23 characters are different",
            "passes over the text",
        ],
        &[CRLF, REPEATS, TINY, LETTERS, RECORDS, CODE, LARGE, "separator"],
    );
    // Every key is explained, but for the second of a pair.
    let keys = config.lines().filter(|line| line.contains(" = ") && !line.starts_with('#'));
    let bare: Vec<_> = keys.filter(|line| !line.contains(" # ")).collect();
    assert_eq!(bare, ["limit = 1.0"]);
}

#[test]
fn line_ends_of_dos_are_named() {
    let dos = prose(5000).replace('\n', "\r\n");
    check(&dos, &["Its lines end in CR LF", "tr -d '\\r'"], &[RECORDS, REPEATS]);
    let mixed = dos.replacen("\r\n", "\n", 100);
    check(&mixed, &["400 of its 500 lines end in CR LF"], &[]);
}

#[test]
fn a_large_alphabet_falls_back_to_bytes() {
    let common: Vec<char> = ('\u{4e00}'..'\u{4f90}').collect();
    let mut chinese = one_each(&common, 40_000);
    chinese.extend('\u{5000}'..'\u{5100}');
    let says = [
        LARGE,
        "tokenizer = { kind = \"char_byte\", min_count = 64 }",
        "400 characters that occur 64 times or more",
        "embedding_size",
    ];
    check(&chinese, &says, &["tokenizer = \"char\""]);
    let mut emoji = one_each(&('\u{1f300}'..'\u{1f450}').collect::<Vec<_>>(), 30_000);
    emoji.push('\n');
    check(&emoji, &[LARGE, "min_count = "], &[]);
}

#[test]
fn there_is_little_to_learn_in_a_genome() {
    let bases = one_each(&['A', 'C', 'G', 'T'], 42_000);
    let lines = bases.as_bytes().chunks(70).map(|line| text(line) + "\n");
    let genome = ">some virus\n".to_owned() + &lines.collect::<String>();
    let says = ["4 letters", LETTERS, "1.386 nats (2.00 bits) a letter", "hidden_size = 64 "];
    check(&genome, &says, &[RECORDS, REPEATS]);
}

#[test]
fn short_lines_are_documents() {
    let names = words(4000).replace(' ', "\n") + "\n";
    check(&names, &[RECORDS, "separator = \"\\n\""], &[LETTERS, TINY]);
    check(&names.replace('\n', "\r\n"), &[RECORDS, "separator = \"\\r\\n\"", CRLF], &[]);
}

#[test]
fn source_code_is_seen() {
    let code = words(4000).split(' ').fold(String::new(), |mut code, word| {
        let _ = writeln!(code, "fn {word}(x: u8) {{\n    {word}({{ x }}[{}]);\n}}", word.len());
        code
    });
    check(&code, &[CODE], &[RECORDS, LETTERS]);
}

#[test]
fn repetition_is_measured() {
    check(&prose(3000).repeat(4), &[REPEATS, "75 % of its stretches"], &[TINY]);
}

#[test]
fn one_long_line_is_no_harm() {
    check(&words(200_000), &["in 1 line;", "Its longest line has"], &[RECORDS, LETTERS]);
}

#[test]
fn a_tiny_text_will_be_known_by_heart() {
    check(&prose(1000), &[TINY, "overfitting", "split = [0.9, 0.1, 0.0]"], &[]);
    let says = [TINY, "too short to keep a part", "split = [1.0, 0.0, 0.0]", "batch_size = 1 "];
    check("To be, or not to be: that is the question.\n", &says, &[]);
    check("abc", &[TINY, "seq_len = 1 "], &[]);
}

#[test]
fn marks_of_other_encodings_are_named() {
    check(&format!("\u{feff}{}", prose(5000)), &["byte order mark"], &[]);
    let zeros: String = prose(5000).chars().flat_map(|c| [c, '\0']).collect();
    check(&zeros, &["50 % of its characters are zero", "iconv -f UTF-16LE"], &[]);
}

#[test]
fn several_files_and_patterns_lead_from_the_config() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("texts")).expect("writable");
    fs::create_dir_all(path("configs/deep")).expect("writable");
    fs::write(path("texts/1.txt"), prose(2000)).expect("writable");
    fs::write(path("texts/2.txt"), prose(1000)).expect("writable");
    let check = |args: &[&str], config: &str, expected: &str| {
        let output = cli(directory.path(), &[&["new", "--budget", "5s"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let found = fs::read_to_string(path(config)).expect("a config");
        let line = found.lines().find(|line| line.starts_with("path = ")).expect("a path");
        assert!(line.starts_with(expected), "{line}");
        assert_eq!(cli(directory.path(), &["check", config, "--no-time"]).status.code(), Some(0));
    };
    check(&["texts/*.txt"], "texts.toml", "path = \"texts/*.txt\" ");
    let deep = "configs/deep/c.toml";
    check(&["texts/2.txt", "-o", deep], deep, "path = \"../../texts/2.txt\" ");
    check(
        &["texts/1.txt", "texts/2.txt", "-o", deep, "--force"],
        deep,
        "path = [\"../../texts/1.txt\", \"../../texts/2.txt\"] ",
    );
    let absolute = path("texts/1.txt").display().to_string();
    check(&[&absolute, "-o", deep, "--force"], deep, &format!("path = {absolute:?} "));

    let output = cli(directory.path(), &["new", "texts/1.txt", "--budget", "5s", "-o", "-"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(text(&output.stdout).contains("path = \"texts/1.txt\""));
    assert!(!path("-").exists() && !path("1.toml").exists());
}

/// The seconds of `about 1 min 5 s` in a text.
fn seconds(line: &str) -> f64 {
    let words: Vec<_> = line.split_whitespace().collect();
    let about = words.iter().position(|word| *word == "about").expect("a time");
    let unit = |word: &str| match word {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        other => panic!("{other} in {line}"),
    };
    let times = words[about + 1..]
        .chunks(2)
        .map_while(|pair| Some((pair[0].parse::<f64>().ok()?, pair[1])));
    times.map(|(number, word)| number * unit(word)).sum()
}

/// How long the run then takes is another matter, which a machine that does something else beside it
/// would decide.
#[test]
fn a_plan_stays_within_its_budget() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("a.txt"), prose(12_000)).expect("writable");
    let said = cli(directory.path(), &["new", "a.txt", "--budget", "6s", "--threads", "1"]);
    let said = text(&said.stderr);
    let said = seconds(&said.lines().rev().nth(1).expect("a summary").replace(',', " "));
    assert!(0.0 < said && said <= 6.0, "{said}");
    let checked = text(&cli(directory.path(), &["check", "a.toml", "--threads", "1"]).stdout);
    let line = checked.lines().find(|line| line.starts_with("time ")).expect("a time");
    assert!(0.0 < seconds(line), "{line}");
    let run = cli(directory.path(), &["run", "a.toml", "--quiet", "--threads", "1"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
}

#[test]
fn a_check_says_nothing_of_time_where_it_is_told_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("a.txt"), prose(500)).expect("writable");
    fs::write(directory.path().join("c.toml"), "[data]\npath = \"a.txt\"\n").expect("writable");
    let out =
        |args: &[&str]| text(&cli(directory.path(), &[&["check", "c.toml"], args].concat()).stdout);
    let (with, without) = (out(&["--threads", "1"]), out(&["--no-time"]));
    assert!(!without.contains("time "), "{without}");
    let time = with.strip_prefix(&without).expect("the same before it");
    assert!(time.starts_with("time        about ") && time.lines().count() == 1, "{time}");
    let made = out(&["--no-time", "--set", "data={ kind = \"copy\" }"]);
    assert!(made.contains("the text's entropy is 0.50"), "{made}");
}

/// A directory with texts of all sorts in it.
fn scene() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, content: &[u8]| {
        fs::write(directory.path().join(name), content).expect("writable")
    };
    write("good.txt", prose(100).as_bytes());
    write("empty.txt", b"");
    write("one.txt", b"aaaa");
    write("two.txt", b"ab");
    write("latin1.txt", b"caf\xe9\n");
    write("utf16.txt", b"\xff\xfea\0b\0");
    write("binary", b"\x7fELF\x02\x01\x01\0\xff\xf0");
    write("there.toml", b"mine");
    fs::create_dir(directory.path().join("sub")).expect("writable");
    directory
}

#[test]
fn bad_input_gets_a_clear_word() {
    let scene = scene();
    let check = |args: &[&str], code: i32, expected: &str, help: &str| {
        let output = cli(scene.path(), &[&["new"], args].concat());
        let error = text(&output.stderr);
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(code), String::new()),
            "{error}"
        );
        let lines: Vec<_> = error.lines().collect();
        assert!(lines[0].starts_with(&format!("error: {expected}")), "{error}");
        assert!(lines.len() <= 6 && lines[lines.len() - 1].starts_with("help: "), "{error}");
        assert!(lines[lines.len() - 1].contains(help), "{error}");
    };
    check(&["no.txt"], 3, "no.txt: cannot read the text: No such file", "give a text file");
    check(&["no/*.txt"], 3, "no/*.txt: no file matches this pattern", "pattern");
    check(&["sub"], 3, "sub: cannot read the text: is a directory", "give a text file");
    check(&["good.txt", "empty", "-o", "c.toml"], 3, "empty: cannot read the text", "text file");
    check(&["empty.txt"], 3, "empty.txt: the text is empty", "put some text into it");
    check(&["one.txt"], 3, "one.txt: every character of the text is \"a\"", "two different");
    check(
        &["two.txt"],
        3,
        "two.txt: the training text has 2 characters, 3 are needed",
        "longer text",
    );
    check(&["latin1.txt"], 3, "latin1.txt:1: not UTF-8: byte 0xe9 at offset 3", "iconv -f LATIN1");
    check(&["utf16.txt"], 3, "utf16.txt:1: not UTF-8: byte 0xff at offset 0", "iconv -f UTF-16");
    check(&["binary"], 3, "binary:1: not UTF-8: byte 0xff at offset 8", "no text at all");
    check(&["good.txt", "-o", "there.toml"], 2, "there.toml: is there already", "--force");
    check(
        &["good.txt", "-o", "good.txt", "--force"],
        2,
        "good.txt: is the text itself",
        "-o CONFIG",
    );
    check(&["good.txt", "-o", "sub", "--force"], 4, "sub: cannot write the config", "place");
    check(
        &["good.txt", "-o", "no/c.toml"],
        4,
        "no/c.toml: cannot write the config: No such",
        "place",
    );
    check(
        &["good.txt", "-o", "good.txt/c.toml"],
        4,
        "good.txt/c.toml: cannot write the config",
        "place",
    );
    check(&["good.txt", "-o", "/proc/c.toml"], 4, "/proc/c.toml: cannot write the config", "place");
    for budget in ["0", "-1", "soon", "10", "1s", "10years", ""] {
        let expected =
            format!("command line: invalid value '{budget}' for '--budget <TIME>': must be ");
        check(&["good.txt", "--budget", budget], 2, &expected, "");
    }
    check(&[], 2, "command line: the following required arguments were not provided: <TEXT>", "");
    check(&[""], 2, "command line: a value is required for '<TEXT>...'", "");
    check(&["good.txt", "--threads", "0"], 2, "command line: invalid value '0'", "");

    let left: Vec<_> = fs::read_dir(scene.path()).expect("a directory").collect();
    assert_eq!(left.len(), 9, "something was written");
    assert_eq!(fs::read(scene.path().join("there.toml")).expect("there"), b"mine");
}
