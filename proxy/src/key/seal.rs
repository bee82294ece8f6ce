//! Owns the seal of a key: an HMAC of its hash with a pepper that stands outside
//! of the store. Who can write to the database, and has no pepper, can put no key
//! in that works. Pure. `hash_version` 2 in the store.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Key, KeyHash, hash::bytes_from_hex};
use crate::secret::Secret;

/// As many random characters as make a guess hopeless, even of hexadecimal digits.
const PEPPER_CHARACTERS_MIN: usize = 32;

/// So that a seal is nothing but a seal, also where the pepper is used elsewhere.
const PURPOSE: &[u8] = b"llm-proxy key seal\n";

/// What a key is sealed with.
#[derive(Clone, Copy)]
pub(crate) struct Seal([u8; 32]);

impl Seal {
    /// Reads 64 hexadecimal digits, as `Display` writes them.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        bytes_from_hex(text).map(Self)
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// The gateway's peppers, and what becomes of keys without a seal. Without a
/// pepper nothing is sealed and every seal is as good as none.
#[derive(Clone, Default)]
pub(crate) struct Seals {
    /// The first seals; all of them verify.
    peppers: Vec<Hmac<Sha256>>,
    refuses_unsealed: bool,
}

/// Why these are no peppers. The text goes to the operator as it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "LLM_PROXY_KEY_PEPPER needs at least {PEPPER_CHARACTERS_MIN} random characters on each of its lines"
)]
pub(crate) struct WeakPepper;

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seals")
    }
}

impl Seals {
    /// One pepper a line: the first one seals, so that a new one is put before
    /// those that keys are sealed with.
    pub(crate) fn parse(text: &Secret, refuses_unsealed: bool) -> Result<Self, WeakPepper> {
        let pepper = |line: &str| {
            let is_long = line.chars().count() >= PEPPER_CHARACTERS_MIN;
            let made = Hmac::new_from_slice(line.as_bytes()).ok();
            made.filter(|_| is_long).ok_or(WeakPepper)
        };
        let lines = text.expose().lines().map(str::trim);
        let peppers = lines.filter(|line| !line.is_empty()).map(pepper);
        let peppers = peppers.collect::<Result<Vec<_>, _>>()?;
        if peppers.is_empty() {
            return Err(WeakPepper);
        }
        Ok(Self {
            peppers,
            refuses_unsealed,
        })
    }

    /// Seals the key's value; one that was replaced keeps the seal that it has.
    pub(crate) fn seal(&self, key: &mut Key) {
        if let Some(pepper) = self.peppers.first() {
            let seal = of(pepper, key.hash).finalize().into_bytes();
            key.seal = Some(Seal(seal.into()));
        }
    }

    /// Whether a key that was found by this value may be believed.
    pub(crate) fn admit(&self, value: KeyHash, key: &Key) -> bool {
        let fits = |seal: Seal, pepper: &Hmac<Sha256>| of(pepper, value).verify_slice(&seal.0);
        match key.seal {
            _ if self.peppers.is_empty() => true,
            Some(seal) => self.peppers.iter().any(|one| fits(seal, one).is_ok()),
            None => !self.refuses_unsealed,
        }
    }
}

fn of(pepper: &Hmac<Sha256>, hash: KeyHash) -> Hmac<Sha256> {
    let mut mac = pepper.clone();
    mac.update(PURPOSE);
    mac.update(hash.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::{Seal, Seals};
    use crate::{key::fixture, secret::Secret};

    const FIRST: &str = "0123456789abcdef0123456789abcdef";
    const SECOND: &str = "fedcba9876543210fedcba9876543210";

    fn seals(text: &str, refuses_unsealed: bool) -> Seals {
        Seals::parse(&Secret::new(text.to_owned()), refuses_unsealed).unwrap()
    }

    #[test]
    fn a_seal_fits_its_value_and_its_pepper_alone() {
        let (mut key, other) = (fixture("sk-one"), fixture("sk-other"));
        let (first, second) = (seals(FIRST, true), seals(SECOND, true));
        assert!(!first.admit(key.hash, &key), "it has no seal");
        first.seal(&mut key);
        let written = key.seal.unwrap().to_string();
        assert_eq!(written.len(), 64);
        key.seal = Seal::from_hex(&written);
        assert!(first.admit(key.hash, &key));
        assert!(!first.admit(other.hash, &key), "a seal of another value");
        assert!(!second.admit(key.hash, &key), "a seal of another pepper");
        let both = seals(&format!("{SECOND}\n\n{FIRST}\n"), true);
        assert!(both.admit(key.hash, &key), "while peppers change");
        both.seal(&mut key);
        assert!(second.admit(key.hash, &key), "the first line seals");
        assert!(Seals::default().admit(other.hash, &key), "no pepper");
    }

    #[test]
    fn keys_without_a_seal_are_good_until_they_are_refused() {
        let key = fixture("sk-one");
        assert!(seals(FIRST, false).admit(key.hash, &key));
        assert!(!seals(FIRST, true).admit(key.hash, &key));
    }

    #[test]
    fn peppers_that_can_be_guessed_are_refused() {
        for text in ["", "\n", "short", &FIRST[1..], &format!("{FIRST}\nshort")] {
            assert!(Seals::parse(&Secret::new(text.to_owned()), false).is_err());
        }
        assert_eq!(format!("{:?}", seals(FIRST, true)), "Seals");
    }
}
