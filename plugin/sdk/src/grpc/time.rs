//! Durations and times as the wire has them.
//!
//! Pure. Durations are nanoseconds in 64 bits; both servers fail a reply whose
//! lease has no time, so "unset" is Go's year 1.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// Go: the zero time, 0001-01-01, in seconds since 1970.
const YEAR_ONE: i64 = -62_135_596_800;

pub(super) fn to_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Negative durations mean "not set", like zero.
pub(super) fn from_nanos(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// The few messages that carry seconds.
pub(super) fn to_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn from_seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Seconds since 1970; Go's zero time is "never".
pub(super) fn from_epoch(seconds: i64) -> Option<DateTime<Utc>> {
    if seconds <= YEAR_ONE {
        return None;
    }
    DateTime::from_timestamp(seconds, 0)
}

#[expect(clippy::unnecessary_wraps, reason = "prost wants an option")]
pub(super) fn to_timestamp(time: Option<DateTime<Utc>>) -> Option<Timestamp> {
    Some(time.map_or(
        Timestamp {
            seconds: YEAR_ONE,
            nanos: 0,
        },
        |time| Timestamp {
            seconds: time.timestamp(),
            nanos:
                i32::try_from(time.timestamp_subsec_nanos().min(999_999_999)).unwrap_or_default(),
        },
    ))
}

pub(super) fn from_timestamp(timestamp: Option<Timestamp>) -> Option<DateTime<Utc>> {
    let timestamp = timestamp.filter(|timestamp| timestamp.seconds > YEAR_ONE)?;
    DateTime::from_timestamp(
        timestamp.seconds,
        u32::try_from(timestamp.nanos).unwrap_or_default(),
    )
}
