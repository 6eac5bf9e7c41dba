//! The config: which keys there are, and what they default to.

use std::io;
use std::path::{Component, Path, PathBuf};

use data_io::{BuildTokenizer, Lanes, Lengths, Source, Tokenizer, WindowRule, read_regular};
use optim::{BuildOptimizer, BuildSchedule, BuildTransform, Schedule, WarmUp};
use registry::range::{
    Count, Depth, Every, Fraction, NonNegative, Positive, Seed, Share, Size, Steps,
};
use registry::{Chosen, ConfigError, Conflict, Document, Section, document_text};
use rnn_model::{Architecture, BuildLayer, Dims, Initializer, LayerOptions, Reduction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parts::default;
use crate::{DtypeName, Error, Parts};

/// Keys that hold a path, relative to the config file.
pub(crate) const PATHS: [&[&str]; 2] = [&["data", "path"], &["model", "init", "path"]];

/// `[data]`, beside `tokenizer` and the keys of the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DataKeys {
    /// shares of the text for training, validation and test, cut by position in that order
    pub split: [Share; 3],
}

impl Default for DataKeys {
    fn default() -> Self {
        Self { split: [1.0, 0.0, 0.0].map(Share::new) }
    }
}

/// `[model]`, beside `cell` and `init`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelKeys {
    /// width of the state
    pub hidden_size: Size,
    /// recurrent layers on top of each other
    pub layers: Depth,
    /// numbers to compute in
    pub dtype: DtypeName,
    /// width of a learned vector for each character, 0 to read the character itself
    pub embedding_size: Count,
    /// the output weights are the embedding
    pub tied: bool,
    /// each layer but the first adds its input to its output
    pub residual: bool,
    /// share of each layer's outputs that is left out in training, as in nn.LSTM and before the output
    pub dropout: Fraction,
    /// leave the same outputs out at all steps of a window
    pub variational_dropout: bool,
    /// share of the recurrent weights that is left out of each training window
    pub drop_connect: Fraction,
    /// normalize the result of every product of a weight matrix
    pub layer_norm: bool,
    /// learn the state that a text starts from, instead of zero
    pub learned_state: bool,
    /// added to the bias of forget gates at the start
    pub forget_bias: NonNegative,
}

impl Default for ModelKeys {
    fn default() -> Self {
        Self {
            hidden_size: Size::new(100),
            layers: Depth::new(1),
            dtype: DtypeName::F32,
            embedding_size: Count::new(0),
            tied: false,
            residual: false,
            dropout: Fraction::new(0.0),
            variational_dropout: false,
            drop_connect: Fraction::new(0.0),
            layer_norm: false,
            learned_state: false,
            forget_bias: NonNegative::new(0.0),
        }
    }
}

impl ModelKeys {
    /// What is around the layers of a model over `vocab_size` characters. In reading nothing is left
    /// out.
    pub fn architecture(&self, vocab_size: usize, mode: Mode) -> Architecture {
        let embedding_size = self.embedding_size.as_usize();
        Architecture {
            vocab_size,
            embedding_size: (embedding_size != 0).then_some(embedding_size),
            tied: self.tied,
            residual: self.residual,
            dropout: if mode == Mode::Train { self.dropout.get() } else { 0.0 },
            variational: self.variational_dropout,
        }
    }

    /// What is done to each layer.
    pub fn layer_options(&self, mode: Mode) -> LayerOptions {
        LayerOptions {
            layer_norm: self.layer_norm,
            learned_state: self.learned_state,
            drop_connect: if mode == Mode::Train { self.drop_connect.get() } else { 0.0 },
        }
    }

