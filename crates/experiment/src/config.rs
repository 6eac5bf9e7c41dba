//! The config: which keys there are, and what they default to.

use std::path::{Path, PathBuf};

use data_io::BuildTokenizer;
use optim::{BuildOptimizer, BuildSchedule, BuildTransform};
use registry::range::{Every, Positive, Seed, Share, Size, Steps};
use registry::{Chosen, ConfigError, Document, Key, Section, keys_of};
use rnn_model::{BuildLayer, Initializer, Reduction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DtypeName, Error, Parts};

/// Keys that hold a path, relative to the config file.
const PATHS: [&[&str]; 2] = [&["data", "path"], &["model", "init", "path"]];

/// `[data]`, beside `tokenizer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataKeys {
    /// the text file
    pub path: String,
    /// shares of the text for training, validation and test, cut by position in that order
    #[serde(default = "whole")]
    pub split: [Share; 3],
}

fn whole() -> [Share; 3] {
    [1.0, 0.0, 0.0].map(Share::new)
}

/// `[model]`, beside `cell` and `init`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelKeys {
    /// width of the state
    pub hidden_size: Size,
    /// recurrent layers on top of each other
    pub layers: Size,
    /// numbers to compute in
    #[schemars(extend("enum" = ["f32", "f64"]))]
    pub dtype: DtypeName,
}

impl Default for ModelKeys {
    fn default() -> Self {
        Self { hidden_size: Size::new(100), layers: Size::new(1), dtype: DtypeName::F32 }
    }
}

/// The order in which training reads the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From left to right with the state carried, see [`data_io::Sweep`].
    #[default]
    Sweep,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TrainKeys {
    /// time steps of a window, beyond which no gradient flows
    pub seq_len: Size,
    /// lanes of the text that are read side by side
    pub batch_size: Size,
    /// windows to train on
    pub steps: Steps,
    /// seed of all random numbers
    pub seed: Seed,
    /// order in which the text is read
    #[schemars(extend("enum" = ["sweep"]))]
    pub window: Window,
    /// over a window's steps; over lanes it is always the mean
    #[schemars(extend("enum" = ["sum", "mean"]))]
    pub loss: Reduction,
}

impl Default for TrainKeys {
    fn default() -> Self {
        Self {
            seq_len: Size::new(25),
            batch_size: Size::new(1),
            steps: Steps::new(30_000),
            seed: Seed::new(42),
            window: Window::Sweep,
            loss: Reduction::Sum,
        }
    }
}

/// `[eval]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EvalKeys {
    /// steps between losses over the validation text, 0 for never
    pub every: Every,
}

impl Default for EvalKeys {
    fn default() -> Self {
        Self { every: Every::new(1000) }
    }
}

/// `[sample]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SampleKeys {
    /// steps between samples, 0 for never
    pub every: Every,
    /// characters of a sample
    pub length: Size,
}

impl Default for SampleKeys {
    fn default() -> Self {
        Self { every: Every::new(1000), length: Size::new(200) }
    }
}

/// `[checkpoint]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CheckpointKeys {
    /// steps between checkpoints, 0 for one at the end alone
    pub every: Every,
    /// newest checkpoints that are kept, besides the best by validation loss
    pub keep: Size,
}

