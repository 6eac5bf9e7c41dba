//! Event files for TensorBoard.
//!
//! An event file is a sequence of records (TensorFlow, `core/lib/io/record_writer.h`), each
//!
//! ```text
//! u64 length of the data | u32 masked CRC of the length | data | u32 masked CRC of the data
//! ```
//!
//! little-endian, where the CRC is CRC-32C, rotated right by 15 bits and 0xa282ead8 added. The data are
//! a protocol buffer `Event` (`core/util/event.proto`, `core/framework/summary.proto`). The few messages
//! of it that are written here are put together by hand: see "Encoding" in the documentation of
//! Protocol Buffers.
//!
//! Events hold times of day, so these files are none of those that come out the same every time, and no
//! checkpoint vouches for them. A run that goes on begins another file, which tells TensorBoard to
//! forget the steps from there on.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};
use registry::range::Every;

use crate::error::failed;
use crate::{Error, Event, Flow, Observer, StepReport};

/// The directory of event files in a run.
pub(crate) const TENSORBOARD: &str = "tensorboard";

/// What the names of event files start with; TensorBoard reads them in the order of their names.
const PREFIX: &str = "events.out.tfevents.";

/// CRC-32C, as in iSCSI.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Writes the event files of a run.
#[derive(Debug)]
pub(crate) struct TensorBoard {
    directory: PathBuf,
    log: Every,
    /// Open from the start of training on.
    file: Option<(PathBuf, File)>,
}

impl TensorBoard {
    /// Writes into `directory`, of training steps those that are due by `log`. Nothing is made before
    /// training starts.
    pub fn new(directory: PathBuf, log: Every) -> Self {
        Self { directory, log, file: None }
    }

    /// Begins a file for what comes after `step` steps.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn start(&mut self, step: u64) -> Result<(), Error> {
        let directory = &self.directory;
        fs::create_dir_all(directory)
            .map_err(|source| failed(directory, "make the directory", source))?;
        let last = last_number(directory)
            .map_err(|source| failed(directory, "read the directory", source))?;
        // Seconds, as TensorFlow has them, but never those of an earlier file: it would be read later.
        let now = time_of_day() as u64;
        let number = last.map_or(now, |last| now.max(last + 1));
        let path = directory.join(format!("{PREFIX}{number:010}"));
        let file = File::create_new(&path).map_err(|source| failed(&path, "make", source))?;
        self.file = Some((path, file));
        self.write(0, |event| event.bytes(event::FILE_VERSION, b"brain.Event:2"))?;
        self.forget_after(step)
    }

    /// Makes TensorBoard forget the later steps of files before, and of this one.
    fn forget_after(&mut self, step: u64) -> Result<(), Error> {
        let session = Message::default().int(event::session_log::STATUS, event::session_log::START);
        self.write(step + 1, |event| event.message(event::SESSION_LOG, &session))
    }

    fn step(&mut self, report: &StepReport) -> Result<(), Error> {
        self.summary(report.step, |summary| {
            summary
                .scalar("train/nats_per_char", report.nats_per_char)
                .scalar("train/smooth_nats_per_char", report.smooth_nats_per_char)
                .scalar("train/grad_norm", report.grad_norm)
                .scalar("train/learning_rate", report.learning_rate)
                .scalar("train/chars", report.chars as f64)
        })
    }

    fn summary(&mut self, step: u64, fill: impl FnOnce(Message) -> Message) -> Result<(), Error> {
        let summary = fill(Message::default());
        self.write(step, |event| event.message(event::SUMMARY, &summary))
    }

    /// Writes an event as one record.
    fn write(&mut self, step: u64, fill: impl FnOnce(Message) -> Message) -> Result<(), Error> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let event =
            Message::default().double(event::WALL_TIME, time_of_day()).int(event::STEP, step);
        let record = record(&fill(event).0);
        file.write_all(&record).map_err(|source| failed(path, "write", source))
    }
}

impl Observer for TensorBoard {
    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        match event {
            Event::Step(report) if self.log.is_due(report.step) => self.step(report)?,
            Event::Step(_) | Event::Checkpoint { .. } => {}
            Event::Eval { step, nats_per_char, .. } => self.summary(*step, |summary| {
                summary
                    .scalar("val/nats_per_char", *nats_per_char)
                    .scalar("val/bits_per_char", nats_per_char / std::f64::consts::LN_2)
            })?,
            Event::Sample { step, text } => {
                self.summary(*step, |summary| summary.text("sample", text))?;
            }
            Event::Rollback { to, .. } => self.forget_after(*to)?,
        }
        Ok(Flow::GoOn)
    }
}

