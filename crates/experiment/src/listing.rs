//! Everything a config can say, for people and programs to read.

use std::sync::Arc;

use registry::{Entry, Key, Registry, keys_of};
use serde::Serialize;

use crate::config::{
    CheckpointKeys, DataKeys, EvalKeys, LogKeys, ModelKeys, OptimizerKeys, SampleKeys,
    ScheduleKeys, TrainKeys,
};
use crate::parts::default;
use crate::{Parts, schema};

/// Parts that can take each other's place.
#[derive(Clone, Debug, Serialize)]
pub struct Family {
    /// What they are, in the plural.
    pub name: String,
    /// The key that names one of them.
    pub key: &'static str,
    /// The part that is meant where none is named; `None` for none.
    pub default: Option<&'static str>,
    /// The parts in the order of registration.
    pub parts: Vec<Listing>,
}

/// A part.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// The word in a config.
    pub name: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// Author and year.
    pub source: &'static str,
    /// Its keys, and those beside them for which it has a default of its own.
    pub keys: Vec<Key>,
}

/// The keys of a section that are not those of a part.
#[derive(Clone, Debug, Serialize)]
pub struct SectionListing {
    /// The section.
    pub name: &'static str,
    /// One line: what it is about.
    pub summary: &'static str,
    /// Its keys.
    pub keys: Vec<Key>,
}

impl Parts {
    /// Every family with its parts.
    pub fn families(&self) -> Vec<Family> {
        vec![
            family("data.kind", Some(default::SOURCE), &self.sources),
            family("data.tokenizer", Some(default::TOKENIZER), &self.tokenizers),
            family("model.cell", Some(default::CELL), &self.cells),
            family("model.init", Some(default::INITIALIZER), &self.initializers),
            family("optimizer.kind", Some(default::OPTIMIZER), &self.optimizers),
            family("schedule.kind", Some(default::SCHEDULE), &self.schedules),
            family("transform.kind", None, &self.transforms),
        ]
    }
}

fn family<D: ?Sized + 'static>(
    key: &'static str,
    default: Option<&'static str>,
    registry: &Registry<D>,
) -> Family {
    let section = section_keys().into_iter().find(|it| Some(it.name) == key.strip_suffix(".kind"));
    let beside = |(name, default): &(&str, f64)| {
        let mut keys = section.iter().flat_map(|it| &it.keys);
        let mut key = keys.find(|key| key.name == *name)?.clone();
        key.default = Some((*default).into());
        Some(key)
    };
    let listing = |entry: &Entry<D>| Listing {
        name: entry.name,
        summary: entry.summary,
        source: entry.source,
        keys: entry.beside.iter().filter_map(beside).chain(entry.keys()).collect(),
    };
    let parts = registry.entries().iter().map(listing).collect();
    Family { name: format!("{}s", registry.family()), key, default, parts }
}

/// The sections with their own keys, which stand there beside those of the part that is named.
pub fn section_keys() -> Vec<SectionListing> {
    let section = |name, keys: Arc<[Key]>| {
        let summary = schema::summary(name);
        SectionListing { name, summary, keys: keys.to_vec() }
    };
    vec![
        section("data", keys_of::<DataKeys>()),
        section("model", keys_of::<ModelKeys>()),
        section("optimizer", keys_of::<OptimizerKeys>()),
        section("schedule", keys_of::<ScheduleKeys>()),
        section("train", keys_of::<TrainKeys>()),
        section("eval", keys_of::<EvalKeys>()),
        section("sample", keys_of::<SampleKeys>()),
        section("checkpoint", keys_of::<CheckpointKeys>()),
        section("log", keys_of::<LogKeys>()),
    ]
}
