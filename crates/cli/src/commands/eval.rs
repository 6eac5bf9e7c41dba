//! `cli eval`: what a text costs a trained model, beside what it costs without one.

use std::collections::BTreeMap;
use std::f64::consts::LN_2;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use data_io::{Corpus, Excerpt, Tokenizer, Unit};
use experiment::{
    Config, Dynamic, Error, Ground, Parts, Reading, SplitText, TextModel, Yardsticks, grouped,
    guessing, own_text, run_of,
};
use serde::Serialize;
use serde_json::json;

use crate::args::{ModelArgs, number, share};
use crate::failure::printable;
use crate::{Console, Failure};

/// Say how well a trained model predicts a text, and what that is worth
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cli eval runs/karpathy
  cli eval runs/karpathy --best --by-char
  cli eval runs/karpathy --split test --json
  cli eval runs/karpathy --text other.txt --dynamic
  cli eval runs/karpathy --set data.path=/home/me/moved.txt

The text is the one the run was trained on, as its config.toml names it; without --split the part of
it that validates. It is read from its start, with the state carried and zeroed where a document
starts, as in training: the figure is the run's own validation loss.

Beside it stand yardsticks: guessing, n-grams and compression as by xz, fitted on the training text.
A model that is worse than a 3-gram has not learnt much.

--json writes {checkpoint, step, split, text, chars, carry, dynamic_rate, dynamic_decay,
nats_per_char, bits_per_char, perplexity, yardsticks, verdict, by_char}. split is null with --text. Of
the yardsticks, in nats a symbol, those are null that mean nothing: all but guessing with --split
train.")]
pub struct EvalArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Part of the run's text to read; without it val
    #[arg(long, value_enum, conflicts_with = "text")]
    split: Option<Split>,
    /// Read this text instead
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Write JSON, as described below
    #[arg(long)]
    json: bool,
    /// Also list the characters that cost most
    #[arg(long)]
    by_char: bool,
    /// Let the model go on learning as it reads (dynamic evaluation); its file stays as it is
    #[arg(long)]
    dynamic: bool,
    /// How fast it learns with --dynamic: how far an average weight moves after 20 characters that
    /// have twice the usual gradient by it
    #[arg(long, value_name = "X", default_value_t = 0.003, value_parser = rate, requires = "dynamic", allow_negative_numbers = true)]
    rate: f64,
    /// How fast it goes back with --dynamic to what it was trained to: share of the way in 20 characters
    #[arg(long, value_name = "X", default_value_t = 0.001, value_parser = share, requires = "dynamic", allow_negative_numbers = true)]
    decay: f64,
    /// Override a key of the run's config, such as data.path for a text that was moved
    #[arg(long = "set", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    overrides: Vec<String>,
}

/// A part of a run's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    /// What it was trained on
    Train,
    /// What was held out for validation
    Val,
    /// What nothing was decided by
    Test,
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, "above 0", |rate| 0.0 < rate)
}

