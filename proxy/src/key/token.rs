//! Owns `Token`: a key as a caller presents it, parsed once at the edge. Our
//! own keys are `sk-llp_`, 30 random base62 characters and a CRC-32 in 6 more;
//! such a text with a wrong checksum is refused without asking the store. Pure but
//! for the random numbers of `generate`. Called by authentication and `/key/generate`.
//!
//! THE PREFIX MUST NEVER CHANGE: secret scanners find leaked keys by it.

use std::fmt;

use rand::{TryRng as _, rngs::SysRng};

use super::KeyHash;
use crate::secret::Secret;

const PREFIX: &str = "sk-llp_";
const RANDOM_CHARACTERS: usize = 30;
const CHECKSUM_CHARACTERS: usize = 6;
const LENGTH: usize = PREFIX.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;
/// Far above any provider's key; a longer one is not worth hashing.
const LENGTH_MAX: usize = 512;
/// Of a key that a caller chose, after the prefix.
const LENGTH_STRONG: usize = 22;
/// Of 22 random characters there are fewer once in ten thousand times at most, of
/// 22 random hexadecimal digits once in a hundred.
const SURPRISING_MIN: usize = 13;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A well-formed key. It may be unknown to the store.
#[derive(Clone)]
pub(crate) struct Token(Secret);

/// Why a text cannot be a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// LiteLLM: every virtual key starts with `sk-`.
    #[error("a key starts with 'sk-'")]
    Prefix,
    #[error("the key's checksum does not fit: it is mistyped or was never issued")]
    Checksum,
    #[error("the key has an impossible length or character")]
    Shape,
    #[error("reading random numbers from the operating system")]
    Random,
}

impl Token {
    /// A key that somebody chose: what begins as ours do is one of ours, or none.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        Self::check(text)?;
        match text.starts_with(PREFIX) && !has_checksum(text) {
            true => Err(TokenError::Checksum),
            false => Ok(Self(Secret::new(text.to_owned()))),
        }
    }

    /// Whether it can be a key. Any but one of ours may be another's that was
    /// imported, also where its random characters begin as ours do.
    pub(crate) fn check(text: &str) -> Result<(), TokenError> {
        if !text.starts_with("sk-") {
            return Err(TokenError::Prefix);
        }
        if text.len() > LENGTH_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Shape);
        }
        match is_ours(text) && !has_checksum(text) {
            true => Err(TokenError::Checksum),
            false => Ok(()),
        }
    }

    /// Whether it is a key that a gateway like this one has generated.
    pub(crate) fn is_issued(text: &str) -> bool {
        is_ours(text) && has_checksum(text)
    }

    /// A new key from the operating system's random numbers (178 bits).
    pub(crate) fn generate() -> Result<Self, TokenError> {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        let mut block = [0_u8; 64];
        while text.len() < LENGTH - CHECKSUM_CHARACTERS {
            SysRng
                .try_fill_bytes(&mut block)
                .map_err(|_| TokenError::Random)?;
            // 248 = 4 × 62: a byte above it would make some characters likelier.
            for byte in block.iter().filter(|byte| **byte < 248) {
                if text.len() < LENGTH - CHECKSUM_CHARACTERS {
                    text.push(char::from(BASE62[usize::from(*byte) % 62]));
                }
            }
        }
        let sum = checksum(&text);
        text.extend(sum.iter().copied().map(char::from));
        Ok(Self(Secret::new(text)))
    }

    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash::of(self.0.expose())
    }

    /// LiteLLM: `sk-...` and the last four characters.
    pub(crate) fn masked(&self) -> String {
        let text = self.0.expose();
        let tail = text.get(text.len().saturating_sub(4)..).unwrap_or_default();
        format!("sk-...{tail}")
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether a key that a caller chose looks hard to guess: 22 characters after
    /// the prefix, as many as LiteLLM's own, of at least ten kinds, and most of
    /// them no repetition or continuation of what stands before them.
    pub(crate) fn is_strong(&self) -> bool {
        let body = self.0.expose().trim_start_matches("sk-").as_bytes();
        let mut kinds = body.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        body.len() >= LENGTH_STRONG && kinds.len() >= 10 && surprising(body) >= SURPRISING_MIN
    }
}

