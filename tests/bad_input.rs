//! Bad input gets a clear word: where, what, how to mend it, the right exit code, nothing written.

use std::path::Path;

use integration_tests::{Output, cli, project};

const CONFIG: &str = "[data]\npath = \"text.txt\"\n";
const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog, then the dog sleeps.\n";

/// Runs a config over a text in an empty directory, and compares exit code and the error's first
/// line, in which the directory's name is left out. Nothing may be written.
#[track_caller]
fn check_run(config: &str, text: Option<&[u8]>, sets: &[&str], code: u8, expected: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("c.toml"), config).expect("writable");
    if let Some(text) = text {
        std::fs::write(path("text.txt"), text).expect("writable");
    }
    let before = entries(directory.path());
    let (config, out) = (path("c.toml").display().to_string(), path("run").display().to_string());
    let mut args = vec!["run", &config, "--out", &out];
    args.extend(sets.iter().flat_map(|set| ["--set", *set]));
    let output = cli(&args);

    let here = format!("{}/", directory.path().display());
    let error = output.err.replace(&here, "");
    assert_eq!(error.lines().next().unwrap_or_default(), expected);
    assert_eq!(output.code, code, "{error}");
    assert!(error.lines().count() <= 6, "{error}");
    assert!(error.lines().last().is_some_and(|line| line.starts_with("help: ")), "{error}");
    assert_eq!(output.out, "");
    assert_eq!(entries(directory.path()), before, "something was written");
}

fn entries(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[track_caller]
fn check_text(text: &[u8], code: u8, expected: &str) {
    check_run(CONFIG, Some(text), &[], code, expected);
}

#[track_caller]
fn check_config(more: &str, expected: &str) {
    check_run(&format!("{CONFIG}{more}"), Some(TEXT), &[], 2, expected);
}

#[track_caller]
fn check_set(set: &str, expected: &str) {
    check_run(CONFIG, Some(TEXT), &[set], 2, &format!("error: --set {set}: {expected}"));
}

#[test]
fn texts_that_cannot_be_trained_on() {
    check_run(
        CONFIG,
        None,
        &[],
        3,
        "error: text.txt: cannot read the text: No such file or directory (os error 2)",
    );
    check_text(b"", 3, "error: text.txt: the text is empty");
    check_text(
        b"a",
        3,
        "error: text.txt: every character of the text is \"a\": there is nothing to predict",
    );
    check_text(
        &b"\n".repeat(500),
        3,
        "error: text.txt: every character of the text is \"\\n\": there is nothing to predict",
    );
    check_text(b"ab", 3, "error: text.txt: the training text has 2 characters, 27 are needed");
    check_text(
        &TEXT[..26],
        3,
        "error: text.txt: the training text has 26 characters, 27 are needed",
    );
    check_text(b"ab\ncd\xe9f", 3, "error: text.txt:2: not UTF-8: byte 0xe9 at offset 5");
    check_text(b"\xff\xfea\0b\0", 3, "error: text.txt:1: not UTF-8: byte 0xff at offset 0");
    check_run(
        CONFIG,
        Some(TEXT),
        &["data.path=."],
        3,
        "error: .: cannot read the text: is a directory",
    );
    check_run(
        CONFIG,
        Some(TEXT),
        &["train.batch_size=3"],
        3,
        "error: text.txt: the training text has 66 characters, 81 are needed",
    );
    check_run(
        CONFIG,
        Some(TEXT),
        &["data.split=[0.985, 0.015, 0.0]", "train.seq_len=2"],
        3,
        "error: text.txt: the validation text has 1 character, 2 are needed",
    );
}

#[test]
fn what_is_advised_fits_the_text() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("c.toml"), CONFIG).expect("writable");
    let help = |text: &[u8], sets: &[&str]| {
        std::fs::write(path("text.txt"), text).expect("writable");
        let config = path("c.toml");
        let mut args = vec!["check", &config, "--no-time"];
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        let error = cli(&args).err;
        error.lines().last().expect("advice").to_owned()
    };
    let check = |text: &[u8], sets: &[&str], expected: &str| {
        let help = help(text, sets);
        assert!(help.starts_with(&format!("help: {expected}")), "{help}");
    };
    let places = "use a longer text, or a lower train.seq_len or train.batch_size: each of the batch_size \
                  places that are read side by side takes seq_len + 2 characters";
    check(b"abc", &["train.seq_len=1", "data.split=[0.9, 0.1, 0.0]"], places);
    check(TEXT, &["data.split=[0.3, 0.7, 0.0]"], &format!("change data.split, or {places}"));
    check(TEXT, &["data.split=[0.985, 0.015, 0.0]"], "hold more of the text out");
    check(b"na\xefve", &[], "convert it, as in `iconv -f LATIN1");
    check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &[], "it looks like no text at all");
    check(&"a 漢".as_bytes()[..4], &[], "it looks like UTF-8 that was cut inside a character");
    check(TEXT, &["train.steps=1e9"], "write it without a point or an exponent: 1000000000");
    check(TEXT, &["train.steps="], "an override is KEY=VALUE");
}

