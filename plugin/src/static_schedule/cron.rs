//! A cron expression of five fields, in UTC.
//!
//! HashiCorp: `minute hour day-of-month month day-of-week` as robfig/cron reads
//! them: lists, ranges, steps, `?` for `*`, names of months and days in any
//! case, Sunday is 0 and never 7. Where neither day field is a star, either
//! may match. `@daily` and its like are read too, `@every` is a period.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// A list of every minute fits well.
const MAX_LENGTH: usize = 256;

/// Eight years lie between the two leap days around a century without one.
const SEARCHED_DAYS: u64 = 9 * 366;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Cron {
    text: String,
    minutes: Set,
    hours: Set,
    days_of_month: Set,
    months: Set,
    days_of_week: Set,
}

/// The values of one field, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    bits: u64,
    /// Written as a star without a step: it does not restrict at all.
    is_star: bool,
}

impl Set {
    fn has(self, value: u32) -> bool {
        self.bits >> value & 1 == 1
    }
}

struct Bounds {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    Bounds {
        name: "minute",
        first: 0,
        last: 59,
        names: &[],
    },
    Bounds {
        name: "hour",
        first: 0,
        last: 23,
        names: &[],
    },
    Bounds {
        name: "day of month",
        first: 1,
        last: 31,
        names: &[],
    },
    Bounds {
        name: "month",
        first: 1,
        last: 12,
        names: &MONTHS,
    },
    Bounds {
        name: "day of week",
        first: 0,
        last: 6,
        names: &DAYS,
    },
];

impl Cron {
    /// # Errors
    /// Says which field is wrong and what it may hold.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return Err(format!("is longer than {MAX_LENGTH} characters"));
        }
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return Err("is read in UTC: leave the time zone out".into());
        }
        let fields: Vec<&str> = expanded(text)?.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(
                "needs five fields: minute, hour, day of month, month, day of week, for example \"0 3 * * SAT\""
                    .into(),
            );
        }
        let mut sets = Vec::with_capacity(FIELDS.len());
        for (field, bounds) in fields.into_iter().zip(&FIELDS) {
            sets.push(bounds.set(field)?);
        }
        let [minutes, hours, days_of_month, months, days_of_week] = sets[..] else {
            return Err("needs five fields".into());
        };
        let cron = Self {
            text: text.to_owned(),
            minutes,
            hours,
            days_of_month,
            months,
            days_of_week,
        };
        if cron.next_after(DateTime::<Utc>::UNIX_EPOCH).is_none() {
            return Err("names a day that never comes".into());
        }
        Ok(cron)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The first whole minute after `time` that matches.
    pub(crate) fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let first = time.checked_add_signed(TimeDelta::minutes(1))?;
        let today = first.date_naive();
        if self.has_day(today)
            && let Some(time) = self.time_from(first.hour(), first.minute())
        {
            return Some(today.and_time(time).and_utc());
        }
        let start = self.time_from(0, 0)?;
        (1..=SEARCHED_DAYS)
            .map_while(|days| today.checked_add_days(Days::new(days)))
            .find(|day| self.has_day(*day))
            .map(|day| day.and_time(start).and_utc())
    }

    fn has_day(&self, day: NaiveDate) -> bool {
        let of_month = self.days_of_month.has(day.day());
        let of_week = self.days_of_week.has(day.weekday().num_days_from_sunday());
        let both = self.days_of_month.is_star || self.days_of_week.is_star;
        self.months.has(day.month())
            && if both {
                of_month && of_week
            } else {
                of_month || of_week
            }
    }

    /// The first matching time of a day from this minute on.
    fn time_from(&self, hour: u32, minute: u32) -> Option<NaiveTime> {
        let is_later = |h: u32, m: u32| h > hour || m >= minute;
        let (hour, minute) = (hour..24)
            .filter(|h| self.hours.has(*h))
            .flat_map(|h| (0..60).map(move |m| (h, m)))
            .find(|(h, m)| self.minutes.has(*m) && is_later(*h, *m))?;
        NaiveTime::from_hms_opt(hour, minute, 0)
    }
}

/// What a descriptor stands for; other text as it is.
fn expanded(text: &str) -> Result<&str, String> {
    Ok(match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        every if every.starts_with("@every") => {
            return Err("cannot be an interval: use rotation_period instead".into());
        }
        other => other,
    })
}

impl Bounds {
    fn set(&self, field: &str) -> Result<Set, String> {
        let mut all = Set {
            bits: 0,
            is_star: false,
        };
        for part in field.split(',') {
            let set = self.part(part).ok_or_else(|| self.refusal())?;
            all.bits |= set.bits;
            all.is_star |= set.is_star;
        }
        Ok(all)
    }

    /// One of a list: a value, a range or a star, each with or without a step.
    fn part(&self, part: &str) -> Option<Set> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let is_star = matches!(range, "*" | "?");
        let (first, last) = if is_star {
            (self.first, self.last)
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(first)?, self.value(last)?)
        } else {
            let first = self.value(range)?;
            (first, if step.is_some() { self.last } else { first })
        };
        if first > last {
            return None;
        }
        let step = step.unwrap_or(1);
        let values = (first..=last).step_by(usize::try_from(step).ok()?);
        Some(Set {
            bits: values.fold(0, |bits, value| bits | 1 << value),
            is_star: is_star && step == 1,
        })
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self
            .names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(index) => self.first + u32::try_from(index).ok()?,
            None => number(text)?,
        };
        (self.first..=self.last).contains(&value).then_some(value)
    }

    fn refusal(&self) -> String {
        let Self {
            name, first, last, ..
        } = self;
        format!(
            "has a {name} that cannot be read: use {first} to {last}, *, lists (a,b), ranges (a-b) and steps (*/n)"
        )
    }
}

/// Plain digits; a sign would be taken by `parse`.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

impl TryFrom<String> for Cron {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}
