//! Goal: windows follow the calendar, and cover every moment once.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn shown(duration: &str, now: &str) -> String {
    let period = Period::parse(duration).unwrap();
    period.window(at(now)).unwrap().to_string()
}

#[test]
fn windows_snap_to_the_wall_clock() {
    for (duration, now, start, end) in [
        ("1d", "2026-11-21T09:30:00Z", "2026-11-21", "2026-11-22"),
        (
            "24h",
            "2026-12-31T23:59:59.999Z",
            "2026-12-31",
            "2027-01-01",
        ),
        ("1d", "2027-01-01T00:00:00Z", "2027-01-01", "2027-01-02"),
        ("1d", "2028-02-29T12:00:00Z", "2028-02-29", "2028-03-01"),
        ("1d", "2027-02-28T23:59:59Z", "2027-02-28", "2027-03-01"),
        // 21 November 2026 is a Saturday.
        ("7d", "2026-11-21T09:30:00Z", "2026-11-16", "2026-11-23"),
        ("1w", "2026-11-22T23:59:59Z", "2026-11-16", "2026-11-23"),
        ("7d", "2026-11-23T00:00:00Z", "2026-11-23", "2026-11-30"),
        ("2w", "2026-11-21T09:30:00Z", "2026-11-09", "2026-11-23"),
        ("14d", "2026-11-23T00:00:00Z", "2026-11-23", "2026-12-07"),
        ("30d", "2026-11-01T00:00:00Z", "2026-11-01", "2026-12-01"),
        (
            "30d",
            "2026-10-31T23:59:59.999999Z",
            "2026-10-01",
            "2026-11-01",
        ),
        ("1mo", "2028-02-29T23:59:59Z", "2028-02-01", "2028-03-01"),
        ("1mo", "2027-12-31T10:00:00Z", "2027-12-01", "2028-01-01"),
        ("3mo", "2026-11-21T09:30:00Z", "2026-10-01", "2027-01-01"),
        ("12mo", "2026-11-21T09:30:00Z", "2026-01-01", "2027-01-01"),
    ] {
        let expected = format!("{start}T00:00:00Z/{end}T00:00:00Z");
        assert_eq!(shown(duration, now), expected, "{duration} {now}");
    }
    let now = "2026-11-21T09:34:38.5Z";
    for (duration, start, end) in [
        ("30s", "09:34:30", "09:35:00"),
        ("5s", "09:34:35", "09:34:40"),
        ("5m", "09:30:00", "09:35:00"),
        ("1h", "09:00:00", "10:00:00"),
        ("6h", "06:00:00", "12:00:00"),
    ] {
        let expected = format!("2026-11-21T{start}Z/2026-11-21T{end}Z");
        assert_eq!(shown(duration, now), expected, "{duration}");
    }
}

#[test]
fn each_moment_lies_in_one_window_and_the_next_begins_where_it_ends() {
    let durations = [
        "1s", "5s", "7s", "30s", "5m", "90m", "1h", "24h", "1d", "2d", "7d", "2w", "30d", "31d",
        "365d", "1mo", "2mo", "5mo", "120mo",
    ];
    // About 18 days apart, over 60 years, before 1970 too.
    for step in 0..1_200_i64 {
        let now = DateTime::from_timestamp(-100_000_000 + step * 1_577_847, 999_999_999).unwrap();
        for duration in durations {
            let period = Period::parse(duration).unwrap();
            let window = period.window(now).unwrap();
            assert!(window.contains(now), "{duration} {now}");
            let next = period.window(window.end).unwrap();
            assert_eq!(next.start, window.end, "{duration} {now}");
            let last = window.end - chrono::TimeDelta::nanoseconds(1);
            assert_eq!(period.window(last), Some(window), "{duration} {now}");
            assert_eq!(period.window(window.start), Some(window));
            assert_eq!(Window::parse(&window.to_string()), Some(window));
        }
    }
}

#[test]
fn what_is_no_duration_has_no_windows() {
    for text in [
        "",
        "s",
        "10",
        "0s",
        "0mo",
        "-1",
        "-5s",
        "1.5h",
        "1y",
        "1h ",
        " 1h",
        "soon",
        "3651d",
        "121mo",
        "9223372036854775807w",
        "99999999999999999999s",
    ] {
        assert_eq!(Period::parse(text), None, "{text}");
    }
    for text in ["30s", "5m", "24h", "1d", "7d", "2w", "30d", "1mo", "3650d"] {
        let period = Period::parse(text).unwrap();
        assert_eq!(period.to_string(), text);
    }
    let period = Period::parse("1mo").unwrap();
    assert_eq!(period.window(DateTime::<Utc>::MAX_UTC), None);
}