#[test]
fn what_a_checkpoint_has_tensors_of_stays_as_it_was() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = project("configs/karpathy.toml").display().to_string();
    let run = directory.path().join("run").display().to_string();
    assert_eq!(cli(&["run", &config, "--out", &run, "--set", "train.steps=2"]).code, 0);
    let check = |set: &str, expected: &str| {
        let output = cli(&["resume", &run, "--set", "train.steps=4", "--set", set]);
        let Output { code, err, .. } = &output;
        assert!(err.contains("step-00000002.safetensors: does not fit the config: "), "{err}");
        assert!(err.contains(expected), "{err}");
        let help = err.lines().last().expect("advice");
        assert!(help.starts_with("help: a run keeps its kind of optimizer"), "{err}");
        assert_eq!((*code, err.lines().count()), (5, 2), "{err}");
    };
    check("model.hidden_size=8", "`model.hidden_size` is 8, and was 100; ");
    check("optimizer=adam", "config: `optimizer.kind` is \"adam\", and was \"adagrad\"; ");
    check("optimizer.kind=adam", "config: `optimizer.kind` is \"adam\", and was \"adagrad\"; ");
    check("data.tokenizer=byte", "`data.tokenizer` is \"byte\", and was \"char\"; ");
    // What has none may change, with all its keys.
    let cosine = ["resume", &run, "--set", "train.steps=4", "--set", "schedule.kind=cosine"];
    assert_eq!(cli(&cosine).code, 0);
}

#[test]
fn configs_that_make_no_sense() {
    check_run("", Some(TEXT), &[], 2, "error: c.toml:1:1: `data.path` is missing");
    let slip = "error: c.toml:1:2: unknown key `date`";
    check_run("[date]\npath = \"c.txt\"", Some(TEXT), &[], 2, slip);
    check_run("[data", Some(TEXT), &[], 2, "error: c.toml:1:6: unclosed table, expected `]`");
    check_run(
        "\u{feff}x",
        Some(TEXT),
        &[],
        2,
        "error: c.toml:1:2: key with no value, expected `=`",
    );
    check_run(
        "[data]\npath = 3",
        Some(TEXT),
        &[],
        2,
        "error: c.toml:2:8: `data.path` must be a path or an array of paths, found 3",
    );
    check_config("[modle]\nx = 1", "error: c.toml:3:2: unknown key `modle`");
    check_config("[model]\nhiden_size = 9", "error: c.toml:4:1: unknown key `model.hiden_size`");
    check_config("[optimizer]\nkind = \"admw\"", "error: c.toml:4:8: unknown optimizer `admw`");
    check_config("[model]\ncell = \"vanila\"", "error: c.toml:4:8: unknown cell `vanila`");
    check_config(
        "[model]\ncell = 4",
        "error: c.toml:4:8: `model.cell` must be a table, found integer",
    );
    check_config(
        "[[transform]]\nlimit = 1.0",
        "error: c.toml:3:1: an entry of `transform` without `kind`",
    );
    check_config(
        "[transform]\nkind = \"clip_norm\"",
        "error: c.toml:3:1: `transform` must be an array of tables",
    );
    check_config(
        "[optimizer]\nkind = \"sgd\"\nnesterov = true",
        "error: c.toml:5:12: `optimizer.nesterov` looks ahead along a velocity, and without momentum there is none",
    );
    let init = format!("{CONFIG}[model]\ninit = {{ kind = \"file\", path = \"w.safetensors\" }}");
    check_run(
        &init,
        Some(TEXT),
        &[],
        5,
        "error: w.safetensors: cannot read: No such file or directory (os error 2)",
    );
}

