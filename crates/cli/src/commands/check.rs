//! `cli check`: validates a config or a checkpoint without training.

use std::io::{self, Write};

use experiment::{
    Error, Experiment, Parts, Summary, TextModel, in_bytes, newest_checkpoint, open_config,
};

use crate::args::CheckArgs;
use crate::{Console, Failure};

pub fn run(args: &CheckArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let is_checkpoint =
        args.path.is_dir() || args.path.extension().is_some_and(|end| end == "safetensors");
    if is_checkpoint {
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
        return writeln!(console.out, "{}: {}, ok", path.display(), in_words(&summary))
            .map_err(Failure::Output);
    }
    let document = open_config(&args.path, &args.overrides)?;
    let experiment = Experiment::prepare(&document, parts)?;
    print_plan(&experiment, console.out).map_err(Failure::Output)
}

fn in_words(summary: &Summary) -> String {
    let Summary { step, cell, layers, hidden_size, vocab_size, n_params, dtype } = summary;
    format!(
        "step {step}, {cell} {layers}×{hidden_size}, {n_params} parameters in {dtype}, {vocab_size} symbols"
    )
}

fn print_plan(experiment: &Experiment, out: &mut dyn Write) -> io::Result<()> {
    let config = experiment.config();
    let (layers, hidden_size) =
        (config.model.layers.as_usize(), config.model.hidden_size.as_usize());
    writeln!(
        out,
        "text        {} characters, {} unique; {} to train on, {} to validate with",
        experiment.text().len(),
        experiment.tokenizer().vocab_size(),
        experiment.train_text().len(),
        experiment.val_text().len(),
    )?;
    writeln!(
        out,
        "model       {} {layers}×{hidden_size}, {} parameters in {}",
        config.cell.name,
        experiment.n_params(),
        config.model.dtype,
    )?;
    if let Some(entropy) = experiment.entropy() {
        writeln!(out, "entropy     {entropy:.4} nats/char; no model can do better for long")?;
    }
    let memory = experiment.memory();
    writeln!(
        out,
        "memory      {}: parameters {}, optimizer {}, activations {}, checkpoint {}, text {}",
        in_bytes(memory.total()),
        in_bytes(memory.parameters),
        in_bytes(memory.optimizer),
        in_bytes(memory.activations),
        in_bytes(memory.checkpoint),
        in_bytes(memory.text),
    )?;
    let (steps, batch_size) = (config.train.steps.get() as u64, config.train.batch_size.as_usize());
    let seq_len = config.train.seq_len.as_usize();
    let chars = steps as f64 * (batch_size * seq_len) as f64;
    let chars_per_epoch = experiment.windows().chars_per_pass();
    writeln!(
        out,
        "training    {} steps of {batch_size}×{seq_len} characters; {chars_per_epoch} characters an epoch, {:.1} epochs",
        steps,
        chars / chars_per_epoch as f64,
    )?;
    writeln!(
        out,
        "optimizer   {}, learning rate {}, schedule {}",
        config.optimizer.name,
        config.optimizer_keys.learning_rate.get(),
        config.schedule.name,
    )
}
