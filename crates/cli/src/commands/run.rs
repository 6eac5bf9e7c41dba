//! `cli run`: trains what a config says.

use std::path::Path;
use std::time::Instant;

use experiment::{Experiment, Observer, Parts, RunDir, open_config, train};

use crate::args::RunArgs;
use crate::failure::printable;
use crate::progress::{Progress, duration};
use crate::{Console, Failure};

pub fn run(args: &RunArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let document = open_config(&args.config, &args.overrides)?;
    let mut experiment = Experiment::prepare(&document, parts)?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    experiment.set_threads(args.threads.unwrap_or(all));
    let mut run_dir = match &args.out {
        Some(path) => RunDir::create(path, &experiment)?,
        None => RunDir::create_in(Path::new("runs"), &experiment)?,
    };
    if args.quiet {
        train(&experiment, &mut [&mut run_dir])?;
        return Ok(());
    }

    let heading = format!(
        "data has {} characters, {} unique.",
        experiment.text().len(),
        experiment.tokenizer().vocab_size()
    );
    if let Err(error) = writeln!(console.out, "{heading}").and_then(|()| console.out.flush()) {
        // Nobody would see what it does.
        run_dir.discard()?;
        return Err(Failure::Output(error));
    }

    let start = Instant::now();
    let path = run_dir.path().to_owned();
    let mut progress = Progress::new(console, &experiment);
    let result = train(&experiment, &mut [&mut run_dir as &mut dyn Observer, &mut progress]);
    let written = progress.finish();
    let outcome = result?;
    if outcome.stopped {
        let _ = writeln!(console.err, "stopped after step {}", outcome.step);
    }
    written.map_err(Failure::Output)?;

    let run = shell_word(&path.display().to_string());
    let _ = writeln!(
        console.err,
        "{run}: {} steps in {}, smoothed loss {:.3} nats/char",
        outcome.step,
        duration(start.elapsed().as_secs_f64()),
        outcome.smooth_nats_per_char,
    );
    let _ = writeln!(console.err, "write with it: cargo cli sample {run} --length 500");
    Ok(())
}

/// The text as one word of a shell, with nothing in it that a terminal would obey.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    match text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.to_owned(),
        false => format!("'{}'", printable(text).replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        let check = |text, expected: &str| assert_eq!(shell_word(text), expected);
        check("runs/karpathy-2", "runs/karpathy-2");
        check("runs/é", "runs/é");
        check("my run", "'my run'");
        check("-x", "'-x'");
        check("it's", "'it'\\''s'");
        check("a\u{1b}[31m", "'a\\u{1b}[31m'");
    }
}