#[test]
fn values_out_of_range() {
    for (value, shown) in [("0", "0"), ("-1", "-1"), ("9223372036854775807", "9223372036854775807")]
    {
        for key in ["model.hidden_size", "train.seq_len", "train.batch_size", "sample.length"] {
            let message = format!("`{key}` must be from 1 to 1048576, found {shown}");
            check_set(&format!("{key}={value}"), &message);
        }
    }
    check_set("train.shards=2", "`train.shards` must divide the lanes, and 1 is no multiple of 2");
    check_set("model.layers=0", "`model.layers` must be from 1 to 1000, found 0");
    check_set("model.layers=1001", "`model.layers` must be from 1 to 1000, found 1001");
    for value in ["0", "-1", "9223372036854775807"] {
        let message = format!("`train.steps` must be from 1 to 10^12, found {value}");
        check_set(&format!("train.steps={value}"), &message);
    }
    check_set("train.seed=-1", "`train.seed` must be at least 0, found -1");
    for (value, shown) in
        [("0.0", "0"), ("-0.5", "-0.5"), ("nan", "NaN"), ("inf", "inf"), ("-inf", "-inf")]
    {
        let message = "`optimizer.learning_rate` must be finite and greater than 0, found";
        check_set(&format!("optimizer.learning_rate={value}"), &format!("{message} {shown}"));
    }
    check_set("data.split=[0.5, 0.4, 0.0]", "`data.split` must add up to 1, these give 0.9");
    check_set("data.split=[0.0, 1.0, 0.0]", "`data.split` leaves nothing to train on");
    check_set("model.dtype=f16", "`model.dtype` must be `f32` or `f64`, found `f16`");
    let large = "99999999999999999999";
    let message = format!("`train.steps` must be a whole number below 2^63, found {large}");
    check_set(&format!("train.steps={large}"), &message);
    check_set("train.steps=1e3", "`train.steps` must be a whole number, found 1000.0");
    check_set("train.steps=many", "`train.steps` must be a whole number, found \"many\"");
    check_run(CONFIG, Some(TEXT), &["model.hidden_size=1048576"], 2, &too_large());
}

/// The message of a run that no machine can hold.
fn too_large() -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("c.toml"), CONFIG).expect("writable");
    std::fs::write(directory.path().join("text.txt"), TEXT).expect("writable");
    let config = directory.path().join("c.toml").display().to_string();
    let output = cli(&["check", &config, "--set", "model.hidden_size=1048576"]);
    assert!(
        output.err.contains(": the run needs 60.0 TiB of memory, the machine has "),
        "{}",
        output.err
    );
    let line = output.err.lines().next().expect("an error");
    line.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn overrides_that_make_no_sense() {
    check_set("train.steps", "an override without `=`");
    check_set("train.steps=", "the value is missing");
    check_set("=3", "\"\" is no key");
    check_set("train.steps=[1", "unclosed array, expected `]`");
    check_set("nonsense=1", "unknown key `nonsense`");
}

#[test]
fn a_run_is_never_written_over() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = project("configs/karpathy.toml").display().to_string();
    let out = directory.path().display().to_string();
    let run = || cli(&["run", &config, "--out", &out, "--set", "train.steps=2"]);
    // An empty directory that is there already is fine.
    assert_eq!(run().code, 0);
    let before = entries(directory.path());
    let output = run();
    assert_eq!((output.code, output.out.as_str()), (2, ""));
    assert!(
        output.err.starts_with(&format!("error: {out}: is there already\nhelp: ")),
        "{}",
        output.err
    );
    assert_eq!(entries(directory.path()), before);
}

