//! Drawing characters from a model.

use tensor_core::Real;
use tensor_core::reduce::{maximum, sum};
use tensor_core::rng::{self, Rng};

use crate::{Model, Window};

/// How a character is drawn from the logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Divides the logits: below 1 more cautious, above 1 bolder; 0 takes the most probable.
    pub temperature: f64,
    /// Draw from the `top_k` most probable characters only.
    pub top_k: Option<usize>,
    /// Draw from the fewest most probable characters that together reach this probability.
    pub top_p: f64,
    /// Draw from the characters that are at least this probable, as a share of the most probable one.
    /// Nguyen et al., "Turning up the heat: min-p sampling", 2024.
    pub min_p: f64,
}

impl Default for Sampler {
    /// The model's own distribution.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0 }
    }
}

/// Room for drawing, so that it need not allocate.
#[derive(Clone, Debug, Default)]
pub struct Scratch<T> {
    /// What each index is worth, not normalized: 1 for the most probable, 0 for what is left out.
    weights: Vec<T>,
    /// Indices, the most probable first.
    order: Vec<u32>,
}

impl<T> Scratch<T> {
    /// Room for logits of so many characters.
    pub fn with_capacity(vocab_size: usize) -> Self {
        Self { weights: Vec::with_capacity(vocab_size), order: Vec::with_capacity(vocab_size) }
    }
}

impl Sampler {
    /// Draws an index. `scratch` is overwritten.
    ///
    /// Of equally probable characters the one of lower index comes first.
    ///
    /// # Panics
    /// If there are no logits.
    #[track_caller]
    pub fn draw<T: Real>(&self, logits: &[T], rng: &mut Rng, scratch: &mut Scratch<T>) -> u32 {
        let likeliest = || {
            let max = maximum(logits);
            logits.iter().position(|logit| *logit == max).unwrap_or_default() as u32
        };
        if self.temperature == 0.0 {
            return likeliest();
        }
        scratch.weights.resize(logits.len(), T::ZERO);
        let temperature = T::from_f64(self.temperature);
        let total = T::vectorized(
            #[inline(always)]
            || {
                let max = maximum(logits);
                for (weight, logit) in scratch.weights.iter_mut().zip(logits) {
                    *weight = ((*logit - max) / temperature).exp();
                }
                sum(&scratch.weights)
            },
        );
        let total = if self.top_k.is_some() || self.top_p < 1.0 || 0.0 < self.min_p {
            self.leave_out(scratch);
            sum(&scratch.weights)
        } else {
            total
        };

        let mut left = rng::uniform(rng) * total.to_f64();
        let hit = scratch.weights.iter().position(|weight| {
            left -= weight.to_f64();
            left < 0.0
        });
        // Rounding can leave a remainder behind the last weight; it belongs to the likeliest.
        hit.map_or_else(likeliest, |id| id as u32)
    }

    /// Gives no weight to what is not among the `top_k`, or not needed to reach `top_p`, or less
    /// probable than `min_p`.
    fn leave_out<T: Real>(&self, scratch: &mut Scratch<T>) {
        let Scratch { weights, order } = scratch;
        order.clear();
        order.extend(0..weights.len() as u32);
        let weight = |id: u32| weights[id as usize].to_f64();
        order.sort_unstable_by(|a, b| weight(*b).total_cmp(&weight(*a)).then(a.cmp(b)));
        let most = self.top_k.unwrap_or(usize::MAX).clamp(1, order.len());
        // Of those that `top_k` leaves, `top_p` is a share.
        let of_all: f64 = order[..most].iter().map(|id| weight(*id)).sum();
        let (mut kept, mut reached) = (0, 0.0);
        // The most probable has weight 1.
        let is_kept =
            |id: u32, reached: f64| reached < self.top_p * of_all && self.min_p <= weight(id);
        while kept < most && (kept == 0 || is_kept(order[kept], reached)) {
            reached += weight(order[kept]);
            kept += 1;
        }
        for id in &order[kept..] {
            weights[*id as usize] = T::ZERO;
        }
    }
}

