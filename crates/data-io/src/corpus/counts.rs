//! How often each character occurs.

use std::collections::BTreeMap;

/// Text that is looked at together: most of it is ASCII even where not all is.
const STRETCH: usize = 4096;
/// A character of up to three bytes that begins before the end of a stretch belongs to it.
const MOST: usize = STRETCH + 2;
/// Code points of up to three bytes.
const SHORT: usize = 1 << 16;
/// Sixteen of those that are no character's.
const NO_CHARACTER: u16 = 0xd800;

/// The least byte that a character of two bytes, three, or four starts with.
const LEADS_TWO: u16 = 0xc0;
const LEADS_THREE: u16 = 0xe0;
const LEADS_FOUR: u8 = 0xf0;

/// Occurrences of characters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By code point, up to the largest seen or further: 512 KiB where not all is ASCII, 9 MB at most. What
    /// stands where no character can be means nothing.
    by_code: Vec<usize>,
}

impl Counts {
    /// Counts the characters of `text`.
    pub(crate) fn add(&mut self, mut text: &str) {
        while !text.is_empty() {
            let (stretch, rest) = text.split_at(text.ceil_char_boundary(STRETCH));
            if stretch.is_ascii() {
                self.add_ascii(stretch.as_bytes());
            } else if stretch.bytes().fold(0, u8::max) < LEADS_FOUR {
                self.add_short(stretch.as_bytes());
            } else {
                stretch.chars().for_each(|symbol| self.see(symbol as usize, 1));
            }
            text = rest;
        }
    }

    fn add_ascii(&mut self, bytes: &[u8]) {
        // Repeated characters would wait for each other in one table.
        let mut tables = [[0_u16; 256]; 4];
        let fours = bytes.chunks_exact(4);
        for byte in fours.remainder() {
            tables[0][usize::from(*byte)] += 1;
        }
        for four in fours {
            for (table, byte) in tables.iter_mut().zip(four) {
                table[usize::from(*byte)] += 1;
            }
        }
        for code in 0..128 {
            let found: usize = tables.iter().map(|table| usize::from(table[code])).sum();
            if 0 < found {
                self.see(code, found);
            }
        }
    }

    /// Characters of up to three bytes, and no branch: each byte counts, one that ends a character for that, any
    /// other for a code point that is none. A branch on the length of a character a CPU guesses wrong at each end
    /// of a word, which takes as long as the rest. Chinese without spaces has no such ends, and pays for them: a
    /// third of its counting.
    fn add_short(&mut self, bytes: &[u8]) {
        let (mut padded, mut codes) = ([0; 2 + MOST], [0; MOST]);
        padded[2..][..bytes.len()].copy_from_slice(bytes);
        let codes = &mut codes[..bytes.len()];
        for ((place, code), three) in (0..).zip(&mut *codes).zip(padded.windows(3)) {
            // Neighbours would wait for each other in one place.
            let none = NO_CHARACTER | (place % 16);
            *code = ended_by([three[0], three[1], three[2]].map(u16::from), none);
        }
        self.reserve(SHORT);
        for code in codes {
            self.by_code[usize::from(*code)] += 1;
        }
    }

    #[inline(always)]
    fn see(&mut self, code: usize, times: usize) {
        self.reserve(code + 1);
        self.by_code[code] += times;
    }

    #[inline(always)]
    fn reserve(&mut self, len: usize) {
        if self.by_code.len() < len {
            self.by_code.resize(len, 0);
        }
    }

    /// The characters that occur, in order.
    pub(crate) fn into_map(self) -> BTreeMap<char, usize> {
        let found = (0..).zip(self.by_code).filter(|(_, n)| 0 < *n);
        found.filter_map(|(code, n)| Some((char::from_u32(code)?, n))).collect()
    }
}

/// The code point of the character that the last of three bytes ends, in UTF-8, or `none` if it ends none. Bytes
/// before that character do not matter.
#[inline(always)]
fn ended_by([first, second, last]: [u16; 3], none: u16) -> u16 {
    let of_two = (second & 0x1f) << 6 | last & 0x3f;
    let of_three = (first & 0xf) << 12 | (second & 0x3f) << 6 | last & 0x3f;
    let of_more = if LEADS_THREE <= first {
        of_three
    } else if (LEADS_TWO..LEADS_THREE).contains(&second) {
        of_two
    } else {
        none
    };
    if last < 0x80 {
        last
    } else if LEADS_TWO <= last {
        none
    } else {
        of_more
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words of characters of one byte, of up to two, of three, and of four; with the first and the last of each.
    const WORD: &str = concat!(
        "[\0 -~\u{7f}]{0,9}|[а-яé\u{7f}\u{80}\u{7ff} ]{1,9}",
        "|[、-龥\u{800}\u{d7ff}\u{e000}\u{feff}\u{ffff}]{1,5}|[😀-🙏\u{10000}\u{10ffff}]{0,1}",
    );

    proptest! {
        /// In stretches of all three kinds.
        #[test]
        fn counts_are_those_of_one_character_after_the_other(
            parts in prop::collection::vec((WORD, 1..2000_usize), 0..12),
        ) {
            let text: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
            let mut expected = BTreeMap::new();
            for symbol in text.chars() {
                *expected.entry(symbol).or_insert(0) += 1;
            }
            let mut counts = Counts::default();
            // As a text comes, in chunks.
            let (start, end) = text.split_at(text.floor_char_boundary(text.len() / 3));
            counts.add(start);
            counts.add(end);
            prop_assert_eq!(counts.into_map(), expected);
        }
    }
}