#[test]
fn models_and_primes_that_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = project("configs/karpathy.toml").display().to_string();
    let run = directory.path().join("run").display().to_string();
    assert_eq!(cli(&["run", &config, "--out", &run, "--set", "train.steps=2"]).code, 0);
    let check = |args: &[&str], code: u8, expected: &str| {
        let output = cli(args);
        let error = output.err.replace(&format!("{}/", directory.path().display()), "");
        assert_eq!(error.lines().next().unwrap_or_default(), expected);
        assert_eq!((output.code, output.out.as_str()), (code, ""), "{error}");
        assert!(error.lines().last().is_some_and(|line| line.starts_with("help: ")), "{error}");
    };

    let prime = |prime| ["sample", &run, "--prime", prime].map(str::to_owned);
    let check_prime = |text, expected: &str| {
        let args = prime(text);
        check(&args.each_ref().map(String::as_str), 2, expected);
    };
    check_prime("The lamp€", "error: --prime: the model never saw '€', character 9 of the prime");
    check_prime("q", "error: --prime: the model never saw 'q', character 1 of the prime");
    check_prime(
        "a\u{1b}[31m",
        "error: --prime: the model never saw '\\u{1b}', character 2 of the prime",
    );

    let error = cli(&["sample", &run, "--prime", "漢"]).err;
    assert!(
        error.contains("; a model trained with data.tokenizer = \"char_byte\" reads every text\n"),
        "{error}"
    );
    let error = cli(&["eval", &project("configs/data/input.txt").display().to_string()]).err;
    assert!(error.contains("help: give the directory of a run, such as runs/karpathy"), "{error}");
    let error = cli(&["eval", &run, "--threads", "2"]).err;
    assert!(error.contains("help: reading and writing take one thread"), "{error}");

    let none = directory.path().join("none").display().to_string();
    check(&["sample", &none], 5, "error: none: there is no such run or checkpoint");
    let empty = directory.path().join("empty").display().to_string();
    std::fs::create_dir(&empty).expect("writable");
    check(&["sample", &empty], 5, "error: empty: not a run directory: it has no checkpoints");

    let checkpoint = Path::new(&run).join("checkpoints/step-00000002.safetensors");
    let bytes = std::fs::read(&checkpoint).expect("a checkpoint");
    let damaged = directory.path().join("damaged.safetensors");
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    std::fs::write(&damaged, flipped).expect("writable");
    let output = cli(&["sample", &damaged.display().to_string()]);
    assert_eq!(output.code, 5);
    assert!(
        output.err.contains("damaged.safetensors: damaged: the content has digest "),
        "{}",
        output.err
    );

    let check_file = |name: &str, content: &[u8], expected: &str| {
        let path = directory.path().join(name).display().to_string();
        std::fs::write(&path, content).expect("writable");
        check(&["check", &path], 5, &format!("error: {name}: {expected}"));
        check(&["sample", &path], 5, &format!("error: {name}: {expected}"));
    };
    let no = |reason: &str| format!("not a safetensors file: {reason}");
    check_file("half.safetensors", &bytes[..bytes.len() / 2], &{
        let header_len = u64::from_le_bytes(*bytes.first_chunk().expect("a length")) as usize;
        let (described, found) = (bytes.len() - 8 - header_len, bytes.len() / 2 - 8 - header_len);
        no(&format!("its header describes {described} bytes, not {found}"))
    });
    let endless = directory.path().join("endless.toml");
    let file = std::fs::File::create(&endless).expect("writable");
    file.set_len(17 << 20).expect("a hole");
    let longer = "cannot read the config: it is longer than 16 MiB, which no config is";
    let longer = format!("error: endless.toml: {longer}");
    check(&["check", &endless.display().to_string()], 2, &longer);
    check_file("empty.safetensors", b"", &no("it is empty"));
    check_file("hello.safetensors", b"hello", &no("it is text"));
    check_file("seven.safetensors", b"\x01\0\0\0\0\0\0", &no("it is too short to have a header"));
    let zip = no("it is a zip archive, as `torch.save` and `numpy.savez` write");
    check_file("model.pt", b"PK\x03\x04\x00", &zip);
    check_file("pickle.pkl", b"\x80\x04\x95", &no("it is a Python pickle"));
    check_file(
        "model.t7",
        b"\x04\0\0\0\x01\0\0\0",
        &no("it is a Torch7 file, as Lua's `torch.save` writes"),
    );
    check_file("model.gguf", b"GGUF\x03", &no("it is a GGUF file, as llama.cpp reads"));
    check_file("model.h5", b"\x89HDF\r\n\x1a\n", &no("it is an HDF5 file, as Keras writes"));
    check_file("model.gz", b"\x1f\x8b\x08", &no("it is compressed with gzip"));
    check_file("page.safetensors", b"<!doctype html>", &no("it is a web page in HTML"));
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    let lfs = no("it is a Git LFS pointer, which stands for the file");
    check_file("pointer.safetensors", pointer, &lfs);
    let half = br#"{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
    let half = [&(half.len() as u64).to_le_bytes()[..], half, &[0, 0]].concat();
    check_file("f16.safetensors", &half, "tensor `w` is F16, not F32 or F64");
    let other = [&2_u64.to_le_bytes()[..], b"{}"].concat();
    let foreign = "not a checkpoint of this program: it has no `format`";
    check_file("other.safetensors", &other, foreign);
    check(
        &["sample", "/dev/null"],
        5,
        "error: /dev/null: not a run directory: it has no checkpoints",
    );
}

