//! Owns LiteLLM's grammar of durations: a whole number and `s`, `m`, `h`, `d`,
//! `w` or `mo`. Pure. Called when a key's expiry is set.

use chrono::{DateTime, Duration, Months, Utc};

/// A span of time; a month is a calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Seconds(i64),
    Months(u32),
}

impl Span {
    /// None when the text is no duration; a bare number is not.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at_checked(digits)?;
        let number: i64 = number.parse().ok()?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            "mo" => return u32::try_from(number).ok().map(Self::Months),
            _ => return None,
        };
        number.checked_mul(seconds).map(Self::Seconds)
    }

    /// The moment this long after `start`; none beyond the year 9999.
    pub(super) fn after(self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let end = match self {
            Self::Seconds(seconds) => start.checked_add_signed(Duration::try_seconds(seconds)?)?,
            Self::Months(months) => start.checked_add_months(Months::new(months))?,
        };
        (end.timestamp() < 253_402_300_800).then_some(end)
    }

    /// The moment this long before `end`; none before 1970.
    pub(super) fn before(self, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let start = match self {
            Self::Seconds(seconds) => end.checked_sub_signed(Duration::try_seconds(seconds)?)?,
            Self::Months(months) => end.checked_sub_months(Months::new(months))?,
        };
        (start.timestamp() >= 0).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::Span;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, expected) in [
            ("0s", Some(Span::Seconds(0))),
            ("30s", Some(Span::Seconds(30))),
            ("5m", Some(Span::Seconds(300))),
            ("2h", Some(Span::Seconds(7_200))),
            ("1d", Some(Span::Seconds(86_400))),
            ("1w", Some(Span::Seconds(604_800))),
            ("1mo", Some(Span::Months(1))),
            ("10", None),
            ("", None),
            ("s", None),
            ("-1", None),
            ("-5s", None),
            ("1.5h", None),
            ("1y", None),
            ("1h ", None),
            ("soon", None),
            ("99999999999999999999s", None),
            ("9223372036854775807w", None),
        ] {
            assert_eq!(Span::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn months_follow_the_calendar_and_ends_are_bounded() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(
            Span::Months(1).after(at("2028-01-31T10:00:00Z")),
            Some(at("2028-02-29T10:00:00Z"))
        );
        assert_eq!(
            Span::Seconds(60).after(at("2027-12-31T23:59:30Z")),
            Some(at("2028-01-01T00:00:30Z"))
        );
        assert_eq!(
            Span::Seconds(i64::MAX).after(at("2027-01-01T00:00:00Z")),
            None
        );
        assert_eq!(
            Span::Months(u32::MAX).after(at("2027-01-01T00:00:00Z")),
            None
        );
        assert_eq!(
            Span::Seconds(300_000_000_000).after(at("2027-01-01T00:00:00Z")),
            None
        );
    }
}
