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

fn shown_in(zone: &str, duration: &str, now: &str) -> String {
    let period = Period::parse(duration).unwrap();
    let window = period.window_in(at(now), zone.parse().unwrap());
    window.unwrap().to_string()
}

/// Zone, length, a moment, and the window that it lies in.
const DAYS_OF_ZONES: [[&str; 5]; 13] = [
    // 23 and 25 hours.
    [
        "Europe/Berlin",
        "1d",
        "2027-03-28T12:00:00Z",
        "2027-03-27T23:00:00Z",
        "2027-03-28T22:00:00Z",
    ],
    [
        "Europe/Berlin",
        "24h",
        "2026-10-25T12:00:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
    ],
    [
        "Europe/Berlin",
        "7d",
        "2026-10-25T22:59:59Z",
        "2026-10-18T22:00:00Z",
        "2026-10-25T23:00:00Z",
    ],
    [
        "Europe/Berlin",
        "1mo",
        "2027-03-31T21:59:59Z",
        "2027-02-28T23:00:00Z",
        "2027-03-31T22:00:00Z",
    ],
    [
        "America/New_York",
        "30d",
        "2028-03-01T04:59:59Z",
        "2028-02-01T05:00:00Z",
        "2028-03-01T05:00:00Z",
    ],
    [
        "Asia/Kolkata",
        "1d",
        "2028-02-28T18:30:00Z",
        "2028-02-28T18:30:00Z",
        "2028-02-29T18:30:00Z",
    ],
    [
        "Pacific/Kiritimati",
        "1d",
        "2026-12-31T10:00:00Z",
        "2026-12-31T10:00:00Z",
        "2027-01-01T10:00:00Z",
    ],
    // Clocks are set forward at midnight: the day begins at 1 o'clock.
    [
        "Africa/Cairo",
        "1d",
        "2026-04-24T12:00:00Z",
        "2026-04-23T22:00:00Z",
        "2026-04-24T21:00:00Z",
    ],
    // Set back at 1 o'clock: midnight comes twice, and the day begins at the first.
    [
        "America/Havana",
        "1d",
        "2026-11-01T04:30:00Z",
        "2026-11-01T04:00:00Z",
        "2026-11-02T05:00:00Z",
    ],
    [
        "America/Havana",
        "1d",
        "2026-11-01T05:30:00Z",
        "2026-11-01T04:00:00Z",
        "2026-11-02T05:00:00Z",
    ],
    // A day that never was, 30 December 2011.
    [
        "Pacific/Apia",
        "1d",
        "2011-12-30T09:59:59Z",
        "2011-12-29T10:00:00Z",
        "2011-12-30T10:00:00Z",
    ],
    [
        "Pacific/Apia",
        "1d",
        "2011-12-30T10:00:00Z",
        "2011-12-30T10:00:00Z",
        "2011-12-31T10:00:00Z",
    ],
    // What is shorter than a day does not follow a zone.
    [
        "Asia/Kolkata",
        "6h",
        "2026-11-21T09:30:00Z",
        "2026-11-21T06:00:00Z",
        "2026-11-21T12:00:00Z",
    ],
];

#[test]
fn b5_days_and_months_are_those_of_the_time_zone() {
    for [zone, duration, now, start, end] in DAYS_OF_ZONES {
        let found = shown_in(zone, duration, now);
        assert_eq!(found, format!("{start}/{end}"), "{zone} {duration} {now}");
    }
}

/// What a wall clock in this zone shows.
fn wall(zone: Tz, now: DateTime<Utc>) -> (i32, u32, u32) {
    let local = now.with_timezone(&zone);
    (local.year(), local.month(), local.day())
}

#[test]
fn b5_in_any_time_zone_each_moment_lies_in_one_window() {
    let durations = ["30s", "1h", "1d", "2d", "7d", "30d", "1mo", "3mo"];
    for (index, zone) in chrono_tz::TZ_VARIANTS.iter().enumerate().step_by(4) {
        // About 55 days apart, over five years with a leap day.
        for step in 0..33_i64 {
            let seconds = 1_735_689_600 + step * 4_741_200 + i64::try_from(index).unwrap() * 3_607;
            let now = DateTime::from_timestamp(seconds, 1).unwrap();
            for duration in durations {
                let period = Period::parse(duration).unwrap();
                let window = period.window_in(now, *zone).unwrap();
                assert!(window.contains(now), "{zone} {duration} {now}");
                let next = period.window_in(window.end, *zone).unwrap();
                assert_eq!(next.start, window.end, "{zone} {duration} {now}");
                let last = window.end - TimeDelta::nanoseconds(1);
                assert_eq!(period.window_in(last, *zone), Some(window));
                assert_eq!(period.window_in(window.start, *zone), Some(window));
                if duration == "1d" {
                    let day = wall(*zone, now);
                    assert_eq!((wall(*zone, window.start), wall(*zone, last)), (day, day));
                    assert_ne!(wall(*zone, window.end), day, "{zone} {now}");
                }
                if duration == "1mo" {
                    let (year, month, _) = wall(*zone, now);
                    assert_eq!(wall(*zone, window.start), (year, month, 1), "{zone} {now}");
                    assert_eq!(wall(*zone, window.end).2, 1, "{zone} {now}");
                }
            }
        }
    }
}
