//! Owns `KeyHash`, the public identity of a key: the SHA-256 of its whole
//! text. The store, the cache, the ledger and the admin API know keys only by
//! it. A hash is never a credential.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use sha2::{Digest as _, Sha256};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Alone, `hash_version` 1 in the store; with a seal, 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    /// LiteLLM: the unsalted SHA-256 of the whole key, prefix included.
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits, as `Display` writes them.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        bytes_from_hex(text).map(Self)
    }

    /// LiteLLM: where a key is accepted as a parameter, a value that starts
    /// with `sk-` is hashed and anything else must be the hash.
    pub(crate) fn from_key_or_hash(text: &str) -> Option<Self> {
        if text.starts_with("sk-") {
            Some(Self::of(text))
        } else {
            Self::from_hex(text)
        }
    }

    /// As [`KeyHash::as_bytes`] gave them.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

pub(super) fn bytes_from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Maps put it in a place by its first bytes, which tell keys apart as well as all
/// of them do, in a third of the time.
impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(start) = self.0.first_chunk() {
            state.write_u64(u64::from_le_bytes(*start));
        }
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every call writes it, and formatting byte by byte is slow.
        let mut digits = [0_u8; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::KeyHash;

    #[test]
    fn hash_is_the_one_litellm_shows() {
        // Recorded: the key of the fixture and its `token`.
        let hash = KeyHash::of("sk-QJ7ZAaPj16abR07BqixA7A");
        let hex = "35ad7facc8064402aab409a782ade3365fc13ced52faad3ed5cde0f90562ffa9";
        assert_eq!(hash.to_string(), hex);
        assert_eq!(KeyHash::from_hex(hex), Some(hash));
        assert_eq!(KeyHash::from_hex(&hex.to_uppercase()), Some(hash));
    }

    #[test]
    fn only_whole_hashes_are_read() {
        for bad in [
            "",
            "ab",
            &"g".repeat(64),
            &"a".repeat(63),
            &"a".repeat(65),
            &"é".repeat(32),
        ] {
            assert_eq!(KeyHash::from_hex(bad), None, "{bad}");
        }
        assert_eq!(KeyHash::from_key_or_hash("key-without-prefix"), None);
    }
}
