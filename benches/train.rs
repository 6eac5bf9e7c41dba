//! A step of training and a sample, in characters a second, as `configs/karpathy.toml` has them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use experiment::Trainer;

fn step(c: &mut Criterion) {
    let experiment = benches::prepare(&[]);
    let mut trainer = Trainer::<f32>::new(&experiment);
    let mut group = c.benchmark_group("vanilla 100, 25 steps, batch 1, V=58, Adagrad");
    group.throughput(Throughput::Elements(25));
    group.bench_function("train", |b| b.iter(|| trainer.step().expect("finite")));
    group.throughput(Throughput::Elements(200));
    group.bench_function("sample", |b| b.iter(|| black_box(trainer.sample(200))));
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
