//! A trained model as something that reads and writes text.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use data_io::{
    Corpus, EncodedCorpus, Excerpt, StoredTensor, TensorFile, TextError, Tokenizer, Utf8Stream,
};
use registry::Document;
use rnn_model::state_dict::{self, Tensor};
use rnn_model::{Generator, Model, Sampler};
use serde_json::Value;
use tensor_core::Shape;
use tensor_core::gemm::packed_len;
use tensor_core::rng::Rng;

use crate::checkpoint::FORMAT;
use crate::config::Mode;
use crate::dynamic::{self, Dynamic};
use crate::evaluator::Evaluator;
use crate::neurons::{self, Neurons};
use crate::prepare::count_params;
use crate::{Config, Dtype, DtypeName, Error, Parts, build_model, newest_checkpoint};

/// The longest config that a checkpoint may hold: what is read of it takes many times its length.
const MAX_CONFIG_LEN: usize = 256 << 10;

/// Zeros that may fill up the weights, laid out for products, beyond twice as many as there are: a
/// model thinner than that takes memory out of all proportion to its file.
const MAX_FILLING: usize = 1 << 20;

/// A checkpoint's model with its vocabulary and its state.
pub struct TextModel {
    weights: Box<dyn Weights>,
    tokenizer: Box<dyn Tokenizer>,
    config: Config,
    /// Digest of the text it was trained on.
    text_digest: String,
    /// What is read where no prime is given.
    opening: Vec<u32>,
    summary: Summary,
    /// Holds back the bytes that are no whole character yet.
    stream: Utf8Stream,
    /// The text that the last symbol completed.
    text: String,
}

/// A checkpoint in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Steps it was trained for.
    pub step: u64,
    /// `model.cell`.
    pub cell: &'static str,
    /// Recurrent layers.
    pub layers: usize,
    /// Width of the state.
    pub hidden_size: usize,
    /// Number of different symbols.
    pub vocab_size: usize,
    /// Number of parameters.
    pub n_params: usize,
    /// `model.dtype`.
    pub dtype: DtypeName,
    /// BLAKE3 over the whole file, which was verified: 64 hexadecimal digits.
    pub digest: String,
}

/// A symbol that a model has read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The symbol.
    pub id: u32,
    /// Its surprise given all before it, in nats.
    pub nats: f64,
    /// The symbol that was the likeliest, the lowest of those alike.
    pub likeliest: u32,
}

