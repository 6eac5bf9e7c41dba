//! A checkpoint that was changed in any way is refused, and a file by anybody takes no more memory
//! than it is worth.

use std::path::Path;

use data_io::{TensorFile, Values};
use experiment::{Error, Parts, TextModel, Trainer};
use integration_tests::prepare;

/// A checkpoint of a tiny model after a few steps.
fn checkpoint(overrides: &[&str]) -> TensorFile {
    let tiny = ["model.hidden_size=3", "train.seq_len=4"];
    let experiment = prepare("configs/karpathy.toml", &[&tiny, overrides].concat());
    let mut trainer = Trainer::<f32>::new(&experiment);
    for _ in 0..3 {
        trainer.step().expect("finite");
    }
    trainer.checkpoint().expect("finite")
}

fn open(bytes: &[u8], parts: &Parts) -> Result<TextModel, Error> {
    TextModel::from_bytes(bytes, Path::new("x.safetensors"), parts)
}

#[track_caller]
fn check_refused(bytes: &[u8], parts: &Parts, what: &str) {
    match open(bytes, parts) {
        Err(error) => assert_eq!(error.exit_code(), 5, "{what}: {error}"),
        Ok(_) => panic!("{what}: it was taken"),
    }
}

/// No flip is excepted: each one changes what was written, and even one in the name of our metadata,
/// which makes the file another program's, leaves nothing that this one would take for its own.
#[test]
fn every_flip_every_truncation_and_every_extension_of_a_checkpoint_is_refused() {
    let (bytes, parts) = (checkpoint(&[]).to_bytes(), Parts::builtin());
    assert!(open(&bytes, &parts).is_ok() && bytes.len() < 8192);
    let mut damaged = bytes.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            check_refused(&damaged, &parts, &format!("bit {bit} of byte {at}"));
            damaged[at] ^= 1 << bit;
        }
    }
    for len in 0..bytes.len() {
        check_refused(&bytes[..len], &parts, &format!("the first {len} bytes"));
    }
    for byte in 0..=u8::MAX {
        let extended = [bytes.as_slice(), &[byte]].concat();
        check_refused(&extended, &parts, &format!("with {byte} behind it"));
    }
    for len in [2, 3, 4, 7, 8, 9, 63, 64, 65, 4096, 1 << 20] {
        let zeros = [bytes.as_slice(), &vec![0; len]].concat();
        check_refused(&zeros, &parts, &format!("with {len} zeros behind it"));
    }
    check_refused(&bytes.repeat(2), &parts, "twice");
}

/// Loads a file, whatever becomes of it, and compares the most memory that was held with what it may
/// take.
#[track_caller]
fn check_memory(what: &str, bytes: Vec<u8>, expected: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("x.safetensors");
    std::fs::write(&path, &bytes).expect("writable");
    let (len, parts) = (bytes.len() as u64, Parts::builtin());
    drop(bytes);
    let mut outcome = String::new();
    let memory = allocation_counter::measure(|| {
        outcome = match TextModel::open(&path, &parts) {
            Ok(_) => "ok".into(),
            Err(error) => error.to_string(),
        };
    });
    assert!(outcome.contains(expected), "{what}: {outcome}");
    let (most, allowed) = (memory.bytes_max, (32 << 20) + 3 * len);
    println!("{what}: {len} bytes took {most}");
    assert!(most <= allowed, "{what}: {len} bytes took {most}, {allowed} are allowed");
}

#[test]
fn a_model_takes_three_times_its_file_and_a_little() {
    let large = ["model.hidden_size=1024", "train.seq_len=2"];
    for cell in ["vanilla", "lstm", "gru", "indrnn", "min_gru"] {
        let file = checkpoint(&[&large[..], &[&format!("model.cell={cell}")]].concat());
        check_memory(cell, file.to_bytes(), "ok");
        // Weights alone: nothing that loading leaves out.
        let mut weights = file;
        weights.tensors.retain(|name, _| !name.starts_with("optimizer."));
        check_memory(cell, weights.to_bytes(), "ok");
    }
    let stack = checkpoint(&["model.hidden_size=3", "model.layers=1000", "train.seq_len=1"]);
    check_memory("1000 layers", stack.to_bytes(), "ok");
}

/// A file with this header and so many zeros behind it.
fn with_header(header: &str, n_zeros: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; n_zeros]].concat()
}

