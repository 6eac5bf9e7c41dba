//! What can be written on the command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args as Arguments, Parser, Subcommand};
use experiment::{Error, best_checkpoint, newest_checkpoint};

use crate::commands::completions::CompletionsArgs;
use crate::commands::eval::EvalArgs;
use crate::commands::man::ManArgs;
use crate::commands::metrics::MetricsArgs;
use crate::commands::new::NewArgs;
use crate::commands::report::ReportArgs;
use crate::commands::score::ScoreArgs;
use crate::commands::sweep::SweepArgs;

/// Trains character-level recurrent language models from one TOML config, and writes text with them.
#[derive(Debug, Parser)]
#[command(name = "cli", version, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    New(NewArgs),
    Run(RunArgs),
    Resume(ResumeArgs),
    Sweep(SweepArgs),
    Sample(SampleArgs),
    Score(ScoreArgs),
    Eval(EvalArgs),
    Check(CheckArgs),
    List(ListArgs),
    Metrics(MetricsArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Report(ReportArgs),
}

/// More would be a mistake.
const MOST_THREADS: usize = 1024;

/// Train what a config says
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli run configs/karpathy.toml
  cli run configs/karpathy.toml --set optimizer.kind=adam --set optimizer.learning_rate=0.002
  cli run configs/karpathy.toml --set data.path=/home/me/my.txt --out runs/mine
  cli run configs/karpathy.toml --out runs/mine --resume
  cli run configs/karpathy.toml --json --quiet | jq 'select(.event == \"eval\")'

The run directory holds config.toml, metrics.jsonl, timing.jsonl, samples.txt and checkpoints/, with
validation losses also yardsticks.json.

Ctrl-C, SIGTERM or a closed terminal ends a run after its step, with a checkpoint; a second Ctrl-C or
SIGTERM ends it at once. With --resume it goes on from the newest good checkpoint and ends in the bytes it would have ended in. A job
that may be stopped at any time can always pass --resume: without a checkpoint the run starts.

The facts of the text and the samples go to standard output, everything else to standard error.

--json writes one object a line, each with `event`: start (run, from_step, steps, parameters,
text_chars, vocab_size), step (the keys of metrics.jsonl, every log.every steps), eval (step,
nats_per_char, bits_per_char, chars), sample (step, text), checkpoint (step, best_step; on disk soon
after), rollback (step, not_finite, to_step, rollbacks) and end: outcome is complete, early_stop
(train.patience), signal (with signal), stopped or error (with exit_code and error); step,
smooth_nats_per_char, best_step and best_val_nats_per_char unless it is error.")]
pub struct RunArgs {
    /// The TOML file
    pub config: PathBuf,
    /// Override a key, such as train.steps=1000; the value is TOML, a bare word is a string
    #[arg(long = "set", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub overrides: Vec<String>,
    /// Run directory; without it runs/NAME of the config, or NAME-2, NAME-3, ...
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on from the newest good checkpoint in the run directory, or start if it has none; without
    /// --out that is runs/NAME
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub changed: ChangedArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

/// Go on with a run, from its own directory
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli resume runs/karpathy
  cli resume runs/karpathy --set train.steps=60000
  cli resume runs/karpathy --set data.path=/home/me/moved.txt

The config is the run's own config.toml. A key that --set names may change: with train.steps a run that
has ended goes on. A schedule that ends with the run is then another one from here on; the steps behind
stay as they were.")]
pub struct ResumeArgs {
    /// The run directory
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Change a key from here on, such as train.steps=60000
    #[arg(long = "set", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub overrides: Vec<String>,
    #[command(flatten)]
    pub changed: ChangedArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

/// What may have changed since a run was begun.
#[derive(Clone, Copy, Debug, Arguments)]
pub struct ChangedArgs {
    /// Go on although the config is not the one the run was begun with
    #[arg(long)]
    pub allow_changed_config: bool,
    /// Go on although the text is not the one the run was begun with, at the start of the new one
    #[arg(long)]
    pub allow_changed_text: bool,
}

/// How to train, without any effect on the result.
#[derive(Clone, Copy, Debug, Arguments)]
pub struct HowArgs {
    /// Threads to use; without it as many as the machine runs at once. No result depends on it
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Print nothing but errors and warnings
    #[arg(long)]
    pub quiet: bool,
    /// Print a line for every step that is logged, with gradient norm and learning rate; otherwise a
    /// terminal has a panel, and a file a line every 5 seconds
    #[arg(long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Write what happens to standard output as JSON, one object a line, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// The model that a command reads.
#[derive(Debug, Arguments)]
pub struct ModelArgs {
    /// A run directory, whose newest checkpoint is taken, or a checkpoint
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    model: PathBuf,
    /// Take the checkpoint with the lowest validation loss instead of the newest
    #[arg(long)]
    best: bool,
}

impl ModelArgs {
    /// What was named.
    pub fn path(&self) -> &Path {
        &self.model
    }

