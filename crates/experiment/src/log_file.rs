//! A file that only grows, and that a checkpoint can vouch for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::failed;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// What a checkpoint knows of a log: what is in it after the checkpoint's step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Vouched {
    /// Bytes.
    pub len: u64,
    /// Their BLAKE3 digest.
    pub digest: String,
}

/// A log of a run.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Arc<File>,
    len: u64,
    hasher: blake3::Hasher,
}

impl LogFile {
    /// Opens a log, which is made if it is not there. What is in it counts for nothing until
    /// [`holds`](Self::holds) says so.
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = opened.map_err(|source| failed(&path, "open", source))?;
        Ok(Self { path, file: Arc::new(file), len: 0, hasher: blake3::Hasher::new() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the log starts with what a checkpoint vouches for. If so, the rest counts for nothing.
    pub fn holds(&mut self, vouched: &Vouched) -> Result<bool, Error> {
        let hasher = self.hash(vouched.len).map_err(|e| failed(&self.path, "read", e))?;
        let hasher = hasher.filter(|h| h.finalize().to_hex().as_str() == vouched.digest);
        let holds = hasher.is_some();
        if let Some(hasher) = hasher {
            (self.len, self.hasher) = (vouched.len, hasher);
        }
        Ok(holds)
    }

    /// The hash of the first `len` bytes; `None` if there are fewer.
    fn hash(&self, len: u64) -> io::Result<Option<blake3::Hasher>> {
        let (mut file, mut hasher) = (&*self.file, blake3::Hasher::new());
        file.rewind()?;
        let (mut left, mut chunk) = (len, vec![0; CHUNK]);
        while 0 < left {
            let wanted = left.min(CHUNK as u64) as usize;
            match file.read(&mut chunk[..wanted])? {
                0 => return Ok(None),
                read => {
                    hasher.update(&chunk[..read]);
                    left -= read as u64;
                }
            }
        }
        Ok(Some(hasher))
    }

    /// Cuts off what counts for nothing.
    pub fn cut(&mut self) -> Result<(), Error> {
        self.file.set_len(self.len).map_err(|source| failed(&self.path, "shorten", source))
    }

    /// Writes at the end.
    pub fn append(&mut self, text: &str) -> Result<(), Error> {
        let written = (&*self.file).write_all(text.as_bytes());
        written.map_err(|source| failed(&self.path, "write", source))?;
        self.len += text.len() as u64;
        self.hasher.update(text.as_bytes());
        Ok(())
    }

    /// What is in it now.
    pub fn vouched(&self) -> Vouched {
        Vouched { len: self.len, digest: self.hasher.finalize().to_hex().to_string() }
    }

    /// Something that makes what is in it now survive a power cut.
    pub fn syncer(&self) -> impl FnOnce() -> Result<(), Error> + use<> {
        let (file, path) = (self.file.clone(), self.path.clone());
        move || file.sync_data().map_err(|source| failed(&path, "sync", source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_behind_what_was_vouched_for() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        // More than is read at a time.
        let line = "x".repeat(CHUNK) + "\n";
        let mut log = LogFile::open(path.clone()).expect("writable");
        log.append(&line).expect("writable");
        let vouched = log.vouched();
        log.append("half a li").expect("writable");

        let mut again = LogFile::open(path.clone()).expect("there");
        assert!(again.holds(&vouched).expect("readable"));
        again.cut().expect("writable");
        again.append("next\n").expect("writable");
        let all = format!("{line}next\n");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), all);
        let digest = blake3::hash(all.as_bytes()).to_hex().to_string();
        assert_eq!(again.vouched(), Vouched { len: all.len() as u64, digest });
    }

    #[test]
    fn a_log_that_is_shorter_or_another_one_does_not_hold() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let mut log = LogFile::open(path.clone()).expect("writable");
        log.append("one\ntwo\n").expect("writable");
        let vouched = log.vouched();
        for text in ["", "one\ntwo", "One\ntwo\n", "two\none\n"] {
            std::fs::write(&path, text).expect("writable");
            assert!(!log.holds(&vouched).expect("readable"), "{text:?}");
        }
    }
}