/// Weights with what reads and writes by them, whatever their number type.
trait Weights {
    fn restart(&mut self);
    fn feed(&mut self, id: u32);
    fn draw(&mut self, sampler: &Sampler, rng: &mut Rng) -> u32;
    fn draw_without(&mut self, banned: &[u32], sampler: &Sampler, rng: &mut Rng) -> Option<u32>;
    /// Reads a text after an opening; or without one, and learns from it. Returns the sum of the
    /// surprises.
    fn read(
        &mut self,
        config: &Config,
        opening: &[u32],
        text: &Excerpt<'_>,
        dynamic: Option<Dynamic<'_>>,
        see: &mut dyn FnMut(Reading) -> ControlFlow<()>,
    ) -> Result<f64, TextError>;
    fn neurons(&self, config: &Config, text: &Excerpt<'_>) -> Result<Neurons, TextError>;
}

struct Loaded<T> {
    generator: Generator<T>,
    theta: Vec<T>,
    /// Made when a text is read for the first time.
    evaluator: Option<Evaluator<T>>,
}

impl<T: Dtype> Weights for Loaded<T> {
    fn restart(&mut self) {
        self.generator.restart();
    }
    fn feed(&mut self, id: u32) {
        self.generator.feed(&self.theta, id);
    }
    fn draw(&mut self, sampler: &Sampler, rng: &mut Rng) -> u32 {
        self.generator.draw(sampler, rng)
    }
    fn draw_without(&mut self, banned: &[u32], sampler: &Sampler, rng: &mut Rng) -> Option<u32> {
        self.generator.draw_without(banned, sampler, rng)
    }
    fn read(
        &mut self,
        config: &Config,
        opening: &[u32],
        text: &Excerpt<'_>,
        dynamic: Option<Dynamic<'_>>,
        see: &mut dyn FnMut(Reading) -> ControlFlow<()>,
    ) -> Result<f64, TextError> {
        let Self { theta, evaluator, .. } = self;
        let see = |ids: &[u32], model: &Model<T>| {
            let logits = model.logits();
            let mut rows = ids.iter().zip(model.losses()).zip(logits.rows());
            rows.try_for_each(|((id, loss), logits)| {
                let best = logits.iter().enumerate().fold((0, T::ZERO), |best, (id, logit)| {
                    if id == 0 || best.1 < *logit { (id, *logit) } else { best }
                });
                see(Reading { id: *id, nats: loss.to_f64(), likeliest: best.0 as u32 })
            })
        };
        match dynamic {
            Some(dynamic) => dynamic::read(config, theta, text, dynamic, see),
            None => {
                let vocab_size = text.tokenizer().vocab_size();
                let evaluator = evaluator.get_or_insert_with(|| Evaluator::new(config, vocab_size));
                evaluator.read(theta, opening, text, see)
            }
        }
    }
    fn neurons(&self, config: &Config, text: &Excerpt<'_>) -> Result<Neurons, TextError> {
        neurons::watch(config, &self.theta, text)
    }
}

impl TextModel {
    /// Opens a checkpoint, or the newest one of a run directory.
    ///
    /// # Errors
    /// If there is none, or it is damaged, or another program's.
    pub fn open(path: &Path, parts: &Parts) -> Result<Self, Error> {
        let path = newest_checkpoint(path)?;
        let (file, digest) = TensorFile::read_with_digest(&path)?;
        Self::from_file(file, digest, &path, parts)
    }

    /// The model in the bytes of a checkpoint; `path` is what an error calls them.
    ///
    /// # Errors
    /// If they are damaged, or another program's.
    pub fn from_bytes(bytes: &[u8], path: &Path, parts: &Parts) -> Result<Self, Error> {
        let (file, digest) = TensorFile::from_bytes(bytes, path)?;
        Self::from_file(file, digest, path, parts)
    }