    /// The checkpoint that is meant.
    ///
    /// # Errors
    /// If there is none.
    pub fn checkpoint(&self) -> Result<PathBuf, Error> {
        if self.best { best_checkpoint(&self.model) } else { newest_checkpoint(&self.model) }
    }
}

/// Write text with a trained model
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli sample runs/karpathy --prime '#' --length 2000 > output.txt
  cli sample runs/karpathy --temperature 0.7 --top-k 10 --seed 1
  cli sample runs/karpathy --min-p 0.1 --temperature 1.5 --no-repeat 40
  cli sample runs/names --stop $'\\n' --length 30 --count 20
  cli sample runs/mine --best
  cli sample runs/karpathy/checkpoints/step-00010000.safetensors --count 3
  cli sample runs/karpathy --interactive
  cli sample runs/karpathy --novelty

Standard output gets the characters the model wrote and nothing else; the prime is not repeated. The
seed is printed on standard error: a sample is made again by its seed, and sample 3 of --seed 42 is the
one of --seed 44. --top-k, --top-p and --min-p leave out what any of them leaves out.

--interactive reads a line from standard input, goes on from it for --length characters, and reads the
next one; the model remembers all of it. An empty line lets it go on. The end of the input ends it.

--novelty writes a table in place of the samples: how much of them, and of a text that the model did
not write, stands verbatim in the training text, in runs of how many characters, and where the longest
one is from. More than in the other text is memorised. With --json it is {model, seed, training_len,
samples, held_out}, each text with {chars, shares, longest}: shares in runs of so many characters or
more, longest with {chars, line, character, text} or null. Samples have a temperature, the held-out
text says what it is the start of.")]
pub struct SampleArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Text that the model reads first; without it, a line end
    #[arg(long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub prime: String,
    /// Characters to write, or symbols of a tokenizer that has others [default: 500, with --interactive
    /// 200, with --novelty 5000]
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub length: Option<u64>,
    /// Below 1 more cautious, above 1 bolder; 0 takes the likeliest character each time [default: 1,
    /// with --novelty 0.5, 0.8, 1 and 1.2]
    #[arg(long, value_name = "X", value_parser = temperature, allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draw from the K likeliest characters only
    #[arg(long, value_name = "K", value_parser = top_k, allow_negative_numbers = true)]
    pub top_k: Option<usize>,
    /// Draw from the fewest characters that together are this likely
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = top_p, allow_negative_numbers = true)]
    pub top_p: f64,
    /// Draw from the characters that are at least P times as likely as the likeliest one
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share, allow_negative_numbers = true)]
    pub min_p: f64,
    /// Same seed, same text
    #[arg(long, value_name = "S", default_value_t = 42, value_parser = whole, allow_negative_numbers = true)]
    pub seed: u64,
    /// Texts to write, each from the prime on and with a line end behind it; each has the seed after the
    /// last one's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole, allow_negative_numbers = true)]
    pub count: u64,
    /// End a text when it ends with this; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub stop: Vec<String>,
    /// Write nothing that makes a span of N characters stand twice in the text, prime included; the
    /// text ends where nothing else is left
    #[arg(long, value_name = "N", value_parser = no_repeat, allow_negative_numbers = true)]
    pub no_repeat: Option<NonZeroUsize>,
    /// Go on from each line of standard input
    #[arg(long, conflicts_with = "count")]
    pub interactive: bool,
    /// Say how much stands verbatim in the training text
    #[arg(long, conflicts_with_all = ["interactive", "count", "stop", "no_repeat"])]
    pub novelty: bool,
    /// Write JSON, as described below
    #[arg(long, requires = "novelty", conflicts_with = "interactive")]
    pub json: bool,
    /// The training text, where the run does not know it any more
    #[arg(long, value_name = "FILE", requires = "novelty")]
    pub text: Option<PathBuf>,
}

