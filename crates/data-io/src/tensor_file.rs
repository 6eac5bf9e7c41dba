//! Named tensors in a safetensors file, with a digest over the whole of it.
//!
//! The format is that of Hugging Face's `safetensors`, which PyTorch and others read: a header in
//! JSON, then the values, little-endian. Our metadata is one JSON text under one key, because the
//! order of several keys would differ from save to save. In it stands the BLAKE3 digest of the
//! file, taken with zeros in the digest's own place.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, View, serialize};
use serde_json::{Map, Value};

use crate::durable;

pub use self::foreign::{Foreign, is_text};
use self::read::digest_place;

mod foreign;
mod read;

/// The key of our metadata in the header.
const METADATA_KEY: &str = "char-rnn";
/// The key of the digest in our metadata.
const DIGEST_KEY: &str = "digest";
/// What stands for the digest while it is computed.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values in double precision.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::F64(values) => values.clone(),
        }
    }

    /// Whether no value is infinite or NaN.
    pub fn all_finite(&self) -> bool {
        match self {
            Self::F32(values) => values.iter().all(|value| value.is_finite()),
            Self::F64(values) => values.iter().all(|value| value.is_finite()),
        }
    }
}

/// A tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTensor {
    /// `[rows, cols]`, or `[len]`.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Values,
}

impl View for &StoredTensor {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::F32(_) => Dtype::F32,
            Values::F64(_) => Dtype::F64,
        }
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        match &self.values {
            Values::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
    fn data_len(&self) -> usize {
        self.values.len() * self.dtype().bitsize() / 8
    }
}

/// A file that cannot be read or written as tensors.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("cannot read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed; what stood there before still does.
    #[error("cannot write: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a safetensors file, or a damaged one.
    #[error("not a safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of a kind that people take for safetensors.
    #[error("not a safetensors file: it is {}", foreign.what)]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        foreign: &'static Foreign,
    },
    /// Values of a type that nothing here computes with.
    #[error("tensor `{tensor}` is {dtype:?}, not F32 or F64")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A file that does not fit into memory.
    #[error("its {len} bytes do not fit into the memory there is")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The content is not what was written.
    #[error("damaged: the content has digest {found}, the file says {expected}")]
    Digest {
        /// The file.
        path: PathBuf,
        /// What the metadata says.
        expected: String,
        /// What the content gives.
        found: String,
    },
    /// A value that no weight may have.
    #[error("tensor `{tensor}` holds a value that is not finite")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
}

impl FileError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::Format { path, .. }
            | Self::Foreign { path, .. }
            | Self::Dtype { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Digest { path, .. }
            | Self::NotFinite { path, .. } => path,
        }
    }
}

/// Named tensors with metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile {
    /// The tensors by name.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// What the file says of itself; empty if another program wrote it.
    pub metadata: Map<String, Value>,
}

