//! Steps of training, writing text, and the start of the program: `cargo bench -p benches`, or
//! `cargo bench -p benches -- W2` for one workload.
//!
//! [`benches::workloads`] says what they are and how their floating-point operations are counted.
//! `growth` takes minutes, and is left out unless named.

use std::cell::LazyCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::{Program, Workload, growth, workloads};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use experiment::Trainer;

/// Characters of a sample.
const SAMPLE_LEN: u64 = 500;

fn train(criterion: &mut Criterion) {
    train_all(&mut group(criterion, "train"), &workloads());
}

fn grow(criterion: &mut Criterion) {
    if std::env::args().any(|arg| arg.starts_with("growth")) {
        train_all(&mut group(criterion, "growth"), &growth());
    }
}

fn train_all(group: &mut BenchmarkGroup<'_, WallTime>, workloads: &[Workload]) {
    for workload in workloads {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Lazy, because a filter leaves most of them out.
        let experiment = LazyCell::new(|| workload.prepare(directory.path()));
        let mut trainer = LazyCell::new(|| Trainer::<f32>::new(&experiment));
        bench(group, &workload.title(), workload.chars(), workload.step_flops(), || {
            trainer.step().expect("finite");
        });
    }
}

fn write(criterion: &mut Criterion) {
    let mut group = group(criterion, "write");
    for workload in &workloads()[..2] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let experiment = LazyCell::new(|| workload.prepare(directory.path()));
        let mut trainer = LazyCell::new(|| {
            let mut trainer = Trainer::<f32>::new(&experiment);
            trainer.step().expect("finite");
            trainer
        });
        let Workload { cell, layers, hidden_size, .. } = workload;
        let title = format!("W5 {cell} {layers}x{hidden_size}");
        bench(&mut group, &title, SAMPLE_LEN, SAMPLE_LEN * workload.char_flops(), || {
            black_box(trainer.sample(SAMPLE_LEN as usize));
        });
    }
}

/// From the start of the process to the end of its first step.
fn start(criterion: &mut Criterion) {
    let workload = &workloads()[0];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = workload.write_into(directory.path()).expect("a directory to write into");
    let program = LazyCell::new(|| Program::build(["--release"], []).expect("it builds"));
    let mut peak_memory = None;
    group(criterion, "start").bench_function("W6", |bencher| {
        bencher.iter_custom(|n| {
            let mut total = Duration::ZERO;
            for _ in 0..n {
                let start_up = program.start_up(&config).expect("it trains");
                total += start_up.first_step;
                peak_memory = peak_memory.max(start_up.peak_memory);
            }
            total
        });
    });
    if let Some(bytes) = peak_memory {
        println!("start/W6: {:.1} MiB at most\n", bytes as f64 / 1024.0 / 1024.0);
    }
}

/// A group of things that may take long.
fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group
}

/// Times `once` in characters a second, and prints the other throughput, for which Criterion has no
/// room.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    title: &str,
    chars: u64,
    flops: u64,
    mut once: impl FnMut(),
) {
    let mut best_secs = f64::INFINITY;
    group.throughput(Throughput::Elements(chars));
    group.bench_function(title, |bencher| {
        bencher.iter_custom(|n| {
            let start = Instant::now();
            for _ in 0..n {
                once();
            }
            let elapsed = start.elapsed();
            best_secs = best_secs.min(elapsed.as_secs_f64() / n as f64);
            elapsed
        });
    });
    if best_secs.is_finite() {
        let (chars, flops) = (chars as f64 / best_secs, flops as f64 / best_secs);
        println!("{title}: {chars:.0} chars/s and {:.2} GFLOP/s at best\n", flops / 1e9);
    }
}

criterion_group!(all, train, write, start, grow);
criterion_main!(all);
