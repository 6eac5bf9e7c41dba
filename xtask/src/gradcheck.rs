//! `cargo xtask gradcheck`: every gradient that is trained with, against finite differences and dual
//! numbers.
//!
//! What is checked, and how, is in [`rnn_model::gradcheck`]; this chooses and renders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use experiment::{Experiment, Mode, Parts, open_config};
use rnn_model::gradcheck::{
    Case, Entries, Finding, Gradient, Resets, Variant, Witness, cases, compare, compare_dual,
    variants,
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

    let heading = ["cell", "tensor", "checked", "largest", "error", "where", "at", "dual", ""];
    let lines: Vec<_> = rows.iter().map(Row::render).collect();
    println!("{}", table::render(heading, &lines));
    let checked: usize = rows.iter().map(|row| row.compared).sum();
    println!("{checked} derivatives");
    let of_differences: Vec<_> = rows.iter().map(|row| &row.differences).collect();
    let of_dual: Vec<_> = rows.iter().map(|row| &row.dual).collect();
    for (witness, all) in [(Witness::Differences, of_differences), (Witness::Dual, of_dual)] {
        let (error, allowed) =
            (all.iter().map(|worst| worst.error()).fold(0.0, f64::max), witness.tolerance());
        println!(
            "{witness}: the worst off by {error:.1e} of its tensor's largest, {allowed:e} allowed"
        );
    }
    match rows.iter().filter(|row| !row.passes()).count() {
        0 => Ok(()),
        wrong => Err(format!("{wrong} of {} rows do not pass", rows.len()).into()),
    }
}

/// Every entry of every tensor of every registered cell at every shape.
fn check_cells() -> Vec<Row> {
    let start = Instant::now();
    let (variants, cases) = (variants(&builtin_cells()), cases());
    let jobs: Vec<_> =
        variants.iter().flat_map(|variant| cases.iter().map(move |case| (variant, case))).collect();
    let findings = in_parallel(&jobs, |(Variant { cell, .. }, case)| {
        let differences = case.check(|dims, options| cell.f64(dims, options));
        differences.into_iter().zip(case.check_dual(&**cell)).collect::<Vec<_>>()
    });

    let mut rows = Vec::new();
    for ((variant, case), findings) in jobs.iter().zip(findings) {
        for (differences, dual) in findings {
            record(&mut rows, &variant.name, **case, differences, dual);
        }
    }
    let shapes = cases.iter().map(Case::shape).collect::<BTreeSet<_>>().len();
    eprintln!(
        "{} cells at {shapes} shapes and {} windows, {:.0} s",
        variants.len(),
        cases.len(),
        start.elapsed().as_secs_f64()
    );
    rows
}

/// `work` on each of `jobs`, on as many threads as there are cores. The results are in their order.
fn in_parallel<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let worker = || {
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(job) = jobs.get(index)
        {
            let result = work(job);
            done.lock().expect("no worker panicked").push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    let mut done = done.into_inner().expect("no worker panicked");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The model of a config with the vocabulary of its text, at as many entries as the budget allows.
fn check_config(path: &Path) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let document = open_config(path, &[]).map_err(readable)?;
    let prepared = Experiment::prepare(&document, &Parts::builtin()).map_err(readable)?;
    let config = prepared.config();
    let seq_len = config.train.seq_len.as_usize().min(MOST_STEPS);
    let vocab_size = prepared.tokenizer().vocab_size();
    let case = Case {
        architecture: config.model.architecture(vocab_size, Mode::Train),
        options: config.model.layer_options(Mode::Train),
        layers: config.model.layers.as_usize(),
        hidden_size: config.model.hidden_size.as_usize(),
        batch_size: config.train.batch_size.as_usize().min(MOST_LANES),
        seq_len,
        steps: seq_len,
        carried: true,
        // A state that no text starts from would have no gradient.
        resets: if config.model.learned_state { Resets::Both } else { Resets::Never },
        reduction: config.train.loss,
    };
    let mut model = case.model(|dims, options| config.cell.f64(dims, options));
    let entries = Entries::Some { most: affordable(&model), seed: SEED };
    let point = case.point(&mut model);
    let gradient = Gradient::of(&mut model, &point);
    let differences = compare(&mut model, &point, &gradient, entries);
    let mut model = case.model(|dims, options| config.cell.dual(dims, options));
    let dual = compare_dual(&mut model, &point, &gradient, entries);
    let mut rows = Vec::new();
    for (differences, dual) in differences.into_iter().zip(dual) {
        record(&mut rows, config.cell.name, case, differences, dual);
    }
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
    // Six losses make a derivative, seldom more, and dual numbers cost as much as two.
    (BUDGET / (8 * tensors * multiplications)).max(4)
}

/// One tensor of a cell, over all its layers and all cases.
struct Row {
    cell: String,
    compared: usize,
    entries: usize,
    largest: f64,
    differences: Worst,
    dual: Worst,
}

/// What disagrees most, and where.
struct Worst {
    finding: Finding,
    at: Case,
}

impl Worst {
    fn error(&self) -> f64 {
        self.finding.worst.error
    }

    fn update(&mut self, finding: Finding, at: Case) {
        if self.error() < finding.worst.error {
            *self = Self { finding, at };
        }
    }
}

/// `differences` and `dual` are of one tensor.
fn record(rows: &mut Vec<Row>, cell: &str, at: Case, differences: Finding, dual: Finding) {
    let (compared, entries) = (differences.compared, differences.shape.len());
    let largest = differences.largest;
    let same =
        |row: &&mut Row| row.cell == cell && row.differences.finding.tensor == differences.tensor;
    match rows.iter_mut().find(same) {
        None => rows.push(Row {
            cell: cell.to_owned(),
            compared,
            entries,
            largest,
            differences: Worst { finding: differences, at },
            dual: Worst { finding: dual, at },
        }),
        Some(row) => {
            row.compared += compared;
            row.entries += entries;
            row.largest = row.largest.max(largest);
            row.differences.update(differences, at);
            row.dual.update(dual, at);
        }
    }
}

impl Row {
    /// Where every gradient was zero, one that was forgotten would have looked the same.
    fn passes(&self) -> bool {
        self.wrong().is_none() && self.largest != 0.0
    }

    fn wrong(&self) -> Option<&Worst> {
        [&self.differences, &self.dual].into_iter().find(|worst| !worst.finding.passes())
    }

    fn render(&self) -> [String; 9] {
        let Self { cell, compared, entries, largest, differences: Worst { finding, at }, dual } =
            self;
        let error = |error: f64| format!("{error:.1e}");
        [
            cell.clone(),
            finding.tensor.clone(),
            if compared == entries {
                format!("all {entries}")
            } else {
                format!("{compared} of {entries}")
            },
            format!("{largest:.3}"),
            error(finding.worst.error),
            finding.place(),
            at.to_string(),
            error(dual.error()),
            match self.wrong() {
                None if *largest == 0.0 => "WRONG: zero everywhere".into(),
                None => "ok".into(),
                Some(Worst { finding, at }) => format!("WRONG: {finding} at {at}"),
            },
        ]
    }
}