    /// Checks that the keys go together, with each other and with the layers of `cell`.
    fn check(&self, cell: &Chosen<dyn BuildLayer>) -> Result<(), Conflict> {
        let conflict = |key, message: String, help: String| Err(Conflict { key, message, help });
        let hidden_size = self.hidden_size.get();
        if self.tied && self.embedding_size.get() != hidden_size {
            return conflict(
                "tied",
                format!(
                    "needs an embedding as wide as the state, and model.embedding_size is {}",
                    self.embedding_size.get()
                ),
                format!("set model.embedding_size = {hidden_size}, or leave tied out"),
            );
        }
        if self.residual && self.layers.get() == 1 {
            return conflict(
                "residual",
                "connects layers, and there is one".into(),
                "set model.layers = 2 or more, or leave residual out".into(),
            );
        }
        if self.variational_dropout && self.dropout.get() == 0.0 {
            return conflict(
                "variational_dropout",
                "says how to leave outputs out, and none are".into(),
                "set model.dropout, as in dropout = 0.3, or leave variational_dropout out".into(),
            );
        }
        let dims = Dims { input_size: 1, hidden_size: 1, batch_size: 1, seq_len: 1 };
        let mut layout = tensor_core::Layout::default();
        layout.push(Some(0), cell.f32(dims, LayerOptions::default()).tensors());
        let has = |name: &str| layout.segments().iter().any(|segment| segment.tensor == name);
        if self.drop_connect.get() != 0.0 && !has("w_hh") {
            return conflict(
                "drop_connect",
                format!("leaves recurrent weights out, and `{}` has none", cell.name),
                "leave drop_connect out, or choose another model.cell".into(),
            );
        }
        let has_forget_gate =
            layout.segments().iter().any(|s| rnn_model::init::forget_gate(s).is_some());
        if self.forget_bias.get() != 0.0 && !has_forget_gate {
            return conflict(
                "forget_bias",
                format!("is for a forget gate, and `{}` has none", cell.name),
                "leave forget_bias out, or choose another model.cell".into(),
            );
        }
        Ok(())
    }
}

/// What a model is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Training: dropout leaves something out.
    Train,
    /// Evaluation and writing: nothing is left out.
    Read,
}

/// `[optimizer]`, beside the keys of the optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OptimizerKeys {
    /// length of a step, what a schedule scales; each optimizer has a default of its own
    pub learning_rate: Positive,
    /// how much of an average of the weights is kept each step, which evaluation, samples and
    /// checkpoints then use; 0 for none
    pub ema: Fraction,
}

impl Default for OptimizerKeys {
    fn default() -> Self {
        Self { learning_rate: Positive::new(0.1), ema: Fraction::new(0.0) }
    }
}

/// `[schedule]`, beside the keys of the schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScheduleKeys {
    /// steps in which the learning rate rises in a straight line to where the schedule starts
    pub warmup: Every,
}

impl Default for ScheduleKeys {
    fn default() -> Self {
        Self { warmup: Every::new(0) }
    }
}

/// The order in which training reads the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From left to right with the state carried, see [`data_io::Windows`].
    #[default]
    Sweep,
}

/// What becomes of a run in which a value is no longer finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDivergence {
    /// It ends.
    #[default]
    Stop,
    /// It goes back to the state at the last multiple of `checkpoint.every`, or to its start, and on
    /// from there with half the learning rate.
    Rollback,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TrainKeys {
    /// time steps of a window, beyond which no gradient flows
    pub seq_len: Size,
    /// lanes of the text that are read side by side
    pub batch_size: Size,
    /// parts of a batch whose gradients are summed apart and then pairwise; so many processes can share a
    /// step, and how many do changes no bit
    pub shards: Size,
    /// windows to train on
    pub steps: Steps,
    /// evaluations in a row without a lower validation loss after which the run ends early, 0 for never
    pub patience: Count,
    /// seed of all random numbers
    pub seed: Seed,
    /// order in which the text is read
    pub window: Window,
    /// where the lanes start: all at their first character, or each at a place of its own
    pub lanes: Lanes,
    /// time steps of each window: seq_len, or drawn around it as in AWD-LSTM, which also scales the
    /// learning rate
    pub lengths: Lengths,
    /// over a window's steps; over lanes it is always the mean
    pub loss: Reduction,
    /// when a value is no longer finite: end the run, or go back to the last multiple of
    /// checkpoint.every with half the learning rate
    pub on_divergence: OnDivergence,
    /// how often a run goes back before it ends all the same
    pub max_rollbacks: Count,
}

impl Default for TrainKeys {
    fn default() -> Self {
        Self {
            seq_len: Size::new(25),
            batch_size: Size::new(1),
            shards: Size::new(1),
            steps: Steps::new(30_000),
            patience: Count::new(0),
            seed: Seed::new(42),
            window: Window::Sweep,
            lanes: Lanes::Aligned,
            lengths: Lengths::Fixed,
            loss: Reduction::Sum,
            on_divergence: OnDivergence::Stop,
            max_rollbacks: Count::new(3),
        }
    }
}

