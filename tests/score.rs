//! `cli score` and what it is made of.

use std::f64::consts::LN_2;
use std::ops::ControlFlow;
use std::path::Path;

use data_io::Corpus;
use experiment::{Parts, TextModel};
use integration_tests::{cli, run_over};
use serde_json::Value;
use tempfile::TempDir;

/// A run over `text`, which is `text.txt` in the directory.
fn train(text: &str, overrides: &[&str]) -> (TempDir, String) {
    run_over(text, &[&["train.steps=150", "model.hidden_size=20"], overrides].concat())
}

fn write(directory: &TempDir, name: &str, text: &[u8]) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

fn score(args: &[&str]) -> String {
    let output = cli(&[&["score"], args].concat());
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    output.out
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&score(&[args, &["--json"]].concat())).expect("JSON")
}

const TEXT: &str =
    "The lamp was lit.\nA clock ticked on the wall, and the lamp was lit again.\n\nÉté “lit”?\n";

/// Every character's surprise by [`TextModel::score`].
fn surprises(model: &mut TextModel, text: &str) -> Vec<(char, f64)> {
    let corpus = model.encode(Corpus::from(text), "text").expect("known");
    let mut found = Vec::new();
    let see = |symbol, nats| {
        found.push((symbol, nats));
        ControlFlow::Continue(())
    };
    model.score(&corpus.excerpt(0..corpus.len()), see).expect("made");
    found
}

/// A text is scored as the part of a longer one that starts with what the model reads first.
#[test]
fn the_first_character_is_given_the_opening_and_the_others_all_before_them() {
    let long = format!("<{}>", "=".repeat(300));
    for (separator, kind) in [("", "char"), ("\n", "char"), ("lit", "byte"), (&long, "char_byte")] {
        let separator_key = format!("data.separator={separator:?}");
        let tokenizer_key = format!("data.tokenizer={kind}");
        let text = format!("{TEXT}{long}").repeat(5);
        let (_directory, run) = train(&text, &[&separator_key, &tokenizer_key]);
        let mut model = TextModel::open(Path::new(&run), &Parts::builtin()).expect("a checkpoint");
        let opening = if separator.is_empty() { "\n" } else { separator };
        assert_eq!(model.opening(), opening);
        for len in [1, 2, 127, 128, 129, 400] {
            let text: String = TEXT.repeat(5).chars().take(len).collect();
            let found = surprises(&mut model, &text);
            assert_eq!(found.iter().map(|(symbol, _)| symbol).collect::<String>(), text);

            let whole =
                model.encode(Corpus::from(format!("{opening}{text}")), "text").expect("known");
            let mut nats = Vec::new();
            model.read(&whole.excerpt(0..whole.len()), |_, n| nats.push(n)).expect("made");
            let opening_len = model.tokenizer().encode(opening).expect("known").len();
            let mut nats = &nats[opening_len - 1..];
            for (symbol, found) in found {
                let n = model.tokenizer().encode(&symbol.to_string()).expect("known").len();
                let (of_symbol, rest) = nats.split_at(n);
                let expected: f64 = of_symbol.iter().sum();
                assert_eq!(found, expected, "{separator:.9?} {kind} {len} {symbol:?}");
                nats = rest;
            }
            assert!(nats.is_empty());
        }
    }
}