pub fn run(args: &EvalArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let checkpoint = args.model.checkpoint()?;
    let mut model = TextModel::open(&checkpoint, parts)?;
    let own = own_text(&model, &checkpoint, &args.overrides, parts);
    let read = |path: &PathBuf| {
        let corpus = Corpus::of_files(vec![path.clone()])?;
        model.encode(corpus, &path.display().to_string())
    };
    let foreign = args.text.as_ref().map(read).transpose()?;
    let own = match (own, &foreign) {
        (Ok(own), _) => Some(own),
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(_)) => {
            let why = printable(&format!("{}: {error}", error.place()));
            let _ = writeln!(console.err, "no yardsticks but guessing: {why}");
            None
        }
    };
    let (split, place, text) = match (&foreign, &own) {
        (Some(text), _) => {
            let path = args.text.as_deref().unwrap_or(Path::new(""));
            (None, path.display().to_string(), text.excerpt(0..text.len()))
        }
        (None, Some((config, text))) => {
            warn_of_split(config, model.config(), console);
            let split = args.split.unwrap_or(Split::Val);
            (Some(split), config.text_place(), part(split, text))
        }
        (None, None) => unreachable!("a text was read"),
    };
    if text.len() < 2 {
        return Err(too_short(split, &place, &text, model.config()).into());
    }

    let mut by_char = ByChar::default();
    let trained_on = own.as_ref().map(|(_, own)| own.train());
    let dynamic = Dynamic { rate: args.rate, decay: args.decay, trained_on: trained_on.as_ref() };
    let dynamic = args.dynamic.then_some(dynamic);
    let total =
        model.read_closely(&text, dynamic, |reading| by_char.add(reading)).map_err(Error::from)?;
    let chars = text.len() - 1;
    let nats_per_char = total / chars as f64;
    if args.dynamic && !nats_per_char.is_finite() {
        return Err(Error::Argument {
            place: "--rate".into(),
            message: "the model unlearns all: its loss is no longer finite".into(),
            help: format!("take a lower one, as in --rate {}", args.rate / 10.0),
        }
        .into());
    }
    let yardsticks = match &own {
        Some((_, own)) if split != Some(Split::Train) => {
            Some(measure(own, &text, split, &checkpoint)?)
        }
        _ => None,
    };
    let report = Report {
        checkpoint: checkpoint.display().to_string(),
        step: model.summary().step,
        split,
        text: place,
        chars,
        dynamic: args.dynamic.then_some((args.rate, args.decay)),
        nats_per_char,
        uniform: guessing(model.summary().vocab_size),
        yardsticks,
        by_char: args.by_char.then_some(by_char),
    };
    let written = match args.json {
        true => report.write_json(model.tokenizer(), console.out),
        false => report.write(model.tokenizer(), model.config().tokenizer.unit(), console.out),
    };
    written.map_err(Failure::Output)
}

/// The yardsticks for a text; those for what validates a run may be in its directory.
fn measure(
    own: &SplitText,
    text: &Excerpt<'_>,
    split: Option<Split>,
    checkpoint: &Path,
) -> Result<Yardsticks, Error> {
    if split == Some(Split::Val)
        && let Some(known) = Yardsticks::of_run(&run_of(checkpoint), &Ground::of(own, text)?)
    {
        return Ok(known);
    }
    Ok(Yardsticks::measure(own, text)?)
}

fn part(split: Split, text: &SplitText) -> Excerpt<'_> {
    match split {
        Split::Train => text.train(),
        Split::Val => text.val(),
        Split::Test => text.test(),
    }
}

/// What was held out may have been trained on, where it is cut in another way.
fn warn_of_split(now: &Config, then: &Config, console: &mut Console<'_>) {
    let shares = |config: &Config| config.data.split.map(registry::range::Share::get);
    if shares(now) != shares(then) {
        let _ = writeln!(
            console.err,
            "data.split is {:?}, and was {:?} in training: the model may know some of this text",
            shares(now),
            shares(then),
        );
    }
}

fn too_short(split: Option<Split>, place: &str, text: &Excerpt<'_>, config: &Config) -> Error {
    let (message, help) = match split {
        Some(split) if text.is_empty() => {
            let shares = config.data.split.map(registry::range::Share::get);
            let message = format!("no {} text: data.split is {shares:?}", split.in_words());
            let shares = if split == Split::Test { [0.8, 0.1, 0.1] } else { [0.9, 0.1, 0.0] };
            let help = format!(
                "read another part with --split, or a file with --text FILE; the next run may hold \
                 some text out, with data.split = {shares:?}"
            );
            (message, help)
        }
        _ => (
            "one character: the first is read and none predicted".into(),
            "take a longer text".into(),
        ),
    };
    Error::WrongText { place: place.to_owned(), message, help }
}

impl Split {
    fn in_words(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Val => "validation",
            Self::Test => "test",
        }
    }
}

