//! A Markov chain over letters, whose next letter depends on the last `order` of them.
//!
//! For each context of `order` letters there is a distribution of the next, drawn from a symmetric
//! Dirichlet distribution: with a high concentration all letters are about as likely, with a low one
//! few are. A hundredth of it is spread evenly, so that every text can occur. With `π` the
//! stationary distribution of contexts, the entropy rate is `-Σ π[c]·Σ p[c, s] ln p[c, s]`; a table of
//! n-grams attains it, and so should any model that remembers `order` letters.
//!
//! Shannon, "A mathematical theory of communication", 1948.

use registry::range::{Count, Length, Positive, Seed, Size};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::rng::{Rng, Stream, normal, stream, uniform};

use super::{Source, TextError, check_letters, entropy, letter};
use crate::Corpus;

/// The share of every row that is the same for all letters.
const EVEN_SHARE: f64 = 0.01;
/// Finding the stationary distribution takes time with the cube of the number of contexts.
const MAX_CONTEXTS: usize = 1024;

/// Keys of `markov`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Markov {
    /// letters the next one depends on; 0 for none
    pub order: Count,
    /// different letters, from 2 to 26; symbols^order, the number of contexts, is at most 1024
    #[schemars(extend("minimum" = 2, "maximum" = 26))]
    pub symbols: Size,
    /// how even the distribution of the next letter is: well below 1 for few likely letters, well
    /// above for all alike
    pub concentration: Positive,
    /// characters of the text
    pub length: Length,
    /// seed of the distributions and the text
    pub seed: Seed,
}

impl Default for Markov {
    fn default() -> Self {
        Self {
            order: Count::new(2),
            symbols: Size::new(8),
            concentration: Positive::new(0.5),
            length: Length::new(1_000_000),
            seed: Seed::new(0),
        }
    }
}

impl Part for Markov {
    const NAME: &'static str = "markov";
    const SUMMARY: &'static str = "letters that depend on the last few";
    const SOURCE: &'static str = "Shannon 1948";

    fn check(&self) -> Result<(), Conflict> {
        check_letters(self.symbols)?;
        if self.n_contexts().is_some_and(|contexts| contexts <= MAX_CONTEXTS) {
            return Ok(());
        }
        let (symbols, order) = (self.symbols.get(), self.order.get());
        Err(Conflict {
            key: "order",
            message: format!("makes {symbols}^{order} contexts, and {MAX_CONTEXTS} are the most"),
            help: "lower order or symbols".into(),
        })
    }
}

impl Markov {
    /// What the chain itself loses on each letter of a text of its own, in nats: `-ln p`, which on
    /// average no model falls below. The first `order` letters, which have no whole context, are
    /// left out.
    ///
    /// # Panics
    /// On a letter that the chain does not have.
    pub fn surprisals(&self, text: &str) -> Vec<f64> {
        let mut rng = stream(self.seed.get() as u64, Stream::Data);
        let chain = Chain::draw(self, &mut rng);
        let mut context = 0;
        let letters = text.bytes().map(|byte| {
            let symbol = usize::from(byte - b'a');
            let surprisal = -libm::log(chain.row(context)[symbol]);
            context = chain.after(context, symbol);
            surprisal
        });
        letters.skip(self.order.as_usize()).collect()
    }

    fn n_contexts(&self) -> Option<usize> {
        self.symbols.as_usize().checked_pow(self.order.as_usize() as u32)
    }
}

impl Source for Markov {
    fn read(&self) -> Result<Corpus, TextError> {
        let mut rng = stream(self.seed.get() as u64, Stream::Data);
        let chain = Chain::draw(self, &mut rng);
        let stationary = chain.stationary();
        let text = chain.write(self, &stationary, &mut rng);
        Ok(Corpus::from(text).with_entropy(chain.entropy(&stationary)))
    }
}

/// An index with the given probabilities.
fn draw(probabilities: &[f64], rng: &mut Rng) -> usize {
    let mut left = uniform(rng);
    for (index, p) in probabilities.iter().enumerate() {
        left -= p;
        if left < 0.0 {
            return index;
        }
    }
    // Rounding left less than nothing over.
    probabilities.len() - 1
}

/// Logarithm of a draw from the gamma distribution of shape `shape` and scale 1.
///
/// Marsaglia & Tsang, "A simple method for generating gamma variables", 2000, for `shape + 1`, and
/// from there by `u^(1/shape)`. In logarithms, since for a low shape most draws are too small for a
/// number.
fn log_gamma_draw(shape: f64, rng: &mut Rng) -> f64 {
    let d = shape + 2.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
        let log_u = libm::log(1.0 - uniform(rng));
        if 0.0 < v && log_u < 0.5 * x * x + d - d * v + d * libm::log(v) {
            return libm::log(d * v) + libm::log(1.0 - uniform(rng)) / shape;
        }
    }
}

/// The distributions of the next letter.
struct Chain {
    symbols: usize,
    /// `[contexts, symbols]`. A context is the number whose digits are its letters, the oldest
    /// first.
    rows: Vec<f64>,
}

