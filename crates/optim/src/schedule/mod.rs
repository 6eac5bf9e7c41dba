//! Schedules of the learning rate, one file each.

mod constant;

use registry::{Entry, Part, Registry};

pub use constant::Constant;

/// How the learning rate goes over a run.
///
/// Most schedules are pure functions of the step: nothing to save, easy to plot and to test.
pub trait Schedule: Send {
    /// What `optimizer.learning_rate` is multiplied with at `step`, from 1, of `steps` in all.
    fn factor(&self, step: u64, steps: u64) -> f64;
}

/// A schedule with its keys: what `schedule.kind` names.
pub trait BuildSchedule: Send + Sync {
    /// Builds the schedule.
    fn build(&self) -> Box<dyn Schedule>;
}

/// A schedule without state is its own part.
impl<S: Part + Schedule + Clone + Sync> BuildSchedule for S {
    fn build(&self) -> Box<dyn Schedule> {
        Box::new(self.clone())
    }
}

/// The entry of schedule `P`.
pub fn entry<P: Part + BuildSchedule>() -> Entry<dyn BuildSchedule> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every schedule this crate offers, by the name a config uses.
pub fn builtin_schedules() -> Registry<dyn BuildSchedule> {
    Registry::new("schedule", [entry::<Constant>()])
}
