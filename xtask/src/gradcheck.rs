//! `cargo xtask gradcheck`: every gradient that is trained with, against finite differences.
//!
//! What is checked, and how, is in [`rnn_model::gradcheck`]; this chooses and renders.

use std::path::{Path, PathBuf};

use experiment::{Experiment, Mode, Parts, build_model, open_config};
use rnn_model::gradcheck::{
    Case, Entries, Finding, Gradient, TOLERANCE, cases, compare, with_default_keys,
};
use rnn_model::{Model, builtin_cells};

use crate::table;

/// Where the random choices for the model of a config start; any other number would do.
const SEED: u64 = 1;
/// Multiplications for the model of a config, a few seconds of them.
const BUDGET: usize = 20_000_000_000;
/// Lanes and steps for the model of a config. More would multiply the work and check no other line
/// of code, and the round-off of a longer sum would drown the smallest gradients.
const MOST_LANES: usize = 3;
const MOST_STEPS: usize = 10;

/// Arguments of `cargo xtask gradcheck`.
#[derive(clap::Args)]
pub struct Args {
    /// Checks the model of this config instead of every registered cell.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Checks gradients, and prints the worst entry of each tensor.
///
/// # Errors
/// If a gradient is wrong, or zero everywhere, so that nothing was checked.
pub fn run(args: Args) -> crate::Result {
    let rows = match &args.config {
        None => check_cells(),
        Some(path) => check_config(path)?,
    };

    let heading = ["cell", "tensor", "checked", "largest", "error", "where", "at", ""];
    let lines: Vec<_> = rows.iter().map(Row::render).collect();
    let checked: usize = rows.iter().map(|row| row.compared).sum();
    let worst = rows.iter().map(|row| row.worst.worst.error).fold(0.0, f64::max);
    println!("{}", table::render(heading, &lines));
    println!(
        "{checked} derivatives, the worst off by {worst:.1e} of its tensor's largest; \
         {TOLERANCE:e} is allowed"
    );
    match rows.iter().filter(|row| !row.passes()).count() {
        0 => Ok(()),
        wrong => Err(format!("{wrong} of {} rows do not pass", rows.len()).into()),
    }
}

/// Every entry of every tensor of every registered cell at every shape.
fn check_cells() -> Vec<Row> {
    let mut rows = Vec::new();
    for cell in with_default_keys(&builtin_cells()) {
        for case in cases() {
            record(&mut rows, cell.name, case, case.check(|dims, options| cell.f64(dims, options)));
        }
    }
    rows
}

/// The model of a config with the vocabulary of its text, at as many entries as the budget allows.
fn check_config(path: &Path) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let document = open_config(path, &[]).map_err(readable)?;
    let prepared = Experiment::prepare(&document, &Parts::builtin()).map_err(readable)?;
    let config = prepared.config();
    let seq_len = config.train.seq_len.as_usize().min(MOST_STEPS);
    let case = Case {
        layers: config.model.layers.as_usize(),
        vocab_size: prepared.tokenizer().vocab_size(),
        hidden_size: config.model.hidden_size.as_usize(),
        batch_size: config.train.batch_size.as_usize().min(MOST_LANES),
        seq_len,
        steps: seq_len,
        carried: true,
        reduction: config.train.loss,
    };
    let mut model = build_model(config, Mode::Train, case.vocab_size, case.batch_size, seq_len);
    let entries = Entries::Some { most: affordable(&model), seed: SEED };
    let point = case.point(&model);
    let gradient = Gradient::of(&mut model, &point);
    let mut rows = Vec::new();
    record(&mut rows, config.cell.name, case, compare(&mut model, &point, &gradient, entries));
    Ok(rows)
}

fn readable(error: experiment::Error) -> String {
    let help = error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    format!("{}: {error}{help}", error.place())
}

/// Entries of each tensor that the budget allows, at least four.
fn affordable(model: &Model<f64>) -> usize {
    let tensors = model.layout().segments().len() + model.states().len();
    let multiplications = model.dims().batch_size * model.dims().seq_len * model.layout().len();
    // Four losses make a derivative.
    (BUDGET / (4 * tensors * multiplications)).max(4)
}

/// One tensor of a cell, over all its layers and all cases.
struct Row {
    cell: &'static str,
    compared: usize,
    entries: usize,
    largest: f64,
    worst: Finding,
    at: Case,
}

fn record(rows: &mut Vec<Row>, cell: &'static str, at: Case, findings: Vec<Finding>) {
    for finding in findings {
        let (compared, entries) = (finding.compared, finding.shape.len());
        let largest = finding.largest;
        let same = |row: &&mut Row| row.cell == cell && row.worst.tensor == finding.tensor;
        match rows.iter_mut().find(same) {
            None => rows.push(Row { cell, compared, entries, largest, worst: finding, at }),
            Some(row) => {
                row.compared += compared;
                row.entries += entries;
                row.largest = row.largest.max(largest);
                if row.worst.worst.error < finding.worst.error {
                    (row.worst, row.at) = (finding, at);
                }
            }
        }
    }
}

impl Row {
    /// Where every gradient was zero, one that was forgotten would have looked the same.
    fn passes(&self) -> bool {
        self.worst.passes() && self.largest != 0.0
    }

    fn render(&self) -> [String; 8] {
        let Self { cell, compared, entries, largest, worst, at } = self;
        [
            (*cell).into(),
            worst.tensor.clone(),
            if compared == entries {
                format!("all {entries}")
            } else {
                format!("{compared} of {entries}")
            },
            format!("{largest:.3}"),
            format!("{:.1e}", worst.worst.error),
            worst.place(),
            at.to_string(),
            match (self.passes(), worst.passes()) {
                (true, _) => "ok".into(),
                (false, true) => "WRONG: zero everywhere".into(),
                (false, false) => format!("WRONG: {worst}"),
            },
        ]
    }
}
