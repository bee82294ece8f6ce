//! Owns what clients keep with a key. No call reads it, and a map of one entry
//! takes more memory than all else of a key: here it is the text of it.

use serde_json::{Map, Value};

/// A JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata(Option<Box<str>>);

impl Metadata {
    /// None where the text is no object.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let entries: Map<String, Value> = serde_json::from_str(text).ok()?;
        Some(Self(Some(text.into()).filter(|_| !entries.is_empty())))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("{}")
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Its entries. The text was read before.
    pub(crate) fn entries(&self) -> Map<String, Value> {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }
}

impl From<&Map<String, Value>> for Metadata {
    fn from(entries: &Map<String, Value>) -> Self {
        let text = serde_json::to_string(entries).ok();
        Self(text.filter(|_| !entries.is_empty()).map(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Metadata;

    #[test]
    fn an_object_is_read_as_it_was_written() {
        for (text, is_empty) in [
            ("{}", true),
            (" { } ", true),
            (r#"{"a":[1,{"b":null}]}"#, false),
        ] {
            let read = Metadata::parse(text).unwrap();
            assert_eq!(read.is_empty(), is_empty, "{text}");
            assert_eq!(Metadata::from(&read.entries()), read, "{text}");
        }
        let read = Metadata::parse(r#"{ "a" : 1 }"#).unwrap();
        assert_eq!(json!(read.entries()), json!({"a": 1}));
        assert_eq!(Metadata::default().as_str(), "{}");
        for damaged in ["", "[]", "null", "{", "1"] {
            assert_eq!(Metadata::parse(damaged), None, "{damaged}");
        }
    }
}
