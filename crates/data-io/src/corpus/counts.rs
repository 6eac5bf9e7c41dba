//! How often each character occurs.

use std::collections::BTreeMap;

/// Text that is looked at together: most of it is ASCII even where not all is.
const STRETCH: usize = 4096;

/// Occurrences of characters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By code point, up to the largest that was seen.
    occurrences: Vec<usize>,
}

impl Counts {
    /// Counts the characters of `text`.
    pub(crate) fn add(&mut self, mut text: &str) {
        while !text.is_empty() {
            let (stretch, rest) = text.split_at(text.ceil_char_boundary(STRETCH));
            match stretch.is_ascii() {
                true => self.add_ascii(stretch.as_bytes()),
                false => stretch.chars().for_each(|symbol| *self.of(symbol as usize) += 1),
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
                *self.of(code) += found;
            }
        }
    }

    fn of(&mut self, code: usize) -> &mut usize {
        if self.occurrences.len() <= code {
            self.occurrences.resize(code + 1, 0);
        }
        &mut self.occurrences[code]
    }

    /// The characters that occur, in order.
    pub(crate) fn into_map(self) -> BTreeMap<char, usize> {
        let symbol = |(code, n): (usize, usize)| {
            (0 < n).then(|| (char::from_u32(code as u32).expect("it was one"), n))
        };
        self.occurrences.into_iter().enumerate().filter_map(symbol).collect()
    }
}
