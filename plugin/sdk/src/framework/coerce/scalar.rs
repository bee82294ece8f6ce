//! Text, numbers and booleans.
//!
//! Owns the weak conversions: a number where text is wanted, text where a
//! number is wanted. Called by `coerce` and by the collections for their items.

use super::Mismatch;
use crate::Value;

/// Vault: numbers in decimal without exponent, booleans as `1` and `0`.
pub(super) fn text(input: &Value) -> Result<String, Mismatch> {
    match input {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(true) => Ok("1".to_owned()),
        Value::Bool(false) => Ok("0".to_owned()),
        Value::Number(number) => Ok(match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => whole.to_string(),
            (None, Some(whole), _) => whole.to_string(),
            (None, None, float) => float.unwrap_or_default().to_string(),
        }),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => Err("must be text"),
    }
}

pub(super) fn name(input: &Value) -> Result<String, Mismatch> {
    let name = text(input)?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let inner = |c: char| word(c) || c == '-' || c == '.';
    if name.starts_with(word) && name.ends_with(word) && name.chars().all(inner) {
        Ok(name)
    } else {
        Err("must be a name: letters, digits and _, with - and . inside")
    }
}

pub(super) fn int(input: &Value) -> Result<i64, Mismatch> {
    const WRONG: Mismatch = "must be a whole number";
    match input {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(whole),
            (None, Some(float)) => truncate(float).ok_or(WRONG),
            (None, None) => Err(WRONG),
        },
        Value::Bool(flag) => Ok(i64::from(*flag)),
        Value::String(text) => parse_based(text).ok_or(WRONG),
        Value::Null => Ok(0),
        Value::Array(_) | Value::Object(_) => Err(WRONG),
    }
}

/// Cuts the fraction; `None` where 64 bits do not hold the rest.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the bounds are checked on the line above the cast"
)]
pub(super) fn truncate(float: f64) -> Option<i64> {
    // Both bounds are powers of two, so they are exact as f64.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (-LIMIT..LIMIT).contains(&float).then_some(float as i64)
}

/// Vault: Go's base prefixes: `0x10` is 16, `010` and `0o10` are 8, `0b10` is 2,
/// empty text is 0, `_` may stand between digits and after a prefix.
fn parse_based(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let body = without_underscores(body, radix, digits.len() > body.len())?;
    let magnitude = i128::from_str_radix(&body, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// The digits alone. Each `_` needs a digit, or the prefix, before and a digit
/// behind it; a sign is no digit.
fn without_underscores(body: &str, radix: u32, after_prefix: bool) -> Option<String> {
    let mut digits = String::new();
    let mut may_separate = after_prefix;
    for c in body.chars() {
        if c == '_' {
            may_separate.then_some(())?;
            may_separate = false;
        } else {
            c.is_digit(radix).then_some(())?;
            digits.push(c);
            may_separate = true;
        }
    }
    (!digits.is_empty() && may_separate).then_some(digits)
}

pub(super) fn float(input: &Value) -> Result<f64, Mismatch> {
    const WRONG: Mismatch = "must be a number";
    match input {
        Value::Number(number) => number.as_f64().ok_or(WRONG),
        Value::Bool(flag) => Ok(f64::from(u8::from(*flag))),
        Value::String(text) if text.is_empty() => Ok(0.0),
        // Go also takes "NaN" and "Inf", which compare with no limit as meant.
        Value::String(text) => text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .ok_or(WRONG),
        Value::Null => Ok(0.0),
        Value::Array(_) | Value::Object(_) => Err(WRONG),
    }
}

/// Vault: Go's `ParseBool` words, any non-zero number, empty text is false.
pub(super) fn boolean(input: &Value) -> Result<bool, Mismatch> {
    match input {
        Value::Bool(flag) => Ok(*flag),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => Err("must be true or false"),
        },
        Value::Null => Ok(false),
        Value::Array(_) | Value::Object(_) => Err("must be true or false"),
    }
}
