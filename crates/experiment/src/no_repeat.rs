//! What a text would have to say next to repeat itself.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

/// Keeps a text from having a span of `n` characters twice.
///
/// As `no_repeat_ngram_size` of Paulus, Xiong & Socher, "A deep reinforced model for abstractive
/// summarization", 2018, with characters for words.
#[derive(Clone, Debug)]
pub struct NoRepeat {
    n: usize,
    text: Vec<char>,
    /// The places behind each span of `n - 1` characters, by a hash of it; spans are compared before one
    /// is believed.
    behind: HashMap<u64, Vec<usize>>,
}

impl NoRepeat {
    /// An empty text without repeated spans of `n` characters.
    pub fn new(n: NonZeroUsize) -> Self {
        Self { n: n.get(), text: Vec::new(), behind: HashMap::new() }
    }

    /// The text goes on with these characters, whether or not they repeat anything.
    pub fn push(&mut self, text: &str) {
        for symbol in text.chars() {
            if let Some(hash) = self.last_span().map(hash) {
                self.behind.entry(hash).or_default().push(self.text.len());
            }
            self.text.push(symbol);
        }
    }

    /// The characters that would complete a span the text already has, each once.
    pub fn repeats(&self) -> Vec<char> {
        let Some(span) = self.last_span() else { return Vec::new() };
        let places = self.behind.get(&hash(span)).map_or(&[][..], Vec::as_slice);
        let is_same = |place: &&usize| self.text[..**place].ends_with(span);
        let mut symbols: Vec<char> =
            places.iter().filter(is_same).map(|place| self.text[*place]).collect();
        symbols.sort_unstable();
        symbols.dedup();
        symbols
    }

    fn last_span(&self) -> Option<&[char]> {
        let start = (self.text.len() + 1).checked_sub(self.n)?;
        Some(&self.text[start..])
    }
}

fn hash(span: &[char]) -> u64 {
    let mut hasher = DefaultHasher::new();
    span.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(n: usize, text: &str) -> NoRepeat {
        let mut history = NoRepeat::new(NonZeroUsize::new(n).expect("above 0"));
        history.push(text);
        history
    }

    proptest! {
        #[test]
        fn those_characters_are_named_that_would_repeat_a_span(
            text in "[abé]{0,40}", n in 1_usize..6,
        ) {
            let chars: Vec<char> = text.chars().collect();
            for next in ['a', 'b', 'é'] {
                let longer: Vec<char> = chars.iter().copied().chain([next]).collect();
                let span = longer.len().checked_sub(n).map(|start| &longer[start..]);
                let stands = |span: &[char]| chars.windows(n).any(|window| window == span);
                let expected = span.is_some_and(stands);
                prop_assert_eq!(after(n, &text).repeats().contains(&next), expected, "{}", next);
            }
        }
    }

    #[test]
    fn a_text_in_pieces_is_the_same_text() {
        let mut history = after(3, "abra");
        history.push("");
        history.push("cada");
        history.push("b");
        assert_eq!(history.repeats(), ['r']);
        assert_eq!(history.repeats(), after(3, "abracadab").repeats());
        assert_eq!(after(1, "banana").repeats(), ['a', 'b', 'n']);
        assert_eq!(after(7, "banana").repeats(), []);
    }
}