#[test]
fn all_outputs_say_the_same() {
    let (directory, run) = train(&TEXT.repeat(3), &[]);
    // The last line has no end.
    let text = TEXT.trim_end();
    let file = write(&directory, "file.txt", text.as_bytes());
    let mut model = TextModel::open(Path::new(&run), &Parts::builtin()).expect("a checkpoint");
    let surprises = surprises(&mut model, text);
    let n_chars = text.chars().count();
    let nats: f64 = surprises.iter().map(|(_, nats)| nats).sum();

    let chars = score(&[&run, &file, "--chars"]);
    let (mut line, mut column) = (1, 0);
    for ((symbol, nats), found) in surprises.iter().zip(chars.lines()) {
        column += 1;
        let shown = if *symbol == '\n' { "\\n".into() } else { symbol.to_string() };
        assert_eq!(found, format!("{:.4}\t{line}\t{column}\t{shown}", nats / LN_2));
        (line, column) = if *symbol == '\n' { (line + 1, 0) } else { (line, column) };
    }
    assert_eq!(chars.lines().count(), n_chars);

    let by_line: Vec<f64> = {
        let mut rest = surprises.as_slice();
        let mut of_line = |line: &str| {
            let (these, others) = rest.split_at(line.chars().count());
            rest = others;
            these.iter().map(|(_, nats)| nats / LN_2).sum::<f64>()
        };
        text.split_inclusive('\n').map(&mut of_line).collect()
    };
    let lines = score(&[&run, &file, "--lines"]);
    let expected: Vec<_> = (1..)
        .zip(text.split_inclusive('\n'))
        .zip(&by_line)
        .map(|((number, line), bits)| {
            let bits_per_char = bits / line.chars().count() as f64;
            (
                bits_per_char,
                format!("{bits_per_char:.4}\t{number}\t{}\n", line.trim_end_matches('\n')),
            )
        })
        .collect();
    assert_eq!(lines, expected.iter().map(|(_, line)| line.as_str()).collect::<String>());
    let mut sorted = expected;
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let sorted: Vec<&str> = sorted.iter().map(|(_, line)| line.as_str()).collect();
    assert_ne!(sorted.concat(), lines, "a test that sorts");
    assert_eq!(score(&[&run, &file, "--lines", "--sort"]), sorted.concat());

    let json = json(&[&run, &file]);
    let close = |found: &Value, expected: f64| {
        let found = found.as_f64().expect("a number");
        assert!((found / expected - 1.0).abs() < 1e-12, "{found}, expected {expected}");
    };
    assert_eq!((json["chars"].as_u64(), json["lines"].as_u64()), (Some(n_chars as u64), Some(4)));
    close(&json["bits"], nats / LN_2);
    close(&json["nats_per_char"], nats / n_chars as f64);
    close(&json["bits_per_char"], nats / n_chars as f64 / LN_2);
    close(&json["perplexity"], (nats / n_chars as f64).exp());
    assert_eq!((json["opening"].as_str(), json["step"].as_u64()), (Some("\n"), Some(150)));
    let listed = json["by_line"].as_array().expect("lines");
    assert_eq!(listed.len(), by_line.len());
    for (index, (line, bits)) in listed.iter().zip(&by_line).enumerate() {
        assert_eq!(line["line"].as_u64(), Some(index as u64 + 1));
        close(&line["bits"], *bits);
        close(&line["bits_per_char"], bits / line["chars"].as_f64().expect("a number"));
    }

    let summary = score(&[&run, &file, "--top", "2"]);
    let rows: Vec<&str> = summary.lines().collect();
    assert_eq!(rows[0], format!("text        {file}: {n_chars} characters, 4 lines"));
    let (bits, per_char) = (nats / LN_2, nats / n_chars as f64);
    let (bits_per_char, perplexity) = (per_char / LN_2, per_char.exp());
    assert_eq!(
        rows[1],
        format!(
            "surprise    {bits:.1} bits: {bits_per_char:.4} bits a character, {per_char:.4} nats a \
             character, perplexity {perplexity:.3}"
        )
    );
    assert!(rows[2].starts_with("model       step 150, vanilla 1×20; "), "{}", rows[2]);
    assert_eq!((rows.len(), rows[3], rows[4]), (8, "", "hardest lines"));
    for (row, line) in rows[6..].iter().zip(&sorted) {
        let number = line.split('\t').nth(1).expect("a number");
        assert_eq!(row.split_whitespace().nth(2), Some(number), "{summary}");
    }
    assert_eq!(score(&[&run, &file, "--top", "0"]).lines().count(), 3);
}

#[test]
fn a_character_without_a_symbol_costs_what_its_bytes_cost() {
    let (directory, run) = train(&TEXT.repeat(3), &["data.tokenizer=char_byte"]);
    let file = write(&directory, "new.txt", "The 漢\n".as_bytes());
    let chars = score(&[&run, &file, "--chars"]);
    assert_eq!(chars.lines().count(), 6);
    let row = chars.lines().nth(4).expect("the fifth");
    let (bits, rest) = row.split_once('\t').expect("columns");
    assert_eq!(rest, "1\t5\t漢");
    assert!(
        3.0 < bits.parse::<f64>().expect("a number"),
        "three bytes that were never seen: {row}"
    );
}

#[test]
fn texts_that_cannot_be_scored_are_refused_by_their_place() {
    let (directory, run) = train(&TEXT.repeat(3), &[]);
    let here = format!("{}/", directory.path().display());
    let check = |name: &str, text: Option<&[u8]>, expected: &str, help: &str| {
        let path = directory.path().join(name).display().to_string();
        if let Some(text) = text {
            std::fs::write(&path, text).expect("writable");
        }
        for mode in [&[][..], &["--lines"], &["--html", &format!("{here}page.html")]] {
            let output = cli(&[&["score", &run, &path], mode].concat());
            let error = output.err.replace(&here, "");
            assert_eq!(error, format!("error: {expected}\nhelp: {help}\n"));
            assert_eq!((output.code, output.out.as_str()), (3, ""));
            assert!(!directory.path().join("page.html").exists(), "nothing is written");
        }
    };
    let every = "a model trained with data.tokenizer = \"char_byte\" reads every text";
    check(
        "euro.txt",
        Some("The\nlamp €\n".as_bytes()),
        "euro.txt:2:6: the model never saw '€'",
        &format!("it knows 27 characters, such as ,.?ATacdeghiklmnopstwÉé“”; {every}"),
    );
    check(
        "dash.txt",
        Some("été\tThe lamp\n".as_bytes()),
        "dash.txt:1:4: the model never saw '\\t'",
        &format!("it knows 27 characters, such as ,.?ATacdeghiklmnopstwÉé“”; {every}"),
    );
    check(
        "two.txt",
        Some("The L è è \"\n".as_bytes()),
        "two.txt:1:5: the model never saw 'L', nor '\"' nor 'è'",
        &format!("it does know \"l\"; {every}"),
    );
    check(
        "latin.txt",
        Some(b"The\nna\xefve"),
        "latin.txt:2: not UTF-8: byte 0xef at offset 6",
        "convert it, as in `iconv -f LATIN1 -t UTF-8 OLD > NEW`",
    );
    check("empty.txt", Some(b""), "empty.txt: the text is empty", "put some text into it");
    let missing = "check the path; that of a config leads from its file, and --set data.path=FILE overrides it";
    check(
        "none.txt",
        None,
        "none.txt: cannot read the text: No such file or directory (os error 2)",
        missing,
    );
    let file = write(&directory, "good.txt", TEXT.as_bytes());
    let output = cli(&["score", &run, &file, "--html", &format!("{here}none/page.html")]);
    assert_eq!((output.code, output.out.as_str()), (4, ""));
    let error = output.err.replace(&here, "");
    assert!(
        error.starts_with("error: none/page.html: cannot write the page: No such file"),
        "{error}"
    );
}