/// The number in the name of the newest event file in a directory.
fn last_number(directory: &Path) -> std::io::Result<Option<u64>> {
    let mut last = None;
    for entry in fs::read_dir(directory)? {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        last = last.max(number);
    }
    Ok(last)
}

/// Seconds since 1970.
fn time_of_day() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Some data as a record of an event file.
fn record(data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u64).to_le_bytes();
    [&len[..], &masked_crc(&len), data, &masked_crc(data)].concat()
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Numbers of the fields of `tensorflow.Event`, and in modules those of the messages in it.
mod event {
    pub const WALL_TIME: u64 = 1;
    pub const STEP: u64 = 2;
    pub const FILE_VERSION: u64 = 3;
    pub const SUMMARY: u64 = 5;
    pub const SESSION_LOG: u64 = 7;

    pub mod session_log {
        pub const STATUS: u64 = 1;
        /// A value of `STATUS`.
        pub const START: u64 = 1;
    }

    pub mod summary {
        pub const VALUE: u64 = 1;

        pub mod value {
            pub const TAG: u64 = 1;
            pub const SIMPLE_VALUE: u64 = 2;
            pub const TENSOR: u64 = 8;
            pub const METADATA: u64 = 9;

            pub mod metadata {
                pub const PLUGIN_DATA: u64 = 1;

                pub mod plugin_data {
                    pub const PLUGIN_NAME: u64 = 1;
                }
            }

            pub mod tensor {
                pub const DTYPE: u64 = 1;
                /// A value of `DTYPE`.
                pub const DT_STRING: u64 = 7;
                pub const STRING_VAL: u64 = 8;
            }
        }
    }
}