impl TrainKeys {
    /// How the text is cut into windows.
    pub fn window_rule(&self) -> WindowRule {
        WindowRule {
            batch_size: self.batch_size.as_usize(),
            seq_len: self.seq_len.as_usize(),
            lanes: self.lanes,
            lengths: self.lengths,
            seed: self.seed.get() as u64,
        }
    }
}

/// `[eval]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EvalKeys {
    /// steps between losses over the validation text, 0 for never
    pub every: Every,
    /// parts of the validation text, each read from a state of zeros; with one the state is carried
    /// through all of it, and processes that train together share several
    pub parts: Size,
}

impl Default for EvalKeys {
    fn default() -> Self {
        Self { every: Every::new(1000), parts: Size::new(1) }
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
    /// write event files for TensorBoard too, into tensorboard/ of the run directory
    pub tensorboard: bool,
}

impl Default for LogKeys {
    fn default() -> Self {
        Self { every: Every::new(100), tensorboard: false }
    }
}

/// A config in which every part is found and every value is in range.
pub struct Config {
    /// `data.kind`.
    pub source: Chosen<dyn Source>,
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
    /// `optimizer.kind`.
    pub optimizer: Chosen<dyn BuildOptimizer>,
    /// `[optimizer]`.
    pub optimizer_keys: OptimizerKeys,
    /// `schedule.kind`.
    pub schedule: Chosen<dyn BuildSchedule>,
    /// `[schedule]`.
    pub schedule_keys: ScheduleKeys,
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

/// The longest config that is read, in bytes: what is read of it takes many times its length.
const MAX_CONFIG_LEN: usize = 16 << 20;

/// Reads a config file, with overrides as `KEY=VALUE`.
///
/// # Errors
/// If the file cannot be read, is longer than any config or is not UTF-8.
pub fn open_config(path: &Path, overrides: &[String]) -> Result<Document, Error> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let text = read_regular(path)
        .and_then(|bytes| match bytes.len() <= MAX_CONFIG_LEN {
            true => String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8")),
            false => Err(invalid("it is longer than 16 MiB, which no config is")),
        })
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
        let whole = root.clone();

        let mut data = root.part("data", default::SOURCE)?;
        let tokenizer =
            parts.tokenizers.choose(data.section_mut().part("tokenizer", default::TOKENIZER)?)?;
        let data_keys = data.section_mut().take_keys()?;
        let mut model = root.section("model")?;
        let cell = parts.cells.choose(model.part("cell", default::CELL)?)?;
        let init = parts.initializers.choose(model.part("init", default::INITIALIZER)?)?;
        let mut optimizer = root.part("optimizer", default::OPTIMIZER)?;
        let mut optimizer_keys: OptimizerKeys = optimizer.section_mut().take_keys()?;
        if whole.span_of(&["optimizer", "learning_rate"]).is_none()
            && let Some(rate) = parts.optimizers.default_beside(optimizer.name(), "learning_rate")
        {
            optimizer_keys.learning_rate = Positive::new(rate);
        }
        let mut schedule = root.part("schedule", default::SCHEDULE)?;
        let schedule_keys = schedule.section_mut().take_keys()?;
        let transforms = choose_all(&mut root, parts)?;
        let (train, eval) = (root.section("train")?, root.section("eval")?);
        let (sample, checkpoint) = (root.section("sample")?, root.section("checkpoint")?);
        let log = root.section("log")?;
        // A section of a name with a slip in it, before what is missing for that.
        root.finish("sections")?;
        let config = Self {
            source: parts.sources.choose(data).map_err(with_example)?,
            data: data_keys,
            tokenizer,
            model: model.parse()?,
            cell,
            init,
            optimizer: parts.optimizers.choose(optimizer)?,
            optimizer_keys,
            schedule: parts.schedules.choose(schedule)?,
            schedule_keys,
            transforms,
            train: train.parse()?,
            eval: eval.parse()?,
            sample: sample.parse()?,
            checkpoint: checkpoint.parse()?,
            log: log.parse()?,
        };

