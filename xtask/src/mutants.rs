//! `cargo xtask mutants`: small mistakes planted one by one in the crates that compute, each of which
//! a test has to catch. [cargo-mutants](https://mutants.rs) plants and runs them; this chooses what it
//! runs, and compares the survivors with those that `docs/quality.md` explains.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::table;

const PACKAGES: [&str; 3] = ["tensor-core", "rnn-model", "optim"];
/// Of the mutants that compile, those that have to be caught.
const ENOUGH: f64 = 0.95;
/// Where each survivor stands with its reason, under a heading with its file.
const EXPLAINED: &str = "docs/quality.md";
/// Tests that need seconds and catch little that others do not: the first pass goes without.
const SLOW: [&str; 8] = [
    "any_number_of_threads",
    "dual_numbers",
    "every_tensor_of_a_registered_cell",
    "finite_differences",
    "masks_leave",
    "planted_gradients",
    "precision",
    "the_losses_that_are_differentiated",
];

/// Arguments of `cargo xtask mutants`.
#[derive(clap::Args)]
pub struct Args {
    /// Runs about N mutants, spread over all files, instead of all of them.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Runs those in lines that this diff touches, as of `git diff main`.
    #[arg(long, value_name = "FILE")]
    in_diff: Option<PathBuf>,
    /// Mutates only this package, which can be said more than once.
    #[arg(long, value_name = "NAME", default_values = PACKAGES)]
    package: Vec<String>,
}

/// Runs mutants, first with quick tests and what survives with all of its package, and prints how
/// many were caught.
///
/// # Errors
/// If a mutant survives for no known reason, or too many do.
pub fn run(args: Args) -> crate::Result {
    if !mutants(&args).arg("--version").output()?.status.success() {
        let how = "no cargo-mutants here; `cargo install --locked cargo-mutants` brings it";
        if args.sample.is_none() {
            return Err(how.into());
        }
        println!("{how}");
        return Ok(());
    }

    let (target, out) = (project("target"), project("target/mutants.out"));
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    std::fs::create_dir_all(&target)?;
    let shard = match args.sample {
        Some(n) => {
            vec!["--sharding=round-robin".into(), format!("--shard=0/{}", shards(&args, n)?)]
        }
        None => Vec::new(),
    };
    let pass = |chosen: &[String], test_options: &[String]| {
        let mut pass = mutants(&args);
        pass.args(chosen).arg("--output").arg(&target);
        // What is compiled out of a test is not tested.
        pass.args(["--features", "tensor-core/phases"]);
        // `cargo test` has those before the second `--`, and its tests those behind.
        pass.args(["--", "--tests", "--"]).args(test_options);
        match pass.status()?.code() {
            Some(0 | 2 | 3) => outcomes(&out.join("outcomes.json")),
            _ => Err("cargo-mutants could not test".into()),
        }
    };
    let mut outcomes = pass(&shard, &SLOW.map(|test| format!("--skip={test}")))?;
    let survivors = outcomes.values().filter(|outcome| outcome.is("MissedMutant"));
    let survivors: Vec<_> = survivors.map(|survivor| pattern(&survivor.name)).collect();
    if !survivors.is_empty() {
        outcomes.extend(pass(&survivors, &[])?);
    }

    println!("\n{}", render(&outcomes, &args.package));
    let known = std::fs::read_to_string(project(EXPLAINED))?;
    let survivors: Vec<_> =
        outcomes.values().filter(|outcome| outcome.is("MissedMutant")).collect();
    let unexplained = survivors.iter().filter(|survivor| !is_explained(&known, survivor));
    let unexplained: Vec<_> = unexplained.map(|survivor| &*survivor.name).collect();
    if !unexplained.is_empty() {
        let names = unexplained.join("\n  ");
        return Err(format!("not in {EXPLAINED}, and no test catches them:\n  {names}").into());
    }
    let share = Counts::of(outcomes.values()).share();
    if args.sample.is_none() && args.in_diff.is_none() && share < ENOUGH {
        return Err(format!("{:.1} % caught, {:.0} % wanted", share * 100.0, ENOUGH * 100.0).into());
    }
    Ok(())
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in the project").join(path)
}

/// `cargo mutants` on what the arguments choose.
fn mutants(args: &Args) -> Command {
    let mut mutants = Command::new(env!("CARGO"));
    mutants.arg("mutants").arg("--dir").arg(project(""));
    for package in &args.package {
        mutants.args(["--package", package]);
    }
    if let Some(diff) = &args.in_diff {
        mutants.arg("--in-diff").arg(diff);
    }
    mutants
}

