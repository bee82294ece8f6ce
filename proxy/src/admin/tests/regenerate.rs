//! `/key/regenerate`: another value for the same key.

use chrono::Duration;
use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};
use crate::app::testing::Answer;

async fn regenerate(gateway: &Gateway, key: &str, body: Value) -> Answer {
    let path = format!("/key/{key}/regenerate");
    gateway.post(&path, &body).await
}

async fn spent(gateway: &Gateway, key: &str) -> f64 {
    let info = gateway.try_key(key).await;
    assert_eq!(info.status, 200, "{}", info.body);
    info.body["info"]["spend"].as_f64().unwrap()
}

async fn call(gateway: &Gateway, key: &str) -> u16 {
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5});
    let answer = gateway.data_post(key, "/v1/chat/completions", &chat).await;
    answer.status.as_u16()
}

on_both![
    a_regenerated_key_keeps_all_but_its_value,
    a_grace_period_keeps_the_old_value_until_its_end,
    without_a_grace_period_every_earlier_value_ends,
    an_earlier_value_can_be_ended_by_itself_and_ends_with_its_key,
    what_cannot_be_regenerated_is_refused_and_changes_nothing,
];

async fn a_regenerated_key_keeps_all_but_its_value() {
    let gateway = Gateway::start().await;
    let wanted = json!({"key_alias": "a", "max_budget": 5, "metadata": {"m": 1},
        "shared_budgets": [{"scope": "team", "id": "t", "max_budget": 9}]});
    let made = gateway.post("/key/generate", &wanted).await;
    let old = text(&made, "key");
    assert_eq!(call(&gateway, &old).await, 200);
    let before = spent(&gateway, &old).await;
    assert!(before > 0.0);

    let named = json!({"key": old, "models": ["demo"]});
    let new = gateway.post("/key/regenerate", &named).await;
    assert_eq!(new.status, 200, "{}", new.body);
    let key = text(&new, "key");
    assert!(key.starts_with("sk-llp_") && key != old);
    for (field, expected) in [
        ("key_alias", json!("a")),
        ("max_budget", json!(5.0)),
        ("metadata", json!({"m": 1})),
        ("models", json!(["demo"])),
        ("spend", json!(before)),
    ] {
        assert_eq!(new.body[field], expected, "{field}");
    }
    assert_eq!(new.body["shared_budgets"][0]["spend"], json!(before));
    assert_eq!(gateway.try_key(&old).await.status, 401);
    assert_eq!(call(&gateway, &key).await, 200);
    assert!(spent(&gateway, &key).await > before);
    let list = gateway.admin_get(MASTER, "/key/list").await;
    assert_eq!(list.body["keys"], json!([new.body["token"]]));
    gateway.state.ledger.drain().await;
    let verified = crate::store::ledger::verify::verify(&gateway.state.store).await;
    assert!(verified.unwrap().differences.is_empty());
}

async fn a_grace_period_keeps_the_old_value_until_its_end() {
    let gateway = Gateway::start().await;
    let made = gateway
        .post("/key/generate", &json!({"key_alias": "a"}))
        .await;
    let first = text(&made, "key");
    let grace = || json!({"grace_period": "24h"});
    let second = text(&regenerate(&gateway, &first, grace()).await, "key");
    gateway.clock.advance(Duration::hours(1));
    let hash = text(&regenerate(&gateway, &second, grace()).await, "token");
    let list = gateway.admin_get(MASTER, "/key/list").await;
    assert_eq!(list.body["keys"], json!([hash]));
    for key in [&first, &second] {
        assert_eq!(gateway.try_key(key).await.status, 200);
    }
    // The change of the key reaches the values that it had before.
    gateway.post("/key/block", &json!({"key": hash})).await;
    for key in [&first, &second] {
        assert_eq!(gateway.try_key(key).await.status, 401);
    }
    gateway.post("/key/unblock", &json!({"key": hash})).await;
    assert_eq!(call(&gateway, &first).await, 200);
    gateway.clock.advance(Duration::hours(23));
    assert_eq!(gateway.try_key(&first).await.status, 401);
    assert_eq!(gateway.try_key(&second).await.status, 200);
    let about = gateway
        .admin_get(MASTER, &format!("/key/info?key={first}"))
        .await;
    assert_eq!(about.body["info"]["replaced_by"], json!(hash));
    assert_eq!(about.body["info"]["status"], "expired");
    gateway.clock.advance(Duration::hours(1));
    assert_eq!(gateway.try_key(&second).await.status, 401);
}

