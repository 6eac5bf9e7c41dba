//! What is fuzzed: each function takes any bytes, as a file or a command line may hold, and panics
//! only where the program is wrong.
//!
//! `cargo xtask fuzz` looks for such bytes; an ordinary test replays those under `corpus/`.

mod seal;

use std::path::Path;
use std::sync::LazyLock;

use data_io::{BuildTokenizer, Corpus, Utf8Stream, builtin_tokenizers};
use experiment::{Config, Error, Parts, TextModel};
use registry::{Chosen, Document};
use rnn_model::Sampler;
use tensor_core::rng::{Stream, stream};

use seal::seal;

static PARTS: LazyLock<Parts> = LazyLock::new(Parts::builtin);

/// A config: what is read of it is written, and read again as the same.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    parse(&Document::new("configs/x.toml", text, [""; 0]));
}

/// Overrides, one a line, over a config with something in each section.
pub fn set(bytes: &[u8]) {
    const CONFIG: &str = "[data]\npath = \"x\"\n[model]\ninit = \"normal\"\n\
                          [[transform]]\nkind = \"clip_value\"\nlimit = 5.0\n";
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    parse(&Document::new("configs/x.toml", CONFIG, text.split('\n')));
}

fn parse(document: &Document) {
    match Config::parse(document, &PARTS) {
        Ok(config) => {
            let text = config.to_text_without_directories();
            let document = Document::new("configs/x.toml", text.as_str(), [""; 0]);
            let again = Config::parse(&document, &PARTS)
                .unwrap_or_else(|error| panic!("{error}, in what was written:\n{text}"));
            assert_eq!(again.to_text_without_directories(), text);
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{error}");
            show(&error);
        }
    }
}

/// What a person is shown of an error.
fn show(error: &Error) {
    let _shown = (error.to_string(), error.place(), error.help());
    if let Error::Config { place: Some(place), .. } = error {
        let _marked = &place.text[place.marked.clone()];
    }
}

/// A text: a tokenizer gives it back, and is restored from its symbols; and a text that comes in pieces
/// is the same however it is cut. The length says which tokenizer, so that each input is quick.
pub fn corpus(bytes: &[u8]) {
    let mut whole = String::new();
    let mut stream = Utf8Stream::default();
    for piece in bytes.chunks(3) {
        stream.push(piece, &mut whole);
    }
    stream.finish(&mut whole);
    assert_eq!(whole, String::from_utf8_lossy(bytes));

    let registry = builtin_tokenizers();
    let corpus = Corpus::from(whole.as_str());
    let entry = &registry.entries()[bytes.len() % registry.entries().len()];
    let document = Document::new("x", format!("t = {:?}", entry.name), [""; 0]);
    let part = document.parse().and_then(|mut root| root.part("t", ""));
    let kind: Chosen<dyn BuildTokenizer> =
        part.and_then(|part| registry.choose(part)).expect("a name of the registry");
    let tokenizer = kind.fit(&corpus).expect("a text in memory");
    let ids = tokenizer.encode(&whole).expect("its own text");
    assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()), "{}", entry.name);
    assert_eq!(tokenizer.decode(&ids), whole, "{}", entry.name);
    let restored = kind.restore(&tokenizer.symbols()).expect("its own symbols");
    assert_eq!(restored.encode(&whole).as_ref(), Ok(&ids), "{}", entry.name);
    // Symbols from anywhere.
    let symbols: Vec<_> = whole.split('\n').map(str::to_owned).collect();
    if let Some(tokenizer) = kind.restore(&symbols) {
        assert_eq!(tokenizer.symbols(), symbols, "{}", entry.name);
    }
}

/// A checkpoint, as it is and as somebody would send it who knows how the digest is taken.
pub fn checkpoint(bytes: &[u8]) {
    load(bytes);
    let mut bytes = bytes.to_vec();
    seal(&mut bytes);
    load(&bytes);
}

fn load(bytes: &[u8]) {
    match TextModel::from_bytes(bytes, Path::new("x.safetensors"), &PARTS) {
        Ok(mut model) => {
            let mut rng = stream(1, Stream::Sample);
            model.prime("").expect("nothing to refuse");
            for _ in 0..3 {
                model.write(&Sampler::default(), &mut rng);
            }
            model.finish();
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 5, "{error}");
            show(&error);
        }
    }
}
