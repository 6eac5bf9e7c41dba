//! Files that pass for checkpoints and are none: what a mistake, a broken disk or an enemy makes.
//!
//! All of it is made from one good checkpoint, and comes out the same every time. Whoever lies knows
//! the format: where it is the content that lies, the digest is right.

use serde_json::{Value, json};

#[path = "../fuzz/src/seal.rs"]
mod seal;

pub use seal::seal;

/// A file that has to be refused.
pub struct Hostile {
    /// Its name.
    pub name: String,
    /// How it starts, which mostly is all of it.
    pub bytes: Vec<u8>,
    /// Its length; the rest is a hole, which reads as zeros and takes no room on disk.
    pub len: u64,
}

/// Every hostile file, made from the bytes of a `good` checkpoint of a vanilla cell in `f32`.
///
/// # Panics
/// If `good` is none.
pub fn files(good: &[u8]) -> Vec<Hostile> {
    let mut files = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>| {
        let (name, len) = (format!("{:03}-{name}", files.len()), bytes.len() as u64);
        files.push(Hostile { name, bytes, len });
    };
    foreign(&mut add);
    damaged(good, &mut add);
    lengths(&mut add);
    headers(&mut add);
    tensors(&mut add);
    metadata(good, &mut add);
    weights(good, &mut add);
    for (len, name) in [(300 << 20, "300 MiB"), (1 << 34, "16 GiB"), (1 << 40, "1 TiB")] {
        let bytes = with_header(
            &entry_of("w", "F32", &format!("[{}]", (len - 1024) / 4), 0, len - 1024),
            0,
        );
        let mut bytes = pad_header(&bytes, 1024 - 8);
        bytes.truncate(1024);
        let name = format!("{:03}-sparse {name}.safetensors", files.len());
        files.push(Hostile { name, bytes, len });
    }
    files
}

