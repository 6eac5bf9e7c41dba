//! `cli metrics`: what a run has logged, as a table or as CSV.

use std::f64::consts::LN_2;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args as Arguments;
use data_io::Unit;
use experiment::{Error, Metric, Parts, Record, Timing};
use serde::Serialize;

use crate::failure::printable;
use crate::{Console, Failure};

/// Show what a run has logged, as a table or as CSV
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli metrics runs/karpathy
  cli metrics runs/karpathy --csv > metrics.csv
  cli metrics runs/karpathy --csv --out metrics.csv

A row is a step that was logged (split is train), an evaluation (val), or a return to an earlier step
after a value was no longer finite (rollback). The columns of the CSV are those of metrics.jsonl and,
by step, of timing.jsonl; what a row does not have is empty. Its numbers read back to the same bits. A
run that is still being written is shown as far as it has come.")]
pub struct MetricsArgs {
    /// The run directory
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Write CSV, every number in full
    #[arg(long)]
    pub csv: bool,
    /// Write into a file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A row of the CSV. Names and meanings of these columns stay; more may come behind them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Row<'a> {
    step: u64,
    split: &'static str,
    nats_per_char: Option<f64>,
    smooth_nats_per_char: Option<f64>,
    grad_norm: Option<f64>,
    learning_rate: Option<f64>,
    chars: Option<u64>,
    elapsed_secs: Option<f64>,
    chars_per_sec: Option<f64>,
    not_finite: Option<&'a str>,
    to_step: Option<u64>,
    rollbacks: Option<u64>,
}

pub fn run(args: &MetricsArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let record = Record::open(&args.run)?;
    let unit = record.unit(parts);
    let rows = rows(&record.metrics, &record.timing);
    let write = |out: &mut dyn Write| match args.csv {
        true => write_csv(&rows, out),
        false => write_table(&rows, unit, out),
    };
    let Some(path) = &args.out else { return write(console.out).map_err(Failure::Output) };
    let failed = |action| move |source| Error::Io { path: path.clone(), action, source };
    let file = File::create(path).map_err(failed("make"))?;
    let mut out = BufWriter::new(file);
    write(&mut out).and_then(|()| out.flush()).map_err(failed("write"))?;
    Ok(())
}

/// The metrics in their order, each step of training with its timing, if that is there.
fn rows<'a>(metrics: &'a [Metric], timing: &[Timing]) -> Vec<Row<'a>> {
    // A run that went back has some steps twice, in the same order in both.
    let mut rest = timing;
    let mut timing_of = |step: u64| {
        let at = rest.iter().position(|timing| timing.step == step)?;
        let found = rest[at];
        rest = &rest[at + 1..];
        Some(found)
    };
    let row = |metric: &'a Metric| match metric {
        Metric::Train {
            step,
            nats_per_char,
            smooth_nats_per_char,
            grad_norm,
            learning_rate,
            chars,
        } => {
            let timing = timing_of(*step);
            Row {
                step: *step,
                split: "train",
                nats_per_char: Some(*nats_per_char),
                smooth_nats_per_char: Some(*smooth_nats_per_char),
                grad_norm: Some(*grad_norm),
                learning_rate: Some(*learning_rate),
                chars: Some(*chars),
                elapsed_secs: timing.map(|timing| timing.elapsed_secs),
                chars_per_sec: timing.map(|timing| timing.chars_per_sec),
                ..Row::default()
            }
        }
        Metric::Val { step, nats_per_char, chars } => Row {
            step: *step,
            split: "val",
            nats_per_char: Some(*nats_per_char),
            chars: Some(*chars),
            ..Row::default()
        },
        Metric::Rollback { step, not_finite, to_step, rollbacks } => Row {
            step: *step,
            split: "rollback",
            not_finite: Some(not_finite),
            to_step: Some(*to_step),
            rollbacks: Some(*rollbacks),
            ..Row::default()
        },
    };
    metrics.iter().map(row).collect()
}

