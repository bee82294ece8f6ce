//! Input into typed values, as Vault's framework does it.
//!
//! Owns the one entry point and the value type. Pure. The rules for each family
//! live below: `scalar`, `duration`, `collection`. No error quotes the input.

mod collection;
mod duration;
mod scalar;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};

use crate::{FieldType, Map, Value};

/// A coerced value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldValue {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Duration(Duration),
    SignedSeconds(i64),
    Time(DateTime<Utc>),
    Map(Map<String, Value>),
    Pairs(BTreeMap<String, String>),
    Values(Vec<Value>),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Headers(BTreeMap<String, Vec<String>>),
}

/// Why input does not fit; reads after "field X ".
pub(crate) type Mismatch = &'static str;

/// Coerces `input`. JSON's null counts as "not given" and gives `None`.
pub(crate) fn coerce(kind: FieldType, input: &Value) -> Result<Option<FieldValue>, Mismatch> {
    if input.is_null() {
        return Ok(None);
    }
    let value = match kind {
        FieldType::String => FieldValue::Text(scalar::text(input)?),
        FieldType::LowerCaseString => FieldValue::Text(scalar::text(input)?.to_lowercase()),
        FieldType::NameString => FieldValue::Text(scalar::name(input)?),
        FieldType::Int | FieldType::Int64 => FieldValue::Int(scalar::int(input)?),
        FieldType::Float => FieldValue::Float(scalar::float(input)?),
        FieldType::Bool => FieldValue::Bool(scalar::boolean(input)?),
        FieldType::DurationSecond => FieldValue::Duration(duration::unsigned(input)?),
        FieldType::SignedDurationSecond => FieldValue::SignedSeconds(duration::seconds(input)?),
        FieldType::Time => FieldValue::Time(duration::time(input)?),
        FieldType::Map => FieldValue::Map(collection::map(input)?),
        FieldType::KVPairs => FieldValue::Pairs(collection::pairs(input)?),
        FieldType::Slice => FieldValue::Values(collection::values(input)),
        FieldType::StringSlice => FieldValue::Texts(collection::texts(input, None)?),
        FieldType::CommaStringSlice => FieldValue::Texts(collection::texts(input, Some(','))?),
        FieldType::CommaIntSlice => FieldValue::Ints(collection::ints(input)?),
        FieldType::Header => FieldValue::Headers(collection::headers(input)?),
    };
    Ok(Some(value))
}
