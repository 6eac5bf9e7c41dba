//! What is measured: models with a name, and what they cost.

use std::path::{Path, PathBuf};
use std::{fs, io};

use experiment::{Experiment, Parts, open_config};
use tensor_core::phase::Phase;

/// Steps for a run that is stopped from outside.
const ENDLESS: u64 = 1_000_000_000;
/// Characters of a made text.
const TEXT_LEN: u64 = 200_000;

/// A model, the windows it trains on and the optimizer.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is called in tables.
    pub name: String,
    /// `model.cell`: `vanilla`, `lstm` or `gru`.
    pub cell: &'static str,
    /// Recurrent layers.
    pub layers: u64,
    /// Width of the state.
    pub hidden_size: u64,
    /// Different characters in the text.
    pub vocab_size: u64,
    /// Lanes of a window.
    pub batch_size: u64,
    /// Time steps of a window.
    pub seq_len: u64,
    /// `optimizer.kind`, one of two.
    pub optimizer: &'static str,
}

/// The workloads of training, W1 to W4.
///
/// W1 is `configs/karpathy.toml`, W2 what char-rnn and torch-rnn train by default, W3 and W4 are
/// larger ones.
pub fn workloads() -> Vec<Workload> {
    let workload = |name: &str, cell, layers, hidden_size, vocab_size, batch_size, seq_len| {
        let optimizer = if cell == "vanilla" { "adagrad" } else { "adam" };
        let name = name.into();
        Workload { name, cell, layers, hidden_size, vocab_size, batch_size, seq_len, optimizer }
    };
    vec![
        workload("W1", "vanilla", 1, 100, 58, 1, 25),
        workload("W2", "lstm", 2, 128, 65, 50, 50),
        workload("W3", "lstm", 2, 512, 96, 64, 64),
        workload("W4", "gru", 1, 256, 96, 32, 64),
    ]
}

/// Two layers, as W2 and W3 have, from 64 to 2048 wide: to see whether time grows as operations do, from
/// where a tenth of them is no product to where weights have left the caches.
pub fn growth() -> Vec<Workload> {
    let workload = |hidden_size: u64| Workload {
        name: format!("{hidden_size}"),
        cell: "lstm",
        layers: 2,
        hidden_size,
        vocab_size: 96,
        batch_size: 32,
        seq_len: 32,
        optimizer: "adam",
    };
    (6..=11).map(|power| workload(1 << power)).collect()
}

impl Workload {
    /// Its name and its sizes.
    pub fn title(&self) -> String {
        let Self { name, cell, layers, hidden_size, vocab_size, batch_size, seq_len, .. } = self;
        format!("{name} {cell} {layers}x{hidden_size} V={vocab_size} B={batch_size} T={seq_len}")
    }

    /// Characters that a step of training reads.
    pub fn chars(&self) -> u64 {
        self.batch_size * self.seq_len
    }

    /// Floating-point operations of a step's matrix products, two for a multiply-add.
    ///
    /// Forwards, a character costs the products below; backwards as much again for the gradient of
    /// the weights, and once more for that of the inputs. Element-wise work is not counted.
    pub fn step_flops(&self) -> u64 {
        3 * self.chars() * self.char_flops()
    }

    /// The same for one phase of a step.
    pub fn phase_flops(&self, phase: Phase) -> u64 {
        let hidden = self.hidden_size;
        let products = match phase {
            Phase::Recurrence | Phase::RecurrenceBackward => self.gates() * hidden * self.layers,
            Phase::Input | Phase::InputBackward => self.gates() * hidden * (self.layers - 1),
            Phase::Output | Phase::OutputBackward => self.vocab_size,
            Phase::WeightGradients => {
                self.gates() * hidden * (2 * self.layers - 1) + self.vocab_size
            }
            Phase::Layout | Phase::Loss | Phase::Optimizer | Phase::Rest => 0,
        };
        2 * self.chars() * hidden * products
    }

    /// The same for a character that is written.
    ///
    /// `2·(G·H²·(2·L - 1) + H·V)`, where `G` is the number of gates: every layer multiplies its
    /// state, all but the first their input. The first layer's input is a row of its weights, no
    /// product.
    pub fn char_flops(&self) -> u64 {
        let (gates, hidden) = (self.gates(), self.hidden_size);
        2 * (gates * hidden * hidden * (2 * self.layers - 1) + hidden * self.vocab_size)
    }

    /// Floating-point operations of a step that no product has: cells, softmax, sums, the optimizer.
    ///
    /// As they are computed here: a polynomial counts with all its multiply-adds, a root or a division as
    /// one. What is done once a row or a lane is left out, as are comparisons and norms.
    pub fn other_flops(&self) -> u64 {
        let Self { layers, hidden_size: hidden, vocab_size, .. } = *self;
        let pre_activations = self.gates() * hidden;
        // Those of `tensor_core::math`.
        const EXP: u64 = 21;
        const TANH: u64 = 36;
        const SIGMOID: u64 = 27;
        // Of a unit, both ways and what the output adds to its gradient; and whether what the state adds to
        // its pre-activations is a sum.
        let (unit, is_sum) = match self.cell {
            "vanilla" => (TANH + 4, true),
            "gru" => (2 * SIGMOID + TANH + 29, false),
            // The way back computes tanh(c) once more.
            "lstm" => (3 * SIGMOID + 3 * TANH + 27, true),
            cell => unreachable!("the equations of a {cell} cell were not counted"),
        };
        // Forwards the bias and what the state adds, backwards the gradients by bias and state.
        let layer = hidden * unit + pre_activations * (2 + u64::from(is_sum)) + hidden;
        // A character's row of weights is added up, no product.
        let first = pre_activations;
        // Bias, shift, sum, scale, and the gradient by the bias.
        let output = vocab_size * (EXP + 5);
        // Adagrad has the root from a polynomial, of 16 operations. It leaves out characters that a window
        // did not have, which are counted here.
        let update = match self.optimizer {
            "adagrad" => 24,
            _ => 15,
        };
        self.chars() * (layers * layer + first + output) + self.params() * update
    }