        let at = |section: &'static str| {
            let whole = &whole;
            move |Conflict { key, message, help }: Conflict| ConfigError {
                message: format!("`{section}.{key}` {message}"),
                span: whole.span_of(&[section, key]).or_else(|| whole.span_of(&[section])),
                help: Some(help),
            }
        };
        config.check_split().map_err(at("data"))?;
        config.model.check(&config.cell).map_err(at("model"))?;
        config.check_schedule().map_err(at("schedule"))?;
        config.check_patience().map_err(at("train"))?;
        config.check_shards().map_err(at("train"))?;
        Ok(config)
    }

    /// The symbols that every document starts with; none where documents are not told apart.
    pub(crate) fn separator(&self, tokenizer: &dyn Tokenizer) -> Vec<u32> {
        tokenizer.encode(self.source.opening()).unwrap_or_default()
    }

    /// What a text is called in a message: its path, or the kind of its source.
    pub fn text_place(&self) -> String {
        match self.source.keys.get("path") {
            Some(toml::Value::String(path)) => short(Path::new(path)),
            Some(toml::Value::Array(paths)) => {
                let paths = paths.iter().filter_map(toml::Value::as_str);
                paths.map(|path| short(Path::new(path))).collect::<Vec<_>>().join(", ")
            }
            _ => format!("data.kind = {:?}", self.source.name),
        }
    }

    /// The schedule of the learning rate, after its warm-up.
    pub fn build_schedule(&self) -> WarmUp {
        WarmUp::new(self.schedule_keys.warmup.get() as u64, self.schedule.build())
    }

    /// Whether a run comes to an evaluation, if there is a text for it.
    pub(crate) fn is_ever_evaluated(&self) -> bool {
        (1..=self.train.steps.get()).contains(&self.eval.every.get())
    }

    fn is_evaluated(&self) -> bool {
        let [_, val, _] = self.data.split.map(Share::get);
        val != 0.0 && self.eval.every.get() != 0
    }

    fn check_patience(&self) -> Result<(), Conflict> {
        if self.train.patience.get() == 0 || self.is_evaluated() {
            return Ok(());
        }
        Err(Conflict {
            key: "patience",
            message: "counts evaluations, and there are none".into(),
            help: "set data.split, as in split = [0.9, 0.1, 0.0], and eval.every".into(),
        })
    }

    fn check_shards(&self) -> Result<(), Conflict> {
        let (shards, lanes) = (self.train.shards.get(), self.train.batch_size.get());
        if lanes % shards == 0 {
            return Ok(());
        }
        Err(Conflict {
            key: "shards",
            message: format!("must divide the lanes, and {lanes} is no multiple of {shards}"),
            help: format!(
                "set batch_size = {}, say",
                (lanes as u64).next_multiple_of(shards as u64)
            ),
        })
    }

    fn check_schedule(&self) -> Result<(), Conflict> {
        let schedule = self.build_schedule();
        schedule.check_length(self.train.steps.get() as u64)?;
        if schedule.needs_validation() && !self.is_evaluated() {
            return Err(Conflict {
                key: "kind",
                message: format!(
                    "`{}` listens to the validation loss, and there is none",
                    self.schedule.name
                ),
                help: "set data.split, as in split = [0.9, 0.1, 0.0], and eval.every".into(),
            });
        }
        Ok(())
    }

    fn check_split(&self) -> Result<(), Conflict> {
        let [train, val, test] = self.data.split.map(Share::get);
        let message = if 1e-9 < (train + val + test - 1.0).abs() {
            format!("must add up to 1, these give {}", train + val + test)
        } else if train == 0.0 {
            "leaves nothing to train on".to_owned()
        } else {
            return Ok(());
        };
        Err(Conflict { key: "split", message, help: "as in split = [0.9, 0.1, 0.0]".into() })
    }

    /// The config with every default written out. Reading it again gives the same config.
    pub fn to_toml(&self) -> toml::Table {
        let mut root = toml::Table::new();
        let mut data = self.source.to_table();
        data.extend(table_of(&self.data));
        data.insert("tokenizer".into(), self.tokenizer.to_toml());
        root.insert("data".into(), data.into());
        let mut model = table_of(&self.model);
        model.insert("cell".into(), self.cell.to_toml());
        model.insert("init".into(), self.init.to_toml());
        root.insert("model".into(), model.into());
        let mut optimizer = self.optimizer.to_table();
        optimizer.extend(table_of(&self.optimizer_keys));
        root.insert("optimizer".into(), optimizer.into());
        let mut schedule = self.schedule.to_table();
        schedule.extend(table_of(&self.schedule_keys));
        root.insert("schedule".into(), schedule.into());
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
        let absolute = |path: &Path| normal(&std::path::absolute(path).unwrap_or(path.to_owned()));
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
            let texts = match table.and_then(|table| table.get_mut(*last)) {
                Some(toml::Value::Array(paths)) => paths.as_mut_slice(),
                Some(path) => std::slice::from_mut(path),
                None => continue,
            };
            for text in texts {
                if let toml::Value::String(text) = text {
                    *text = map(Path::new(text.as_str())).display().to_string();
                }
            }
        }
        document_text(&root)
    }
}

