//! Gradient noise: `g ← g + N(0, eta / (1+t)^gamma)` in each entry, where `t` is the number of steps
//! already taken.
//!
//! Neelakantan et al., "Adding gradient noise improves learning for very deep networks", 2015, with
//! `eta` from 0.01, 0.3 and 1.0. Behind a clipping, as there, the noise is not clipped.
//!
//! Every step draws from its own stretch of the run's noise stream, so the numbers are a function of
//! seed and step, and there is nothing to save. Two of these in one chain would draw the same ones.

use registry::Part;
use registry::range::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::rng::{Rng, Stream, normal, stream};
use tensor_core::{Layout, Real};

use super::{Transform, TransformPart, Verdict};

/// 32-bit words of the stream that one normal deviate takes.
const WORDS: u128 = 4;

/// Keys of `noise`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Noise {
    /// variance in the first step
    pub eta: NonNegative,
    /// how fast the variance goes down with the steps
    pub gamma: NonNegative,
}

impl Default for Noise {
    fn default() -> Self {
        Self { eta: NonNegative::new(0.01), gamma: NonNegative::new(0.55) }
    }
}

impl Part for Noise {
    const NAME: &'static str = "noise";
    const SUMMARY: &'static str = "adds normal noise that fades over the run";
    const SOURCE: &'static str = "Neelakantan et al. 2015";
}

impl TransformPart for Noise {
    fn transform<T: Real>(&self, _layout: &Layout, seed: u64) -> Box<dyn Transform<T>> {
        Box::new(State { keys: *self, rng: stream(seed, Stream::Noise) })
    }
}

struct State {
    keys: Noise,
    rng: Rng,
}

impl<T: Real> Transform<T> for State {
    fn apply(&mut self, step: u64, _params: &[T], grads: &mut [T]) -> Verdict {
        let variance = self.keys.eta.get() / libm::pow(step as f64, self.keys.gamma.get());
        let deviation = variance.sqrt();
        self.rng.set_word_pos(u128::from(step - 1) * grads.len() as u128 * WORDS);
        for g in grads {
            *g += T::from_f64(deviation * normal(&mut self.rng));
        }
        Verdict::Step
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied;
    use super::*;

    const KEYS: Noise = Noise { eta: NonNegative::new(4.0), gamma: NonNegative::new(1.0) };

    #[test]
    fn the_steps_of_a_run_draw_one_stream_without_gap_or_overlap() {
        let mut rng = stream(42, Stream::Noise);
        for step in 1..5 {
            let deviation = (4.0 / step as f64).sqrt();
            let expected: [f64; 5] = std::array::from_fn(|_| 1.0 + deviation * normal(&mut rng));
            assert_eq!(applied(KEYS, step, [0.0; 5], [1.0; 5]), (expected, Verdict::Step));
        }
    }

    #[test]
    fn the_variance_is_eta_and_fades() {
        for (step, expected) in [(1, 4.0), (16, 0.25)] {
            let (noise, _) = applied(KEYS, step, [0.0; 10_000], [0.0; 10_000]);
            let variance = noise.iter().map(|g| g * g).sum::<f64>() / 10_000.0;
            // The standard error of a variance is √(2/n) of it; four of them.
            assert!((variance / expected - 1.0).abs() < 4.0 * (2.0_f64 / 10_000.0).sqrt());
        }
    }
}