/// A protocol buffer message that is being put together.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// A variable-length integer: seven bits a byte, the lowest first, the eighth says that more come.
    fn varint(&mut self, mut value: u64) {
        while 0x80 <= value {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// What stands before a field's value: its number, and how the value is written.
    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn int(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a number to a `Summary`.
    fn scalar(self, tag: &str, value: f64) -> Self {
        use event::summary::{VALUE, value};
        let message = Self::default()
            .bytes(value::TAG, tag.as_bytes())
            .float(value::SIMPLE_VALUE, value as f32);
        self.message(VALUE, &message)
    }

    /// Adds a text to a `Summary`, for TensorBoard's page of texts.
    fn text(self, tag: &str, text: &str) -> Self {
        use event::summary::{VALUE, value};
        // It is shown as Markdown, in which lines that are indented stand as they are.
        let shown: String = text.lines().map(|line| format!("    {line}\n")).collect();
        let plugin = Self::default().bytes(value::metadata::plugin_data::PLUGIN_NAME, b"text");
        let metadata = Self::default().message(value::metadata::PLUGIN_DATA, &plugin);
        let tensor = Self::default()
            .int(value::tensor::DTYPE, value::tensor::DT_STRING)
            // Of no dimensions: its shape is left out.
            .bytes(value::tensor::STRING_VAL, shown.as_bytes());
        let message = Self::default()
            .bytes(value::TAG, tag.as_bytes())
            .message(value::METADATA, &metadata)
            .message(value::TENSOR, &tensor);
        self.message(VALUE, &message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32C bit by bit (RFC 3720, appendix B.4), masked.
    fn expected_crc(bytes: &[u8]) -> u32 {
        let crc = bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
            })
        });
        (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
    }

    /// The data of every record, whose CRCs are checked.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let number =
                |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
            let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
            assert_eq!(number(8), expected_crc(&bytes[..8]));
            let data = &bytes[12..12 + len];
            assert_eq!(number(12 + len), expected_crc(data));
            records.push(data.to_vec());
            bytes = &bytes[16 + len..];
        }
        records
    }

    /// A field's number and value: the bytes of a message, a text or a float, or those of an integer
    /// in eight bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let len = bytes.iter().position(|byte| *byte < 0x80).expect("it ends") + 1;
            let (number, rest) = bytes.split_at(len);
            *bytes = rest;
            number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
        }
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let len = match key & 7 {
                0 => {
                    fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => varint(&mut bytes) as usize,
                5 => 4,
                other => panic!("wire type {other}"),
            };
            let (value, rest) = bytes.split_at(len);
            bytes = rest;
            fields.push((key >> 3, value.to_vec()));
        }
        fields
    }

    fn field(bytes: &[u8], number: u64) -> Vec<u8> {
        let found = fields(bytes).into_iter().find(|(field, _)| *field == number);
        found.unwrap_or_else(|| panic!("no field {number}")).1
    }

    fn int(bytes: &[u8], number: u64) -> u64 {
        u64::from_le_bytes(field(bytes, number).try_into().expect("an integer"))
    }

    fn report(step: u64) -> StepReport {
        StepReport {
            step,
            nats_per_char: 2.5,
            smooth_nats_per_char: 3.25,
            grad_norm: 7.0,
            learning_rate: 0.1,
            chars: 1 << 40,
        }
    }

    #[test]
    fn the_crc_is_that_of_the_rfc() {
        // RFC 3720, appendix B.4: 32 bytes of zeros; the mask undone.
        let masked = u32::from_le_bytes(masked_crc(&[0; 32]));
        assert_eq!(masked.wrapping_sub(0xa282_ead8).rotate_left(15), 0x8a91_36aa);
    }

    #[test]
    fn what_is_written_reads_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut board = TensorBoard::new(directory.path().join("t"), Every::new(10));
        board.start(300).expect("writable");
        for event in [
            Event::Step(report(309)),
            Event::Step(report(310)),
            Event::Eval { step: 310, nats_per_char: 1.5, chars: 9 },
            Event::Sample { step: 310, text: "a\n# b" },
            Event::Rollback { step: 311, what: "x", to: 305, rollbacks: 1 },
        ] {
            board.observe(&event).expect("writable");
        }
        let (path, _) = board.file.expect("it has started");
        let records = records(&std::fs::read(path).expect("readable"));
        let steps: Vec<_> = records.iter().map(|record| int(record, 2)).collect();
        assert_eq!(steps, [0, 301, 310, 310, 310, 306]);
        assert!(records.iter().all(|record| {
            let time = f64::from_le_bytes(field(record, 1).try_into().expect("a double"));
            (time_of_day() - time).abs() < 60.0
        }));
        assert_eq!(field(&records[0], 3), b"brain.Event:2");
        for start in [&records[1], &records[5]] {
            assert_eq!(int(&field(start, 7), 1), 1);
        }
        let scalars = |record: &[u8]| -> Vec<(String, f32)> {
            let values = fields(&field(record, 5)).into_iter().map(|(_, value)| value);
            let scalar = |value: Vec<u8>| {
                let number = f32::from_le_bytes(field(&value, 2).try_into().expect("a float"));
                (String::from_utf8(field(&value, 1)).expect("UTF-8"), number)
            };
            values.map(scalar).collect()
        };
        let train = [
            ("train/nats_per_char", 2.5),
            ("train/smooth_nats_per_char", 3.25),
            ("train/grad_norm", 7.0),
            ("train/learning_rate", 0.1),
            ("train/chars", (1_u64 << 40) as f32),
        ];
        assert_eq!(scalars(&records[2]), train.map(|(tag, value)| (tag.to_owned(), value)));
        let (bits, found) = (1.5 / std::f32::consts::LN_2, scalars(&records[3]));
        assert_eq!(found[0], ("val/nats_per_char".to_owned(), 1.5));
        assert_eq!(found[1].0, "val/bits_per_char");
        assert!((found[1].1 - bits).abs() < 1e-6);
        let text = field(&field(&records[4], 5), 1);
        assert_eq!(field(&text, 1), b"sample");
        assert_eq!(field(&field(&field(&text, 9), 1), 1), b"text");
        assert_eq!(int(&field(&text, 8), 1), 7);
        assert_eq!(field(&field(&text, 8), 8), b"    a\n    # b\n");
    }

    #[test]
    fn a_later_file_is_read_later_whatever_the_clock_says() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let future = directory.path().join(format!("{PREFIX}9000000000"));
        std::fs::write(&future, "").expect("writable");
        let mut board = TensorBoard::new(directory.path().to_owned(), Every::new(1));
        board.start(0).expect("writable");
        board.start(5).expect("writable");
        let (path, _) = board.file.expect("it has started");
        assert_eq!(path.file_name().expect("a name"), "events.out.tfevents.9000000002");
    }
}
