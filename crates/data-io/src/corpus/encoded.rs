//! A text as symbols, by their place.
//!
//! No symbol is kept. The text is cut into blocks, of which it is known where they start, and a
//! block is encoded when something in it is read. So a text takes the memory of its bytes at most,
//! and one in files next to none, while a lane that reads on from where it was encodes every
//! character once.

use std::ops::Range;

use super::Corpus;
use super::piece::Piece;
use crate::{TextError, Tokenizer};

/// Bytes of a block, or a few less, where the tokenizer lets the text be cut. The larger, the less
/// there is to know about a text; the smaller, the less a lane keeps.
const BLOCK: usize = 1024;

/// A [`Corpus`] as indices into a vocabulary.
pub struct EncodedCorpus {
    corpus: Corpus,
    tokenizer: Box<dyn Tokenizer>,
    pieces: Vec<PieceStart>,
    /// Where each block starts, and behind the last where the text ends. None lies in two pieces.
    blocks: Vec<Place>,
    /// The most bytes and the most symbols of a block.
    max_block: Place,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Bytes before it.
    byte: usize,
    /// Symbols before it.
    symbol: usize,
}

#[derive(Clone, Copy, Debug)]
struct PieceStart {
    byte: usize,
    /// Whether a document starts there, and does not go on that the end of the last piece opened.
    opens: bool,
}

impl EncodedCorpus {
    pub(super) fn new(corpus: Corpus, tokenizer: Box<dyn Tokenizer>) -> Result<Self, TextError> {
        let separator = &*corpus.separator;
        let (mut pieces, mut blocks) = (Vec::new(), Vec::new());
        let (mut end, mut is_open) = (Place::default(), false);
        for piece in &corpus.pieces {
            let start = end.byte;
            pieces.push(PieceStart { byte: start, opens: !is_open });
            piece.stream(&mut |text: &str, is_rest| {
                let mut rest = text;
                while let Some(len) = block_len(&*tokenizer, separator, rest, is_rest) {
                    let (block, behind) = rest.split_at(len);
                    blocks.push(end);
                    for document in documents(block, separator) {
                        let found = tokenizer.count(document.text);
                        let at = end.byte - start + document.byte;
                        end.symbol += found.map_err(|unknown| piece.unknown(at, unknown))?;
                        is_open = document.opens && document.text == separator;
                    }
                    end.byte += len;
                    rest = behind;
                }
                Ok(text.len() - rest.len())
            })?;
        }
        blocks.push(end);
        blocks.shrink_to_fit();
        let max_block = blocks.windows(2).fold(Place::default(), |max, block| Place {
            byte: max.byte.max(block[1].byte - block[0].byte),
            symbol: max.symbol.max(block[1].symbol - block[0].symbol),
        });
        Ok(Self { corpus, tokenizer, pieces, blocks, max_block })
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        &*self.tokenizer
    }

    /// The entropy of a text that was made, in nats a character, see [`Corpus::entropy`].
    pub fn entropy(&self) -> Option<f64> {
        self.corpus.entropy
    }

    /// A digest of the text, in 64 hexadecimal digits: the same for files of the same content in the
    /// same order, whatever they are called. Reads all of it.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn digest(&self) -> Result<String, TextError> {
        self.corpus.digest()
    }

    /// Number of symbols.
    #[expect(clippy::len_without_is_empty, reason = "a text that was read has a symbol")]
    pub fn len(&self) -> usize {
        self.blocks.last().map_or(0, |end| end.symbol)
    }

    /// Those of its symbols that are at `places`.
    ///
    /// # Panics
    /// If it has no such places.
    #[track_caller]
    pub fn excerpt(&self, places: Range<usize>) -> Excerpt<'_> {
        assert!(places.start <= places.end && places.end <= self.len(), "{places:?}");
        Excerpt { corpus: self, places }
    }

    /// Bytes of memory it takes, and a [`Reader`] of so many lanes of it.
    pub fn memory(&self, n_lanes: usize) -> u128 {
        let blocks = self.blocks.len() * size_of::<Place>();
        let pieces = self.pieces.len() * (size_of::<PieceStart>() + size_of::<Piece>());
        let lane = size_of::<Lane>() + self.max_block.symbol * size_of::<(u32, bool)>();
        (self.corpus.held() + blocks + pieces) as u128 + n_lanes as u128 * lane as u128
    }
}

