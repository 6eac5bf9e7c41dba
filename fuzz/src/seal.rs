//! What somebody does who changes a checkpoint and knows how its digest is taken.

/// Puts the digest of a file right, as somebody who knows how it is taken can.
/// It stands last among those in the metadata.
pub fn seal(bytes: &mut [u8]) {
    const KEY: &[u8] = br#"\"digest\":\""#;
    const LEN: usize = 64;
    let Some(place) = bytes.windows(KEY.len()).rposition(|window| window == KEY) else { return };
    let Some(digits) = bytes.get_mut(place + KEY.len()..place + KEY.len() + LEN) else { return };
    digits.fill(b'0');
    let digest = blake3::hash(bytes).to_hex();
    bytes[place + KEY.len()..][..LEN].copy_from_slice(digest.as_bytes());
}
