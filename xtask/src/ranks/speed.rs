//! How much faster two ranks are than one, on a core each.

use std::fs;
use std::io::{self, Write};
use std::process::Stdio;

use benches::{Program, Workload, workloads};
use serde_json::Value;

use super::job::Job;
use crate::table;

/// Seconds of a measurement, about.
const SECONDS: f64 = 6.0;
/// Floating-point operations a second of a core, to guess how many steps that makes.
const GUESSED_FLOPS: f64 = 6e10;
/// Measurements of each, in turn.
const ROUNDS: usize = 5;

/// Prints milliseconds a step of W2 and W3: of one process, of one rank with two shards, and of two ranks.
///
/// # Errors
/// If a run fails.
pub fn run(program: &Program) -> crate::Result {
    let mut rows = Vec::new();
    for workload in workloads().iter().filter(|workload| ["W2", "W3"].contains(&&*workload.name)) {
        let mut least = [f64::INFINITY; 3];
        for _ in 0..ROUNDS {
            for (least, (ranks, shards)) in least.iter_mut().zip([(1, 1), (1, 2), (2, 2)]) {
                *least = least.min(step_millis(program, workload, ranks, shards)?);
            }
        }
        let [whole, shards, two] = least;
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        rows.push([
            workload.title(),
            format!("{whole:.1}"),
            format!("{shards:.1}"),
            format!("{two:.1}"),
            percent(whole / two / 2.0),
            percent(shards / two / 2.0),
        ]);
    }
    let heading = [
        "milliseconds a step",
        "one process",
        "two shards",
        "two ranks",
        "efficiency",
        "against two shards",
    ];
    write!(io::stdout(), "{}", table::render(heading, &rows))?;
    Ok(())
}

fn step_millis(
    program: &Program,
    workload: &Workload,
    ranks: usize,
    shards: usize,
) -> Result<f64, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let config = workload.write_into(directory.path())?;
    let steps = (SECONDS * GUESSED_FLOPS / workload.step_flops() as f64).max(4.0) as u64;
    let run = directory.path().join("run");
    let mut job = Job::on(ranks).with(["--bind-to", "core"]);
    let status = job
        .command()
        .arg(program.path())
        .args([&"run".into(), &config, &"--out".into(), &run])
        .args(["--quiet", "--threads=1", "--set=checkpoint.every=0", "--set=eval.every=0"])
        .arg(format!("--set=train.shards={shards}"))
        .arg(format!("--set=train.steps={steps}"))
        .arg(format!("--set=log.every={}", (steps / 2).max(1)))
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("{}: {status}", workload.name).into());
    }
    // The first half has the start in it.
    let timing = fs::read_to_string(run.join("timing.jsonl"))?;
    let lines: Result<Vec<Value>, _> = timing.lines().map(serde_json::from_str).collect();
    let speed = lines?.last().and_then(|line| line["chars_per_sec"].as_f64());
    let speed = speed.ok_or("timing.jsonl has no chars_per_sec")?;
    Ok(1e3 * workload.chars() as f64 / speed)
}
