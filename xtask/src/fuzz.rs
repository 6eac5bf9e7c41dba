//! `cargo xtask fuzz`: looks for bytes that make the program panic, hang or take memory without end.
//!
//! [cargo-fuzz](https://rust-fuzz.github.io/book/) builds the targets of `fuzz/` with AddressSanitizer
//! and libFuzzer, which needs a nightly compiler. An input that fails is kept in `fuzz/artifacts/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::table;

/// Each target with the bytes of its longest input: some keys of every section, a few overrides, some
/// lines, a checkpoint of a small model. An execution costs its bytes.
const TARGETS: [(&str, u32); 4] =
    [("config", 640), ("set", 128), ("corpus", 160), ("checkpoint", 3072)];
/// Seconds that one input may take.
const TIMEOUT: u32 = 1;
/// MiB that one input may ask for at once.
const MALLOC_LIMIT: u32 = 64;
/// MiB of the whole process, most of which are the sanitizer's.
const RSS_LIMIT: u32 = 1024;
/// Of the sanitizer: what it keeps to explain a finding takes time, and an input that fails can be
/// run again with it; memory and stack that are used after they were given back are kept from code
/// without `unsafe` by the compiler, and keeping 256 MiB of them is most of what a cache has to hold.
const ASAN_OPTIONS: &str =
    "malloc_context_size=0:detect_stack_use_after_return=0:quarantine_size_mb=1";
/// The most bytes of a target's corpus, which is checked in and replayed by every `cargo test`.
const MAX_KEPT: u64 = 48 << 10;

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// Inputs to try on each target
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    executions: u64,
    /// Fuzzes only this target, which can be said more than once
    #[arg(long, value_name = "NAME", default_values = names(), value_parser = names())]
    target: Vec<String>,
    /// Keeps in fuzz/corpus the fewest inputs that reach as much code as all that were found
    #[arg(long)]
    minimize: bool,
}

fn names() -> [&'static str; TARGETS.len()] {
    TARGETS.map(|(name, _)| name)
}

/// Runs each target, and prints how many inputs a second it took.
///
/// # Errors
/// If cargo-fuzz or a nightly compiler is missing, or an input fails.
pub fn run(args: Args) -> crate::Result {
    if !fuzz("--version", "").output().is_ok_and(|output| output.status.success()) {
        return Err("no cargo-fuzz with a nightly compiler here; \
                    `rustup toolchain install nightly` and `cargo install --locked cargo-fuzz` bring them"
            .into());
    }
    let mut rows = Vec::new();
    for target in &args.target {
        let (_, max_len) =
            TARGETS.iter().find(|(name, _)| name == target).expect("clap has looked");
        // New inputs go where git does not look; what is worth keeping is minimized into the corpus.
        let (found, corpus) =
            (project("target/fuzz-found").join(target), project("fuzz/corpus").join(target));
        for directory in [&found, &corpus] {
            std::fs::create_dir_all(directory)?;
        }
        let start = Instant::now();
        if 0 < args.executions {
            let mut run = fuzz("run", target);
            run.args([&found, &corpus]).arg("--").args([
                format!("-runs={}", args.executions),
                format!("-timeout={TIMEOUT}"),
                format!("-malloc_limit_mb={MALLOC_LIMIT}"),
                format!("-rss_limit_mb={RSS_LIMIT}"),
                format!("-max_len={max_len}"),
                // What libFuzzer weighs for rare edges and prints of new functions is a fifth of the time.
                "-entropic=0".into(),
                "-print_funcs=0".into(),
                "-print_final_stats=1".into(),
            ]);
            let dictionary = project("fuzz").join(format!("{target}.dict"));
            if dictionary.exists() {
                run.arg(format!("-dict={}", dictionary.display()));
            }
            if !run.status()?.success() {
                return Err(
                    format!("{target}: an input fails; it is in fuzz/artifacts/{target}/").into()
                );
            }
        }
        let secs = start.elapsed().as_secs_f64();
        if args.minimize {
            minimize(target, &found, &corpus)?;
        }
        let kept = files(&corpus)?;
        let (n, bytes) = (kept.len(), kept.iter().map(|(len, _)| len).sum::<u64>());
        let rate = format!("{:.0}", args.executions as f64 / secs);
        rows.push([
            target.clone(),
            args.executions.to_string(),
            rate,
            n.to_string(),
            bytes.to_string(),
        ]);
    }
    println!(
        "\n{}",
        table::render(["target", "executions", "a second", "kept inputs", "bytes"], &rows)
    );
    Ok(())
}

/// Moves into the corpus what of `found` reaches code that the corpus does not, the shortest first and
/// up to [`MAX_KEPT`]. libFuzzer names an input by its hash; what has another name stays.
fn minimize(target: &str, found: &Path, corpus: &Path) -> crate::Result {
    let merged = found.with_file_name(format!("{target}-merged"));
    let _none_from_before = std::fs::remove_dir_all(&merged);
    std::fs::create_dir(&merged)?;
    let mut merge = fuzz("run", target);
    merge.args([&merged, corpus, found]).args(["--", "-set_cover_merge=1"]);
    if !merge.status()?.success() {
        return Err(format!("{target}: what was found could not be merged").into());
    }
    let mut kept = 0;
    for (len, path) in files(corpus)? {
        if is_hash(&path) {
            std::fs::remove_file(&path)?;
        } else {
            kept += len;
        }
    }
    for (len, path) in files(&merged)? {
        let name = path.file_name().expect("a file in a directory");
        kept += len;
        if MAX_KEPT < kept {
            break;
        }
        std::fs::copy(&path, corpus.join(name))?;
    }
    Ok(())
}

/// Whether libFuzzer named the file.
fn is_hash(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The files in a directory with their lengths, the shortest first.
fn files(directory: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.metadata()?.len(), entry.path()))
    };
    let mut files = std::fs::read_dir(directory)?.map(file).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// `cargo fuzz COMMAND TARGET`, with the nightly compiler.
fn fuzz(command: &str, target: &str) -> Command {
    // By rustup's name, since the `cargo` that runs this is that of another toolchain.
    let mut cargo = Command::new("cargo");
    cargo.env("ASAN_OPTIONS", ASAN_OPTIONS);
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").args(["+nightly", "fuzz", command]);
    if !target.is_empty() {
        cargo.arg("--fuzz-dir").arg(project("fuzz")).arg(target);
    }
    cargo
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in the project").join(path)
}
