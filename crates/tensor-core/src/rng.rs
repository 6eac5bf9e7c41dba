//! Seeded random numbers.
//!
//! One seed feeds several independent streams, one for each purpose, so that drawing more samples
//! while training never changes how a model was initialized. ChaCha8 has the same output on every
//! platform, and its position is a number that a checkpoint can hold.

use rand::{Rng as _, RngExt, SeedableRng};

/// The generator that everything random here draws from.
pub type Rng = rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Initial weights.
    Init = 0,
    /// Characters drawn from the model.
    Sample = 1,
    /// Noise added to gradients.
    Noise = 2,
    /// Made texts.
    Data = 3,
    /// The order in which a text is read.
    Windows = 4,
    /// Masks of dropout.
    Dropout = 5,
}

/// The generator of `seed` for one purpose, at its start.
pub fn stream(seed: u64, purpose: Stream) -> Rng {
    let mut rng = Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// The generator of `seed` for one purpose at one step of a run: a function of its arguments, so
/// there is nothing to save.
///
/// A step has 2²⁸ words of the stream to itself, which is 2²⁷ numbers.
pub fn stream_at(seed: u64, purpose: Stream, step: u64) -> Rng {
    let mut rng = stream(seed, purpose);
    rng.set_word_pos(u128::from(step) << 28);
    rng
}

/// A number in `[0, 1)`, uniform over the multiples of 2⁻⁵³.
pub fn uniform(rng: &mut Rng) -> f64 {
    rng.random::<f64>()
}

/// Overwrites each value with `of` a number that [`uniform`] would give, in a third of its time.
pub fn fill<V>(rng: &mut Rng, values: &mut [V], of: impl Fn(f64) -> V) {
    let mut words = [[0; 8]; 64];
    for values in values.chunks_mut(words.len()) {
        let words = &mut words[..values.len()];
        rng.fill_bytes(words.as_flattened_mut());
        for (value, word) in values.iter_mut().zip(words) {
            *value = of((u64::from_le_bytes(*word) >> 11) as f64 * f64::EPSILON / 2.0);
        }
    }
}

/// A number from the standard normal distribution.
///
/// Box & Muller, "A note on the generation of random normal deviates", 1958, keeping one of the
/// two deviates. Not `rand_distr`, whose ziggurat calls `exp` and `ln` of the system's library:
/// their last bit, and with it the weights of a run, would depend on the machine.
pub fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * libm::log(1.0 - uniform(rng))).sqrt();
    radius * libm::cos(std::f64::consts::TAU * uniform(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |seed, purpose| uniform(&mut stream(seed, purpose));
        assert_eq!(draw(1, Stream::Init), draw(1, Stream::Init));
        assert_ne!(draw(1, Stream::Init), draw(1, Stream::Sample));
        assert_ne!(draw(1, Stream::Init), draw(2, Stream::Init));
    }

    #[test]
    fn many_numbers_are_those_of_as_many_calls() {
        for (len, word) in [(0, 0), (1, 0), (63, 0), (64, 1), (65, 0), (300, 0), (300, 1), (300, 5)]
        {
            let mut one = stream(3, Stream::Noise);
            one.set_word_pos(word);
            let mut other = one.clone();
            let mut many = vec![0.0; len];
            fill(&mut one, &mut many, |number| number);
            let is_same = many.iter().all(|number| *number == uniform(&mut other));
            assert!(is_same, "{len} from word {word}");
            assert_eq!(one.get_word_pos(), other.get_word_pos());
        }
    }

    #[test]
    fn every_step_has_its_words_to_itself() {
        assert_eq!(stream_at(1, Stream::Noise, 0), stream(1, Stream::Noise));
        assert_eq!(stream_at(1, Stream::Noise, 3).get_word_pos(), 3 << 28);
    }

    #[test]
    fn normal_has_the_moments_of_the_normal_distribution() {
        let mut rng = stream(7, Stream::Init);
        let n = 200_000;
        let mut moments = [0.0; 4];
        for _ in 0..n {
            let x = normal(&mut rng);
            for (power, moment) in (1..).zip(&mut moments) {
                *moment += x.powi(power) / f64::from(n);
            }
        }
        // Standard errors of the first four moments are √(1, 2, 15, 96)/√n; four of them.
        for (moment, (expected, variance)) in
            moments.iter().zip([(0.0, 1.0_f64), (1.0, 2.0), (0.0, 15.0), (3.0, 96.0)])
        {
            let error = 4.0 * (variance / f64::from(n)).sqrt();
            assert!((moment - expected).abs() < error, "{moments:?}");
        }
    }
}