#[test]
fn command_lines_that_make_no_sense() {
    let check = |args: &[&str], expected: &str| {
        let output = cli(args);
        assert_eq!(output.err.lines().next().unwrap_or_default(), expected);
        assert_eq!((output.code, output.out.as_str()), (2, ""));
        assert_eq!(output.err.lines().count(), 2, "{}", output.err);
        output
    };
    check(&[], "error: command line: no command given");
    check(&["rn"], "error: command line: unrecognized subcommand 'rn'");
    check(
        &["run"],
        "error: command line: the following required arguments were not provided: <CONFIG>",
    );
    check(
        &["run", "x.toml", "--outt", "y"],
        "error: command line: unexpected argument '--outt' found",
    );
    // What is a key of a config, and of one section alone, is no option.
    for (option, help) in [
        ("--seed", "`train.seed` is a key of a config: --set train.seed=VALUE, with run, "),
        ("--model.hidden-size=8", "`model.hidden_size` is a key of a config: "),
        ("--every", "`--help` lists the commands, "),
    ] {
        let named = option.trim_end_matches("=8");
        let output = check(
            &["run", "x.toml", option],
            &format!("error: command line: unexpected argument '{named}' found"),
        );
        assert!(output.err.contains(&format!("help: {help}")), "{}", output.err);
    }
    for value in ["nan", "inf", "-1", "x"] {
        check(
            &["sample", "x", "--temperature", value],
            &format!(
                "error: command line: invalid value '{value}' for '--temperature <X>': must be a number at least 0"
            ),
        );
    }
    check(
        &["sample", "x", "--top-k", "0"],
        "error: command line: invalid value '0' for '--top-k <K>': must be at least 1",
    );
    for value in ["-3", "1e3", "x"] {
        check(
            &["sample", "x", "--length", value],
            &format!(
                "error: command line: invalid value '{value}' for '--length <N>': must be a whole number of at least 0"
            ),
        );
    }
    check(
        &["sample", "x", "--top-p", "0"],
        "error: command line: invalid value '0' for '--top-p <P>': must be a number above 0 and at most 1",
    );
    check(&["list", "optimisers"], "error: list: there is no family `optimisers`");
    check(
        &["run", "none.toml"],
        "error: none.toml: cannot read the config: No such file or directory (os error 2)",
    );
}

