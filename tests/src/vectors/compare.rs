//! Two answers, field by field. A time is compared by its format, an identifier
//! by being one.

use std::fmt;

use serde_json::Value;

/// One field that is not as it was recorded.
#[derive(Debug, Clone)]
pub struct Difference {
    /// `status`, `header <name>`, or where in the body: `error.message`, `keys.0`;
    /// the body itself is the empty text.
    pub path: String,
    pub recorded: Option<Value>,
    pub ours: Option<Value>,
}

impl Difference {
    pub(super) fn of_status(recorded: u16, ours: u16) -> Self {
        Self {
            path: "status".to_owned(),
            recorded: Some(recorded.into()),
            ours: Some(ours.into()),
        }
    }

    pub(super) fn missing_header(name: &str) -> Self {
        Self {
            path: format!("header {name}"),
            recorded: Some(Value::Bool(true)),
            ours: None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or_else(|| "absent".to_owned(), ToString::to_string)
        };
        let (recorded, ours) = (shown(&self.recorded), shown(&self.ours));
        write!(f, "{}: recorded {recorded}, ours {ours}", self.path)
    }
}

pub(super) fn bodies(recorded: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    fields("", Some(recorded), Some(ours), &mut found);
    found
}

fn fields(path: &str, recorded: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Difference>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match (recorded, ours) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            for name in left
                .keys()
                .chain(right.keys().filter(|name| !left.contains_key(*name)))
            {
                fields(&below(name), left.get(name), right.get(name), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                let name = index.to_string();
                fields(&below(&name), left.get(index), right.get(index), found);
            }
        }
        (Some(left), Some(right)) if same(left, right) => {}
        (left, right) => found.push(Difference {
            path: path.to_owned(),
            recorded: left.cloned(),
            ours: right.cloned(),
        }),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(left), Value::String(right)) => {
            left == right || is_identifier(left) && is_identifier(right) || same_time(left, right)
        }
        (left, right) => left == right,
    }
}

/// A UUID.
fn is_identifier(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Both are times, written alike: the same separators, zone and digits, and
/// milliseconds padded with zeros where the recording pads them.
fn same_time(left: &str, right: &str) -> bool {
    let format = |text: &str| -> String {
        text.chars()
            .map(|char| if char.is_ascii_digit() { '0' } else { char })
            .collect()
    };
    let padded = |text: &str| text.contains("000+") || text.contains("000Z");
    format(left).starts_with("0000-00-00T00:00:00")
        && format(left) == format(right)
        && (padded(right) || !padded(left))
}

/// Whether a text matches a pattern in which `*` stands for anything.
pub fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len())
                .filter(|index| text.is_char_boundary(*index))
                .any(|index| glob(rest, &text[index..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(recorded: &Value, ours: &Value, expected: &[&str]) {
        let found: Vec<String> = bodies(recorded, ours)
            .into_iter()
            .map(|difference| difference.path)
            .collect();
        assert_eq!(found, expected, "{recorded} {ours}");
    }

    #[test]
    fn each_field_that_differs_is_named() {
        let recorded = json!({"a": {"b": [1, 2]}, "c": null, "d": "x"});
        check(&recorded, &recorded, &[]);
        check(
            &recorded,
            &json!({"a": {"b": [1, 3]}, "d": "x"}),
            &["a.b.1", "c"],
        );
        check(&json!({}), &json!({"extra": 1}), &["extra"]);
        check(&json!(1.0), &json!(1), &[""]);
        check(&json!("text"), &json!({}), &[""]);
    }

    #[test]
    fn times_are_compared_by_their_format() {
        let exact = json!("2026-11-21T04:42:33.063185Z");
        let padded = json!("2026-11-21T04:42:33.063000+00:00");
        check(&exact, &json!("2027-01-02T00:00:00.123456Z"), &[]);
        check(&exact, &padded, &[""]);
        check(&padded, &json!("2027-01-02T00:00:00.120000+00:00"), &[]);
        check(&padded, &json!("2027-01-02T00:00:00.123456+00:00"), &[""]);
        check(&exact, &json!(null), &[""]);
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("info.*", "info.status", true),
            ("*.status", "info.status", true),
            ("keys.*.team_*", "keys.0.team_id", true),
            ("info.*", "status", false),
            ("status", "status.x", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
