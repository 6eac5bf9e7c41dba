//! Everything a config can name.

use data_io::source::{Source, builtin_sources};
use data_io::{BuildTokenizer, builtin_tokenizers};
use optim::{
    BuildOptimizer, BuildSchedule, BuildTransform, builtin_optimizers, builtin_schedules,
    builtin_transforms,
};
use registry::{Entry, Key, Registry};
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

/// A part for people to read, whatever its family.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The word in a config.
    pub name: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// Author and year.
    pub source: &'static str,
    /// Its keys with their defaults.
    pub keys: Vec<Key>,
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

    /// The families in the plural, each with the key that names its parts and the parts it has.
    pub fn listings(&self) -> Vec<(String, &'static str, Vec<Listing>)> {
        vec![
            family("data.kind", &self.sources),
            family("data.tokenizer", &self.tokenizers),
            family("model.cell", &self.cells),
            family("model.init", &self.initializers),
            family("optimizer.kind", &self.optimizers),
            family("schedule.kind", &self.schedules),
            family("transform.kind", &self.transforms),
        ]
    }
}

fn family<D: ?Sized + 'static>(
    key: &'static str,
    registry: &Registry<D>,
) -> (String, &'static str, Vec<Listing>) {
    let listing = |entry: &Entry<D>| Listing {
        name: entry.name,
        summary: entry.summary,
        source: entry.source,
        keys: entry.keys(),
    };
    let listings = registry.entries().iter().map(listing).collect();
    (format!("{}s", registry.family()), key, listings)
}