impl Default for CheckpointKeys {
    fn default() -> Self {
        Self { every: Every::new(5000), keep: Size::new(3) }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogKeys {
    /// steps between lines of metrics, 0 for none
    pub every: Every,
}

impl Default for LogKeys {
    fn default() -> Self {
        Self { every: Every::new(100) }
    }
}

/// The keys of each section that are not those of a part, for people to read.
pub fn section_keys() -> Vec<(&'static str, Vec<Key>)> {
    vec![
        ("data", keys_of::<DataKeys>()),
        ("model", keys_of::<ModelKeys>()),
        ("train", keys_of::<TrainKeys>()),
        ("eval", keys_of::<EvalKeys>()),
        ("sample", keys_of::<SampleKeys>()),
        ("checkpoint", keys_of::<CheckpointKeys>()),
        ("log", keys_of::<LogKeys>()),
    ]
}

/// A config in which every part is found and every value is in range.
pub struct Config {
    /// `[data]`.
    pub data: DataKeys,
    /// `data.tokenizer`.
    pub tokenizer: Chosen<dyn BuildTokenizer>,
    /// `[model]`.
    pub model: ModelKeys,
    /// `model.cell`.
    pub cell: Chosen<dyn BuildLayer>,
    /// `model.init`.
    pub init: Chosen<dyn Initializer>,
    /// `[optimizer]`.
    pub optimizer: Chosen<dyn BuildOptimizer>,
    /// `optimizer.learning_rate`.
    pub learning_rate: Positive,
    /// `[schedule]`.
    pub schedule: Chosen<dyn BuildSchedule>,
    /// `[[transform]]`, in order.
    pub transforms: Vec<Chosen<dyn BuildTransform>>,
    /// `[train]`.
    pub train: TrainKeys,
    /// `[eval]`.
    pub eval: EvalKeys,
    /// `[sample]`.
    pub sample: SampleKeys,
    /// `[checkpoint]`.
    pub checkpoint: CheckpointKeys,
    /// `[log]`.
    pub log: LogKeys,
}

/// Reads a config file, with overrides as `KEY=VALUE`.
///
/// # Errors
/// If the file cannot be read or is not UTF-8.
pub fn open_config(path: &Path, overrides: &[String]) -> Result<Document, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::ReadConfig { path: path.to_owned(), source })?;
    Ok(Document::new(path.display().to_string(), text, overrides))
}

impl Config {
    /// Reads a document; paths in it become relative to the working directory.
    ///
    /// # Errors
    /// On the first mistake, with its place.
    pub fn parse(document: &Document, parts: &Parts) -> Result<Self, Error> {
        let directory = Path::new(document.name()).parent().unwrap_or(Path::new(""));
        Self::parse_document(document, parts, directory)
            .map_err(|error| Error::config(error, document))
    }

    fn parse_document(
        document: &Document,
        parts: &Parts,
        directory: &Path,
    ) -> Result<Self, ConfigError> {
        let mut root = document.parse()?;
        for path in PATHS {
            root.map_string(path, |text| directory.join(text).display().to_string());
        }

        let mut data = root.section("data")?;
        let split = data.span_of(&["split"]);
        let tokenizer = parts.tokenizers.choose(data.part("tokenizer", "char")?)?;
        let mut model = root.section("model")?;
        let cell = parts.cells.choose(model.part("cell", "vanilla")?)?;
        let init = parts.initializers.choose(model.part("init", "normal")?)?;
        let mut optimizer = root.part("optimizer", "adagrad")?;
        let learning_rate = optimizer.section_mut().value("learning_rate")?;
        let config = Self {
            data: data.parse().map_err(with_example)?,
            tokenizer,
            model: model.parse()?,
            cell,
            init,
            optimizer: parts.optimizers.choose(optimizer)?,
            learning_rate: learning_rate.unwrap_or(Positive::new(0.1)),
            schedule: parts.schedules.choose(root.part("schedule", "constant")?)?,
            transforms: choose_all(&mut root, parts)?,
            train: root.section("train")?.parse()?,
            eval: root.section("eval")?.parse()?,
            sample: root.section("sample")?.parse()?,
            checkpoint: root.section("checkpoint")?.parse()?,
            log: root.section("log")?.parse()?,
        };
        root.finish("sections")?;
        config.check_split(split)?;
        Ok(config)
    }

