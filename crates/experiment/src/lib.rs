//! What a config means: from one TOML file to a trained model in a run directory.
//!
//! [`Config`] says what is wanted, [`Parts`] who can do it. [`Experiment::prepare`] reads the text and
//! checks everything that can be checked without training; [`Trainer`] is the loop's body, one
//! [`step`](Trainer::step) a window; [`train`] is the loop, which tells [`Observer`]s what happens.
//! [`RunDir`] is the observer that writes files. [`TextModel`] reads a checkpoint and writes text.
//!
//! ```no_run
//! # fn main() -> Result<(), experiment::Error> {
//! let parts = experiment::Parts::builtin();
//! let document = experiment::open_config("configs/karpathy.toml".as_ref(), &[])?;
//! let experiment = experiment::Experiment::prepare(&document, &parts)?;
//! let mut run = experiment::RunDir::create("runs/mine".as_ref(), &experiment)?;
//! experiment::train(&experiment, &mut [&mut run])?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here prints. Observers read a clock, and so does [`Speed`], which measures before a run how
//! long it will take; no result depends on it.

mod checkpoint;
mod config;
mod copied;
mod dtype;
mod dynamic;
mod error;
mod evaluator;
mod file_init;
mod listing;
mod lock;
mod log_file;
mod memory;
mod neurons;
mod no_repeat;
mod novelty;
mod observer;
mod own_text;
mod parts;
mod plan;
mod prepare;
pub mod ranks;
mod record;
mod resume;
mod rollback;
mod run_dir;
mod schema;
mod shard;
mod speed;
mod split_text;
mod sweep;
mod tensorboard;
mod text_model;
mod train;
mod trainer;
mod writer;
mod yardsticks;

pub use checkpoint::{Checkpoint, best_checkpoint, newest_checkpoint};
pub use config::{
    CheckpointKeys, Config, DataKeys, EvalKeys, LogKeys, Mode, ModelKeys, OnDivergence,
    OptimizerKeys, SampleKeys, ScheduleKeys, TrainKeys, Window, open_config,
};
pub use copied::{Copied, Span, find_copies};
pub use dtype::{Dtype, DtypeName};
pub use dynamic::Dynamic;
pub use error::{Error, nearest_known};
pub use listing::{Family, Listing, SectionListing, section_keys};
pub use memory::{Memory, in_bytes};
pub use neurons::{FEATURES, Gate, Neurons, Reach, Unit};
pub use no_repeat::NoRepeat;
pub use novelty::{Baseline, HeldOut, Novelty, NoveltyPlan, Sample, novelty};
pub use observer::{Event, Flow, Observer};
pub use own_text::{own_text, run_of};
pub use parts::Parts;
pub use plan::{Plan, counted, grouped};
pub use prepare::{Experiment, build_model};
pub use record::{Metric, Record, Timing, open_run, run_names};
pub use resume::{Change, Permitted};
pub use run_dir::{Resumed, RunDir};
pub use schema::schema;
pub use speed::{Speed, Turns, duration, in_time};
pub use split_text::SplitText;
pub use sweep::{Axis, Combination, Ended, Standing, Sweep, SweepEvent, combinations, is_free};
pub use text_model::{Reading, Summary, TextModel};
pub use train::{Outcome, agree, train, train_from};
pub use trainer::{StepReport, Trainer};
pub use yardsticks::{FREQUENCIES, GUESSING, Ground, Measuring, NGramLoss, Yardsticks, guessing};
