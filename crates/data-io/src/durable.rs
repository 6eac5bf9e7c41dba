//! Files that are there as a whole or not at all, whatever happens while they are written.
//!
//! A file is written under a name of its own beside the one it is to have, synced, and renamed; then
//! the directory is synced, which is what makes the new name survive a power cut. Pillai et al.,
//! "All file systems are not created equal: on the complexity of crafting crash-consistent
//! applications", OSDI 2014, show what each of these is for.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the name of a file ends in until all of it is there.
const ENDING: &str = ".tmp";

/// Puts `bytes` in the place of the file at `path`, or makes it. On disk when this returns.
///
/// Only one may write a file at a time: both would use the same temporary name.
///
/// # Errors
/// If any of it fails. Then what was there still is, and no temporary file is left.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_directory(path.parent().unwrap_or(Path::new("")))
    };
    write().inspect_err(|_| {
        // After the rename there is none.
        let _ = fs::remove_file(&temporary);
    })
}

/// Makes the names in a directory survive a power cut.
///
/// # Errors
/// If it cannot be opened or synced. Where directories cannot be opened nothing is done.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path == Path::new("") { Path::new(".") } else { path };
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Removes what a crash left behind of files in a directory that were not finished.
///
/// # Errors
/// If the directory cannot be read, or a file not be removed.
pub fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if is_unfinished(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Bytes that can still be written to the disk that `path` is on, where the system tells.
pub fn free_space(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        // Blocks kept back for the superuser are left in: who says that something will not fit has to
        // be sure of it. Some network file systems have no blocks at all.
        let disk = rustix::fs::statvfs(path).ok().filter(|disk| 0 < disk.f_blocks)?;
        Some(disk.f_bfree.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Whether a file has the name of one that is not finished.
pub fn is_unfinished(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(ENDING.as_bytes())
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(ENDING);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).display().to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_or_replaced_with_normal_permissions_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        for bytes in [&b"one"[..], b"another", b""] {
            replace(&path, bytes).expect("writable");
            assert_eq!(fs::read(&path).expect("there"), bytes);
            assert_eq!(names(directory.path()), ["file"]);
        }
        let plain = directory.path().join("plain");
        fs::write(&plain, "").expect("writable");
        let permissions = |path| fs::metadata(path).expect("there").permissions();
        assert_eq!(permissions(&path), permissions(&plain));
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_no_temporary_file_does() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        // A file is not renamed onto a directory.
        fs::create_dir(&path).expect("writable");
        replace(&path, b"bytes").expect_err("a directory");
        assert_eq!(names(directory.path()), ["file"]);
        assert!(path.is_dir());
        replace(&directory.path().join("none/file"), b"bytes").expect_err("no such directory");
    }

    #[test]
    fn a_disk_has_room_and_not_without_end() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        if let Some(free) = free_space(directory.path()) {
            assert!(0 < free && free < 1 << 60, "{free}");
        }
        assert_eq!(free_space(&directory.path().join("none")), None);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["a", "a.tmp", ".tmp", "tmp", "b.tmp.c"] {
            fs::write(directory.path().join(name), name).expect("writable");
        }
        remove_unfinished(directory.path()).expect("removable");
        assert_eq!(names(directory.path()), ["a", "b.tmp.c", "tmp"]);
    }
}