/// Files of other programs, under their own names and under ours.
fn foreign(add: &mut impl FnMut(String, Vec<u8>)) {
    let kinds: [(&str, &[u8]); 27] = [
        ("pt", b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl"),
        ("npz", b"PK\x03\x04\x2d\0\0\0\0\0w.npy"),
        ("zip", b"PK\x05\x06\0\0\0\0"),
        ("pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."),
        ("p3.pkl", b"\x80\x03}q\0X\x01\0\0\0aq\x01K\x01s."),
        ("p4.pkl", b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s."),
        ("p5.pkl", b"\x80\x05\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s."),
        ("p0.pkl", b"(dp0\nVweights\np1\nI1\ns."),
        ("l0.pkl", b"(lp0\nI1\na."),
        ("t7", b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1"),
        ("ascii.t7", b"4\n1\n3\nV 1\n13\nnn.Sequential\n"),
        ("npy", b"\x93NUMPY\x01\0v\0{'descr': '<f4'}"),
        ("h5", b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0"),
        ("gguf", b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0"),
        ("ggml", b"lmgg\x01\0\0\0"),
        ("ggjt", b"tjgg\x03\0\0\0"),
        ("gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0"),
        ("bz2", b"BZh91AY&SY"),
        ("xz", b"\xfd7zXZ\0\0\x04"),
        ("zst", b"\x28\xb5\x2f\xfd\x04\0\x01\0\0"),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\x04"),
        ("html", b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>"),
        ("xhtml", b"\xef\xbb\xbf\n<?xml version=\"1.0\"?><html/>"),
        ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("zeros", &[0; 600]),
        ("ones", &[0xff; 600]),
    ];
    for (kind, bytes) in kinds {
        add(format!("a.{kind}"), bytes.to_vec());
        add(format!("{kind}.safetensors"), [bytes, &[0x5a; 300]].concat());
    }
    add("tar.safetensors".into(), [&[b'a'; 257][..], b"ustar\x0000"].concat());
    add("empty.safetensors".into(), vec![]);
    add(
        "text.safetensors".into(),
        b"First Citizen:\nBefore we proceed any further, hear me.\n".to_vec(),
    );
    add("json.safetensors".into(), br#"{"format": 1, "step": 3}"#.to_vec());
}

/// A good checkpoint after an accident.
fn damaged(good: &[u8], add: &mut impl FnMut(String, Vec<u8>)) {
    for part in 0..16 {
        add(format!("first {part} of 16.safetensors"), good[..good.len() * part / 16].to_vec());
        let mut flipped = good.to_vec();
        flipped[good.len() * part / 16] ^= 1 << (part % 8);
        add(format!("flip in {part} of 16.safetensors"), flipped);
    }
    add("without its last byte.safetensors".into(), good[..good.len() - 1].to_vec());
    add("without its first byte.safetensors".into(), good[1..].to_vec());
    add("longer.safetensors".into(), [good, &[0; 4096]].concat());
    add("twice.safetensors".into(), good.repeat(2));
    add("byte order mark.safetensors".into(), [b"\xef\xbb\xbf", good].concat());
    let zeroed = |range: std::ops::Range<usize>| {
        let mut bytes = good.to_vec();
        bytes[range].fill(0);
        bytes
    };
    add("a block of zeros.safetensors".into(), zeroed(512..1024));
    add("zeros at its end.safetensors".into(), zeroed(good.len() / 2..good.len()));
    let crlf: Vec<u8> =
        good.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect();
    add("line ends.safetensors".into(), crlf);
    add(
        "decoded and encoded.safetensors".into(),
        String::from_utf8_lossy(good).into_owned().into_bytes(),
    );
}

/// Headers that are not as long as they say.
fn lengths(add: &mut impl FnMut(String, Vec<u8>)) {
    for len in [
        0,
        1,
        3,
        4,
        100,
        100_000_000,
        100_000_001,
        1 << 31,
        1 << 32,
        1 << 40,
        1 << 53,
        1 << 63,
        u64::MAX - 7,
        u64::MAX,
    ] {
        add(
            format!("header of {len}.safetensors"),
            [&len.to_le_bytes()[..], b"{}", b"  "].concat(),
        );
    }
}

/// Headers that are not what a header is.
fn headers(add: &mut impl FnMut(String, Vec<u8>)) {
    let mut header =
        |name: &str, text: &str| add(format!("{name}.safetensors"), with_header(text, 8));
    for (name, text) in [
        ("empty object", "{}"),
        ("array", "[]"),
        ("number", "1"),
        ("blank first", " {}"),
        ("unclosed", "{"),
        ("unclosed text", "{\"w"),
        ("comment", "{/* w */}"),
        ("single quotes", "{'w':1}"),
        ("trailing comma", "{\"a\":1,}"),
        ("two objects", "{}{}"),
        ("something behind", "{} x"),
        ("a zero behind", "{}\0"),
        ("null", "{\"w\":null}"),
        ("metadata array", "{\"__metadata__\":[]}"),
        ("metadata number", "{\"__metadata__\":{\"char-rnn\":1}}"),
        ("metadata object", "{\"__metadata__\":{\"char-rnn\":{}}}"),
        ("metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}"),
        ("our metadata twice", "{\"__metadata__\":{\"char-rnn\":\"{}\",\"char-rnn\":\"{}\"}}"),
        ("half a surrogate", "{\"\\ud800\":1}"),
        ("escape codes", "{\"\\u001b]0;x\\u0007\\u001b[2J\\r\":{\"dtype\":\"\\u001b[31m\"}}"),
        ("turned text", "{\"\\u202ecod.exe\":{\"dtype\":\"F\\u2066\"}}"),
    ] {
        header(name, text);
    }
    for depth in [100, 127, 128, 10_000, 1_000_000] {
        header(&format!("{depth} arrays"), &format!("{{\"w\":{}", "[".repeat(depth)));
        header(&format!("{depth} objects"), &"{\"a\":".repeat(depth));
        let nested =
            format!("{{\"__metadata__\":{{\"x\":{}1{}}}}}", "[".repeat(depth), "]".repeat(depth));
        header(&format!("{depth} arrays in metadata"), &nested);
    }
    header("long name", &format!("{{\"{}\":1}}", "x".repeat(5_000_000)));
    header("long number", &format!("{{\"w\":{}}}", "9".repeat(1_000_000)));
    header("many names", &format!("{{{}\"w\":1}}", "\"w\":{},".repeat(100_000)));
    let not_utf8 = [&12_u64.to_le_bytes()[..], b"{\"\xff\xfe\":1    }"].concat();
    add("not UTF-8.safetensors".into(), not_utf8);
}

/// Headers that lie about their tensors; 16 bytes of values are there.
fn tensors(add: &mut impl FnMut(String, Vec<u8>)) {
    let mut header =
        |name: &str, text: &str| add(format!("{name}.safetensors"), with_header(text, 16));
    for dtype in [
        "F16", "BF16", "I8", "U8", "I16", "I32", "I64", "U64", "BOOL", "C64", "F8_E4M3", "F4",
        "f32", "F128", "",
    ] {
        header(&format!("dtype {dtype}"), &entry_of("w", dtype, "[4]", 0, 16));
    }
    for shape in [
        "[5]",
        "[3]",
        "[2,3]",
        "[-4]",
        "[4.0]",
        "[1e1]",
        "[\"4\"]",
        "4",
        "null",
        "[[4]]",
        "[0]",
        "[18446744073709551615]",
        "[18446744073709551616]",
        "[4294967296,4294967296]",
        "[9223372036854775808,2]",
        "[4611686018427387904]",
        "[4611686018427387905]",
        "[4,1,1,1,1,1,1,1,1,1]",
    ] {
        header(&format!("shape {shape}"), &entry_of("w", "F32", shape, 0, 16));
    }
    let long = format!("[{}4]", "1,".repeat(1_000_000));
    header("endless shape", &entry_of("w", "F32", &long, 0, 16));
    for (start, end) in [
        (16, 0),
        (1, 17),
        (0, 17),
        (0, 1 << 40),
        (1 << 40, (1 << 40) + 16),
        (u64::MAX - 15, u64::MAX),
        (u64::MAX, 15),
    ] {
        header(&format!("place {start} {end}"), &entry_of("w", "F32", "[4]", start, end));
    }
    let tensor = |dtype: &str, shape: &str, start, end| {
        let one = entry_of("w", dtype, shape, start, end);
        one[5..one.len() - 1].to_owned()
    };
    let half = tensor("F32", "[2]", 0, 8);
    let rest = tensor("F32", "[2]", 8, 16);
    let all = tensor("F32", "[4]", 0, 16);
    header("twice one place", &format!("{{\"a\":{all},\"b\":{all}}}"));
    header("two of one name", &format!("{{\"a\":{half},\"a\":{rest}}}"));
    header("overlap", &format!("{{\"a\":{half},\"b\":{}}}", tensor("F32", "[3]", 4, 16)));
    header("gap", &format!("{{\"a\":{half},\"b\":{}}}", tensor("F32", "[1]", 12, 16)));
    header("half described", &format!("{{\"a\":{half}}}"));
    header(
        "field twice",
        r#"{"w":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
    );
    header("no dtype", r#"{"w":{"shape":[4],"data_offsets":[0,16]}}"#);
    header("no shape", r#"{"w":{"dtype":"F32","data_offsets":[0,16]}}"#);
    header("no place", r#"{"w":{"dtype":"F32","shape":[4]}}"#);
    header("three offsets", r#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,8,16]}}"#);
    header("no model", &entry_of("w", "F32", "[4]", 0, 16));
    header("paths", &format!("{{\"../../etc/passwd\":{half},\"/etc/shadow\":{rest}}}"));
    let empty = tensor("F32", "[0]", 0, 0);
    let many: Vec<_> = (0..70_000).map(|i| format!("\"{i}\":{empty}")).collect();
    header("70000 tensors", &format!("{{{},\"w\":{all}}}", many.join(",")));
}

/// Checkpoints whose metadata lie.
fn metadata(good: &[u8], add: &mut impl FnMut(String, Vec<u8>)) {
    let mut lie = |name: String, lie: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let (mut header, values) = parts_of(good);
        let mut ours = ours_of(&header);
        lie(&mut ours);
        header["__metadata__"]["char-rnn"] = Value::Object(ours).to_string().into();
        add(format!("{name}.safetensors"), sealed(&header.to_string(), values));
    };
    for key in ["format", "step", "config", "symbols", "digest"] {
        lie(format!("without {key}"), &|ours| _ = ours.remove(key));
        for value in
            [Value::Null, json!([]), json!({}), json!(true), json!(-1), json!(1.5), json!("x")]
        {
            lie(format!("{key} = {value}").replace('"', "'"), &|ours| {
                _ = ours.insert(key.into(), value.clone())
            });
        }
    }
    for format in [0_u64, 2, 1 << 40] {
        lie(format!("format {format}"), &|ours| _ = ours.insert("format".into(), format.into()));
    }

    let symbols: [(&str, Value); 9] = [
        ("unsorted", json!(["b", "a"])),
        ("twice", json!(["a", "a"])),
        ("two characters", json!(["ab"])),
        ("no character", json!([""])),
        ("a number", json!([1])),
        ("one too many", json!(["\u{1}", "a", "b", "\u{10ffff}"])),
        ("nested", json!([["a"]])),
        ("a million", (0..1_000_000).filter_map(char::from_u32).map(String::from).collect()),
        ("a million empty", vec![""; 1_000_000].into()),
    ];
    for (name, symbols) in symbols {
        lie(format!("symbols {name}"), &|ours| _ = ours.insert("symbols".into(), symbols.clone()));
    }

    let mut replace = |from: &str, to: &str| {
        let name = format!(
            "config with {}",
            to.replace(['"', '/'], "'").chars().take(40).collect::<String>()
        );
        lie(name, &|ours| {
            let config = ours["config"].as_str().expect("a text");
            assert!(config.contains(from), "no {from} in {config}");
            let config = config.replacen(from, to, 1);
            ours.insert("config".into(), config.into());
        });
    };
    for size in [
        "0",
        "-1",
        "2",
        "4",
        "1048576",
        "1000000000",
        "9223372036854775807",
        "1e9",
        "3.0",
        "\"3\"",
        "nan",
    ] {
        replace("hidden_size = 3", &format!("hidden_size = {size}"));
    }
    for layers in ["0", "2", "1000", "1001", "1000000000"] {
        replace("layers = 1", &format!("layers = {layers}"));
    }
    for size in ["1", "3", "1048576", "1000000000"] {
        replace("embedding_size = 0", &format!("embedding_size = {size}"));
    }
    for cell in ["lstm", "gru", "mlstm", "indrnn", "nonsense", "\\u001b[2J"] {
        replace("kind = \"vanilla\"\nactivation = \"tanh\"", &format!("kind = \"{cell}\""));
    }
    for tokenizer in ["byte", "char_byte", "words"] {
        replace("tokenizer = \"char\"", &format!("tokenizer = \"{tokenizer}\""));
    }
    replace("dtype = \"f32\"", "dtype = \"f16\"");
    replace("tied = false", "tied = true");
    replace("layer_norm = false", "layer_norm = true");
    replace("learned_state = false", "learned_state = true");
    replace("[model]", "[modle]");
    replace("[model]", &format!("x = {}", "[".repeat(100_000)));
    replace("[model]", &format!("x = {}1", "{a=".repeat(10_000)));
    replace("[model]", &format!("x{} = 1", ".x".repeat(50_000)));
    replace("[model]", &" ".repeat(2_000_000));
    replace("hidden_size = 3", &format!("hidden_size = 3 {}", "\u{1b}[31m".repeat(50)));
}

/// Checkpoints whose weights are not those of their config.
fn weights(good: &[u8], add: &mut impl FnMut(String, Vec<u8>)) {
    let (header, values) = parts_of(good);
    let names = header.as_object().expect("an object").keys().filter(|name| {
        name.contains('.') && !name.starts_with("optimizer.") && !name.starts_with("state.")
    });
    let names: Vec<_> = names.cloned().collect();
    for name in names {
        if name != "rnn.bias_hh_l0" {
            let mut renamed = header.clone();
            let entries = renamed.as_object_mut().expect("an object");
            let entry = entries.remove(&name).expect("its own name");
            entries.insert(format!("{name}.x"), entry);
            add(
                format!("without {name}.safetensors"),
                sealed(&renamed.to_string(), values.to_vec()),
            );
        }
        let mut reshaped = header.clone();
        reshaped[&name]["shape"].as_array_mut().expect("an array").insert(0, 1.into());
        add(
            format!("{name} with another axis.safetensors"),
            sealed(&reshaped.to_string(), values.to_vec()),
        );
        let start = header[&name]["data_offsets"][0].as_u64().expect("a number") as usize;
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = values.to_vec();
            values[start..start + 4].copy_from_slice(&value.to_le_bytes());
            add(format!("{name} with {value}.safetensors"), sealed(&header.to_string(), values));
        }
    }
    // Finite each, and infinite together.
    let mut large = values.to_vec();
    for name in ["rnn.bias_ih_l0", "rnn.bias_hh_l0"] {
        let start = header[name]["data_offsets"][0].as_u64().expect("a number") as usize;
        large[start..start + 4].copy_from_slice(&f32::MAX.to_le_bytes());
    }
    add("biases beyond all numbers.safetensors".into(), sealed(&header.to_string(), large));
}

/// A file with this header and so many zeros behind it.
fn with_header(header: &str, n_zeros: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; n_zeros]].concat()
}

/// The header with blanks behind it, as long as `len`.
fn pad_header(file: &[u8], len: usize) -> Vec<u8> {
    let mut header = file[8..].to_vec();
    header.resize(len, b' ');
    [&(len as u64).to_le_bytes()[..], &header].concat()
}

/// A header of one tensor.
fn entry_of(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}}}"#)
}

/// The header of a good file, and its values.
fn parts_of(good: &[u8]) -> (Value, Vec<u8>) {
    let (len, rest) = good.split_first_chunk().expect("a length");
    let (header, values) = rest.split_at(u64::from_le_bytes(*len) as usize);
    (serde_json::from_slice(header).expect("JSON"), values.to_vec())
}

fn ours_of(header: &Value) -> serde_json::Map<String, Value> {
    let text = header["__metadata__"]["char-rnn"].as_str().expect("our metadata");
    serde_json::from_str(text).expect("JSON")
}

/// The file, with its digest put right where it has one.
fn sealed(header: &str, values: Vec<u8>) -> Vec<u8> {
    let mut bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values].concat();
    seal(&mut bytes);
    bytes
}
