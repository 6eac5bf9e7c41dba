//! Yardsticks for a run's validation loss, from the same text.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use data_io::{Excerpt, TextError, durable};
use serde::{Deserialize, Serialize};
use yardstick::{Text, ngrams, xz};

use crate::error::failed;
use crate::ranks::{Ranks, any, tell};
use crate::{Error, Event, Experiment, Flow, Observer, SplitText};

/// The file of a run directory that has them.
pub(crate) const YARDSTICKS: &str = "yardsticks.json";

/// How the loss of a guess among all symbols is called.
pub const GUESSING: &str = "guessing";

/// What such a guess costs in nats: where losses start.
pub fn guessing(vocab_size: usize) -> f64 {
    libm::log(vocab_size as f64)
}

/// How the yardstick of bare frequencies is called.
pub const FREQUENCIES: &str = "frequencies alone";

/// Orders of n-grams, the longest with a context of seven symbols.
const MAX_ORDER: usize = 8;
/// Symbols of the training text that are used, the last ones.
const MAX_FITTED: usize = 2_000_000;
/// Symbols of the other text that are scored, the first ones.
const MAX_SCORED: usize = 500_000;

/// What is lost on a text without a neural network, in nats per symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Yardsticks {
    /// The text they were measured on.
    #[serde(flatten)]
    pub ground: Ground,
    /// A guess among all symbols: ln(vocab_size).
    pub uniform: f64,
    /// Interpolated n-grams by their order, from 1: that one is the frequency of symbols.
    pub ngrams: Vec<NGramLoss>,
    /// Compression as by xz, with the training text as its dictionary.
    pub xz: f64,
}

/// What yardsticks were measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// Digest of the whole text, see [`SplitText::digest`].
    pub text: String,
    /// Number of different symbols.
    pub vocab_size: usize,
    /// Symbols of the training text.
    pub train_chars: usize,
    /// How many of them were counted, the last ones.
    pub fitted_chars: usize,
    /// Symbols of the text that was held out, less the first, which nothing predicts.
    pub chars: usize,
    /// How many of them were predicted, the first ones.
    pub scored_chars: usize,
}

/// What n-grams of one order lose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NGramLoss {
    /// n, one more than the symbols of a context.
    pub order: usize,
    /// With Witten-Bell smoothing.
    pub witten_bell: f64,
    /// With modified Kneser-Ney smoothing.
    pub kneser_ney: f64,
}

impl NGramLoss {
    /// The better one of both.
    pub fn best(&self) -> f64 {
        self.witten_bell.min(self.kneser_ney)
    }
}

/// Bytes of memory that are taken to measure those of a text with a part to validate with.
pub(crate) fn memory(text: &SplitText) -> u128 {
    // Of n-grams, see `yardstick::ngrams`; compression takes less.
    let (fitted, scored) = (text.train().len().min(MAX_FITTED), text.val().len().min(MAX_SCORED));
    if scored == 0 { 0 } else { 80 * fitted as u128 + 40 * scored as u128 }
}

impl Ground {
    /// That of a text's training part and of `held_out`, which has the same symbols.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn of(text: &SplitText, held_out: &Excerpt<'_>) -> Result<Self, TextError> {
        let (train_chars, chars) = (text.train().len(), held_out.len().saturating_sub(1));
        Ok(Self {
            text: text.digest()?.to_owned(),
            vocab_size: text.tokenizer().vocab_size(),
            train_chars,
            fitted_chars: train_chars.min(MAX_FITTED),
            chars,
            scored_chars: chars.min(MAX_SCORED),
        })
    }
}

impl Yardsticks {
    /// Measures them: fitted on the training part of a text, scored on `held_out`. Takes seconds.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    ///
    /// # Panics
    /// If `held_out` has fewer than two symbols.
    pub fn measure(text: &SplitText, held_out: &Excerpt<'_>) -> Result<Self, TextError> {
        Ok(Material::read(text, held_out, Ground::of(text, held_out)?)?.measure())
    }

