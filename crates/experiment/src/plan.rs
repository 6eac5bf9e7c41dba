//! From a text to a config that suits it and fills a budget of time on this machine.
//!
//! The recipe is one layer of multiplicative LSTM with layer norm, Muon, a learning rate that rises fast
//! and goes down to nothing as a cosine, and as large a state as the budget can train. The text decides the
//! rest: what a symbol is, where a document ends, how much there is to overfit to. Sizes are chosen by
//! measured [`Speed`], steps last, so that the run takes the budget. `docs/results.md` has what the
//! constants were found by; others are judgement.

mod text;

pub use self::text::{counted, grouped};

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_io::{Corpus, Kind, Paths, Survey, Unit};
use registry::Document;

use crate::memory::Memory;
use crate::{Error, Experiment, Parts, Speed, Turns};

/// Different characters up to which each is a symbol of its own, however rare.
const MAX_CHARS: usize = 300;
/// The share of a text with a large alphabet that has symbols of its own.
const COVERED: f64 = 0.99;
/// Characters below which a text is soon known by heart.
const TINY: u64 = 20_000;
/// Share of the budget for evaluations, samples and checkpoints.
const LOOKING: f64 = 0.15;
/// How often a run is looked at, even if that takes more.
const FEWEST_LOOKS: f64 = 4.0;
/// Shares of the text that validate, of which the first is taken for which there is time.
const VALIDATION_SHARES: [f64; 10] =
    [0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001];
/// Characters below which a validation text says little.
const LEAST_VALIDATION: f64 = 20_000.0;
/// How long a speed is measured that decides about a size: in less time chance does.
const QUICK: Duration = Duration::from_millis(800);
/// How long the speed is measured that decides about steps, where the budget is long.
const LONGEST: Duration = Duration::from_secs(4);
/// Share of the budget that is left free: reading the text, and what a machine does beside it.
const SPARE: f64 = 0.03;

// What stays the same for every text.

/// What learns most in a minute: 1.462 nats on Tiny Shakespeare in 37 s, where an LSTM has 1.480 in 41 s.
const CELL: &str = "mlstm";
/// Of Muon, at its greatest, for a state of 256. It falls with the root of the width, as it does from 256
/// to 768 units in the recipes in `configs`.
const LEARNING_RATE: f64 = 0.07;
/// Of Muon, for the narrowest.
const GREATEST_LEARNING_RATE: f64 = 0.1;
/// Of Muon: what a run of a thousand steps has time for.
const MOMENTUM: f64 = 0.9;
/// Share of the steps over which the learning rate rises.
const RISE: f64 = 0.04;
/// Time steps of a window.
const SEQ_LEN: u64 = 64;
/// Lanes of a window. A step of Muon costs the same for any number, and more leave fewer steps.
const BATCH_SIZE: u64 = 32;
/// Widths of the state that are chosen from.
const WIDTHS: [u64; 13] = [16, 32, 64, 96, 128, 192, 256, 320, 384, 512, 768, 1024, 1536];
/// Characters to train on for each recurrent weight: with fewer a smaller model learns more.
const CHARS_PER_WEIGHT: f64 = 6.0;
/// Recurrent weights for each character of the text: with more it is known by heart before it is understood.
const WEIGHTS_PER_CHAR: f64 = 1.5;
/// Passes over a text after which more of them teach nothing, even with dropout.
const MAX_EPOCHS: f64 = 15.0;
/// The same of a tiny text, whose model is small.
const MAX_EPOCHS_OF_TINY: f64 = 60.0;
/// The same of a text without an order.
const MAX_EPOCHS_OF_LETTERS: f64 = 10.0;
/// What is left of a state with more is too little to learn from.
const MAX_DROPOUT: f64 = 0.5;

/// What a symbol of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbols {
    /// A character.
    Char,
    /// A character that occurs so often, or a byte of one that does not.
    CharByte { min_count: usize },
}

impl Symbols {
    /// What they are called.
    fn many(self) -> &'static str {
        match self {
            Self::Char => Unit::CHARACTER.many,
            Self::CharByte { .. } => Unit::SYMBOL.many,
        }
    }
}

