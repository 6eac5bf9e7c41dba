//! What a text looks like: its size, alphabet, lines and repetition, and what kind of text it may be.
//!
//! All of it is found in one pass that holds next to nothing of the text, so that a text of any length
//! can be looked at. The kind is a guess by a few counts, good enough to suggest settings by.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::corpus::Counts;
use crate::{Corpus, TextError};

/// Bytes of a stretch that is looked for a second time.
const STRETCH: usize = 32;
/// Bytes of the text in which repetition is looked for.
const REPETITION_BYTES: u64 = 16 << 20;
/// Of all stretches one in so many is remembered, chosen by its own bits so that its repetition is
/// chosen too.
const ONE_OF: u64 = 8;
/// Lines of this many characters or more are counted as equally long.
const LONG_LINE: usize = 1024;

/// What a text looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Bytes in UTF-8.
    pub bytes: u64,
    /// Code points.
    pub chars: u64,
    /// The different characters, and how often each occurs.
    pub characters: BTreeMap<char, usize>,
    /// Lines, the last of which may lack its end.
    pub lines: u64,
    /// Lines that end in CR LF.
    pub crlf: u64,
    /// Lines with nothing in them but white space.
    pub blank_lines: u64,
    /// Lines that start with white space and go on.
    pub indented_lines: u64,
    /// Words: what is between white space.
    pub words: u64,
    /// Characters of the longest line, without its end.
    pub longest_line: u64,
    /// Whether the text starts with a byte order mark.
    pub has_mark: bool,
    /// Share of the stretches of 32 bytes that occurred before, within the first 16 MiB.
    pub repeated: f64,
    /// How many lines have so many characters; the last entry counts all longer ones.
    line_lengths: Vec<u64>,
}

/// What a text may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A handful of letters and little else, such as a genome: the letters, the most frequent first.
    Letters(Vec<char>),
    /// Short lines, each a document of its own, such as names.
    Records,
    /// Source code or markup.
    Code,
    /// Anything else.
    Prose,
}

impl Survey {
    /// Looks at a text.
    ///
    /// # Errors
    /// If it cannot be read, or is not UTF-8.
    pub fn of(corpus: &Corpus) -> Result<Self, TextError> {
        let mut counts = Counts::default();
        let (mut lines, mut repetition) = (Lines::default(), Repetition::default());
        let (mut bytes, mut has_mark) = (0, false);
        corpus.read(|text| {
            has_mark |= bytes == 0 && text.starts_with('\u{feff}');
            bytes += text.len() as u64;
            counts.add(text);
            text.bytes().for_each(|byte| lines.add(byte));
            repetition.add(text.as_bytes());
        })?;
        lines.end();
        let characters = counts.into_map();
        Ok(Self {
            bytes,
            chars: characters.values().map(|count| *count as u64).sum(),
            characters,
            lines: lines.count,
            crlf: lines.crlf,
            blank_lines: lines.blank,
            indented_lines: lines.indented,
            words: lines.words,
            longest_line: lines.longest,
            has_mark,
            repeated: repetition.share(),
            line_lengths: lines.lengths,
        })
    }

    /// A guess at what the text is.
    pub fn kind(&self) -> Kind {
        let letters = self.main_letters(0.98);
        // Genomes have some stretches in small letters.
        let folded: BTreeSet<_> = letters.iter().map(char::to_ascii_uppercase).collect();
        if folded.len() <= 5 && self.repeated < 0.5 {
            return Kind::Letters(letters);
        }
        let lines = self.lines as f64;
        let short = self.line_length(0.95) <= 40 && self.longest_line <= 200;
        // Where words are not set apart their number says nothing, but sentences have marks.
        let has_sentences = 0.01 < self.share_of("，。、！？；：");
        let is_list = (self.words as f64) < 3.0 * lines
            && (self.blank_lines as f64) < 0.01 * lines
            && !has_sentences;
        if 100 <= self.lines && short && is_list && self.share_of("{}()[];=<>") < 0.02 {
            return Kind::Records;
        }
        let signs = self.share_of("{}()[];=<>_/*&|\\\"");
        if 0.15 * lines < self.indented_lines as f64 && 0.05 < signs || 0.1 < signs {
            return Kind::Code;
        }
        Kind::Prose
    }

    /// What a model pays that knows how often each character occurs and nothing else, in nats a
    /// character: the entropy of the frequencies.
    pub fn frequency_nats(&self) -> f64 {
        entropy_of(self.characters.values())
    }

    /// The same for some of the characters alone.
    pub fn frequency_nats_of(&self, letters: &[char]) -> f64 {
        entropy_of(letters.iter().filter_map(|letter| self.characters.get(letter)))
    }

    /// The share of the text that these characters make up.
    pub fn share_of(&self, characters: &str) -> f64 {
        let counts = characters.chars().filter_map(|symbol| self.characters.get(&symbol));
        counts.sum::<usize>() as f64 / self.chars.max(1) as f64
    }