    fn check_split(&self, span: Option<std::ops::Range<usize>>) -> Result<(), ConfigError> {
        let [train, val, test] = self.data.split.map(Share::get);
        let help = "as in split = [0.9, 0.1, 0.0]";
        let message = if 1e-9 < (train + val + test - 1.0).abs() {
            format!("`data.split` must add up to 1, these give {}", train + val + test)
        } else if train == 0.0 {
            "`data.split` leaves nothing to train on".to_owned()
        } else {
            return Ok(());
        };
        Err(ConfigError { message, span, help: Some(help.into()) })
    }

    /// The config with every default written out. Reading it again gives the same config.
    pub fn to_toml(&self) -> toml::Table {
        let mut root = toml::Table::new();
        let mut data = table_of(&self.data);
        data.insert("tokenizer".into(), self.tokenizer.to_toml());
        root.insert("data".into(), data.into());
        let mut model = table_of(&self.model);
        model.insert("cell".into(), self.cell.to_toml());
        model.insert("init".into(), self.init.to_toml());
        root.insert("model".into(), model.into());
        let mut optimizer = self.optimizer.to_table();
        let learning_rate = toml::Value::Float(self.learning_rate.get());
        optimizer.insert("learning_rate".into(), learning_rate);
        root.insert("optimizer".into(), optimizer.into());
        root.insert("schedule".into(), self.schedule.to_table().into());
        let transforms: Vec<_> = self.transforms.iter().map(Chosen::to_table).collect();
        root.insert("transform".into(), transforms.into());
        root.insert("train".into(), table_of(&self.train).into());
        root.insert("eval".into(), table_of(&self.eval).into());
        root.insert("sample".into(), table_of(&self.sample).into());
        root.insert("checkpoint".into(), table_of(&self.checkpoint).into());
        root.insert("log".into(), table_of(&self.log).into());
        root
    }

    /// [`to_toml`](Self::to_toml) as a text to lie in `directory`, whose paths lead from there.
    ///
    /// Where directory and file are both below the working directory the path is relative, so a
    /// project can be moved with its runs, and its runs compared with another copy's. Otherwise it
    /// is absolute.
    pub fn to_text(&self, directory: &Path) -> String {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or(path.to_owned());
        let (here, directory) = (std::env::current_dir(), absolute(directory));
        let is_inside = |path: &Path| here.as_ref().is_ok_and(|here| path.starts_with(here));
        self.to_text_with(|path| {
            let path = absolute(path);
            let relative = pathdiff::diff_paths(&path, &directory);
            relative.filter(|_| is_inside(&path) && is_inside(&directory)).unwrap_or(path)
        })
    }

    /// The same with file names alone for paths: what a checkpoint keeps, which is the same
    /// wherever the run was made.
    pub fn to_text_without_directories(&self) -> String {
        self.to_text_with(|path| path.file_name().map(PathBuf::from).unwrap_or_default())
    }

    fn to_text_with(&self, map: impl Fn(&Path) -> PathBuf) -> String {
        let mut root = self.to_toml();
        for path in PATHS {
            let (last, parents) = path.split_last().expect("a path has a key");
            let table = parents
                .iter()
                .try_fold(&mut root, |table, key| table.get_mut(*key)?.as_table_mut());
            if let Some(toml::Value::String(text)) = table.and_then(|table| table.get_mut(*last)) {
                *text = map(Path::new(text.as_str())).display().to_string();
            }
        }
        toml::to_string(&root).expect("a table of TOML values")
    }
}

fn choose_all(
    root: &mut Section<'_>,
    parts: &Parts,
) -> Result<Vec<Chosen<dyn BuildTransform>>, ConfigError> {
    root.parts("transform")?.into_iter().map(|part| parts.transforms.choose(part)).collect()
}

fn with_example(error: ConfigError) -> ConfigError {
    if error.help.is_some() {
        return error;
    }
    error.with_help("[data] needs at least path = \"my.txt\"")
}

fn table_of(keys: &impl Serialize) -> toml::Table {
    toml::Table::try_from(keys).expect("sections are structs of TOML values")
}
