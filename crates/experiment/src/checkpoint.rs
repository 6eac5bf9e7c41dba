//! What a checkpoint holds, and where the newest one is.
//!
//! Tensors: the weights under PyTorch's names; `optimizer.NAME`, flat; `optimizer.theta`, the
//! parameters that are trained, where the weights are their moving average;
//! `optimizer.schedule.NAME`; and `state.NAME_lN`, the carried state `[batch_size, hidden_size]`.
//! Metadata: the config, the vocabulary, the step, the place in the text, and the state of the random
//! generator.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data_io::{TensorFile, Values};
use rnn_model::state_dict;
use serde_json::{Value, json};
use tensor_core::reduce::norm;

use crate::{Dtype, Error, Trainer};

/// Number of the layout described above.
pub(crate) const FORMAT: u64 = 1;

impl<T: Dtype> Trainer<'_, T> {
    /// Everything needed to go on from here to the bit.
    ///
    /// # Errors
    /// If a value of it is not finite, such as an average of the optimizer.
    pub fn checkpoint(&mut self) -> Result<TensorFile, Error> {
        let mut file = TensorFile::default();
        for tensor in state_dict::export(self.model().layout(), self.weights()) {
            file.insert(tensor.name, tensor.shape, T::values(tensor.values));
        }
        if self.has_average() {
            let theta = self.theta().to_vec();
            file.insert("optimizer.theta", vec![theta.len()], T::values(theta));
        }
        for (name, value) in self.schedule_state() {
            file.insert(format!("optimizer.schedule.{name}"), vec![1], Values::F64(vec![*value]));
        }
        for (name, values) in self.optimizer_state() {
            file.insert(
                format!("optimizer.{name}"),
                vec![values.len()],
                T::values(values.to_vec()),
            );
        }
        let dims = self.model().dims();
        for (name, range) in self.model().states() {
            let shape = vec![dims.batch_size, dims.hidden_size];
            file.insert(format!("state.{name}"), shape, T::values(self.state()[range].to_vec()));
        }
        let smooth = Values::F64(vec![self.smooth_nats_per_char()]);
        file.insert("state.smooth_nats_per_char", vec![1], smooth);

        let experiment = self.experiment();
        let rng = self.sampling_rng();
        let metadata = json!({
            "format": FORMAT,
            "step": self.step_count(),
            "config": experiment.config().to_text_without_directories(),
            "symbols": experiment.tokenizer().symbols(),
            "chars": self.chars(),
            "windows": self.windows().state(),
            // A number of 68 bits, which not every reader of JSON would keep.
            "sample_rng_word": rng.get_word_pos().to_string(),
        });
        let Value::Object(metadata) = metadata else { unreachable!("it was written as one") };
        file.metadata = metadata;
        match file.tensors.iter().find(|(_, tensor)| !tensor.values.all_finite()) {
            None => Ok(file),
            Some((name, _)) => Err(Error::Diverged {
                step: self.step_count(),
                what: format!("`{name}`"),
                learning_rate: self.learning_rate(self.step_count()),
                grad_norm: norm(self.grads()),
            }),
        }
    }
}

/// The checkpoint that a run directory or the path of a file means.
///
/// # Errors
/// If there is nothing, or a directory without checkpoints.
pub fn newest_checkpoint(path: &Path) -> Result<PathBuf, Error> {
    let no_model =
        |reason: &str| Error::NoModel { path: path.to_owned(), reason: reason.to_owned() };
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        return Err(no_model("there is no such run or checkpoint"));
    }
    let directory = path.join("checkpoints");
    let steps = list_checkpoints(&directory).map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            no_model("not a run directory: it has no checkpoints")
        }
        _ => Error::Io { path: directory.clone(), action: "read the directory", source },
    })?;
    let newest = steps.last().ok_or_else(|| no_model("the run has no checkpoint yet"))?;
    Ok(directory.join(file_name(*newest)))
}

/// The steps of the checkpoints in a directory, in order.
pub(crate) fn list_checkpoints(directory: &Path) -> std::io::Result<Vec<u64>> {
    let mut steps = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let step =
            name.to_str().and_then(|name| name.strip_prefix("step-")?.strip_suffix(".safetensors"));
        steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// `step-00012000.safetensors`.
pub(crate) fn file_name(step: u64) -> String {
    format!("step-{step:08}.safetensors")
}