/// Reads and writes one character at a time: a model of one lane and one step with its state.
pub struct Generator<T> {
    model: Model<T>,
    state: Vec<T>,
    /// Whether nothing was read yet: the next character starts a text.
    fresh: bool,
    /// What every document starts with, if anything.
    separator: Vec<u32>,
    /// The last characters read, at most as many.
    tail: Vec<u32>,
    scratch: Scratch<T>,
    /// The logits without those of what may not be drawn.
    allowed: Vec<T>,
}

impl<T: Real> Generator<T> {
    /// A generator that has read nothing.
    ///
    /// # Panics
    /// If the model has more than one lane.
    #[track_caller]
    pub fn new(model: Model<T>) -> Self {
        assert_eq!(model.dims().batch_size, 1, "a generator writes one text");
        let (state, scratch) = (model.zero_state(), Scratch::with_capacity(model.vocab_size()));
        let (separator, tail, allowed) = (Vec::new(), Vec::new(), Vec::new());
        Self { model, state, fresh: true, separator, tail, scratch, allowed }
    }

    /// A generator for a model that was trained on documents which start with `separator`: once that
    /// is read to its end, nothing counts that was read before it.
    pub fn separated_by(self, separator: Vec<u32>) -> Self {
        Self { separator, ..self }
    }

    /// Forgets everything that was read.
    pub fn restart(&mut self) {
        self.fresh = true;
        self.tail.clear();
    }

    /// Overwrites the state, as [`Model::carry`] gives it.
    pub fn set_state(&mut self, state: &[T]) {
        self.state.copy_from_slice(state);
        self.fresh = false;
        self.tail.clear();
    }

    /// Lays out the parameters for what is read from here on. To be called before anything is read, and
    /// whenever they have changed.
    pub fn prepare(&mut self, theta: &[T]) {
        self.model.prepare(theta);
    }

    /// Reads a character with the `theta` that was [`prepare`](Self::prepare)d.
    pub fn feed(&mut self, theta: &[T], id: u32) {
        if self.ends_separator(id) {
            self.restart();
            for place in 0..self.separator.len() {
                self.read(theta, self.separator[place]);
            }
        } else {
            self.read(theta, id);
        }
    }

    /// Whether the separator is whole with this character.
    fn ends_separator(&mut self, id: u32) -> bool {
        if self.separator.is_empty() {
            return false;
        }
        if self.tail.len() == self.separator.len() {
            self.tail.remove(0);
        }
        self.tail.push(id);
        self.tail == self.separator
    }

    fn read(&mut self, theta: &[T], id: u32) {
        let window = Window { x: &[id], resets: &[self.fresh] };
        self.model.read(theta, window, &self.state);
        self.model.carry(&mut self.state);
        self.fresh = false;
    }

    /// Draws the character after the last one read; it is not fed.
    ///
    /// # Panics
    /// If nothing was read yet.
    #[track_caller]
    pub fn draw(&mut self, sampler: &Sampler, rng: &mut Rng) -> u32 {
        let logits = self.model.logits();
        let logits = logits.to_slice().expect("logits of one step are contiguous");
        sampler.draw(logits, rng, &mut self.scratch)
    }

    /// Draws as if no character of `banned` existed. `None` if there is no other.
    ///
    /// # Panics
    /// If nothing was read yet.
    #[track_caller]
    pub fn draw_without(
        &mut self,
        banned: &[u32],
        sampler: &Sampler,
        rng: &mut Rng,
    ) -> Option<u32> {
        let nothing = T::from_f64(f64::NEG_INFINITY);
        self.allowed.clear();
        self.allowed.extend(self.model.logits().iter());
        for id in banned {
            self.allowed[*id as usize] = nothing;
        }
        let is_left = self.allowed.iter().any(|logit| *logit != nothing);
        is_left.then(|| sampler.draw(&self.allowed, rng, &mut self.scratch))
    }
}

#[cfg(test)]
mod tests {
    use tensor_core::rng::{Stream, stream};

    use super::*;

    const LOGITS: [f64; 4] = [0.5, 2.0, -1.0, 1.5];