/// A config for a text.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the text is, as the config has it.
    paths: Paths,
    survey: Survey,
    kind: Kind,
    budget: Duration,
    threads: usize,
    symbols: Symbols,
    /// What opens a document, where lines are documents.
    separator: &'static str,
    /// Share of the text that validates.
    val: f64,
    hidden_size: u64,
    embedding_size: u64,
    dropout: f64,
    seq_len: u64,
    batch_size: u64,
    steps: u64,
    /// Steps between evaluations, samples and checkpoints.
    every: u64,
    /// Whether the budget would have had room for more passes than are of use.
    is_short: bool,
    facts: Option<Facts>,
}

/// What is known of the run once it was prepared and measured.
#[derive(Clone, Copy, Debug)]
struct Facts {
    speed: Speed,
    turns: Turns,
    vocab_size: usize,
    n_params: usize,
    memory: Memory,
    epochs: f64,
}

impl Plan {
    /// A plan for a config at `path` that trains on the text at `paths`, which lead from the working
    /// directory, within `budget` on so many threads. Takes a few seconds, as it measures.
    ///
    /// # Errors
    /// If the text cannot be read, or there is nothing in it to learn.
    pub fn new(
        path: &Path,
        paths: &Paths,
        budget: Duration,
        threads: usize,
        parts: &Parts,
    ) -> Result<Self, Error> {
        let survey = Corpus::of_files(paths.files()?).and_then(|corpus| Survey::of(&corpus));
        let from_config = |text: &str| leading_from(path, Path::new(text)).display().to_string();
        let mut plan = Self::before_measuring(paths.map(from_config), survey?, budget, threads);
        let mut experiment = Experiment::prepare(&plan.document(path), parts)?;
        experiment.set_threads(threads);

        // Once to know the machine, once to know the model, and once more to be sure.
        // The quicker of two: what else the machine does now is no matter of the model's.
        let speeds = [Speed::measure(&experiment, QUICK)?, Speed::measure(&experiment, QUICK)?];
        let quicker =
            speeds.into_iter().flatten().min_by(|a, b| a.step_secs.total_cmp(&b.step_secs));
        if let Some(speed) = quicker {
            plan.hidden_size = plan.choose_width(&experiment, &speed);
        }
        experiment = experiment.with_config(&plan.document(path), parts)?;
        for limit in [QUICK, (budget / 10).clamp(2 * QUICK, LONGEST)] {
            let Some(speed) = Speed::measure(&experiment, limit)? else { break };
            plan.choose_steps(&experiment, speed);
            experiment = experiment.with_config(&plan.document(path), parts)?;
            plan.facts = Some(Facts::of(&experiment, speed));
        }
        Ok(plan)
    }

    /// What the text alone decides.
    fn before_measuring(paths: Paths, survey: Survey, budget: Duration, threads: usize) -> Self {
        let kind = survey.kind();
        let symbols = match survey.characters.len() {
            0..=MAX_CHARS => Symbols::Char,
            _ => Symbols::CharByte { min_count: min_count(&survey) },
        };
        let separator = match kind {
            Kind::Records if survey.lines <= 2 * survey.crlf => "\r\n",
            Kind::Records => "\n",
            _ => "",
        };
        let (batch_size, seq_len) = window_of(survey.chars);
        // A tenth has to hold a few windows to say something.
        let val = if survey.chars < 20 * (seq_len + 2) { 0.0 } else { 0.1 };
        let vocab_size = survey.characters.len();
        Self {
            paths,
            kind,
            budget,
            threads,
            symbols,
            separator,
            val,
            hidden_size: 256,
            // Beyond some hundred symbols a table of them for each gate outgrows the recurrent weights.
            embedding_size: if vocab_size <= MAX_CHARS { 0 } else { 128 },
            dropout: 0.0,
            seq_len,
            batch_size,
            steps: 1000,
            every: 100,
            is_short: false,
            facts: None,
            survey,
        }
    }

    fn document(&self, path: &Path) -> Document {
        Document::new(path.display().to_string(), self.text(), [""; 0])
    }

