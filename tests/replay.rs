//! What fuzzing found once: every input it kept, given again to what it was found with.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use integration_tests::project;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let inputs = project("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&inputs).expect("the corpus");
    let mut n = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("readable"));
        n += 1;
    }
    assert!(10 <= n, "{target} has {n} inputs");
}

#[test]
fn configs() {
    replay("config", fuzz::config);
}

#[test]
fn overrides() {
    replay("set", fuzz::set);
}

#[test]
fn texts() {
    replay("corpus", fuzz::corpus);
}

#[test]
fn checkpoints() {
    replay("checkpoint", fuzz::checkpoint);
}
