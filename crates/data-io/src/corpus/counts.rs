//! How often each character occurs.

use std::collections::BTreeMap;

/// Text that is looked at together: most of it is ASCII even where not all is.
const STRETCH: usize = 4096;
/// Code points that are counted together, about those of a script.
const PAGE: usize = 256;

/// Occurrences of characters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By code point; a page none of which was seen takes no memory.
    pages: Vec<Option<Box<[usize; PAGE]>>>,
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
        let (page, offset) = (code / PAGE, code % PAGE);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        &mut self.pages[page].get_or_insert_with(|| Box::new([0; PAGE]))[offset]
    }

    /// The characters that occur, in order.
    pub(crate) fn into_map(self) -> BTreeMap<char, usize> {
        let mut map = BTreeMap::new();
        for (page, counts) in self.pages.iter().enumerate() {
            for (offset, n) in counts.iter().flat_map(|counts| counts.iter().enumerate()) {
                if 0 < *n {
                    let code = (page * PAGE + offset) as u32;
                    map.insert(char::from_u32(code).expect("it was one"), *n);
                }
            }
        }
        map
    }
}
