//! Objects, pairs, lists and headers.
//!
//! Owns how one value becomes a list, and where text is split.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Mismatch, scalar};
use crate::{Map, Value};

/// More than Vault's framework takes: also an object's JSON text, because a
/// command line can't send anything else.
pub(super) fn map(input: &Value) -> Result<Map<String, Value>, Mismatch> {
    const WRONG: Mismatch = "must be an object, or the JSON text of one";
    match input {
        Value::Object(map) => Ok(map.clone()),
        Value::Array(items) if items.is_empty() => Ok(Map::new()),
        Value::String(text) if text.is_empty() => Ok(Map::new()),
        Value::String(text) => serde_json::from_str(text).map_err(|_| WRONG),
        _ => Err(WRONG),
    }
}

pub(super) fn pairs(input: &Value) -> Result<BTreeMap<String, String>, Mismatch> {
    const WRONG: Mismatch = "must be an object of texts, or a list of key=value";
    if let Value::Object(map) = input {
        return map
            .iter()
            .map(|(key, value)| Ok((key.clone(), scalar::text(value).map_err(|_| WRONG)?)))
            .collect();
    }
    let mut pairs = BTreeMap::new();
    for item in items(input, None).map_err(|_| WRONG)? {
        let (key, value) = item.split_once('=').ok_or(WRONG)?;
        if key.is_empty() {
            return Err(WRONG);
        }
        pairs.insert(key.to_owned(), value.to_owned());
    }
    Ok(pairs)
}

/// Vault: a lone value is wrapped, empty text too; an empty object is no value.
pub(super) fn values(input: &Value) -> Vec<Value> {
    match input {
        Value::Array(items) => items.clone(),
        Value::Object(map) if map.is_empty() => Vec::new(),
        other => vec![other.clone()],
    }
}

/// Vault: items are trimmed and empty items are kept; only a lone text is split.
pub(super) fn texts(input: &Value, separator: Option<char>) -> Result<Vec<String>, Mismatch> {
    let items = items(input, separator)?;
    Ok(items.iter().map(|item| item.trim().to_owned()).collect())
}

fn items(input: &Value, separator: Option<char>) -> Result<Vec<String>, Mismatch> {
    const WRONG: Mismatch = "must be a list of texts";
    match input {
        Value::Array(items) => items
            .iter()
            .map(scalar::text)
            .collect::<Result<_, _>>()
            .map_err(|_| WRONG),
        Value::Object(_) => Err(WRONG),
        single => {
            let text = scalar::text(single)?;
            Ok(match separator {
                _ if text.is_empty() => Vec::new(),
                Some(separator) => text.split(separator).map(str::to_owned).collect(),
                None => vec![text],
            })
        }
    }
}

pub(super) fn ints(input: &Value) -> Result<Vec<i64>, Mismatch> {
    const WRONG: Mismatch = "must be a list of whole numbers";
    let items = match input {
        Value::Array(items) => items.iter().map(scalar::int).collect(),
        single => texts(single, Some(',')).and_then(|items| {
            let items = items.into_iter();
            items.map(|item| scalar::int(&item.into())).collect()
        }),
    };
    items.map_err(|_| WRONG)
}

/// Vault: an object, JSON text of one (also in base64), or a list of `key:value`.
pub(super) fn headers(input: &Value) -> Result<BTreeMap<String, Vec<String>>, Mismatch> {
    const WRONG: Mismatch = "must be headers: an object, or a list of key:value";
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    if let Some(map) = header_object(input) {
        for (key, value) in map {
            let values = texts(&value, None).map_err(|_| WRONG)?;
            headers.entry(canonical(&key)).or_default().extend(values);
        }
        return Ok(headers);
    }
    for item in texts(input, None).map_err(|_| WRONG)? {
        let (key, value) = item.split_once(':').ok_or(WRONG)?;
        if key.is_empty() {
            return Err(WRONG);
        }
        headers
            .entry(canonical(key.trim()))
            .or_default()
            .push(value.trim().to_owned());
    }
    Ok(headers)
}

fn header_object(input: &Value) -> Option<Map<String, Value>> {
    match input {
        Value::Object(map) => Some(map.clone()),
        Value::String(text) => serde_json::from_str(text).ok().or_else(|| {
            let bytes = STANDARD.decode(text).ok()?;
            serde_json::from_slice(&bytes).ok()
        }),
        _ => None,
    }
}

/// Go: each word between dashes starts with a capital; what cannot be the name
/// of a header stays as it is.
fn canonical(key: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !key.chars().all(allowed) {
        return key.to_owned();
    }
    let mut capital = true;
    key.chars()
        .map(|c| {
            let out = if capital {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            };
            capital = c == '-';
            out
        })
        .collect()
}
