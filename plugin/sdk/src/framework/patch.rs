//! A JSON merge patch over what is stored.
//!
//! Owns the way from a request's fields to the patched resource. Vault: only
//! declared fields count, coerced; then the rules of RFC 7396: null removes,
//! objects merge, all else replaces.

use std::time::Duration;

use chrono::SecondsFormat;
use serde::{Serialize, de::DeserializeOwned};

use super::{coerce::FieldValue, data::FieldData};
use crate::{Error, Map, Value};

impl FieldData {
    /// `resource` with the request's body merged onto it. What stands in the
    /// path names the resource and does not change it. Durations become seconds.
    #[must_use]
    pub fn merge_patch(&self, resource: Map<String, Value>) -> Map<String, Value> {
        let mut patched = resource;
        for (name, raw) in self.body() {
            // Removing is asked for in so many words, also inside of an object.
            let patch = match self.coerced(name) {
                Some(value) if !raw.is_null() => json(value),
                _ => Value::Null,
            };
            merge_key(&mut patched, name, patch);
        }
        patched
    }

    /// The stored entry with the request's body merged onto it, for an entry
    /// whose stored names are those of the fields.
    ///
    /// # Errors
    /// [`Error::User`] where the result is no entry any more, for example because
    /// the patch removes what has no default.
    pub fn patched<T: Serialize + DeserializeOwned>(&self, stored: &T) -> Result<T, Error> {
        let Ok(Value::Object(stored)) = serde_json::to_value(stored) else {
            return Err(Error::internal("only an entry with names can be patched"));
        };
        // The decoder's message can quote the value, which may be a secret.
        serde_json::from_value(self.merge_patch(stored).into()).map_err(|_| {
            Error::user("the patch leaves no complete entry: null removes a field, and one of the removed fields must stay")
        })
    }
}

fn merge_key(target: &mut Map<String, Value>, name: &str, patch: Value) {
    match patch {
        Value::Null => {
            target.remove(name);
        }
        Value::Object(patch) => {
            let slot = target.entry(name).or_insert(Value::Null);
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(slot) = slot {
                for (name, patch) in patch {
                    merge_key(slot, &name, patch);
                }
            }
        }
        other => {
            target.insert(name.to_owned(), other);
        }
    }
}

fn json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Text(text) => text.as_str().into(),
        FieldValue::Int(number) | FieldValue::SignedSeconds(number) => (*number).into(),
        FieldValue::Float(number) => (*number).into(),
        FieldValue::Bool(flag) => (*flag).into(),
        FieldValue::Duration(duration) => Duration::as_secs(duration).into(),
        FieldValue::Time(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true).into(),
        FieldValue::Map(map) => map.clone().into(),
        FieldValue::Pairs(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect::<Map<_, _>>()
            .into(),
        FieldValue::Values(values) => values.clone().into(),
        FieldValue::Texts(texts) => texts.clone().into(),
        FieldValue::Ints(ints) => ints.clone().into(),
        FieldValue::Headers(headers) => headers
            .iter()
            .map(|(key, values)| (key.clone(), values.clone().into()))
            .collect::<Map<_, _>>()
            .into(),
    }
}

#[cfg(test)]
mod tests;
