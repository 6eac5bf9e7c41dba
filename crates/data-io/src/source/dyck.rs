//! Balanced brackets of several kinds, nested no deeper than a limit.
//!
//! On depth 0 a bracket opens, on the deepest level one closes, and in between one opens with
//! probability `p_open`, of any kind alike; which kind closes is never open to choice. With `π` the
//! stationary distribution of the depth, `H` the entropy of a choice between two, and `p = p_open`,
//! the entropy rate is `π[0]·ln(kinds) + Σ π[d]·(H(p) + p·ln(kinds))`, summed over the depths
//! between. To come near it a model has to keep a stack.
//!
//! Chomsky & Schützenberger, "The algebraic theory of context-free languages", 1963; with a limit
//! Hewitt et al., "RNNs can generate bounded hierarchical languages with optimal memory", EMNLP 2020.

use registry::range::{Fraction, Length, Seed, Size};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::rng::{Stream, stream, uniform};

use super::{Source, TextError, below, entropy};
use crate::Corpus;

const OPEN: [char; 4] = ['(', '[', '{', '<'];
const CLOSE: [char; 4] = [')', ']', '}', '>'];

/// Keys of `dyck`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dyck {
    /// kinds of brackets, up to 4: round, square, curly, angle
    #[schemars(extend("minimum" = 1, "maximum" = 4))]
    pub kinds: Size,
    /// brackets that are open at one time, at most
    pub max_depth: Size,
    /// probability that a bracket opens where one may as well close
    pub p_open: Fraction,
    /// characters of the text, at whose end brackets may be left open
    pub length: Length,
    /// seed of the brackets
    pub seed: Seed,
}

impl Default for Dyck {
    fn default() -> Self {
        Self {
            kinds: Size::new(2),
            max_depth: Size::new(8),
            p_open: Fraction::new(0.5),
            length: Length::new(1_000_000),
            seed: Seed::new(0),
        }
    }
}

impl Part for Dyck {
    const NAME: &'static str = "dyck";
    const SUMMARY: &'static str = "balanced brackets of several kinds, nested up to a depth";
    const SOURCE: &'static str = "Hewitt et al. 2020";

    fn check(&self) -> Result<(), Conflict> {
        if (1..=4).contains(&self.kinds.get()) {
            return Ok(());
        }
        let message = format!("must be from 1 to 4, found {}", self.kinds.get());
        Err(Conflict { key: "kinds", message, help: "the kinds are () [] {} <>".into() })
    }
}

impl Dyck {
    /// The probability that a bracket opens on a depth.
    fn p_open_at(&self, depth: usize) -> f64 {
        match depth {
            0 => 1.0,
            depth if depth == self.max_depth.as_usize() => 0.0,
            _ => self.p_open.get(),
        }
    }

    /// The share of time that is spent on each depth, `[max_depth + 1]`.
    ///
    /// As often as the depth rises from `d` it falls back, `π[d]·open(d) = π[d+1]·close(d+1)`. In
    /// logarithms, since these ratios may go beyond the range of numbers when multiplied.
    fn depth_shares(&self) -> Vec<f64> {
        let mut logs = vec![0.0];
        for depth in 0..self.max_depth.as_usize() {
            let (rise, fall) = (self.p_open_at(depth), 1.0 - self.p_open_at(depth + 1));
            logs.push(logs[depth] + libm::log(rise) - libm::log(fall));
        }
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|log| libm::exp(log - largest)).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    /// Nats per character.
    fn entropy(&self) -> f64 {
        let ln_kinds = libm::log(self.kinds.get() as f64);
        let per_depth = |(depth, share): (usize, &f64)| {
            let p = self.p_open_at(depth);
            share * (entropy(&[p, 1.0 - p]) + p * ln_kinds)
        };
        self.depth_shares().iter().enumerate().map(per_depth).sum()
    }
}

