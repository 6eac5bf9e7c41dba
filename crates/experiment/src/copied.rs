//! Which spans of a passage stand verbatim in a text.
//!
//! The passages become a suffix automaton, and the text runs through it once, from start to end. So
//! memory grows with the passages alone, at some 200 bytes a character, and the text may be of any
//! length.
//!
//! Blumer et al., "The smallest automaton recognizing the subwords of a text", 1985; Chang & Lawler,
//! "Sublinear approximate string matching and biological applications", 1994, who call the longest
//! matches at every place matching statistics.

use data_io::{Excerpt, TextError, Utf8Stream};

/// A span of a passage that stands in a text, and would not with one more character on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Characters of the passage before it.
    pub start: usize,
    /// Characters in it.
    pub len: usize,
    /// Characters of the text before the first place where it stands there.
    pub found: usize,
    /// The line of the text in which that place is, from 1.
    pub line: usize,
}

/// What of a passage stands verbatim in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Characters of the passage.
    pub chars: usize,
    /// In order; they may overlap, and none is part of another.
    pub spans: Vec<Span>,
}

impl Copied {
    /// The share of the passage's characters that are in some span of `min_len` characters or more.
    pub fn share(&self, min_len: usize) -> f64 {
        let (mut covered, mut end) = (0, 0);
        for span in self.spans.iter().filter(|span| min_len <= span.len) {
            let span_end = span.start + span.len;
            covered += span_end - span.start.max(end);
            end = span_end;
        }
        covered as f64 / self.chars.max(1) as f64
    }

    /// The longest span, the first of several.
    pub fn longest(&self) -> Option<Span> {
        self.spans.iter().copied().max_by_key(|span| (span.len, std::cmp::Reverse(span.start)))
    }
}

/// Finds what of each passage stands in `text`, in one reading of it.
///
/// # Errors
/// If the text cannot be read any more.
///
/// # Panics
/// If the passages have more than 2³⁰ characters.
pub fn find_copies(passages: &[&str], text: &Excerpt<'_>) -> Result<Vec<Copied>, TextError> {
    let mut automaton = Automaton::of(passages);
    let mut place = Reached::default();
    read_chars(text, |symbol| automaton.step(symbol, &mut place))?;
    automaton.share_with_suffixes();

    let mut prefixes = automaton.prefixes.iter();
    let copied = |passage: &&str| {
        let symbols: Vec<char> = passage.chars().collect();
        let matches: Vec<Match> =
            prefixes.by_ref().take(symbols.len()).map(|s| automaton.states[*s].found).collect();
        let ends = matches.iter().zip(matches.iter().skip(1).map(|next| next.len).chain([0]));
        let spans =
            ends.enumerate().filter(|(_, (found, next))| 0 < found.len && *next <= found.len);
        let span = |(last, (found, _)): (usize, (&Match, usize))| {
            let start = last + 1 - found.len;
            let ends_of_line = symbols[start..last].iter().filter(|c| **c == '\n').count();
            let (found, line) = (found.end.chars - found.len, found.end.line - ends_of_line);
            Span { start, len: last + 1 - start, found, line }
        };
        Copied { chars: symbols.len(), spans: spans.map(span).collect() }
    };
    Ok(passages.iter().map(copied).collect())
}

/// Shows every character of a text.
fn read_chars(text: &Excerpt<'_>, mut see: impl FnMut(char)) -> Result<(), TextError> {
    const AT_ONCE: usize = 4096;
    let (mut reader, tokenizer) = (text.reader(1), text.tokenizer());
    let (mut ids, mut starts) = ([0; AT_ONCE], [false; AT_ONCE]);
    let (mut stream, mut piece) = (Utf8Stream::default(), String::new());
    for place in (0..text.len()).step_by(AT_ONCE) {
        let n = AT_ONCE.min(text.len() - place);
        reader.read(0, place, &mut ids[..n], &mut starts[..n])?;
        piece.clear();
        ids[..n].iter().for_each(|id| stream.push(tokenizer.bytes(*id), &mut piece));
        piece.chars().for_each(&mut see);
    }
    Ok(())
}

const ROOT: usize = 0;

/// Reads every substring of the passages.
struct Automaton {
    states: Vec<State>,
    /// The state of each passage up to each of its characters, one passage after the other.
    prefixes: Vec<usize>,
}

