//! `cargo xtask determinism`: that a run is a function of config, seed and text, and of nothing else.
//!
//! The same short runs, hashed, in every way this machine can compute them. No name, path or time
//! goes into the hash, so those of two machines can be compared too.

mod arm;
mod runs;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use benches::Program;
use tensor_core::simd::LEVEL_VARIABLE;

use crate::table;

/// The values of [`LEVEL_VARIABLE`], which forces the vector instructions down.
const LEVELS: [&str; 3] = ["avx512", "avx2", "plain"];

/// Arguments of `cargo xtask determinism`.
#[derive(clap::Args)]
pub struct Args {
    /// Only threads, vector instructions and the debug build: no builds with other flags, no ARM
    #[arg(long)]
    quick: bool,
}

/// Computes everything in every way, and prints a line for each.
///
/// # Errors
/// If two hashes differ, or a program cannot be built or run.
pub fn run(args: Args) -> crate::Result {
    let mut ways = Ways::default();
    let release = Program::build(["--release"], [])?;
    ways.program("release", &release)?;
    threads(&mut ways, &release)?;
    one_core(&mut ways, &release)?;
    ways.program("debug", &Program::build([""; 0], [])?)?;
    if !args.quick {
        let target = release.path().ancestors().nth(2).expect("target/release/cli");
        flags(&mut ways, &target.join("determinism"))?;
        emulated(&mut ways, &target.join("determinism"))?;
    }
    ways.finish()
}

fn threads(ways: &mut Ways, release: &Program) -> crate::Result {
    if !release.has_option("--threads")? {
        ways.skip("release, --threads N", "`cli run` has no such option");
        return Ok(());
    }
    for threads in ["1", "2", "3", "7"] {
        let name = format!("release, --threads {threads}");
        ways.run(&name, &[release.path()], |run| run.args(["--threads", threads]))?;
    }
    Ok(())
}

fn one_core(ways: &mut Ways, release: &Program) -> crate::Result {
    let name = "release, one core";
    let pin = ["taskset", "-c", "0"].map(OsStr::new);
    if !works(Command::new(pin[0]).args(&pin[1..]).arg("true")) {
        ways.skip(name, "needs `taskset`, and processor 0");
        return Ok(());
    }
    ways.run(name, &[&pin[..], &[release.path().as_os_str()]].concat(), |run| run)
}

fn flags(ways: &mut Ways, target: &Path) -> crate::Result {
    for cpu in ["x86-64-v2", "native"] {
        let name = format!("release, target-cpu={cpu}");
        if cpu != "native" && !cfg!(target_arch = "x86_64") {
            ways.skip(&name, "needs an x86-64 processor");
            continue;
        }
        let directory = target.join(cpu);
        let args = [OsStr::new("--release"), "--target-dir".as_ref(), directory.as_ref()];
        let flags = format!("-C target-cpu={cpu}");
        ways.program(&name, &Program::build(args, [("RUSTFLAGS", flags.as_str())])?)?;
    }
    Ok(())
}

fn emulated(ways: &mut Ways, target: &Path) -> crate::Result {
    let name = "release, emulated ARM";
    let missing = arm::missing();
    if !missing.is_empty() {
        ways.skip(name, &format!("needs {missing}"));
        return Ok(());
    }
    let program = arm::build(target)?;
    ways.run(name, &[OsStr::new(arm::EMULATOR), program.path().as_os_str()], |run| run)
}

/// Whether a command runs and succeeds.
fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Ways to compute, with the hash that each came to.
#[derive(Default)]
struct Ways {
    rows: Vec<[String; 3]>,
    first: Option<String>,
    differing: usize,
}

impl Ways {
    /// A program as it is, and with every level of vector instructions.
    fn program(&mut self, name: &str, program: &Program) -> crate::Result {
        self.run(name, &[program.path()], |run| run)?;
        for level in LEVELS {
            let name = format!("{name}, {LEVEL_VARIABLE}={level}");
            self.run(&name, &[program.path()], |run| run.env(LEVEL_VARIABLE, level))?;
        }
        Ok(())
    }

    /// A program, or something that starts it, with further arguments or variables for each run.
    fn run(
        &mut self,
        name: &str,
        words: &[impl AsRef<OsStr>],
        change: impl Fn(&mut Command) -> &mut Command,
    ) -> crate::Result {
        eprintln!("{name} ...");
        let words: Vec<OsString> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let hash = runs::hash(|| {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg("run").env_remove(LEVEL_VARIABLE);
            change(&mut command);
            command
        })?;
        let same = *self.first.get_or_insert_with(|| hash.clone()) == hash;
        self.differing += usize::from(!same);
        let verdict = if same { "yes" } else { "NO" };
        self.rows.push([name.to_owned(), hash, verdict.to_owned()]);
        Ok(())
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.rows.push([name.to_owned(), "-".to_owned(), format!("not run: {reason}")]);
    }

    fn finish(self) -> crate::Result {
        let table = table::render(["variant", "hash", "same"], &self.rows);
        write!(io::stdout(), "{table}")?;
        match self.differing {
            0 => Ok(()),
            differing => Err(format!("{differing} hashes differ from the first").into()),
        }
    }
}
