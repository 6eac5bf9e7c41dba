//! A text cut into what is trained on, what validates and what tests.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use data_io::{Corpus, EncodedCorpus, Excerpt, TextError, Tokenizer};
use registry::range::Share;

use crate::{Config, Error, Parts, TextModel, newest_checkpoint, own_text};

/// The text of a config as symbols, in its three parts.
pub struct SplitText {
    corpus: EncodedCorpus,
    /// Of the whole text, once somebody asked for it.
    digest: OnceLock<String>,
    /// Where training, validation and test text are.
    parts: [Range<usize>; 3],
}

impl SplitText {
    /// Reads the text that `config` names. Its symbols are those of `tokenizer`, or without one the
    /// text's own.
    ///
    /// # Errors
    /// If it cannot be read, or has a symbol that the vocabulary does not have.
    pub fn read(config: &Config, tokenizer: Option<Box<dyn Tokenizer>>) -> Result<Self, TextError> {
        let corpus = config.source.read()?;
        let tokenizer = match tokenizer {
            Some(tokenizer) => tokenizer,
            None => config.tokenizer.fit(&corpus)?,
        };
        Ok(Self::of(corpus.encode(tokenizer)?, config))
    }

    /// The text that a model was trained on, in its symbols: the one that the config of its run names,
    /// or `file`. `path` is that of the run or of a checkpoint in it.
    ///
    /// # Errors
    /// If the checkpoint is in no run; or the text cannot be read, or has a symbol that the vocabulary
    /// does not have, or is another one, unless it was named.
    pub fn of_model(
        path: &Path,
        model: &TextModel,
        file: Option<PathBuf>,
        parts: &Parts,
    ) -> Result<Self, Error> {
        if let Some(file) = file {
            let name = file.display().to_string();
            let corpus = model.encode(Corpus::of_files(vec![file])?, &name)?;
            return Ok(Self::of(corpus, model.config()));
        }
        own_text(model, &newest_checkpoint(path)?, &[], parts).map(|(_, text)| text)
    }

    fn of(corpus: EncodedCorpus, config: &Config) -> Self {
        let parts = cut(corpus.len(), config.data.split);
        Self { corpus, digest: OnceLock::new(), parts }
    }

    /// The same text in the parts that `config` wants.
    pub(crate) fn cut(self, config: &Config) -> Self {
        Self { parts: cut(self.corpus.len(), config.data.split), ..self }
    }

    /// What turned the text into indices.
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        self.corpus.tokenizer()
    }

    /// The whole text, whatever its parts are for.
    pub fn whole(&self) -> Excerpt<'_> {
        self.corpus.excerpt(0..self.corpus.len())
    }

    /// The part that is trained on.
    pub fn train(&self) -> Excerpt<'_> {
        self.part(0)
    }

    /// The part that is held out for validation; may be empty.
    pub fn val(&self) -> Excerpt<'_> {
        self.part(1)
    }

    /// The part that nothing is decided by; may be empty.
    pub fn test(&self) -> Excerpt<'_> {
        self.part(2)
    }

    fn part(&self, index: usize) -> Excerpt<'_> {
        self.corpus.excerpt(self.parts[index].clone())
    }

    /// A digest of the whole text, see [`EncodedCorpus::digest`].
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn digest(&self) -> Result<&str, TextError> {
        if let Some(digest) = self.digest.get() {
            return Ok(digest);
        }
        let digest = self.corpus.digest()?;
        Ok(self.digest.get_or_init(|| digest))
    }

    /// Nats per symbol that the text holds on average, where that is known.
    pub fn entropy(&self) -> Option<f64> {
        self.corpus.entropy()
    }

    /// Bytes of memory it takes, and readers of so many lanes of it.
    pub fn memory(&self, n_lanes: usize) -> u128 {
        self.corpus.memory(n_lanes)
    }
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
