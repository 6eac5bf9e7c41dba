//! What holds for every cell and layer. One binary, so that a change of the crate links once.

mod causality;
mod gates;
mod generator;
mod gradients;
mod layout;
mod memory;
mod planted_gradients;
mod precision;
mod torch_parity;
mod windows;
