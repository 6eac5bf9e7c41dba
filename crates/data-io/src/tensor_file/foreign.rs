//! Files that people take for safetensors, known by their first bytes.

use std::io::Read;
use std::path::Path;

/// A kind of file that is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What it is, as in "this is …".
    pub what: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

/// Bytes of a file that [`recognize`] looks at.
pub(super) const PROBE_LEN: usize = 512;

/// A file's first bytes, where they stand, and what they mean.
type Signature = (usize, &'static [u8], Foreign);

const PYTORCH: &str = "load it in Python and write the weights with \
                       `safetensors.torch.save_file(state_dict, \"model.safetensors\")`";
const CONVERT: &str = "convert it to safetensors with the program that wrote it";
const UNPACK: &str = "unpack it first";
const DOWNLOAD: &str = "download the file itself, not the page about it";

const fn signature(
    at: usize,
    bytes: &'static [u8],
    what: &'static str,
    help: &'static str,
) -> Signature {
    (at, bytes, Foreign { what, help })
}

/// Sources: the magic numbers of `file(1)`, and for pickles Python's `pickletools`.
static SIGNATURES: [Signature; 22] = [
    signature(0, b"PK\x03\x04", "a zip archive, as `torch.save` and `numpy.savez` write", PYTORCH),
    signature(0, b"PK\x05\x06", "an empty zip archive", PYTORCH),
    signature(0, b"\x80\x02", "a Python pickle, as older `torch.save` wrote", PYTORCH),
    signature(0, b"\x80\x03", "a Python pickle", PYTORCH),
    signature(0, b"\x80\x04", "a Python pickle", PYTORCH),
    signature(0, b"\x80\x05", "a Python pickle", PYTORCH),
    signature(0, b"(dp", "a Python pickle in text", PYTORCH),
    signature(0, b"(lp", "a Python pickle in text", PYTORCH),
    signature(0, b"\x04\0\0\0\x01\0\0\0", "a Torch7 file, as Lua's `torch.save` writes", CONVERT),
    signature(0, b"4\n1\n", "a Torch7 file in text, as Lua's `torch.save` writes", CONVERT),
    signature(0, b"\x93NUMPY", "a NumPy array", PYTORCH),
    signature(0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", CONVERT),
    signature(0, b"GGUF", "a GGUF file, as llama.cpp reads", CONVERT),
    signature(0, b"lmgg", "a GGML file", CONVERT),
    signature(0, b"tjgg", "a GGML file", CONVERT),
    signature(0, b"\x1f\x8b", "compressed with gzip", UNPACK),
    signature(0, b"BZh", "compressed with bzip2", UNPACK),
    signature(0, b"\xfd7zXZ\0", "compressed with xz", UNPACK),
    signature(0, b"\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK),
    signature(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    signature(257, b"ustar", "a tar archive", UNPACK),
    signature(
        0,
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, which stands for the file",
        "fetch the file with `git lfs pull`",
    ),
];

static EMPTY: Foreign =
    Foreign { what: "empty", help: "copy or download it again, or take another checkpoint" };
static HTML: Foreign = Foreign { what: "a web page in HTML", help: DOWNLOAD };
static TEXT: Foreign = Foreign {
    what: "text",
    help: "give the directory of a run, such as runs/karpathy, or a .safetensors file; the name of a \
           config ends in .toml",
};

/// What a file that starts with `first` is, if it is something known. The caller knows already that
/// it is no safetensors file: that may start with any of these.
pub(super) fn recognize(first: &[u8]) -> Option<&'static Foreign> {
    if first.is_empty() {
        return Some(&EMPTY);
    }
    let holds =
        |at: usize, bytes: &[u8]| first.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    if let Some((_, _, foreign)) = SIGNATURES.iter().find(|(at, bytes, _)| holds(*at, bytes)) {
        return Some(foreign);
    }
    // Where the probe ends within a character, that is no fault of the text.
    let text = match std::str::from_utf8(first) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&first[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return None,
    };
    let start = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if ["<!doctype html", "<html", "<head", "<?xml"].iter().any(|tag| start.starts_with(tag)) {
        return Some(&HTML);
    }
    let is_plain = |c: char| !c.is_control() || c.is_whitespace();
    (!text.is_empty() && text.chars().all(is_plain)).then_some(&TEXT)
}

/// Whether a file starts as a text, such as a config, does, and as no kind of file that is known by its
/// first bytes. One that cannot be read does, too: whoever reads it will say why.
pub fn is_text(path: &Path) -> bool {
    let first = crate::regular::open(path).and_then(|(file, _)| {
        let mut first = Vec::new();
        file.take(PROBE_LEN as u64).read_to_end(&mut first)?;
        Ok(first)
    });
    first.map_or(true, |first| recognize(&first) == Some(&TEXT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: &[u8], expected: &str) {
        assert_eq!(recognize(first).map_or("", |foreign| foreign.what), expected);
    }

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        check(b"", "empty");
        check(b"PK\x03\x04\x14", "a zip archive, as `torch.save` and `numpy.savez` write");
        check(b"\x80\x02\x8a\nl\xfc\x9cF", "a Python pickle, as older `torch.save` wrote");
        check(b"\x80\x06", "");
        check(&[&[0; 257][..], b"ustar"].concat(), "a tar archive");
        check(&[&[0; 256][..], b"ustar"].concat(), "");
        check(b"\xef\xbb\xbf \n<!DOCTYPE HTML>\n", "a web page in HTML");
        check(b"<htm", "text");
        check("first citizen:\n\té".as_bytes(), "text");
        check(&"é".as_bytes()[..1], "");
        check(b"x\xc3", "text");
        check(b"x\xc3x", "");
        check(b"a\0b", "");
    }
}
