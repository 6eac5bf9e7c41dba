//! Lines whose second half repeats the first after a pause.
//!
//! A line is `width` random letters, `delay` dots, the same letters again, and a line end, as in
//! `cab....cab`. Only the first letters are news, so the entropy rate is
//! `width·ln(symbols) / (2·width + delay + 1)`; to come near it a model has to remember letters for
//! `width + delay` steps.
//!
//! Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); in this form
//! Arjovsky, Shah & Bengio, "Unitary evolution recurrent neural networks", ICML 2016.

use registry::range::{Count, Length, Seed, Size};
use registry::{Conflict, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::rng::{Stream, stream};

use super::{Source, TextError, below, check_letters, letter};
use crate::Corpus;

/// Keys of `copy`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Copy {
    /// different letters, from 2 to 26
    #[schemars(extend("minimum" = 2, "maximum" = 26))]
    pub symbols: Size,
    /// letters to remember
    pub width: Size,
    /// dots between the letters and their repetition
    pub delay: Count,
    /// characters of the text
    pub length: Length,
    /// seed of the letters
    pub seed: Seed,
}

impl Default for Copy {
    fn default() -> Self {
        Self {
            symbols: Size::new(8),
            width: Size::new(10),
            delay: Count::new(20),
            length: Length::new(1_000_000),
            seed: Seed::new(0),
        }
    }
}

impl Part for Copy {
    const NAME: &'static str = "copy";
    const SUMMARY: &'static str = "lines of random letters that are repeated after a delay";
    const SOURCE: &'static str = "Arjovsky, Shah & Bengio 2016";

    fn check(&self) -> Result<(), Conflict> {
        check_letters(self.symbols)
    }
}

impl Copy {
    /// Nats per character.
    fn entropy(&self) -> f64 {
        let width = self.width.get() as f64;
        width * libm::log(self.symbols.get() as f64) / self.line_len() as f64
    }

    fn line_len(&self) -> usize {
        2 * self.width.as_usize() + self.delay.as_usize() + 1
    }
}

impl Source for Copy {
    fn read(&self) -> Result<Corpus, TextError> {
        let mut rng = stream(self.seed.get() as u64, Stream::Data);
        let (length, delay) = (self.length.as_usize(), ".".repeat(self.delay.as_usize()));
        let mut text = String::with_capacity(length + self.line_len());
        while text.len() < length {
            let letters: String = (0..self.width.get())
                .map(|_| letter(below(&mut rng, self.symbols.as_usize())))
                .collect();
            text.extend([&letters, &delay, &letters, "\n"]);
        }
        text.truncate(length);
        // As a separator does, a line end opens the next document.
        Ok(Corpus::from(text).separated_by("\n").with_entropy(self.entropy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BuildTokenizer;
    use crate::tokenizer::Char;

    fn example() -> Copy {
        let (symbols, width, delay) = (Size::new(4), Size::new(5), Count::new(3));
        Copy { symbols, width, delay, length: Length::new(140_001), seed: Seed::new(3) }
    }

    #[test]
    fn the_second_half_of_a_line_is_the_first() {
        let text = example().read().expect("made").text().expect("made");
        for line in text.lines().take(10_000) {
            assert_eq!((line.len(), &line[5..8]), (13, "..."));
            assert_eq!(line[..5], line[8..]);
        }
    }

    #[test]
    fn a_line_end_opens_a_document() {
        let corpus = example().read().expect("made");
        let (text, tokenizer) = (corpus.text().expect("made"), Char {}.fit(&corpus));
        let corpus = corpus.encode(tokenizer.expect("made")).expect("its own text");
        let (mut ids, mut starts) = (vec![0; text.len()], vec![false; text.len()]);
        corpus.excerpt(0..text.len()).reader(1).read(0, 0, &mut ids, &mut starts).expect("made");
        let line_ends = text.bytes().map(|byte| byte == b'\n').skip(1);
        assert_eq!(starts, [true].into_iter().chain(line_ends).collect::<Vec<_>>());
    }

    #[test]
    fn the_letters_hold_as_much_as_the_rate_says() {
        let corpus = example().read().expect("made");
        let text = corpus.text().expect("made");
        let mut counts = [0.0; 4];
        let letters = text.lines().take(10_000).flat_map(|line| line[..5].bytes());
        letters.for_each(|letter| counts[usize::from(letter - b'a')] += 1.0 / 50_000.0);
        // A share of 1/4 among 50,000 has a standard error of 0.0019; the entropy of shares that
        // are off by so little differs from ln 4 by their squares.
        assert!(counts.iter().all(|share| (share - 0.25_f64).abs() < 0.008), "{counts:?}");
        let per_char = 5.0 * super::super::entropy(&counts) / 14.0;
        assert!((per_char - corpus.entropy().expect("known")).abs() < 1e-4);
        assert!((corpus.entropy().expect("known") - 5.0 / 14.0 * 4.0_f64.ln()).abs() < 1e-12);
    }
}