    /// The file takes what memory it is worth, and a model of more parameters than it has values is
    /// never built. So whatever it says of itself, all of it takes at most three times its length and
    /// 32 MiB.
    fn from_file(
        file: TensorFile,
        digest: Option<String>,
        path: &Path,
        parts: &Parts,
    ) -> Result<Self, Error> {
        let TensorFile { mut tensors, mut metadata } = file;
        tensors.retain(|name, _| !name.starts_with("optimizer.") && !name.starts_with("state."));
        let foreign =
            |reason: &str| Error::NoModel { path: path.to_owned(), reason: reason.to_owned() };
        let mut entry = |key: &str| {
            let missing =
                || foreign(&format!("not a checkpoint of this program: it has no `{key}`"));
            metadata.remove(key).ok_or_else(missing)
        };
        if entry("format")?.as_u64() != Some(FORMAT) {
            return Err(foreign("the checkpoint has a format this version does not know"));
        }
        let step = entry("step")?.as_u64().ok_or_else(|| foreign("its step is no number"))?;
        let config = entry("config")?;
        let config = config.as_str().filter(|text| text.len() <= MAX_CONFIG_LEN);
        let config = config.ok_or_else(|| foreign("its config is no text, or an endless one"))?;
        let document = Document::new(path.display().to_string(), config, [""; 0]);
        let config = Config::parse(&document, parts)
            .map_err(|error| foreign(&format!("its config does not fit this program: {error}")))?;

        let symbols = match entry("symbols")? {
            Value::Array(symbols) => symbols.into_iter().map(into_text).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let tokenizer = symbols.and_then(|symbols| config.tokenizer.restore(&symbols));
        let tokenizer = tokenizer.filter(|tokenizer| 2 <= tokenizer.vocab_size());
        let tokenizer = tokenizer.ok_or_else(|| foreign("its vocabulary is damaged"))?;
        let text_digest = metadata.remove("text").map(into_text).unwrap_or_default();
        let text_digest = text_digest.unwrap_or_default();
        drop(metadata);

        let vocab_size = tokenizer.vocab_size();
        let n_values = tensors.values().map(|tensor| tensor.values.len() as u128).sum();
        if !is_worth_building(&config, vocab_size, n_values) {
            return Err(foreign(&format!(
                "its config describes a larger model than its {n_values} weights make"
            )));
        }
        let (weights, n_params) = match config.model.dtype {
            DtypeName::F32 => load::<f32>(&config, &*tokenizer, tensors, path)?,
            DtypeName::F64 => load::<f64>(&config, &*tokenizer, tensors, path)?,
        };
        let summary = Summary {
            step,
            cell: config.cell.name,
            layers: config.model.layers.as_usize(),
            hidden_size: config.model.hidden_size.as_usize(),
            vocab_size,
            n_params,
            dtype: config.model.dtype,
            digest: digest.unwrap_or_default(),
        };
        let opening = match config.source.opening() {
            "" => "\n",
            opening => opening,
        };
        let opening = tokenizer.encode(opening).unwrap_or_else(|_| vec![0]);
        let (stream, text) = (Utf8Stream::default(), String::new());
        Ok(Self { weights, tokenizer, config, text_digest, opening, summary, stream, text })
    }

    /// The config it was trained by; the paths in it have no directories.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Digest of the text it was trained on, see [`SplitText::digest`](crate::SplitText::digest).
    pub fn text_digest(&self) -> &str {
        &self.text_digest
    }

    /// A vocabulary like its own, to encode a text with.
    pub fn new_tokenizer(&self) -> Box<dyn Tokenizer> {
        let symbols = self.tokenizer.symbols();
        self.config.tokenizer.restore(&symbols).expect("they were restored once")
    }

    /// Reads a text in the model's symbols from its start, the state carried within each document, and
    /// shows every symbol but the first, in order, with its surprise given all before it, in nats.
    /// What was read to [`write`](Self::write) on is left alone.
    ///
    /// Returns the sum of the surprises, added up as training does: divided by their number it is a
    /// run's own validation loss to the last bit.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn read(
        &mut self,
        text: &Excerpt<'_>,
        mut see: impl FnMut(u32, f64),
    ) -> Result<f64, TextError> {
        self.read_closely(text, None, |Reading { id, nats, .. }| see(id, nats))
    }

    /// The same with what was expected instead. If it is to be [`Dynamic`] a copy of the weights learns
    /// from every 20 symbols once they are read. Where the rate is too high for that, what it returns
    /// is not finite.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn read_closely(
        &mut self,
        text: &Excerpt<'_>,
        dynamic: Option<Dynamic<'_>>,
        mut see: impl FnMut(Reading),
    ) -> Result<f64, TextError> {
        self.weights.read(&self.config, &[], text, dynamic, &mut |reading| {
            see(reading);
            ControlFlow::Continue(())
        })
    }