/// What is to be told.
struct Report {
    checkpoint: String,
    step: u64,
    split: Option<Split>,
    text: String,
    /// Characters that were predicted.
    chars: usize,
    /// Rate and decay by which the model went on learning, if it did.
    dynamic: Option<(f64, f64)>,
    nats_per_char: f64,
    uniform: f64,
    yardsticks: Option<Yardsticks>,
    by_char: Option<ByChar>,
}

/// How the state is carried, the same in every evaluation.
const CARRY: &str = "the state carried from the start on, zeroed where a document starts";

/// Characters of a table, the hardest ones.
const MOST_CHARS: usize = 20;

impl Report {
    fn verdict(&self) -> String {
        match &self.yardsticks {
            Some(yardsticks) => yardsticks.verdict(self.nats_per_char),
            None if self.nats_per_char < self.uniform => {
                format!("better than guessing ({:.2})", self.uniform)
            }
            None => format!("worse than guessing ({:.2})", self.uniform),
        }
    }

    fn perplexity(&self) -> f64 {
        libm::exp(self.nats_per_char)
    }

    fn write(&self, tokenizer: &dyn Tokenizer, unit: Unit, out: &mut dyn Write) -> io::Result<()> {
        let text = printable(&self.text);
        let text = match self.split {
            Some(split) => format!("{} text of {text}", split.in_words()),
            None => text,
        };
        writeln!(out, "{}, step {}", printable(&self.checkpoint), self.step)?;
        writeln!(out, "{text}: {} {} predicted, {CARRY}", grouped(self.chars as u64), unit.many)?;
        if let Some((rate, decay)) = self.dynamic {
            writeln!(out, "the model goes on learning as it reads, at rate {rate}, decay {decay}")?;
        }
        let (nats, bits) = (self.nats_per_char, self.nats_per_char / LN_2);
        let (perplexity, short) = (self.perplexity(), unit.short);
        writeln!(
            out,
            "{nats:.4} nats/{short}, {bits:.4} bits/{short}, perplexity {perplexity:.3}"
        )?;
        writeln!(out, "{}", self.verdict())?;
        self.write_yardsticks(unit, out)?;
        self.by_char.as_ref().map_or(Ok(()), |by_char| by_char.write(tokenizer, unit, out))
    }

    fn write_yardsticks(&self, unit: Unit, out: &mut dyn Write) -> io::Result<()> {
        let Some(yardsticks) = &self.yardsticks else {
            return match self.split {
                Some(_) => {
                    writeln!(out, "no n-grams or xz: they would be fitted on this very text")
                }
                None => Ok(()),
            };
        };
        let Ground { train_chars, fitted_chars, chars, scored_chars, .. } = yardsticks.ground;
        write!(out, "\nyardsticks, fitted on the ")?;
        if fitted_chars < train_chars {
            write!(out, "last {} of ", grouped(fitted_chars as u64))?;
        }
        let Unit { many, short, .. } = unit;
        write!(out, "{} {many} of training text", grouped(train_chars as u64))?;
        if scored_chars < chars {
            write!(out, ", for the first {} {many}", grouped(scored_chars as u64))?;
        }
        writeln!(out, "\n  nats/{short}  bits/{short}")?;
        let width = "nats/".len() + short.len();
        let mut named = yardsticks.named();
        named.push(("this model".into(), self.nats_per_char));
        named.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        for (name, nats) in named {
            writeln!(out, "  {nats:width$.4}  {:width$.4}  {name}", nats / LN_2)?;
        }
        let orders: Vec<_> = yardsticks.no_better().map(|order| order.to_string()).collect();
        match orders.is_empty() {
            true => Ok(()),
            false => {
                writeln!(
                    out,
                    "left out, for a shorter one is as good: n-grams of n = {}",
                    orders.join(", ")
                )
            }
        }
    }