/// The length of the block that `text` starts with: as long as may be, and at most [`BLOCK`] unless
/// the tokenizer or a separator forbids it. `None` if more of the text has to be known.
fn block_len(
    tokenizer: &dyn Tokenizer,
    separator: &str,
    text: &str,
    is_rest: bool,
) -> Option<usize> {
    let mut wanted = BLOCK;
    while wanted + separator.len() < text.len() {
        let end = text.floor_char_boundary(wanted);
        // A separator that starts before the end may go beyond it.
        let seen = &text[..text.ceil_char_boundary(end + separator.len())];
        let documents = documents(seen, separator).take_while(|document| document.byte < end);
        let last = documents.last().expect("one starts with the text");
        let cut = last.byte + tokenizer.boundary(&text[last.byte..end]);
        let is_in_separator = last.opens && cut < last.byte + separator.len();
        match if is_in_separator { last.byte } else { cut } {
            0 => wanted *= 2,
            len => return Some(len),
        }
    }
    (is_rest && !text.is_empty()).then_some(text.len())
}

/// A document, or as much of it as is in a text.
#[derive(Clone, Copy, Debug)]
struct Document<'t> {
    /// Bytes of the text before it.
    byte: usize,
    text: &'t str,
    /// Whether it starts here, with a separator.
    opens: bool,
}

/// The text document by document.
fn documents<'t>(text: &'t str, separator: &'t str) -> impl Iterator<Item = Document<'t>> {
    let mut starts =
        (!separator.is_empty()).then(|| text.match_indices(separator)).into_iter().flatten();
    let mut next = Some((0, false));
    std::iter::from_fn(move || {
        let (byte, opens) = next?;
        next = starts.next().map(|(byte, _)| (byte, true));
        let end = next.map_or(text.len(), |(byte, _)| byte);
        Some(Document { byte, text: &text[byte..end], opens })
    })
    .filter(|document| !document.text.is_empty())
}

/// A part of a text. It starts a document, since nothing is remembered from before.
#[derive(Clone)]
pub struct Excerpt<'c> {
    corpus: &'c EncodedCorpus,
    places: Range<usize>,
}

impl<'c> Excerpt<'c> {
    /// The vocabulary.
    pub fn tokenizer(&self) -> &'c dyn Tokenizer {
        self.corpus.tokenizer()
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Those of its symbols that are at `places` of it.
    ///
    /// # Panics
    /// If it has no such places.
    #[track_caller]
    pub fn part(&self, places: Range<usize>) -> Self {
        assert!(places.start <= places.end && places.end <= self.len(), "{places:?}");
        let start = self.places.start;
        Self { corpus: self.corpus, places: start + places.start..start + places.end }
    }

    /// Something that reads it in `n_lanes` places side by side.
    pub fn reader(&self, n_lanes: usize) -> Reader<'c> {
        let Place { byte, symbol } = self.corpus.max_block;
        let lane = || Lane {
            places: 0..0,
            ids: Vec::with_capacity(symbol),
            starts: Vec::with_capacity(symbol),
        };
        let lanes = (0..n_lanes).map(|_| lane()).collect();
        Reader { excerpt: self.clone(), lanes, bytes: Vec::with_capacity(byte) }
    }

    /// All of its symbols.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn to_ids(&self) -> Result<Vec<u32>, TextError> {
        let (mut ids, mut starts) = (vec![0; self.len()], vec![false; self.len()]);
        self.reader(1).read(0, 0, &mut ids, &mut starts)?;
        Ok(ids)
    }

    /// The only symbol in it, if there is but one.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn only_symbol(&self) -> Result<Option<u32>, TextError> {
        let (mut reader, mut found) = (self.reader(1), None);
        for place in 0..self.len() {
            let mut id = [0];
            reader.read(0, place, &mut id, &mut [false])?;
            if found.is_some_and(|found| found != id) {
                return Ok(None);
            }
            found = Some(id);
        }
        Ok(found.map(|[id]| id))
    }
}

/// Reads an excerpt in several places.
///
/// It keeps the block that each lane read last, which makes reading on quick, and changes nothing
/// of what is read.
pub struct Reader<'c> {
    excerpt: Excerpt<'c>,
    lanes: Vec<Lane>,
    /// The block that is being encoded.
    bytes: Vec<u8>,
}

/// A block, encoded.
struct Lane {
    places: Range<usize>,
    ids: Vec<u32>,
    /// Whether a document starts at each.
    starts: Vec<bool>,
}