/// Some substrings that end at the same places of the passages, each a suffix of the longest.
#[derive(Clone, Debug, Default)]
struct State {
    /// Characters of the longest.
    len: usize,
    /// The state of the longest suffix that ends in more places.
    link: usize,
    /// What comes next, sorted.
    next: Vec<(u32, u32)>,
    /// Where the text first ended with one of them, or with a longer string that ends with one.
    first: Option<End>,
    /// The longest that stands in the text.
    found: Match,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// Characters up to it.
    chars: usize,
    /// The line in which the last of them is.
    line: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Match {
    len: usize,
    /// The end of the first place where it stands.
    end: End,
}

/// Where the text has come to.
#[derive(Default)]
struct Reached {
    state: usize,
    /// Characters that the text ends with, and some passage has.
    len: usize,
    chars: usize,
    ends_of_line: usize,
}

impl State {
    fn next(&self, symbol: u32) -> Option<usize> {
        let place = self.next.binary_search_by_key(&symbol, |(symbol, _)| *symbol).ok()?;
        Some(self.next[place].1 as usize)
    }

    fn set_next(&mut self, symbol: u32, state: usize) {
        match self.next.binary_search_by_key(&symbol, |(symbol, _)| *symbol) {
            Ok(place) => self.next[place].1 = state as u32,
            Err(place) => self.next.insert(place, (symbol, state as u32)),
        }
    }
}

impl Automaton {
    fn of(passages: &[&str]) -> Self {
        let n_chars: usize = passages.iter().map(|passage| passage.chars().count()).sum();
        assert!(n_chars <= 1 << 30, "{n_chars} characters are too many to number their states");
        let mut automaton = Self { states: vec![State::default()], prefixes: Vec::new() };
        let mut last = ROOT;
        for (index, passage) in passages.iter().enumerate() {
            if 0 < index {
                // No text has this one, so nothing is found across two passages.
                last = automaton.push(last, char::MAX as u32 + index as u32);
            }
            for symbol in passage.chars() {
                last = automaton.push(last, u32::from(symbol));
                automaton.prefixes.push(last);
            }
        }
        automaton
    }

    /// Adds a symbol to the passages, which end in state `last`; returns the state they end in then.
    fn push(&mut self, last: usize, symbol: u32) -> usize {
        let new = self.states.len();
        self.states.push(State { len: self.states[last].len + 1, ..State::default() });
        let mut state = Some(last);
        while let Some(at) = state.filter(|at| self.states[*at].next(symbol).is_none()) {
            self.states[at].set_next(symbol, new);
            state = (at != ROOT).then_some(self.states[at].link);
        }
        let Some(at) = state else { return new };
        let next = self.states[at].next(symbol).expect("the loop ended on it");
        if self.states[at].len + 1 == self.states[next].len {
            self.states[new].link = next;
            return new;
        }
        // Only the suffixes of `at` with the symbol behind end here as well; the longer ones do not.
        let copy = self.states.len();
        self.states.push(State { len: self.states[at].len + 1, ..self.states[next].clone() });
        self.states[next].link = copy;
        self.states[new].link = copy;
        let mut state = Some(at);
        while let Some(at) = state.filter(|at| self.states[*at].next(symbol) == Some(next)) {
            self.states[at].set_next(symbol, copy);
            state = (at != ROOT).then_some(self.states[at].link);
        }
        new
    }

    /// Reads a character of the text.
    fn step(&mut self, symbol: char, reached: &mut Reached) {
        let code = u32::from(symbol);
        let next = loop {
            let state = &self.states[reached.state];
            match state.next(code) {
                Some(next) => break Some(next),
                None if reached.state == ROOT => break None,
                None => {
                    reached.state = state.link;
                    reached.len = self.states[state.link].len;
                }
            }
        };
        reached.chars += 1;
        if let Some(next) = next {
            reached.state = next;
            reached.len += 1;
            let (len, state) = (reached.len, &mut self.states[next]);
            let end = End { chars: reached.chars, line: reached.ends_of_line + 1 };
            state.first.get_or_insert(end);
            if state.found.len < len {
                state.found = Match { len, end };
            }
        }
        reached.ends_of_line += usize::from(symbol == '\n');
    }