    /// Number of parameters, but for a GRU's `b_hh`.
    fn params(&self) -> u64 {
        let Self { layers, hidden_size: hidden, vocab_size, .. } = *self;
        let pre_activations = self.gates() * hidden;
        let inputs = vocab_size + (layers - 1) * hidden;
        pre_activations * (inputs + layers * (hidden + 1)) + (hidden + 1) * vocab_size
    }

    fn gates(&self) -> u64 {
        match self.cell {
            "vanilla" => 1,
            "gru" => 3,
            "lstm" => 4,
            cell => unreachable!("the products of a {cell} cell were not counted"),
        }
    }

    /// The config of an endless run on `NAME.txt`, which logs, samples and saves nothing.
    ///
    /// With Adagrad it is min-char-rnn's, else what one would write for PyTorch.
    pub fn config(&self) -> String {
        let Self { name, cell, layers, hidden_size, batch_size, seq_len, optimizer, .. } = self;
        let (learning_rate, init, loss) = match *optimizer {
            "adagrad" => (0.1, "normal", "sum"),
            _ => (0.002, "pytorch", "mean"),
        };
        format!(
            r#"[data]
path = "{name}.txt"

[model]
cell = "{cell}"
layers = {layers}
hidden_size = {hidden_size}
init = {{ kind = "{init}" }}

[optimizer]
kind = "{optimizer}"
learning_rate = {learning_rate}

[[transform]]
kind = "clip_value"
limit = 5.0

[train]
seq_len = {seq_len}
batch_size = {batch_size}
steps = {ENDLESS}
loss = "{loss}"

[log]
every = 0

[sample]
every = 0

[checkpoint]
every = 0
"#
        )
    }

    /// Writes config and text into a directory; returns the config's path.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_into(&self, directory: &Path) -> io::Result<PathBuf> {
        let text = match self.name.as_str() {
            "W1" => include_str!("../../configs/data/input.txt").to_owned(),
            _ => made_text(self.vocab_size),
        };
        fs::write(directory.join(format!("{}.txt", self.name)), text)?;
        let config = directory.join(format!("{}.toml", self.name));
        fs::write(&config, self.config())?;
        Ok(config)
    }

    /// The experiment, with its files in a directory.
    ///
    /// # Panics
    /// If they cannot be written, or are no valid experiment.
    pub fn prepare(&self, directory: &Path) -> Experiment {
        let config = self.write_into(directory).expect("a directory to write into");
        let document = open_config(&config, &[]).expect("just written");
        Experiment::prepare(&document, &Parts::builtin()).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A text of the first `vocab_size` of 96 characters, in no order; the time a step takes does not
/// depend on which they are.
fn made_text(vocab_size: u64) -> String {
    let symbols: Vec<char> = (' '..='~').chain(['\n']).take(vocab_size as usize).collect();
    // Weyl's sequence: multiples of the golden ratio, whose high bits are evenly spread.
    let high_bits = |index: u64| index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (0..TEXT_LEN).map(|index| symbols[high_bits(index) as usize % symbols.len()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flops_are_those_of_the_formulas_written_out() {
        let flops: Vec<_> = workloads().iter().map(Workload::step_flops).collect();
        let expected = [
            25 * (6 * 100 * 100 + 6 * 100 * 58),
            50 * 50 * (72 * 128 * 128 + 6 * 128 * 65),
            64 * 64 * (72 * 512 * 512 + 6 * 512 * 96),
            32 * 64 * (18 * 256 * 256 + 6 * 256 * 96),
        ];
        assert_eq!(flops, expected);
        for (workload, expected) in workloads().iter().zip(expected) {
            let phases = Phase::ALL.map(|phase| workload.phase_flops(phase));
            assert_eq!(phases.iter().sum::<u64>(), expected, "{}", workload.name);
        }
    }

    #[test]
    fn other_flops_are_those_of_the_equations_written_out() {
        let flops: Vec<_> = workloads().iter().map(Workload::other_flops).collect();
        let softmax = |vocab_size: u64| vocab_size * (21 + 5);
        let gates_and_bias = 4 * 128 * 3 + 128;
        let expected = [
            25 * (100 * (36 + 4) + 100 * 3 + 100 + 100 + softmax(58)) + 24 * 21_758,
            2500 * (2 * (128 * 216 + gates_and_bias) + 4 * 128 + softmax(65)) + 15 * 239_297,
            4096 * (2 * (512 * 216 + 4 * 512 * 3 + 512) + 4 * 512 + softmax(96)) + 15 * 3_395_680,
            2048 * (256 * 119 + 3 * 256 * 2 + 256 + 3 * 256 + softmax(96)) + 15 * 295_776,
        ];
        assert_eq!(flops, expected);
    }

    #[test]
    fn every_workload_is_an_experiment_with_its_vocabulary() {
        for workload in workloads().iter().chain(&growth()[..1]) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let experiment = workload.prepare(directory.path());
            let vocab_size = experiment.tokenizer().vocab_size() as u64;
            assert_eq!(vocab_size, workload.vocab_size, "{}", workload.name);
            let of_gru =
                if workload.cell == "gru" { workload.layers * workload.hidden_size } else { 0 };
            let params = experiment.initial().len() as u64;
            assert_eq!(params, workload.params() + of_gru, "{}", workload.name);
        }
    }
}
