//! A key's own limits, set through the key API and felt by calls.

use serde_json::{Value, json};

use super::{Answer, Gateway, MASTER, text};

async fn generate(gateway: &Gateway, fields: Value) -> String {
    let made = gateway.post("/key/generate", &fields).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.ignored, "");
    text(&made, "key")
}

async fn update(gateway: &Gateway, key: &str, mut fields: Value) -> Answer {
    fields["key"] = json!(key);
    let changed = gateway.post("/key/update", &fields).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    changed
}

async fn call(gateway: &Gateway, key: &str) -> Answer {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    gateway.data_post(key, "/v1/chat/completions", &body).await
}

async fn info(gateway: &Gateway, key: &str) -> Value {
    let info = gateway
        .admin_get(MASTER, &format!("/key/info?key={key}"))
        .await;
    info.body["info"].clone()
}

/// What one call costs, and what it is held for.
async fn prices(gateway: &Gateway) -> (f64, f64) {
    let key = generate(gateway, json!({"max_budget": 0})).await;
    let refused = call(gateway, &key).await;
    let message = refused.body["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    let bound = message.rsplit(' ').next().unwrap().parse().unwrap();
    update(gateway, &key, json!({"max_budget": null})).await;
    assert_eq!(call(gateway, &key).await.status, 200);
    let cost = info(gateway, &key).await["spend"].as_f64().unwrap();
    assert!(cost > 0.0 && cost < bound);
    (cost, bound)
}

fn advance(gateway: &Gateway, hours: i64) {
    gateway.clock.advance(chrono::TimeDelta::hours(hours));
}

fn window(field: &str, value: &Value) -> Value {
    let mut entry = json!({"budget_duration": "1d", "max_budget": 1});
    entry[field] = value.clone();
    json!({"budget_limits": [entry]})
}

fn windows(durations: &[&str]) -> Value {
    let entry = |duration: &&str| json!({"budget_duration": duration, "max_budget": 1});
    json!({"budget_limits": durations.iter().map(entry).collect::<Vec<_>>()})
}

fn model(value: &Value) -> Value {
    json!({"model_max_budget": {"demo": value}})
}

fn bad_amounts() -> Vec<(Value, u16, &'static str)> {
    let mut bodies = Vec::new();
    let amounts = json!([-1, -0.000_000_1, 1e308, "NaN", "inf", [], "many"]);
    for amount in amounts.as_array().unwrap() {
        for body in [
            window("max_budget", amount),
            model(&json!({"budget_limit": amount})),
        ] {
            bodies.push((body, 400, "non-negative finite"));
        }
    }
    bodies
}

#[tokio::test]
async fn what_is_no_budget_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let mut bodies = bad_amounts();
    for duration in [json!("x"), json!("0d"), json!(30), json!("121mo")] {
        let body = json!({"budget_duration": duration});
        bodies.push((body, 400, "budget_duration must be"));
    }
    let null = Value::Null;
    let named = |model: &str| json!({"model_max_budget": {model: {"budget_limit": 1}}});
    bodies.extend([
        (json!({"budget_limits": {}}), 422, "list"),
        (json!({"budget_limits": [1]}), 400, "objects"),
        (window("budget_duration", &null), 400, "a budget_duration"),
        (
            window("budget_duration", &json!("1y")),
            400,
            "each budget_duration to be a",
        ),
        (window("max_budget", &null), 400, "needs max_budget"),
        (window("limit", &json!(1)), 400, "the field limit"),
        (windows(&["1d", "1d"]), 400, "once"),
        (windows(&["1h", "1d", "7d", "1mo", "1w"]), 400, "room for 4"),
        (model(&json!(1)), 400, "objects"),
        (model(&json!({})), 400, "needs budget_limit"),
        (
            model(&json!({"budget_limit": 1, "max_budget": 2})),
            400,
            "one name",
        ),
        (json!({"model_max_budget": []}), 422, "dictionary"),
        (named(""), 400, "name models"),
        (named("a\tb"), 400, "name models"),
        (named("openai/*"), 400, "in full"),
        (json!({"model_rpm_limit": {"de*": 1}}), 400, "in full"),
    ]);
    let key = generate(&gateway, windows(&["1h", "1d", "7d", "1mo"])).await;
    let before = info(&gateway, &key).await;
    for (mut body, status, named) in bodies {
        let made = gateway.post("/key/generate", &body).await;
        assert_eq!(made.status, status, "{body} {}", made.body);
        assert!(made.body.to_string().contains(named), "{}", made.body);
        body["key"] = json!(key);
        assert_eq!(gateway.post("/key/update", &body).await.status, status);
    }
    assert_eq!(info(&gateway, &key).await, before);
}

