//! Spans and points of time.
//!
//! Owns Go's duration texts and Vault's additions (`7d`, bare seconds). The
//! result is whole seconds, as Vault's fields are.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Mismatch, scalar};
use crate::Value;

const WRONG: Mismatch = "must be a duration: seconds, or text such as 90s, 1h30m or 7d";
/// Leases travel as nanoseconds in 64 bits, which hold this many seconds.
const SECONDS_MAX: u64 = i64::MAX.unsigned_abs() / 1_000_000_000;

pub(super) fn unsigned(input: &Value) -> Result<Duration, Mismatch> {
    let seconds = seconds(input)?;
    u64::try_from(seconds)
        .map(Duration::from_secs)
        .map_err(|_| "must not be negative")
}

pub(super) fn seconds(input: &Value) -> Result<i64, Mismatch> {
    let seconds = match input {
        Value::Number(_) => scalar::int(input).map_err(|_| WRONG)?,
        Value::String(text) => parse(text.trim()).ok_or(WRONG)?,
        _ => return Err(WRONG),
    };
    if seconds.unsigned_abs() > SECONDS_MAX {
        Err("must be shorter than 292 years")
    } else {
        Ok(seconds)
    }
}

fn parse(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    if let Some(days) = text.strip_suffix('d') {
        return days.parse::<i64>().ok()?.checked_mul(86_400);
    }
    scalar::truncate(go_seconds(text)?)
}

/// Go: a sign, then one or more numbers (fractions too), each with its unit.
fn go_seconds(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number * unit_seconds(&rest[..unit])?;
        rest = &rest[unit..];
    }
    Some(sign * total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

pub(super) fn time(input: &Value) -> Result<DateTime<Utc>, Mismatch> {
    const WRONG_TIME: Mismatch = "must be a time: RFC 3339 or seconds since 1970";
    let epoch = match input {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => return Ok(time.with_timezone(&Utc)),
            Err(_) => text.parse().ok(),
        },
        _ => None,
    };
    epoch
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or(WRONG_TIME)
}
