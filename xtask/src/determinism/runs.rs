//! Short runs that between them use every kind of loop there is, and their hash.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Overrides of `configs/karpathy.toml` for all runs.
const ALL: [&str; 5] = [
    "train.steps=12",
    "data.split=[0.9, 0.1, 0.0]",
    "log.every=1",
    "eval.every=6",
    "sample.every=6",
];

/// And for each. Sizes are no multiples of what fits into a register, so that edges are computed too; the
/// LSTM has so many rows that weight gradients are summed by halves.
const RUNS: [&[&str]; 5] = [
    &["train.steps=200", "eval.every=100", "sample.every=100"],
    &[
        "model.cell=lstm",
        "model.layers=2",
        "model.hidden_size=130",
        "model.dropout=0.3",
        "train.batch_size=43",
        "optimizer={ kind = \"adam\", learning_rate = 0.002 }",
    ],
    &["model.cell=gru", "model.hidden_size=97", "model.layer_norm=true", "train.batch_size=5"],
    &["model.cell=gru", "model.dtype=f64", "model.hidden_size=61", "train.batch_size=7"],
    &[
        "model.cell=min_gru",
        "train.batch_size=6",
        "optimizer={ kind = \"muon\", learning_rate = 0.01 }",
        "transform=[\"clip_norm\"]",
    ],
];

/// The hash of all that the runs write: the last checkpoints, metrics and samples.
///
/// # Errors
/// If one fails.
pub fn hash(run: impl Fn() -> Command) -> Result<String, Box<dyn std::error::Error>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in the project");
    let mut hasher = blake3::Hasher::new();
    for overrides in RUNS {
        let directory = tempfile::tempdir()?;
        let out = directory.path().join("run");
        let mut command = run();
        command.arg(project.join("configs/karpathy.toml")).arg("--quiet").arg("--out").arg(&out);
        command.args(ALL.iter().chain(overrides).flat_map(|set| ["--set", set]));
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{command:?} failed\n{said}").into());
        }
        for file in files(&out)? {
            hasher.update(&fs::read(file)?);
        }
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

/// What a run wrote and neither path nor clock had a part in.
fn files(run: &Path) -> io::Result<Vec<PathBuf>> {
    let mut checkpoints = fs::read_dir(run.join("checkpoints"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    checkpoints.sort();
    let named = ["metrics.jsonl", "samples.txt"].map(|name| run.join(name));
    Ok([checkpoints, named.to_vec()].concat())
}
