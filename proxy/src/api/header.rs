//! Owns how something short becomes the value of a header. Each answer has a dozen,
//! and most are numbers.

use std::fmt::{Display, Write as _};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};
use itoa::Buffer;
use uuid::Uuid;

/// All that an answer usually tells.
const BYTES_USUAL: usize = 160;

/// The values of one answer. They stand in one piece of memory one behind another,
/// because a piece for each would cost more than what is in it.
#[derive(Debug)]
pub(super) struct Values(BytesMut);

impl Values {
    pub(super) fn new() -> Self {
        Self(BytesMut::with_capacity(BYTES_USUAL))
    }

    pub(super) fn number(&mut self, shown: u64) -> Option<HeaderValue> {
        let mut digits = Buffer::new();
        self.0.extend_from_slice(digits.format(shown).as_bytes());
        self.made()
    }

    /// None for what can be in no header.
    pub(super) fn text(&mut self, shown: impl Display) -> Option<HeaderValue> {
        let written = write!(self.0, "{shown}");
        self.made().filter(|_| written.is_ok())
    }

    /// Of what has been written since the last one.
    fn made(&mut self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.split().freeze()).ok()
    }
}

pub(super) fn id(shown: Uuid) -> Option<HeaderValue> {
    let mut buffer = Uuid::encode_buffer();
    HeaderValue::from_str(shown.hyphenated().encode_lower(&mut buffer)).ok()
}

/// Nothing where there is no value.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_USUAL, Uuid, Values, id};

    #[test]
    fn a_number_is_its_digits() {
        let mut values = Values::new();
        let all = [0, 9, 10, 5_000, u64::MAX].map(|shown| (shown, values.number(shown)));
        for (shown, value) in all {
            assert_eq!(value.unwrap(), shown.to_string().as_str());
        }
    }

    #[test]
    fn an_id_is_its_text() {
        let shown = Uuid::from_u128(0x0A1B << 64);
        assert_eq!(id(shown).unwrap(), shown.to_string().as_str());
    }

    #[test]
    fn a_value_is_its_text_whatever_stands_before_it() {
        let mut values = Values::new();
        let long = "x".repeat(BYTES_USUAL + 1);
        let all = [
            ("", Some("")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("a\nb", None),
            (&long, Some(&*long)),
            ("c", Some("c")),
        ]
        .map(|(shown, expected)| (values.text(shown), expected));
        for (found, expected) in &all {
            let found = found.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, *expected);
        }
    }
}
