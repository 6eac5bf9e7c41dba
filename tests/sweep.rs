//! `cli sweep`: its runs are those that `cli run` makes, whatever they are run beside and however often
//! they are stopped.

use std::fs;
use std::path::{Path, PathBuf};

use experiment::ranks::Alone;
use experiment::{Axis, Ended, Parts, Standing, Sweep, SweepEvent, combinations};
use integration_tests::ranks::threads;
use integration_tests::{cli, project};
use serde_json::Value;

const SHORT: [&str; 7] = [
    "train.steps=60",
    "train.batch_size=2",
    "data.split=[0.8, 0.2, 0.0]",
    "eval.every=10",
    "checkpoint.every=15",
    "checkpoint.keep=9",
    "model.hidden_size=8",
];
const RATES: &str = "optimizer.learning_rate=0.1,0.03,0.01,1e-4";

fn config() -> String {
    project("configs/karpathy.toml").display().to_string()
}

fn sets() -> Vec<&'static str> {
    SHORT.iter().flat_map(|set| ["--set", *set]).collect()
}

/// What config, seed and text determine of a run, by name.
fn files(run: &Path) -> Vec<(String, Vec<u8>)> {
    let newest = "checkpoints/step-00000060.safetensors";
    let read = |name: &str| {
        let path = run.join(name);
        (name.to_owned(), fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")))
    };
    ["metrics.jsonl", "samples.txt", newest].map(read).to_vec()
}

/// The sweep over `RATES` in a directory, two runs at a time.
fn sweep(root: PathBuf, halving: bool) -> Sweep {
    Sweep {
        config: config().into(),
        overrides: SHORT.map(str::to_owned).to_vec(),
        combinations: combinations(&[Axis::parse(RATES).expect("an axis")]),
        root,
        jobs: 2,
        threads: 1,
        halving,
    }
}

fn to_end(sweep: &Sweep) -> Vec<Standing> {
    let standings = sweep.run(&Parts::builtin(), &Alone, &|| false, &mut |_| {});
    standings.expect("it runs").expect("nothing stops it")
}

#[test]
fn a_run_of_a_sweep_is_the_run_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (out, alone) = (directory.path().join("sweep"), directory.path().join("alone"));
    let (out_arg, alone_arg) = (out.display().to_string(), alone.display().to_string());
    let config = config();
    let grid = ["--grid", "optimizer.learning_rate=0.1,0.01", "--grid", "train.seed=1,2"];
    let args = [&["sweep", &config, "--out", &out_arg, "--json", "--jobs", "2"], &grid[..]];
    let output = cli(&[args.concat(), sets()].concat());
    assert_eq!(output.code, 0, "{}", output.err);

    let result: Value = serde_json::from_str(&output.out).expect("JSON");
    let runs = result["runs"].as_array().expect("runs");
    let losses: Vec<_> =
        runs.iter().map(|run| run["best_nats_per_char"].as_f64().expect("a loss")).collect();
    assert_eq!(losses.len(), 4);
    assert!(losses.is_sorted(), "the best run stands first: {losses:?}");
    let page = fs::read_to_string(out.join("report.html")).expect("a report");
    assert!(page.contains("2 learning_rate=0.1 seed=2"));

    let run = runs.iter().find(|run| run["set"][0] == "optimizer.learning_rate=0.01").expect("run");
    let keys = run["set"].as_array().expect("keys").iter().map(|key| key.as_str().expect("a key"));
    let keys: Vec<_> = keys.flat_map(|key| ["--set", key]).collect();
    let output = cli(&[vec!["run", &config, "--out", &alone_arg], sets(), keys].concat());
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(files(Path::new(run["run"].as_str().expect("a path"))), files(&alone));
}

