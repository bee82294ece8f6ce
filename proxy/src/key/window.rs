//! Owns the windows of budgets that count from zero again and again: when the
//! one begins and ends that a moment lies in. Pure calendar, in UTC; knows no
//! clock and no money.

use std::fmt;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;
/// LiteLLM: a budget of 30 days is one of a calendar month.
const MONTH_AS_DAYS: i64 = 30 * DAY;
/// Monday, 5 January 1970.
const FIRST_MONDAY: i64 = 4 * DAY;
/// Ten years, so that the end of a window is a time that can be written.
const SECONDS_MAX: i64 = 3_650 * DAY;
const MONTHS_MAX: i64 = 120;

/// How long the windows of a budget are. LiteLLM: a whole number and `s`, `m`,
/// `h`, `d`, `w` or `mo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Period {
    count: i64,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

/// From its first moment until before its last. Whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Window {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
}

impl Period {
    /// None when the text is no duration, or one of nothing or of more than ten
    /// years.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, unit) = text.split_at_checked(digits)?;
        let unit = Unit::ALL.into_iter().find(|one| one.as_str() == unit)?;
        let count: i64 = count.parse().ok()?;
        let most = unit.seconds().map_or(MONTHS_MAX, |one| SECONDS_MAX / one);
        (1..=most).contains(&count).then_some(Self { count, unit })
    }

    /// The window that `now` lies in. LiteLLM: windows snap to the wall clock, a
    /// day to midnight, 7 days to Monday, 30 days and a month to the 1st. Others
    /// begin at multiples of their length since 1970, weeks at Mondays. None
    /// outside of the years that can be written.
    pub(crate) fn window(self, now: DateTime<Utc>) -> Option<Window> {
        let seconds = self.unit.seconds().map(|one| one * self.count);
        let (start, end) = match seconds {
            None => months(now, self.count)?,
            Some(MONTH_AS_DAYS) => months(now, 1)?,
            Some(length) => {
                let origin = if length % WEEK == 0 { FIRST_MONDAY } else { 0 };
                let into = (now.timestamp() - origin).rem_euclid(length);
                let start = now.timestamp() - into;
                let at = |seconds| DateTime::from_timestamp(seconds, 0);
                (at(start)?, at(start + length)?)
            }
        };
        Some(Window { start, end })
    }
}

/// The months since the year 0 in groups of `count`.
fn months(now: DateTime<Utc>, count: i64) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let month = i64::from(now.year()) * 12 + i64::from(now.month0());
    let start = month - month.rem_euclid(count);
    Some((first_of(start)?, first_of(start + count)?))
}

fn first_of(month: i64) -> Option<DateTime<Utc>> {
    let year = i32::try_from(month.div_euclid(12)).ok()?;
    let month = u32::try_from(month.rem_euclid(12)).ok()? + 1;
    let day = NaiveDate::from_ymd_opt(year, month, 1)?;
    Some(day.and_time(NaiveTime::MIN).and_utc())
}

/// As it was given.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.as_str())
    }
}

impl TryFrom<String> for Period {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no duration of windows")
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl Unit {
    const ALL: [Self; 6] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "mo",
        }
    }

    /// None for a month, which has no one length.
    const fn seconds(self) -> Option<i64> {
        match self {
            Self::Second => Some(1),
            Self::Minute => Some(60),
            Self::Hour => Some(3_600),
            Self::Day => Some(DAY),
            Self::Week => Some(WEEK),
            Self::Month => None,
        }
    }
}

impl Window {
    /// As it is written: an interval of ISO 8601.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (start, end) = text.split_once('/')?;
        let (start, end) = (start.parse().ok()?, end.parse().ok()?);
        Some(Self { start, end })
    }

    /// What lies in all of these windows, which share a moment; none of none.
    pub(crate) fn common(windows: impl Iterator<Item = Self>) -> Option<Self> {
        windows.reduce(|one, other| Self {
            start: one.start.max(other.start),
            end: one.end.min(other.end),
        })
    }

    pub(crate) fn contains(self, now: DateTime<Utc>) -> bool {
        (self.start..self.end).contains(&now)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";
        write!(f, "{}/{}", self.start.format(TIME), self.end.format(TIME))
    }
}

#[cfg(test)]
mod tests;