    /// The fewest characters, the most frequent first, that make up `share` of the text apart from
    /// white space.
    pub fn main_letters(&self, share: f64) -> Vec<char> {
        let mut counts: Vec<_> = self
            .characters
            .iter()
            .filter(|(symbol, _)| !symbol.is_whitespace())
            .map(|(symbol, count)| (*symbol, *count))
            .collect();
        let needed = share * counts.iter().map(|(_, count)| *count as f64).sum::<f64>();
        counts.sort_by_key(|(symbol, count)| (std::cmp::Reverse(*count), *symbol));
        let mut sum = 0.0;
        let is_needed = |(_, count): &(char, usize)| {
            let before = sum;
            sum += *count as f64;
            before < needed
        };
        counts.into_iter().take_while(is_needed).map(|(symbol, _)| symbol).collect()
    }

    /// The share of the text that is made of characters occurring `min_count` times or more, and how
    /// many different ones those are.
    pub fn frequent(&self, min_count: usize) -> (f64, usize) {
        let counts = self.characters.values().filter(|count| min_count <= **count);
        let (sum, n) = counts.fold((0, 0), |(sum, n), count| (sum + count, n + 1));
        (sum as f64 / self.chars.max(1) as f64, n)
    }

    /// The length in characters that so large a share of the lines does not exceed; 1024 for all
    /// that are longer.
    pub fn line_length(&self, share: f64) -> usize {
        let needed = share * self.lines as f64;
        let mut sum = 0;
        let reaches = |count: &u64| {
            sum += count;
            needed <= sum as f64
        };
        self.line_lengths.iter().position(reaches).unwrap_or(LONG_LINE)
    }
}

/// Entropy in nats of the distribution that counts make.
fn entropy_of<'a>(counts: impl Iterator<Item = &'a usize> + Clone) -> f64 {
    let total = counts.clone().sum::<usize>() as f64;
    let term = |count: &usize| {
        let p = *count as f64 / total;
        p * libm::log(p)
    };
    // Not -0.
    0.0 - counts.filter(|count| 0 < **count).map(term).sum::<f64>()
}

/// Counts lines, byte by byte.
struct Lines {
    count: u64,
    crlf: u64,
    blank: u64,
    indented: u64,
    words: u64,
    longest: u64,
    lengths: Vec<u64>,
    /// Characters of the current line.
    length: u64,
    /// Whether anything but white space was in it.
    has_word: bool,
    starts_blank: bool,
    in_word: bool,
    last: u8,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            count: 0,
            crlf: 0,
            blank: 0,
            indented: 0,
            words: 0,
            longest: 0,
            lengths: vec![0; LONG_LINE + 1],
            length: 0,
            has_word: false,
            starts_blank: false,
            in_word: false,
            last: b'\n',
        }
    }
}

impl Lines {
    fn add(&mut self, byte: u8) {
        let is_blank = byte.is_ascii_whitespace();
        if byte == b'\n' {
            if self.last == b'\r' {
                self.crlf += 1;
                self.length -= 1;
            }
            self.end_line();
        } else {
            self.starts_blank |= self.length == 0 && is_blank;
            // All but the bytes that continue a character.
            self.length += u64::from(byte & 0xc0 != 0x80);
            self.has_word |= !is_blank;
        }
        self.words += u64::from(!is_blank && !self.in_word);
        self.in_word = !is_blank;
        self.last = byte;
    }

    fn end_line(&mut self) {
        self.count += 1;
        self.blank += u64::from(!self.has_word);
        self.indented += u64::from(self.has_word && self.starts_blank);
        self.longest = self.longest.max(self.length);
        self.lengths[(self.length as usize).min(LONG_LINE)] += 1;
        (self.length, self.has_word, self.starts_blank) = (0, false, false);
    }

    /// The text ends, with or without a line end.
    fn end(&mut self) {
        if self.last != b'\n' {
            self.end_line();
        }
    }
}

/// Looks for stretches that occurred before, by their rolling hash: `Σ b[i]·M^(31-i)`, as in Karp &
/// Rabin, "Efficient randomized pattern-matching algorithms", 1987, with 64 bits that overflow.
#[derive(Default)]
struct Repetition {
    hash: u64,
    /// The last stretch, as a ring.
    ring: [u8; STRETCH],
    /// Bytes seen.
    seen: u64,
    known: HashSet<u64>,
    looked_at: u64,
    found: u64,
}

