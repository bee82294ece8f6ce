//! Any JSON into a field of any type.

use serde_json::json;

use crate::{
    FieldType, Value,
    framework::coerce::{FieldValue, coerce},
};

const TYPES: [FieldType; 17] = [
    FieldType::String,
    FieldType::LowerCaseString,
    FieldType::NameString,
    FieldType::Int,
    FieldType::Int64,
    FieldType::Float,
    FieldType::Bool,
    FieldType::DurationSecond,
    FieldType::SignedDurationSecond,
    FieldType::Time,
    FieldType::Map,
    FieldType::KVPairs,
    FieldType::Slice,
    FieldType::StringSlice,
    FieldType::CommaStringSlice,
    FieldType::CommaIntSlice,
    FieldType::Header,
];

/// The first byte chooses the type; the rest is JSON, or else text. A coerced
/// value, given as input again, is coerced into itself.
pub fn field_coercion(input: &[u8]) {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let kind = TYPES[usize::from(choice) % TYPES.len()];
    let value = serde_json::from_slice(rest)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(rest).into_owned()));
    let Ok(Some(coerced)) = coerce(kind, &value) else {
        return;
    };
    if let Some(again) = as_input(&coerced) {
        assert_eq!(coerce(kind, &again), Ok(Some(coerced)), "{kind:?}");
    }
}

/// `None` where JSON has no such value.
fn as_input(value: &FieldValue) -> Option<Value> {
    Some(match value {
        FieldValue::Text(text) => json!(text),
        FieldValue::Int(number) | FieldValue::SignedSeconds(number) => json!(number),
        FieldValue::Float(number) if number.is_finite() => json!(number),
        FieldValue::Float(_) => return None,
        FieldValue::Bool(flag) => json!(flag),
        FieldValue::Duration(span) => json!(span.as_secs()),
        // Text reaches to the year 9999 alone, but that has no fraction.
        FieldValue::Time(time) if time.timestamp_subsec_nanos() == 0 => {
            json!(time.timestamp().to_string())
        }
        FieldValue::Time(time) => json!(time.to_rfc3339()),
        FieldValue::Map(map) => json!(map),
        FieldValue::Pairs(pairs) => json!(pairs),
        FieldValue::Values(values) => json!(values),
        FieldValue::Texts(texts) => json!(texts),
        FieldValue::Ints(numbers) => json!(numbers),
        FieldValue::Headers(headers) => json!(headers),
    })
}