impl TensorFile {
    /// Adds a tensor.
    ///
    /// # Panics
    /// If its shape does not hold as many values, or the name is taken.
    #[track_caller]
    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Values) {
        let name = name.into();
        assert_eq!(shape.iter().product::<usize>(), values.len(), "shape of `{name}`");
        let tensor = StoredTensor { shape, values };
        assert!(self.tensors.insert(name, tensor).is_none(), "two tensors of one name");
    }

    /// Reads and verifies a file: its form, that every value is finite, and the digest, if it has
    /// one. A file of another program has none, and no metadata of ours.
    ///
    /// Nothing is believed before it is checked: no more memory is asked for than the file is long,
    /// and no more is read than a header that fits the file describes.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in it is not as it should be.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Self::read_with_digest(path).map(|(file, _)| file)
    }

    /// [`read`](Self::read), with the digest that was verified, if there is one: 64 hexadecimal
    /// digits.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in it is not as it should be.
    pub fn read_with_digest(path: &Path) -> Result<(Self, Option<String>), FileError> {
        let (file, metadata) = crate::regular::open(path)
            .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        read::read(file, metadata.len(), path)
    }

    /// [`read_with_digest`](Self::read_with_digest) from bytes; `path` is what an error calls them.
    ///
    /// # Errors
    /// If anything in them is not as it should be.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<(Self, Option<String>), FileError> {
        read::read(bytes, bytes.len() as u64, path)
    }

    /// Writes the file: all of it or nothing, on disk when this returns, see [`durable::replace`].
    ///
    /// # Errors
    /// If anything of that fails; no temporary file is left. A value that is not finite is refused
    /// before anything is written, since nobody could read the file.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        self.check_finite(path)?;
        durable::replace(path, &self.to_bytes())
            .map_err(|source| FileError::Write { path: path.to_owned(), source })
    }

    /// The bytes of the file; the same tensors and metadata always give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut metadata = self.metadata.clone();
        metadata.insert(DIGEST_KEY.into(), NO_DIGEST.into());
        let metadata = Value::Object(metadata).to_string();
        let header = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
        let mut bytes = serialize(&self.tensors, Some(header))
            .expect("lengths fit their shapes, and every name is a key");
        let digest = blake3::hash(&bytes).to_hex();
        let place = digest_place(&bytes, NO_DIGEST).expect("it was put there");
        bytes[place].copy_from_slice(digest.as_bytes());
        bytes
    }

    fn check_finite(&self, path: &Path) -> Result<(), FileError> {
        match self.tensors.iter().find(|(_, tensor)| !tensor.values.all_finite()) {
            None => Ok(()),
            Some((name, _)) => {
                Err(FileError::NotFinite { path: path.to_owned(), tensor: name.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<TensorFile, FileError> {
        TensorFile::from_bytes(bytes, Path::new("x")).map(|(file, _)| file)
    }

    fn example() -> TensorFile {
        let mut file = TensorFile::default();
        file.insert("b", vec![3], Values::F64(vec![1.0, -0.0, f64::MIN_POSITIVE]));
        file.insert("a", vec![2, 2], Values::F32(vec![0.5, -1.5, 3.25, 1e-45]));
        file.metadata.insert("step".into(), 12.into());
        file.metadata.insert("text".into(), "quote \" and \u{7} bell".into());
        file
    }

    #[test]
    fn a_file_comes_back_to_the_bit_and_its_bytes_repeat() {
        let bytes = example().to_bytes();
        assert!((0..20).all(|_| example().to_bytes() == bytes));
        let back = read(&bytes).expect("valid");
        assert_eq!(format!("{back:?}"), format!("{:?}", example()));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let bytes = example().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let file = read(&damaged);
                // A flip in our key's own name makes it a valid file of some other program.
                let foreign = file.as_ref().is_ok_and(|file| file.metadata.is_empty());
                assert!(file.is_err() || foreign, "bit {bit} of byte {at}");
            }
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err());
        }
        assert!(read(&[bytes.as_slice(), b"x"].concat()).is_err());
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let mut file = TensorFile::default();
        file.insert("w", vec![2], Values::F32(vec![1.0, f32::NAN]));
        let error = read(&file.to_bytes()).expect_err("NaN");
        assert_eq!(error.to_string(), "tensor `w` holds a value that is not finite");

        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("w.safetensors");
        example().write(&path).expect("writable");
        let error = file.write(&path).expect_err("NaN");
        assert!(matches!(error, FileError::NotFinite { .. }));
        assert_eq!(TensorFile::read(&path).expect("as it was"), example());
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let check = |path: &Path, expected: io::ErrorKind| match TensorFile::read(path) {
            Err(FileError::Read { source, .. }) => assert_eq!(source.kind(), expected),
            other => panic!("{other:?}"),
        };
        check(directory.path(), io::ErrorKind::IsADirectory);
        check(&directory.path().join("none"), io::ErrorKind::NotFound);
        #[cfg(unix)]
        check(Path::new("/dev/zero"), io::ErrorKind::InvalidInput);
    }

    /// A file with this header and so many zeros after it.
    fn with_header(header: &str, n_values: usize) -> Vec<u8> {
        let len = (header.len() as u64).to_le_bytes();
        [&len[..], header.as_bytes(), &vec![0; n_values]].concat()
    }

    #[track_caller]
    fn check_header(header: &str, n_values: usize, expected: &str) {
        let found = match read(&with_header(header, n_values)) {
            Ok(file) => format!("{} tensors", file.tensors.len()),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{header:.200}: {found}");
    }

    #[test]
    fn a_hostile_header_is_refused() {
        let tensor = |dtype: &str, shape: &str, start: u64, end: u64| {
            format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
        };
        let one = |dtype: &str, shape: &str, start: u64, end: u64| {
            format!(r#"{{"w":{}}}"#, tensor(dtype, shape, start, end))
        };
        check_header(&one("F32", "[2]", 0, 8), 8, "1 tensors");
        check_header(&one("F32", "[0,18446744073709551615]", 0, 0), 0, "1 tensors");
        check_header(&one("F32", "[2]", 0, 8), 7, "its header describes 8 bytes, not 7");
        check_header(&one("F32", "[2]", 0, 8), 9, "its header describes 8 bytes, not 9");
        check_header(
            &one("F32", "[3]", 0, 8),
            8,
            "`w` of shape [3] does not fit into bytes 0 to 8",
        );
        check_header(&one("F32", "[2]", 8, 0), 8, "`w` does not start where the one before ends");
        check_header(&one("F32", "[0]", 0, 8), 8, "`w` of shape [0] does not fit");
        check_header(&one("F32", "[2]", 8, 16), 16, "`w` does not start where");
        check_header(&one("F32", "[-2]", 0, 8), 8, "its header is not valid");
        check_header(&one("F32", "[4294967296,4294967296]", 0, 8), 8, "`w` of shape");
        check_header(&one("F64", "[2305843009213693952]", 0, 0), 0, "`w` of shape");
        check_header(&one("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4), 4, "more than 8 axes");
        check_header(&one("I64", "[1]", 0, 8), 8, "tensor `w` is I64, not F32 or F64");
        check_header(&one("F99", "[1]", 0, 8), 8, "its header is not valid");
        let twice = format!(r#"{{"a":{0},"b":{0}}}"#, tensor("F32", "[2]", 0, 8));
        check_header(&twice, 8, "tensor `b` does not start where the one before ends");
        let twice = format!(
            r#"{{"a":{0},"a":{1}}}"#,
            tensor("F32", "[2]", 0, 8),
            tensor("F32", "[1]", 8, 12)
        );
        check_header(&twice, 12, "two tensors `a`");
        check_header(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "two entries `__metadata__`");
        check_header(r#"{"__metadata__":{"char-rnn":"{}","char-rnn":"{}"}}"#, 0, "duplicate field");
        check_header("{} x", 0, "its header is not valid: trailing characters");
        check_header("{}", 0, "0 tensors");
        check_header("", 0, "its header is not valid");
        check_header("[]", 0, "its header is not valid: it does not start with `{`");
        check_header(" {}", 0, "its header is not valid: it does not start with `{`");
        check_header(&"[".repeat(100_000), 0, "its header is not valid");
        check_header(
            &format!(r#"{{"w":{}"#, r#"{"a":"#.repeat(100_000)),
            0,
            "its header is not valid",
        );

        // Sizes that only together are more than there are numbers for.
        let most = (1 << 61) - 4;
        let many: Vec<_> = (0..8)
            .map(|i| {
                format!(
                    "\"w{i}\":{}",
                    tensor("F32", &format!("[{}]", most / 4), i * most, (i + 1) * most)
                )
            })
            .collect();
        check_header(&format!("{{{}}}", many.join(",")), 8, "bytes, not 8");

        for len in [3, u64::MAX, u64::MAX - 7, 1 << 63, 100_000_001] {
            let bytes = [&len.to_le_bytes()[..], b"{}"].concat();
            let error = read(&bytes).expect_err("longer than the file").to_string();
            assert!(error.ends_with(&format!("its header cannot be {len} bytes long")), "{error}");
        }
        let too_long = 100_000_001_u64.to_le_bytes();
        let endless = too_long.as_slice().chain(io::repeat(b' '));
        let error = read::read(endless, 1 << 40, Path::new("x")).expect_err("too long");
        assert!(
            error.to_string().ends_with("its header cannot be 100000001 bytes long"),
            "{error}"
        );
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_its_name() {
        let error = read(b"\x89HDF\r\n\x1a\n\0\0\0\0").expect_err("HDF5").to_string();
        assert_eq!(error, "not a safetensors file: it is an HDF5 file, as Keras writes");
        // A header of 0x0280 bytes starts like a pickle.
        let mut file = TensorFile::default();
        file.metadata.insert("text".into(), "x".into());
        let len = file.to_bytes().len() - 8;
        file.metadata.insert("text".into(), "x".repeat(0x280 - len + 1).into());
        let bytes = file.to_bytes();
        assert_eq!(bytes[..2], *b"\x80\x02");
        assert_eq!(read(&bytes).expect("one of ours"), file);
    }

    #[test]
    fn hostile_metadata_are_refused() {
        let check = |metadata: &str, expected: &str| {
            let text = Value::from(metadata).to_string();
            check_header(&format!(r#"{{"__metadata__":{{"char-rnn":{text}}}}}"#), 0, expected);
        };
        let no_digest = "it holds no digest of 64 hexadecimal digits";
        check("{}", no_digest);
        check(r#"{"step":1}"#, no_digest);
        check(r#"{"digest":7}"#, no_digest);
        check(r#"{"digest":"0"}"#, no_digest);
        check(&format!(r#"{{"digest":"{}"}}"#, "é".repeat(32)), no_digest);
        check(&format!(r#"{{"digest":"{NO_DIGEST}"}}"#), "damaged: the content has digest");
        let not_ours = "its metadata are not as this program writes them";
        check(r#"{"a":1,"a":1}"#, not_ours);
        check(r#"{ "a":1}"#, not_ours);
        check(r#"{"a":1.0e0}"#, not_ours);
        check(&format!("[{}0]", "0,".repeat(500_000)), "its metadata are larger than");
        check("{} {}", "its metadata is not JSON");
        check("", "its metadata is not JSON");
        check("[]", "its metadata is not JSON");
        check(&r#"{"a":"#.repeat(100_000), "its metadata is not JSON");
        check_header(r#"{"__metadata__":{"format":"pt"}}"#, 0, "0 tensors");
        check_header(r#"{"__metadata__":{"char-rnn":1}}"#, 0, "its header is not valid");
    }

    #[test]
    fn a_file_that_shrinks_or_grows_while_it_is_read_is_refused_or_cut() {
        let bytes = example().to_bytes();
        let len = bytes.len() as u64;
        assert!(read::read(&bytes[..bytes.len() - 1], len, Path::new("x")).is_err());
        let grown = [bytes.as_slice(), b"more"].concat();
        let file = read::read(grown.as_slice(), len, Path::new("x"));
        assert_eq!(file.expect("as long as it was").0, example());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

        #[test]
        fn no_bytes_panic(
            len in prop_oneof![0_u64..100, any::<u64>()],
            header in prop_oneof![".{0,60}", "[\\[\\]{}\":,0-9a-f_\\\\]{0,60}"],
            rest in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let _refused_or_empty = read(&rest);
            let _refused_or_empty = read(&[&len.to_le_bytes()[..], header.as_bytes(), &rest].concat());
            let _refused_or_empty =
                read(&[&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &rest].concat());
        }

        #[test]
        fn a_damaged_file_is_refused_or_foreign(
            edits in prop::collection::vec((any::<usize>(), 0_usize..20, prop::collection::vec(any::<u8>(), 0..20)), 1..4),
        ) {
            let whole = example().to_bytes();
            let mut bytes = whole.clone();
            for (at, n_removed, added) in edits {
                let at = at % (bytes.len() + 1);
                let end = bytes.len().min(at + n_removed);
                bytes.splice(at..end, added);
            }
            if let Ok(file) = read(&bytes) {
                prop_assert!(bytes == whole || file.metadata.is_empty());
                prop_assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok());
            }
        }
    }

    #[test]
    fn every_cut_of_two_files_into_one_is_refused() {
        let first = example().to_bytes();
        let mut other = example();
        other.metadata.insert("step".into(), 13.into());
        let second = other.to_bytes();
        for at in 1..first.len() {
            let spliced = [&first[..at], &second[at..]].concat();
            assert!(spliced == first || spliced == second || read(&spliced).is_err(), "at {at}");
        }
    }
}
