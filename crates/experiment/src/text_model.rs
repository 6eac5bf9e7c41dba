//! A trained model as something that reads and writes text.

use std::path::Path;

use data_io::{TensorFile, Tokenizer, Utf8Stream};
use registry::Document;
use rnn_model::state_dict::{self, Tensor};
use rnn_model::{Generator, Sampler};
use tensor_core::rng::Rng;

use crate::checkpoint::FORMAT;
use crate::config::Mode;
use crate::{Config, Dtype, DtypeName, Error, Parts, build_model, newest_checkpoint};

/// A checkpoint's model with its vocabulary and its state.
pub struct TextModel {
    writer: Box<dyn Writer>,
    tokenizer: Box<dyn Tokenizer>,
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
}

/// A generator without its number type.
trait Writer {
    fn restart(&mut self);
    fn feed(&mut self, id: u32);
    fn draw(&mut self, sampler: &Sampler, rng: &mut Rng) -> u32;
}

struct Loaded<T> {
    generator: Generator<T>,
    theta: Vec<T>,
}

impl<T: Dtype> Writer for Loaded<T> {
    fn restart(&mut self) {
        self.generator.restart();
    }
    fn feed(&mut self, id: u32) {
        self.generator.feed(&self.theta, id);
    }
    fn draw(&mut self, sampler: &Sampler, rng: &mut Rng) -> u32 {
        self.generator.draw(sampler, rng)
    }
}

impl TextModel {
    /// Opens a checkpoint, or the newest one of a run directory.
    ///
    /// # Errors
    /// If there is none, or it is damaged, or another program's.
    pub fn open(path: &Path, parts: &Parts) -> Result<Self, Error> {
        let path = newest_checkpoint(path)?;
        let file = TensorFile::read(&path)?;
        let foreign =
            |reason: &str| Error::NoModel { path: path.clone(), reason: reason.to_owned() };
        let entry = |key: &str| {
            let missing =
                || foreign(&format!("not a checkpoint of this program: it has no `{key}`"));
            file.metadata.get(key).ok_or_else(missing)
        };
        if entry("format")?.as_u64() != Some(FORMAT) {
            return Err(foreign("the checkpoint has a format this version does not know"));
        }
        let config = entry("config")?.as_str().unwrap_or_default();
        let document = Document::new(path.display().to_string(), config, [""; 0]);
        let config = Config::parse(&document, parts)
            .map_err(|error| foreign(&format!("its config does not fit this program: {error}")))?;

        let symbols = entry("symbols")?.as_array().map(Vec::as_slice).unwrap_or_default();
        let symbols: Option<Vec<_>> =
            symbols.iter().map(|s| s.as_str().map(str::to_owned)).collect();
        let tokenizer = symbols.and_then(|symbols| config.tokenizer.restore(&symbols));
        let tokenizer = tokenizer.ok_or_else(|| foreign("its vocabulary is damaged"))?;
        let vocab_size = tokenizer.vocab_size();

        let (writer, n_params) = match config.model.dtype {
            DtypeName::F32 => load::<f32>(&config, vocab_size, &file, &path)?,
            DtypeName::F64 => load::<f64>(&config, vocab_size, &file, &path)?,
        };
        let summary = Summary {
            step: entry("step")?.as_u64().unwrap_or_default(),
            cell: config.cell.name,
            layers: config.model.layers.as_usize(),
            hidden_size: config.model.hidden_size.as_usize(),
            vocab_size,
            n_params,
            dtype: config.model.dtype,
        };
        let opening = match config.source.opening() {
            "" => "\n",
            opening => opening,
        };
        let opening = tokenizer.encode(opening).unwrap_or_else(|_| vec![0]);
        let (stream, text) = (Utf8Stream::default(), String::new());
        Ok(Self { writer, tokenizer, opening, summary, stream, text })
    }

    /// What it is.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The vocabulary.
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
        let ids = if prime.is_empty() {
            self.opening.clone()
        } else {
            self.tokenizer
                .encode(prime)
                .map_err(|unknown| Error::Prime { unknown, known: self.tokenizer.symbols() })?
        };
        self.stream = Utf8Stream::default();
        self.writer.restart();
        for id in ids {
            self.writer.feed(id);
        }
        Ok(())
    }

    /// Draws the next symbol and reads it. Returns the text it completes, which is none where the
    /// symbol is a byte in the middle of a character.
    pub fn write(&mut self, sampler: &Sampler, rng: &mut Rng) -> &str {
        let id = self.writer.draw(sampler, rng);
        self.writer.feed(id);
        self.text.clear();
        self.stream.push(self.tokenizer.bytes(id), &mut self.text);
        &self.text
    }

    /// Ends a text: returns what is to be shown for the bytes of a character that was not finished.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        self.stream.finish(&mut self.text);
        &self.text
    }
}

fn load<T: Dtype>(
    config: &Config,
    vocab_size: usize,
    file: &TensorFile,
    path: &Path,
) -> Result<(Box<dyn Writer>, usize), Error> {
    let model = build_model::<T>(config, Mode::Read, vocab_size, 1, 1);
    let n_params = model.layout().len();
    let mut theta = vec![T::ZERO; n_params];
    let find = |name: &str| {
        let tensor = file.tensors.get(name)?;
        let values = tensor.values.to_f64().into_iter().map(T::from_f64).collect();
        Some(Tensor { name: name.to_owned(), shape: tensor.shape.clone(), values })
    };
    state_dict::import(model.layout(), &mut theta, find)
        .map_err(|error| Error::NoModel { path: path.to_owned(), reason: error.message })?;
    let mut generator = Generator::new(model);
    generator.prepare(&theta);
    Ok((Box::new(Loaded { generator, theta }), n_params))
}