    /// Measures a share of what [`measure`](Self::measure) does, to know how long it takes.
    pub(crate) fn measure_share(text: &SplitText, share: f64) -> Result<(), TextError> {
        let ground = Ground::of(text, &text.val())?;
        let part = |n: usize| (n as f64 * share).ceil() as usize;
        let (fitted_chars, scored_chars) = (part(ground.fitted_chars), part(ground.scored_chars));
        let ground = Ground { fitted_chars, scored_chars, ..ground };
        Material::read(text, &text.val(), ground)?.measure();
        Ok(())
    }

    fn of(ground: Ground, ngrams: Vec<NGramLoss>, xz: f64) -> Self {
        Self { uniform: guessing(ground.vocab_size), ngrams, xz, ground }
    }

    /// Those that a run left behind.
    pub fn read(run: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(run.join(YARDSTICKS)).ok()?).ok()
    }

    /// Those that a run left behind, if they were measured on this ground.
    pub fn of_run(run: &Path, ground: &Ground) -> Option<Self> {
        Self::read(run).filter(|yardsticks| yardsticks.ground == *ground)
    }

    /// Each with its name and its nats per symbol; of n-grams those that are better than all shorter
    /// ones.
    pub fn named(&self) -> Vec<(String, f64)> {
        let mut named = vec![(GUESSING.to_owned(), self.uniform)];
        for (ngram, _) in self.ngrams().filter(|(_, is_better)| *is_better) {
            let name = match ngram.order {
                1 => FREQUENCIES.into(),
                8 => "an 8-gram".into(),
                order => format!("a {order}-gram"),
            };
            named.push((name, ngram.best()));
        }
        named.push(("xz".into(), self.xz));
        named
    }

    /// Orders of the n-grams that are not [named](Self::named): a shorter one is as good.
    pub fn no_better(&self) -> impl Iterator<Item = usize> {
        self.ngrams().filter(|(_, is_better)| !is_better).map(|(ngram, _)| ngram.order)
    }

    /// Each n-gram, and whether it is better than all shorter ones.
    fn ngrams(&self) -> impl Iterator<Item = (&NGramLoss, bool)> {
        let mut least = f64::INFINITY;
        self.ngrams.iter().map(move |ngram| {
            let is_better = ngram.best() < least;
            least = least.min(ngram.best());
            (ngram, is_better)
        })
    }

    /// Where a loss stands among them, as in "better than a 3-gram (1.78), worse than a 4-gram (1.68)".
    pub fn verdict(&self, nats_per_char: f64) -> String {
        let named = self.named();
        let in_words = |(name, nats): &(String, f64)| format!("{name} ({nats:.2})");
        let nearest = |is_it: &dyn Fn(f64) -> bool| {
            let distance = |nats: &f64| (nats - nats_per_char).abs();
            let them = named.iter().filter(|(_, nats)| is_it(*nats));
            them.min_by(|a, b| distance(&a.1).total_cmp(&distance(&b.1)))
        };
        let worse = nearest(&|nats| nats_per_char < nats).map(in_words);
        let better = nearest(&|nats| nats <= nats_per_char).map(in_words);
        match (worse, better) {
            (Some(worse), Some(better)) => format!("better than {worse}, worse than {better}"),
            (Some(worse), None) => format!("better than all yardsticks, the nearest is {worse}"),
            // Frequencies can cost more than guessing, on a text of another kind.
            (None, _) if self.uniform <= nats_per_char => {
                format!("worse than {GUESSING} ({:.2})", self.uniform)
            }
            (None, better) => format!("worse than {}", better.unwrap_or_else(|| "nothing".into())),
        }
    }
}

/// What yardsticks are measured on, in memory.
struct Material {
    ground: Ground,
    train: Text,
    held_out: Text,
    train_bytes: Vec<u8>,
    held_out_bytes: Vec<u8>,
}

impl Material {
    fn read(text: &SplitText, held_out: &Excerpt<'_>, ground: Ground) -> Result<Self, TextError> {
        let first = ground.train_chars - ground.fitted_chars;
        let train = read(&text.train(), first, ground.fitted_chars)?;
        let held_out = read(held_out, 0, ground.scored_chars + 1)?;
        let tokenizer = text.tokenizer();
        let bytes = |text: &Text| -> Vec<u8> {
            text.ids.iter().flat_map(|id| tokenizer.bytes(*id)).copied().collect()
        };
        let (train_bytes, held_out_bytes) = (bytes(&train), bytes(&held_out));
        Ok(Self { ground, train, held_out, train_bytes, held_out_bytes })
    }

