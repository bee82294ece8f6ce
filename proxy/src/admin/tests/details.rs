//! What a key has besides limits: names of its own for models, a budget that
//! only warns, when it was last used; and the end of keys nobody misses.

use chrono::Duration;
use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};

on_both![
    a_name_of_a_keys_own_stands_for_a_model_that_it_may_call,
    a_soft_budget_warns_and_refuses_nothing,
    a_key_tells_when_it_was_last_used,
    keys_that_expired_long_ago_are_deleted_and_no_others,
];

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 5})
}

async fn info(gateway: &Gateway, key: &str) -> Value {
    let mut answer = gateway
        .admin_get(MASTER, &format!("/key/info?key={key}"))
        .await;
    answer.body["info"].take()
}

async fn a_name_of_a_keys_own_stands_for_a_model_that_it_may_call() {
    let gateway = Gateway::start().await;
    for (models, status) in [
        (json!([]), 200),
        (json!(["demo"]), 200),
        (json!(["mine"]), 403),
    ] {
        let body = json!({"aliases": {"mine": "demo", "none": "nothing"}, "models": models});
        let made = gateway.post("/key/generate", &body).await;
        assert_eq!(made.body["aliases"], body["aliases"]);
        assert_eq!(made.ignored, "");
        let key = text(&made, "key");
        let path = "/v1/chat/completions";
        let called = gateway.data_post(&key, path, &chat("mine")).await;
        assert_eq!(called.status, status, "{models}: {}", called.body);
        let called = gateway.data_post(&key, path, &chat("none")).await;
        assert!(matches!(called.status.as_u16(), 400 | 403));
        let body = json!({"key": key, "aliases": {}});
        assert_eq!(gateway.post("/key/update", &body).await.status, 200);
        assert_eq!(info(&gateway, &key).await["aliases"], json!({}));
        let called = gateway.data_post(&key, path, &chat("mine")).await;
        assert_ne!(called.status, 200);
    }
    for (aliases, status) in [
        (json!({"a": 1}), 400),
        (json!({"": "demo"}), 400),
        (json!({"a": ""}), 400),
        (json!({"a\n": "demo"}), 400),
        (json!({"a": "d".repeat(256)}), 400),
        (json!("a"), 422),
        (json!(null), 200),
    ] {
        let body = json!({ "aliases": aliases });
        let answer = gateway.post("/key/generate", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
}

async fn a_soft_budget_warns_and_refuses_nothing() {
    let gateway = Gateway::start().await;
    for (soft_budget, expected) in [
        (json!(0), Some("scope=key, soft_budget=0.0")),
        (json!(1_000_000), None),
        (json!(null), None),
    ] {
        let body = json!({"soft_budget": soft_budget});
        let made = gateway.post("/key/generate", &body).await;
        let key = text(&made, "key");
        for stream in [false, true] {
            let mut call = chat("demo");
            call["stream"] = json!(stream);
            let answer = gateway.data_response(&key, "/v1/chat/completions", &call);
            let answer = answer.await;
            let warning = answer.headers().get("x-llm-proxy-budget-warning");
            let warning = warning.map(|text| text.to_str().unwrap());
            assert_eq!(warning, expected, "{soft_budget} {stream}");
        }
    }
    for soft_budget in [json!(-1), json!("NaN"), json!(1e308), json!([])] {
        let body = json!({ "soft_budget": soft_budget });
        let answer = gateway.post("/key/generate", &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
    }
}

async fn a_key_tells_when_it_was_last_used() {
    let gateway = Gateway::start().await;
    let key = text(&gateway.post("/key/generate", &json!({})).await, "key");
    assert_eq!(info(&gateway, &key).await["last_active"], Value::Null);
    for (at, regenerated) in [
        ("2027-03-01T12:01:00.000000", false),
        ("2027-03-01T12:02:00.000000", true),
    ] {
        gateway.clock.advance(Duration::minutes(1));
        let path = "/v1/chat/completions";
        let called = gateway.data_post(&key, path, &chat("demo")).await;
        assert_eq!(called.status, 200);
        gateway.state.ledger.flush().await;
        let mut named = key.clone();
        if regenerated {
            let made = gateway.post("/key/regenerate", &json!({"key": key})).await;
            named = text(&made, "key");
        }
        let shown = info(&gateway, &named).await;
        assert_eq!(shown["last_active"], format!("{at}+00:00"));
        let list = "/key/list?return_full_object=true";
        let listed = gateway.admin_get(MASTER, list).await;
        let row = &listed.body["keys"][0];
        assert_eq!(row["last_active"], format!("{at}Z"));
    }
}

async fn keys_that_expired_long_ago_are_deleted_and_no_others() {
    let gateway = Gateway::start().await;
    for (alias, duration) in [
        ("long-ago", json!("1h")),
        ("lately", json!("30d")),
        ("later", json!("90d")),
        ("never", Value::Null),
    ] {
        let body = json!({"key_alias": alias, "duration": duration});
        assert_eq!(gateway.post("/key/generate", &body).await.status, 200);
    }
    gateway.clock.advance(Duration::days(31));
    for (body, status) in [
        (json!({}), 400),
        (json!({"expired_for": "soon"}), 400),
        (json!({"expired_for": 5}), 400),
        (json!({"expired_for": "999999999w"}), 400),
        (json!({"expired_for": "30d", "all": true}), 422),
    ] {
        let answer = gateway.post("/key/delete_expired", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    for deleted in [1, 0] {
        let body = json!({"expired_for": "7d"});
        let done = gateway.post("/key/delete_expired", &body).await;
        assert_eq!(done.body, json!({"deleted": deleted, "more": false}));
    }
    let left = gateway.admin_get(MASTER, "/key/aliases").await;
    assert_eq!(left.body["aliases"], json!(["lately", "later", "never"]));
    let trail = gateway.admin_get(MASTER, "/audit").await;
    assert_eq!(trail.body["data"][0]["action"], "key.delete");
    assert_eq!(trail.body["data"][0]["before"]["key_alias"], "long-ago");
}
