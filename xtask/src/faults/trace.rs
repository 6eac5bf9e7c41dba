//! The system calls of a run, as `strace -f -y` writes them.

use std::collections::{BTreeMap, BTreeSet};

use super::run::works;

/// Those by which a run changes files, in the order in which they are tried.
pub const CALLS: [&str; 10] = [
    "openat",
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "ftruncate",
    "unlink",
    "mkdir",
    "flock",
    "close",
];

/// Why system calls cannot be tampered with here.
pub fn missing() -> Option<String> {
    let works = works("strace", &["-qq", "-e", "trace=none", "true"]);
    (!works).then(|| "needs `strace`, and the right to use it".into())
}

/// The calls on the files of a run, in their order.
pub struct Trace {
    calls: Vec<Call>,
    /// The files and directories that they are about, below that of the run.
    paths: BTreeSet<String>,
}

struct Call {
    thread: String,
    name: String,
    /// How many calls of this name on files of the run the thread had made, with this one.
    number: usize,
    /// Arguments and result.
    text: String,
}

impl Trace {
    /// Those of a log that are about files in `directory`, which is left out of their text.
    pub fn parse(log: &str, directory: &str) -> Self {
        let mut made = BTreeMap::<(String, String), usize>::new();
        let (mut calls, mut paths) = (Vec::new(), BTreeSet::new());
        for line in log.lines() {
            let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
            // The rest of a call that another thread's came into has no parenthesis behind its name.
            let Some((name, text)) = rest.trim_start().split_once('(') else { continue };
            if !CALLS.contains(&name) || !text.contains(directory) {
                continue;
            }
            let words = text.split(['"', '<', '>']);
            paths.extend(words.filter_map(|word| word.strip_prefix(directory)).map(str::to_owned));
            let (thread, name) = (thread.to_owned(), name.to_owned());
            let number = made.entry((thread.clone(), name.clone())).or_default();
            *number += 1;
            let text = text.replace(directory, "");
            calls.push(Call { number: *number, thread, name, text });
        }
        Self { calls, paths }
    }

    /// The paths below that of the run which `strace` has to know to count the same calls.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Which calls of this name are about files of the run, counted in their thread.
    pub fn numbers(&self, name: &str) -> BTreeSet<usize> {
        self.numbers_where(name, |_| true)
    }

    /// The same without the closing of directories: Rust's library ends a program if that fails, which
    /// on no file system it does.
    pub fn numbers_that_may_fail(&self, name: &str) -> BTreeSet<usize> {
        let is_directory =
            |text: &str| ["<>", "</checkpoints>"].iter().any(|end| text.contains(end));
        let closing = self.numbers_where("close", is_directory);
        let left_out = if name == "close" { closing } else { BTreeSet::new() };
        self.numbers(name).difference(&left_out).copied().collect()
    }

    fn numbers_where(&self, name: &str, is_it: impl Fn(&str) -> bool) -> BTreeSet<usize> {
        let calls = self.calls.iter().filter(|call| call.name == name && is_it(&call.text));
        calls.map(|call| call.number).collect()
    }

    /// For each rename whether the data were synced before it and the directory after it, and logs
    /// before the checkpoint that vouches for them; and that no file under its final name was ever
    /// emptied by opening it.
    pub fn order(&self) -> Vec<Result<(), String>> {
        let renames = self.calls.iter().enumerate().filter(|(_, call)| call.name == "rename");
        let mut results: Vec<_> = renames.map(|(at, call)| self.order_of(at, call)).collect();
        for call in self.calls.iter().filter(|call| call.text.contains("O_TRUNC")) {
            let is_temporary = call.text.contains(".tmp\"");
            results.push(if is_temporary { Ok(()) } else { Err(call.text.clone()) });
        }
        results
    }

