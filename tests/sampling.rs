//! `cli sample`: what is drawn, what is left out, and what of it is copied.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use experiment::{Config, HeldOut, NoveltyPlan, Parts, SplitText, TextModel, novelty, open_config};
use integration_tests::{Output, cli, project, run_over};
use rnn_model::Sampler;
use tempfile::TempDir;
use tensor_core::rng::{Stream, stream};

const TEXT: &str =
    "The lamp was lit. Été came; a clock ticked on the wall, and the lamp was lit again.\n";

/// A run over `text`, which is `text.txt` in the directory.
fn train(text: &str, overrides: &[&str]) -> (TempDir, String) {
    run_over(text, &[&["train.steps=300", "model.hidden_size=30"], overrides].concat())
}

fn sample_all(run: &str, args: &[&str]) -> Output {
    let output = cli(&[&["sample", run], args].concat());
    assert_eq!(output.code, 0, "{}", output.err);
    output
}

fn sample(run: &str, args: &[&str]) -> String {
    sample_all(run, args).out
}

#[test]
fn every_sample_can_be_made_again_by_the_seed_that_is_printed() {
    let (_directory, run) = train(&TEXT.repeat(5), &[]);
    let three = sample_all(&run, &["--length", "50", "--count", "3", "--seed", "7"]);
    assert_eq!(three.err, "seed 7\nseed 8\nseed 9\n");
    let alone = ["7", "8", "9"].map(|seed| {
        let one = sample_all(&run, &["--length", "50", "--seed", seed]);
        assert_eq!(one.err, format!("seed {seed}\n"));
        one.out + "\n"
    });
    assert_eq!(three.out, alone.concat());
    assert_eq!(HashSet::from(alone).len(), 3, "three different texts");
    let last = u64::MAX.to_string();
    let two = sample_all(&run, &["--length", "5", "--count", "2", "--seed", &last]);
    assert_eq!(two.err, format!("seed {last}\nseed 0\n"));
    assert_eq!(sample_all(&run, &["--length", "5"]).err, "seed 42\n");
}

#[test]
fn a_text_ends_with_the_first_of_its_stop_texts() {
    let (_directory, run) = train(&TEXT.repeat(5), &[]);
    let plain = sample(&run, &["--length", "300"]);
    let end = |stop: &str| plain.find(stop).expect("it is in the text") + stop.len();
    for stops in [&["lit"][..], &["lamp", "a"], &["was lit", "é"], &["\n"], &[" ", "no such", "th"]]
    {
        let args: Vec<&str> = stops.iter().flat_map(|stop| ["--stop", stop]).collect();
        let found = sample(&run, &[&["--length", "300"], &args[..]].concat());
        let ends = stops.iter().filter(|stop| plain.contains(**stop)).map(|stop| end(stop));
        assert_eq!(found, plain[..ends.min().expect("one occurs")], "{stops:?}");
    }
    assert_eq!(sample(&run, &["--length", "300", "--stop", "no such"]), plain);
}

#[test]
fn min_p_leaves_out_what_is_unlikely() {
    let (_directory, run) = train(&TEXT.repeat(5), &[]);
    let likeliest = sample(&run, &["--temperature", "0"]);
    assert_eq!(sample(&run, &["--min-p", "1"]), likeliest);
    assert_eq!(sample(&run, &["--min-p", "0"]), sample(&run, &[]));
    let bold = ["--temperature", "3", "--length", "300"];
    let careful = sample(&run, &[&bold[..], &["--min-p", "0.5"]].concat());
    assert!(careful != sample(&run, &bold) && careful != likeliest);
    for value in ["-0.1", "1.1", "nan", "x"] {
        let output = cli(&["sample", &run, "--min-p", value]);
        let expected =
            format!("invalid value '{value}' for '--min-p <P>': must be a number from 0 to 1");
        assert!(output.code == 2 && output.err.contains(&expected), "{}", output.err);
    }
}

