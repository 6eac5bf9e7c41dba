//! Schedules of the learning rate, one file each.

mod constant;
mod cosine;
mod exponential;
mod inverse_sqrt;
mod linear;
mod one_cycle;
mod plateau;
mod step;
mod warm_up;
mod warmup_stable_decay;

use registry::range::Every;
use registry::{Conflict, Entry, Part, Registry};

pub use constant::Constant;
pub use cosine::Cosine;
pub use exponential::Exponential;
pub use inverse_sqrt::InverseSqrt;
pub use linear::Linear;
pub use one_cycle::OneCycle;
pub use plateau::Plateau;
pub use step::Step;
pub use warm_up::WarmUp;
pub use warmup_stable_decay::WarmupStableDecay;

/// How the learning rate goes over a run.
///
/// Most schedules are pure functions of the step: nothing to save, easy to plot and to test. One
/// that listens to the validation loss keeps what it heard, and shows it in [`state`](Self::state).
///
/// As in PyTorch the first step has the factor of a scheduler that was never stepped, so a decay
/// over `n` steps reaches its end with the step after them.
pub trait Schedule: Send {
    /// What `optimizer.learning_rate` is multiplied with at `step`, from 1 to `steps`.
    fn factor(&self, step: u64, steps: u64) -> f64;

    /// Hears the loss over the validation text, whenever there was an evaluation.
    fn observe(&mut self, _val_nats_per_char: f64) {}

    /// Whether it goes nowhere without hearing a validation loss.
    fn needs_validation(&self) -> bool {
        false
    }

    /// Everything that has to survive a restart, by name. Always finite.
    fn state(&mut self) -> Vec<(&'static str, &mut f64)> {
        Vec::new()
    }

    /// Checks that the schedule fits a run of `steps`.
    ///
    /// # Errors
    /// If a key asks for more steps than there are.
    fn check_length(&self, _steps: u64) -> Result<(), Conflict> {
        Ok(())
    }
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
    Registry::new(
        "schedule",
        [
            entry::<Constant>(),
            entry::<Step>(),
            entry::<Exponential>(),
            entry::<Linear>(),
            entry::<Cosine>(),
            entry::<OneCycle>(),
            entry::<WarmupStableDecay>(),
            entry::<InverseSqrt>(),
            entry::<Plateau>(),
        ],
    )
}

/// Steps that a decay takes: its key, or the whole run where that is 0.
fn length(key: Every, steps: u64) -> u64 {
    if key.get() == 0 { steps } else { key.get() as u64 }
}

/// The share of `length` steps that lies behind `step`; both are at least 1.
fn progress(step: u64, length: u64) -> f64 {
    (step - 1).min(length) as f64 / length as f64
}

/// Refuses a length of more than `steps`.
fn check_length(key: &'static str, length: Every, steps: u64) -> Result<(), Conflict> {
    let length = length.get() as u64;
    if length <= steps {
        return Ok(());
    }
    Err(Conflict {
        key,
        message: format!("takes {length} steps, and only {steps} are left for it"),
        help: format!("make it {steps} or less, or 0 for what the run has, or train longer"),
    })
}

#[cfg(test)]
fn factors(schedule: &dyn Schedule, steps: u64) -> Vec<f64> {
    (1..=steps).map(|step| schedule.factor(step, steps)).collect()
}
