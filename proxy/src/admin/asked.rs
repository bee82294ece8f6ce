//! Owns how the listings of spend and of changes are asked for: filters by
//! name, a page, and a span of time. What is not known or cannot be read is a
//! 400 that says what to send; nothing is ignored, because a filter that has no
//! effect shows what nobody asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use url::form_urlencoded;

use crate::{app::AppState, error::ApiError, key::KeyHash, store::Page};

const PAGE_SIZE_DEFAULT: u32 = 100;
const PAGE_SIZE_MAX: u32 = 1_000;
const DATES: &str = "a date as in 2027-03-01, or a time as in 2027-03-01T12:00:00Z; the first of the span is start_date";

const PAGE: [&str; 2] = ["page", "page_size"];
/// LiteLLM's names of a span of time.
pub(super) const SPAN: [&str; 2] = ["start_date", "end_date"];

/// The query of a request, each parameter once.
#[derive(Debug)]
pub(super) struct Asked(BTreeMap<String, String>);

/// From its first microsecond until before its last, counted from 1970; none on
/// a side that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_us: Option<i64>,
    pub(super) until_us: Option<i64>,
}

impl Asked {
    /// Parameters of a page are always known; `filters` are what this listing takes
    /// besides, [`SPAN`] among them where it has one. An empty value is one that was not given.
    pub(super) fn parse(query: Option<&str>, filters: &[&str]) -> Result<Self, ApiError> {
        let mut given = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !PAGE.iter().chain(filters).any(|known| *known == name) {
                let known = [filters, &PAGE].concat().join(", ");
                return Err(ApiError::bad_request(
                    "query",
                    format!("a parameter of the query is not known here: known are {known}"),
                ));
            }
            if value.is_empty() {
                continue;
            }
            if given.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(ApiError::bad_request(&name, format!("give {name} once")));
            }
        }
        Ok(Self(given))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The account of the key that a parameter names, by itself or by its hash;
    /// that of its first value, if it was regenerated.
    pub(super) async fn account(
        &self,
        state: &AppState,
        name: &str,
    ) -> Result<Option<KeyHash>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let hash = KeyHash::from_key_or_hash(text).ok_or_else(|| {
            ApiError::bad_request(
                name,
                format!("{name} must be a key or its SHA-256 in hexadecimal digits"),
            )
        })?;
        let key = match state.store.key(hash).await? {
            Some(key) => Some(key),
            None => state.store.deleted_key(hash).await?.map(|(key, _)| key),
        };
        Ok(Some(key.map_or(hash, |key| key.account())))
    }

    /// Counted from 1.
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        Ok(Page {
            number: self.number("page", 1, u32::MAX)?,
            size: self.number("page_size", PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)?,
        })
    }

    fn number(&self, name: &str, default: u32, most: u32) -> Result<u32, ApiError> {
        let number = self.text(name).map_or(Ok(default), str::parse);
        match number {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(ApiError::bad_request(
                name,
                format!("{name} must be a whole number from 1 to {most}"),
            )),
        }
    }

    /// A date counts whole, in UTC.
    pub(super) fn span(&self) -> Result<Span, ApiError> {
        let read = |name, is_end| match self.text(name) {
            None => Ok(None),
            Some(text) => instant(text, is_end)
                .map(|at| Some(at.timestamp_micros()))
                .ok_or_else(|| ApiError::bad_request(name, format!("{name} must be {DATES}"))),
        };
        let [start, end] = SPAN;
        let (from_us, until_us) = (read(start, false)?, read(end, true)?);
        if let (Some(from), Some(until)) = (from_us, until_us)
            && from >= until
        {
            return Err(ApiError::bad_request(
                "end_date",
                "end_date must not be before start_date",
            ));
        }
        Ok(Span { from_us, until_us })
    }
}

/// A date, or a time with or without a zone.
pub(super) fn instant(text: &str, is_end: bool) -> Option<DateTime<Utc>> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        let day = day.and_time(NaiveTime::MIN).and_utc();
        return match is_end {
            true => day.checked_add_signed(TimeDelta::days(1)),
            false => Some(day),
        };
    }
    // LiteLLM: a time without a zone is one of UTC.
    let without_zone = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let zoneless = without_zone
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let zoned = || DateTime::parse_from_rfc3339(text).ok().map(DateTime::into);
    zoneless.map(|at| at.and_utc()).or_else(zoned)
}

#[cfg(test)]
mod tests {
    use super::{Asked, SPAN, Span};

    fn span(query: &str) -> Option<Span> {
        Asked::parse(Some(query), &SPAN).unwrap().span().ok()
    }

    #[test]
    fn a_date_counts_whole_and_a_time_to_the_moment() {
        const DAY: i64 = 86_400_000_000;
        for (query, from_us, until_us) in [
            ("", None, None),
            ("start_date=", None, None),
            (
                "start_date=1970-01-02&end_date=1970-01-02",
                Some(DAY),
                Some(2 * DAY),
            ),
            (
                "start_date=1970-01-02T00:00:01Z",
                Some(DAY + 1_000_000),
                None,
            ),
            ("end_date=1970-01-02%2000:00:00", None, Some(DAY)),
            ("start_date=1970-01-02T01:00:00%2B01:00", Some(DAY), None),
        ] {
            assert_eq!(span(query), Some(Span { from_us, until_us }), "{query}");
        }
        for query in [
            "start_date=yesterday",
            "start_date=1970-02-30",
            "start_date=0",
            "end_date=1970-13-01",
            "start_date=1970-01-03&end_date=1970-01-02",
        ] {
            assert_eq!(span(query), None, "{query}");
        }
    }

    #[test]
    fn pages_are_counted_from_one_and_bounded() {
        for (query, is_right) in [
            ("", true),
            ("page=2&page_size=1000", true),
            ("page=0", false),
            ("page=-1", false),
            ("page=1.5", false),
            ("page_size=0", false),
            ("page_size=1001", false),
            ("page=99999999999", false),
        ] {
            let asked = Asked::parse(Some(query), &[]).unwrap();
            assert_eq!(asked.page().is_ok(), is_right, "{query}");
        }
    }

    #[test]
    fn what_is_unknown_or_given_twice_is_refused() {
        for (query, is_right) in [
            ("user=a", true),
            ("usr=a", false),
            ("user=a&user=b", false),
            ("user=a&start_date=2027-03-01", false),
            ("'; DROP TABLE audit; --", false),
        ] {
            assert_eq!(
                Asked::parse(Some(query), &["user"]).is_ok(),
                is_right,
                "{query}"
            );
        }
    }
}
