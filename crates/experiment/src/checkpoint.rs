//! What a checkpoint holds, how training goes on from it, and where the newest one is.
//!
//! Tensors: the weights under PyTorch's names; under `optimizer.` and `state.` what
//! [`Trainer::slots`] lists, which is all else that training changes; and under `rollback.` the state
//! to go back to, where that is another. Metadata: [`Head`], and what the run directory adds.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data_io::{StoredTensor, TensorFile, Values};
use rnn_model::state_dict::{self, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tensor_core::reduce::norm;

use crate::ranks::{Ranks, tell};
use crate::resume::Change;
use crate::{Dtype, Error, Trainer, rollback};

/// Number of the layout described above.
pub(crate) const FORMAT: u64 = 1;

/// The metadata that training goes on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub format: u64,
    /// Updates made so far.
    pub step: u64,
    /// The config as TOML, without the directories in its paths.
    pub config: String,
    /// The vocabulary.
    pub symbols: Vec<String>,
    /// Digest of the text.
    pub text: String,
    /// Characters read so far.
    pub chars: u64,
    /// [`data_io::Windows::state`].
    pub windows: [u64; 2],
    /// Place in the stream of random numbers that samples are drawn from: 68 bits, which not every
    /// reader of JSON would keep as a number.
    pub sample_rng_word: String,
    /// The lowest validation loss and the step at which it was found.
    pub best: Option<(u64, f64)>,
    /// How often the run went back to an earlier state.
    pub rollbacks: u64,
}

/// A checkpoint that was read, to go on from.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(crate) path: PathBuf,
    pub(crate) file: TensorFile,
    pub(crate) head: Head,
    /// In what the run that goes on from it has another config.
    pub(crate) changes: Vec<Change>,
}