/// The keys of the sections, without those of parts, with their defaults: what a config meant that was
/// written out before there were all of them.
pub(crate) fn default_keys() -> toml::Table {
    let sections = [
        ("data", table_of(&DataKeys::default())),
        ("model", table_of(&ModelKeys::default())),
        ("optimizer", table_of(&OptimizerKeys::default())),
        ("schedule", table_of(&ScheduleKeys::default())),
        ("train", table_of(&TrainKeys::default())),
        ("eval", table_of(&EvalKeys::default())),
        ("sample", table_of(&SampleKeys::default())),
        ("checkpoint", table_of(&CheckpointKeys::default())),
        ("log", table_of(&LogKeys::default())),
    ];
    sections.map(|(name, keys)| (name.to_owned(), keys.into())).into_iter().collect()
}

/// A path to be shown: where it leads up again, the way that a person would take. Its last name may be
/// a pattern, or a link that is meant by its own name.
pub(crate) fn short(path: &Path) -> String {
    let leads_up = path.components().any(|component| component == Component::ParentDir);
    let real = path.parent().filter(|_| leads_up).and_then(|parent| parent.canonicalize().ok());
    let (Some(real), Some(name)) = (real, path.file_name()) else {
        return path.display().to_string();
    };
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    real.strip_prefix(here).unwrap_or(&real).join(name).display().to_string()
}

/// The path without `.` and `..`, as the system has it where it is there.
fn normal(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let mut normal = PathBuf::new();
        for component in path.components() {
            match component {
                Component::ParentDir => _ = normal.pop(),
                Component::CurDir => {}
                other => normal.push(other),
            }
        }
        normal
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_by_its_shortest_way() {
        // From the directory of this crate.
        let check = |path: &str, expected: &str| assert_eq!(short(Path::new(path)), expected);
        check("src/plan/../../Cargo.toml", "Cargo.toml");
        check("src/plan/../none/*.txt", "src/plan/../none/*.txt");
        check("src/plan/../*.rs", "src/*.rs");
        check("none/../Cargo.toml", "none/../Cargo.toml");
        check("./Cargo.toml", "./Cargo.toml");
        let above = std::env::current_dir().expect("there").canonicalize().expect("there");
        let above = above.parent().expect("the workspace").join("x.txt");
        check("../x.txt", &above.display().to_string());
    }

    #[test]
    fn an_optimizer_has_a_learning_rate_of_its_own_where_none_is_given() {
        let check = |text: &str, overrides: &[&str], expected: f64| {
            let text = format!("data.path = \"t\"\n{text}");
            let document = Document::new("c.toml", text, overrides.iter().copied());
            let config = Config::parse(&document, &Parts::builtin()).expect("valid");
            assert_eq!(config.optimizer_keys.learning_rate.get(), expected, "{overrides:?}");
            assert_eq!(config.to_toml()["optimizer"]["learning_rate"], expected.into());
        };
        check("", &[], 0.1);
        check("", &["optimizer=adam"], 0.001);
        check("optimizer = \"rmsprop\"", &[], 0.01);
        check("[optimizer]\nkind = \"lion\"\nema = 0.5", &[], 1e-4);
        check("", &["optimizer.kind=adam", "optimizer.learning_rate=0.5"], 0.5);
        // What stands there is meant, whatever becomes of its neighbours.
        let given = "[optimizer]\nkind = \"adagrad\"\nlearning_rate = 0.2";
        check(given, &["optimizer.kind=adam"], 0.2);
        check(given, &["optimizer=adam"], 0.001);
    }
}
