//! What the benches share.

use std::path::Path;

use experiment::{Experiment, Parts, open_config};

/// `configs/karpathy.toml` with overrides.
///
/// # Panics
/// If that is not a valid config.
#[track_caller]
pub fn prepare(overrides: &[&str]) -> Experiment {
    let project =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches/ is in the project");
    let overrides: Vec<_> = overrides.iter().map(ToString::to_string).collect();
    let document =
        open_config(&project.join("configs/karpathy.toml"), &overrides).expect("readable");
    Experiment::prepare(&document, &Parts::builtin()).unwrap_or_else(|error| panic!("{error}"))
}
