//! `cli run`: trains what a config says.

use std::path::Path;
use std::time::Instant;

use experiment::{Experiment, Observer, Parts, RunDir, open_config, train};

use crate::args::RunArgs;
use crate::progress::{Progress, duration};
use crate::{Console, Failure};

pub fn run(args: &RunArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let document = open_config(&args.config, &args.overrides)?;
    let experiment = Experiment::prepare(&document, parts)?;
    let mut run_dir = match &args.out {
        Some(path) => RunDir::create(path, &experiment)?,
        None => RunDir::create_in(Path::new("runs"), &experiment)?,
    };
    if args.quiet {
        train(&experiment, &mut [&mut run_dir])?;
        return Ok(());
    }

    writeln!(
        console.out,
        "data has {} characters, {} unique.",
        experiment.ids().len(),
        experiment.tokenizer().vocab_size()
    )
    .and_then(|()| console.out.flush())
    .map_err(Failure::Output)?;

    let start = Instant::now();
    let path = run_dir.path().to_owned();
    let mut progress = Progress::new(console, &experiment);
    let result = train(&experiment, &mut [&mut run_dir as &mut dyn Observer, &mut progress]);
    let written = progress.finish();
    let outcome = result?;
    if outcome.stopped {
        let _ = writeln!(
            console.err,
            "stopped behind step {}: standard output is closed",
            outcome.step
        );
    }
    written.map_err(Failure::Output)?;

    let run = path.display();
    let _ = writeln!(
        console.err,
        "{run}: {} steps in {}. Write with it: cargo cli sample {run} --length 500",
        outcome.step,
        duration(start.elapsed().as_secs_f64()),
    );
    Ok(())
}
