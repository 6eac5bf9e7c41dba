//! Reading a file that anybody may have written.
//!
//! Nothing is believed before it is checked: each length in the file against the bytes that are
//! there, before memory is asked for; each value as it comes. Tensors are read one after the other
//! into their own memory, and the digest is taken on the way, so a file never takes more than its
//! own length and a header.
//!
//! The header is not parsed by the crate `safetensors`, which writes it: of two equal names that
//! keeps the last, and it holds a header in thirty times its length before it looks at it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use safetensors::tensor::Dtype;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::foreign::{PROBE_LEN, recognize};
use super::{DIGEST_KEY, FileError, NO_DIGEST, StoredTensor, TensorFile, Values};

/// Bytes of the number that says how long the header is.
const LEN_BYTES: u64 = 8;
/// The longest header that is read, a limit of the format.
const MAX_HEADER_LEN: u64 = 100_000_000;
/// The most tensors in a file: far more than layers, gates and an optimizer make.
const MAX_TENSORS: usize = 1 << 16;
/// The most axes of a tensor.
const MAX_RANK: usize = 8;
/// Memory that a value of our metadata may take: a slot, some to grow, and a short text.
const VALUE_COST: u64 = 96;
/// Memory that our metadata may take in a file of any length.
const FREE_MEMORY: u64 = 12 << 20;
/// Bytes that are read at a time, whole values of any type.
const CHUNK_LEN: usize = 1 << 14;

/// Reads a file of `len` bytes: its tensors and metadata, and the digest that was verified, which a
/// file of another program does not have.
pub(super) fn read(
    mut reader: impl Read,
    len: u64,
    path: &Path,
) -> Result<(TensorFile, Option<String>), FileError> {
    let malformed = |reason: String| FileError::Format { path: path.to_owned(), reason };
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => malformed("it got shorter while it was read".into()),
        _ => FileError::Read { path: path.to_owned(), source },
    };

    let mut first = Vec::new();
    reader.by_ref().take(len.min(PROBE_LEN as u64)).read_to_end(&mut first).map_err(unreadable)?;
    let header_len = header_len(&first, len).map_err(|reason| match recognize(&first) {
        Some(foreign) => FileError::Foreign { path: path.to_owned(), foreign },
        None => malformed(reason),
    })?;
    let mut reader = first.chain(reader);
    reader.read_exact(&mut [0; LEN_BYTES as usize]).map_err(unreadable)?;
    let too_large = || FileError::TooLarge { path: path.to_owned(), len };
    let mut header = Vec::new();
    header.try_reserve_exact(header_len as usize).map_err(|_| too_large())?;
    reader.by_ref().take(header_len).read_to_end(&mut header).map_err(unreadable)?;

    let Header { metadata, tensors } = serde_json::from_slice(&header)
        .map_err(|error| malformed(format!("its header is not valid: {error}")))?;
    let tensors = in_order(tensors, len - LEN_BYTES - header_len, path)?;
    let (metadata, digest) = match metadata.ours {
        Some(text) => our_metadata(&text, len).map_err(malformed)?,
        None => (Map::new(), None),
    };
    let mut hasher = blake3::Hasher::new();
    if let Some(digest) = &digest {
        let place = digest_place(&header, digest)
            .ok_or_else(|| malformed("it holds no digest of 64 hexadecimal digits".into()))?;
        header[place].copy_from_slice(NO_DIGEST.as_bytes());
        hasher.update(&header_len.to_le_bytes());
        hasher.update(&header);
    }
    drop(header);

    let mut file = TensorFile { tensors: BTreeMap::new(), metadata };
    for (name, entry) in tensors {
        let n = entry.n_values();
        let values = match entry.dtype {
            Dtype::F32 => {
                read_values(&mut reader, n, &mut hasher, f32::from_le_bytes).map(Values::F32)
            }
            _ => read_values(&mut reader, n, &mut hasher, f64::from_le_bytes).map(Values::F64),
        };
        let values = values.map_err(|source| match source.kind() {
            io::ErrorKind::OutOfMemory => too_large(),
            _ => unreadable(source),
        })?;
        file.tensors.insert(name, StoredTensor { shape: entry.shape.0, values });
    }
    if let Some(expected) = &digest {
        let found = hasher.finalize().to_hex().to_string();
        if found != *expected {
            let expected = expected.clone();
            return Err(FileError::Digest { path: path.to_owned(), expected, found });
        }
    }
    file.check_finite(path)?;
    Ok((file, digest))
}

/// The length of the header, or why this is no file of tensors.
fn header_len(first: &[u8], len: u64) -> Result<u64, String> {
    let Some((number, rest)) = first.split_first_chunk::<{ LEN_BYTES as usize }>() else {
        return Err("it is too short to have a header".into());
    };
    let header_len = u64::from_le_bytes(*number);
    if MAX_HEADER_LEN.min(len - LEN_BYTES) < header_len {
        return Err(format!("its header cannot be {header_len} bytes long"));
    }
    match rest.first() {
        Some(b'{') => Ok(header_len),
        _ => Err("its header is not valid: it does not start with `{`".into()),
    }
}

