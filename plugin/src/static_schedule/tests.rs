//! Times are RFC 3339 text; every expectation was read off a calendar.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    let text = format!("{text}:00Z");
    DateTime::parse_from_rfc3339(&text).unwrap().to_utc()
}

fn check(expression: &str, after: &str, expected: &str) {
    let next = Cron::parse(expression).unwrap().next_after(at(after));
    assert_eq!(next, Some(at(expected)), "{expression} after {after}");
}

#[test]
fn next_time_is_the_first_match_strictly_later() {
    // 2026-11-21 is a Saturday.
    check("* * * * *", "2026-11-21T07:30", "2026-11-21T07:31");
    check("30 7 * * *", "2026-11-21T07:30", "2026-11-22T07:30");
    check("30 7 * * *", "2026-11-21T07:29", "2026-11-21T07:30");
    check("0 0 * * SAT", "2026-11-21T00:00", "2026-11-28T00:00");
    check("0 0 * * sun", "2026-11-21T00:00", "2026-11-22T00:00");
    check("*/15 * * * *", "2026-11-21T07:46", "2026-11-21T08:00");
    check("5/20 * * * *", "2026-11-21T07:46", "2026-11-21T08:05");
    check("0 9-17/4 * * 1-5", "2026-11-21T10:00", "2026-11-23T09:00");
    check("0 9-17/4 * * 1-5", "2026-11-23T09:00", "2026-11-23T13:00");
    check("59 23 31 12 ?", "2026-12-31T23:59", "2027-12-31T23:59");
    check("0 0 31 * *", "2026-11-21T00:00", "2026-12-31T00:00");
    check("0 0 29 feb *", "2096-02-29T00:00", "2104-02-29T00:00");
    check(
        "0 12 1,15 JAN,jul *",
        "2026-11-21T00:00",
        "2027-01-01T12:00",
    );
    check("10,20 3 * * *", "2026-11-21T03:15", "2026-11-21T03:20");
}

#[test]
fn two_day_fields_match_either_way_and_a_star_leaves_it_to_the_other() {
    // Friday the 13th or any Monday: Monday comes first.
    check("0 0 13 * MON", "2026-11-21T00:00", "2026-11-23T00:00");
    check("0 0 13 * *", "2026-11-21T00:00", "2026-12-13T00:00");
    check("0 0 * * MON", "2026-11-21T00:00", "2026-11-23T00:00");
    // A star with a step restricts, so either may match.
    check("0 0 */20 * MON", "2026-11-22T00:00", "2026-11-23T00:00");
    check("0 0 */1 * MON", "2026-11-21T00:00", "2026-11-23T00:00");
}

#[test]
fn seconds_within_a_minute_are_no_match() {
    let cron = Cron::parse("30 7 * * *").unwrap();
    let within = at("2026-11-21T07:30") + TimeDelta::seconds(59);
    assert_eq!(cron.next_after(within), Some(at("2026-11-22T07:30")));
    let before = at("2026-11-21T07:29") + TimeDelta::milliseconds(59_999);
    assert_eq!(cron.next_after(before), Some(at("2026-11-21T07:30")));
}

#[test]
fn descriptors_stand_for_their_fields() {
    for (descriptor, expected) in [
        ("@hourly", "2026-11-21T08:00"),
        ("@daily", "2026-11-22T00:00"),
        ("@midnight", "2026-11-22T00:00"),
        ("@weekly", "2026-11-22T00:00"),
        ("@monthly", "2026-12-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        ("@annually", "2027-01-01T00:00"),
    ] {
        check(descriptor, "2026-11-21T07:30", expected);
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    for (text, expected) in [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("+1 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*/x * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* 5-3 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * 32 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * foo *", "month"),
        ("* * * * 7", "day of week"),
        ("* * * * L", "day of week"),
        ("* * * * MON#2", "day of week"),
        ("99999999999999999999 * * * *", "minute"),
        ("0 0 30 2 *", "never comes"),
        ("@every 1h", "rotation_period"),
        ("@reboot", "five fields"),
        ("TZ=Europe/Paris 0 0 * * *", "UTC"),
        ("CRON_TZ=UTC 0 0 * * *", "UTC"),
        (&"1,".repeat(200), "longer"),
        ("\u{0} * * * *", "minute"),
    ] {
        let error = Cron::parse(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_stored_schedule_loads_as_it_was() {
    for schedule in [daily(3600), Schedule::Period { seconds: 60 }] {
        let stored = serde_json::to_string(&schedule).unwrap();
        assert_eq!(
            serde_json::from_str::<Schedule>(&stored).unwrap(),
            schedule,
            "{stored}"
        );
    }
    assert_eq!(
        serde_json::to_value(daily(0)).unwrap(),
        serde_json::json!({"cron": {"expression": "0 3 * * *", "window_seconds": 0}})
    );
}

fn daily(window_seconds: u64) -> Schedule {
    Schedule::Cron {
        expression: Cron::parse("0 3 * * *").unwrap(),
        window_seconds,
    }
}

#[test]
fn a_window_closes_and_nothing_else_does() {
    let due = at("2026-11-21T03:00");
    let week_later = due + TimeDelta::days(7);
    assert!(daily(3600).is_open(due, due + TimeDelta::seconds(3599)));
    assert!(!daily(3600).is_open(due, due + TimeDelta::seconds(3600)));
    assert!(daily(0).is_open(due, week_later));
    assert!(Schedule::Period { seconds: 5 }.is_open(due, week_later));
}

#[test]
fn a_key_lives_until_the_rotation_after_its_next_and_a_minute() {
    let now = at("2026-11-21T01:00");
    let due = at("2026-11-21T03:00");
    for (schedule, due, expected) in [
        (daily(0), due, "2026-11-22T03:01"),
        (Schedule::Period { seconds: 7200 }, due, "2026-11-21T05:01"),
        // Shorter than the tick: two ticks, and the minute.
        (Schedule::Period { seconds: 5 }, now, "2026-11-21T01:02"),
        // Overdue: counted from now on, or a late rotation would find it dead.
        (
            Schedule::Period { seconds: 7200 },
            now - TimeDelta::days(1),
            "2026-11-21T03:01",
        ),
    ] {
        assert_eq!(schedule.expiry(due, now), at(expected), "{schedule:?}");
    }
}

#[test]
fn no_length_of_time_overflows() {
    let now = DateTime::<Utc>::MAX_UTC - TimeDelta::days(1);
    for schedule in [
        Schedule::Period { seconds: u64::MAX },
        Schedule::Period { seconds: 5 },
        daily(u64::MAX),
    ] {
        let due = schedule.next_after(now);
        assert!(schedule.is_open(due, now));
        assert!(schedule.expiry(due, now) >= now);
    }
}