    /// The widest state that the text has enough characters for.
    fn widest(&self, train_chars: f64) -> u64 {
        let most = train_chars * WEIGHTS_PER_CHAR;
        let is_small = |width: &&u64| recurrent_weights(**width) <= most;
        *WIDTHS.iter().rev().find(is_small).unwrap_or(&WIDTHS[0])
    }

    /// The widest state of a model that the budget can train, and that has enough text.
    fn choose_width(&self, experiment: &Experiment, speed: &Speed) -> u64 {
        if matches!(self.kind, Kind::Letters(_)) {
            return self.widest(experiment.train_text().len() as f64).min(64);
        }
        let vocab_size = experiment.tokenizer().vocab_size() as f64;
        let work = |width: u64| recurrent_weights(width) + width as f64 * vocab_size;
        let chars_per_sec = (self.batch_size * self.seq_len) as f64 / speed.step_secs;
        let rate = chars_per_sec * work(self.hidden_size);
        let secs = self.budget.as_secs_f64() * (1.0 - LOOKING - SPARE);
        let is_trainable = |width: &&u64| {
            let chars = secs * rate / work(**width);
            CHARS_PER_WEIGHT * recurrent_weights(**width) <= chars
        };
        let widest = self.widest(experiment.train_text().len() as f64);
        let trainable = WIDTHS.iter().rev().find(is_trainable);
        widest.min(*trainable.unwrap_or(&WIDTHS[0]))
    }

    /// How long, how often it is looked at, and how much is left out so that it learns no text by
    /// heart.
    fn choose_steps(&mut self, experiment: &Experiment, mut speed: Speed) {
        let budget = self.budget.as_secs_f64();
        let wanted = (budget / 30.0).clamp(10.0, 50.0).round();
        let look = speed.eval_secs + speed.sample_secs + speed.checkpoint_secs;
        let looks = (LOOKING * budget / look).floor().clamp(FEWEST_LOOKS, wanted);
        if !experiment.val_text().is_empty() {
            let eval_secs = LOOKING * budget / looks - speed.sample_secs - speed.checkpoint_secs;
            let share = self.val * (eval_secs / speed.eval_secs).max(0.0);
            let least = LEAST_VALIDATION / self.survey.chars as f64;
            let fits = |other: &&f64| **other <= share.max(least) && **other <= self.val;
            let val = *VALIDATION_SHARES.iter().find(fits).unwrap_or(&self.val);
            speed.eval_secs *= val / self.val;
            self.val = val;
        }
        self.fill(experiment, speed, looks);
    }

    fn fill(&mut self, experiment: &Experiment, speed: Speed, looks: f64) {
        let budget = self.budget.as_secs_f64();
        let look = speed.eval_secs + speed.sample_secs + speed.checkpoint_secs;
        let secs = budget * (1.0 - SPARE) - looks * look - speed.lost_to_yardsticks();
        let window = (self.batch_size * self.seq_len) as f64;
        let chars_per_epoch = experiment.windows().chars_per_pass() as f64;
        let most = (max_epochs(&self.kind, self.survey.chars) * chars_per_epoch / window).ceil();
        let steps = (secs / speed.step_secs).max(1.0);
        self.is_short = most < steps;
        let steps = steps.min(most);
        let looks = looks.min(steps);
        self.every = (steps / looks).floor() as u64;
        self.steps = self.every * looks as u64;
        let passes = self.steps as f64 * window / chars_per_epoch;
        self.dropout = dropout(passes * experiment.n_params() as f64 / chars_per_epoch);
    }
}

impl Facts {
    fn of(experiment: &Experiment, speed: Speed) -> Self {
        let turns = Turns::of(experiment);
        let rule = experiment.windows().rule();
        let chars = turns.steps as f64 * (rule.batch_size * rule.seq_len) as f64;
        Self {
            speed,
            turns,
            vocab_size: experiment.tokenizer().vocab_size(),
            n_params: experiment.n_params(),
            memory: experiment.memory(),
            epochs: chars / experiment.windows().chars_per_pass() as f64,
        }
    }
}