#[test]
fn a_file_that_says_too_much_takes_no_more_than_it_is_worth() {
    let n = 1 << 20;
    let invalid = "its header is not valid";
    let shape = format!(r#"{{"w":{{"dtype":"F32","shape":[{}1]"#, "1,".repeat(4 * n));
    check_memory("a shape", with_header(&shape, 0), invalid);
    check_memory("arrays", with_header(&format!("{{\"w\":{}", "[".repeat(8 * n)), 0), invalid);
    let name = "x".repeat(8 * n);
    check_memory("a name", with_header(&format!("{{\"{name}\":1}}"), 0), invalid);
    let entry = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let entries: Vec<_> = (0..200_000).map(|i| format!("\"{i}\":{entry}")).collect();
    check_memory("entries", with_header(&format!("{{{}}}", entries.join(",")), 0), invalid);
    let metadata =
        |text: &str| with_header(&format!(r#"{{"__metadata__":{{"char-rnn":"{text}"}}}}"#), 0);
    let large = "its metadata are larger than its tensors could need";
    check_memory("numbers", metadata(&format!("[{}0]", "0,".repeat(4 * n))), large);
    check_memory("texts", metadata(&format!("[{}0]", "\\\"\\\",".repeat(2 * n))), large);
    check_memory("a text", metadata(&"x".repeat(8 * n)), "its metadata is not JSON");
    let other = format!(r#"{{"__metadata__":{{"a":[{}0]}}}}"#, "0,".repeat(4 * n));
    check_memory("others' metadata", with_header(&other, 0), "it has no `format`");

    let tiny = checkpoint(&[]);
    let lie = |key: &str, value: String, expected: &str| {
        let mut file = tiny.clone();
        file.metadata.insert(key.into(), value.into());
        check_memory(key, file.to_bytes(), expected);
    };
    let unfit = "its config does not fit this program";
    lie("config", "a=1\n".repeat(64 << 10), unfit);
    lie("config", format!("a=[{}]", "[],".repeat(60_000)), unfit);
    lie("config", format!("a={{{}}}", "a={},".repeat(50_000)), unfit);
    lie("config", "[[a.b]]\n".repeat(32 << 10), unfit);
    lie("config", " ".repeat(1 << 20), "its config is no text, or an endless one");
    let larger = "its config describes a larger model than its";
    for keys in [
        "hidden_size = 1048576",
        "layers = 1000\nhidden_size = 3",
        "embedding_size = 1048576\nhidden_size = 3",
        "embedding_size = 1048576\nhidden_size = 1048576\ntied = true",
        "cell = \"mlstm\"\nhidden_size = 1048576\nlayers = 1000",
    ] {
        lie("config", format!("data.path = \"x\"\n[model]\n{keys}"), larger);
    }

    // Enough values for a wide state, and for nothing else.
    let mut wide = tiny;
    let n = 1 << 20;
    wide.tensors.clear();
    wide.insert("w", vec![3 * n], Values::F32(vec![0.0; 3 * n]));
    wide.metadata.insert("symbols".into(), vec!["a", "b"].into());
    for cell in ["vanilla", "lstm", "mlstm", "indrnn"] {
        let config = format!("data.path = \"x\"\n[model]\nhidden_size = {n}\ncell = \"{cell}\"");
        wide.metadata.insert("config".into(), config.into());
        check_memory(cell, wide.to_bytes(), larger);
    }
    // A product's right side is filled up to whole panels of columns.
    let mut thin = wide;
    let (vocab_size, embedding_size) = (2, 1 << 20);
    thin.tensors.clear();
    let mut insert = |name: &str, shape: Vec<usize>| {
        let zeros = vec![0.0; shape.iter().product()];
        thin.insert(name, shape, Values::F32(zeros));
    };
    insert("embedding.weight", vec![vocab_size, embedding_size]);
    insert("rnn.weight_ih_l0", vec![1, embedding_size]);
    insert("rnn.weight_hh_l0", vec![1, 1]);
    insert("rnn.bias_ih_l0", vec![1]);
    insert("head.weight", vec![vocab_size, 1]);
    insert("head.bias", vec![vocab_size]);
    thin.metadata.insert("symbols".into(), vec!["a", "b"].into());
    let config =
        format!("data.path = \"x\"\n[model]\nhidden_size = 1\nembedding_size = {embedding_size}");
    thin.metadata.insert("config".into(), config.into());
    check_memory("a thin product", thin.to_bytes(), "its config describes a larger model than its");
}