    fn measure(self) -> Yardsticks {
        let (ngrams, xz) = (self.ngrams(), self.xz());
        Yardsticks::of(self.ground, ngrams, xz)
    }

    fn ngrams(&self) -> Vec<NGramLoss> {
        let loss = |of: yardstick::NGram| NGramLoss {
            order: of.order,
            witten_bell: of.witten_bell,
            kneser_ney: of.kneser_ney,
        };
        let Self { ground, train, held_out, .. } = self;
        ngrams(train, held_out, ground.vocab_size, MAX_ORDER).into_iter().map(loss).collect()
    }

    fn xz(&self) -> f64 {
        xz(&self.train_bytes, &self.held_out_bytes) / self.held_out.ids.len() as f64
    }

    /// What one of some ranks measures: n-grams the first, compression the last.
    fn measure_as(self, rank: usize, count: usize) -> Measured {
        let ngrams = (rank == 0).then(|| self.ngrams());
        let xz = (rank + 1 == count).then(|| self.xz());
        Measured { ngrams, xz, ground: self.ground }
    }
}

/// What a rank has measured.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    ground: Ground,
    ngrams: Option<Vec<NGramLoss>>,
    xz: Option<f64>,
}

impl Measured {
    /// All of it, of which each rank has some.
    fn complete(self, ranks: &dyn Ranks) -> Result<Yardsticks, Error> {
        let said = tell(ranks, serde_json::to_vec(&self).expect("numbers"))?;
        let said = said.iter().map(|bytes| serde_json::from_slice::<Self>(bytes));
        let said: Vec<_> = said.map(|measured| measured.expect("what a rank says")).collect();
        let ngrams = said.iter().find_map(|measured| measured.ngrams.clone());
        let xz = said.iter().find_map(|measured| measured.xz);
        let (ngrams, xz) = (ngrams.expect("the first has them"), xz.expect("the last has it"));
        Ok(Yardsticks::of(self.ground, ngrams, xz))
    }
}

/// So many symbols of a text, from one of them on.
fn read(text: &Excerpt<'_>, first: usize, len: usize) -> Result<Text, TextError> {
    let (mut ids, mut starts) = (vec![0; len], vec![false; len]);
    text.reader(1).read(0, first, &mut ids, &mut starts)?;
    starts.iter_mut().take(1).for_each(|start| *start = true);
    Ok(Text { ids, starts })
}

/// Has a run's yardsticks measured while it trains, and writes them into its directory.
///
/// They need nothing of the run but its text, and the run nothing of them. Ranks share them, and the first
/// one's directory gets them.
pub struct Measuring<'e> {
    experiment: &'e Experiment,
    ranks: &'e dyn Ranks,
    run: PathBuf,
    thread: Option<JoinHandle<Measured>>,
    yardsticks: Option<Yardsticks>,
}

impl<'e> Measuring<'e> {
    /// Of the run of an experiment in a directory, which the first rank alone uses. Without a validation
    /// loss to compare there will be none.
    pub fn new(run: &Path, experiment: &'e Experiment, ranks: &'e dyn Ranks) -> Self {
        Self { experiment, ranks, run: run.to_owned(), thread: None, yardsticks: None }
    }

    /// The yardsticks, once they are there.
    pub fn yardsticks(&self) -> Option<&Yardsticks> {
        self.yardsticks.as_ref()
    }

    /// Whether there will be some that are not there yet.
    pub fn is_measuring(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until they are there. Every rank has to, or none.
    ///
    /// # Errors
    /// If they cannot be written, or a rank is gone.
    pub fn wait(&mut self) -> Result<Option<&Yardsticks>, Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(measured)) => {
                let yardsticks = measured.complete(self.ranks)?;
                if self.ranks.rank() == 0 {
                    let path = self.run.join(YARDSTICKS);
                    let mut text = serde_json::to_string_pretty(&yardsticks).expect("a struct");
                    text.push('\n');
                    durable::replace(&path, text.as_bytes())
                        .map_err(|source| failed(&path, "write", source))?;
                }
                self.yardsticks = Some(yardsticks);
            }
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {}
        }
        Ok(self.yardsticks())
    }
}