#[test]
fn halving_ends_the_worse_runs_early_and_changes_nothing_of_the_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let whole = sweep(directory.path().join("whole"), false);
    let halved = sweep(directory.path().join("halved"), true);
    let (all, some) = (to_end(&whole), to_end(&halved));
    assert_eq!(all.iter().map(|run| run.step).collect::<Vec<_>>(), [60; 4]);
    assert_eq!(some.iter().map(|run| run.step).collect::<Vec<_>>(), [60, 60, 30, 30]);
    let best_half = |runs: &[Standing]| runs[..2].iter().map(|run| run.index).collect::<Vec<_>>();
    for index in best_half(&some) {
        assert_eq!(files(&halved.run_path(index)), files(&whole.run_path(index)));
    }
    // By the losses of all at the step where two were given up.
    let at_30 = |run: &Standing| {
        let metrics = fs::read_to_string(whole.run_path(run.index).join("metrics.jsonl"));
        let metrics = metrics.expect("there");
        let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let evals = lines.filter(|line| line["split"] == "val");
        let until = evals.filter(|line| line["step"].as_u64().expect("a step") <= 30);
        until.map(|line| line["nats_per_char"].as_f64().expect("a loss")).fold(9.0, f64::min)
    };
    let mut by_loss: Vec<_> = all.iter().map(|run| (at_30(run), run.index)).collect();
    by_loss.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    let mut expected = [by_loss[0].1, by_loss[1].1];
    let mut found = best_half(&some);
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_sweep_that_is_stopped_again_and_again_ends_as_one_that_was_not() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (undisturbed, stopped) =
        (sweep(directory.path().join("a"), true), sweep(directory.path().join("b"), true));
    let expected = to_end(&undisturbed);
    let parts = Parts::builtin();
    let mut stops = 0;
    let found = loop {
        let evaluations = AtomicUsize::new(0);
        let mut hear = |event| {
            if matches!(event, SweepEvent::Eval { .. }) {
                evaluations.fetch_add(1, Ordering::Relaxed);
            }
        };
        let stop = || 3 <= evaluations.load(Ordering::Relaxed);
        if let Some(standings) = stopped.run(&parts, &Alone, &stop, &mut hear).expect("it goes on")
        {
            break standings;
        }
        stops += 1;
        assert!(stops < 50, "it does not come forward");
    };
    assert!(1 < stops, "it was to be stopped, and was {stops} times");
    assert_eq!(found, expected);
    for Standing { index, .. } in &found[..2] {
        assert_eq!(files(&stopped.run_path(*index)), files(&undisturbed.run_path(*index)));
    }
}

#[test]
fn ranks_deal_the_runs_among_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alone, among) =
        (sweep(directory.path().join("a"), true), sweep(directory.path().join("b"), true));
    let expected = to_end(&alone);
    let one = |ranks| {
        let mut reached = 0;
        let mut hear = |event| reached += u64::from(matches!(event, SweepEvent::Reached(_)));
        let standings = among.run(&Parts::builtin(), &ranks, &|| false, &mut hear);
        (standings.expect("it runs").expect("nothing stops it"), reached)
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = threads(3).into_iter().map(|it| scope.spawn(move || one(it))).collect();
        all.into_iter().map(|it| it.join().expect("no panic")).collect()
    });
    // Four runs to the half, of which two go on.
    assert_eq!(found.iter().map(|(_, reached)| *reached).collect::<Vec<_>>(), [3, 2, 1]);
    for (standings, _) in &found {
        assert_eq!(*standings, expected);
    }
    for Standing { index, .. } in &expected[..2] {
        assert_eq!(files(&among.run_path(*index)), files(&alone.run_path(*index)));
    }
}

#[test]
fn one_rank_that_is_stopped_stops_all() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sweep = sweep(directory.path().join("sweep"), false);
    let one = |ranks: integration_tests::ranks::Thread| {
        let is_first = experiment::ranks::Ranks::rank(&ranks) == 0;
        sweep.run(&Parts::builtin(), &ranks, &|| !is_first, &mut |_| {}).expect("it runs")
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = threads(2).into_iter().map(|it| scope.spawn(move || one(it))).collect();
        all.into_iter().for_each(|it| assert_eq!(it.join().expect("no panic"), None));
    });
}

