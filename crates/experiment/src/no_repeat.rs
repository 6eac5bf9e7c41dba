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

    /// Whether the text would have a span twice if it went on with `piece`.
    pub fn would_repeat(&self, piece: &str) -> bool {
        let start = (self.text.len() + 1).saturating_sub(self.n);
        let end: Vec<char> = self.text[start..].iter().copied().chain(piece.chars()).collect();
        let mut spans = end.windows(self.n).enumerate();
        spans.any(|(index, span)| {
            self.has(span) || end.windows(self.n).take(index).any(|earlier| earlier == span)
        })
    }

    fn has(&self, span: &[char]) -> bool {
        let (before, last) = span.split_at(self.n - 1);
        let places = self.behind.get(&hash(before)).map_or(&[][..], Vec::as_slice);
        places
            .iter()
            .any(|place| self.text[*place] == last[0] && self.text[..*place].ends_with(before))
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
        fn a_piece_repeats_where_the_whole_text_has_a_span_twice(
            text in "[abé]{0,40}", piece in "[abé]{0,4}", n in 1_usize..6,
        ) {
            let repeats = |text: &str| {
                let chars: Vec<char> = text.chars().collect();
                let mut spans = chars.windows(n).enumerate();
                spans.any(|(place, span)| chars.windows(n).take(place).any(|other| other == span))
            };
            let mut once = String::new();
            for symbol in text.chars().map(String::from) {
                if !repeats(&(once.clone() + &symbol)) {
                    once += &symbol;
                }
            }
            let expected = repeats(&(once.clone() + &piece));
            prop_assert_eq!(after(n, &once).would_repeat(&piece), expected, "{:?}", once);
        }
    }

    #[test]
    fn a_text_in_pieces_is_the_same_text() {
        let mut history = after(3, "abra");
        history.push("");
        history.push("cada");
        history.push("b");
        assert!(history.would_repeat("r") && !history.would_repeat("a"));
        // What the text repeats already is no reason to end it.
        assert!(!after(3, "abab-ab").would_repeat("c") && after(3, "abab-ab").would_repeat("a"));
        assert!(after(1, "ban").would_repeat("a") && !after(1, "ban").would_repeat("e"));
        assert!(after(2, "x").would_repeat("abab") && !after(2, "x").would_repeat("aba"));
    }
}
