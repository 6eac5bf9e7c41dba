//! Interpolated n-grams: the next symbol from the last `n - 1`.
//!
//! With `c(h s)` the count of symbol `s` after context `h`, `c(h)` that of all symbols after it, and
//! `h'` the context without its oldest symbol:
//!
//! - Witten & Bell: `p(s|h) = (c(h s) + T·p(s|h')) / (c(h) + T)`, with `T` the number of different
//!   symbols after `h`;
//! - Kneser & Ney, as modified by Chen & Goodman:
//!   `p(s|h) = (c(h s) - D(c(h s)) + Σ D·p(s|h')) / c(h)`, with `Σ D` all that was taken off after `h`.
//!   For the shorter contexts `c(h s)` is the number of different symbols before `h s`.
//!
//! Below the shortest context, which is empty, lies `1 / vocab_size`. A context that the training text
//! does not have, or for which a document is too short yet, leaves the shorter one's prediction as it
//! is. A document starts as if with a symbol of its own, so that an n-gram at its start counts each
//! time (as `<s>` does in SRILM).
//!
//! Chen & Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech
//! and Language 13, 1999: equations 19 and 20 are Witten-Bell, section 3 the modified Kneser-Ney.

use std::collections::HashMap;

use crate::Text;

/// No n-gram: the document is too short, or the training text has no such one.
const NONE: u32 = u32::MAX;

/// What n-grams of one order lose on a text, in nats per symbol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NGram {
    /// n, one more than the symbols of a context.
    pub order: usize,
    /// With Witten-Bell smoothing.
    pub witten_bell: f64,
    /// With modified Kneser-Ney smoothing.
    pub kneser_ney: f64,
}

/// N-grams of the orders 1 to `max_order`, counted in `train` and scored on every symbol of `held_out`
/// but the first.
///
/// One order is dealt with after the other, so whatever the order it takes about 80 bytes of memory
/// for each symbol of `train`, and 40 for each of `held_out`.
///
/// # Panics
/// If `held_out` has fewer than two symbols, or a text has no start for each symbol.
#[track_caller]
pub fn ngrams(train: &Text, held_out: &Text, vocab_size: usize, max_order: usize) -> Vec<NGram> {
    let n = held_out.ids.len();
    assert!(2 <= n, "the first symbol is not predicted");
    let mean = |probabilities: &[f64]| {
        -probabilities[1..].iter().map(|p| libm::log(*p)).sum::<f64>() / (n - 1) as f64
    };
    let mut losses = Vec::with_capacity(max_order);
    for_each_order(train, held_out, vocab_size, max_order, |witten_bell, kneser_ney| {
        losses.push(NGram {
            order: losses.len() + 1,
            witten_bell: mean(witten_bell),
            kneser_ney: mean(kneser_ney),
        });
    });
    losses
}

/// Shows, order by order, the probabilities of the symbols of `held_out`: with Witten-Bell, and with
/// Kneser-Ney smoothing.
fn for_each_order(
    train: &Text,
    held_out: &Text,
    vocab_size: usize,
    max_order: usize,
    mut see: impl FnMut(&[f64], &[f64]),
) {
    let mut witten_bell = vec![1.0 / vocab_size as f64; held_out.ids.len()];
    // Kneser and Ney's, of the shorter contexts.
    let mut continuation = witten_bell.clone();
    let mut shorter = Grams::empty(train, held_out);
    for order in 1..=max_order {
        let grams = Grams::longer(&shorter, train, held_out);
        if order != 1 {
            shorter.counts = continuations(&shorter, &grams);
            add_kneser_ney(&shorter, &mut continuation);
        }
        add_witten_bell(&grams, &mut witten_bell);
        let mut kneser_ney = continuation.clone();
        add_kneser_ney(&grams, &mut kneser_ney);
        see(&witten_bell, &kneser_ney);
        shorter = grams;
    }
}

/// All n-grams of one order in the training text, numbered by their first places.
struct Grams {
    order: usize,
    /// How often each occurs.
    counts: Vec<u32>,
    /// The context of each: the number of an n-gram of the order below.
    contexts: Vec<u32>,
    /// Number of n-grams of the order below.
    n_contexts: usize,
    /// The n-gram that ends at each place of the training text.
    train: Vec<u32>,
    /// That of each place of the held-out text.
    held_out: Vec<u32>,
    /// The context of each place of the held-out text.
    held_out_contexts: Vec<u32>,
}

