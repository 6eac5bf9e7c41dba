//! From a config to everything that training needs, checked before anything is written.

use std::path::Path;

use data_io::{Excerpt, Tokenizer, Windows};
use registry::Document;
use rnn_model::{Dims, InitError, Model};
use tensor_core::rng::{Stream, stream};
use tensor_core::{Layout, Shape};

use crate::config::{Mode, OnDivergence};
use crate::evaluator::EVAL_STEPS;
use crate::memory::{self, Memory};
use crate::{Config, Dtype, DtypeName, Error, Parts, SplitText, guessing, yardsticks};

/// What a config asks for, ready to be trained: its parts are found, its text is read and cut, its
/// initial weights are at hand, and the run is known to fit into the machine.
pub struct Experiment {
    config: Config,
    /// The config file's name without directories and ending: what a run directory is called.
    name: String,
    text: SplitText,
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
        let text = SplitText::read(&config, None)?;
        Self::of_text(document, config, text)
    }

    /// Another config over the same text, which is not read again: its source and its tokenizer have
    /// to be those of this one.
    pub(crate) fn with_config(self, document: &Document, parts: &Parts) -> Result<Self, Error> {
        let config = Config::parse(document, parts)?;
        let (threads, text) = (self.threads, self.text.cut(&config));
        Ok(Self { threads, ..Self::of_text(document, config, text)? })
    }

    fn of_text(document: &Document, config: Config, text: SplitText) -> Result<Self, Error> {
        let place = || config.text_place();
        let (tokenizer, train, val) = (text.tokenizer(), text.train(), text.val());
        if let Some(id) = text.whole().only_symbol()? {
            return Err(Error::OneSymbol { place: place(), symbol: tokenizer.decode(&[id]) });
        }
        let (whole, unit) = (text.whole().len(), config.tokenizer.unit());
        let too_short = |part, chars, needed| Error::TooShort {
            place: place(),
            part,
            chars,
            needed,
            whole,
            unit,
        };
        let rule = config.train.window_rule();
        let windows = Windows::new(train.len(), rule)
            .ok_or_else(|| too_short("training", train.len(), rule.min_text_len()))?;
        if !val.is_empty() && val.len() < 2 {
            return Err(too_short("validation", val.len(), 2));
        }

        let (n_params, memory) = estimate(&config, &text);
        let available = memory::of_machine();
        if available < memory.total() {
            let (file, needed) = (document.name().to_owned(), memory.total());
            return Err(Error::TooLarge { file, needed, available });
        }
        let stem = Path::new(document.name()).file_stem();
        let name = stem.map_or("run".into(), |stem| stem.to_string_lossy().into_owned());
        let initial = initial_weights(&config, tokenizer.vocab_size(), n_params as usize)?;
        let threads = 1;
        Ok(Self { config, name, text, windows, initial, memory, threads })
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

    /// The config, with every default written out.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the run is called: the config file's name without directories and ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text, cut into what is trained on, validated on and held back.
    pub fn text(&self) -> &SplitText {
        &self.text
    }

    /// What turns text into indices below the vocabulary's size, and back.
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        self.text.tokenizer()
    }

    /// What guessing costs, all symbols alike, in nats: where losses start.
    pub fn uniform(&self) -> f64 {
        guessing(self.tokenizer().vocab_size())
    }

    /// The part of the text that is trained on.
    pub fn train_text(&self) -> Excerpt<'_> {
        self.text.train()
    }

    /// The part of the text that is held out for validation; may be empty.
    pub fn val_text(&self) -> Excerpt<'_> {
        self.text.val()
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

    /// An estimate of the memory a run takes, in bytes.
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
    let dtype = config.model.dtype;
    let fits = |value: &f64| dtype == DtypeName::F64 || (*value as f32).is_finite();
    let mut segments = model.layout().segments().iter();
    if let Some(segment) = segments.find(|segment| !initial[segment.range.clone()].iter().all(fits))
    {
        return Err(Error::Init(InitError {
            place: "model.init".into(),
            message: format!("a value of `{}` is too large for {dtype}", segment.name()),
            help: "train with model.dtype = \"f64\", or start from other weights".into(),
        }));
    }
    Ok(initial)
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
fn estimate(config: &Config, text: &SplitText) -> (u128, Memory) {
    let rule = config.train.window_rule();
    let vocab_size = text.tokenizer().vocab_size();
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
    let shards = config.train.shards.as_usize();
    let sums = 1 + shards.ilog2() as u128;
    let rolls_back = config.train.on_divergence == OnDivergence::Rollback;
    let memory = Memory {
        // With the initial values in double precision. Each shard has two layouts of the weights for
        // products, which fill up to whole panels; of gradients there are as many as a tree has levels.
        parameters: n_params * ((1 + sums + 2 * shards as u128) * size + 8),
        optimizer: optimizer * size,
        activations: activations * size,
        // The tensors of a checkpoint, twice while it is handed to those who write it, the bytes of
        // its file, and those of the last one while it is still being written; and a state to go
        // back to, which is then in the checkpoint too.
        checkpoint: (if rolls_back { 9 } else { 4 }) * (n_params + optimizer) * size,
        text: text.memory(rule.batch_size + 1),
        yardsticks: if config.is_ever_evaluated() { yardsticks::memory(text) } else { 0 },
        file: (n_params + optimizer) * size,
    };
    (n_params, memory)
}