/// Check a config, or a checkpoint, without training
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli check configs/karpathy.toml
  cli check configs/karpathy.toml --set model.hidden_size=512
  cli check configs/karpathy.toml --no-time
  cli check runs/karpathy/checkpoints/step-00030000.safetensors

For a config it says how long the run takes on this machine, on a line of its own. It finds out by some
real steps, for four seconds.")]
pub struct CheckArgs {
    /// A TOML config, a run directory or a .safetensors checkpoint
    #[arg(value_name = "CONFIG_OR_CHECKPOINT")]
    pub path: PathBuf,
    /// Override a key of a config
    #[arg(long = "set", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub overrides: Vec<String>,
    /// Do not measure how long the run takes
    #[arg(long)]
    pub no_time: bool,
    /// Threads the run will use; without it as many as the machine runs at once
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    pub threads: Option<usize>,
}

/// List the parts a config can name, and every key with its default and range
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli list
  cli list optimizers
  cli list --json | jq '.families[] | .key as $key | .parts[] | [$key, .name]'
  cli list --schema > configs/schema.json

--json writes {families, sections}. A family has name, key (what names a part in a config), default
(the part where none is named, or null) and parts; a part has name, summary, source and keys; a
section has name, summary and keys. A key has name, required, default (a value, or null), range (of
numbers, for people to read; the schema has it in numbers), words (the only ones allowed, if any) and
meaning.")]
pub struct ListArgs {
    /// One family, such as cells, optimizers or schedules
    pub family: Option<String>,
    /// Write JSON, as described below
    #[arg(long)]
    pub json: bool,
    /// Write the JSON schema of a config with these parts, for editors
    #[arg(long, conflicts_with_all = ["family", "json"])]
    pub schema: bool,
}

fn temperature(text: &str) -> Result<f64, String> {
    number(text, "at least 0", |value| 0.0 <= value)
}

fn top_p(text: &str) -> Result<f64, String> {
    number(text, "above 0 and at most 1", |value| 0.0 < value && value <= 1.0)
}

pub fn share(text: &str) -> Result<f64, String> {
    number(text, "from 0 to 1", |value| (0.0..=1.0).contains(&value))
}

/// A longer span would be compared for longer than a model takes to write.
const MOST_NO_REPEAT: usize = 1000;

fn no_repeat(text: &str) -> Result<NonZeroUsize, String> {
    let value = text.parse().ok().filter(|n: &NonZeroUsize| n.get() <= MOST_NO_REPEAT);
    value.ok_or_else(|| format!("must be a whole number from 1 to {MOST_NO_REPEAT}"))
}

pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) => Ok(threads),
        _ => Err(format!("must be a whole number from 1 to {MOST_THREADS}")),
    }
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "must be a whole number of at least 0".to_owned())
}

fn top_k(text: &str) -> Result<usize, String> {
    let value = text.parse().map_err(|_| "must be a whole number of at least 1".to_owned())?;
    if value == 0 { Err("must be at least 1".into()) } else { Ok(value) }
}

pub fn number(text: &str, range: &str, is_valid: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && is_valid(value) => Ok(value),
        _ => Err(format!("must be a number {range}")),
    }
}
