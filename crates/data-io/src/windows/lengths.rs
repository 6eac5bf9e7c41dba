//! How many characters a window takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::rng::{Stream, normal, stream, uniform};

/// How many time steps windows have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lengths {
    /// `seq_len`.
    #[default]
    Fixed,
    /// A number drawn for each window, so that text is not cut in the same places in each pass: from
    /// the normal distribution around `seq_len`, or with probability 0.05 around half of it, with
    /// standard deviation 5, cut off to a whole number, but at least 5.
    ///
    /// The rule of AWD-LSTM, which also multiplies the learning rate of a window by its length over
    /// `seq_len`: Merity, Keskar & Socher, "Regularizing and optimizing LSTM language models", ICLR
    /// 2018. Theirs knows no longest window; ours is four standard deviations above `seq_len`.
    Random,
}

const HALF_PROBABILITY: f64 = 0.05;
const STANDARD_DEVIATION: f64 = 5.0;
const MIN_LEN: usize = 5;
/// The tape has room for so many steps beyond `seq_len`; one window in 30,000 would be longer.
const MAX_EXCESS: usize = 20;
/// Words of the random stream that belong to one window; three numbers take six.
const WORDS_PER_WINDOW: u128 = 16;
/// Where the lengths begin in the stream; before them are the starts of lanes.
const FIRST_WORD: u128 = 1 << 32;

impl Lengths {
    /// The most time steps a window has.
    pub fn max_len(self, seq_len: usize) -> usize {
        match self {
            Self::Fixed => seq_len,
            Self::Random => seq_len + MAX_EXCESS,
        }
    }

    /// The time steps of a window, counted from 0: a function of nothing but these numbers, so that
    /// a run can go on anywhere.
    pub fn len_of(self, seq_len: usize, seed: u64, window: u64) -> usize {
        match self {
            Self::Fixed => seq_len,
            Self::Random => {
                let mut rng = stream(seed, Stream::Windows);
                rng.set_word_pos(FIRST_WORD + u128::from(window) * WORDS_PER_WINDOW);
                let is_half = uniform(&mut rng) < HALF_PROBABILITY;
                let mean = if is_half { seq_len as f64 / 2.0 } else { seq_len as f64 };
                let drawn = mean + STANDARD_DEVIATION * normal(&mut rng);
                (drawn as usize).clamp(MIN_LEN, self.max_len(seq_len))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(seq_len: usize, seed: u64, n: u64) -> Vec<f64> {
        (0..n).map(|window| Lengths::Random.len_of(seq_len, seed, window) as f64).collect()
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n)
    }

    #[test]
    fn random_lengths_have_the_stated_distribution() {
        let n = 100_000;
        let all = lengths(70, 3, n);
        // 52.5 lies 3.5 standard deviations from both means.
        let (half, whole): (Vec<f64>, Vec<f64>) = all.iter().partition(|len| **len < 52.5);
        let share = half.len() as f64 / n as f64;
        // Four standard errors of a share of 0.05.
        assert!((share - 0.05).abs() < 4.0 * (0.05 * 0.95 / n as f64).sqrt(), "{share}");
        for (lengths, expected) in [(half, 35.0), (whole, 70.0)] {
            let (mean, variance) = moments(&lengths);
            let error = 4.0 * (25.0 / lengths.len() as f64).sqrt();
            // Cutting off takes half a step, and adds the variance 1/12 of what it takes.
            assert!((mean - (expected - 0.5)).abs() < error + 0.01, "{mean}");
            let error = 4.0 * 25.0 * (2.0 / lengths.len() as f64).sqrt();
            assert!((variance - (25.0 + 1.0 / 12.0)).abs() < error + 0.1, "{variance}");
        }
    }

    #[test]
    fn random_lengths_stay_within_their_limits() {
        assert!(Lengths::Random.len_of(70, 1, u64::MAX) <= 90);
        for seq_len in [1, 5, 12, 70] {
            let all = lengths(seq_len, 0, 100_000);
            let (least, most) = (5.0, (seq_len + 20) as f64);
            assert!(all.iter().all(|len| (least..=most).contains(len)));
            assert!(all.contains(&most));
            assert_eq!(all.contains(&least), seq_len < 70);
        }
    }

    #[test]
    fn random_lengths_are_the_same_everywhere_and_forever() {
        let expected = [31.0, 73.0, 75.0, 71.0, 70.0, 69.0, 72.0, 70.0, 67.0, 64.0, 73.0, 64.0];
        assert_eq!(lengths(70, 0, 12), expected);
    }

    #[test]
    fn random_lengths_depend_on_seed_and_window_and_not_on_each_other() {
        let (first, second) = (lengths(70, 1, 10_000), lengths(70, 2, 10_000));
        assert_eq!(first, lengths(70, 1, 10_000));
        let correlation = |a: &[f64], b: &[f64]| {
            let ((mean_a, variance_a), (mean_b, variance_b)) = (moments(a), moments(b));
            let products = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b));
            products.sum::<f64>() / a.len() as f64 / (variance_a * variance_b).sqrt()
        };
        // Four standard errors, 1/√10,000, of no correlation.
        assert!(correlation(&first, &second).abs() < 0.04);
        assert!(correlation(&first[1..], &first[..first.len() - 1]).abs() < 0.04);
        // Numbers of one window that served the next one too would show after unusual lengths.
        let all = lengths(70, 1, 100_000);
        let behind = all.windows(2).filter(|pair| 76.0 < pair[0]).map(|pair| pair[1]);
        let behind: Vec<f64> = behind.collect();
        let share = behind.iter().filter(|len| **len < 52.5).count() as f64 / behind.len() as f64;
        assert!((share - 0.05).abs() < 4.0 * (0.05 * 0.95 / behind.len() as f64).sqrt(), "{share}");
    }
}