#[test]
fn the_tasks_of_a_job_array_together_make_the_sweep() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (out, config) = (directory.path().join("sweep"), config());
    let out_arg = out.display().to_string();
    let base = [&["sweep", &config, "--out", &out_arg, "--grid", RATES], &sets()[..]].concat();
    let with = |args: &[&'static str]| cli(&[&base[..], args].concat());
    for (task, runs) in [("0", 2), ("2", 1), ("1", 1)] {
        let output = with(&["--task-index", task, "--task-count", "3"]);
        assert_eq!((output.code, output.out.lines().count()), (0, 1 + runs), "{}", output.err);
    }
    assert!(!out.join("report.html").exists(), "of a part of the runs");
    let output = with(&["--resume"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(!output.err.contains("validation"), "all had ended: {}", output.err);
    assert_eq!(output.out, with(&["--resume"]).out);
    assert_eq!(output.out.lines().count(), 5);
    assert!(out.join("report.html").exists());
    let output = with(&["--task-index", "3", "--task-count", "3"]);
    assert_eq!(output.code, 2);
    assert!(output.err.contains("task 3 of 3 has nothing to do among 4 runs"), "{}", output.err);
    assert_eq!(with(&["--task-index", "3"]).code, 2);
    assert_eq!(with(&["--task-index", "0", "--task-count", "3", "--halving"]).code, 2);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_taken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sweep = sweep(directory.path().join("sweep"), false);
    let expected = to_end(&sweep);
    let run = sweep.run_path(2);
    let whole = files(&run);
    let newest = run.join("checkpoints/step-00000060.safetensors");
    let bytes = fs::read(&newest).expect("there");
    fs::write(&newest, &bytes[..bytes.len() - 1]).expect("writable");
    let mut damaged = Vec::new();
    let mut hear = |event| {
        if let SweepEvent::Damaged { index, what } = event {
            damaged.push((index, what));
        }
    };
    let found = sweep.run(&Parts::builtin(), &Alone, &|| false, &mut hear).expect("it goes on");
    assert_eq!(found, Some(expected));
    assert_eq!(files(&run), whole);
    assert!(matches!(&damaged[..], [(2, what)] if what.contains("step-00000060")), "{damaged:?}");
}

#[test]
fn a_run_that_diverges_is_last_and_the_others_go_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut sweep = sweep(directory.path().join("sweep"), false);
    sweep.combinations = combinations(&[
        Axis::parse("optimizer.kind=sgd").expect("an axis"),
        Axis::parse("optimizer.learning_rate=1e30,0.01").expect("an axis"),
    ]);
    sweep.overrides.push("model.cell={ kind = \"vanilla\", activation = \"relu\" }".into());
    sweep.overrides.push("transform=[]".into());
    let standings = to_end(&sweep);
    assert_eq!(standings[0].index, 1);
    assert_eq!(standings[0].ended, None);
    assert!(matches!(standings[1].ended, Some(Ended::Diverged(_))), "{:?}", standings[1].ended);
}

#[test]
fn what_cannot_be_swept_is_said_before_anything_is_run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("sweep").display().to_string();
    let config = config();
    #[track_caller]
    fn check(args: &[&str], code: u8, first_line: &str, help: &str) {
        let output = cli(args);
        assert_eq!(output.code, code, "{}", output.err);
        let line = output.err.lines().next().unwrap_or_default();
        assert!(line.contains(first_line), "{line}");
        assert!(output.err.contains(help), "{}", output.err);
    }
    let with = |args: &[&'static str]| {
        let base = vec!["sweep", &config, "--out", &out];
        [base, args.to_vec(), sets()].concat()
    };
    check(&with(&[]), 2, "--grid", "help:");
    check(&with(&["--grid", "train.seed"]), 2, "must be KEY=VALUE,VALUE", "help:");
    check(&with(&["--grid", "train.seed=1,"]), 2, "value 2 of train.seed is empty", "help:");
    check(&with(&["--grid", "train.sed=1,2"]), 2, "train.sed", "seed");
    check(&with(&["--grid", "train.seed=1,-2"]), 2, "must be at least 0, found -2", "help:");
    for never in [["eval.every=0", "train.steps=9"], ["eval.every=10", "train.steps=9"]] {
        let sets = never.map(|set| ["--set", set]).concat();
        check(
            &[with(&["--grid", "train.seed=1,2"]), sets].concat(),
            2,
            "a sweep compares validation losses, and this config has none",
            "eval.every=500",
        );
    }
    assert!(!Path::new(&out).exists(), "nothing was begun");
    fs::create_dir(&out).expect("writable");
    fs::write(Path::new(&out).join("mine"), "mine").expect("writable");
    check(&with(&["--grid", "train.seed=1,2"]), 2, "sweep", "--resume");
}

#[test]
fn a_sweep_goes_on_with_its_own_grid_or_a_longer_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("a sweep").display().to_string();
    let config = config();
    let sweep = |grid: &str| {
        let base = ["sweep", &config, "--out", &out, "--resume", "--grid", grid].map(str::to_owned);
        let args = [&base[..], &sets().into_iter().map(str::to_owned).collect::<Vec<_>>()].concat();
        cli(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for grid in ["train.seed=1", "train.seed=1", "train.seed=1,2"] {
        let output = sweep(grid);
        assert_eq!(output.code, 0, "{}", output.err);
    }
    let page = || fs::read_to_string(Path::new(&out).join("report.html")).expect("a report");
    let before = page();
    for grid in ["train.seed=1", "train.seed=1,3", "model.hidden_size=4,8"] {
        let output = sweep(grid);
        assert_eq!(output.code, 2, "{}", output.err);
        assert!(output.err.contains("a run of another grid"), "{}", output.err);
    }
    assert_eq!(page(), before);
    let output = cli(&["resume", &out]);
    assert!(output.code == 5 && output.err.contains("that of a sweep"), "{}", output.err);
}
