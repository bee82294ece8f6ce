//! Reads the values that bodies of the admin API are made of, each by its name,
//! so that what is wrong with one is said in the same words everywhere.

use serde_json::{Map, Value};

use crate::{
    error::ApiError,
    key::Token,
    money::{MoneyError, NanoUsd},
};

/// Of `models`, `allowed_routes` and the like.
const LIST_BYTES_MAX: usize = 64 * 1024;
/// Of `metadata` and the like.
const OBJECT_BYTES_MAX: usize = 16 * 1024;

/// Far above any sensible name; keeps rows and log lines small.
pub(super) const NAME_CHARACTERS_MAX: usize = 255;

/// Whether a field is as good as not sent.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(super) fn invalid(kind: &str, name: &str, message: &str) -> ApiError {
    ApiError::validation(kind, ["body", name], message)
}

pub(super) fn text(name: &str, value: &Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text.chars().count() > NAME_CHARACTERS_MAX => {
            Err(ApiError::bad_request(
                name,
                format!("{name} is longer than {NAME_CHARACTERS_MAX} characters"),
            ))
        }
        Value::String(text) if Token::is_issued(text) => Err(ApiError::bad_request(
            name,
            format!("{name} holds a key, which names are not kept secret enough for: give another"),
        )),
        // It would break log lines, and PostgreSQL takes no zero byte.
        Value::String(text) if text.chars().any(char::is_control) => {
            let message = format!("{name} holds a control character: leave it out");
            Err(ApiError::bad_request(name, message))
        }
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(invalid(
            "string_type",
            name,
            "Input should be a valid string",
        )),
    }
}

pub(super) fn list(name: &str, value: &Value) -> Result<Vec<String>, ApiError> {
    let wrong = || invalid("list_type", name, "Input should be a valid list");
    within(LIST_BYTES_MAX, name, value)?;
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        _ => Err(wrong()),
    }
}

/// Refuses a value whose JSON is longer: it stays in memory with its key, and an
/// answer holds hundreds of keys.
fn within(bytes_max: usize, name: &str, value: &Value) -> Result<(), ApiError> {
    if value.to_string().len() <= bytes_max {
        return Ok(());
    }
    let message = format!("{name} must be at most {bytes_max} bytes of JSON");
    Err(ApiError::bad_request(name, message))
}

/// Refuses a body with other fields than these.
pub(super) fn only(body: &Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    let mut others = body.keys().filter(|name| !known.contains(&name.as_str()));
    others.next().map_or(Ok(()), |name| Err(unknown(name)))
}

pub(super) fn unknown(name: &str) -> ApiError {
    let name = printable(name);
    let message = format!("the field {name} is not known here: leave it out");
    invalid("extra_forbidden", &name, &message)
}

/// As `max_budget`; zero warns from the first call on.
pub(super) fn soft_budget(value: &Value) -> Result<Option<NanoUsd>, ApiError> {
    const FIELD: &str = "soft_budget";
    budget(FIELD, value).map_err(|_| {
        let message = "soft_budget must be a non-negative finite number of USD, at most 9 billion";
        ApiError::bad_request(FIELD, message)
    })
}

/// A name that a request made up, fit to be repeated in an answer: of what may
/// be a key in the wrong place, its prefix.
pub(super) fn printable(name: &str) -> String {
    let shown = match name.starts_with("sk-") {
        true => "sk",
        false => name,
    };
    shown
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '/'))
        .take(64)
        .collect()
}

pub(super) fn object(name: &str, value: &Value) -> Result<Map<String, Value>, ApiError> {
    within(OBJECT_BYTES_MAX, name, value)?;
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(entries) => Ok(entries.clone()),
        _ => Err(invalid(
            "dict_type",
            name,
            "Input should be a valid dictionary",
        )),
    }
}

pub(super) fn flag(name: &str, value: &Value) -> Result<Option<bool>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(*flag)),
        _ => Err(invalid(
            "bool_type",
            name,
            "Input should be a valid boolean",
        )),
    }
}

/// LiteLLM: a number, its text, or a boolean; zero refuses the first call.
pub(super) fn budget(name: &str, value: &Value) -> Result<Option<NanoUsd>, ApiError> {
    let unreadable = || {
        invalid(
            "float_parsing",
            name,
            "Input should be a valid number, unable to parse string as a number",
        )
    };
    let text = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Array(_) | Value::Object(_) => return Err(unreadable()),
    };
    NanoUsd::from_decimal(&text).map(Some).map_err(|error| {
        // What Rust reads as a float but we do not is NaN or infinite.
        if matches!(error, MoneyError::Malformed) && text.parse::<f64>().is_err() {
            return unreadable();
        }
        ApiError::bad_request(
            name,
            format!("{name} must be a non-negative finite number of USD, at most 9 billion"),
        )
    })
}
