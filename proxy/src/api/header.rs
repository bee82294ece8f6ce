//! Owns how something short becomes the value of a header. Each answer has a dozen,
//! and most are numbers.

use std::fmt::Display;
use std::io::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use itoa::Buffer;
use uuid::Uuid;

/// An amount of dollars is shorter.
const BYTES_MAX: usize = 40;

pub(super) fn number(shown: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(Buffer::new().format(shown)).ok()
}

pub(super) fn id(shown: Uuid) -> Option<HeaderValue> {
    let mut buffer = Uuid::encode_buffer();
    HeaderValue::from_str(shown.hyphenated().encode_lower(&mut buffer)).ok()
}

/// None for what is longer than [`BYTES_MAX`], or can be in no header.
pub(super) fn value(shown: impl Display) -> Option<HeaderValue> {
    let mut buffer = [0; BYTES_MAX];
    let mut rest = &mut buffer[..];
    write!(rest, "{shown}").ok()?;
    let length = BYTES_MAX - rest.len();
    HeaderValue::from_bytes(&buffer[..length]).ok()
}

/// Nothing where there is no value.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{Uuid, id, number, value};

    #[test]
    fn a_number_is_its_digits() {
        for shown in [0, 9, 10, 5_000, u64::MAX] {
            assert_eq!(number(shown).unwrap(), shown.to_string().as_str());
        }
    }

    #[test]
    fn an_id_is_its_text() {
        let shown = Uuid::from_u128(0x0A1B << 64);
        assert_eq!(id(shown).unwrap(), shown.to_string().as_str());
    }

    #[test]
    fn what_fits_is_a_value() {
        for (shown, expected) in [
            ("", Some("")),
            ("18446744073709551615", Some("18446744073709551615")),
            (&"x".repeat(40), Some(&*"x".repeat(40))),
            (&"x".repeat(41), None),
            ("a\nb", None),
        ] {
            let found = value(shown);
            let found = found.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, expected);
        }
    }
}
