//! `cargo xtask seeds`: where `configs/karpathy.toml` ends, seed by seed.
//!
//! Adagrad at 0.1 is chaotic, so one run says little: NumPy's min-char-rnn ends at 2.3, 3.3, 4.0, 7.1
//! and 14.6 nats a window over five seeds.

use std::io::{self, Write};
use std::path::Path;

use experiment::{Experiment, Parts, Trainer, open_config};

use crate::table;

/// Arguments of `cargo xtask seeds`.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds, from 1 on.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

/// Trains with every seed, and prints the smoothed loss at the end.
///
/// # Errors
/// If the config cannot be read, or a run diverges.
pub fn run(args: Args) -> crate::Result {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in the project");
    let config = project.join("configs/karpathy.toml");
    let mut ends = Vec::new();
    for seed in 1..=args.count {
        let document = open_config(&config, &[format!("train.seed={seed}")])?;
        let experiment = Experiment::prepare(&document, &Parts::builtin())?;
        let mut trainer = Trainer::<f32>::new(&experiment);
        let mut smooth = 0.0;
        for _ in 0..experiment.config().train.steps.get() {
            smooth = trainer.step()?.smooth_nats_per_char;
        }
        ends.push(smooth * experiment.config().train.seq_len.get() as f64);
    }
    let rows: Vec<_> =
        (1..).zip(&ends).map(|(seed, end)| [format!("{seed}"), format!("{end:.2}")]).collect();
    ends.sort_by(f64::total_cmp);
    let (n, half) = (ends.len(), ends.len() / 2);
    let median = if n % 2 == 1 { ends[half] } else { (ends[half - 1] + ends[half]) / 2.0 };
    let table = table::render(["seed", "nats a window"], &rows);
    writeln!(io::stdout(), "{table}\nmedian {median:.2}, worst {:.2}", ends[n - 1])?;
    Ok(())
}