    /// Reads a text as [`read`](Self::read) does, after what [`prime`](Self::prime) reads where there
    /// is no prime, and shows every character, the first one too, with its surprise in nats: that of
    /// its bytes together, where it has no symbol of its own. Reads on until `see` breaks.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn score(
        &mut self,
        text: &Excerpt<'_>,
        mut see: impl FnMut(char, f64) -> ControlFlow<()>,
    ) -> Result<(), TextError> {
        let Self { weights, tokenizer, config, opening, .. } = self;
        let (mut stream, mut piece, mut nats) = (Utf8Stream::default(), String::new(), 0.0);
        let mut take = |Reading { id, nats: loss, .. }| {
            nats += loss;
            piece.clear();
            stream.push(tokenizer.bytes(id), &mut piece);
            if piece.is_empty() {
                return ControlFlow::Continue(());
            }
            // A symbol of several characters says nothing of the single ones.
            let each = std::mem::take(&mut nats) / piece.chars().count() as f64;
            piece.chars().try_for_each(|symbol| see(symbol, each))
        };
        weights.read(config, opening, text, None, &mut take).map(|_| ())
    }

    /// What is read where no prime is given.
    pub fn opening(&self) -> String {
        self.tokenizer.decode(&self.opening)
    }

    /// A text in the model's symbols, cut into documents as the one it was trained on. `name` is what
    /// an error calls it.
    ///
    /// # Errors
    /// If it cannot be read, or has characters that the vocabulary does not have.
    pub fn encode(&self, corpus: Corpus, name: &str) -> Result<EncodedCorpus, Error> {
        let is_unknown =
            |symbol: &char| self.tokenizer.encode(symbol.encode_utf8(&mut [0; 4])).is_err();
        let unknown: Vec<char> = corpus.characters()?.into_keys().filter(is_unknown).collect();
        if !unknown.is_empty() {
            let (mut line, mut column, mut first) = (1, 1, None);
            corpus.read(|text| {
                for symbol in text.chars() {
                    if first.is_none() && unknown.binary_search(&symbol).is_ok() {
                        first = Some((symbol, line, column));
                    }
                    (line, column) =
                        if symbol == '\n' { (line + 1, 1) } else { (line, column + 1) };
                }
            })?;
            let (symbol, line, column) = first.expect("one was found");
            return Err(Error::Unknown {
                place: format!("{name}:{line}:{column}"),
                symbol,
                others: unknown.into_iter().filter(|other| *other != symbol).collect(),
                known: self.tokenizer.symbols(),
            });
        }
        let corpus = corpus.separated_by(self.config.source.opening());
        Ok(corpus.encode(self.new_tokenizer())?)
    }

    /// Reads the start of a text in the model's symbols, and tells what its units do meanwhile. What
    /// was read to [`write`](Self::write) on is left alone.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn neurons(&self, text: &Excerpt<'_>) -> Result<Neurons, TextError> {
        self.weights.neurons(&self.config, text)
    }

    /// What it is.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What turns a prime into indices, and what the model writes into text.
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        &*self.tokenizer
    }

    /// Forgets what was read, then reads `prime`. Without one it reads what every document of its text
    /// starts with, or a line end, or the first symbol of a vocabulary without it: a model has to read
    /// something before it can write.
    ///
    /// # Errors
    /// On a character that the vocabulary does not have.
    pub fn prime(&mut self, prime: &str) -> Result<(), Error> {
        let ids = if prime.is_empty() { self.opening.clone() } else { self.ids_of(prime)? };
        self.weights.restart();
        self.feed(&ids);
        Ok(())
    }

    /// Reads `text` after all that was read and written since [`prime`](Self::prime).
    ///
    /// # Errors
    /// On a character that the vocabulary does not have. Then nothing is read.
    pub fn go_on(&mut self, text: &str) -> Result<(), Error> {
        let ids = self.ids_of(text)?;
        self.feed(&ids);
        Ok(())
    }

    fn ids_of(&self, prime: &str) -> Result<Vec<u32>, Error> {
        let unknown = |unknown| Error::Prime { unknown, known: self.tokenizer.symbols() };
        self.tokenizer.encode(prime).map_err(unknown)
    }

    fn feed(&mut self, ids: &[u32]) {
        self.stream = Utf8Stream::default();
        ids.iter().for_each(|id| self.weights.feed(*id));
    }

    /// Draws the next symbol and reads it. Returns the text it completes, which is none where the
    /// symbol is a byte in the middle of a character.
    pub fn write(&mut self, sampler: &Sampler, rng: &mut Rng) -> &str {
        let id = self.weights.draw(sampler, rng);
        self.take(id)
    }

    /// Reads a symbol that was drawn; returns the text it completes.
    fn take(&mut self, id: u32) -> &str {
        self.weights.feed(id);
        self.text.clear();
        self.stream.push(self.tokenizer.bytes(id), &mut self.text);
        &self.text
    }

    /// The same, but draws no symbol that completes a text of which `is_banned` says so; `None` if
    /// there is no other. Nothing is read then.
    pub fn write_unless(
        &mut self,
        is_banned: impl Fn(&str) -> bool,
        sampler: &Sampler,
        rng: &mut Rng,
    ) -> Option<&str> {
        let mut completed = String::new();
        let mut completes_banned = |id: &u32| {
            let bytes = self.tokenizer.bytes(*id);
            match std::str::from_utf8(bytes) {
                Ok(text) if self.stream.held().is_empty() => is_banned(text),
                _ => {
                    completed.clear();
                    self.stream.clone().push(bytes, &mut completed);
                    !completed.is_empty() && is_banned(&completed)
                }
            }
        };
        let vocab_size = self.tokenizer.vocab_size() as u32;
        let banned: Vec<u32> = (0..vocab_size).filter(&mut completes_banned).collect();
        let id = self.weights.draw_without(&banned, sampler, rng)?;
        Some(self.take(id))
    }

    /// Ends a text: returns what is to be shown for the bytes of a character that was not finished.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        self.stream.finish(&mut self.text);
        &self.text
    }
}