impl Observer for Measuring<'_> {
    /// Reads those of a run that goes on with the same text, or has them measured.
    fn start(&mut self) -> Result<(), Error> {
        let (text, held_out) = (self.experiment.text(), self.experiment.val_text());
        if held_out.is_empty() {
            return Ok(());
        }
        let ground = Ground::of(text, &held_out)?;
        let is_first = self.ranks.rank() == 0;
        self.yardsticks = is_first.then(|| Yardsticks::of_run(&self.run, &ground)).flatten();
        let are_there = any(self.ranks, self.yardsticks.is_some())?;
        if !are_there && self.experiment.config().is_ever_evaluated() {
            let material = Material::read(text, &held_out, ground)?;
            let thread = thread::Builder::new().name("yardsticks".into());
            // It is left alone when the process ends before it does.
            let (rank, count) = (self.ranks.rank(), self.ranks.count());
            let started = thread.spawn(move || material.measure_as(rank, count));
            let started = started
                .map_err(|source| failed(&self.run, "start a thread for yardsticks", source))?;
            self.thread = Some(started);
        }
        Ok(())
    }

    fn observe(&mut self, _: &Event<'_>) -> Result<Flow, Error> {
        // Others may not be there yet.
        let is_alone = self.ranks.count() == 1;
        if is_alone && self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.wait()?;
        }
        Ok(Flow::GoOn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yardsticks() -> Yardsticks {
        let ngram = |(order, witten_bell, kneser_ney)| NGramLoss { order, witten_bell, kneser_ney };
        let ngrams = [(1, 3.3, 3.31), (2, 2.5, 2.45), (3, 2.0, 2.05), (4, 2.01, 2.2)];
        Yardsticks {
            ground: Ground {
                text: "00".into(),
                vocab_size: 65,
                train_chars: 900,
                fitted_chars: 900,
                chars: 99,
                scored_chars: 99,
            },
            uniform: 4.17,
            ngrams: ngrams.map(ngram).to_vec(),
            xz: 2.6,
        }
    }

    #[test]
    fn a_loss_is_placed_between_the_nearest_yardsticks() {
        let check = |nats, expected| assert_eq!(yardsticks().verdict(nats), expected);
        check(5.0, "worse than guessing (4.17)");
        check(4.0, "better than guessing (4.17), worse than frequencies alone (3.30)");
        let foreign = Yardsticks { uniform: 3.0, ..yardsticks() };
        assert_eq!(foreign.verdict(5.0), "worse than guessing (3.00)");
        assert_eq!(
            foreign.verdict(3.2),
            "better than frequencies alone (3.30), worse than guessing (3.00)"
        );
        check(2.55, "better than xz (2.60), worse than a 2-gram (2.45)");
        check(2.2, "better than a 2-gram (2.45), worse than a 3-gram (2.00)");
        check(2.0, "better than a 2-gram (2.45), worse than a 3-gram (2.00)");
        check(1.9, "better than all yardsticks, the nearest is a 3-gram (2.00)");
        assert_eq!(yardsticks().no_better().collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn those_of_another_ground_are_not_taken() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let yardsticks = yardsticks();
        let of_run = |ground: &Ground| Yardsticks::of_run(directory.path(), ground);
        assert_eq!(of_run(&yardsticks.ground), None);
        let text = serde_json::to_string(&yardsticks).expect("a struct");
        fs::write(directory.path().join(YARDSTICKS), text).expect("writable");
        assert_eq!(of_run(&yardsticks.ground).as_ref(), Some(&yardsticks));
        for other in [
            Ground { text: "01".into(), ..yardsticks.ground.clone() },
            Ground { train_chars: 800, ..yardsticks.ground.clone() },
        ] {
            assert_eq!(of_run(&other), None);
        }
        fs::write(directory.path().join(YARDSTICKS), "{}").expect("writable");
        assert_eq!(of_run(&yardsticks.ground), None);
    }
}