    fn order_of(&self, at: usize, rename: &Call) -> Result<(), String> {
        let path = rename.text.split('"').nth(1).unwrap_or_default();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let of_thread = |calls: &'_ [Call]| -> Vec<String> {
            let calls = calls.iter().filter(|call| call.thread == rename.thread);
            calls.map(|call| format!("{} {}", call.name, call.text)).collect()
        };
        let (before, after) = (of_thread(&self.calls[..at]), of_thread(&self.calls[at + 1..]));
        // Only what came after the rename before this one counts.
        let start =
            before.iter().rposition(|call| call.starts_with("rename")).map_or(0, |at| at + 1);
        let before = &before[start..];
        let synced = |what: &str| before.iter().any(|call| call.contains(what));
        let last_write = before.iter().rposition(|call| call.starts_with("write"));
        let last_sync = before
            .iter()
            .rposition(|call| call.starts_with("fsync") && call.contains(&format!("<{path}>")));
        if last_sync.is_none() || last_sync < last_write {
            return Err(format!("{path} is renamed before it is synced"));
        }
        if path.contains("checkpoints")
            && !(synced("fdatasync") && synced("metrics.jsonl>") && synced("samples.txt>"))
        {
            return Err(format!("{path} vouches for logs that are not synced"));
        }
        let is_next = |call: &&String| !call.starts_with("openat");
        match after.iter().find(is_next) {
            Some(call) if call.starts_with("fsync") && call.contains(&format!("<{directory}>")) => {
                Ok(())
            }
            other => Err(format!("{path} is renamed, and then {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
7  openat(AT_FDCWD, \"/r/metrics.jsonl\", O_WRONLY) = 3</r/metrics.jsonl>
8  fdatasync(3</r/metrics.jsonl>) = 0
8  fdatasync(4</r/samples.txt>) = 0
8  openat(AT_FDCWD, \"/r/checkpoints/a.tmp\", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 5</r/checkpoints/a.tmp>
8  write(5</r/checkpoints/a.tmp>, \"x\", 1) = 1
7  write(9</elsewhere>, \"x\", 1) = 1
7  write(3</r/metrics.jsonl>, \"x\", 1 <unfinished ...>
8  fsync(5</r/checkpoints/a.tmp>) = 0
7  <... write resumed>) = 1
8  rename(\"/r/checkpoints/a.tmp\", \"/r/checkpoints/a\") = 0
8  openat(AT_FDCWD, \"/r/checkpoints\", O_RDONLY) = 6</r/checkpoints>
8  fsync(6</r/checkpoints>) = 0
";

    #[track_caller]
    fn check(log: &str, expected: Option<&str>) {
        let errors: Vec<_> =
            Trace::parse(log, "/r").order().into_iter().filter_map(Result::err).collect();
        match expected {
            None => assert!(errors.is_empty(), "{errors:?}"),
            Some(expected) => assert!(errors.iter().any(|e| e.contains(expected)), "{errors:?}"),
        }
    }

    #[test]
    fn every_wrong_order_is_found() {
        check(GOOD, None);
        let without = |part: &str| -> String {
            GOOD.lines().filter(|line| !line.contains(part)).map(|l| l.to_owned() + "\n").collect()
        };
        check(&without("fsync(5"), Some("renamed before it is synced"));
        check(&without("fsync(6"), Some("is renamed, and then"));
        check(&without("fdatasync(4"), Some("not synced"));
        check(&GOOD.replace("metrics.jsonl\", O_WRONLY", "m\", O_TRUNC"), Some("O_TRUNC"));
        let late =
            GOOD.replace("8  rename", "8  write(5</r/checkpoints/a.tmp>, \"y\", 1) = 1\n8  rename");
        check(&late, Some("renamed before it is synced"));
    }

    #[test]
    fn calls_are_counted_in_their_thread_and_those_elsewhere_are_left_out() {
        let trace = Trace::parse(GOOD, "/r");
        assert_eq!(trace.numbers("write"), [1].into());
        assert_eq!(trace.numbers("openat"), [1, 2].into());
        assert_eq!(trace.paths().count(), 5);
        assert!(trace.numbers("unlink").is_empty());
    }
}