/// A run that diverges ends with exit code 7, and whatever checkpoint it leaves is a good one.
#[test]
fn weights_that_are_not_finite_are_never_saved() {
    let config = project("configs/karpathy.toml").display().to_string();
    let check = |sets: &[&str], message: &str| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let run = directory.path().join("run");
        let out = run.display().to_string();
        let mut args = vec!["run", &config, "--out", &out, "--set", "train.steps=20"];
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        let output = cli(&args);
        assert_eq!(output.code, 7, "{sets:?}: {}", output.err);
        assert!(output.err.contains(message), "{sets:?}: {}", output.err);
        for checkpoint in entries(&run.join("checkpoints")) {
            let output = cli(&["check", &checkpoint.display().to_string()]);
            assert_eq!(output.code, 0, "{sets:?}: {}", output.err);
        }
    };
    check(
        &["optimizer.learning_rate=1e308"],
        "error: step 1: weight `w_xh_l0` is no longer finite (learning rate 1e308, gradient norm ",
    );
    check(
        &["optimizer.eps=1e-50", "optimizer.eps_inside_root=false"],
        "error: step 1: weight `w_xh_l0` is no longer finite",
    );
    check(&["optimizer={ kind = \"adamax\", eps = 1e308 }"], "is no longer finite");
    let late = "schedule={ kind = \"one_cycle\", final_div_factor = 5e-324 }";
    check(&[late, "checkpoint.every=5", "checkpoint.keep=1"], "is no longer finite");
}

#[test]
fn initial_weights_have_to_fit_the_number_type() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = project("configs/karpathy.toml").display().to_string();
    let out = directory.path().join("run").display().to_string();
    let sets = ["--set", "train.steps=1", "--set", "model.dtype=f64"];
    let output = cli(&[&["run", &config, "--out", &out], &sets[..]].concat());
    assert_eq!(output.code, 0, "{}", output.err);

    let saved = entries(&directory.path().join("run/checkpoints")).remove(0);
    let mut file = data_io::TensorFile::read(&saved).expect("just written");
    let tensor = file.tensors.get_mut("head.bias").expect("a weight");
    let data_io::Values::F64(values) = &mut tensor.values else { panic!("not f64") };
    values[7] = 1e300;
    let large = directory.path().join("large.safetensors");
    file.write(&large).expect("writable");

    let init = format!("model.init={{ kind = \"file\", path = \"{}\" }}", large.display());
    let check = |dtype: &str| cli(&["check", &config, "--set", &init, "--set", dtype]);
    let output = check("model.dtype=f32");
    assert_eq!(output.code, 5, "{}", output.err);
    let first = output.err.lines().next();
    assert_eq!(first, Some("error: model.init: a value of `b_y` is too large for f32"));
    assert_eq!(check("model.dtype=f64").code, 0);
}

/// Keys of the part that the file names go with it when the command line names another.
#[test]
fn a_part_is_swapped_by_one_word_also_in_a_config_with_every_key() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = project("configs/karpathy.toml").display().to_string();
    let run = |config: &str, name: &str, sets: &[&str]| {
        let out = directory.path().join(name).display().to_string();
        let mut args = vec!["run", config, "--out", &out, "--set", "train.steps=3"];
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        let output = cli(&args);
        assert_eq!(output.code, 0, "{sets:?}: {}", output.err);
        Path::new(&out).join("config.toml").display().to_string()
    };
    let full = run(&config, "full", &[]);
    run(&full, "a", &["optimizer.kind=adam", "optimizer.learning_rate=0.002"]);
    run(&full, "b", &["model.init.kind=pytorch", "transform.0.kind=weight_decay"]);
    run(&full, "c", &["model.cell=lstm", "schedule.kind=cosine", "data.tokenizer=byte"]);
    run(&config, "d", &["model.init.kind=pytorch", "transform.0.kind=noise"]);
}

/// A run of six steps with checkpoints at 2, 4 and 6, its directory, and a text that is not its own.
struct Begun(tempfile::TempDir);

