//! Goal: no number gets around a limit. Method: every numeric field of every body
//! of the key API, with all that is no amount, and thousands that may be.

use serde_json::{Value, json};

use super::{Answer, Gateway, MASTER, on_both, text};

/// Each field of a key with a number, as a body with that number left out, and
/// where it is shown.
const FIELDS: [(&str, &str); 9] = [
    (r#"{"max_budget":#}"#, "/max_budget"),
    (r#"{"rpm_limit":#}"#, "/rpm_limit"),
    (r#"{"tpm_limit":#}"#, "/tpm_limit"),
    (r#"{"max_parallel_requests":#}"#, "/max_parallel_requests"),
    (
        r#"{"budget_limits":[{"budget_duration":"1d","max_budget":#}]}"#,
        "/budget_limits/0/max_budget",
    ),
    (
        r#"{"model_max_budget":{"demo":{"budget_limit":#}}}"#,
        "/model_max_budget/demo/budget_limit",
    ),
    (
        r#"{"model_rpm_limit":{"demo":#}}"#,
        "/metadata/model_rpm_limit/demo",
    ),
    (
        r#"{"model_tpm_limit":{"demo":#}}"#,
        "/metadata/model_tpm_limit/demo",
    ),
    (
        r#"{"shared_budgets":[{"scope":"role","id":"r","max_budget":#}]}"#,
        "/shared_budgets/0/max_budget",
    ),
];

/// What is no amount in any field: refused, and nothing changes.
const NO_AMOUNTS: [&str; 22] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "\"NaN\"",
    "\"inf\"",
    "\"-inf\"",
    "\"Infinity\"",
    "-1",
    "-0.000000001",
    "\"-1\"",
    "1e308",
    "-1e308",
    "1e400",
    "\"1e308\"",
    "1e19",
    "9007199254740993000",
    "18446744073709551616",
    "\"ten\"",
    "\"\"",
    "[1]",
    "{\"a\":1}",
    "0x10",
];

async fn call(gateway: &Gateway, key: &str, more: &str) -> Answer {
    let body =
        format!(r#"{{"model":"demo","messages":[{{"role":"user","content":"hello"}}]{more}}}"#);
    let path = "/v1/chat/completions";
    gateway.data_post_text(key, path, body).await
}

async fn info(gateway: &Gateway, key: &str) -> Value {
    let path = format!("/key/info?key={key}");
    gateway.admin_get(MASTER, &path).await.body["info"].clone()
}

fn with_key(body: &str, key: &str) -> String {
    body.replacen('{', &format!(r#"{{"key":"{key}","#), 1)
}

on_both![
    b6_what_is_no_amount_is_refused_everywhere_and_changes_nothing,
    b6_zero_refuses_the_first_call_in_every_field,
    b6_a_call_is_bounded_or_refused_whatever_it_asks_for,
];

async fn b6_what_is_no_amount_is_refused_everywhere_and_changes_nothing() {
    let gateway = Gateway::start().await;
    for (field, shown) in FIELDS {
        let made = gateway
            .post_text("/key/generate", field.replace('#', "5"))
            .await;
        assert_eq!(made.status, 200, "{field}: {}", made.body);
        let key = text(&made, "key");
        let before = info(&gateway, &key).await;
        let found = before.pointer(shown).and_then(Value::as_f64);
        assert_eq!(found, Some(5.0), "{field} {before}");
        for amount in NO_AMOUNTS {
            let body = field.replace('#', amount);
            let updated = with_key(&body, &key);
            for (path, body) in [("/key/generate", body), ("/key/update", updated)] {
                let refused = gateway.post_text(path, body.clone()).await;
                let status = refused.status.as_u16();
                assert!([400, 422].contains(&status), "{body} {}", refused.body);
            }
        }
        assert_eq!(info(&gateway, &key).await, before, "{field}");
    }
    let made = gateway.post("/key/generate", &json!({})).await;
    for amount in NO_AMOUNTS {
        let path = format!("/key/{}/reset_spend", text(&made, "token"));
        let body = format!(r#"{{"reset_to":{amount}}}"#);
        let refused = gateway.post_text(&path, body).await;
        let status = refused.status.as_u16();
        assert!([400, 422].contains(&status), "{amount} {}", refused.body);
    }
}

async fn b6_zero_refuses_the_first_call_in_every_field() {
    let gateway = Gateway::start().await;
    for (field, shown) in FIELDS {
        for zero in ["0", "0.0", "-0.0", "\"0\"", "0e5"] {
            let made = gateway
                .post_text("/key/generate", field.replace('#', zero))
                .await;
            if made.status != 200 {
                // As no whole number: but never as no limit.
                let status = made.status.as_u16();
                assert!([400, 422].contains(&status), "{field} {zero}");
                continue;
            }
            let key = text(&made, "key");
            let found = info(&gateway, &key).await;
            let found = found.pointer(shown).and_then(Value::as_f64);
            assert_eq!(found, Some(0.0), "{field} {zero}");
            let refused = call(&gateway, &key, "").await;
            let status = refused.status.as_u16();
            assert!([422, 429].contains(&status), "{field} {zero} {status}");
        }
    }
}

async fn b6_a_call_is_bounded_or_refused_whatever_it_asks_for() {
    let gateway = Gateway::start().await;
    let made = gateway
        .post("/key/generate", &json!({"max_budget": 0}))
        .await;
    let key = text(&made, "key");
    // What a call is held for, in USD: the refusal of a key without money says it.
    let bound = async |more: &str| {
        let refused = call(&gateway, &key, more).await;
        let message = refused.body["error"]["message"]
            .as_str()
            .unwrap_or_default();
        let amount = message
            .rsplit(' ')
            .next()
            .and_then(|text| text.parse().ok());
        (refused.status.as_u16(), amount.unwrap_or_default())
    };
    let (_, usual): (u16, f64) = bound("").await;
    assert!(usual > 0.0, "no max_tokens is bounded by the model");
    for name in ["n", "best_of"] {
        for count in ["2", "17", "128"] {
            let (status, held) = bound(&format!(r#","{name}":{count}"#)).await;
            assert_eq!(status, 422);
            assert!(held > usual, "{name}={count}: {held} {usual}");
        }
        let bad = NO_AMOUNTS.into_iter().chain(["0", "129", "1.5", "true"]);
        for count in bad {
            let (status, _) = bound(&format!(r#","{name}":{count}"#)).await;
            assert_eq!(status, 400, "{name}={count}");
        }
        let (status, held) = bound(&format!(r#","{name}":null"#)).await;
        assert_eq!((status, held), (422, usual), "{name}");
    }
    for name in ["max_tokens", "max_completion_tokens"] {
        for amount in NO_AMOUNTS.into_iter().chain(["1.5", "true"]) {
            let (status, _) = bound(&format!(r#","{name}":{amount}"#)).await;
            assert_eq!(status, 400, "{name}={amount}");
        }
        // Providers read zero as no cap.
        for none in ["0", "null"] {
            let (status, held) = bound(&format!(r#","{name}":{none}"#)).await;
            assert_eq!((status, held), (422, usual), "{name}={none}");
        }
    }
    assert_eq!(info(&gateway, &key).await["spend"], json!(0.0));
}

/// Xorshift: the same on every machine.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// A number's text, of any sign, length and exponent.
fn number(random: &mut u64) -> String {
    let mut text = String::new();
    if next(random).is_multiple_of(4) {
        text.push('-');
    }
    let digits = next(random) % 22 + 1;
    let point = next(random) % 24;
    for at in 0..digits {
        if at == point && at > 0 {
            text.push('.');
        }
        let digit = match at {
            0 if digits > 1 && point != 1 => next(random) % 9 + 1,
            _ => next(random) % 10,
        };
        text.push_str(&digit.to_string());
    }
    if next(random).is_multiple_of(3) {
        let exponent = i64::try_from(next(random) % 800).unwrap() - 400;
        text = format!("{text}e{exponent}");
    }
    match next(random) % 5 {
        0 => format!("\"{text}\""),
        _ => text,
    }
}

#[tokio::test]
async fn b6_any_number_is_the_limit_it_says_or_refused() {
    let gateway = Gateway::start().await;
    let (mut random, mut taken) = (0x9e37_79b9_7f4a_7c15, 0);
    for _ in 0..1_200 {
        let (field, shown) = FIELDS[usize::try_from(next(&mut random) % 9).unwrap()];
        let amount = number(&mut random);
        let body = field.replace('#', &amount);
        let made = gateway.post_text("/key/generate", body.clone()).await;
        let status = made.status.as_u16();
        assert!([200, 400, 422].contains(&status), "{body} {}", made.body);
        if status != 200 {
            continue;
        }
        taken += 1;
        let said: f64 = amount.trim_matches('"').parse().unwrap();
        let found = info(&gateway, &text(&made, "key")).await;
        let found = found.pointer(shown).and_then(Value::as_f64);
        let found = found.unwrap_or_else(|| panic!("{body}: no limit"));
        // To the nano-dollar.
        let is_it = (found - said).abs() <= 1e-9 + 1e-15 * said;
        assert!(said >= 0.0 && is_it, "{body}: {found}");
    }
    assert!(taken > 100, "{taken}");
}
