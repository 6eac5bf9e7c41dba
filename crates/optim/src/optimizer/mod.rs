//! Optimizers, one file each.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod each_entry;
mod lion;
mod muon;
mod nadam;
#[cfg(test)]
mod probe;
mod radam;
mod rmsprop;
mod sgd;

use registry::{Entry, Part, Registry};
use tensor_core::pool::Pool;
use tensor_core::{Layout, Real};

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::AdaMax;
pub use adamw::AdamW;
pub use each_entry::Reach;
pub use lion::Lion;
pub use muon::{AdjustLr, Muon};
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

/// What an optimizer is given for one step.
#[derive(Debug)]
pub struct Update<'a, T> {
    /// Counts from 1.
    pub step: u64,
    /// That of this step.
    pub learning_rate: f64,
    /// Overwritten. Laid out as the optimizer was built for.
    pub params: &'a mut [T],
    /// Laid out alike.
    pub grads: &'a [T],
    /// Threads for who computes much.
    pub pool: &'a mut Pool,
}

/// A rule that moves parameters by their gradients.
pub trait Optimizer<T: Real>: Send {
    /// Takes one step. Allocates nothing. No bit depends on the number of threads.
    fn update(&mut self, update: Update<'_, T>);

    /// Everything that has to survive a restart, by name, in slices of fixed length.
    fn state(&mut self) -> Vec<(&'static str, &mut [T])>;
}

/// An optimizer with its keys: what `optimizer.kind` names.
pub trait OptimizerPart: Part {
    /// The learning rate where a config gives none: that of PyTorch, unless its file says why not.
    const LEARNING_RATE: f64 = 1e-3;

    /// Builds the optimizer of parameters laid out as `layout`.
    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>>;
}

/// An [`OptimizerPart`] without its type, for every number type there is.
pub trait BuildOptimizer: Send + Sync {
    /// Builds one for parameters in `f32`.
    fn f32(&self, layout: &Layout) -> Box<dyn Optimizer<f32>>;
    /// Builds one for parameters in `f64`.
    fn f64(&self, layout: &Layout) -> Box<dyn Optimizer<f64>>;
}

impl<P: OptimizerPart + Send + Sync> BuildOptimizer for P {
    fn f32(&self, layout: &Layout) -> Box<dyn Optimizer<f32>> {
        self.optimizer(layout)
    }
    fn f64(&self, layout: &Layout) -> Box<dyn Optimizer<f64>> {
        self.optimizer(layout)
    }
}

/// The entry of optimizer `P`.
pub fn entry<P: OptimizerPart + Send + Sync>() -> Entry<dyn BuildOptimizer> {
    let entry = Entry::<dyn BuildOptimizer>::new::<P>(|part| Box::new(part));
    entry.with_default("learning_rate", P::LEARNING_RATE)
}

/// Every optimizer this crate offers, by the name a config uses.
pub fn builtin_optimizers() -> Registry<dyn BuildOptimizer> {
    Registry::new(
        "optimizer",
        [
            entry::<Sgd>(),
            entry::<Adagrad>(),
            entry::<RmsProp>(),
            entry::<Adadelta>(),
            entry::<Adam>(),
            entry::<AdamW>(),
            entry::<AdaMax>(),
            entry::<NAdam>(),
            entry::<RAdam>(),
            entry::<Lion>(),
            entry::<Muon>(),
        ],
    )
}