/// The header as the format has it: tensors by name, and beside them `__metadata__`.
#[derive(Default)]
struct Header {
    metadata: Metadata,
    tensors: BTreeMap<String, Entry>,
}

/// What is ours of the metadata; other programs have other keys.
#[derive(Default, serde::Deserialize)]
struct Metadata {
    /// A JSON text, under [`METADATA_KEY`](super::METADATA_KEY).
    #[serde(rename = "char-rnn")]
    ours: Option<String>,
}

/// What the header says of a tensor.
#[derive(serde::Deserialize)]
struct Entry {
    dtype: Dtype,
    shape: Shape,
    /// First byte and the one after the last, from the end of the header on.
    data_offsets: (u64, u64),
}

impl Entry {
    /// Number of values, once it is known that the place has room for them.
    fn n_values(&self) -> usize {
        self.shape.0.iter().product()
    }

    /// Bytes of so many values of the type, `None` if there is no such number.
    fn len(&self) -> Option<u64> {
        let width = self.dtype.bitsize() / 8;
        let n = self.shape.0.iter().try_fold(1, |n: usize, size| n.checked_mul(*size))?;
        n.checked_mul(width).map(|len| len as u64)
    }
}

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut has_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        if std::mem::replace(&mut has_metadata, true) {
                            return Err(A::Error::custom("two entries `__metadata__`"));
                        }
                        header.metadata = map.next_value()?;
                        continue;
                    }
                    let entry = map.next_value()?;
                    if header.tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                    }
                    if header.tensors.contains_key(&name) {
                        return Err(A::Error::custom(format!("two tensors `{name}`")));
                    }
                    header.tensors.insert(name, entry);
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;

        impl<'de> Visitor<'de> for Sizes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the sizes of a tensor")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sizes: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(size) = sizes.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::custom(format!("more than {MAX_RANK} axes")));
                    }
                    shape.push(size);
                }
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(Sizes)
    }
}

/// The tensors in the order of their places, which together are all `values_len` bytes.
fn in_order(
    tensors: BTreeMap<String, Entry>,
    values_len: u64,
    path: &Path,
) -> Result<Vec<(String, Entry)>, FileError> {
    let malformed = |reason: String| Err(FileError::Format { path: path.to_owned(), reason });
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut described = 0;
    for (name, entry) in &tensors {
        let (start, end) = entry.data_offsets;
        if !matches!(entry.dtype, Dtype::F32 | Dtype::F64) {
            let (path, tensor, dtype) = (path.to_owned(), name.clone(), entry.dtype);
            return Err(FileError::Dtype { path, tensor, dtype });
        }
        if start != described {
            return malformed(format!("tensor `{name}` does not start where the one before ends"));
        }
        if entry.len().is_none() || entry.len() != end.checked_sub(start) {
            let shape = &entry.shape.0;
            return malformed(format!(
                "tensor `{name}` of shape {shape:?} does not fit into bytes {start} to {end}"
            ));
        }
        described = end;
    }
    match described == values_len {
        true => Ok(tensors),
        false => malformed(format!("its header describes {described} bytes, not {values_len}")),
    }
}

/// Our metadata, and the digest out of them. The text has to be the one that we would write: so it
/// says everything once, and nothing that is read another way.
fn our_metadata(text: &str, len: u64) -> Result<(Map<String, Value>, Option<String>), String> {
    let n_values = text.bytes().filter(|byte| b",[{".contains(byte)).count() as u64;
    if FREE_MEMORY + len < n_values * VALUE_COST {
        return Err("its metadata are larger than its tensors could need".into());
    }
    let mut metadata: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("its metadata is not JSON: {error}"))?;
    let mut ours = blake3::Hasher::new();
    serde_json::to_writer(&mut ours, &metadata).expect("it was read");
    if ours.finalize() != blake3::hash(text.as_bytes()) {
        return Err("its metadata are not as this program writes them".into());
    }
    let digest = metadata.remove(DIGEST_KEY);
    let digest = digest.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok((metadata, Some(digest)))
}

/// Where the digest stands in the header: within a JSON text that is itself a JSON string.
pub(super) fn digest_place(header: &[u8], digest: &str) -> Option<std::ops::Range<usize>> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let valid = digest.len() == NO_DIGEST.len() && digest.bytes().all(is_digit);
    let before = format!("\\\"{DIGEST_KEY}\\\":\\\"");
    let entry = format!("{before}{digest}\\\"");
    let start = memchr::memmem::find(header, entry.as_bytes())? + before.len();
    valid.then_some(start..start + digest.len())
}

/// Reads `n` values, and shows their bytes to `hasher`.
fn read_values<T, const N: usize>(
    reader: &mut impl Read,
    n: usize,
    hasher: &mut blake3::Hasher,
    from_bytes: fn([u8; N]) -> T,
) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(n)
        .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
    let mut chunk = [0; CHUNK_LEN];
    while values.len() < n {
        let bytes = &mut chunk[..CHUNK_LEN.min((n - values.len()) * N)];
        reader.read_exact(bytes)?;
        hasher.update(bytes);
        values.extend(bytes.as_chunks::<N>().0.iter().map(|bytes| from_bytes(*bytes)));
    }
    Ok(values)
}
