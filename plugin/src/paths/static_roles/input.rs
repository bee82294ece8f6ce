//! What a write of a static role may say, and what it means together with what
//! is stored.

use std::time::Duration;

use vault_plugin_sdk::{Error, FieldData};

use super::StaticRole;
use crate::grant::Grant;
use crate::static_schedule::{Cron, MAX_PERIOD, MIN_PERIOD, MIN_WINDOW, Schedule};

/// The stored role with the fields of a write laid over it.
pub(super) fn merged(stored: Option<StaticRole>, fields: &FieldData) -> Result<StaticRole, Error> {
    let schedule = schedule(stored.as_ref().map(|role| &role.schedule), fields)?;
    let mut role = match stored {
        Some(role) => StaticRole { schedule, ..role },
        None => StaticRole::new(Grant::default(), schedule),
    };
    role.grant = role.grant.merged(fields)?;
    for (name, id) in [
        ("user_id", &mut role.user_id),
        ("team_id", &mut role.team_id),
    ] {
        if let Some(given) = fields.string_opt(name) {
            *id = checked_id(name, given)?;
        }
    }
    if let Some(grace) = fields.duration_opt("grace_period") {
        role.grace_period_seconds = grace.as_secs();
    }
    let longest = match role.schedule {
        Schedule::Period { seconds } => seconds,
        Schedule::Cron { .. } => MAX_PERIOD.as_secs(),
    };
    if role.grace_period_seconds > longest {
        return Err(Error::user(format!(
            "grace_period must not be longer than the {longest}s between two rotations"
        )));
    }
    Ok(role)
}

/// HashiCorp: a period and a schedule exclude each other, a window needs a
/// schedule, and one of the two must be there.
fn schedule(stored: Option<&Schedule>, fields: &FieldData) -> Result<Schedule, Error> {
    let period = fields.duration_opt("rotation_period");
    let expression = fields
        .string_opt("rotation_schedule")
        .filter(|text| !text.is_empty());
    let window = fields.duration_opt("rotation_window");
    if let Some(window) = window
        && !window.is_zero()
        && (window < MIN_WINDOW || window > MAX_PERIOD)
    {
        return Err(Error::user(format!(
            "rotation_window must be {} seconds or more, at most ten years, or 0 for none",
            MIN_WINDOW.as_secs()
        )));
    }
    match (period, expression) {
        (Some(_), Some(_)) => Err(Error::user(
            "rotation_period and rotation_schedule exclude each other: give only one",
        )),
        (Some(period), None) => {
            if window.is_some_and(|window| !window.is_zero()) {
                return Err(Error::user(
                    "rotation_window needs rotation_schedule: leave it out with rotation_period",
                ));
            }
            checked_period(period)
        }
        (None, Some(text)) => {
            let stored_window = match stored {
                Some(Schedule::Cron { window_seconds, .. }) => *window_seconds,
                _ => 0,
            };
            Ok(Schedule::Cron {
                expression: Cron::parse(&text)
                    .map_err(|why| Error::user(format!("rotation_schedule {why}")))?,
                window_seconds: window.map_or(stored_window, |window| window.as_secs()),
            })
        }
        (None, None) => unchanged(stored, window),
    }
}

fn unchanged(stored: Option<&Schedule>, window: Option<Duration>) -> Result<Schedule, Error> {
    let Some(stored) = stored else {
        return Err(Error::user(
            "one of rotation_period and rotation_schedule is required",
        ));
    };
    match (stored, window) {
        (Schedule::Cron { expression, .. }, Some(window)) => Ok(Schedule::Cron {
            expression: expression.clone(),
            window_seconds: window.as_secs(),
        }),
        (Schedule::Period { .. }, Some(window)) if !window.is_zero() => Err(Error::user(
            "rotation_window needs rotation_schedule, and this role has a rotation_period",
        )),
        _ => Ok(stored.clone()),
    }
}

fn checked_period(period: Duration) -> Result<Schedule, Error> {
    if period < MIN_PERIOD {
        return Err(Error::user(format!(
            "rotation_period must be {} seconds or more",
            MIN_PERIOD.as_secs()
        )));
    }
    if period > MAX_PERIOD {
        return Err(Error::user("rotation_period must be at most ten years"));
    }
    Ok(Schedule::Period {
        seconds: period.as_secs(),
    })
}

/// The gateway's own names are short and printable.
fn checked_id(name: &str, given: String) -> Result<String, Error> {
    if given.len() > 256 || given.chars().any(char::is_control) {
        return Err(Error::user(format!(
            "{name} must be at most 256 printable characters"
        )));
    }
    Ok(given)
}