impl Source for Dyck {
    fn read(&self) -> Result<Corpus, TextError> {
        let mut rng = stream(self.seed.get() as u64, Stream::Data);
        let (mut text, mut stack) = (String::new(), Vec::new());
        for _ in 0..self.length.get() {
            if uniform(&mut rng) < self.p_open_at(stack.len()) {
                let kind = below(&mut rng, self.kinds.as_usize());
                stack.push(kind);
                text.push(OPEN[kind]);
            } else {
                let kind = stack.pop().expect("nothing closes on depth 0");
                text.push(CLOSE[kind]);
            }
        }
        Ok(Corpus::from(text).with_entropy(self.entropy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dyck(kinds: i64, max_depth: i64, p_open: f64) -> Dyck {
        let (kinds, max_depth) = (Size::new(kinds), Size::new(max_depth));
        let (length, seed) = (Length::new(400_000), Seed::new(5));
        Dyck { kinds, max_depth, p_open: Fraction::new(p_open), length, seed }
    }

    const SHAPES: [(i64, i64, f64); 7] = [
        (1, 1, 0.5),
        (2, 1, 0.5),
        (1, 2, 0.3),
        (2, 3, 0.5),
        (4, 8, 0.6),
        (3, 40, 0.45),
        (2, 5, 0.0),
    ];

    /// The loss in nats per character of the best predictor there is: it keeps a stack.
    fn loss_of_the_best(dyck: Dyck, text: &str) -> f64 {
        let mut depth = 0;
        let mut total = 0.0;
        for bracket in text.chars() {
            let p_open = dyck.p_open_at(depth);
            if OPEN.contains(&bracket) {
                total -= (p_open / dyck.kinds.get() as f64).ln();
                depth += 1;
            } else {
                total -= (1.0 - p_open).ln();
                depth -= 1;
            }
        }
        total / text.len() as f64
    }

    #[test]
    fn every_bracket_closes_what_was_opened_within_the_depth() {
        for (kinds, max_depth, p_open) in SHAPES {
            let text = dyck(kinds, max_depth, p_open).read().expect("made").text().expect("made");
            let (mut stack, mut deepest) = (Vec::new(), 0);
            for bracket in text.chars() {
                match OPEN.iter().position(|open| *open == bracket) {
                    Some(kind) => stack.push(kind),
                    None => assert_eq!(stack.pop().map(|kind| CLOSE[kind]), Some(bracket)),
                }
                deepest = deepest.max(stack.len());
            }
            assert!(deepest <= max_depth as usize);
            // Depth 40 is too rare to be sure of.
            assert!(deepest == max_depth as usize || max_depth == 40 || p_open == 0.0);
            let used = OPEN.iter().filter(|open| text.contains(**open)).count();
            assert_eq!(used, kinds as usize);
        }
    }

    #[test]
    fn the_best_predictor_attains_the_rate() {
        for (kinds, max_depth, p_open) in SHAPES {
            let dyck = dyck(kinds, max_depth, p_open);
            let corpus = dyck.read().expect("made");
            let rate = corpus.entropy().expect("known");
            let loss = loss_of_the_best(dyck, &corpus.text().expect("made"));
            // A character's loss is at most ln 4 + 1 here; a walk returns to depth 0 often enough
            // that 400,000 characters are worth thousands of independent ones.
            assert!((loss - rate).abs() < 0.01, "{dyck:?}: {loss} and {rate}");
        }
    }

    #[test]
    fn shares_of_depth_are_what_a_long_walk_shows() {
        for (kinds, max_depth, p_open) in SHAPES {
            let dyck = dyck(kinds, max_depth, p_open);
            let expected = dyck.depth_shares();
            let text = dyck.read().expect("made").text().expect("made");
            let mut found = vec![0.0; expected.len()];
            let mut depth = 0;
            for bracket in text.chars() {
                found[depth] += 1.0 / text.len() as f64;
                depth = if OPEN.contains(&bracket) { depth + 1 } else { depth - 1 };
            }
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 0.015, "{dyck:?}");
            }
        }
    }

    #[test]
    fn special_cases_have_the_entropy_of_a_closed_form() {
        let check = |dyck: Dyck, expected: f64| {
            assert!((dyck.entropy() - expected).abs() < 1e-12, "{dyck:?}: {}", dyck.entropy());
        };
        // Every second character closes the one before; the others are free in their kind.
        check(dyck(1, 1, 0.5), 0.0);
        check(dyck(4, 1, 0.5), 4.0_f64.ln() / 2.0);
        check(dyck(3, 7, 0.0), 3.0_f64.ln() / 2.0);
        // Depths 0, 1, 2 with shares 1/4, 1/2, 1/4.
        check(dyck(2, 2, 0.5), 0.25 * 2.0_f64.ln() + 0.5 * (2.0_f64.ln() + 0.5 * 2.0_f64.ln()));
        // Almost always at the bottom: every second character is a free choice of kind, and most of
        // the others are a choice of depth that is nearly certain.
        let deep = Dyck { max_depth: Size::new(1 << 20), ..dyck(4, 1, 0.999_999) };
        assert!(deep.entropy().is_finite());
    }
}