/// Nothing that a terminal obeys is in the summary, whatever the text has.
#[test]
fn a_summary_is_fit_for_a_terminal() {
    let (directory, run) = train(&TEXT.repeat(3), &["data.tokenizer=byte"]);
    let line = "\x1b[2J\u{9b}31m\u{202e}x\r\t".repeat(40) + "\nb\n";
    let file = write(&directory, "\u{1b}]0;x.txt", line.as_bytes());
    let summary = score(&[&run, &file]);
    assert!(
        summary.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')),
        "{summary:?}"
    );
    assert!(summary.contains("\\u{1b}[2J\\u{9b}31m\\u{202e}x\\r "), "{summary}");
    assert!(summary.lines().any(|row| row.ends_with('…')), "a long line is cut: {summary}");
    let chars = score(&[&run, &file, "--chars"]);
    assert!(chars.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()), "{chars:?}");
}

#[test]
fn a_page_shows_the_whole_text_and_nothing_from_outside() {
    let text = TEXT.replace("clock", "<script>alert(1)</script> & \x07");
    let (directory, run) = train(&text.repeat(3), &[]);
    let file = write(&directory, "file.txt", text.as_bytes());
    let page = directory.path().join("page.html").display().to_string();
    assert_eq!(score(&[&run, &file, "--html", &page]), score(&[&run, &file]));
    let html = std::fs::read_to_string(&page).expect("written");

    for word in ["<script", "http:", "https:", "src=", "url(", "@import", "\x07"] {
        assert!(!html.contains(word), "{word}");
    }
    let list = html.split("<ol class=\"text\">").nth(1).and_then(|rest| rest.split("</ol>").next());
    let list = list.expect("the text");
    let mut shown = String::new();
    for part in list.split('<').skip(1) {
        shown += part.split_once('>').expect("a tag").1.trim_end_matches('\n');
    }
    let shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    assert_eq!(shown, text.replace('\n', "⏎").replace('\x07', "␇"));
    assert_eq!(list.matches("<li id=\"l").count(), 4);

    // As many figures as characters, in the order of the text.
    let chars = score(&[&run, &file, "--chars"]);
    let expected = chars.lines().map(|row| row.split('\t').next().expect("bits"));
    let expected: Vec<f64> = expected.map(|bits| bits.parse().expect("a number")).collect();
    let spans = list.split("<span").skip(1).map(|span| {
        let title = span.split("title=\"").nth(1).expect("a title");
        title.split('"').next().expect("its end")
    });
    let found: Vec<f64> =
        spans.flat_map(str::split_whitespace).map(|bits| bits.parse().expect("a number")).collect();
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 0.0501));
    // The legend says what the colours mean, and those that occur are in it.
    for level in 0..6 {
        assert_eq!(html.matches(&format!("<li><span class=\"s{level}\">")).count(), 1);
    }
    let is_hard = |bits: &f64| (4.0..6.0).contains(bits);
    assert_eq!(list.contains("class=\"s3\""), expected.iter().any(is_hard));
    assert!(html.contains("lang=\"en\"") && html.contains("prefers-color-scheme: dark"));
}

#[test]
fn a_page_ends_before_it_is_too_long_to_show() {
    let (directory, run) = train("ab\n", &["model.hidden_size=2", "train.seq_len=1"]);
    let file = write(&directory, "long.txt", "ab".repeat(500_001).as_bytes());
    let page = directory.path().join("page.html").display().to_string();
    let output = cli(&["score", &run, &file, "--html", &page]);
    let expected =
        format!("{page}: the last 2 characters are left out, as no browser shows so many\n");
    assert_eq!((output.code, output.err), (0, expected));
    assert!(output.out.starts_with(&format!("text        {file}: 1,000,002 characters, 1 line\n")));
    let html = std::fs::read_to_string(&page).expect("written");
    assert!(html.contains("The first 1000000 characters; the other 2 are left out."));
}