    fn write_json(&self, tokenizer: &dyn Tokenizer, out: &mut dyn Write) -> io::Result<()> {
        let yardsticks = match &self.yardsticks {
            Some(yardsticks) => json!(yardsticks),
            None => json!({ "uniform": self.uniform, "ngrams": null, "xz": null }),
        };
        let value = json!({
            "checkpoint": self.checkpoint,
            "step": self.step,
            "split": self.split,
            "text": self.text,
            "chars": self.chars,
            "carry": CARRY,
            "dynamic_rate": self.dynamic.map(|(rate, _)| rate),
            "dynamic_decay": self.dynamic.map(|(_, decay)| decay),
            "nats_per_char": self.nats_per_char,
            "bits_per_char": self.nats_per_char / LN_2,
            "perplexity": self.perplexity(),
            "yardsticks": yardsticks,
            "verdict": self.verdict(),
            "by_char": self.by_char.as_ref().map(|by_char| by_char.rows(tokenizer)),
        });
        writeln!(out, "{value:#}")
    }
}

/// What each character costs.
#[derive(Default)]
struct ByChar {
    /// Number and nats of each symbol.
    costs: BTreeMap<u32, (u64, f64)>,
    /// How often another one was the likeliest in its place: the symbol, then the other.
    mistakes: BTreeMap<(u32, u32), u64>,
}

/// A line of the table.
#[derive(Serialize)]
struct Row {
    symbol: String,
    count: u64,
    share_of_text: f64,
    nats_per_char: f64,
    share_of_loss: f64,
    /// What was the likeliest most often where it was not this one.
    expected_instead: Option<String>,
}

impl ByChar {
    fn add(&mut self, Reading { id, nats, likeliest }: Reading) {
        let cost = self.costs.entry(id).or_default();
        *cost = (cost.0 + 1, cost.1 + nats);
        if likeliest != id {
            *self.mistakes.entry((id, likeliest)).or_default() += 1;
        }
    }

    /// The characters, the one that costs most in all first.
    fn rows(&self, tokenizer: &dyn Tokenizer) -> Vec<Row> {
        let symbols = tokenizer.symbols();
        let sums = self.costs.values().fold((0, 0.0), |sum, cost| (sum.0 + cost.0, sum.1 + cost.1));
        let mut costs: Vec<_> = self.costs.iter().map(|(id, cost)| (*id, *cost)).collect();
        costs.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1));
        let row = |(id, (count, nats)): (u32, (u64, f64))| Row {
            symbol: symbols[id as usize].clone(),
            count,
            share_of_text: count as f64 / sums.0 as f64,
            nats_per_char: nats / count as f64,
            share_of_loss: nats / sums.1,
            expected_instead: self.expected_instead(id).map(|id| symbols[id as usize].clone()),
        };
        costs.into_iter().map(row).collect()
    }

    /// The first of those that are alike.
    fn expected_instead(&self, id: u32) -> Option<u32> {
        let others = self.mistakes.range((id, 0)..=(id, u32::MAX));
        others.min_by_key(|(_, count)| std::cmp::Reverse(**count)).map(|((_, other), _)| *other)
    }

    fn write(&self, tokenizer: &dyn Tokenizer, unit: Unit, out: &mut dyn Write) -> io::Result<()> {
        let rows = self.rows(tokenizer);
        let shown = |symbol: &str| printable(&format!("{symbol:?}"));
        writeln!(
            out,
            "\nthe {} that cost most, {} of {}",
            unit.many,
            rows.len().min(MOST_CHARS),
            rows.len()
        )?;
        let Unit { one, short, .. } = unit;
        writeln!(
            out,
            "  of the loss  of the text  nats/{short}  {one}, and what was expected instead"
        )?;
        let width = "nats/".len() + short.len();
        for row in rows.iter().take(MOST_CHARS) {
            let (loss, text) = (100.0 * row.share_of_loss, 100.0 * row.share_of_text);
            let instead = row.expected_instead.as_deref().map(shown).unwrap_or_default();
            let symbol = shown(&row.symbol);
            let line = format!(
                "  {loss:9.2} %  {text:9.2} %  {:width$.3}  {symbol:10} {instead}",
                row.nats_per_char
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
