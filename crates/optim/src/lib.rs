//! What turns gradients into better parameters: transforms of the gradient, optimizers, and
//! schedules of the learning rate.
//!
//! All of them see flat slices and at most where each tensor lies in them; none knows a model. The
//! learning rate arrives from outside, so no optimizer knows about schedules. Each part is one file
//! with one line in a `builtin_*` list.

pub mod optimizer;
pub mod schedule;
pub mod transform;

pub use optimizer::{BuildOptimizer, Optimizer, OptimizerPart, Reach, Update, builtin_optimizers};
pub use schedule::{BuildSchedule, Schedule, WarmUp, builtin_schedules};
pub use transform::{BuildTransform, Transform, TransformPart, Verdict, builtin_transforms};
