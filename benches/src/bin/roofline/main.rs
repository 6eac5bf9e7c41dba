//! How much of the machine's peak a step of training gets, phase by phase: `cargo xtask roofline`.

mod peak;

use std::time::{Duration, Instant};

use benches::{Workload, growth, workloads};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use experiment::Trainer;
use tensor_core::phase::{self, Phase};

/// Shares of the time in which a step is measured; the fastest counts, and the machine's peak is
/// taken before each, because a clock that slows down slows down both.
const ROUNDS: usize = 5;

/// Measures, and prints a table for each workload.
#[derive(Parser)]
struct Args {
    /// Threads that compute
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Measured time of each workload
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// Only workloads whose name begins with this, such as W2; `growth` is two layers of 64 to 2048
    #[arg(long, value_name = "NAME", default_value = "W")]
    only: String,
}

fn main() {
    let args = Args::parse();
    let is_growth = args.only == "growth";
    let all = if is_growth { growth() } else { workloads() };
    let wanted = |workload: &&Workload| is_growth || workload.name.starts_with(&args.only);
    let wanted: Vec<_> = all.iter().filter(wanted).collect();
    if wanted.is_empty() {
        let message = format!("no workload begins with `{}`: W1 to W4, or growth", args.only);
        Args::command().error(ErrorKind::InvalidValue, message).exit();
    }
    for workload in wanted {
        measure(workload, &args).print(workload, args.threads, is_growth);
    }
}

/// What was measured of a workload.
struct Measured {
    /// Operations a second of the machine.
    peak: f64,
    /// Of a step.
    phases: [Duration; Phase::ALL.len()],
}

fn measure(workload: &Workload, args: &Args) -> Measured {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut experiment = workload.prepare(directory.path());
    experiment.set_threads(args.threads);
    let mut trainer = Trainer::<f32>::new(&experiment);
    trainer.step().expect("finite");
    let mut measured = Measured { peak: 0.0, phases: [Duration::MAX; Phase::ALL.len()] };
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        measured.peak = measured.peak.max(peak::measure(args.threads));
        phase::take();
        let (start, mut steps) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < args.seconds / ROUNDS as f64 {
            trainer.step().expect("finite");
            steps += 1;
        }
        let phases = phase::take().map(|spent| spent / steps);
        let total = phases.iter().sum();
        if total < best {
            (best, measured.phases) = (total, phases);
        }
    }
    measured
}

impl Measured {
    fn print(&self, workload: &Workload, threads: usize, total_only: bool) {
        let total: Duration = self.phases.iter().sum();
        let line = |name: &str, spent: Duration, flops: u64| {
            let (secs, flops) = (spent.as_secs_f64(), flops as f64);
            let rate = if flops == 0.0 {
                String::new()
            } else {
                let share = 100.0 * flops / secs / self.peak;
                format!("{:>9.2} {:>8.1} {share:>6.1} %", flops / 1e6, flops / secs / 1e9)
            };
            let share = 100.0 * secs / total.as_secs_f64();
            println!("{name:<20} {:>10.1} {share:>6.1} % {rate}", secs * 1e6);
        };
        println!(
            "{}, {threads} thread(s), peak {:.1} GFLOP/s in multiply-adds of f32",
            workload.title(),
            self.peak / 1e9
        );
        println!(
            "{:<20} {:>10} {:>8} {:>9} {:>8} {:>8}",
            "phase", "µs", "share", "MFLOP", "GFLOP/s", "of peak"
        );
        if !total_only {
            for (phase, spent) in Phase::ALL.into_iter().zip(self.phases) {
                line(phase.name(), spent, workload.phase_flops(phase));
            }
        }
        line("step: products", total, workload.step_flops());
        let all = workload.step_flops() + workload.other_flops();
        line("step: all operations", total, all);
        println!();
    }
}
