//! `cargo xtask schema`: the JSON schema of a config, which editors read.

use std::path::PathBuf;

use experiment::{Parts, schema};

#[derive(clap::Args)]
pub struct Args {
    /// Where to write it
    #[arg(short, long, value_name = "FILE", default_value = "configs/schema.json")]
    output: PathBuf,
}

pub fn run(args: Args) -> crate::Result {
    let text = serde_json::to_string_pretty(&schema(&Parts::builtin()))?;
    std::fs::write(&args.output, text + "\n")
        .map_err(|error| format!("{}: {error}", args.output.display()))?;
    Ok(())
}