impl Reader<'_> {
    /// Number of symbols in the excerpt.
    #[expect(clippy::len_without_is_empty, reason = "an excerpt that is read has a symbol")]
    pub fn len(&self) -> usize {
        self.excerpt.len()
    }

    /// Overwrites `ids` with the symbols of the excerpt from `place` on, and `starts` with whether a
    /// document starts at each. Allocates nothing.
    ///
    /// # Errors
    /// If a file cannot be read or has changed, or on a symbol that the vocabulary does not have.
    ///
    /// # Panics
    /// If the excerpt ends before, or there is no such lane.
    #[track_caller]
    pub fn read(
        &mut self,
        lane: usize,
        place: usize,
        ids: &mut [u32],
        starts: &mut [bool],
    ) -> Result<(), TextError> {
        assert!(
            ids.len() == starts.len() && place + ids.len() <= self.len(),
            "places in the excerpt"
        );
        let (lane, first) = (&mut self.lanes[lane], self.excerpt.places.start + place);
        let mut done = 0;
        while done < ids.len() {
            let place = first + done;
            if !lane.places.contains(&place) {
                lane.load(self.excerpt.corpus, place, &mut self.bytes)?;
            }
            let from = place - lane.places.start;
            let n = (ids.len() - done).min(lane.places.end - place);
            ids[done..][..n].copy_from_slice(&lane.ids[from..][..n]);
            starts[done..][..n].copy_from_slice(&lane.starts[from..][..n]);
            done += n;
        }
        if place == 0 && !starts.is_empty() {
            starts[0] = true;
        }
        Ok(())
    }
}

impl Lane {
    /// Encodes the block that the symbol at `place` is in.
    fn load(
        &mut self,
        corpus: &EncodedCorpus,
        place: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TextError> {
        let EncodedCorpus { corpus, tokenizer, pieces, blocks, .. } = corpus;
        let block = blocks.partition_point(|block| block.symbol <= place) - 1;
        let (start, end) = (blocks[block], blocks[block + 1]);
        let index = pieces.partition_point(|piece| piece.byte <= start.byte) - 1;
        let (piece, offset) = (&corpus.pieces[index], start.byte - pieces[index].byte);

        self.places = 0..0;
        self.ids.clear();
        self.starts.clear();
        bytes.resize(end.byte - start.byte, 0);
        piece.read_at(offset, bytes)?;
        let text = std::str::from_utf8(bytes).map_err(|_| piece.changed())?;
        for document in documents(text, &corpus.separator) {
            let (at, first) = (offset + document.byte, self.ids.len());
            let result = tokenizer.encode_into(document.text, &mut self.ids);
            result.map_err(|unknown| piece.unknown(at, unknown))?;
            let opens = document.opens || (at == 0 && pieces[index].opens);
            self.starts.extend((first..self.ids.len()).map(|place| opens && place == first));
        }
        if self.ids.len() != end.symbol - start.symbol {
            return Err(piece.changed());
        }
        self.places = start.symbol..end.symbol;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokenizer::{Byte, Char, CharByte};
    use crate::{BuildTokenizer, UnknownSymbol};

    /// Words, numbered by their spelling: a tokenizer that cannot be cut everywhere.
    struct Words;

    impl Tokenizer for Words {
        fn vocab_size(&self) -> usize {
            1 << 16
        }
        fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), UnknownSymbol> {
            let number = |word: &str| {
                word.bytes().fold(0, |id: u32, byte| (31 * id + u32::from(byte)) % (1 << 16))
            };
            ids.extend(text.split_inclusive(' ').map(number));
            Ok(())
        }
        fn boundary(&self, text: &str) -> usize {
            text.rfind(' ').map_or(0, |space| space + 1)
        }
        fn bytes(&self, _id: u32) -> &[u8] {
            unreachable!("nothing is decoded")
        }
        fn symbols(&self) -> Vec<String> {
            unreachable!("nothing is kept")
        }
    }

    const TOKENIZERS: usize = 4;

    fn tokenizer(kind: usize, corpus: &Corpus) -> Box<dyn Tokenizer> {
        let fitted = match kind {
            0 => Char {}.fit(corpus),
            1 => Byte {}.fit(corpus),
            2 => CharByte::default().fit(corpus),
            _ => Ok(Box::new(Words) as _),
        };
        fitted.expect("made")
    }

    fn encode(pieces: &[String], separator: &str, kind: usize) -> EncodedCorpus {
        let corpus = Corpus::of_documents(pieces).separated_by(separator);
        let tokenizer = tokenizer(kind, &corpus);
        corpus.encode(tokenizer).expect("its own text")
    }

    /// Symbols from `place` on, and where documents start.
    fn read(
        reader: &mut Reader<'_>,
        lane: usize,
        place: usize,
        len: usize,
    ) -> (Vec<u32>, Vec<bool>) {
        let (mut ids, mut starts) = (vec![u32::MAX; len], vec![true; len]);
        reader.read(lane, place, &mut ids, &mut starts).expect("made");
        (ids, starts)
    }

    /// Where documents start in pieces, found without cutting anything into blocks.
    fn plain_starts(pieces: &[String], separator: &str) -> Vec<usize> {
        let (mut text, mut starts) = (String::new(), Vec::<usize>::new());
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let start = text.len();
            let is_open = !separator.is_empty()
                && text.ends_with(separator)
                && starts.last().is_some_and(|last| last + separator.len() == start);
            if !is_open {
                starts.push(start);
            }
            if !separator.is_empty() {
                let separators = piece.match_indices(separator).map(|(at, _)| start + at);
                starts.extend(separators.filter(|at| is_open || start < *at));
            }
            text.push_str(piece);
        }
        starts
    }

