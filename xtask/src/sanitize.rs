//! `cargo xtask sanitize`: the kernels' tests under tools that watch every access to memory.
//!
//! Miri interprets the plain kernels and the pool, slowly, so with few cases of each property.
//! AddressSanitizer watches the vector kernels at full speed. Both need a nightly compiler.

use std::path::Path;
use std::process::Command;

/// Tests that Miri runs: all that touch memory through the kernels, the sums or the pool.
const INTERPRETED: [&str; 5] = ["gemm", "aligned", "pool", "reduce", "layout"];

/// Arguments of `cargo xtask sanitize`.
#[derive(clap::Args)]
pub struct Args {
    /// Cases of each property test in Miri
    #[arg(long, value_name = "N", default_value_t = 2)]
    cases: u32,
}

/// Runs both, or says what is missing.
///
/// # Errors
/// If a test fails under either.
pub fn run(args: Args) -> crate::Result {
    let mut failed = vec![];
    if has("miri", &["--version"]) {
        let mut miri = nightly("miri");
        miri.args(["test", "--package", "tensor-core", "--lib", "--"]).args(INTERPRETED);
        miri.env("PROPTEST_CASES", args.cases.to_string());
        // Property tests look for a file of earlier failures.
        miri.env("MIRIFLAGS", "-Zmiri-disable-isolation");
        check("Miri", &mut miri, &mut failed)?;
    } else {
        eprintln!("not run: Miri; `rustup +nightly component add miri rust-src` brings it");
    }
    let host = host()?;
    if has("--version", &[]) && cfg!(target_os = "linux") {
        let mut address = nightly("test");
        address.args(["--package", "tensor-core", "--lib", "--target", &host]);
        address.env("RUSTFLAGS", "-Zsanitizer=address");
        check("AddressSanitizer", &mut address, &mut failed)?;
    } else {
        eprintln!(
            "not run: AddressSanitizer; `rustup toolchain install nightly` brings it on Linux"
        );
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// `cargo +nightly COMMAND`, with a directory for what it builds of its own.
fn nightly(command: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new("cargo");
    cargo.args(["+nightly", command]).current_dir(&root);
    // What cargo told this program about its own compiler must not reach the other one.
    cargo.env_remove("RUSTUP_TOOLCHAIN").env("CARGO_TARGET_DIR", root.join("target/sanitize"));
    cargo
}

fn has(command: &str, args: &[&str]) -> bool {
    nightly(command).args(args).output().is_ok_and(|output| output.status.success())
}

/// The triple of the machine, for which a sanitizer has to be asked by name.
fn host() -> Result<String, Box<dyn std::error::Error>> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say what it runs on")?.to_owned())
}

fn check(name: &'static str, command: &mut Command, failed: &mut Vec<&str>) -> crate::Result {
    eprintln!("{name} ...");
    if !command.status()?.success() {
        failed.push(name);
    }
    Ok(())
}
