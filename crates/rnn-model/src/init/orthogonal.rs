//! Recurrent weights orthogonal, gate by gate, so that a step neither stretches nor shrinks the state;
//! other weights as in `xavier`, biases zero.
//!
//! Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
//! neural networks", ICLR 2014; Henaff, Szlam & LeCun, "Recurrent orthogonal networks and
//! long-memory tasks", ICML 2016.

use registry::Part;
use registry::range::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::Segment;
use tensor_core::rng::{self, Rng};

use super::{Distribution, Xavier, gate_blocks};

/// Keys of `orthogonal`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Orthogonal {
    /// what the state is stretched by
    pub gain: Positive,
}

impl Default for Orthogonal {
    fn default() -> Self {
        Self { gain: Positive::new(1.0) }
    }
}

impl Part for Orthogonal {
    const NAME: &'static str = "orthogonal";
    const SUMMARY: &'static str = "recurrent weights orthogonal, the others as in xavier";
    const SOURCE: &'static str = "Saxe, McClelland & Ganguli 2014";
}

impl Distribution for Orthogonal {
    fn draw(&self, segment: &Segment, hidden_size: usize, rng: &mut Rng, values: &mut [f64]) {
        if !["w_hh", "w_mh"].contains(&segment.tensor) {
            return Xavier {}.draw(segment, hidden_size, rng, values);
        }
        let (size, _, firsts) = gate_blocks(segment).expect("recurrent weights are a matrix");
        for first in firsts {
            for (row, weights) in random_orthogonal(size, rng).into_iter().enumerate() {
                let start = row * size * segment.gates.len() + first;
                for (value, weight) in values[start..][..size].iter_mut().zip(weights) {
                    *value = self.gain.get() * weight;
                }
            }
        }
    }
}

/// Rows drawn from a normal distribution and made orthogonal one after the other, so the matrix is
/// uniform over the orthogonal ones. Projecting twice keeps rounding errors at their level (Giraud et
/// al., "The loss of orthogonality in the Gram-Schmidt orthogonalization process", 2005).
fn random_orthogonal(size: usize, rng: &mut Rng) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
    while rows.len() < size {
        let mut row: Vec<f64> = (0..size).map(|_| rng::normal(rng)).collect();
        for other in rows.iter().chain(&rows) {
            let along = dot(&row, other);
            row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let norm = dot(&row, &row).sqrt();
        row.iter_mut().for_each(|value| *value /= norm);
        rows.push(row);
    }
    rows
}
