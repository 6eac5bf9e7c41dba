//! Going back to an earlier state when a run diverges.
//!
//! With `train.on_divergence = "rollback"` the state at every multiple of `checkpoint.every`, and the
//! one before the first step, is kept in memory. When a value is no longer finite, training goes back
//! to it with half the learning rate, at most `train.max_rollbacks` times.
//!
//! The state to go back to is part of the state of a run: one that was stopped in between has it in
//! its checkpoint, so that it goes back, if it does, to where it would have gone.

use data_io::TensorFile;
use serde_json::Value;

use crate::{Dtype, Error, Trainer};

/// What the tensors of the earlier state are called in a checkpoint, and the key of its metadata.
const PREFIX: &str = "rollback.";
const KEY: &str = "rollback";

impl<T: Dtype> Trainer<'_, T> {
    /// Keeps the state as it is now to go back to.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub(crate) fn keep_state(&mut self) -> Result<(), Error> {
        let state = self.snapshot()?;
        self.set_good_state(state);
        Ok(())
    }

    /// Goes back to the state that was kept, and halves the learning rate.
    ///
    /// # Panics
    /// If none was kept.
    #[track_caller]
    pub(crate) fn roll_back(&mut self) {
        let good = self.good_state().expect("a state was kept").clone();
        let rollbacks = self.rollbacks();
        self.restore_snapshot(&good).expect("it was taken from this trainer");
        self.set_rollbacks(rollbacks + 1);
    }

    /// The state to go back to, unless it is that of this step.
    pub(crate) fn other_good_state(&self) -> Option<&TensorFile> {
        self.good_state()
            .filter(|good| good.metadata.get("step") != Some(&self.step_count().into()))
    }
}

/// Adds a state to a checkpoint.
pub(crate) fn embed(file: &mut TensorFile, good: &TensorFile) {
    for (name, tensor) in &good.tensors {
        file.tensors.insert(format!("{PREFIX}{name}"), tensor.clone());
    }
    file.metadata.insert(KEY.into(), Value::Object(good.metadata.clone()));
}

/// A checkpoint without the state that was added to it, and that state.
pub(crate) fn split(file: &TensorFile) -> Result<(TensorFile, Option<TensorFile>), String> {
    let (mut here, mut good) = (TensorFile::default(), TensorFile::default());
    here.metadata = file.metadata.clone();
    for (name, tensor) in &file.tensors {
        let (to, name) = match name.strip_prefix(PREFIX) {
            Some(name) => (&mut good, name),
            None => (&mut here, name.as_str()),
        };
        to.tensors.insert(name.to_owned(), tensor.clone());
    }
    match here.metadata.remove(KEY) {
        Some(Value::Object(metadata)) => good.metadata = metadata,
        None if good.tensors.is_empty() => return Ok((here, None)),
        _ => return Err(format!("its metadata has no table `{KEY}`")),
    }
    Ok((here, Some(good)))
}