impl Begun {
    fn new() -> Self {
        let begun = Self(tempfile::tempdir().expect("a temporary directory"));
        let text = std::fs::read_to_string(project("configs/data/input.txt")).expect("there");
        std::fs::write(begun.path("same.txt"), &text).expect("writable");
        let other = text.replacen("th", "ht", 1);
        std::fs::write(begun.path("other.txt"), other).expect("writable");
        std::fs::create_dir(begun.path("foreign")).expect("writable");
        std::fs::write(begun.path("foreign/notes"), "mine").expect("writable");
        assert_eq!(begun.run("run", &[]).code, 0);
        begun
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, out: &str, more: &[&str]) -> Output {
        let (config, out) =
            (project("configs/karpathy.toml").display().to_string(), self.path(out));
        let mut args = vec!["run", &config, "--out", &out, "--quiet"];
        for set in ["train.steps=6", "checkpoint.every=2", "log.every=1"] {
            args.extend(["--set", set]);
        }
        self.named(cli(&[&args, more].concat()))
    }

    fn resume(&self, run: &str, more: &[&str]) -> Output {
        self.named(cli(&[&["resume", &self.path(run), "--quiet"], more].concat()))
    }

    /// What was said, without the directory's name.
    fn named(&self, output: Output) -> Output {
        let err = output.err.replace(&format!("{}/", self.0.path().display()), "");
        Output { err, ..output }
    }

    fn damage(&self, name: &str) {
        let mut bytes = std::fs::read(self.path(name)).expect("there");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(self.path(name), bytes).expect("writable");
    }
}

#[track_caller]
fn check_line(output: &Output, code: u8, expected: &str) {
    let first = output.err.lines().next().unwrap_or_default();
    assert!(first.starts_with(expected), "{}", output.err);
    assert_eq!(output.code, code, "{}", output.err);
    assert!(output.err.lines().count() <= 6, "{}", output.err);
}

#[test]
fn runs_that_cannot_go_on() {
    let begun = Begun::new();
    let newest = "run/checkpoints/step-00000006.safetensors";
    let (same, other) = (
        format!("data.path={}", begun.path("same.txt")),
        format!("data.path={}", begun.path("other.txt")),
    );
    let resumed = |more: &[&str]| begun.run("run", &[&["--resume"], more].concat());

    check_line(&begun.resume("none", &[]), 5, "error: none: there is no such run");
    let no_config = "error: foreign: not a run directory: it has no config.toml";
    check_line(&begun.resume("foreign", &[]), 5, no_config);
    let foreign = "error: foreign: there is something in it, and it is no run";
    check_line(&begun.run("foreign", &["--resume"]), 2, foreign);
    check_line(
        &resumed(&["--set", "train.seed=1"]),
        2,
        &format!("error: config: not the config of {newest}: `train.seed` is 1, and was 42"),
    );
    let steps = format!("error: config: not the config of {newest}: `train.steps` is 8, and was 6");
    check_line(&resumed(&["--set", "train.steps=8"]), 2, &steps);
    check_line(
        &resumed(&["--set", &other]),
        3,
        &format!("error: other.txt: not the text of {newest}"),
    );
    check_line(
        &begun.resume("run", &["--set", &other]),
        3,
        "error: other.txt: not the text of run/",
    );
    let wider = "model.hidden_size=9";
    check_line(&begun.resume("run", &["--set", wider]), 5, &format!("error: {newest}: "));

    // What was refused changed nothing, and what is the same, or permitted by name, is taken.
    check_line(&resumed(&[]), 0, "");
    check_line(&resumed(&["--set", &same]), 0, "");
    std::fs::rename(begun.path("run"), begun.path("moved")).expect("movable");
    check_line(&begun.resume("moved", &[]), 0, "");
    check_line(&begun.resume("moved", &["--set", "train.steps=8"]), 0, "");
    assert!(Path::new(&begun.path("moved/checkpoints/step-00000008.safetensors")).exists());
    let permitted = ["--resume", "--allow-changed-config", "--allow-changed-text", "--set"];
    let args = [&permitted[..], &[&other, "--set", "train.steps=10"]].concat();
    check_line(&begun.run("moved", &args), 0, "");
    assert!(Path::new(&begun.path("moved/checkpoints/step-00000010.safetensors")).exists());

    // A change that was permitted once is the run's own from there on, though no step was taken with it.
    check_line(&begun.resume("moved", &["--set", "optimizer.learning_rate=0.02"]), 0, "");
    check_line(&begun.resume("moved", &[]), 0, "");
}

