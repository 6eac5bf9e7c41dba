//! Files that end: a pipe or a device might be waited for, or read, for ever.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file.
///
/// # Errors
/// If it cannot be opened, or is something else.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Opening a pipe would wait for a writer already.
    let is_other = |kind: std::fs::FileType| !kind.is_file() && !kind.is_dir();
    if is_other(std::fs::metadata(path)?.file_type()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        false => Err(io::ErrorKind::IsADirectory.into()),
    }
}

/// Reads a whole regular file.
///
/// # Errors
/// If it cannot be read, does not fit into memory, or is something else.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, metadata) = open(path)?;
    let mut bytes = Vec::new();
    let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    bytes
        .try_reserve_exact(len)
        .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
