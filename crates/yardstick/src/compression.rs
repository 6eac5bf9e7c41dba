//! What compression makes of a text.

use lzma_rust2::{LzmaOptions, LzmaWriter};

/// The least dictionary that the encoder takes.
const MIN_DICTIONARY: usize = 4096;

/// What LZMA, the method of `xz` and 7-Zip, adds for `held_out` behind `train`, in nats: the size of
/// both together less that of `train` alone, as `xz -9` makes them but for their headers.
///
/// The dictionary holds all of it, so memory is twelve times the bytes of both.
pub fn xz(train: &[u8], held_out: &[u8]) -> f64 {
    let added = compressed_len(&[train, held_out]) - compressed_len(&[train]);
    added as f64 * 8.0 * std::f64::consts::LN_2
}

fn compressed_len(parts: &[&[u8]]) -> i64 {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut options = LzmaOptions::with_preset(9);
    options.dict_size = u32::try_from(len.max(MIN_DICTIONARY)).unwrap_or(options.dict_size);
    let write = || {
        let mut writer = LzmaWriter::new_no_header(Counter(0), &options, false)?;
        parts.iter().try_for_each(|part| std::io::Write::write_all(&mut writer, part))?;
        writer.finish()
    };
    let counter: std::io::Result<Counter> = write();
    counter.expect("counting takes any number of bytes").0
}

/// Counts what is written to it.
struct Counter(i64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as i64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without a pattern (Knuth's linear congruential generator, upper bits).
    fn noise(n: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn what_was_there_before_costs_next_to_nothing_and_noise_costs_itself() {
        let noise = noise(40_000);
        let (train, new) = noise.split_at(30_000);
        let per_byte = |held_out: &[u8]| xz(train, held_out) / held_out.len() as f64;
        let all = libm::log(256.0);
        assert!((all..1.02 * all).contains(&per_byte(new)), "{} of {all}", per_byte(new));
        // From the very start of the training text, 30 000 bytes back.
        let copied = per_byte(&train[..5000]);
        assert!(0.0 < copied && copied < 0.05, "{copied}");
    }

    #[test]
    fn texts_without_a_byte_are_compressed_too() {
        assert_eq!(xz(b"", b""), 0.0);
        assert_eq!(xz(b"some text", b""), 0.0);
        assert!(0.0 < xz(b"", b"some text"));
    }
}
