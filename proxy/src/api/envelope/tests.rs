//! Goal: what is accepted is what a provider will read, bounds included, and
//! nothing in it chooses where the call goes. Method: tables of bodies.

use super::*;

fn error_of(body: &str) -> String {
    match Envelope::parse(body.as_bytes()) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn a_call_is_read_as_far_as_needed() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":7,"n":2,"stream_options":{"include_usage":true}}"#;
    let envelope = Envelope::parse(body).expect("valid");
    assert_eq!(envelope.model, "m");
    assert!(envelope.stream && envelope.wants_usage);
    assert_eq!(envelope.max_output_tokens, Some(7));
    assert_eq!(envelope.choices, 2);
    let messages = r#"[{"role":"user","content":"hi"}]"#.len();
    let bound = u64::try_from(messages).expect("small") + FRAMING_TOKENS;
    assert_eq!(envelope.input_bound, bound);
}

#[test]
fn everything_that_reaches_the_prompt_counts() {
    let bound = |body: &str| Envelope::parse(body.as_bytes()).expect(body).input_bound;
    let plain = bound(r#"{"model":"m","messages":[]}"#);
    for name in ["tools", "functions", "response_format", "prediction"] {
        let body = format!(
            r#"{{"model":"m","messages":[],"{name}":["{}"]}}"#,
            "x".repeat(500)
        );
        assert!(bound(&body) >= plain + 500, "{name}");
    }
}

#[test]
fn a_part_that_is_no_text_counts_as_a_context_window() {
    for (content, media) in [
        (r#""hi""#, 0),
        (r#"[{"type":"text","text":"hi"}]"#, 0),
        (r#"[{"t\u0079pe":"te\u0078t","text":"hi"}]"#, 0),
        (
            r#"[{"type":"image_url","image_url":{"url":"http://a"}}]"#,
            1,
        ),
        (
            r#"[{"type":"text","text":"a"},{"type":"file"},{"type":"input_audio"}]"#,
            2,
        ),
        (r#"[{"image":"http://a"}]"#, 1),
        (r#"[{"type":"file","type":"text"}]"#, 1),
        (r#"[{"type":"file"}],"content":"hi""#, 1),
        (r#"[{"type":5}]"#, 1),
    ] {
        let messages = format!(r#"[{{"role":"user","content":{content}}}]"#);
        let body = format!(r#"{{"model":"m","messages":{messages}}}"#);
        let envelope = Envelope::parse(body.as_bytes()).expect("valid");
        let bytes = u64::try_from(messages.len()).expect("small");
        let expected = bytes + FRAMING_TOKENS + media * MEDIA_TOKENS;
        assert_eq!(envelope.input_bound, expected, "{content}");
    }
}

#[test]
fn a_cap_of_zero_is_no_cap() {
    for (caps, expected) in [
        (r#""max_tokens":0"#, None),
        (r#""max_completion_tokens":0"#, None),
        (r#""max_tokens":0,"max_completion_tokens":0"#, None),
        (r#""max_tokens":6,"max_completion_tokens":0"#, Some(6)),
    ] {
        let body = format!(r#"{{"model":"m","messages":[],{caps}}}"#);
        let envelope = Envelope::parse(body.as_bytes()).expect("valid");
        assert_eq!(envelope.max_output_tokens, expected, "{caps}");
    }
}

#[test]
fn only_the_tier_that_is_priced_is_passed_on() {
    for (tier, expected) in [
        ("null", "accepted"),
        (r#""auto""#, "accepted"),
        (r#""default""#, "accepted"),
        (r#""priority""#, "service_tier must be auto or default"),
        (r#""flex""#, "service_tier must be auto or default"),
        ("1", "service_tier must be a text"),
    ] {
        let body = format!(r#"{{"model":"m","messages":[],"service_tier":{tier}}}"#);
        let error = error_of(&body);
        assert!(error.contains(expected), "{tier}: {error}");
    }
}

#[test]
fn null_is_the_same_as_left_out() {
    let body = br#"{"model":"m","messages":[],"stream":null,"max_tokens":null,"n":null,"stream_options":null}"#;
    let envelope = Envelope::parse(body).expect("valid");
    assert!(!envelope.stream && !envelope.wants_usage);
    assert_eq!((envelope.max_output_tokens, envelope.choices), (None, 1));
}

#[test]
fn the_larger_of_two_caps_bounds_the_answer() {
    let body = br#"{"model":"m","messages":[],"max_tokens":5,"max_completion_tokens":9}"#;
    let envelope = Envelope::parse(body).expect("valid");
    assert_eq!(envelope.max_output_tokens, Some(9));
}

#[test]
fn bad_bodies_are_refused_by_field() {
    for (body, named) in [
        ("", "not a valid JSON object"),
        ("{", "not a valid JSON object"),
        ("[]", "not a valid JSON object"),
        ("null", "not a valid JSON object"),
        (
            r#"{"model":"m","messages":[]} x"#,
            "not a valid JSON object",
        ),
        (r#"{"messages":[]}"#, "model is missing"),
        (r#"{"model":5,"messages":[]}"#, "model must be a text"),
        (r#"{"model":"","messages":[]}"#, "model is empty"),
        (r#"{"model":"m"}"#, "messages must be"),
        (r#"{"model":"m","messages":"hi"}"#, "messages must be"),
        (
            r#"{"model":"m","messages":[],"stream":"yes"}"#,
            "stream must be",
        ),
        (
            r#"{"model":"m","messages":[],"stream_options":1}"#,
            "stream_options must be",
        ),
        (
            r#"{"model":"m","messages":[],"max_tokens":-1}"#,
            "max_tokens must be",
        ),
        (
            r#"{"model":"m","messages":[],"max_tokens":1.5}"#,
            "max_tokens must be",
        ),
        (
            r#"{"model":"m","messages":[],"max_tokens":1e99}"#,
            "max_tokens must be",
        ),
        (
            r#"{"model":"m","messages":[],"max_tokens":99999999}"#,
            "max_tokens must be at most",
        ),
        (r#"{"model":"m","messages":[],"n":0}"#, "n must be between"),
        (
            r#"{"model":"m","messages":[],"n":129}"#,
            "n must be between",
        ),
        (
            r#"{"model":"m","messages":[],"best_of":-3}"#,
            "best_of must be",
        ),
        (r#"{"model":"a","model":"b","messages":[]}"#, "position 2"),
        (
            r#"{"model":"a","mod\u0065l":"b","messages":[]}"#,
            "position 2",
        ),
        (r#"{"b":1,"a":1,"b":2,"a":2}"#, "position 3"),
    ] {
        let error = error_of(body);
        assert!(error.contains(named), "{body}: {error}");
    }
}

#[test]
fn h5_no_field_chooses_the_upstream() {
    for name in REFUSED {
        let body = format!(r#"{{"model":"m","messages":[],"{name}":"http://trap"}}"#);
        let error = error_of(&body);
        assert!(error.contains("operator's to choose"), "{name}: {error}");
        assert!(!error.contains("trap"), "{name} was echoed");
    }
    let escaped = r#"{"model":"m","messages":[],"api\u005fbase":"http://trap"}"#;
    assert!(error_of(escaped).contains("operator's to choose"));
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"model":"m","messages":{open}{close}}}"#)
    };
    assert_eq!(error_of(&nested(63)), "accepted");
    assert!(error_of(&nested(64)).contains("nested deeper"));
    assert!(error_of(&nested(1_000_000)).contains("nested deeper"));
    let text = format!(r#"{{"model":"m","messages":["{}\""]}}"#, "[".repeat(500));
    assert_eq!(error_of(&text), "accepted", "brackets in a text are text");
}

#[test]
fn only_the_model_changes_in_a_plain_call() {
    let body = r#"{"temperature": 1.10e0 ,"model" : "public","messages":[ {"role":"user","content":"a\u00e9"} ],"seed":12345678901234567890}"#;
    let envelope = Envelope::parse(body.as_bytes()).expect("valid");
    let sent = |model| envelope.rewritten(&Bytes::from_static(body.as_bytes()), model);
    let expected = body.replace(r#""public""#, r#""up\"stream""#);
    assert_eq!(sent("up\"stream"), expected);
    assert_eq!(sent("public"), body);
}

#[test]
fn a_body_that_is_right_already_is_not_copied() {
    let body = Bytes::from(
        r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    let envelope = Envelope::parse(&body).expect("valid");
    assert_eq!(envelope.rewritten(&body, "m").as_ptr(), body.as_ptr());
    assert_ne!(envelope.rewritten(&body, "n").as_ptr(), body.as_ptr());
}

#[test]
fn the_refused_are_in_the_order_of_the_alphabet() {
    assert!(REFUSED.is_sorted());
}

#[test]
fn a_stream_asks_for_its_usage() {
    let usage = r#"{"include_usage":true}"#;
    for (given, expected) in [
        (
            "",
            format!(r#", "stream":true,"stream_options":{usage}}} "#),
        ),
        (
            r#","stream_options":null"#,
            format!(r#","stream_options":{usage}, "stream":true}} "#),
        ),
        (
            r#","stream_options": {"include_usage":false,"x":{}}"#,
            r#","stream_options": {"include_usage":true,"x":{}}, "stream":true} "#.to_owned(),
        ),
    ] {
        for model in ["m", "u"] {
            let body = format!(r#" {{"messages":[],"model":"m"{given}, "stream":true}} "#);
            let body = Bytes::from(body);
            let envelope = Envelope::parse(&body).expect("valid");
            let sent = envelope.rewritten(&body, model);
            let expected = format!(r#" {{"messages":[],"model":"{model}"{expected}"#);
            assert_eq!(sent, expected, "{given}");
            assert!(!envelope.wants_usage, "{given}");
        }
    }
}
