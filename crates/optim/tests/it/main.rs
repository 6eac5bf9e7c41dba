//! What holds for every optimizer, schedule and transform. One binary, so that a change of the crate
//! links once.

mod conformance;
mod parity;