impl Checkpoint {
    /// Reads and verifies a checkpoint.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged, or no checkpoint of this program.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = TensorFile::read(path)?;
        let head =
            Head::of(&file).map_err(|reason| Error::NoModel { path: path.to_owned(), reason })?;
        Ok(Self { path: path.to_owned(), file, head, changes: Vec::new() })
    }

    /// What the first of some `ranks` goes on from, for all of them: they read the same file.
    ///
    /// # Errors
    /// If a rank is gone, or cannot read it.
    pub fn of_first(first: Option<Self>, ranks: &dyn Ranks) -> Result<Option<Self>, Error> {
        let path = first.as_ref().map(|checkpoint| checkpoint.path.display().to_string());
        let said = tell(ranks, path.unwrap_or_default().into_bytes())?;
        let path = String::from_utf8_lossy(&said[0]);
        match path.is_empty() || ranks.rank() == 0 {
            true => Ok(first),
            false => Self::read(Path::new(&*path)).map(Some),
        }
    }

    /// Restores the state of a run that goes on from here.
    ///
    /// # Errors
    /// As [`Trainer::restore`]; where the config was changed, that is why.
    pub(crate) fn restore<T: Dtype>(&self, trainer: &mut Trainer<'_, T>) -> Result<(), Error> {
        trainer.restore(&self.file, &self.path).map_err(|error| match self.changes.is_empty() {
            true => error,
            false => Error::DoesNotFit {
                checkpoint: self.path.clone(),
                changes: self.changes.clone(),
                reason: error.to_string(),
            },
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Updates made before it.
    pub fn step(&self) -> u64 {
        self.head.step
    }

    /// The step at which the lowest validation loss before it was found, and that loss.
    pub fn best(&self) -> Option<(u64, f64)> {
        self.head.best
    }

    /// Characters read before it.
    pub fn chars(&self) -> u64 {
        self.head.chars
    }
}

impl Head {
    /// The head of a file, or what is wrong with it.
    pub fn of(file: &TensorFile) -> Result<Self, String> {
        let head: Self = serde_json::from_value(Value::Object(file.metadata.clone()))
            .map_err(|error| format!("not a checkpoint of this program: {error}"))?;
        if head.format != FORMAT {
            return Err("the checkpoint has a format this version does not know".into());
        }
        Ok(head)
    }
}

/// A part of the state of training, in the place where it is: a checkpoint reads it, and restoring
/// overwrites it.
pub(crate) struct Slot<'a, T> {
    pub name: String,
    pub shape: Vec<usize>,
    pub place: Place<'a, T>,
}

pub(crate) enum Place<'a, T> {
    /// Values in the number type of the run.
    Values(&'a mut [T]),
    /// A number in double precision.
    Number(&'a mut f64),
}

impl<'a, T: Dtype> Slot<'a, T> {
    pub fn flat(name: impl Into<String>, values: &'a mut [T]) -> Self {
        Self { name: name.into(), shape: vec![values.len()], place: Place::Values(values) }
    }

    pub fn number(name: impl Into<String>, number: &'a mut f64) -> Self {
        Self { name: name.into(), shape: vec![1], place: Place::Number(number) }
    }

    fn read(self) -> (String, StoredTensor) {
        let values = match self.place {
            Place::Values(values) => T::values(values.to_vec()),
            Place::Number(number) => Values::F64(vec![*number]),
        };
        (self.name, StoredTensor { shape: self.shape, values })
    }

    fn overwrite(self, file: &TensorFile) -> Result<(), String> {
        let Self { name, shape, place } = self;
        let tensor = file.tensors.get(&name).ok_or_else(|| format!("it has no tensor `{name}`"))?;
        if tensor.shape != shape {
            let found = &tensor.shape;
            return Err(format!("tensor `{name}` has shape {found:?}, the run needs {shape:?}"));
        }
        match (place, &tensor.values) {
            (Place::Values(values), stored) => match T::stored(stored) {
                Some(stored) => values.copy_from_slice(stored),
                None => return Err(format!("tensor `{name}` is not in the run's number type")),
            },
            (Place::Number(number), Values::F64(stored)) => *number = stored[0],
            (Place::Number(_), Values::F32(_)) => {
                return Err(format!("tensor `{name}` is F32, not F64"));
            }
        }
        Ok(())
    }
}

impl<T: Dtype> Trainer<'_, T> {
    /// Everything needed to go on from here to the bit.
    ///
    /// # Errors
    /// If a value of it is not finite, such as an average of the optimizer; or if the text, of which
    /// it holds a digest, cannot be read any more.
    pub fn checkpoint(&mut self) -> Result<TensorFile, Error> {
        let mut file = self.snapshot()?;
        if let Some(good) = self.other_good_state() {
            rollback::embed(&mut file, good);
        }
        Ok(file)
    }

    /// The same without the state to go back to.
    pub(crate) fn snapshot(&mut self) -> Result<TensorFile, Error> {
        self.gather_state()?;
        let mut file = TensorFile::default();
        for tensor in state_dict::export(self.model().layout(), self.weights()) {
            file.insert(tensor.name, tensor.shape, T::values(tensor.values));
        }
        for (name, tensor) in self.slots().into_iter().map(Slot::read) {
            file.insert(name, tensor.shape, tensor.values);
        }
        if let Some((name, _)) = file.tensors.iter().find(|(_, t)| !t.values.all_finite()) {
            return Err(Error::Diverged {
                step: self.step_count(),
                what: format!("tensor `{name}`"),
                learning_rate: self.learning_rate(self.step_count()),
                grad_norm: norm(self.grads()),
                checkpoint: None,
            });
        }
        let head = serde_json::to_value(self.head()?).expect("a struct of JSON values");
        let Value::Object(metadata) = head else { unreachable!("a struct is an object") };
        file.metadata = metadata;
        Ok(file)
    }

    /// Goes to where [`checkpoint`](Self::checkpoint) was taken: from here on every step is as if
    /// there had been no interruption. Where the text is another one, its first window comes next.
    ///
    /// `path` is what messages call the file.
    ///
    /// # Errors
    /// If a tensor is missing, or of another shape or type, or one too many, or the vocabulary is
    /// another one. Then the state is of no use.
    pub fn restore(&mut self, file: &TensorFile, path: &Path) -> Result<(), Error> {
        self.restore_all(file).map_err(|reason| Error::NoModel { path: path.to_owned(), reason })
    }

    fn restore_all(&mut self, file: &TensorFile) -> Result<(), String> {
        let (here, good) = rollback::split(file)?;
        if self.rolls_back() {
            self.restore_exactly(good.as_ref().unwrap_or(&here))?;
            self.keep_state().map_err(|error| error.to_string())?;
        }
        self.restore_exactly(&here)
    }

    /// Restores a state, and makes sure that this was all there is in the file.
    fn restore_exactly(&mut self, file: &TensorFile) -> Result<(), String> {
        self.restore_snapshot(file)?;
        let restored = self.snapshot().map_err(|error| error.to_string())?;
        match restored.tensors == file.tensors {
            true => Ok(()),
            false => Err("it has tensors that this run has not".into()),
        }
    }

    /// The mirror image of [`snapshot`](Self::snapshot), or what is wrong with it.
    pub(crate) fn restore_snapshot(&mut self, file: &TensorFile) -> Result<(), String> {
        let head = Head::of(file)?;
        let find = |name: &str| {
            let tensor = file.tensors.get(name)?;
            let values = T::stored(&tensor.values)?.to_vec();
            Some(Tensor { name: name.to_owned(), shape: tensor.shape.clone(), values })
        };
        let (layout, weights) = self.weights_mut();
        state_dict::import(layout, weights, find).map_err(|error| error.message)?;
        self.slots().into_iter().try_for_each(|slot| slot.overwrite(file))?;
        self.set_head(&head)
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
    let newest = steps.last().ok_or_else(|| Error::NoCheckpoint { path: path.to_owned() })?;
    Ok(directory.join(file_name(*newest)))
}

/// The checkpoint of a run with the lowest validation loss.
///
/// # Errors
/// If it is no run directory, or has no checkpoint, or none was ever validated.
pub fn best_checkpoint(run: &Path) -> Result<PathBuf, Error> {
    let no_model =
        |reason: &str| Error::NoModel { path: run.to_owned(), reason: reason.to_owned() };
    if run.is_file() {
        return Err(no_model("a checkpoint, and the best one of a run is asked for"));
    }
    let newest = Checkpoint::read(&newest_checkpoint(run)?)?;
    let (step, _) = newest.head.best.ok_or_else(|| no_model("the run has no validation loss"))?;
    Ok(newest.path.with_file_name(file_name(step)))
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
