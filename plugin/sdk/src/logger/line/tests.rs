use super::*;

fn decode(line: &str) -> Map<String, Value> {
    assert!(line.ends_with('\n'));
    assert_eq!(line.matches('\n').count(), 1, "one line is one line");
    assert!(line.len() < 64 * 1024);
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_time_has_exactly_six_digits() {
    for nanos in [0, 1, 120_000_000, 999_999_999] {
        let time = DateTime::from_timestamp(1_700_000_000, nanos).unwrap();
        let keys = decode(&Line::at(time, "info", "x").finish());
        let stamp = keys["@timestamp"].as_str().unwrap();
        assert_eq!(stamp.len(), "2023-11-14T22:13:20.000000Z".len(), "{stamp}");
        assert!(stamp.starts_with("2023-11-14T22:13:20.") && stamp.ends_with('Z'));
    }
}

#[test]
fn no_field_overwrites_the_keys_that_the_host_asserts() {
    let mut line = Line::new("info", "x");
    line.message("hello");
    for key in ["@level", "@message", "@timestamp", "@module"] {
        line.field(key, 7.into());
    }
    let keys = decode(&line.finish());
    for key in ["@level", "@message", "@timestamp", "@module"] {
        assert!(keys[key].is_string(), "{key}");
        assert_eq!(keys[&format!("_{key}")], 7);
    }
    assert_eq!(
        (&keys["@level"], &keys["@message"]),
        (&"info".into(), &"hello".into())
    );
}

#[test]
fn a_message_is_text_on_one_line_whatever_it_holds() {
    let mut line = Line::new("warn", "x");
    line.message("a\nb\"\u{0}\u{1b}é");
    assert_eq!(decode(&line.finish())["@message"], "a\nb\"\u{0}\u{1b}é");
}

#[test]
fn a_long_line_is_cut_below_the_limit() {
    for size in [61_000, 200_000] {
        let mut line = Line::new("info", "x");
        // Each of these takes six bytes in JSON, and four in a string.
        line.message(&"\u{1}".repeat(size));
        line.field("big", "🦀".repeat(size).into());
        let keys = decode(&line.finish());
        assert_eq!(keys["truncated"], true);
        assert!(keys["@message"].as_str().unwrap().starts_with('\u{1}'));
    }
    let mut wide = Line::new("info", "x");
    wide.message(&"🦀".repeat(20_000));
    assert!(
        decode(&wide.finish())["@message"]
            .as_str()
            .unwrap()
            .ends_with('🦀')
    );
}
