//! One process at a time in a run directory.
//!
//! The lock is the system's own on an open file, so it ends with the process, however that ends, and
//! nothing is ever stale. The number in the file is for a message and for nothing else.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::Error;

/// The file of a run directory that is locked.
pub(crate) const LOCK: &str = "lock";

/// Holds a run directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock of a directory, without waiting for it.
    ///
    /// # Errors
    /// If another process has it.
    pub fn take(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(LOCK);
        let failed = |source| Error::Io { path: path.clone(), action: "lock", source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // It may not have written its number yet.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(Error::InUse { path: directory.to_owned(), holder });
            }
        }
        say_who(&mut file).map_err(failed)?;
        Ok(Self(file))
    }
}

fn say_who(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A run that ended leaves the same bytes, whoever made it.
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_has_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join(LOCK), "12345678901\n").expect("writable");
        let first = Lock::take(directory.path()).expect("free");
        match Lock::take(directory.path()).expect_err("taken") {
            Error::InUse { holder, .. } => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other}"),
        }
        drop(first);
        Lock::take(directory.path()).expect("free again");
        assert_eq!(std::fs::read(directory.path().join(LOCK)).expect("there"), b"");
    }
}
