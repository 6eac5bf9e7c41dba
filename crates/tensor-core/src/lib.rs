//! The arithmetic everything else stands on: number types, the layout of parameters in a flat
//! buffer, matrix products over [`ndarray`] views, a pool of threads, seeded random streams, and the
//! finite-difference gradient checker.
//!
//! Every sum here is taken in an order that is written down. No result depends on the CPU, the
//! number of threads or the system's mathematics library, so a run repeats to the bit anywhere.
//! This crate does no I/O, knows no serialization and no model.

mod aligned;
mod dual;
pub mod gemm;
pub mod gradcheck;
mod kernel;
mod layout;
pub mod math;
pub mod phase;
pub mod pool;
mod prefetch;
mod real;
pub mod reduce;
pub mod rng;
pub mod simd;

pub use aligned::Aligned;
pub use dual::Dual;
pub use layout::{Layout, Segment, Shape, Tensor};
pub use prefetch::prefetch;
pub use real::Real;