/// The option that chooses the mutant of this name.
fn pattern(name: &str) -> String {
    let escape =
        |c: char| if r"\.+*?()|[]{}^$".contains(c) { format!(r"\{c}") } else { c.to_string() };
    format!("--re=^{}$", name.chars().map(escape).collect::<String>())
}

/// How many parts leave `n` mutants in each.
fn shards(args: &Args, n: usize) -> Result<usize, Box<dyn std::error::Error>> {
    let list = mutants(args).arg("--list").stderr(Stdio::inherit()).output()?;
    Ok(String::from_utf8(list.stdout)?.lines().count().div_ceil(n.max(1)).max(1))
}

/// What became of a mutant.
struct Outcome {
    /// "FILE:LINE:COLUMN: WHAT".
    name: String,
    package: String,
    file: String,
    summary: String,
}

impl Outcome {
    fn is(&self, summary: &str) -> bool {
        self.summary == summary
    }
}

/// Each mutant that was run, by its name.
fn outcomes(path: &Path) -> Result<BTreeMap<String, Outcome>, Box<dyn std::error::Error>> {
    if !path.exists() {
        return Ok(BTreeMap::new()); // There was nothing to mutate.
    }
    let report: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let outcomes = report["outcomes"].as_array().into_iter().flatten().filter_map(|outcome| {
        let mutant = outcome["scenario"].get("Mutant")?;
        let name = text(&mutant["name"]);
        Some((
            name.clone(),
            Outcome {
                name,
                package: text(&mutant["package"]),
                file: text(&mutant["file"]),
                summary: text(&outcome["summary"]),
            },
        ))
    });
    Ok(outcomes.collect())
}

/// Whether the section on its file quotes what was changed. Lines move, and are left out.
fn is_explained(document: &str, survivor: &Outcome) -> bool {
    let heading = format!("`{}`", survivor.file);
    let what = survivor.name.splitn(4, ':').last().unwrap_or_default().trim();
    let mut sections = document.split("\n### ");
    let section = sections.find(|section| section.starts_with(&heading));
    section.is_some_and(|section| section.contains(&format!("`{what}`")))
}

#[derive(Default)]
struct Counts {
    mutants: usize,
    unviable: usize,
    caught: usize,
    timeouts: usize,
}

impl Counts {
    fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            counts.mutants += 1;
            match &*outcome.summary {
                "Unviable" => counts.unviable += 1,
                "CaughtMutant" => counts.caught += 1,
                "Timeout" => counts.timeouts += 1,
                _ => {}
            }
        }
        counts
    }

    /// A mutant that makes a test run forever is caught as well.
    fn share(&self) -> f64 {
        (self.caught + self.timeouts) as f64 / (self.mutants - self.unviable).max(1) as f64
    }
}

fn render(outcomes: &BTreeMap<String, Outcome>, packages: &[String]) -> String {
    let heading = ["crate", "mutants", "compile", "caught", "run forever", "survive", ""];
    let rows: Vec<_> = packages
        .iter()
        .map(|package| {
            let of_package = outcomes.values().filter(|outcome| outcome.package == *package);
            let counts = Counts::of(of_package);
            let Counts { mutants, unviable, caught, timeouts } = counts;
            let viable = mutants - unviable;
            let numbers = [mutants, viable, caught, timeouts, viable - caught - timeouts];
            let [mutants, viable, caught, timeouts, survive] = numbers.map(|n| n.to_string());
            let share = format!("{:.1} %", 100.0 * counts.share());
            [package.clone(), mutants, viable, caught, timeouts, survive, share]
        })
        .collect();
    table::render(heading, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_is_explained_in_the_section_of_its_file_wherever_its_line_is() {
        let document = "# Q\n\n### `a.rs`\n- `replace < with <= in f`: why\n\n### `b.rs`\n- none\n";
        let survivor = |file: &str, what: &str| Outcome {
            name: format!("{file}:3:14: {what}"),
            package: "a".into(),
            file: file.into(),
            summary: "MissedMutant".into(),
        };
        assert!(is_explained(document, &survivor("a.rs", "replace < with <= in f")));
        assert!(!is_explained(document, &survivor("a.rs", "replace < with > in f")));
        assert!(!is_explained(document, &survivor("b.rs", "replace < with <= in f")));
        assert!(!is_explained(document, &survivor("c.rs", "replace < with <= in f")));
    }
}
