//! Owns the windows of budgets that count from zero again and again: when the
//! one begins and ends that a moment lies in. Pure calendar, of one time zone;
//! knows no clock and no money.

use std::fmt;
use std::sync::OnceLock;

use chrono::{
    DateTime, Datelike as _, Days, NaiveDate, NaiveTime, Offset as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;
/// LiteLLM: a budget of 30 days is one of a calendar month.
const MONTH_AS_DAYS: i64 = 30 * DAY;
/// Days from the first day of 1970 to its first Monday.
const FIRST_MONDAY: i64 = 4;
/// No clock is set by less.
const CLOCK_STEP: TimeDelta = TimeDelta::minutes(15);
/// A whole day was left out where the date line moved.
const LEFT_OUT_STEPS_MAX: usize = 2 * 96;

/// Whose calendar the budgets of this process follow. Set once, before the first
/// window is asked for, and the same for all processes of a store.
static TIME_ZONE: OnceLock<Tz> = OnceLock::new();

pub(crate) fn use_time_zone(zone: Tz) {
    TIME_ZONE.get_or_init(|| zone);
}
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
    /// begin at multiples of their length since 1970, weeks at Mondays. Days are
    /// those of the configured time zone, and as long as they are there; what is
    /// no whole number of days is counted in UTC. None outside of the years that
    /// can be written.
    pub(crate) fn window(self, now: DateTime<Utc>) -> Option<Window> {
        self.window_in(now, TIME_ZONE.get().copied().unwrap_or(Tz::UTC))
    }

    /// The window that `now` lies in, and the one that follows it: who has another
    /// clock may be in that one already.
    pub(crate) fn windows(self, now: DateTime<Utc>) -> impl Iterator<Item = Window> {
        let current = self.window(now);
        let next = current.and_then(|window| self.window(window.end));
        current.into_iter().chain(next)
    }

    fn window_in(self, now: DateTime<Utc>, zone: Tz) -> Option<Window> {
        let seconds = self.unit.seconds().map(|one| one * self.count);
        let (start, end) = match seconds {
            None => months(now, self.count, zone)?,
            Some(MONTH_AS_DAYS) => months(now, 1, zone)?,
            Some(length) if length % DAY == 0 => days(now, length / DAY, zone)?,
            Some(length) => {
                let start = now.timestamp() - now.timestamp().rem_euclid(length);
                let at = |seconds| DateTime::from_timestamp(seconds, 0);
                (at(start)?, at(start + length)?)
            }
        };
        Some(Window { start, end })
    }
}

/// The months since the year 0 in groups of `count`.
fn months(now: DateTime<Utc>, count: i64, zone: Tz) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let today = date(now, zone)?;
    let month = i64::from(today.year()) * 12 + i64::from(today.month0());
    let start = month - month.rem_euclid(count);
    let at = |month| begin(first_of(month)?, zone);
    Some((at(start)?, at(start + count)?))
}

/// The days since 1970 in groups of `count`.
fn days(now: DateTime<Utc>, count: i64, zone: Tz) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let origin = if count % 7 == 0 { FIRST_MONDAY } else { 0 };
    let today = date(now, zone)?;
    let since = today.signed_duration_since(NaiveDate::default()).num_days();
    let into = (since - origin).rem_euclid(count);
    let start = today.checked_sub_days(Days::new(into.unsigned_abs()))?;
    let end = start.checked_add_days(Days::new(count.unsigned_abs()))?;
    Some((begin(start, zone)?, begin(end, zone)?))
}

fn first_of(month: i64) -> Option<NaiveDate> {
    let year = i32::try_from(month.div_euclid(12)).ok()?;
    let month = u32::try_from(month.rem_euclid(12)).ok()? + 1;
    NaiveDate::from_ymd_opt(year, month, 1)
}

/// None where a zone's clock shows a year that cannot be written.
fn date(now: DateTime<Utc>, zone: Tz) -> Option<NaiveDate> {
    let now = now.naive_utc();
    let ahead_s = zone.offset_from_utc_datetime(&now).fix().local_minus_utc();
    let shown = now.checked_add_signed(TimeDelta::seconds(ahead_s.into()))?;
    Some(shown.date())
}

/// The first moment of a day: midnight, the first of two, or where there is none
/// because clocks are set forward then, the moment at which they are.
fn begin(date: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    let mut shown = date.and_time(NaiveTime::MIN);
    for _ in 0..LEFT_OUT_STEPS_MAX {
        if let Some(moment) = zone.from_local_datetime(&shown).earliest() {
            return Some(moment.to_utc());
        }
        shown = shown.checked_add_signed(CLOCK_STEP)?;
    }
    None
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