    /// Where a string stands, its suffixes do; and what does not stand there itself is as long as its
    /// longest suffix that does.
    fn share_with_suffixes(&mut self) {
        let mut order: Vec<usize> = (1..self.states.len()).collect();
        order.sort_unstable_by_key(|state| self.states[*state].len);
        for state in order.iter().rev() {
            let State { link, first, .. } = self.states[*state];
            let Some(end) = first.filter(|_| link != ROOT) else { continue };
            let suffix = &mut self.states[link];
            if suffix.first.is_none_or(|first| end.chars < first.chars) {
                suffix.first = Some(end);
            }
            if suffix.found.len < suffix.len || end.chars < suffix.found.end.chars {
                suffix.found = Match { len: suffix.len, end };
            }
        }
        for state in order {
            if self.states[state].found.len == 0 {
                self.states[state].found = self.states[self.states[state].link].found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use data_io::tokenizer::{Byte, Char};
    use data_io::{BuildTokenizer, Corpus};
    use proptest::prelude::*;

    use super::*;

    fn find(passages: &[&str], text: &str, tokenizer: &dyn BuildTokenizer) -> Vec<Copied> {
        let corpus = Corpus::from(text);
        let tokenizer = tokenizer.fit(&corpus).expect("made");
        let corpus = corpus.encode(tokenizer).expect("its own text");
        find_copies(passages, &corpus.excerpt(0..corpus.len())).expect("made")
    }

    /// The first place of `span` in `text`.
    fn place(text: &[char], span: &[char]) -> Option<usize> {
        text.windows(span.len()).position(|window| window == span)
    }

    /// The same spans, found by trying all of them.
    fn plainly(passage: &str, text: &str) -> Copied {
        let (passage, text): (Vec<char>, Vec<char>) =
            (passage.chars().collect(), text.chars().collect());
        let (mut spans, mut end) = (Vec::new(), 0);
        for start in 0..passage.len() {
            let stands = |end: &usize| place(&text, &passage[start..*end]).is_some();
            let last = (start + 1..=passage.len()).take_while(stands).last();
            if let Some(last) = last.filter(|last| end < *last) {
                let found = place(&text, &passage[start..last]).expect("it stands there");
                let line = 1 + text[..found].iter().filter(|c| **c == '\n').count();
                spans.push(Span { start, len: last - start, found, line });
                end = last;
            }
        }
        Copied { chars: passage.len(), spans }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

        #[test]
        fn the_spans_are_those_that_trying_all_finds(
            passages in prop::collection::vec("[abé\n]{0,30}", 0..4),
            text in "[abé\n]{1,60}",
            as_bytes in any::<bool>(),
        ) {
            let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
            let tokenizer: &dyn BuildTokenizer = if as_bytes { &Byte {} } else { &Char {} };
            let found = find(&passages, &text, tokenizer);
            let expected: Vec<_> = passages.iter().map(|passage| plainly(passage, &text)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_share_is_that_of_the_characters_in_some_span_so_long(
            passage in "[ab]{0,30}", text in "[ab]{1,40}", min_len in 1_usize..12,
        ) {
            let symbols: Vec<char> = passage.chars().collect();
            let text_symbols: Vec<char> = text.chars().collect();
            let mut is_covered = vec![false; symbols.len()];
            for (start, span) in symbols.windows(min_len).enumerate() {
                if place(&text_symbols, span).is_some() {
                    is_covered[start..][..min_len].fill(true);
                }
            }
            let n = is_covered.iter().filter(|is_covered| **is_covered).count();
            let expected = n as f64 / symbols.len().max(1) as f64;
            prop_assert_eq!(find(&[&passage], &text, &Char {})[0].share(min_len), expected);
        }
    }

    #[test]
    fn a_copy_is_found_where_it_first_stands() {
        let text =
            "one two\nthree four\nthree four five\n".to_owned() + &"filling ".repeat(2000) + "end";
        let found = find(&["say: three four five!", "three four", "end"], &text, &Char {});
        let longest = |index: usize| found[index].longest().expect("one");
        assert_eq!(longest(0), Span { start: 5, len: 15, found: 19, line: 3 }, "{text:.40}");
        assert_eq!(longest(1), Span { start: 0, len: 10, found: 8, line: 2 });
        assert_eq!(longest(2), Span { start: 0, len: 3, found: 16_035, line: 4 });
        let first = find(&["ab-ba"], "ba ab", &Char {})[0].longest();
        assert_eq!(first, Some(Span { start: 0, len: 2, found: 3, line: 1 }), "of two as long");
        assert!(
            find(&["xyz", ""], "abc", &Char {}).iter().all(|copied| copied.longest().is_none())
        );
    }
}
