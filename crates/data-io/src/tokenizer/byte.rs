//! One symbol for each of the 256 bytes, so that no text is ever unknown.
//!
//! The vocabulary is all 256 and not those of the text: a prime may hold any of them, and the rows
//! of `w_xh` and `w_hy` for bytes that never occur cost little.

use std::sync::LazyLock;

use registry::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BuildTokenizer, Tokenizer, Unit, UnknownSymbol};
use crate::{Corpus, TextError};

/// `byte` has no keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Byte {}

impl Part for Byte {
    const NAME: &'static str = "byte";
    const SUMMARY: &'static str = "one symbol for each of the 256 bytes; reads every text";
    const SOURCE: &'static str = "Graves 2013";
}

impl BuildTokenizer for Byte {
    fn unit(&self) -> Unit {
        Unit::BYTE
    }

    fn fit(&self, _corpus: &Corpus) -> Result<Box<dyn Tokenizer>, TextError> {
        Ok(Box::new(Bytes))
    }

    fn restore(&self, symbols: &[String]) -> Option<Box<dyn Tokenizer>> {
        (symbols == *BYTE_SYMBOLS).then(|| Box::new(Bytes) as Box<dyn Tokenizer>)
    }
}

/// Every byte in order, to lend out.
pub(super) static ALL_BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = byte as u8;
        byte += 1;
    }
    bytes
};

/// What stands for each byte in a list of symbols, as in `<0x0A>`. A character is a symbol of
/// one character, so none can be mistaken for a byte.
pub(super) static BYTE_SYMBOLS: LazyLock<Vec<String>> =
    LazyLock::new(|| ALL_BYTES.iter().map(|byte| format!("<0x{byte:02X}>")).collect());

struct Bytes;

impl Tokenizer for Bytes {
    fn vocab_size(&self) -> usize {
        ALL_BYTES.len()
    }

    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), UnknownSymbol> {
        ids.extend(text.bytes().map(u32::from));
        Ok(())
    }

    fn boundary(&self, text: &str) -> usize {
        text.len()
    }

    fn count(&self, text: &str) -> Result<usize, UnknownSymbol> {
        Ok(text.len())
    }

    fn bytes(&self, id: u32) -> &[u8] {
        std::slice::from_ref(&ALL_BYTES[id as usize])
    }

    fn symbols(&self) -> Vec<String> {
        BYTE_SYMBOLS.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_value_of_its_byte() {
        let tokenizer = Byte {}.fit(&Corpus::default()).expect("made");
        assert_eq!(tokenizer.encode("aé\n"), Ok(vec![97, 0xc3, 0xa9, 10]));
        assert_eq!(tokenizer.symbols()[..2], ["<0x00>", "<0x01>"]);
        assert_eq!(tokenizer.symbols()[255], "<0xFF>");
        assert_eq!(tokenizer.bytes(255), [255]);
    }

    #[test]
    fn other_symbols_are_not_restored() {
        let mut symbols = BYTE_SYMBOLS.clone();
        assert!(Byte {}.restore(&symbols).is_some());
        symbols.swap(1, 2);
        assert!(Byte {}.restore(&symbols).is_none());
        assert!(Byte {}.restore(&BYTE_SYMBOLS[..255]).is_none());
    }
}
