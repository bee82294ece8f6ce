//! Why keys were refused, for who may read keys, and names that are fit for
//! log lines.

use std::net::IpAddr;

use chrono::Duration;
use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};

on_both![
    who_reads_keys_learns_why_one_was_refused,
    names_have_at_most_255_characters,
    models_may_be_patterns,
];

async fn last_refusal(gateway: &Gateway, hash: &str) -> Value {
    let info = gateway
        .admin_get(MASTER, &format!("/key/info?key={hash}"))
        .await;
    info.body["info"]["last_refusal"].clone()
}

async fn who_reads_keys_learns_why_one_was_refused() {
    let mut gateway = Gateway::start().await;
    let wanted = json!({"allowed_cidrs": ["127.0.0.1"], "duration": "1h"});
    let made = gateway.post("/key/generate", &wanted).await;
    let (key, mut hash) = (text(&made, "key"), text(&made, "token"));
    assert_eq!(gateway.try_key(&key).await.status, 200);
    assert_eq!(last_refusal(&gateway, &hash).await, Value::Null);
    gateway.peer = Some(IpAddr::from([10, 0, 0, 1]));
    assert_eq!(gateway.try_key(&key).await.status, 403);
    assert_eq!(last_refusal(&gateway, &hash).await["reason"], "address");
    gateway.peer = Some(IpAddr::from([127, 0, 0, 1]));
    gateway.post("/key/block", &json!({"key": hash})).await;
    assert_eq!(gateway.try_key(&key).await.status, 401);
    let blocked = last_refusal(&gateway, &hash).await;
    assert_eq!(
        blocked,
        json!({"reason": "blocked", "at": "2027-03-01T12:00:00.000000+00:00"})
    );
    gateway.post("/key/unblock", &json!({"key": hash})).await;
    let body = json!({"key": hash});
    hash = text(&gateway.post("/key/regenerate", &body).await, "token");
    let refused = gateway.try_key(&key).await;
    assert_eq!(refused.status, 401);
    assert!(!refused.body.to_string().contains("regenerated"));
    assert_eq!(last_refusal(&gateway, &hash).await["reason"], "regenerated");
    gateway.clock.advance(Duration::hours(2));
    assert_eq!(gateway.try_key(&key).await.status, 401);
    assert_eq!(last_refusal(&gateway, &hash).await["reason"], "expired");
}

async fn names_have_at_most_255_characters() {
    let gateway = Gateway::start().await;
    for (field, length, status) in [
        ("key_alias", 255, 200),
        ("key_alias", 256, 400),
        ("user_id", 255, 200),
        ("team_id", 256, 400),
    ] {
        let body = json!({ field: "é".repeat(length) });
        let answer = gateway.post("/key/generate", &body).await;
        assert_eq!(answer.status, status, "{field} {length}: {}", answer.body);
    }
}

async fn models_may_be_patterns() {
    let gateway = Gateway::start().await;
    for (models, status) in [
        (json!(["de*"]), 200),
        (json!(["openai/*"]), 403),
        (json!(["all-team-models"]), 200),
    ] {
        let made = gateway
            .post("/key/generate", &json!({"models": models}))
            .await;
        let key = text(&made, "key");
        let chat = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
        let called = gateway.data_post(&key, "/chat/completions", &chat).await;
        assert_eq!(called.status, status, "{models}: {}", called.body);
        let listed = gateway.data_get(&key, "/v1/models").await;
        let count = listed.body["data"].as_array().unwrap().len();
        assert_eq!(count, usize::from(status == 200), "{models}");
    }
}

#[tokio::test]
async fn who_may_not_read_keys_is_told_what_it_takes_and_of_no_other_route() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    let key = made.body["key"].as_str().unwrap();
    for path in ["/audit", "/key/count", "/key/list", "/key/aliases"] {
        let answer = gateway.admin_get(key, path).await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(
            answer.body["error"]["message"],
            "only the master key, or an admin key with the scope keys.read, may call this route",
            "{path}"
        );
    }
}
