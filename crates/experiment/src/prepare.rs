//! From a config to everything that training needs, checked before anything is written.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use data_io::{EncodedCorpus, Excerpt, TextError, Tokenizer, Windows};
use registry::Document;
use registry::range::Share;
use rnn_model::{Dims, Model};
use tensor_core::rng::{Stream, stream};
use tensor_core::{Layout, Shape};

use crate::config::{Mode, OnDivergence};
use crate::memory::{self, Memory};
use crate::trainer::EVAL_STEPS;
use crate::{Config, Dtype, Error, Parts};

/// What a config asks for, ready to be trained: its parts are found, its text is read and cut, its
/// initial weights are at hand, and the run is known to fit into the machine.
pub struct Experiment {
    config: Config,
    /// The config file's name without directories and ending: what a run directory is called.
    name: String,
    corpus: EncodedCorpus,
    /// Of the text, once somebody asked for it.
    digest: OnceLock<String>,
    /// The places of the training text.
    train: Range<usize>,
    /// The places of the validation text.
    val: Range<usize>,
    windows: Windows,
    initial: Vec<f64>,
    memory: Memory,
    threads: usize,
}

impl Experiment {
    /// Reads the config, then the text, and checks that they go together.
    ///
    /// # Errors
    /// On anything that would keep the run from training.
    pub fn prepare(document: &Document, parts: &Parts) -> Result<Self, Error> {
        let config = Config::parse(document, parts)?;
        let corpus = config.source.read()?;
        let place = || config.text_place();
        let tokenizer = config.tokenizer.fit(&corpus)?;
        let corpus = corpus.encode(tokenizer)?;
        let (tokenizer, len) = (corpus.tokenizer(), corpus.len());
        if let Some(id) = corpus.excerpt(0..len).only_symbol()? {
            return Err(Error::OneSymbol { place: place(), symbol: tokenizer.decode(&[id]) });
        }

        let [train, val, _] = cut(len, config.data.split);
        let too_short =
            |part, chars, needed| Error::TooShort { place: place(), part, chars, needed };
        let rule = config.train.window_rule();
        let windows = Windows::new(train.len(), rule)
            .ok_or_else(|| too_short("training", train.len(), rule.min_text_len()))?;
        if !val.is_empty() && val.len() < 2 {
            return Err(too_short("validation", val.len(), 2));
        }

        let text = corpus.memory(rule.batch_size + 1);
        let (n_params, memory) = estimate(&config, tokenizer.vocab_size(), text);
        let available = memory::of_machine();
        if available < memory.total() {
            let (file, needed) = (document.name().to_owned(), memory.total());
            return Err(Error::TooLarge { file, needed, available });
        }
        let stem = Path::new(document.name()).file_stem();
        let name = stem.map_or("run".into(), |stem| stem.to_string_lossy().into_owned());
        let initial = initial_weights(&config, tokenizer.vocab_size(), n_params as usize)?;
        let threads = 1;
        let digest = OnceLock::new();
        Ok(Self { config, name, corpus, digest, train, val, windows, initial, memory, threads })
    }

    /// Lets a trainer use so many threads; until then it uses one. No result depends on it.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn set_threads(&mut self, threads: usize) {
        assert!(0 < threads, "a trainer needs a thread");
        self.threads = threads;
    }

    /// Threads that a trainer may use.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the run is called: the config file's name without directories and ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        self.corpus.tokenizer()
    }

    /// The whole text.
    pub fn text(&self) -> Excerpt<'_> {
        self.corpus.excerpt(0..self.corpus.len())
    }

    /// A digest of the whole text, see [`EncodedCorpus::digest`].
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn text_digest(&self) -> Result<&str, TextError> {
        if let Some(digest) = self.digest.get() {
            return Ok(digest);
        }
        let digest = self.corpus.digest()?;
        Ok(self.digest.get_or_init(|| digest))
    }

    /// The part of the text that is trained on.
    pub fn train_text(&self) -> Excerpt<'_> {
        self.corpus.excerpt(self.train.clone())
    }

    /// The part of the text that is held out for validation; may be empty.
    pub fn val_text(&self) -> Excerpt<'_> {
        self.corpus.excerpt(self.val.clone())
    }

    /// Nats per character that the text holds on average, where that is known.
    pub fn entropy(&self) -> Option<f64> {
        self.corpus.entropy()
    }

    /// The windows of the training text, before the first.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Number of trained parameters.
    pub fn n_params(&self) -> usize {
        self.initial.len()
    }

    /// The parameters before the first step, in double precision whatever the run computes in.
    pub fn initial(&self) -> &[f64] {
        &self.initial
    }

    /// The memory a run takes.
    pub fn memory(&self) -> Memory {
        self.memory
    }
}

/// The model that a config describes, over `vocab_size` characters, for windows of at most
/// `seq_len` steps of `batch_size` lanes.
pub fn build_model<T: Dtype>(
    config: &Config,
    mode: Mode,
    vocab_size: usize,
    batch_size: usize,
    seq_len: usize,
) -> Model<T> {
    let options = config.model.layer_options(mode);
    let layer = |dims| T::layer(&*config.cell, dims, options);
    let dims = layer_dims(config, vocab_size, batch_size, seq_len);
    Model::new(config.model.architecture(vocab_size, mode), dims.map(layer).collect())
}

fn layer_dims(
    config: &Config,
    vocab_size: usize,
    batch_size: usize,
    seq_len: usize,
) -> impl Iterator<Item = Dims> {
    let hidden_size = config.model.hidden_size.as_usize();
    let embedding_size = config.model.embedding_size.as_usize();
    let first = if embedding_size == 0 { vocab_size } else { embedding_size };
    (0..config.model.layers.as_usize()).map(move |index| {
        let input_size = if index == 0 { first } else { hidden_size };
        Dims { input_size, hidden_size, batch_size, seq_len }
    })
}

