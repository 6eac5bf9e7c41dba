//! Named tensors in a safetensors file, with a digest over the whole of it.
//!
//! The format is that of Hugging Face's `safetensors`, which PyTorch and others read: a header in
//! JSON, then the values, little-endian. Our metadata is one JSON text under one key, because the
//! order of several keys would differ from save to save. In it stands the BLAKE3 digest of the
//! file, taken with zeros in the digest's own place.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, View, serialize};
use serde_json::{Map, Value};

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

    fn all_finite(&self) -> bool {
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
    /// # Errors
    /// If the file cannot be read, or anything in it is not as it should be.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = std::fs::read(path)
            .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(bytes, path)
    }

    /// Writes the file: all of it or nothing, on disk when this returns.
    ///
    /// It is written under another name in the same directory, synced, renamed, and the directory
    /// is synced too, so a crash at any moment leaves either the old file or the new one.
    ///
    /// # Errors
    /// If anything of that fails; no temporary file is left.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let bytes = self.to_bytes();
        let write = || -> io::Result<()> {
            let directory = match path.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            let mut file = temporary_file(directory)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(|source| FileError::Write { path: path.to_owned(), source })
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

    fn from_bytes(mut bytes: Vec<u8>, path: &Path) -> Result<Self, FileError> {
        let path = || path.to_owned();
        let malformed = |reason: String| FileError::Format { path: path(), reason };
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| malformed(error.to_string()))?;
        let mut metadata = match header.metadata().as_ref().and_then(|keys| keys.get(METADATA_KEY))
        {
            None => Map::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| malformed(format!("its metadata is not JSON: {error}")))?,
        };

        if !metadata.is_empty() {
            let digest = metadata.remove(DIGEST_KEY);
            let expected = digest.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
            let place = digest_place(&bytes, &expected)
                .ok_or_else(|| malformed("it holds no digest of 64 hexadecimal digits".into()))?;
            bytes[place].copy_from_slice(NO_DIGEST.as_bytes());
            let found = blake3::hash(&bytes).to_hex().to_string();
            if found != expected {
                return Err(FileError::Digest { path: path(), expected, found });
            }
        }

        let file =
            SafeTensors::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in file.iter() {
            let values = match tensor.dtype() {
                Dtype::F32 => Values::F32(read_all(tensor.data(), f32::from_le_bytes)),
                Dtype::F64 => Values::F64(read_all(tensor.data(), f64::from_le_bytes)),
                other => {
                    return Err(malformed(format!("tensor `{name}` is {other:?}, not F32 or F64")));
                }
            };
            if !values.all_finite() {
                return Err(FileError::NotFinite { path: path(), tensor: name.to_owned() });
            }
            tensors
                .insert(name.to_owned(), StoredTensor { shape: tensor.shape().to_vec(), values });
        }
        Ok(Self { tensors, metadata })
    }
}

/// Where the digest stands in the file: within a JSON text that is itself a JSON string.
fn digest_place(bytes: &[u8], digest: &str) -> Option<std::ops::Range<usize>> {
    let valid = digest.len() == NO_DIGEST.len() && digest.bytes().all(|b| b.is_ascii_hexdigit());
    let before = format!("\\\"{DIGEST_KEY}\\\":\\\"");
    let entry = format!("{before}{digest}\\\"");
    let start = bytes.windows(entry.len()).position(|window| window == entry.as_bytes())?;
    let start = start + before.len();
    valid.then_some(start..start + digest.len())
}

fn read_all<T, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

/// A temporary file with the permissions that a file made here would normally have.
fn temporary_file(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    builder.tempfile_in(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let back = TensorFile::from_bytes(bytes, Path::new("x")).expect("valid");
        assert_eq!(format!("{back:?}"), format!("{:?}", example()));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let bytes = example().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let read = TensorFile::from_bytes(damaged, Path::new("x"));
                // A flip in our key's own name makes it a valid file of some other program.
                let foreign = read.as_ref().is_ok_and(|file| file.metadata.is_empty());
                assert!(read.is_err() || foreign, "bit {bit} of byte {at}");
            }
        }
        for len in 0..bytes.len() {
            assert!(TensorFile::from_bytes(bytes[..len].to_vec(), Path::new("x")).is_err());
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(TensorFile::from_bytes(longer, Path::new("x")).is_err());
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let mut file = TensorFile::default();
        file.insert("w", vec![2], Values::F32(vec![1.0, f32::NAN]));
        let error = TensorFile::from_bytes(file.to_bytes(), Path::new("x")).expect_err("NaN");
        assert_eq!(error.to_string(), "tensor `w` holds a value that is not finite");
    }

    #[test]
    fn a_written_file_has_normal_permissions_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("w.safetensors");
        example().write(&path).expect("writable");
        example().write(&path).expect("replaceable");
        let reference = directory.path().join("reference");
        std::fs::write(&reference, "").expect("writable");
        let permissions = |path: &Path| std::fs::metadata(path).expect("there").permissions();
        assert_eq!(permissions(&path), permissions(&reference));
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 2);
        assert_eq!(TensorFile::read(&path).expect("valid").metadata, example().metadata);
    }
}