    fn frequencies(sampler: Sampler) -> [f64; 4] {
        let mut rng = stream(3, Stream::Sample);
        let (mut counts, mut scratch) = ([0; 4], Scratch::default());
        for _ in 0..40_000 {
            counts[sampler.draw(&LOGITS, &mut rng, &mut scratch) as usize] += 1;
        }
        counts.map(|count| f64::from(count) / 40_000.0)
    }

    #[track_caller]
    fn check(sampler: Sampler, kept: [bool; 4]) {
        let temperature = sampler.temperature;
        let weight = |i: usize| if kept[i] { (LOGITS[i] / temperature).exp() } else { 0.0 };
        let sum: f64 = (0..4).map(weight).sum();
        for (i, found) in frequencies(sampler).into_iter().enumerate() {
            let expected = weight(i) / sum;
            // Four standard errors.
            let error = 4.0 * (expected * (1.0 - expected) / 40_000.0).sqrt();
            assert!((found - expected).abs() <= error, "index {i}: {found}, expected {expected}");
        }
    }

    #[test]
    fn characters_are_drawn_with_their_probability() {
        let plain = Sampler::default();
        check(plain, [true; 4]);
        check(Sampler { temperature: 0.5, ..plain }, [true; 4]);
        check(Sampler { temperature: 3.0, ..plain }, [true; 4]);
        check(Sampler { top_k: Some(2), ..plain }, [false, true, false, true]);
        check(Sampler { top_k: Some(9), ..plain }, [true; 4]);
        // The probabilities are 0.12, 0.53, 0.03 and 0.32.
        check(Sampler { top_p: 0.5, ..plain }, [false, true, false, false]);
        check(Sampler { top_p: 0.84, ..plain }, [false, true, false, true]);
        check(Sampler { top_p: 0.9, ..plain }, [true, true, false, true]);
        // The second is 0.61 times as probable as the first, the third 0.22, the last 0.05.
        check(Sampler { min_p: 1.0, ..plain }, [false, true, false, false]);
        check(Sampler { min_p: 0.6, ..plain }, [false, true, false, true]);
        check(Sampler { min_p: 0.2, ..plain }, [true, true, false, true]);
        check(Sampler { min_p: 0.04, ..plain }, [true; 4]);
        check(Sampler { min_p: 0.2, temperature: 0.5, ..plain }, [false, true, false, true]);
        check(Sampler { min_p: 0.2, top_k: Some(2), ..plain }, [false, true, false, true]);
        check(Sampler { min_p: 0.6, top_p: 0.9, ..plain }, [false, true, false, true]);
    }

    #[test]
    fn as_many_are_kept_as_reach_top_p_and_none_more() {
        let half = Sampler { top_p: 0.5, ..Sampler::default() };
        let mut rng = stream(3, Stream::Sample);
        let mut draw = || half.draw(&[1.0, 1.0], &mut rng, &mut Scratch::default());
        assert!((0..50).all(|_| draw() == 0));
    }

    #[test]
    fn a_logit_of_nothing_is_never_drawn() {
        let mut rng = stream(3, Stream::Sample);
        let (mut scratch, mut scratch_f64) = (Scratch::default(), Scratch::default());
        for temperature in [0.0, 0.1, 1.0, 10.0] {
            let sampler = Sampler { temperature, ..Sampler::default() };
            for _ in 0..1000 {
                let logits = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, -50.0];
                assert!(sampler.draw(&logits, &mut rng, &mut scratch) % 2 == 1);
                let logits = [f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY, -50.0];
                assert!(sampler.draw(&logits, &mut rng, &mut scratch_f64) % 2 == 1);
            }
        }
    }

    #[test]
    fn huge_logits_are_drawn_by_their_difference() {
        let mut rng = stream(3, Stream::Sample);
        let mut draw = || Sampler::default().draw(&[0.0, 1e4], &mut rng, &mut Scratch::default());
        assert!((0..20).all(|_| draw() == 1));
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_most_probable() {
        let greedy = Sampler { temperature: 0.0, ..Sampler::default() };
        let mut rng = stream(0, Stream::Sample);
        assert_eq!(greedy.draw(&[1.0_f32, 3.0, 3.0], &mut rng, &mut Scratch::default()), 1);
    }
}
