//! From a config to everything that training needs, checked before anything is written.

use std::ops::Range;
use std::path::{Path, PathBuf};

use data_io::{Sweep, Tokenizer, read_text};
use registry::Document;
use registry::range::Share;
use rnn_model::{Architecture, Dims, LayerOptions, Model};
use tensor_core::rng::{Stream, stream};
use tensor_core::{Layout, Shape};

use crate::memory::{self, Memory};
use crate::{Config, Dtype, Error, Parts};

/// What a config asks for, ready to be trained: its parts are found, its text is read and cut, its
/// initial weights are at hand, and the run is known to fit into the machine.
pub struct Experiment {
    config: Config,
    /// The config file's name without directories and ending: what a run directory is called.
    name: String,
    tokenizer: Box<dyn Tokenizer>,
    ids: Vec<u32>,
    train: Range<usize>,
    val: Range<usize>,
    sweep: Sweep,
    initial: Vec<f64>,
    memory: Memory,
}

impl Experiment {
    /// Reads the config, then the text, and checks that they go together.
    ///
    /// # Errors
    /// On anything that would keep the run from training.
    pub fn prepare(document: &Document, parts: &Parts) -> Result<Self, Error> {
        let config = Config::parse(document, parts)?;
        let path = PathBuf::from(&config.data.path);
        let text = read_text(&path)?;
        let tokenizer = config.tokenizer.fit(&text);
        if tokenizer.vocab_size() < 2 {
            return Err(Error::OneSymbol { path, symbol: tokenizer.decode(&[0]) });
        }
        let ids = tokenizer.encode(&text).expect("a vocabulary holds the text it was made from");

        let [train, val, _] = cut(ids.len(), config.data.split);
        let (batch_size, seq_len) =
            (config.train.batch_size.as_usize(), config.train.seq_len.as_usize());
        let too_short =
            |part, chars, needed| Error::TooShort { path: path.clone(), part, chars, needed };
        let sweep = Sweep::new(train.len(), batch_size, seq_len)
            .ok_or_else(|| too_short("training", train.len(), batch_size * (seq_len + 2)))?;
        if !val.is_empty() && val.len() < 2 {
            return Err(too_short("validation", val.len(), 2));
        }

        let (n_params, memory) = estimate(&config, tokenizer.vocab_size(), ids.len());
        let available = memory::of_machine();
        if available < memory.total() {
            let (file, needed) = (document.name().to_owned(), memory.total());
            return Err(Error::TooLarge { file, needed, available });
        }
        let stem = Path::new(document.name()).file_stem();
        let name = stem.map_or("run".into(), |stem| stem.to_string_lossy().into_owned());
        let initial = initial_weights(&config, tokenizer.vocab_size(), n_params as usize)?;
        Ok(Self { config, name, tokenizer, ids, train, val, sweep, initial, memory })
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
        &*self.tokenizer
    }

    /// The whole text as indices.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The part of the text that is trained on.
    pub fn train_ids(&self) -> &[u32] {
        &self.ids[self.train.clone()]
    }

    /// The part of the text that is held out for validation; may be empty.
    pub fn val_ids(&self) -> &[u32] {
        &self.ids[self.val.clone()]
    }

    /// The order in which the training text is read, at its start.
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
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
    vocab_size: usize,
    batch_size: usize,
    seq_len: usize,
) -> Model<T> {
    let layer = |dims| T::layer(&*config.cell, dims, LayerOptions::default());
    let dims = layer_dims(config, vocab_size, batch_size, seq_len);
    let architecture = Architecture { vocab_size, ..Architecture::default() };
    Model::new(architecture, dims.map(layer).collect())
}

fn layer_dims(
    config: &Config,
    vocab_size: usize,
    batch_size: usize,
    seq_len: usize,
) -> impl Iterator<Item = Dims> {
    let hidden_size = config.model.hidden_size.as_usize();
    (0..config.model.layers.as_usize()).map(move |index| {
        let input_size = if index == 0 { vocab_size } else { hidden_size };
        Dims { input_size, hidden_size, batch_size, seq_len }
    })
}

fn initial_weights(config: &Config, vocab_size: usize, n_params: usize) -> Result<Vec<f64>, Error> {
    let model = build_model::<f64>(config, vocab_size, 1, 1);
    let mut initial = vec![0.0; n_params];
    let mut rng = stream(config.train.seed.get() as u64, Stream::Init);
    let hidden_size = config.model.hidden_size.as_usize();
    config.init.init(model.layout(), hidden_size, 0.0, &mut rng, &mut initial)?;
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

/// Number of parameters and memory of a run, found without taking any of that memory.
fn estimate(config: &Config, vocab_size: usize, text_len: usize) -> (u128, Memory) {
    let (batch_size, seq_len) =
        (config.train.batch_size.as_usize(), config.train.seq_len.as_usize());
    let hidden_size = config.model.hidden_size.as_usize() as u128;
    let (vocab, rows) = (vocab_size as u128, batch_size as u128 * seq_len as u128);

    // All layers but the first are alike.
    let mut n_params = (hidden_size + 1) * vocab;
    let mut activations = rows * (2 * vocab + 2 * hidden_size);
    let n_layers = config.model.layers.as_usize() as u128;
    for (dims, count) in layer_dims(config, vocab_size, batch_size, seq_len).zip([1, n_layers - 1])
    {
        let (params, tape) = memory::layer_len(&*config.cell, dims, LayerOptions::default());
        n_params += count * params;
        activations += count * tape;
    }

    // What an optimizer keeps grows with the parameters, so a tiny one tells what a large one would.
    let mut tiny = Layout::default();
    tiny.push(None, [("w", Shape::Matrix(8, 8))]);
    let kept: usize =
        config.optimizer.f32(&tiny).state().iter().map(|(_, values)| values.len()).sum();
    let optimizer = n_params * kept as u128 / tiny.len() as u128;

    let size = config.model.dtype.size() as u128;
    let memory = Memory {
        parameters: 2 * n_params * size,
        optimizer: optimizer * size,
        activations: activations * size,
        text: 4 * text_len as u128,
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
