//! How much memory a run takes, known before any of it is taken.

use rnn_model::{BuildLayer, Dims, LayerOptions};

/// Memory of a run in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Parameters, their gradients and their initial values.
    pub parameters: u128,
    /// What the optimizer keeps.
    pub optimizer: u128,
    /// Activations of one window, with what the backward pass needs.
    pub activations: u128,
    /// A checkpoint while it is written.
    pub checkpoint: u128,
    /// The text where it is held, what is known of its places, and what each lane reads.
    pub text: u128,
    /// What yardsticks take while they are measured.
    pub yardsticks: u128,
    /// A checkpoint on disk, at the least. No part of the total.
    pub file: u128,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u128 {
        let training = self.parameters + self.optimizer + self.activations + self.checkpoint;
        training + self.text + self.yardsticks
    }
}

/// Number of parameters of one layer of size `dims`. A layer without lanes has no tape: however wide
/// it is, it takes next to no memory.
pub(crate) fn layer_params(cell: &dyn BuildLayer, dims: Dims, options: LayerOptions) -> u128 {
    let layer = cell.f32(Dims { batch_size: 0, seq_len: 1, ..dims }, options);
    layer.tensors().iter().map(|tensor| tensor.shape.len() as u128).sum()
}

/// Number of values on the tape of one layer of size `dims`.
///
/// A tape grows linearly with the lanes, and for each lane with the steps, so two tiny layers tell
/// what a large one would hold.
pub(crate) fn layer_tape(cell: &dyn BuildLayer, dims: Dims, options: LayerOptions) -> u128 {
    let probe =
        |seq_len| cell.f32(Dims { batch_size: 1, seq_len, ..dims }, options).tape_len() as u128;
    let (one, two) = (probe(1), probe(2));
    let (each, once) = (two - one, 2 * one - two);
    dims.batch_size as u128 * (once + each * dims.seq_len as u128)
}

/// The memory in this machine, as far as the system tells.
pub(crate) fn of_machine() -> u128 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u128>().ok()
    });
    total.map_or(1 << 40, |kib| kib * 1024)
}

/// `1.5 MiB`.
pub fn in_bytes(bytes: u128) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while 1024.0 <= value && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use rnn_model::builtin_cells;

    use super::*;

    #[test]
    fn two_tiny_layers_tell_what_a_large_one_holds() {
        for entry in builtin_cells().entries() {
            let document = registry::Document::new("x", format!("c = \"{}\"", entry.name), [""; 0]);
            let part = document.parse().expect("TOML").part("c", "").expect("a name");
            let cell = builtin_cells().choose(part).expect("registered");
            let dims = Dims { input_size: 7, hidden_size: 5, batch_size: 3, seq_len: 11 };
            let options = LayerOptions::default();
            let layer = cell.f32(dims, options);
            let n_params: usize = layer.tensors().iter().map(|tensor| tensor.shape.len()).sum();
            assert_eq!(layer_params(&*cell, dims, options), n_params as u128, "{}", entry.name);
            assert_eq!(
                layer_tape(&*cell, dims, options),
                layer.tape_len() as u128,
                "{}",
                entry.name
            );
        }
    }

    #[test]
    fn bytes_are_written_in_their_unit() {
        assert_eq!(in_bytes(1023), "1023 bytes");
        assert_eq!(in_bytes(1536), "1.5 KiB");
        assert_eq!(in_bytes(3 << 30), "3.0 GiB");
    }
}
