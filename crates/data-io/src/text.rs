//! Reading a text.

use std::io;
use std::path::{Path, PathBuf};

/// A text that cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error("cannot read the text: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A byte that no UTF-8 text has there.
    #[error("not UTF-8: byte 0x{byte:02x} at offset {offset}")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line it is in, from 1.
        line: usize,
        /// Bytes before it.
        offset: usize,
        /// Its value.
        byte: u8,
        /// Whether the file starts as UTF-16 does.
        utf16: bool,
    },
    /// Nothing there.
    #[error("the text is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a whole text as it is: line ends and a byte order mark are characters like others.
///
/// # Errors
/// If the file cannot be read, is empty, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, TextError> {
    let path = path.to_owned();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(TextError::Read { path, source }),
    };
    if bytes.is_empty() {
        return Err(TextError::Empty { path });
    }
    String::from_utf8(bytes).map_err(|error| {
        let (offset, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = 1 + bytes[..offset].iter().filter(|byte| **byte == b'\n').count();
        let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
        TextError::NotUtf8 { path, line, offset, byte: bytes[offset], utf16 }
    })
}
