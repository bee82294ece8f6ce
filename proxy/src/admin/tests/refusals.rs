//! Why keys were refused, for who may read keys, and names that are fit for
//! log lines.

use std::net::IpAddr;

use chrono::Duration;
use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};

on_both![
    who_reads_keys_learns_why_one_was_refused,
    names_have_at_most_255_characters,
    no_name_is_a_key,
    no_key_has_the_value_of_the_master_key,
    a_query_that_cannot_be_read_is_an_error_of_the_usual_form,
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

async fn no_name_is_a_key() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    let key = text(&made, "key");
    for (path, body) in [
        ("/key/generate", json!({"key_alias": key})),
        ("/key/generate", json!({"user_id": key})),
        ("/key/update", json!({"key_alias": key, "max_budget": 1})),
        ("/team/new", json!({"team_alias": key})),
        ("/key/generate", json!({ &*key: 1 })),
    ] {
        let refused = gateway.post(path, &body).await;
        assert!(matches!(refused.status.as_u16(), 400 | 422), "{path}");
        let told = refused.body.to_string();
        assert!(!told.contains(&key[8..]), "{path} {told}");
    }
}

async fn no_key_has_the_value_of_the_master_key() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    for (path, body) in [
        ("/key/generate", json!({"key": MASTER})),
        (
            "/key/regenerate",
            json!({"key": text(&made, "token"), "new_key": MASTER}),
        ),
    ] {
        let refused = gateway.post(path, &body).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.body);
        let told = refused.body.to_string();
        assert!(told.contains("exists already"), "{told}");
    }
}

async fn a_query_that_cannot_be_read_is_an_error_of_the_usual_form() {
    let gateway = Gateway::start().await;
    let long = "a".repeat(256);
    for (path, param) in [
        ("/key/info?key=a&key=b".to_owned(), "query"),
        ("/key/list?page=1&page=2".to_owned(), "query"),
        ("/key/aliases?page=1&page=1".to_owned(), "query"),
        (format!("/key/list?search={long}"), "search"),
        (format!("/key/aliases?search={long}"), "search"),
        (
            format!("/key/list?substring_matching=true&user_id={long}"),
            "user_id",
        ),
    ] {
        let answer = gateway.admin_get(MASTER, &path).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert_eq!(answer.body["error"]["param"], param, "{path}");
    }
    for path in ["/key/%ff/regenerate", "/key/%ff/reset_spend"] {
        let answer = gateway.post(path, &json!({"reset_to": 0})).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert_eq!(answer.body["error"]["param"], "path", "{path}");
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