    /// The symbols of pieces, and where documents start, found in the same plain way. No symbol is in
    /// two pieces or in two documents.
    fn plainly(
        pieces: &[String],
        separator: &str,
        tokenizer: &dyn Tokenizer,
    ) -> (Vec<u32>, Vec<bool>) {
        let documents = plain_starts(pieces, separator);
        let mut ends: Vec<_> = documents.clone();
        ends.extend((1..=pieces.len()).map(|n| pieces[..n].concat().len()));
        ends.sort_unstable();
        let (text, mut start) = (pieces.concat(), 0);
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        for end in ends {
            let symbols = tokenizer.encode(&text[start..end]).expect("its own text");
            let opens = documents.binary_search(&start).is_ok();
            starts.extend((0..symbols.len()).map(|place| opens && place == 0));
            ids.extend(symbols);
            start = end;
        }
        (ids, starts)
    }

    #[test]
    fn a_separator_opens_a_document() {
        let check = |pieces: &[&str], separator: &str, expected: &[&str]| {
            let pieces: Vec<_> = pieces.iter().map(ToString::to_string).collect();
            let plain_starts = plain_starts(&pieces, separator);
            let corpus = encode(&pieces, separator, 1);
            let all = corpus.excerpt(0..corpus.len());
            let (ids, starts) = read(&mut all.reader(1), 0, 0, corpus.len());
            let starts: Vec<_> = (0..corpus.len()).filter(|place| starts[*place]).collect();
            assert_eq!(starts, plain_starts, "{pieces:?}");
            let text = corpus.tokenizer().decode(&ids);
            let ends = starts.iter().skip(1).copied().chain([text.len()]);
            let found: Vec<_> =
                starts.iter().zip(ends).map(|(start, end)| &text[*start..end]).collect();
            assert_eq!(found, expected, "{pieces:?}");
        };
        check(&["emma\nava\n"], "\n", &["emma", "\nava", "\n"]);
        check(&["emma\nava"], "", &["emma\nava"]);
        check(&["a", "b", "", "c"], "", &["a", "b", "c"]);
        // Whether a file ends with the separator makes no difference to the next one.
        check(&["emma\n", "ava\n"], "\n", &["emma", "\nava", "\n"]);
        check(&["emma", "\nava"], "\n", &["emma", "\nava"]);
        check(&["emma", "ava"], "\n", &["emma", "ava"]);
        check(&["a\n", "\nb"], "\n", &["a", "\n", "\nb"]);
        check(&["\n", "b"], "\n", &["\nb"]);
        check(&["a\n\n\n", "b"], "\n\n", &["a", "\n\n\n", "b"]);
        check(&["a<|é|>b<|é|>"], "<|é|>", &["a", "<|é|>b", "<|é|>"]);
        // A separator across two files is none.
        check(&["a\n", "\nb"], "\n\n", &["a\n", "\nb"]);
    }

    #[test]
    fn documents_start_where_their_first_symbol_is() {
        let pieces = ["héa", "\nb", "\n", "漢字"].map(str::to_owned);
        for (kind, starts) in [(0, [0, 3, 5, 6]), (1, [0, 4, 6, 7]), (2, [0, 4, 6, 7])] {
            let corpus = encode(&pieces, "", kind);
            let all = corpus.excerpt(0..corpus.len());
            assert_eq!(corpus.tokenizer().decode(&all.to_ids().expect("made")), pieces.concat());
            let found = |from: usize, to: usize| {
                let (_, found) = read(&mut corpus.excerpt(from..to).reader(1), 0, 0, to - from);
                (0..found.len()).filter(|place| found[*place]).collect::<Vec<_>>()
            };
            assert_eq!(found(0, corpus.len()), starts);
            let [_, second, third, fourth] = starts;
            assert_eq!(found(second + 1, fourth), [0, third - second - 1]);
            assert_eq!(found(third, fourth), [0]);
        }
    }

