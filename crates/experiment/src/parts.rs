//! Everything a config can name.

use data_io::source::{Source, builtin_sources};
use data_io::{BuildTokenizer, builtin_tokenizers};
use optim::{
    BuildOptimizer, BuildSchedule, BuildTransform, builtin_optimizers, builtin_schedules,
    builtin_transforms,
};
use registry::Registry;
use rnn_model::{BuildLayer, Initializer, builtin_cells, builtin_initializers, init};

use crate::file_init::FileInit;

/// The registries of all families. A program of your own registers its parts here and hands the
/// value to `cli::main_with`, or uses it directly.
pub struct Parts {
    /// What `data.kind` names.
    pub sources: Registry<dyn Source>,
    /// What `model.cell` names.
    pub cells: Registry<dyn BuildLayer>,
    /// What `model.init` names.
    pub initializers: Registry<dyn Initializer>,
    /// What `optimizer.kind` names.
    pub optimizers: Registry<dyn BuildOptimizer>,
    /// What `schedule.kind` names.
    pub schedules: Registry<dyn BuildSchedule>,
    /// What the `kind` of a `[[transform]]` names.
    pub transforms: Registry<dyn BuildTransform>,
    /// What `data.tokenizer` names.
    pub tokenizers: Registry<dyn BuildTokenizer>,
}

/// The parts that a config means where it names none.
pub(crate) mod default {
    pub const SOURCE: &str = "text";
    pub const TOKENIZER: &str = "char";
    pub const CELL: &str = "vanilla";
    pub const INITIALIZER: &str = "normal";
    pub const OPTIMIZER: &str = "adagrad";
    pub const SCHEDULE: &str = "constant";
}

impl Parts {
    /// Every part of this workspace.
    pub fn builtin() -> Self {
        let mut initializers = builtin_initializers();
        initializers.register(init::entry::<FileInit>());
        Self {
            sources: builtin_sources(),
            cells: builtin_cells(),
            initializers,
            optimizers: builtin_optimizers(),
            schedules: builtin_schedules(),
            transforms: builtin_transforms(),
            tokenizers: builtin_tokenizers(),
        }
    }
}