#[tokio::test]
async fn a_budget_with_a_duration_counts_from_zero_in_each_window() {
    let gateway = Gateway::start().await;
    let (cost, bound) = prices(&gateway).await;
    let limits = json!({"max_budget": bound, "budget_duration": "1d"});
    let key = generate(&gateway, limits).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    let spent = info(&gateway, &key).await;
    assert_eq!(spent["spend"], json!(cost));
    assert_eq!(spent["budget_duration"], "1d");
    assert_eq!(spent["budget_reset_at"], "2027-03-02T00:00:00.000000+00:00");
    let refused = call(&gateway, &key).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let message = refused.body["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("from zero again at 2027-03-02T00:00:00Z"),
        "{message}"
    );
    advance(&gateway, 12);
    assert_eq!(info(&gateway, &key).await["spend"], 0.0);
    assert_eq!(call(&gateway, &key).await.status, 200);
    assert_eq!(call(&gateway, &key).await.status, 422);
    let spent = info(&gateway, &key).await;
    assert_eq!(spent["spend"], json!(cost));
    assert_eq!(spent["total_spend"], json!(cost * 2.0));
    // The new cap is felt in the window under way, and what was spent of it stays.
    update(&gateway, &key, json!({"max_budget": bound + cost})).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    assert_eq!(call(&gateway, &key).await.status, 422);
    // Without a duration the cap is that of its lifetime.
    update(
        &gateway,
        &key,
        json!({"budget_duration": null, "max_budget": bound + 3.0 * cost}),
    )
    .await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    assert_eq!(call(&gateway, &key).await.status, 422);
    let lifetime = info(&gateway, &key).await;
    assert_eq!(lifetime["spend"], json!(cost * 4.0));
    assert_eq!(lifetime["budget_reset_at"], Value::Null);
}