fn write_csv(rows: &[Row<'_>], out: &mut dyn Write) -> io::Result<()> {
    // What keeps `out` from taking it should be known as it was, so it is not the writer's to write to.
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    // Also where there are no rows.
    csv.write_record([
        "step",
        "split",
        "nats_per_char",
        "smooth_nats_per_char",
        "grad_norm",
        "learning_rate",
        "chars",
        "elapsed_secs",
        "chars_per_sec",
        "not_finite",
        "to_step",
        "rollbacks",
    ])?;
    rows.iter().try_for_each(|row| csv.serialize(row))?;
    out.write_all(&csv.into_inner().map_err(|error| error.into_error())?)
}

/// For a person: rounded, in columns.
fn write_table(rows: &[Row<'_>], unit: Unit, out: &mut dyn Write) -> io::Result<()> {
    let speed = format!("{}s/s", unit.short);
    let names = ["step", "split", "nats", "bits", "smoothed", "gradient", "rate", &speed];
    let mut table = vec![names.map(str::to_owned)];
    for row in rows {
        let rounded =
            |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
        let spread =
            |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2e}"));
        table.push([
            row.step.to_string(),
            row.split.to_owned(),
            rounded(row.nats_per_char),
            rounded(row.nats_per_char.map(|nats| nats / LN_2)),
            rounded(row.smooth_nats_per_char),
            spread(row.grad_norm),
            spread(row.learning_rate),
            row.chars_per_sec.map_or(String::new(), |value| format!("{value:.0}")),
        ]);
    }
    let widths: Vec<_> = (0..names.len())
        .map(|column| table.iter().map(|row| row[column].len()).max().unwrap_or_default())
        .collect();
    let notes = std::iter::once(String::new()).chain(rows.iter().map(note));
    for (row, note) in table.iter().zip(notes) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", format!("{line}{note}").trim_end())?;
    }
    Ok(())
}

/// What does not fit into the columns.
fn note(row: &Row<'_>) -> String {
    match (row.not_finite, row.to_step) {
        (Some(what), Some(to)) => format!("  {} is not finite: back to step {to}", printable(what)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(step: u64, nats_per_char: f64) -> Metric {
        Metric::Train {
            step,
            nats_per_char,
            smooth_nats_per_char: 0.1 + 0.2,
            grad_norm: 1e-300,
            learning_rate: 5e-324,
            chars: step * 10,
        }
    }

    fn timing(step: u64, elapsed_secs: f64) -> Timing {
        Timing { step, elapsed_secs, chars_per_sec: 1.0 / 3.0 }
    }

    #[test]
    fn numbers_read_back_to_the_same_bits_and_commas_do_no_harm() {
        let not_finite = "a, \"b\"\nc".to_owned();
        let metrics = [
            train(1, std::f64::consts::PI),
            Metric::Val { step: 1, nats_per_char: 2.0 / 3.0, chars: 7 },
            Metric::Rollback { step: 2, not_finite: not_finite.clone(), to_step: 0, rollbacks: 1 },
        ];
        let timing = [timing(1, 0.1)];
        let mut bytes = Vec::new();
        write_csv(&rows(&metrics, &timing), &mut bytes).expect("a buffer");
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let header = reader.headers().expect("a header").clone();
        let names = serde_json::to_value(Row::default()).expect("a struct");
        let mut names: Vec<_> = names.as_object().expect("a struct").keys().collect();
        let mut found: Vec<_> = header.iter().collect();
        assert_eq!(found[..3], ["step", "split", "nats_per_char"]);
        names.sort();
        found.sort();
        assert_eq!(found, names);
        let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
        let bits = |row: usize, name: &str| {
            let at = header.iter().position(|column| column == name).expect("a column");
            rows[row][at].parse::<f64>().expect("a number").to_bits()
        };
        assert_eq!(bits(0, "nats_per_char"), std::f64::consts::PI.to_bits());
        assert_eq!(bits(0, "smooth_nats_per_char"), (0.1_f64 + 0.2).to_bits());
        assert_eq!(bits(0, "grad_norm"), 1e-300_f64.to_bits());
        assert_eq!(bits(0, "learning_rate"), 1);
        assert_eq!(bits(0, "chars_per_sec"), (1.0_f64 / 3.0).to_bits());
        assert_eq!(bits(1, "nats_per_char"), (2.0_f64 / 3.0).to_bits());
        assert_eq!(&rows[1][1], "val");
        assert_eq!(&rows[2][9], &not_finite);
    }

    #[test]
    fn steps_that_were_taken_twice_have_each_its_own_time() {
        let metrics = [train(10, 1.0), train(20, 2.0), train(20, 3.0), train(30, 4.0)];
        let timing = [timing(10, 0.1), timing(20, 0.2), timing(20, 0.3)];
        let times: Vec<_> = rows(&metrics, &timing).iter().map(|row| row.elapsed_secs).collect();
        assert_eq!(times, [Some(0.1), Some(0.2), Some(0.3), None]);
    }
}
