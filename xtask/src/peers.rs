//! `cargo xtask peers`: this program and others on the same work, one after the other.
//!
//! The others are timed by scripts of their own, which are no part of this project. Ours is timed
//! before each of them and once more at the end, so that a machine that slows down slows down all.
//! Both sides quote the median of about fifteen chunks: the best one may have made up for one that was
//! held up.

mod ours;
mod scripts;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use benches::{Workload, workloads};

use crate::table;
use ours::Ours;
use scripts::Scripts;

/// Arguments of `cargo xtask peers`.
#[derive(clap::Args)]
pub struct Args {
    /// Directory of a Python environment with numpy, torch and jax
    #[arg(long, value_name = "VENV")]
    python: Option<PathBuf>,
    /// Directory of the peers' scripts
    #[arg(long, value_name = "DIR")]
    scripts: Option<PathBuf>,
    /// A text of 1.1 MB or more, with 65 different characters, that the peers train on
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Threads of each program
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Measured time of each figure
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    seconds: f64,
    /// Only workloads whose name begins with this, such as W2
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    only: String,
}

/// A line of the table.
type Row = [String; 5];

/// What was measured of one program: the median time of a step, say.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    name: String,
    median: f64,
    /// Whether others used the machine meanwhile.
    noisy: bool,
}

impl Figure {
    fn of(name: &str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { name: name.to_owned(), median: values[values.len() / 2], noisy: false }
    }
}

/// Measures, and prints a line for each workload.
///
/// # Errors
/// If the peers are not there, or nothing can be measured.
pub fn run(args: Args) -> crate::Result {
    let scripts = Scripts::find(&args)?;
    let ours = Ours::build(args.threads, args.seconds)?;
    let limit = scripts.limit();
    let mut rows = vec![];
    let workloads = workloads();
    let is_wanted = |name: &str| name.starts_with(&args.only);
    for workload in workloads.iter().filter(|workload| is_wanted(&workload.name)) {
        rows.push(train(&ours, &scripts, workload, limit)?);
    }
    // As `w5_sample.py` calls them.
    let written = [("W5 rnn-100", &workloads[0]), ("W5 lstm-2x128", &workloads[1])];
    for (name, workload) in written.into_iter().filter(|(name, _)| is_wanted(name)) {
        rows.push(write(&ours, &scripts, name, workload)?);
    }
    if is_wanted("W6") {
        rows.extend(start(&ours, &scripts, &workloads[0])?);
    }

    let heading = ["workload", "ours", "best peer", "peer / ours", "ours of the limit"];
    write!(io::stdout(), "{}", table::markdown(heading, &rows))?;
    for note in scripts.notes().iter().chain(ours.note()) {
        writeln!(io::stdout(), "\n{note}")?;
    }
    Ok(())
}

/// Steps of training. `limit` is the rate at which the machine multiplies large matrices.
fn train(
    ours: &Ours,
    scripts: &Scripts,
    workload: &Workload,
    limit: Option<f64>,
) -> io::Result<Row> {
    let calls: &[&[&str]] = match workload.name.as_str() {
        "W1" => &[
            &["w1_numpy.py"],
            &["w1_torch.py"],
            &["w1_torch.py", "--compile", "1"],
            &["w1_jax.py"],
        ],
        _ => &[&["w234_torch.py"], &["w234_jax.py"]],
    };
    let (mut chunks, mut peers) = (vec![], vec![]);
    for call in calls {
        chunks.extend(ours.train(workload)?);
        peers.extend(scripts.time(call, &workload.name));
    }
    chunks.extend(ours.train(workload)?);
    let at_limit = limit.map(|flops| workload.step_flops() as f64 / flops * 1e6);
    Ok(row(&workload.title(), "µs", &Figure::of("", chunks), &peers, at_limit))
}

/// Characters that are written.
fn write(
    ours: &Ours,
    scripts: &Scripts,
    name: &str,
    workload: &Workload,
) -> Result<Row, Box<dyn Error>> {
    let mut chunks = ours.write(workload)?;
    let peers = scripts.time(&["w5_sample.py"], name);
    chunks.extend(ours.write(workload)?);
    Ok(row(&format!("{name}, a character"), "µs", &Figure::of("", chunks), &peers, None))
}

/// The start of the program, and its memory where that is known.
fn start(ours: &Ours, scripts: &Scripts, workload: &Workload) -> io::Result<Vec<Row>> {
    let (mut times, mut memory) = ours.start(workload)?;
    let (peer_times, peer_memory) = scripts.start();
    let again = ours.start(workload)?;
    times.extend(again.0);
    memory.extend(again.1);
    let mut rows =
        vec![row("W6 start to first step", "ms", &Figure::of("", times), &peer_times, None)];
    if !memory.is_empty() {
        let memory = Figure::of("", memory);
        rows.push(row("W6 peak memory", "MiB", &memory, &peer_memory, None));
    }
    Ok(rows)
}

/// Compares ours with the best. `at_limit` is the time that the products alone would take.
fn row(title: &str, unit: &str, ours: &Figure, peers: &[Figure], at_limit: Option<f64>) -> Row {
    let none = || "-".to_owned();
    let best = peers.iter().min_by(|a, b| a.median.total_cmp(&b.median));
    let noisy = |peer: &Figure| if peer.noisy { "\\*" } else { "" };
    let amount = |value: f64| format!("{value:.*} {unit}", usize::from(value < 100.0));
    let peer = |peer: &Figure| format!("{}{}, {}", amount(peer.median), noisy(peer), peer.name);
    [
        title.to_owned(),
        amount(ours.median),
        best.map_or_else(none, peer),
        best.map_or_else(none, |peer| format!("{:.2}", peer.median / ours.median)),
        at_limit.map_or_else(none, |limit| format!("{:.0} %", 100.0 * limit / ours.median)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_compares_with_the_best_peer() {
        let figure = |name: &str, median, noisy| Figure { name: name.into(), median, noisy };
        let peers = [figure("slow", 30.0, false), figure("quick", 15.0, true)];
        let line = row("W1", "µs", &figure("", 10.0, false), &peers, Some(4.0));
        assert_eq!(line, ["W1", "10.0 µs", "15.0 µs\\*, quick", "1.50", "40 %"]);
        let alone = row("W1", "µs", &figure("", 10.0, false), &[], None);
        assert_eq!(alone, ["W1", "10.0 µs", "-", "-", "-"]);
    }
}