/// Whether a model over `vocab_size` characters has no more parameters than `n_values`, and takes no
/// more memory than they do by far. Finding out takes no more memory either.
fn is_worth_building(config: &Config, vocab_size: usize, n_values: u128) -> bool {
    let width = |size: usize| size as u128;
    let hidden_size = width(config.model.hidden_size.as_usize());
    let embedding_size = width(config.model.embedding_size.as_usize());
    // The output weights, or the embedding they are tied to, and any layer's bias.
    let layers = width(config.model.layers.as_usize()) * hidden_size;
    let least = width(vocab_size) * hidden_size.max(embedding_size) + layers;
    least <= n_values && count_params(config, vocab_size) <= n_values
}

fn into_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn load<T: Dtype>(
    config: &Config,
    tokenizer: &dyn Tokenizer,
    mut tensors: BTreeMap<String, StoredTensor>,
    path: &Path,
) -> Result<(Box<dyn Weights>, usize), Error> {
    let no_model = |reason| Error::NoModel { path: path.to_owned(), reason };
    let model = build_model::<T>(config, Mode::Read, tokenizer.vocab_size(), 1, 1);
    let n_params = model.layout().len();
    let packed = model.layout().segments().iter().map(|segment| match segment.shape {
        Shape::Matrix(k, n) => packed_len::<T>(k, n),
        Shape::Vector(_) => 0,
    });
    if 2 * n_params + MAX_FILLING < packed.sum() {
        return Err(no_model("its config describes a larger model than its weights make".into()));
    }
    let mut theta = vec![T::ZERO; n_params];
    let find = |name: &str| {
        let (name, StoredTensor { shape, values }) = tensors.remove_entry(name)?;
        Some(Tensor { name, shape, values: T::from_values(values) })
    };
    state_dict::import(model.layout(), &mut theta, find)
        .map_err(|error| no_model(error.message))?;
    drop(tensors);
    if theta.iter().any(|value| !value.to_f64().is_finite()) {
        return Err(no_model(format!("a weight is too large for {}", config.model.dtype)));
    }
    let mut generator = Generator::new(model).separated_by(config.separator(tokenizer));
    generator.prepare(&theta);
    Ok((Box::new(Loaded { generator, theta, evaluator: None }), n_params))
}