impl Chain {
    fn draw(keys: &Markov, rng: &mut Rng) -> Self {
        let symbols = keys.symbols.as_usize();
        let n_contexts = keys.n_contexts().expect("it was checked");
        let mut rows = Vec::with_capacity(n_contexts * symbols);
        for _ in 0..n_contexts {
            // Shares of gamma draws are a Dirichlet draw. The clamp only meets concentrations so low
            // that one letter takes all.
            let logs: Vec<f64> = (0..symbols)
                .map(|_| log_gamma_draw(keys.concentration.get(), rng).max(f64::MIN))
                .collect();
            let largest = logs.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = logs.iter().map(|log| libm::exp(log - largest)).collect();
            let total: f64 = weights.iter().sum();
            let even = EVEN_SHARE / symbols as f64;
            rows.extend(weights.iter().map(|weight| (1.0 - EVEN_SHARE) * weight / total + even));
        }
        Self { symbols, rows }
    }

    fn n_contexts(&self) -> usize {
        self.rows.len() / self.symbols
    }

    fn row(&self, context: usize) -> &[f64] {
        &self.rows[context * self.symbols..][..self.symbols]
    }

    /// The context once `symbol` is read.
    fn after(&self, context: usize, symbol: usize) -> usize {
        (context * self.symbols + symbol) % self.n_contexts()
    }

    /// A text that is alike throughout: it begins with a context of the stationary distribution.
    fn write(&self, keys: &Markov, stationary: &[f64], rng: &mut Rng) -> String {
        let mut context = draw(stationary, rng);
        let order = keys.order.as_usize() as u32;
        let digits = (0..order).rev().map(|place| context / self.symbols.pow(place) % self.symbols);
        let mut text: String = digits.map(letter).take(keys.length.as_usize()).collect();
        while text.len() < keys.length.as_usize() {
            let symbol = draw(self.row(context), rng);
            text.push(letter(symbol));
            context = self.after(context, symbol);
        }
        text
    }

    /// The share of time that a long text spends in each context.
    ///
    /// By elimination without subtraction, so to the last digits and however slowly the chain
    /// mixes: Grassmann, Taksar & Heyman, "Regenerative analysis and steady state distributions for
    /// Markov chains", 1985.
    fn stationary(&self) -> Vec<f64> {
        let n = self.n_contexts();
        let mut p = vec![0.0; n * n];
        for context in 0..n {
            for (symbol, probability) in self.row(context).iter().enumerate() {
                p[context * n + self.after(context, symbol)] += probability;
            }
        }
        // Takes out one context after the other: what led there leads where it led.
        for out in (1..n).rev() {
            let (rest, row) = p.split_at_mut(out * n);
            let row = &row[..out];
            let leaving: f64 = row.iter().sum();
            for other in rest.chunks_exact_mut(n) {
                if other[out] == 0.0 {
                    continue; // Most contexts do not follow each other.
                }
                let share = other[out] / leaving;
                other[out] = share;
                for (to, step) in other.iter_mut().zip(row) {
                    *to += share * step;
                }
            }
        }
        let mut shares = vec![1.0];
        for context in 1..n {
            let share = (0..context).map(|from| shares[from] * p[from * n + context]).sum();
            shares.push(share);
        }
        let total: f64 = shares.iter().sum();
        shares.iter().map(|share| share / total).collect()
    }

