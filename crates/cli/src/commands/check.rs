//! `cli check`: validates a config or a checkpoint without training.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use data_io::{Unit, is_text};
use experiment::{
    Error, Experiment, Parts, Speed, Summary, TextModel, Turns, counted, grouped, in_bytes,
    in_time, newest_checkpoint, open_config,
};

use crate::args::CheckArgs;
use crate::commands::run::all_threads;
use crate::failure::printable;
use crate::{Console, Failure};

pub fn run(args: &CheckArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    if is_model(&args.path) {
        if !args.overrides.is_empty() {
            return Err(Error::Argument {
                place: "--set".into(),
                message: "overrides a key of a config, and this is a checkpoint".into(),
                help: "leave --set out, or give a config".into(),
            }
            .into());
        }
        let path = newest_checkpoint(&args.path)?;
        let summary = TextModel::open(&path, parts)?.summary().clone();
        let path = printable(&path.display().to_string());
        return writeln!(console.out, "{path}: {}, ok", in_words(&summary))
            .map_err(Failure::Output);
    }
    let document = open_config(&args.path, &args.overrides)?;
    let mut experiment = Experiment::prepare(&document, parts)?;
    print_plan(&experiment, console.out).map_err(Failure::Output)?;
    if args.no_time {
        return Ok(());
    }
    console.out.flush().map_err(Failure::Output)?;
    let threads = args.threads.unwrap_or_else(all_threads);
    experiment.set_threads(threads);
    let speed = Speed::measure(&experiment, MEASURING)?;
    print_time(&experiment, threads, speed, console.out).map_err(Failure::Output)
}

/// How long the speed of a config is measured.
const MEASURING: Duration = Duration::from_secs(4);

fn print_time(
    experiment: &Experiment,
    threads: usize,
    speed: Option<Speed>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(speed) = speed else {
        return writeln!(
            out,
            "time        not measured: the run takes more than half of this machine's memory"
        );
    };
    let turns = Turns::of(experiment);
    let looks = match turns.evals {
        0 => String::new(),
        n => format!(", {} of {}", counted(n, "evaluation"), in_time(speed.eval_secs)),
    };
    let with = if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") };
    writeln!(
        out,
        "time        about {} on this machine with {with}: {} a step{looks}",
        in_time(speed.secs(turns)),
        in_time(speed.step_secs),
    )
}

/// Whether the path means a model: a directory, a `.safetensors` file, or one under any name but a
/// config's that is no text.
fn is_model(path: &Path) -> bool {
    match path.extension() {
        _ if path.is_dir() => true,
        Some(end) if end == "safetensors" => true,
        Some(end) if end == "toml" => false,
        _ => !is_text(path),
    }
}

fn in_words(summary: &Summary) -> String {
    let Summary { step, cell, layers, hidden_size, vocab_size, n_params, dtype, digest } = summary;
    format!(
        "step {step}, {cell} {layers}×{hidden_size}, {n_params} parameters in {dtype}, \
         {vocab_size} symbols, digest {digest}"
    )
}

fn print_plan(experiment: &Experiment, out: &mut dyn Write) -> io::Result<()> {
    let config = experiment.config();
    let Unit { many: unit, short, .. } = config.tokenizer.unit();
    let (layers, hidden_size) =
        (config.model.layers.as_usize(), config.model.hidden_size.as_usize());
    writeln!(
        out,
        "text        {} {unit}, {} unique; {} to train on, {} to validate with",
        grouped(experiment.text().whole().len() as u64),
        grouped(experiment.tokenizer().vocab_size() as u64),
        grouped(experiment.train_text().len() as u64),
        grouped(experiment.val_text().len() as u64),
    )?;
    writeln!(
        out,
        "model       {} {layers}×{hidden_size}, {} parameters in {}",
        config.cell.name,
        grouped(experiment.n_params() as u64),
        config.model.dtype,
    )?;
    let memory = experiment.memory();
    writeln!(
        out,
        "memory      {}: parameters {}, optimizer {}, activations {}, checkpoint {}, text {}, \
         yardsticks {}",
        in_bytes(memory.total()),
        in_bytes(memory.parameters),
        in_bytes(memory.optimizer),
        in_bytes(memory.activations),
        in_bytes(memory.checkpoint),
        in_bytes(memory.text),
        in_bytes(memory.yardsticks),
    )?;
    let (steps, batch_size) = (config.train.steps.get() as u64, config.train.batch_size.as_usize());
    let seq_len = config.train.seq_len.as_usize();
    let chars = steps as f64 * (batch_size * seq_len) as f64;
    let chars_per_epoch = experiment.windows().chars_per_pass();
    writeln!(
        out,
        "training    {} of {batch_size}×{seq_len} {unit}; {} {unit} an epoch, {:.1} epochs",
        counted(steps, "step"),
        grouped(chars_per_epoch as u64),
        chars / chars_per_epoch as f64,
    )?;
    writeln!(
        out,
        "optimizer   {}, learning rate {}, schedule {}",
        config.optimizer.name,
        config.optimizer_keys.learning_rate.get(),
        config.schedule.name,
    )?;
    let uniform = experiment.uniform();
    write!(out, "loss        starts near {uniform:.4} nats/{short}, all symbols alike")?;
    match experiment.text().entropy() {
        Some(entropy) => {
            writeln!(out, "; the text's entropy is {entropy:.4}, no model does better for long")
        }
        None => writeln!(out),
    }
}