/// The spans of `n` characters that a text has more than once.
fn repeated(text: &str, n: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut seen = HashSet::new();
    let again = chars.windows(n).filter(|span| !seen.insert(*span));
    again.map(|span| span.iter().collect()).collect()
}

#[test]
fn no_span_is_repeated() {
    for tokenizer in ["data.tokenizer=char", "data.tokenizer=byte", "data.tokenizer=char_byte"] {
        let (_directory, run) = train(&TEXT.repeat(5), &[tokenizer]);
        for (n, temperature) in [(2, "0.5"), (4, "0"), (4, "0.7"), (9, "0.3")] {
            let length = ["--length", "400", "--temperature", temperature, "--prime", "The lamp"];
            assert_ne!(repeated(&sample(&run, &length), n), [""; 0], "{tokenizer} {n}: a test");
            let most = n.to_string();
            let args = [&length[..], &["--no-repeat", &most]].concat();
            let found = sample(&run, &args);
            // What is in the prime, or begins in it, does not come again either.
            assert_eq!(
                repeated(&format!("The lamp{found}"), n),
                [""; 0],
                "{tokenizer} {n}: {found}"
            );
        }
        // Where nothing is repeated nothing is changed.
        let plain = sample(&run, &["--length", "60"]);
        assert_eq!(sample(&run, &["--length", "60", "--no-repeat", "60"]), plain);
    }
}

#[test]
fn a_text_that_can_only_repeat_itself_ends() {
    let (_directory, run) = train(&"abb".repeat(30), &[]);
    let word = "seed 42\nstopped: every character that could come next repeats a span\n";
    let one = sample_all(&run, &["--no-repeat", "1"]);
    assert!(["ab", "ba"].contains(&one.out.as_str()), "{}", one.out);
    assert_eq!(one.err, word);
    let four = sample_all(&run, &["--no-repeat", "4", "--count", "2"]);
    for text in four.out.lines() {
        // No text of two letters is longer: each of 16 spans once.
        assert!((8..=19).contains(&text.len()) && repeated(text, 4).is_empty(), "{text}");
    }
    for value in ["0", "-1", "1001", "x"] {
        let output = cli(&["sample", &run, "--no-repeat", value]);
        let expected = format!(
            "invalid value '{value}' for '--no-repeat <N>': must be a whole number from 1 to 1000"
        );
        assert!(output.code == 2 && output.err.contains(&expected), "{}", output.err);
    }
}

/// A character is kept from being written in bytes too.
#[test]
fn a_banned_character_is_not_written_in_pieces() {
    let text = "éàéèéàéèüé";
    for tokenizer in ["data.tokenizer=byte", "data.tokenizer=char_byte"] {
        let (_directory, run) = train(&text.repeat(20), &[tokenizer]);
        let mut model = TextModel::open(Path::new(&run), &Parts::builtin()).expect("a checkpoint");
        let mut rng = stream(1, Stream::Sample);
        let bold = Sampler { temperature: 2.0, ..Sampler::default() };
        let mut write = |banned: &[char]| {
            model.prime("é").expect("known");
            let mut text = String::new();
            for _ in 0..3000 {
                let is_banned = |text: &str| text.contains(banned);
                text += model.write_unless(is_banned, &bold, &mut rng).expect("others are left");
            }
            text
        };
        let plain = write(&[]);
        let without = write(&['é', 'à']);
        assert!(plain.contains('é') && plain.contains('à') && without.contains('è'), "{tokenizer}");
        assert!(!without.contains(['é', 'à']), "{tokenizer}");
    }
}