async fn without_a_grace_period_every_earlier_value_ends() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    let first = text(&made, "key");
    let graced = regenerate(&gateway, &first, json!({"grace_period": "1h"})).await;
    let second = text(&graced, "key");
    assert_eq!(gateway.try_key(&first).await.status, 200);
    assert_eq!(gateway.try_key(&second).await.status, 200);
    let third = text(&regenerate(&gateway, &second, json!({})).await, "key");
    for (key, status) in [(&first, 401), (&second, 401), (&third, 200)] {
        assert_eq!(gateway.try_key(key).await.status, status);
    }
}

async fn an_earlier_value_can_be_ended_by_itself_and_ends_with_its_key() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    let first = text(&made, "key");
    let grace = || json!({"grace_period": "1h"});
    let second = text(&regenerate(&gateway, &first, grace()).await, "key");
    let third = text(&regenerate(&gateway, &second, grace()).await, "key");
    let delete = |key: &str| json!({"keys": [key]});
    assert_eq!(gateway.try_key(&first).await.status, 200);
    assert_eq!(
        gateway.post("/key/delete", &delete(&first)).await.status,
        200
    );
    assert_eq!(
        gateway.post("/key/delete", &delete(&first)).await.status,
        404
    );
    for (key, status) in [(&first, 401), (&second, 200), (&third, 200)] {
        assert_eq!(gateway.try_key(key).await.status, status);
    }
    assert_eq!(
        gateway.post("/key/delete", &delete(&third)).await.status,
        200
    );
    for key in [&first, &second, &third] {
        assert_eq!(gateway.try_key(key).await.status, 401);
    }
}

async fn what_cannot_be_regenerated_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let made = gateway
        .post("/key/generate", &json!({"key_alias": "a"}))
        .await;
    let other = gateway
        .post("/key/generate", &json!({"key_alias": "b"}))
        .await;
    let first = text(&made, "key");
    let graced = regenerate(&gateway, &first, json!({"grace_period": "1h"})).await;
    let key = text(&graced, "key");
    for (body, status) in [
        (json!({"grace_period": "soon"}), 400),
        (json!({"grace_period": 60}), 400),
        (json!({"grace_period": "99999w"}), 200),
        (json!({"grace_period": "9999999w"}), 400),
        (json!({"new_key": "sk-weak"}), 400),
        (json!({"new_key": 5}), 422),
        (json!({"new_key": text(&other, "key")}), 400),
        (json!({"key_alias": "b"}), 400),
        (json!({"no_such_field": 1}), 422),
    ] {
        let made = gateway.post("/key/generate", &json!({})).await;
        let key = text(&made, "key");
        let answer = regenerate(&gateway, &key, body.clone()).await;
        assert_eq!(answer.status, status, "{body} => {}", answer.body);
        assert_eq!(gateway.try_key(&key).await.status, 200, "{body}");
    }
    // No value of a live key can be given again.
    for value in [&key, &first] {
        let again = regenerate(&gateway, &key, json!({"new_key": value})).await;
        assert_eq!(again.status, 400, "{}", again.body);
    }
    assert_eq!(
        regenerate(&gateway, super::ABSENT, json!({})).await.status,
        404
    );
    assert_eq!(regenerate(&gateway, "rubbish", json!({})).await.status, 400);
    assert_eq!(regenerate(&gateway, &first, json!({})).await.status, 404);
    let missing = gateway.post("/key/regenerate", &json!({})).await;
    assert_eq!(missing.status, 422);
}