#[test]
fn a_damaged_checkpoint_is_named_and_never_made_a_fresh_start_of() {
    let begun = Begun::new();
    let checkpoint = |step| format!("run/checkpoints/step-0000000{step}.safetensors");
    let whole = std::fs::read(begun.path(&checkpoint(6))).expect("there");
    begun.damage(&checkpoint(6));
    let output = begun.resume("run", &[]);
    check_line(&output, 0, &format!("warning: {}: damaged: ", checkpoint(6)));
    let instead = format!("warning: going on from {} instead", checkpoint(4));
    assert!(output.err.contains(&instead), "{}", output.err);
    assert!(std::fs::read(begun.path(&checkpoint(6))).expect("there") == whole);

    // A log that does not hold what a checkpoint vouches for is damage too.
    let metrics = begun.path("run/metrics.jsonl");
    let text = std::fs::read_to_string(&metrics).expect("there");
    std::fs::write(&metrics, text.lines().take(4).map(|l| format!("{l}\n")).collect::<String>())
        .expect("writable");
    check_line(&begun.resume("run", &[]), 0, &format!("warning: {}: the first ", checkpoint(6)));
    assert_eq!(std::fs::read_to_string(&metrics).expect("there"), text);

    for step in [2, 4, 6] {
        begun.damage(&checkpoint(step));
    }
    let before = std::fs::read_to_string(&metrics).expect("there");
    for output in [begun.resume("run", &[]), begun.run("run", &["--resume"])] {
        check_line(
            &output,
            5,
            "error: run/checkpoints: none of the 3 checkpoints can be used; the newest, run/checkpoints/step-00000006.safetensors: damaged: ",
        );
    }
    assert_eq!(std::fs::read_to_string(&metrics).expect("there"), before);
}

#[test]
fn a_run_that_diverges_goes_back_if_it_is_told_to_and_ends_if_that_does_not_help() {
    let config = project("configs/karpathy.toml").display().to_string();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = |name: &str, sets: &[&str]| {
        let out = directory.path().join(name);
        let path = out.display().to_string();
        let mut args = vec!["run", &config, "--quiet", "--out", &path, "--set", "log.every=1"];
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        let output = cli(&args);
        (output, std::fs::read_to_string(out.join("metrics.jsonl")).expect("there"))
    };
    // The first step is finite with half of it, as a weight then is.
    let large = "optimizer={ kind = \"sgd\", learning_rate = 3e38 }";
    let steps = ["train.steps=20", "train.on_divergence=rollback", "transform=[\"clip_value\"]"];
    let (output, metrics) = run("ends", &[&steps[..], &[large, "train.max_rollbacks=2"]].concat());
    check_line(&output, 7, "error: step 1: ");
    let backs = metrics.lines().filter(|line| line.contains("\"split\":\"rollback\""));
    assert_eq!(backs.count(), 2, "{metrics}");

    let shrinking = "optimizer={ kind = \"sgd\", learning_rate = 1e40 }";
    let many = [&steps[..], &[shrinking, "train.max_rollbacks=200", "train.steps=3"]].concat();
    let (output, metrics) = run("goes-on", &many);
    assert_eq!(output.code, 0, "{}", output.err);
    let last: serde_json::Value =
        serde_json::from_str(metrics.lines().last().expect("lines")).expect("JSON");
    assert_eq!(last["step"], 3);
    let halvings = metrics.lines().filter(|line| line.contains("\"rollback\"")).count();
    assert_eq!(last["learning_rate"], 1e40 / 2_f64.powi(halvings as i32));
}