impl Grams {
    /// The only n-gram without a symbol.
    fn empty(train: &Text, held_out: &Text) -> Self {
        Self {
            order: 0,
            counts: vec![0],
            contexts: Vec::new(),
            n_contexts: 0,
            train: vec![0; train.ids.len()],
            held_out: vec![0; held_out.ids.len()],
            held_out_contexts: Vec::new(),
        }
    }

    /// Those that are one symbol longer than the `shorter` ones.
    fn longer(shorter: &Self, train: &Text, held_out: &Text) -> Self {
        let (mut counts, mut contexts) = (Vec::new(), Vec::new());
        let mut numbers = HashMap::new();
        let mut number = |context: u32, symbol: u32| {
            if context == NONE {
                return NONE;
            }
            let number = *numbers.entry((context, symbol)).or_insert_with(|| {
                contexts.push(context);
                counts.push(0);
                counts.len() as u32 - 1
            });
            counts[number as usize] += 1;
            number
        };
        let before = shorter.before(&shorter.train, &train.starts);
        let in_train = before.zip(&train.ids).map(|(context, id)| number(context, *id)).collect();
        let held_out_contexts: Vec<_> =
            shorter.before(&shorter.held_out, &held_out.starts).collect();
        let find = |(context, id): (&u32, &u32)| *numbers.get(&(*context, *id)).unwrap_or(&NONE);
        Self {
            order: shorter.order + 1,
            train: in_train,
            held_out: held_out_contexts.iter().zip(&held_out.ids).map(find).collect(),
            held_out_contexts,
            counts,
            contexts,
            n_contexts: shorter.counts.len(),
        }
    }

    /// The context of each place: the n-gram that ends at the place before it.
    fn before(&self, at: &[u32], starts: &[bool]) -> impl Iterator<Item = u32> {
        assert_eq!(at.len(), starts.len(), "a start for each symbol");
        // What ends with the first symbol of a document is in it only if it has no other.
        let is_within = |start: &bool| self.order < 2 || !start;
        let ended =
            at.iter().zip(starts).map(move |(n, start)| if is_within(start) { *n } else { NONE });
        let first = if self.order == 0 { 0 } else { NONE };
        std::iter::once(first).chain(ended).take(at.len())
    }

    /// What follows each context.
    fn followers(&self) -> Vec<Followers> {
        let mut followers = vec![Followers::default(); self.n_contexts];
        for (count, context) in self.counts.iter().zip(&self.contexts) {
            let followers = &mut followers[*context as usize];
            followers.total += count;
            followers.different[(*count).min(3) as usize - 1] += 1;
        }
        followers
    }

    /// Replaces each place's probability by a longer context by `interpolate`, of the count of the
    /// place's n-gram, what follows its context, and the probability by the shorter context.
    fn interpolate(
        &self,
        probabilities: &mut [f64],
        interpolate: impl Fn(u32, &Followers, f64) -> f64,
    ) {
        let followers = self.followers();
        let places = self.held_out_contexts.iter().zip(&self.held_out);
        for (p, (context, gram)) in probabilities.iter_mut().zip(places) {
            // The last symbols of a text are a context that nothing follows.
            let followers = followers.get(*context as usize).filter(|after| after.total != 0);
            if let Some(followers) = followers {
                let count = self.counts.get(*gram as usize).copied().unwrap_or(0);
                *p = interpolate(count, followers, *p);
            }
        }
    }
}

/// The symbols after a context.
#[derive(Clone, Copy, Default)]
struct Followers {
    /// All of them.
    total: u32,
    /// Different ones that occur once, twice, and more often.
    different: [u32; 3],
}

/// How many different symbols stand before each of the `shorter` n-grams, where each start of a
/// document is one of its own.
fn continuations(shorter: &Grams, longer: &Grams) -> Vec<u32> {
    let mut counts = vec![0; shorter.counts.len()];
    let mut next = 0;
    for (short, long) in shorter.train.iter().zip(&longer.train) {
        let is_new = *long == next;
        next += u32::from(is_new);
        if *short != NONE && (is_new || *long == NONE) {
            counts[*short as usize] += 1;
        }
    }
    counts
}

fn add_witten_bell(grams: &Grams, probabilities: &mut [f64]) {
    grams.interpolate(probabilities, |count, followers, shorter| {
        let different = f64::from(followers.different.iter().sum::<u32>());
        (f64::from(count) + different * shorter) / (f64::from(followers.total) + different)
    });
}

