//! A piece of text, in memory or in a file.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::SystemTime;

use simdutf8::compat::from_utf8;

use crate::{Looks, TextError, UnknownSymbol, regular};

/// Bytes that are read at a time; together with what is made of them they fit into a cache.
const CHUNK: usize = 256 << 10;

/// A file, or a text that was made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// The file; empty where there is none.
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, PartialEq)]
enum Content {
    Held(Vec<u8>),
    /// In the file. It is opened for each reading, as a text may have more files than a process may
    /// hold open, and has to be as it was.
    File {
        len: usize,
        modified: Option<SystemTime>,
    },
}

impl Piece {
    pub(super) fn made(text: String) -> Self {
        Self { path: PathBuf::new(), content: Content::Held(text.into_bytes()) }
    }

    /// The text in a file.
    pub(super) fn find(path: PathBuf) -> Result<Self, TextError> {
        match regular::open(&path) {
            Ok((_, metadata)) => Ok(Self { path, content: Content::of_file(&metadata) }),
            Err(source) => Err(TextError::Read { path, source }),
        }
    }

    /// The same in memory.
    pub(super) fn hold(self) -> Result<Self, TextError> {
        match regular::read_regular(&self.path) {
            Ok(bytes) => Ok(Self { content: Content::Held(bytes), ..self }),
            Err(source) => Err(TextError::Read { path: self.path, source }),
        }
    }

    /// Bytes of text.
    pub(super) fn len(&self) -> usize {
        match &self.content {
            Content::Held(bytes) => bytes.len(),
            Content::File { len, .. } => *len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of text in memory.
    pub(super) fn held(&self) -> usize {
        match &self.content {
            Content::Held(bytes) => bytes.len(),
            Content::File { .. } => 0,
        }
    }

    /// Overwrites `bytes` with those from `offset` on.
    pub(super) fn read_at(&self, offset: usize, bytes: &mut [u8]) -> Result<(), TextError> {
        if let Content::Held(held) = &self.content {
            bytes.copy_from_slice(&held[offset..][..bytes.len()]);
            return Ok(());
        }
        let read = |mut file: File| {
            file.seek(SeekFrom::Start(offset as u64))?;
            file.read_exact(bytes)
        };
        self.open().and_then(read).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => self.changed(),
            _ => TextError::Read { path: self.path.clone(), source },
        })
    }

    /// Opens the file if it is as it was.
    fn open(&self) -> io::Result<File> {
        let (file, metadata) = regular::open(&self.path)?;
        let is_same = Content::of_file(&metadata) == self.content;
        if is_same { Ok(file) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Hands the text to `see` from start to end. Of what it is handed, and whether that is the rest
    /// of the piece, `see` takes as many bytes as it says, and is handed the others again with
    /// more behind them. It takes all of the rest.
    pub(super) fn stream(
        &self,
        see: &mut impl FnMut(&str, bool) -> Result<usize, TextError>,
    ) -> Result<(), TextError> {
        let (mut buffer, mut offset) = (Vec::new(), 0);
        while offset < self.len() {
            let left = buffer.len();
            buffer.resize((self.len() - offset).min(CHUNK.max(2 * left)), 0);
            self.read_at(offset + left, &mut buffer[left..])?;
            let is_rest = offset + buffer.len() == self.len();
            let text = match from_utf8(&buffer) {
                Ok(text) => text,
                // A character that the chunk ends in.
                Err(error) if error.error_len().is_none() && !is_rest => {
                    from_utf8(&buffer[..error.valid_up_to()]).expect("up to there")
                }
                Err(error) => {
                    let (at, is_cut) = (error.valid_up_to(), error.error_len().is_none());
                    return Err(self.not_utf8(offset + at, buffer[at], is_cut)?);
                }
            };
            let taken = see(text, is_rest)?;
            buffer.drain(..taken);
            offset += taken;
        }
        Ok(())
    }

    /// The error about a file that was changed.
    pub(super) fn changed(&self) -> TextError {
        TextError::Changed { path: self.path.clone() }
    }

    /// The error about `byte`, which is at `offset`, in a character that the end cuts off or not.
    fn not_utf8(&self, offset: usize, byte: u8, is_cut: bool) -> Result<TextError, TextError> {
        let mut bytes = vec![0; self.len().min(CHUNK)];
        self.read_at(0, &mut bytes)?;
        let (looks, mut line) = (Looks::of(&bytes, is_cut), 1);
        for start in (0..offset).step_by(CHUNK) {
            bytes.resize(CHUNK.min(offset - start), 0);
            self.read_at(start, &mut bytes)?;
            line += bytes.iter().filter(|byte| **byte == b'\n').count();
        }
        Ok(TextError::NotUtf8 { path: self.path.clone(), line, offset, byte, looks })
    }

    /// The error about a symbol in the text that starts at `offset`.
    pub(super) fn unknown(&self, offset: usize, unknown: UnknownSymbol) -> TextError {
        let (mut before, mut left) = (0, offset);
        let counted = self.stream(&mut |text: &str, _| {
            let seen = &text[..left.min(text.len())];
            before += seen.chars().count();
            left -= seen.len();
            Ok(text.len())
        });
        match counted {
            Ok(()) => TextError::Unknown {
                path: self.path.clone(),
                unknown: UnknownSymbol { position: before + unknown.position, ..unknown },
            },
            Err(error) => error,
        }
    }
}

impl Content {
    fn of_file(metadata: &Metadata) -> Self {
        let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        Self::File { len, modified: metadata.modified().ok() }
    }
}