/// The learning rate at its greatest, for a state so wide.
fn learning_rate(width: u64) -> f64 {
    let rate = LEARNING_RATE * (256.0 / width as f64).sqrt();
    (1e3 * rate.min(GREATEST_LEARNING_RATE)).round() / 1e3
}

/// The dropout for a model that each character trains so many parameters of, all passes taken together: none
/// up to a half, and a tenth more with each doubling. The recipes in `configs` with layer norm, found one by
/// one, lie within a tenth of it.
fn dropout(parameters_per_char: f64) -> f64 {
    let dropout = 0.1 * libm::log2(2.0 * parameters_per_char);
    (20.0 * dropout.clamp(0.0, MAX_DROPOUT)).round() / 20.0
}

/// Passes over a text of this kind, of so many characters, after which more of them teach nothing.
fn max_epochs(kind: &Kind, chars: u64) -> f64 {
    match kind {
        // However tiny: there is nothing to know by heart but chance.
        Kind::Letters(_) => MAX_EPOCHS_OF_LETTERS,
        _ if chars < TINY => MAX_EPOCHS_OF_TINY,
        _ => MAX_EPOCHS,
    }
}

/// Weights of the [`CELL`] between its state and itself: those of four gates and of what they read.
fn recurrent_weights(width: u64) -> f64 {
    5.0 * (width * width) as f64
}

/// Occurrences from which on a character is a symbol: the most for which those that are cover enough
/// of the text, but two at least, so that there is something to learn about bytes.
fn min_count(survey: &Survey) -> usize {
    let mut min_count = 2;
    while COVERED <= survey.frequent(2 * min_count).0 {
        min_count *= 2;
    }
    min_count
}

/// Lanes and time steps of a window: fewer for a text that would hold but a few windows.
fn window_of(chars: u64) -> (u64, u64) {
    let (mut batch_size, mut seq_len) = (BATCH_SIZE, SEQ_LEN);
    while chars < 8 * batch_size * (seq_len + 2) && (1, 1) != (batch_size, seq_len) {
        match 1 < batch_size {
            true => batch_size /= 2,
            false => seq_len /= 2,
        }
    }
    (batch_size, seq_len)
}

/// A path that leads from the working directory, as one that leads from where a config lies. An
/// absolute one stays as it is.
fn leading_from(config: &Path, path: &Path) -> PathBuf {
    let directory = match config.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => return path.to_owned(),
    };
    if path.is_absolute() {
        return path.to_owned();
    }
    // The directory as the system has it: `..` does not lead back through a link.
    let real = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    pathdiff::diff_paths(here.join(path), real).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was found for each of the recipes in `configs`, and on the way to them.
    #[test]
    fn a_plan_comes_near_the_recipes() {
        for (width, tuned) in [(128, 0.1), (256, 0.07), (384, 0.06), (512, 0.05), (768, 0.04)] {
            let planned = learning_rate(width);
            assert!((planned - tuned).abs() < 0.005, "{width}: {planned}");
        }
        let tuned =
            [(0.3, 0.0), (0.8, 0.1), (1.0, 0.15), (2.1, 0.2), (4.6, 0.3), (8.5, 0.4), (20.0, 0.5)];
        for (parameters_per_char, tuned) in tuned {
            let planned = dropout(parameters_per_char);
            assert!((planned - tuned).abs() < 0.075, "{parameters_per_char}: {planned}");
        }
    }

    #[test]
    fn a_text_without_an_order_is_read_ten_times_however_tiny() {
        let letters = Kind::Letters(vec!['A', 'C', 'G', 'T']);
        for (kind, chars, epochs) in [
            (&letters, TINY - 1, 10.0),
            (&letters, 100 * TINY, 10.0),
            (&Kind::Prose, TINY - 1, 60.0),
            (&Kind::Prose, TINY, 15.0),
            (&Kind::Records, TINY - 1, 60.0),
        ] {
            assert_eq!(max_epochs(kind, chars), epochs, "{kind:?} of {chars}");
        }
    }
}