#[test]
fn to_go_on_with_a_text_is_to_have_read_it_at_first() {
    let (_directory, run) = train(&TEXT.repeat(5), &[]);
    let mut model = TextModel::open(Path::new(&run), &Parts::builtin()).expect("a checkpoint");
    let write = |model: &mut TextModel| {
        let mut rng = stream(3, Stream::Sample);
        let sampler = Sampler::default();
        (0..50).map(|_| model.write(&sampler, &mut rng).to_owned()).collect::<String>()
    };
    model.prime("The lamp").expect("known");
    let written = write(&mut model);
    model.go_on("ticked").expect("known");
    assert!(model.go_on("ticked €").is_err(), "and nothing of it is read");
    let found = write(&mut model);
    model.prime(&format!("The lamp{written}ticked")).expect("known");
    assert_eq!(write(&mut model), found);
    assert_ne!(found, written);
}

/// A model that knows its text by heart copies more of it than the text itself repeats, and less the
/// bolder it is.
#[test]
fn what_is_memorised_stands_out_from_what_the_language_repeats() {
    let text = std::fs::read_to_string(project("configs/data/input.txt")).expect("in the project");
    let by_heart = [
        "data.split=[0.9, 0.1, 0.0]",
        "train.steps=3000",
        "model.cell=gru",
        "model.hidden_size=64",
        "optimizer.kind=adam",
        "optimizer.learning_rate=0.005",
    ];
    let (directory, run) = train(&text, &by_heart);
    let args = ["--novelty", "--length", "400", "--seed", "3"];
    let output = sample_all(&run, &args);
    assert_eq!(output.err, "seed 3\n");
    let rows: Vec<Vec<&str>> =
        output.out.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["5", "10", "15", "20", "30", "50", "100", "characters"]);
    let shares = |row: usize| -> Vec<f64> {
        rows[row][2..9].iter().map(|share| share.parse().expect("a share")).collect()
    };
    for (row, temperature) in (2..).zip(["0.5", "0.8", "1", "1.2"]) {
        assert_eq!(
            (rows[row][..2].to_vec(), rows[row][9]),
            (vec!["temperature", temperature], "400")
        );
        assert!(shares(row).is_sorted_by(|a, b| a >= b), "{}", output.out);
    }
    assert_eq!(rows[6][..2], ["validation", "text"]);
    let (careful, bold, language) = (shares(2), shares(5), shares(6));
    assert!(bold[2] < careful[2] && language[2] + 30.0 < careful[2], "{}", output.out);
    assert!(output.out.contains("All 1,401 characters of the training text"), "{}", output.out);

    // The same as JSON.
    let json = sample_all(&run, &[&args[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    let texts = json["samples"].as_array().expect("samples").iter().chain([&json["held_out"]]);
    for (row, text) in (2..).zip(texts) {
        let as_in_table =
            |len: &&str| format!("{:.1}", 100.0 * text["shares"][len].as_f64().expect("a share"));
        let expected: Vec<_> = rows[1][..7].iter().map(as_in_table).collect();
        assert_eq!(rows[row][2..9], expected, "{text}");
        let longest = text["longest"]["text"].as_str().expect("something is copied");
        assert_eq!(Some(longest.chars().count() as u64), text["longest"]["chars"].as_u64());
    }
    assert_eq!((&json["seed"], &json["held_out"]["of"]), (&3.into(), &"validation text".into()));

    // The same from the library, and the longest run stands where it says.
    let mut model = TextModel::open(Path::new(&run), &Parts::builtin()).expect("a checkpoint");
    let split =
        SplitText::of_model(Path::new(&run), &model, None, &Parts::builtin()).expect("there");
    let plan = NoveltyPlan {
        temperatures: vec![0.5],
        sampler: Sampler::default(),
        prime: String::new(),
        length: 400,
        seed: 3,
    };
    let found = novelty(&mut model, &split, &plan).expect("readable");
    assert_eq!((found.training_len, found.baseline.held_out), (1401, HeldOut::Validation));
    let written = &found.samples[0];
    let by_cli = sample(&run, &["--length", "400", "--seed", "3", "--temperature", "0.5"]);
    assert_eq!(written.text, by_cli);
    let shares = [5, 10, 15, 20, 30, 50, 100].map(|len| 100.0 * written.copied.share(len));
    assert_eq!(shares.map(|share| format!("{share:.1}")).to_vec(), rows[2][2..9]);
    let span = written.copied.longest().expect("one");
    let copy: String = written.text.chars().skip(span.start).take(span.len).collect();
    let before = &text[..text.find(&copy).expect("it stands in the text")];
    assert_eq!((span.found, span.line), (before.chars().count(), 1 + before.matches('\n').count()));
    let place = format!(
        "temperature 0.5 {} characters, line {}, character {}: \"",
        span.len,
        span.line,
        span.found + 1
    );
    assert!(output.out.contains(&place), "{place}\n{}", output.out);
    let only = sample(&run, &[&args[..], &["--temperature", "0.5"]].concat());
    assert_eq!(only.lines().nth(2), output.out.lines().nth(2));
    assert!(only.lines().nth(3).expect("a row").starts_with("validation text"), "{only}");

    // Without its text.
    let moved = directory.path().join("moved.txt");
    std::fs::rename(directory.path().join("text.txt"), &moved).expect("writable");
    let refused = |path: &str, code: u8, expected: &str| {
        let output = cli(&[&["sample", path], &args[..]].concat());
        let error = output.err.replace(&format!("{}/", directory.path().display()), "");
        assert!(error.starts_with(expected), "{error}");
        assert_eq!((output.code, output.out.as_str()), (code, ""));
    };
    refused(&run, 3, "error: text.txt: cannot read the text: No such file");
    let moved_text = ["--text", &moved.display().to_string()].map(str::to_owned);
    let with_text = [&args[..], &moved_text.each_ref().map(String::as_str)].concat();
    assert_eq!(sample(&run, &with_text), output.out);
    std::fs::write(directory.path().join("text.txt"), text.replace("lamp", "pond"))
        .expect("writable");
    let other = "error: text.txt: not the text of run/checkpoints/step-00003000.safetensors";
    refused(&run, 3, other);
    let checkpoint = PathBuf::from(&run).join("checkpoints/step-00003000.safetensors");
    let alone = directory.path().join("alone.safetensors");
    std::fs::copy(checkpoint, &alone).expect("writable");
    let outside = "error: alone.safetensors: it lies in no run directory, whose config.toml would name its text\n";
    refused(&alone.display().to_string(), 3, outside);
    assert_eq!(sample(&alone.display().to_string(), &with_text), output.out);
}

#[test]
fn where_nothing_is_held_out_the_last_tenth_is_compared_with_the_rest() {
    let text = "abcdefghij".repeat(9) + "ABCDEabcde";
    let (_directory, run) = train(&text, &["train.steps=5"]);
    let config = open_config(&Path::new(&run).join("config.toml"), &[]).expect("there");
    let config = Config::parse(&config, &Parts::builtin()).expect("valid");
    let mut model = TextModel::open(Path::new(&run), &Parts::builtin()).expect("a checkpoint");
    let split = SplitText::read(&config, Some(model.new_tokenizer())).expect("there");
    let mut plan = NoveltyPlan {
        temperatures: Vec::new(),
        sampler: Sampler::default(),
        prime: String::new(),
        length: 400,
        seed: 3,
    };
    let baseline = novelty(&mut model, &split, &plan).expect("readable").baseline;
    assert_eq!((baseline.held_out, baseline.text.as_str()), (HeldOut::LastTenth, "ABCDEabcde"));
    let span = baseline.copied.longest().expect("one");
    assert_eq!((span.start, span.len, span.found), (5, 5, 0));
    assert_eq!((baseline.copied.share(5), baseline.copied.share(6)), (0.5, 0.0));
    // No longer than a sample.
    plan.length = 7;
    assert_eq!(novelty(&mut model, &split, &plan).expect("readable").baseline.text, "ABCDEab");
    let table = sample(&run, &["--novelty", "--length", "7"]);
    assert!(
        table.contains("\nAs no text is held out, the last tenth of the training text is looked for in the other nine."),
        "{table}"
    );
}