    /// Nats per character.
    fn entropy(&self, stationary: &[f64]) -> f64 {
        let contexts = stationary.iter().enumerate();
        contexts.map(|(context, share)| share * entropy(self.row(context))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markov(order: i64, symbols: i64, concentration: f64) -> Markov {
        let (order, symbols) = (Count::new(order), Size::new(symbols));
        let (length, seed) = (Length::new(400_000), Seed::new(2));
        Markov { order, symbols, concentration: Positive::new(concentration), length, seed }
    }

    const SHAPES: [(i64, i64, f64); 7] = [
        (0, 5, 1.0),
        (1, 2, 0.3),
        (1, 26, 0.1),
        (2, 8, 0.5),
        (3, 3, 5.0),
        (4, 4, 0.2),
        (9, 2, 1.0),
    ];

    fn chain(keys: &Markov) -> Chain {
        Chain::draw(keys, &mut stream(keys.seed.get() as u64, Stream::Data))
    }

    /// How often each context is followed by each letter, `[contexts, symbols]`.
    fn counts(chain: &Chain, order: usize, text: &str) -> Vec<f64> {
        let symbols: Vec<usize> = text.bytes().map(|byte| usize::from(byte - b'a')).collect();
        let mut counts = vec![0.0; chain.rows.len()];
        let mut context = 0;
        for (at, symbol) in symbols.iter().enumerate() {
            if order <= at {
                counts[context * chain.symbols + symbol] += 1.0;
            }
            context = chain.after(context, *symbol);
        }
        counts
    }

    #[test]
    fn stationary_shares_stay_as_they_are() {
        for (order, symbols, concentration) in SHAPES {
            let chain = chain(&markov(order, symbols, concentration));
            let shares = chain.stationary();
            let mut next = vec![0.0; shares.len()];
            for (context, share) in shares.iter().enumerate() {
                for (symbol, p) in chain.row(context).iter().enumerate() {
                    next[chain.after(context, symbol)] += share * p;
                }
            }
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (share, next) in shares.iter().zip(&next) {
                assert!(0.0 < *share && (share - next).abs() < 1e-14, "order {order}");
            }
        }
    }

    #[test]
    fn a_text_begins_as_it_goes_on() {
        let keys = Markov { length: Length::new(3), ..markov(3, 3, 0.3) };
        let chain = chain(&keys);
        let stationary = chain.stationary();
        let mut rng = stream(1, Stream::Data);
        let mut found = vec![0.0; stationary.len()];
        for _ in 0..20_000 {
            let text = chain.write(&keys, &stationary, &mut rng);
            let symbols = text.bytes().map(|byte| usize::from(byte - b'a'));
            found[symbols.fold(0, |context, symbol| chain.after(context, symbol))] +=
                1.0 / 20_000.0;
        }
        for (found, share) in found.iter().zip(&stationary) {
            // Four standard errors of a share.
            assert!((found - share).abs() < 4.0 * (share * (1.0 - share) / 20_000.0).sqrt());
        }
    }

    #[test]
    fn the_best_predictor_attains_the_rate() {
        for (order, symbols, concentration) in SHAPES {
            let keys = markov(order, symbols, concentration);
            let corpus = keys.read().expect("made");
            let (rate, text) = (corpus.entropy().expect("known"), corpus.text().expect("made"));
            let surprisals = keys.surprisals(&text);
            assert_eq!(surprisals.len(), text.len() - order as usize);
            let loss = surprisals.iter().sum::<f64>() / surprisals.len() as f64;
            // One character's loss deviates from the rate by about one nat, and characters depend on
            // each other over some tens of them: √(50/400,000).
            assert!((loss - rate).abs() < 0.011, "{keys:?}: {loss} and {rate}");
        }
    }

    #[test]
    fn conditional_entropy_of_a_long_text_converges_to_the_rate() {
        for (order, symbols, concentration) in SHAPES {
            let keys = markov(order, symbols, concentration);
            let corpus = keys.read().expect("made");
            let chain = chain(&keys);
            let counts = counts(&chain, order as usize, &corpus.text().expect("made"));
            let n: f64 = counts.iter().sum();
            let mut found = 0.0;
            for row in counts.chunks_exact(chain.symbols) {
                let total: f64 = row.iter().sum();
                let shares: Vec<f64> = row.iter().map(|count| count / total.max(1.0)).collect();
                found += total / n * entropy(&shares);
            }
            // Counting fits a table to the text, which flatters it by half a nat for each free
            // entry.
            let flattery = chain.n_contexts() as f64 * (symbols - 1) as f64 / 2.0 / n;
            let rate = corpus.entropy().expect("known");
            assert!((found - rate).abs() < 0.011 + flattery, "{keys:?}: {found} and {rate}");
        }
    }

    #[test]
    fn gamma_draws_have_the_moments_of_the_gamma_distribution() {
        let mut rng = stream(1, Stream::Data);
        for shape in [0.1, 0.5, 1.0, 3.0, 50.0] {
            let n = 100_000;
            let draws: Vec<f64> =
                (0..n).map(|_| libm::exp(log_gamma_draw(shape, &mut rng))).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance =
                draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / f64::from(n);
            // Mean and variance are both the shape; the variance of the second estimate is
            // (μ4 - σ⁴)/n with μ4 = 3·shape² + 6·shape. Four standard errors.
            let error = 4.0 * (shape / f64::from(n)).sqrt();
            assert!((mean - shape).abs() < error, "{shape}: {mean}");
            let error = 4.0 * ((2.0 * shape * shape + 6.0 * shape) / f64::from(n)).sqrt();
            assert!((variance - shape).abs() < error, "{shape}: {variance}");
        }
    }

    #[test]
    fn concentration_goes_from_one_letter_to_all_alike() {
        let rate = |concentration| {
            let keys = Markov { length: Length::new(1), ..markov(1, 4, concentration) };
            keys.read().expect("made").entropy().expect("known")
        };
        // With one letter taking all, the even hundredth is what is left to guess.
        let certain = entropy(&[0.99 + 0.0025, 0.0025, 0.0025, 0.0025]);
        assert!(
            (rate(1e-300) - certain).abs() < 1e-12
                && (rate(f64::MIN_POSITIVE) - certain).abs() < 1e-12
        );
        assert!(rate(0.1) < rate(1.0) && rate(1.0) < rate(10.0));
        assert!((rate(1e9) - 4.0_f64.ln()).abs() < 1e-6);
        assert!((rate(f64::MAX) - 4.0_f64.ln()).abs() < 1e-6);
    }
}