fn add_kneser_ney(grams: &Grams, probabilities: &mut [f64]) {
    let discounts = discounts(&grams.counts);
    grams.interpolate(probabilities, |count, followers, shorter| {
        let left = match count {
            0 => 0.0,
            count => f64::from(count) - discounts[count.min(3) as usize - 1],
        };
        let taken: f64 =
            discounts.iter().zip(followers.different).map(|(d, n)| d * f64::from(n)).sum();
        (left + taken * shorter) / f64::from(followers.total)
    });
}

/// What is taken off a count of one, of two, and of three and more: `D[i] = i - (i + 1)·Y·n[i+1]/n[i]`
/// with `Y = n[1] / (n[1] + 2 n[2])` and `n[i]` the number of n-grams that occur `i` times (Chen &
/// Goodman, equation 26). Where that takes nothing or all, since there are hardly any such n-grams, as
/// with single characters, it is a half.
fn discounts(counts: &[u32]) -> [f64; 3] {
    let mut n = [0.0; 5];
    for count in counts.iter().filter(|count| **count <= 4) {
        n[*count as usize] += 1.0;
    }
    let y = n[1] / (n[1] + 2.0 * n[2]);
    [1, 2, 3].map(|i| {
        let discount = i as f64 - (i + 1) as f64 * y * n[i + 1] / n[i];
        if 0.0 < discount && discount < i as f64 { discount } else { 0.5 }
    })
}

#[cfg(test)]
mod tests {
    use data_io::Source;
    use data_io::source::Markov;
    use proptest::prelude::*;
    use registry::range::{Count, Length, Positive, Seed, Size};

    use super::*;

    /// Documents of the letters from `a` on.
    fn documents(texts: &[&str]) -> Text {
        let mut text = Text::default();
        for document in texts {
            text.ids.extend(document.bytes().map(|byte| u32::from(byte - b'a')));
            text.starts.extend((0..document.len()).map(|place| place == 0));
        }
        text
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
    }

    /// Minus the mean logarithm.
    fn mean_loss(probabilities: &[f64]) -> f64 {
        -probabilities.iter().map(|p| libm::log(*p)).sum::<f64>() / probabilities.len() as f64
    }

    /// By hand for `abaa` over two letters. After `a` come `b` and `a`, after `b` comes `a`.
    #[test]
    fn both_smoothings_are_as_computed_by_hand() {
        let (train, held_out) = (documents(&["abaa"]), documents(&["baab"]));
        let found = ngrams(&train, &held_out, 2, 2);

        // p(a) = (3 + 2·1/2)/(4 + 2), p(b) = (1 + 2·1/2)/(4 + 2).
        let (a, b) = (4.0 / 6.0, 2.0 / 6.0);
        assert_close(found[0].witten_bell, mean_loss(&[a, a, b]));
        // p(a|b) = (1 + a)/(1 + 1), p(a|a) = (1 + 2a)/(2 + 2), p(b|a) = (1 + 2b)/(2 + 2).
        let expected = [(1.0 + a) / 2.0, (1.0 + 2.0 * a) / 4.0, (1.0 + 2.0 * b) / 4.0];
        assert_close(found[1].witten_bell, mean_loss(&expected));

        // So few have half a count taken off each: from 3 and 1 of 4, and what is taken halved.
        let (a, b) = (2.5 / 4.0 + 1.0 / 4.0 / 2.0, 0.5 / 4.0 + 1.0 / 4.0 / 2.0);
        assert_close(found[0].kneser_ney, mean_loss(&[a, a, b]));
        // Before `a` stand the start, `b` and `a`, before `b` stands `a`: again 3 and 1.
        let expected = [0.5 + 0.5 * a, (0.5 + a) / 2.0, (0.5 + b) / 2.0];
        assert_close(found[1].kneser_ney, mean_loss(&expected));
    }

    #[test]
    fn a_shorter_context_counts_what_stands_before_and_not_how_often() {
        // `b` stands before `a` alone however often, `c` before all three.
        let train = documents(&["babababababcacbcc"]);
        let shorter = Grams::longer(&Grams::empty(&train, &train), &train, &train);
        let longer = Grams::longer(&shorter, &train, &train);
        assert_eq!(shorter.counts, [7, 6, 4]);
        // In the order b, a, c; the first `b` has the start before it.
        assert_eq!(continuations(&shorter, &longer), [3, 2, 3]);
        assert_eq!(longer.counts.iter().sum::<u32>(), 16);
    }

