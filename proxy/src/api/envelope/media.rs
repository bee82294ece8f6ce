//! Counts the parts of a prompt that are no text, in one pass over the messages.
//!
//! It owns that count and nothing else: whatever else a message holds is the
//! provider's to judge. Every `content` and every `type` counts, because two
//! readers could disagree on which of two equal names does.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::fields::Text;

/// In a list of messages.
pub(super) struct Media(pub(super) u64);

impl<'de> Deserialize<'de> for Media {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Messages).map(Self)
    }
}

struct Messages;

impl<'de> Visitor<'de> for Messages {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut messages: A) -> Result<u64, A::Error> {
        let mut count = 0_u64;
        while let Some(In::<{ MESSAGE }>(media)) = messages.next_element()? {
            count = count.saturating_add(media);
        }
        Ok(count)
    }
}

/// In a value at this place.
struct In<const PLACE: u8>(u64);

const MESSAGE: u8 = 0;
const CONTENT: u8 = 1;
const PART: u8 = 2;
/// One that is not `text`.
const KIND: u8 = 3;

impl<'de, const PLACE: u8> Deserialize<'de> for In<PLACE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Place::<PLACE>).map(Self)
    }
}

struct Place<const PLACE: u8>;

impl<'de, const PLACE: u8> Visitor<'de> for Place<PLACE> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let (mut media, mut kinds, mut others) = (0_u64, 0_u64, 0_u64);
        while let Some(Text(name)) = map.next_key()? {
            match (PLACE, name.as_ref()) {
                (MESSAGE, "content") => {
                    let In(found) = map.next_value::<In<CONTENT>>()?;
                    media = media.saturating_add(found);
                }
                (PART, "type") => {
                    let In(is_other) = map.next_value::<In<KIND>>()?;
                    kinds += 1;
                    others += is_other;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(match PLACE {
            PART => u64::from(kinds == 0 || others > 0),
            KIND => 1,
            _ => media,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
        let mut media = 0_u64;
        if PLACE == CONTENT {
            while let Some(In::<{ PART }>(found)) = list.next_element()? {
                media = media.saturating_add(found);
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(media.max(u64::from(PLACE == KIND)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        Ok(u64::from(PLACE == KIND && text != "text"))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<u64, E> {
        Ok(u64::from(PLACE == KIND))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<u64, E> {
        Ok(u64::from(PLACE == KIND))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<u64, E> {
        Ok(u64::from(PLACE == KIND))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<u64, E> {
        Ok(u64::from(PLACE == KIND))
    }

    fn visit_unit<E: de::Error>(self) -> Result<u64, E> {
        Ok(u64::from(PLACE == KIND))
    }
}
