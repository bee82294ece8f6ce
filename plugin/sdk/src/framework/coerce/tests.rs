use serde_json::json;

use super::*;

/// `None` is an error.
fn check(kind: FieldType, cases: &[(Value, Option<FieldValue>)]) {
    for (input, expected) in cases {
        let found = coerce(kind, input)
            .ok()
            .map(|value| value.expect("not null"));
        assert_eq!(found, *expected, "{kind:?} from {input}");
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a cell of the tables below")]
fn text(text: &str) -> Option<FieldValue> {
    Some(FieldValue::Text(text.to_owned()))
}

#[expect(clippy::unnecessary_wraps, reason = "a cell of the tables below")]
fn texts(items: &[&str]) -> Option<FieldValue> {
    Some(FieldValue::Texts(
        items.iter().map(|item| (*item).to_owned()).collect(),
    ))
}

#[test]
fn text_fields() {
    let cases = [
        (json!("Ab"), text("Ab")),
        (json!(""), text("")),
        (json!(12), text("12")),
        (json!(9_007_199_254_740_993_i64), text("9007199254740993")),
        (json!(u64::MAX), text("18446744073709551615")),
        (json!(1.5), text("1.5")),
        (json!(1e21), text("1000000000000000000000")),
        (json!(true), text("1")),
        (json!(false), text("0")),
        (json!([]), None),
        (json!({}), None),
    ];
    check(FieldType::String, &cases);
    check(FieldType::LowerCaseString, &[(json!("AbÉ"), text("abé"))]);
    let names = [
        (json!("a-b.c"), text("a-b.c")),
        (json!(7), text("7")),
        (json!("-a"), None),
        (json!("a."), None),
        (json!(""), None),
        (json!("a b"), None),
        (json!("é"), None),
    ];
    check(FieldType::NameString, &names);
}

#[test]
fn number_fields() {
    let int = |whole| Some(FieldValue::Int(whole));
    let cases = [
        (json!(3), int(3)),
        (json!(-3.9), int(-3)),
        (json!(true), int(1)),
        (json!(""), int(0)),
        (json!("0x10"), int(16)),
        (json!("010"), int(8)),
        (json!("-010"), int(-8)),
        (json!("0o17"), int(15)),
        (json!("0b101"), int(5)),
        (json!("1_000"), int(1000)),
        (json!("0x_1_0"), int(16)),
        (json!("0_7"), int(7)),
        (json!("0"), int(0)),
        (json!("08"), None),
        (json!("_1"), None),
        (json!("1_"), None),
        (json!("1__0"), None),
        (json!("0x"), None),
        (json!("-"), None),
        (json!("-9223372036854775808"), int(i64::MIN)),
        (json!("9223372036854775808"), None),
        (json!(u64::MAX), None),
        (json!(1e19), None),
        (json!("1.5"), None),
        (json!("--1"), None),
        (json!("0x-1"), None),
        (json!("é"), None),
        (json!([1]), None),
    ];
    check(FieldType::Int, &cases);
    check(FieldType::Int64, &cases);
    let float = |number| Some(FieldValue::Float(number));
    let cases = [
        (json!(2), float(2.0)),
        (json!("2.5"), float(2.5)),
        (json!(""), float(0.0)),
        (json!(true), float(1.0)),
        (json!("x"), None),
        (json!("NaN"), None),
        (json!("-inf"), None),
        (json!("1e999"), None),
        (json!([1]), None),
    ];
    check(FieldType::Float, &cases);
}

#[test]
fn bool_fields() {
    for (words, flag) in [
        (&["1", "t", "T", "TRUE", "true", "True"][..], true),
        (&["", "0", "f", "F", "FALSE", "false", "False"], false),
    ] {
        for word in words {
            check(
                FieldType::Bool,
                &[(json!(word), Some(FieldValue::Bool(flag)))],
            );
        }
    }
    let cases = [
        (json!(0.0), Some(FieldValue::Bool(false))),
        (json!(-2), Some(FieldValue::Bool(true))),
        (json!("yes"), None),
        (json!({}), None),
    ];
    check(FieldType::Bool, &cases);
}

#[test]
fn duration_fields() {
    let seconds = |seconds| Some(FieldValue::Duration(Duration::from_secs(seconds)));
    let cases = [
        (json!(90), seconds(90)),
        (json!(90.9), seconds(90)),
        (json!("90"), seconds(90)),
        (json!("1h30m"), seconds(5400)),
        (json!("1.5h"), seconds(5400)),
        (json!("500ms"), seconds(0)),
        (json!("7d"), seconds(604_800)),
        (json!(""), seconds(0)),
        (json!(-1), None),
        (json!("-1h"), None),
        (json!("1x"), None),
        (json!("h"), None),
        (json!("1h2"), None),
        (json!("1.2.3s"), None),
        (json!("1.5d"), None),
        (json!("9223372036854775807"), None),
        (json!("200000000000000d"), None),
        (json!(true), None),
        (json!([1]), None),
    ];
    check(FieldType::DurationSecond, &cases);
    let signed = |seconds| Some(FieldValue::SignedSeconds(seconds));
    let signed = [
        (json!("-1h"), signed(-3600)),
        (json!(-90.9), signed(-90)),
        (json!("-2d"), signed(-172_800)),
        (json!("2h"), signed(7200)),
        (json!("later"), None),
    ];
    check(FieldType::SignedDurationSecond, &signed);
}

#[test]
fn time_fields() {
    let time = |seconds| DateTime::from_timestamp(seconds, 0).map(FieldValue::Time);
    let cases = [
        (json!("1970-01-01T01:00:00+01:00"), time(0)),
        (json!("1970-01-01T00:00:01.0Z"), time(1)),
        (json!("1700000000"), time(1_700_000_000)),
        (json!(1_700_000_000), time(1_700_000_000)),
        (json!(1.5), None),
        (json!("yesterday"), None),
    ];
    check(FieldType::Time, &cases);
}

#[test]
fn list_fields() {
    let cases = [
        (json!("a,b"), texts(&["a,b"])),
        (json!(""), texts(&[])),
        (json!([" a ", 1, true]), texts(&["a", "1", "1"])),
        (json!({}), None),
        (json!([[]]), None),
    ];
    check(FieldType::StringSlice, &cases);
    let cases = [
        (json!("a, b,,c"), texts(&["a", "b", "", "c"])),
        (json!(""), texts(&[])),
        (json!(["a,b"]), texts(&["a,b"])),
        (json!(7), texts(&["7"])),
    ];
    check(FieldType::CommaStringSlice, &cases);
    let ints = |items: &[i64]| Some(FieldValue::Ints(items.to_vec()));
    let cases = [
        (json!("1,2"), ints(&[1, 2])),
        (json!([1, "2"]), ints(&[1, 2])),
        (json!([1.9, true, "0x10"]), ints(&[1, 1, 16])),
        (json!("1, 2"), ints(&[1, 2])),
        (json!(""), ints(&[])),
        (json!([[]]), None),
        (json!(3), ints(&[3])),
        (json!("a"), None),
    ];
    check(FieldType::CommaIntSlice, &cases);
    let values = |items: Value| items.as_array().cloned().map(FieldValue::Values);
    let cases = [
        (json!([1, {}]), values(json!([1, {}]))),
        (json!("a"), values(json!(["a"]))),
        (json!(""), values(json!([""]))),
        (json!({}), values(json!([]))),
        (json!({"a": 1}), values(json!([{"a": 1}]))),
    ];
    check(FieldType::Slice, &cases);
}

#[test]
fn object_fields() {
    let map = |value: Value| value.as_object().cloned().map(FieldValue::Map);
    let cases = [
        (json!({"a": [1]}), map(json!({"a": [1]}))),
        (json!([]), map(json!({}))),
        (json!(""), map(json!({}))),
        (json!("{\"a\": [1]}"), map(json!({"a": [1]}))),
        (json!("[1]"), None),
        (json!("a"), None),
        (json!([1]), None),
    ];
    check(FieldType::Map, &cases);
    let pairs = |items: &[(&str, &str)]| {
        let items = items
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Some(FieldValue::Pairs(items.collect()))
    };
    let cases = [
        (json!({"a": 1, "b": "x"}), pairs(&[("a", "1"), ("b", "x")])),
        (json!(["a=1=2", "b="]), pairs(&[("a", "1=2"), ("b", "")])),
        (json!("a=1"), pairs(&[("a", "1")])),
        (json!(["a= 1 "]), pairs(&[("a", " 1 ")])),
        (json!(""), pairs(&[])),
        (json!(["=1"]), None),
        (json!(["a"]), None),
        (json!({"a": {}}), None),
    ];
    check(FieldType::KVPairs, &cases);
    let header = Some(FieldValue::Headers(
        [("X-Ab".to_owned(), vec!["1".to_owned()])].into(),
    ));
    let cases = [
        (json!({"x-ab": "1"}), header.clone()),
        (json!("{\"X-AB\": [\"1\"]}"), header.clone()),
        (json!("eyJ4LWFiIjogIjEifQ=="), header.clone()),
        (json!(["x-ab: 1"]), header),
        (json!([":1"]), None),
        (
            json!({"x y": ["1", "2"]}),
            Some(FieldValue::Headers(
                [("x y".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into(),
            )),
        ),
    ];
    check(FieldType::Header, &cases);
}

/// Whatever JSON comes in, every type answers, and null is "not given".
#[test]
fn every_type_is_total() {
    const KINDS: [FieldType; 17] = [
        FieldType::String,
        FieldType::LowerCaseString,
        FieldType::NameString,
        FieldType::Int,
        FieldType::Int64,
        FieldType::Float,
        FieldType::Bool,
        FieldType::DurationSecond,
        FieldType::SignedDurationSecond,
        FieldType::Time,
        FieldType::Map,
        FieldType::KVPairs,
        FieldType::Slice,
        FieldType::StringSlice,
        FieldType::CommaStringSlice,
        FieldType::CommaIntSlice,
        FieldType::Header,
    ];
    let scalars = [
        json!(""),
        json!("\u{0}"),
        json!("é"),
        json!("-"),
        json!("+"),
        json!("0"),
        json!("0x"),
        json!("d"),
        json!("."),
        json!("1."),
        json!(".s"),
        json!("µs"),
        json!("1µs"),
        json!(":"),
        json!("="),
        json!(","),
        json!(" "),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(f64::MAX),
        json!(-0.0),
        json!("-9223372036854775808"),
        json!(true),
        json!([null]),
        json!({"": null}),
        json!([[[]]]),
        json!({"a": {"b": []}}),
    ];
    for kind in KINDS {
        assert_eq!(coerce(kind, &Value::Null), Ok(None));
        for input in &scalars {
            if let Ok(value) = coerce(kind, input) {
                assert!(value.is_some(), "{kind:?} from {input}");
            }
        }
    }
}