impl Repetition {
    fn add(&mut self, bytes: &[u8]) {
        const M: u64 = 0x9e37_79b9_7f4a_7c15;
        const M_OUT: u64 = M.wrapping_pow(STRETCH as u32);
        let left = REPETITION_BYTES.saturating_sub(self.seen).min(bytes.len() as u64);
        for byte in &bytes[..left as usize] {
            let out = &mut self.ring[self.seen as usize % STRETCH];
            let leaving = u64::from(*out) + u64::from(STRETCH as u64 <= self.seen);
            *out = *byte;
            // One more than the byte, so that zeros count.
            self.hash = self.hash.wrapping_mul(M).wrapping_add(u64::from(*byte) + 1);
            self.hash = self.hash.wrapping_sub(leaving.wrapping_mul(M_OUT));
            self.seen += 1;
            // The low bits know of the last bytes alone.
            let mixed = (self.hash ^ (self.hash >> 32)).wrapping_mul(M);
            if STRETCH as u64 <= self.seen && mixed >> 32 & (ONE_OF - 1) == 0 {
                self.looked_at += 1;
                self.found += u64::from(!self.known.insert(mixed));
            }
        }
    }

    fn share(&self) -> f64 {
        self.found as f64 / self.looked_at.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use tensor_core::rng::{Stream, stream, uniform};

    use super::*;

    fn survey(text: impl Into<String>) -> Survey {
        Survey::of(&Corpus::from(text.into())).expect("made")
    }

    /// `n` of the letters, each as likely as the others.
    fn random(letters: &str, n: usize) -> String {
        let letters: Vec<_> = letters.chars().collect();
        let mut rng = stream(1, Stream::Data);
        (0..n).map(|_| letters[(uniform(&mut rng) * letters.len() as f64) as usize]).collect()
    }

    #[test]
    fn lines_are_counted_as_a_reader_counts_them() {
        let found = survey("\u{feff}one two\r\n\r\n  three é\n\t\nlast");
        let Survey { bytes, chars, lines, crlf, blank_lines, indented_lines, words, .. } = found;
        assert_eq!((bytes, chars), (31, 28));
        assert_eq!((lines, crlf, blank_lines, indented_lines, words), (5, 2, 2, 1, 5));
        assert_eq!((found.longest_line, found.has_mark), (9, true));
        assert_eq!([0.2, 0.4, 0.6, 1.0].map(|share| found.line_length(share)), [0, 1, 4, 9]);
        assert_eq!(survey("a\n").lines, 1);
        assert_eq!(survey("x".repeat(5000)).line_length(0.5), LONG_LINE);
    }

    #[test]
    fn frequencies_cost_their_entropy() {
        let found = survey("aabb\n");
        assert!((found.frequency_nats_of(&['a', 'b']) - 2_f64.ln()).abs() < 1e-12);
        let expected = -(0.8 * 0.4_f64.ln() + 0.2 * 0.2_f64.ln());
        assert!((found.frequency_nats() - expected).abs() < 1e-12);
        assert_eq!(survey("aaa").frequency_nats(), 0.0);
        assert_eq!(survey("cabacccd e").main_letters(0.6), ['c', 'a']);
        assert_eq!(survey("aaabbc").frequent(2), (5.0 / 6.0, 2));
    }

    #[test]
    fn repetition_is_found_where_it_is() {
        let noise = random("abcdefghij", 20_000);
        assert_eq!(survey(&*noise).repeated, 0.0);
        assert_eq!(survey("short").repeated, 0.0);
        let twice = survey(noise.clone() + &noise).repeated;
        assert!((twice - 0.5).abs() < 0.03, "{twice}");
        let thrice = survey(noise.clone() + "-" + &noise + "+" + &noise).repeated;
        assert!((thrice - 0.667).abs() < 0.03, "{thrice}");
    }

    #[test]
    fn kinds_of_text_are_told_apart() {
        let check = |text: String, expected: Kind| assert_eq!(survey(&*text).kind(), expected);
        let bases = random("ACGT", 7000);
        let lines: Vec<_> = bases.as_bytes().chunks(70).map(String::from_utf8_lossy).collect();
        let Kind::Letters(letters) = survey(">virus\n".to_owned() + &lines.join("\n")).kind()
        else {
            panic!("a genome")
        };
        assert_eq!(letters.len(), 4);
        let masked = bases[..3500].to_owned() + &bases[3500..].to_lowercase();
        assert!(matches!(survey(masked).kind(), Kind::Letters(letters) if letters.len() == 8));
        // Few letters in an order that can be learned are no noise.
        check("abc".repeat(3000), Kind::Prose);
        let names = random("abcdefghijklmnopqr", 6000);
        let names: Vec<_> = names.as_bytes().chunks(6).map(String::from_utf8_lossy).collect();
        check(names.join("\n") + "\n", Kind::Records);
        check(names.join("\r\n"), Kind::Records);
        // So few lines, or lines with a verse in each, are a text.
        check(names[..50].join("\n"), Kind::Prose);
        check("the cat sat on the mat\nand so it was\n\n".repeat(200), Kind::Prose);
        check("fn main() {\n    let x = [1, 2];\n    f(x);\n}\n".repeat(50), Kind::Code);
        check("<p class=\"a\">one</p>\n".repeat(200), Kind::Code);
        check("却说那女娲氏炼石补天之时，\n".repeat(200), Kind::Prose);
    }
}