fn initial_weights(config: &Config, vocab_size: usize, n_params: usize) -> Result<Vec<f64>, Error> {
    let model = build_model::<f64>(config, Mode::Read, vocab_size, 1, 1);
    let mut initial = vec![0.0; n_params];
    let mut rng = stream(config.train.seed.get() as u64, Stream::Init);
    let hidden_size = config.model.hidden_size.as_usize();
    let forget_bias = config.model.forget_bias.get();
    config.init.init(model.layout(), hidden_size, forget_bias, &mut rng, &mut initial)?;
    Ok(initial)
}

/// Cuts `len` characters into training, validation and test text.
///
/// A border is at the whole part of its share, as in nanoGPT and torch-rnn; rounding errors of a
/// sum of shares never leave a character over at the end.
fn cut(len: usize, split: [Share; 3]) -> [Range<usize>; 3] {
    let [train, val, test] = split.map(Share::get);
    let border =
        |share: f64, rest: f64| if rest == 0.0 { len } else { (len as f64 * share) as usize };
    let first = border(train, val + test);
    let second = border(train + val, test);
    [0..first, first..second, second..len]
}

/// Number of parameters of a model over `vocab_size` characters, found without building more than a
/// layer of it for one step.
pub(crate) fn count_params(config: &Config, vocab_size: usize) -> u128 {
    let vocab = vocab_size as u128;
    let hidden_size = config.model.hidden_size.as_usize() as u128;
    let embedding_size = config.model.embedding_size.as_usize() as u128;
    let n_layers = config.model.layers.as_usize() as u128;
    let options = config.model.layer_options(Mode::Read);
    let head = if config.model.tied { 0 } else { hidden_size * vocab };
    // All layers but the first are alike.
    let dims = layer_dims(config, vocab_size, 1, 1);
    let layers = dims
        .zip([1, n_layers - 1])
        .map(|(dims, count)| count * memory::layer_params(&*config.cell, dims, options));
    vocab * embedding_size + head + vocab + layers.sum::<u128>()
}

/// Number of parameters and memory of a run, found without taking any of that memory but that for
/// the text.
fn estimate(config: &Config, vocab_size: usize, text: u128) -> (u128, Memory) {
    let rule = config.train.window_rule();
    let (vocab, rows) = (vocab_size as u128, rule.batch_size as u128 * rule.max_len() as u128);
    let hidden_size = config.model.hidden_size.as_usize() as u128;
    let embedding_size = config.model.embedding_size.as_usize() as u128;
    let n_layers = config.model.layers.as_usize() as u128;
    let options = config.model.layer_options(Mode::Train);

    let n_params = count_params(config, vocab_size);
    let mut activations = rows * (2 * vocab + 2 * hidden_size + 2 * embedding_size);
    if config.model.residual || 0.0 < config.model.dropout.get() {
        activations += n_layers * rows * 2 * hidden_size;
    }
    // All layers but the first are alike.
    let dims = layer_dims(config, vocab_size, rule.batch_size, rule.max_len());
    for (dims, count) in dims.zip([1, n_layers - 1]) {
        activations += count * memory::layer_tape(&*config.cell, dims, options);
    }

    // What an optimizer keeps grows with the parameters, so a tiny one tells what a large one would.
    let mut tiny = Layout::default();
    tiny.push(None, [("w", Shape::Matrix(8, 8))]);
    let kept: usize =
        config.optimizer.f32(&tiny).state().iter().map(|(_, values)| values.len()).sum();
    let averages = if config.optimizer_keys.ema.get() == 0.0 { 0 } else { n_params };
    let optimizer = n_params * kept as u128 / tiny.len() as u128 + averages;

    // Samples and evaluations have a model of their own, of one lane.
    activations += activations / rows * (1 + EVAL_STEPS as u128);

    let size = config.model.dtype.size() as u128;
    let rolls_back = config.train.on_divergence == OnDivergence::Rollback;
    let memory = Memory {
        // With the initial values in double precision. Two layouts of the weights for products, which
        // fill up to whole panels, take at most as much again as parameters and gradients.
        parameters: n_params * (4 * size + 8),
        optimizer: optimizer * size,
        activations: activations * size,
        // The tensors of a checkpoint, twice while it is handed to those who write it, the bytes of
        // its file, and those of the last one while it is still being written; and a state to go
        // back to, which is then in the checkpoint too.
        checkpoint: (if rolls_back { 9 } else { 4 }) * (n_params + optimizer) * size,
        text,
    };
    (n_params, memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(len: usize, split: [f64; 3], expected: [usize; 3]) {
        let parts = cut(len, split.map(Share::new));
        assert_eq!(parts.clone().map(|part| part.len()), expected);
        assert!(parts[0].end == parts[1].start && parts[1].end == parts[2].start);
    }

    #[test]
    fn a_split_is_cut_by_position_and_loses_no_character() {
        check(10, [1.0, 0.0, 0.0], [10, 0, 0]);
        check(1_115_394, [0.9, 0.1, 0.0], [1_003_854, 111_540, 0]);
        check(1_115_394, [0.8, 0.1, 0.1], [892_315, 111_539, 111_540]);
        // In floating point 0.7 + 0.2 + 0.1 is less than 1.
        check(1000, [0.7, 0.2, 0.1], [700, 199, 101]);
        check(1000, [0.7, 0.3, 0.0], [700, 300, 0]);
    }
}