    #[test]
    fn an_unknown_symbol_is_found_with_its_position() {
        let known = Corpus::from("héab\n");
        let line = "héa\n".repeat(1000);
        for (kind, text, position) in [(0, "héa\nb\nx".to_owned(), 7), (0, line + "x", 4001)] {
            let corpus = Corpus::from(text).separated_by("\n");
            let corpus = corpus.encode(tokenizer(kind, &known)).expect("it is not looked at");
            let error = corpus.excerpt(0..corpus.len()).to_ids().expect_err("x is new");
            let TextError::Unknown { unknown, .. } = error else { panic!("{error}") };
            assert_eq!(unknown, UnknownSymbol { symbol: 'x', position });
        }
    }

    #[test]
    fn the_only_symbol_is_found() {
        let check = |text: &str, kind: usize, expected: Option<u32>| {
            let corpus = encode(&[text.to_owned()], "", kind);
            let found = corpus.excerpt(0..corpus.len()).only_symbol().expect("made");
            assert_eq!(found, expected);
        };
        check("a", 1, Some(97));
        check(&"é".repeat(5000), 0, Some(0));
        check(&"é".repeat(5000), 1, None);
        check(&("é".repeat(5000) + "e"), 0, None);
    }

    #[test]
    fn a_text_takes_little_more_memory_than_its_bytes() {
        for text in ["to be, or not to be: ", "Мой дядя самых честных правил ", "却说那女娲氏炼石"]
        {
            let text = text.repeat(100_000);
            for kind in 0..TOKENIZERS {
                let memory = encode(std::slice::from_ref(&text), "", kind).memory(1) as f64;
                assert!((1.0..1.03).contains(&(memory / text.len() as f64)), "{kind}: {memory}");
            }
        }
    }

    #[test]
    fn a_long_text_is_read_as_a_short_one_is() {
        // More than is streamed at a time, with characters of all lengths at every offset, and
        // longer than a block without a space.
        let line = "aé漢𝕏 To be, or not\n\n\nto be ";
        let text: String = (0..20_000).flat_map(|n| [line, &line[..n % 2]]).collect();
        let pieces = [text, "x".repeat(700_000), " é".into(), line.repeat(100)];
        for kind in 0..TOKENIZERS {
            for separator in ["", "\n\n"] {
                let corpus = encode(&pieces, separator, kind);
                let expected = plainly(&pieces, separator, corpus.tokenizer());
                let len = corpus.len();
                let found = read(&mut corpus.excerpt(0..len).reader(1), 0, 0, len);
                assert!(found == expected, "tokenizer {kind}, separator {separator:?}");
            }
        }
    }

    /// Texts of several blocks, with separators that overlap themselves.
    fn pieces() -> impl Strategy<Value = Vec<String>> {
        let words = ["a", "aa", "é", "漢", "𝕏", "\n", "\n\n", " ", "b ", "<|é|>", "<|"];
        let words = prop::collection::vec(prop::sample::select(words.to_vec()), 0..40);
        let piece = (words, 0_usize..120).prop_map(|(words, times)| words.concat().repeat(times));
        prop::collection::vec(piece, 1..4)
    }

    proptest! {
        #[test]
        fn what_is_read_does_not_depend_on_blocks_lanes_and_order(
            pieces in pieces(),
            separator in prop::sample::select(vec!["", "a", "aa", "aaa", "\n", "\n\n", "<|é|>", " a"]),
            kind in 0..TOKENIZERS,
            reads in prop::collection::vec((0_usize..3, any::<u32>(), 0_usize..1500), 1..20),
            excerpt in any::<[u32; 2]>(),
        ) {
            let corpus = encode(&pieces, separator, kind);
            let (ids, starts) = plainly(&pieces, separator, corpus.tokenizer());
            prop_assert_eq!(corpus.len(), ids.len());

            let mut ends = excerpt.map(|place| place as usize % (ids.len() + 1));
            ends.sort_unstable();
            let (first, len) = (ends[0], ends[1] - ends[0]);
            let mut reader = corpus.excerpt(first..ends[1]).reader(3);
            for (lane, place, n) in reads {
                let place = place as usize % (len + 1);
                let n = n.min(len - place);
                let (found, found_starts) = read(&mut reader, lane, place, n);
                let places = first + place..first + place + n;
                prop_assert_eq!(&found, &ids[places.clone()]);
                let part = corpus.excerpt(first..ends[1]).part(place..place + n);
                prop_assert_eq!(part.to_ids().expect("made"), found);
                for (start, place) in found_starts.into_iter().zip(places) {
                    prop_assert_eq!(start, starts[place] || place == first);
                }
            }
        }
    }
}
