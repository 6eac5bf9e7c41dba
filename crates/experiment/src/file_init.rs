//! Initial weights from a safetensors file with the names of a PyTorch state dict: one of our own
//! checkpoints, or one that was written elsewhere.

use std::path::Path;

use data_io::{FileError, TensorFile};
use registry::Part;
use rnn_model::state_dict::{self, Tensor};
use rnn_model::{InitError, Initializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Layout;
use tensor_core::rng::Rng;

/// Keys of `file`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FileInit {
    /// the safetensors file, relative to the config
    pub path: String,
}

const HELP: &str = "model.init.path is relative to the config file and names a .safetensors file";

impl Part for FileInit {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "weights from a safetensors file, under PyTorch's names";
    const SOURCE: &'static str = "PyTorch's state dict";
}

impl Initializer for FileInit {
    fn init(
        &self,
        layout: &Layout,
        _hidden_size: usize,
        _forget_bias: f64,
        _rng: &mut Rng,
        theta: &mut [f64],
    ) -> Result<(), InitError> {
        let file = TensorFile::read(Path::new(&self.path)).map_err(|error| InitError {
            place: error.path().display().to_string(),
            message: error.to_string(),
            help: match error {
                FileError::Foreign { foreign, .. } => foreign.help.into(),
                _ => HELP.into(),
            },
        })?;
        let find = |name: &str| {
            let tensor = file.tensors.get(name)?;
            let (shape, values) = (tensor.shape.clone(), tensor.values.to_f64());
            Some(Tensor { name: name.to_owned(), shape, values })
        };
        state_dict::import(layout, theta, find)
            .map_err(|error| InitError { place: self.path.clone(), ..error })
    }
}
