//! An ARM processor, emulated.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use benches::Program;

use super::works;

/// Runs a program for ARM.
pub const EMULATOR: &str = "qemu-aarch64";
const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";

/// What this machine lacks, for a person to read; empty if there is all.
pub fn missing() -> String {
    let mut missing = vec![];
    if !has_std() {
        missing.push(format!("`rustup target add {TARGET}`"));
    }
    if !works(Command::new(LINKER).arg("--version")) {
        missing.push(format!("`{LINKER}` (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"));
    }
    if !works(Command::new(EMULATOR).arg("--version")) {
        missing.push(format!("`{EMULATOR}` (Debian: qemu-user)"));
    }
    missing.join(", ")
}

/// Whether there is a standard library to build with.
fn has_std() -> bool {
    let libraries =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(libraries) = libraries else { return false };
    let directory = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    let mut entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// Builds the program with all it needs inside, so that the emulator looks for no library.
pub fn build(target_dir: &Path) -> io::Result<Program> {
    let directory = target_dir.join("arm");
    Program::build(
        ["--release", "--target", TARGET, "--target-dir"]
            .map(OsStr::new)
            .into_iter()
            .chain([directory.as_ref()]),
        [
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER),
            ("RUSTFLAGS", "-C target-feature=+crt-static"),
        ],
    )
}