/// How many characters neither count on from the one before, up or down, nor
/// end three that stood together before.
fn surprising(body: &[u8]) -> usize {
    let is_surprising = |at: &usize| {
        let (seen, next) = body.split_at(*at);
        let last = seen.last().copied().unwrap_or_default();
        let counts_on = next.first().is_some_and(|next| next.abs_diff(last) <= 1);
        let three = body.get(at.saturating_sub(2)..=*at).unwrap_or_default();
        let is_repeated = three.len() == 3 && seen.windows(3).any(|earlier| earlier == three);
        !counts_on && !is_repeated
    };
    (1..body.len()).filter(is_surprising).count()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Of the form of our keys, whatever the checksum is.
fn is_ours(text: &str) -> bool {
    let rest = text.strip_prefix(PREFIX).unwrap_or_default().as_bytes();
    rest.len() == LENGTH - PREFIX.len() && rest.iter().all(u8::is_ascii_alphanumeric)
}

fn has_checksum(text: &str) -> bool {
    let parts = text.split_at_checked(LENGTH - CHECKSUM_CHARACTERS);
    parts.is_some_and(|(body, sum)| checksum(body).as_slice() == sum.as_bytes())
}

/// CRC-32 of what precedes it, in base62, most significant digit first.
fn checksum(body: &str) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::{LENGTH, Token, TokenError};

    #[test]
    fn a_generated_key_parses_and_no_two_are_alike() {
        let first = Token::generate().unwrap();
        let second = Token::generate().unwrap();
        assert_eq!(first.expose().len(), LENGTH);
        assert!(first.expose().starts_with("sk-llp_"));
        assert_eq!(Token::parse(first.expose()).unwrap().hash(), first.hash());
        assert_ne!(first.hash(), second.hash());
        assert!(first.is_strong());
        assert_eq!(format!("{first:?}"), "Token");
    }

    #[test]
    fn identity_depends_on_every_character() {
        let text = Token::generate().unwrap().expose().to_owned();
        for at in 7..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                Token::parse(&changed).unwrap_err(),
                TokenError::Checksum,
                "{at}"
            );
        }
        for cut in 7..text.len() {
            assert_eq!(
                Token::parse(&text[..cut]).unwrap_err(),
                TokenError::Checksum
            );
        }
    }

    #[test]
    fn one_of_ours_with_another_checksum_is_no_key_and_a_foreign_one_like_it_may_be() {
        let ours = Token::generate().unwrap().expose().to_owned();
        assert_eq!(Token::check(&ours), Ok(()));
        let last = if ours.ends_with('x') { "y" } else { "x" };
        let mistyped = format!("{}{last}", &ours[..LENGTH - 1]);
        assert_eq!(Token::check(&mistyped), Err(TokenError::Checksum));
        for foreign in [
            "sk-llp_QJ7ZAaPj16abR07Bq",
            "sk-llp_QJ7ZAaPj16abR07BqixA7AQJ7ZAaPj16-abR0",
        ] {
            assert_eq!(Token::check(foreign), Ok(()), "{foreign}");
            assert_eq!(Token::parse(foreign).unwrap_err(), TokenError::Checksum);
        }
    }

    #[test]
    fn foreign_keys_are_accepted_and_rubbish_is_not() {
        assert!(Token::parse("sk-QJ7ZAaPj16abR07BqixA7A").is_ok());
        assert_eq!(Token::parse("").unwrap_err(), TokenError::Prefix);
        assert_eq!(
            Token::parse(&"a".repeat(64)).unwrap_err(),
            TokenError::Prefix
        );
        assert_eq!(Token::parse("sk-a b").unwrap_err(), TokenError::Shape);
        assert_eq!(
            Token::parse(&format!("sk-{}", "a".repeat(600))).unwrap_err(),
            TokenError::Shape
        );
    }

    #[test]
    fn weak_chosen_keys_are_told_from_strong_ones() {
        for (key, strong) in [
            ("sk-1234567890123456", false),
            ("sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("sk-abcdefghijklmnopqrstuvwxyz0123456789", false),
            ("sk-zyxwvutsrqponmlkjihgfedcba9876543210", false),
            ("sk-tiger-17-tiger-17-tiger-17-tiger-17", false),
            ("sk-1a2b3c4d5e1a2b3c4d5e1a2b3c4d5e", false),
            ("sk-QJ7ZAaPj16abR07BqixA7A", true),
            ("sk-mUIljRWh571-nJJoytNfnQ", true),
            ("sk-5f2b8c0a9d7e4613c2f80b5a7e9d1364", true),
        ] {
            assert_eq!(Token::parse(key).unwrap().is_strong(), strong, "{key}");
        }
    }
}
