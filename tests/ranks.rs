//! Processes that share a step give the bits of one that makes it alone.
//!
//! The ranks are threads here; over MPI, `cargo xtask ranks` does the same with processes.

use std::path::Path;
use std::thread;

use experiment::ranks::{Alone, Ranks};
use experiment::{Checkpoint, Observer, Permitted, RunDir, train_from};
use integration_tests::ranks::{Thread, threads};
use integration_tests::{StopAfter, different, files, prepare};

const CONFIG: &str = "configs/karpathy.toml";

const SHORT: [&str; 14] = [
    "train.batch_size=12",
    "train.shards=6",
    "train.steps=30",
    "model.hidden_size=12",
    "model.layers=2",
    "model.dropout=0.3",
    "model.drop_connect=0.2",
    "optimizer.ema=0.9",
    "data.split=[0.8, 0.2, 0.0]",
    "eval.every=10",
    "eval.parts=5",
    "sample.every=10",
    "checkpoint.every=10",
    "checkpoint.keep=1",
];

/// Trains in the directory `out`, or goes on there, among `count` ranks, and stops after a step if told.
fn run(out: &Path, count: usize, overrides: &[&str], stop: Option<u64>) {
    let one = |ranks: &dyn Ranks| {
        let experiment = prepare(CONFIG, overrides);
        let resume = || RunDir::resume(out, &experiment, &Permitted::default()).expect("a run");
        let resumed = (ranks.rank() == 0).then(resume);
        let (run, checkpoint) = resumed.map(|it| (it.run, it.checkpoint)).unzip();
        let checkpoint = Checkpoint::of_first(checkpoint.flatten(), ranks).expect("readable");
        let (mut run, mut stop) = (run, stop.filter(|_| ranks.rank() == 0).map(StopAfter));
        let run = run.iter_mut().map(|run| run as &mut dyn Observer);
        let stop = stop.iter_mut().map(|stop| stop as &mut dyn Observer);
        let mut observers: Vec<_> = run.chain(stop).collect();
        train_from(&experiment, checkpoint.as_ref(), ranks, &mut observers).expect("trains");
    };
    match count {
        1 => one(&Alone),
        _ => thread::scope(|scope| {
            for ranks in threads(count) {
                scope.spawn(move || one(&ranks));
            }
        }),
    }
}

#[test]
fn the_number_of_ranks_changes_no_byte() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for cell in ["vanilla", "lstm", "gru"] {
        for dtype in ["f32", "f64"] {
            let (cell_key, dtype_key) =
                (format!("model.cell={cell}"), format!("model.dtype={dtype}"));
            let overrides = [&SHORT[..], &[&cell_key, &dtype_key]].concat();
            let of = |count: usize| {
                let out = directory.path().join(format!("{cell}-{dtype}-{count}"));
                run(&out, count, &overrides, None);
                files(&out)
            };
            let alone = of(1);
            for count in [2, 3, 4, 6] {
                assert_eq!(different(&of(count), &alone), [""; 0], "{cell} {dtype} on {count}");
            }
        }
    }
}

#[test]
fn a_checkpoint_goes_on_among_another_number_of_ranks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let of = |name: &str, parts: &[(usize, Option<u64>)]| {
        let out = directory.path().join(name);
        parts.iter().for_each(|(count, stop)| run(&out, *count, &SHORT, *stop));
        files(&out)
    };
    let alone = of("alone", &[(1, None)]);
    let in_parts = of("parts", &[(3, Some(7)), (1, Some(13)), (4, Some(21)), (2, None)]);
    assert_eq!(different(&in_parts, &alone), [""; 0]);
}

#[test]
fn ranks_with_different_configs_do_not_begin() {
    let of = |ranks: Thread| {
        let steps = format!("train.steps={}", 10 + ranks.rank() / 2);
        let overrides = [&SHORT[..], &[&steps]].concat();
        let experiment = prepare(CONFIG, &overrides);
        train_from(&experiment, None, &ranks, &mut []).expect_err("they differ").to_string()
    };
    thread::scope(|scope| {
        let all: Vec<_> =
            threads(3).into_iter().map(|ranks| scope.spawn(move || of(ranks))).collect();
        for one in all {
            let message = one.join().expect("no panic");
            assert_eq!(message, "has another config than rank 0");
        }
    });
}

#[test]
fn a_shard_for_each_rank_is_needed() {
    let experiment = prepare(CONFIG, &["train.batch_size=4", "train.shards=2"]);
    let mut all = threads(3);
    let error = train_from(&experiment, None, &all.remove(1), &mut []).expect_err("too many");
    assert!(error.to_string().contains("3 ranks for train.shards = 2"), "{error}");
    assert_eq!(error.exit_code(), 2);
}
