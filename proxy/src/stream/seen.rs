//! How much text a value of an answer holds, found without keeping any of it.
//!
//! It owns that count and nothing else. The meter bounds tokens by it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a value holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// The bytes of every text that a model can have written; the names of roles,
    /// kinds and calls are the provider's.
    pub(super) bytes: usize,
    /// It is a text itself.
    pub(super) is_text: bool,
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seen, E> {
        Ok(Seen {
            bytes: text.len(),
            is_text: true,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::default();
        while let Some(name) = map.next_key::<Name>()? {
            match name {
                Name::OfModel => seen.add(map.next_value()?),
                Name::OfProvider => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(seen)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::default();
        while let Some(item) = list.next_element()? {
            seen.add(item);
        }
        Ok(seen)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Seen, E> {
        Ok(Seen::default())
    }
}

impl Seen {
    fn add(&mut self, inner: Self) {
        self.bytes = self.bytes.saturating_add(inner.bytes);
    }
}

/// Whose words stand under a name.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Name {
    #[serde(rename = "role", alias = "type", alias = "id")]
    OfProvider,
    #[serde(other)]
    OfModel,
}