#[tokio::test]
async fn several_budgets_hold_at_the_same_time() {
    let gateway = Gateway::start().await;
    let (cost, bound) = prices(&gateway).await;
    let limits = json!({"budget_limits": [
        {"budget_duration": "1h", "max_budget": bound},
        {"budget_duration": "1d", "max_budget": bound + cost},
    ]});
    let key = generate(&gateway, limits).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    let refused = call(&gateway, &key).await;
    assert_eq!(refused.status, 422);
    let message = refused.body["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("over 1h budget"), "{message}");
    advance(&gateway, 1);
    assert_eq!(call(&gateway, &key).await.status, 200);
    let shown = info(&gateway, &key).await;
    assert_eq!(
        shown["budget_limits"][0]["reset_at"],
        "2027-03-01T14:00:00+00:00"
    );
    let usage = json!({"1h": {"current_spend": cost}, "1d": {"current_spend": cost * 2.0}});
    assert_eq!(shown["budget_limits_usage"], usage);
    advance(&gateway, 1);
    let refused = call(&gateway, &key).await;
    let message = refused.body["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("over 1d budget"), "{message}");
    // What was read may be sent back.
    let again = json!({"budget_limits": shown["budget_limits"]});
    update(&gateway, &key, again).await;
    assert_eq!(call(&gateway, &key).await.status, 422);
    update(&gateway, &key, json!({"budget_limits": null})).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    assert_eq!(info(&gateway, &key).await["budget_limits"], Value::Null);
}

#[tokio::test]
async fn a_model_has_a_budget_of_its_own() {
    let gateway = Gateway::start().await;
    let (cost, bound) = prices(&gateway).await;
    let budget = json!({"max_budget": bound, "budget_duration": "1d"});
    let limits = json!({"model_max_budget": {"demo": budget, "other": {"budget_limit": 0}}});
    let key = generate(&gateway, limits).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    let refused = call(&gateway, &key).await;
    assert_eq!(refused.status, 422);
    let message = refused.body["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("Model=demo"), "{message}");
    let shown = info(&gateway, &key).await;
    let of_demo = json!({"budget_limit": bound, "time_period": "1d"});
    assert_eq!(shown["model_max_budget"]["demo"], of_demo);
    assert_eq!(
        shown["model_max_budget_usage"]["demo"]["current_spend"],
        json!(cost)
    );
    assert_eq!(
        shown["model_max_budget_usage"]["other"]["current_spend"],
        0.0
    );
    advance(&gateway, 12);
    assert_eq!(call(&gateway, &key).await.status, 200);
    update(&gateway, &key, json!({"model_max_budget": {}})).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    // Only that model's calls are charged to it.
    let other = json!({"model_max_budget": {"other": {"budget_limit": 0}}});
    update(&gateway, &key, other).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
}

#[tokio::test]
async fn rates_are_stored_shown_felt_and_lifted() {
    let gateway = Gateway::start().await;
    let rates = json!({
        "rpm_limit": 2, "tpm_limit": 1_000_000, "max_parallel_requests": "3",
        "model_rpm_limit": {"other": 0}, "metadata": {"a": 1, "model_tpm_limit": {"demo": 900_000}},
    });
    let key = generate(&gateway, rates).await;
    let shown = info(&gateway, &key).await;
    for (field, expected) in [
        ("rpm_limit", json!(2)),
        ("tpm_limit", json!(1_000_000)),
        ("max_parallel_requests", json!(3)),
        (
            "metadata",
            json!({"a": 1, "model_rpm_limit": {"other": 0}, "model_tpm_limit": {"demo": 900_000}}),
        ),
    ] {
        assert_eq!(shown[field], expected, "{field}");
    }
    for status in [200, 200, 429] {
        assert_eq!(call(&gateway, &key).await.status, status);
    }
    let refused = call(&gateway, &key).await.body["error"].clone();
    assert_eq!(refused["type"], "throttling_error");
    let message = refused["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Limit type: requests. Current limit: 2, Remaining: 0. Limit resets at: 2027-03-01 12:01:00 UTC"), "{message}");
    gateway.clock.advance(chrono::TimeDelta::seconds(60));
    assert_eq!(call(&gateway, &key).await.status, 200);
    // What is left out stays; a refused call is not counted.
    update(&gateway, &key, json!({"model_tpm_limit": {"demo": 5}})).await;
    let refused = call(&gateway, &key).await;
    assert_eq!(refused.status, 429);
    let message = refused.body["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("Limit type: tokens. Current limit: 5"),
        "{message}"
    );
    update(
        &gateway,
        &key,
        json!({"model_tpm_limit": null, "max_parallel_requests": 0}),
    )
    .await;
    let refused = call(&gateway, &key).await;
    let message = refused.body["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("Limit type: max_parallel_requests"),
        "{message}"
    );
    let lifted = json!({"rpm_limit": null, "max_parallel_requests": null});
    update(&gateway, &key, lifted).await;
    for _ in 0..3 {
        assert_eq!(call(&gateway, &key).await.status, 200);
    }
    assert_eq!(info(&gateway, &key).await["rpm_limit"], Value::Null);
}

#[tokio::test]
async fn what_is_no_rate_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let key = generate(&gateway, json!({"rpm_limit": 7})).await;
    let before = info(&gateway, &key).await;
    let wrong = json!([
        -1,
        -0.5,
        1.5,
        1e308,
        "-1",
        "NaN",
        "inf",
        "many",
        "",
        true,
        [],
        {},
        1e13
    ]);
    for name in ["rpm_limit", "tpm_limit", "max_parallel_requests"] {
        for value in wrong.as_array().unwrap() {
            let body = json!({ "key": key, name: value });
            let refused = gateway.post("/key/update", &body).await;
            assert!([400, 422].contains(&refused.status.as_u16()), "{body}");
            assert!(refused.body.to_string().contains(name), "{body}");
        }
        for value in [json!(5), json!("5"), json!(5.0), json!(0)] {
            let body = json!({ name: value });
            assert_eq!(gateway.post("/key/generate", &body).await.status, 200);
        }
    }
    for name in ["model_rpm_limit", "model_tpm_limit"] {
        for value in [
            json!([]),
            json!(5),
            json!({"m": null}),
            json!({"m": -1}),
            json!({"": 1}),
        ] {
            for body in [
                json!({"key": key, name: value}),
                json!({"key": key, "metadata": {name: value}}),
            ] {
                let refused = gateway.post("/key/update", &body).await;
                assert!([400, 422].contains(&refused.status.as_u16()), "{body}");
            }
        }
    }
    assert_eq!(info(&gateway, &key).await, before);
    let whole = json!({"key": key, "rpm_limit": "NaN"});
    assert_eq!(gateway.post("/key/update", &whole).await.status, 400);
}