    #[test]
    fn an_ngram_at_the_start_of_a_document_counts_each_time() {
        let train = documents(&["ab", "ab", "abc"]);
        let one = Grams::longer(&Grams::empty(&train, &train), &train, &train);
        let two = Grams::longer(&one, &train, &train);
        let three = Grams::longer(&two, &train, &train);
        // a, b, c; the first letter of a document is predicted from the last one before it.
        assert_eq!(continuations(&one, &two), [2, 1, 1]);
        // ab, ba, bc: none goes on over a start.
        assert_eq!(two.counts, [3, 2, 1]);
        assert_eq!(continuations(&two, &three), [3, 1, 1]);
        assert_eq!(three.counts, [2, 1]);
    }

    #[test]
    fn discounts_are_chen_and_goodmans() {
        let counts = [vec![1; 10], vec![2; 4], vec![3; 2], vec![4; 1], vec![9; 3]].concat();
        let y = 10.0 / 18.0;
        let expected = [1.0 - 0.8 * y, 2.0 - 1.5 * y, 3.0 - 2.0 * y];
        for (found, expected) in discounts(&counts).into_iter().zip(expected) {
            assert_close(found, expected);
        }
        assert_eq!(discounts(&[7, 8, 9]), [0.5; 3]);
        assert_eq!(discounts(&[1, 1, 1]), [0.5; 3]);
    }

    #[test]
    fn no_ngram_beats_the_entropy_of_a_markov_chain_and_those_of_its_order_come_near() {
        let markov = |order, seed| Markov {
            order: Count::new(order),
            symbols: Size::new(5),
            concentration: Positive::new(0.5),
            length: Length::new(120_000),
            seed: Seed::new(seed),
        };
        for (order, seed) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
            let chain = markov(order, seed);
            let text = chain.read().expect("made").text().expect("made");
            let (train, held_out) = text.split_at(100_000);
            // What the chain itself loses on this very text: no luck is left in the comparison.
            let own = chain.surprisals(&text);
            let own = &own[own.len() - held_out.len() + 1..];
            let entropy = own.iter().sum::<f64>() / own.len() as f64;
            let found = ngrams(&documents(&[train]), &documents(&[held_out]), 5, 6);
            for NGram { order: n, witten_bell, kneser_ney } in found {
                for loss in [witten_bell, kneser_ney] {
                    assert!(entropy - 1e-3 < loss, "{n}-gram, order {order}: {loss} {entropy}");
                    let is_long_enough = order as usize == n - 1;
                    let is_near = loss < 1.02 * entropy;
                    assert!(is_near || !is_long_enough, "{n}, {order}: {loss} {entropy}");
                }
            }
        }
    }

    #[test]
    fn a_letter_that_training_never_saw_is_possible() {
        let found = ngrams(&documents(&["abab"]), &documents(&["abc"]), 3, 3);
        assert!(found.iter().all(|n| n.witten_bell.is_finite() && n.kneser_ney.is_finite()));
        let nothing = ngrams(&documents(&[]), &documents(&["abc"]), 3, 2);
        for n in nothing {
            assert_close(n.witten_bell, libm::log(3.0));
            assert_close(n.kneser_ney, libm::log(3.0));
        }
    }

    fn any_text(symbols: u32) -> impl Strategy<Value = Text> {
        let symbol = (0..symbols, prop::bool::weighted(0.1));
        prop::collection::vec(symbol, 0..300).prop_map(|symbols| {
            let (ids, starts) = symbols.into_iter().unzip();
            Text { ids, starts }
        })
    }

    proptest! {
        #[test]
        fn the_probabilities_after_any_context_sum_to_one(
            train in any_text(4),
            context in prop::collection::vec(0..4_u32, 1..7),
        ) {
            // The context with each symbol, also one that training does not have.
            let vocab_size = 5;
            let mut held_out = Text::default();
            for symbol in 0..vocab_size {
                held_out.ids.extend(context.iter().copied().chain([symbol]));
                held_out.starts.extend((0..=context.len()).map(|place| place == 0));
            }
            let mut n_orders = 0;
            for_each_order(&train, &held_out, vocab_size as usize, 5, |witten_bell, kneser_ney| {
                for probabilities in [witten_bell, kneser_ney] {
                    let last = probabilities.iter().skip(context.len()).step_by(context.len() + 1);
                    assert_close(last.sum(), 1.0);
                }
                n_orders += 1;
            });
            prop_assert_eq!(n_orders, 5);
        }
    }
}
