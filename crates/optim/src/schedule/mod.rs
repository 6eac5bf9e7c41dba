//! Schedules of the learning rate, one file each.

mod constant;

use registry::{Entry, Part, Registry};

pub use constant::Constant;

/// The learning rate as a pure function of the step: nothing to save, easy to plot and to test.
pub trait Schedule: Send + Sync {
    /// The learning rate at `step`, which counts from 1. `base` is `optimizer.learning_rate`.
    fn learning_rate(&self, base: f64, step: u64) -> f64;
}

/// The entry of schedule `P`.
pub fn entry<P: Part + Schedule>() -> Entry<dyn Schedule> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every schedule this crate offers, by the name a config uses.
pub fn builtin_schedules() -> Registry<dyn Schedule> {
    Registry::new("schedule", [entry::<Constant>()])
}
