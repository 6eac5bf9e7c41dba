//! `cargo xtask proptest`: the property tests, with more cases than an ordinary `cargo test` has
//! time for, and other ones every time.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Arguments of `cargo xtask proptest`.
#[derive(clap::Args)]
pub struct Args {
    /// Cases of each property.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    cases: u32,
    /// Where the cases come from [default: the clock].
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the tests of every package that depends on `proptest`.
///
/// # Errors
/// If a test fails, or `cargo` cannot be run.
pub fn run(args: Args) -> crate::Result {
    let mut test = cargo();
    test.args(["test", "--release", "--tests", "--no-fail-fast"]);
    for package in packages_with_properties()? {
        test.args(["--package", &package]);
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    println!("the same cases again: --seed {seed} --cases {}", args.cases);
    test.env("PROPTEST_RNG_SEED", seed.to_string());
    // The default of every `ProptestConfig` that does not say otherwise.
    test.env("PROPTEST_CASES", args.cases.to_string());
    if test.status()?.success() { Ok(()) } else { Err("a property does not hold".into()) }
}

fn packages_with_properties() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let has_properties = |package: &Value| {
        list(&package["dependencies"]).iter().any(|dependency| dependency["name"] == "proptest")
    };
    let name = |package: Value| package["name"].as_str().map(str::to_owned);
    Ok(list(&metadata["packages"]).into_iter().filter(has_properties).filter_map(name).collect())
}

/// The `cargo` that runs this.
fn cargo() -> Command {
    Command::new(env!("CARGO"))
}
