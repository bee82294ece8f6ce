//! The key API against both real stores, through the routers.
#![expect(
    clippy::cognitive_complexity,
    reason = "it counts each assertion as a branch"
)]

mod arithmetic;
mod audit;
mod bounds;
mod changes;
mod cidrs;
mod details;
mod ended_callers;
mod group_fields;
mod group_rates;
mod groups;
mod hostile;
mod import;
mod limits;
mod listing;
mod many;
mod matrix;
mod refusals;
mod regenerate;
mod reset_spend;
mod scopes;
mod seals;
mod shared_budgets;
mod spend;

use serde_json::{Value, json};

use crate::app::testing::{Answer, Gateway, MASTER};
use crate::store::testing::on_both;

const ABSENT: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn text(answer: &Answer, field: &str) -> String {
    answer.body[field].as_str().unwrap().to_owned()
}

on_both![
    a_generated_key_is_shown_once_and_works_at_once,
    what_cannot_be_generated_is_refused_and_changes_nothing,
    budgets_may_be_numbers_texts_booleans_zero_or_none,
    only_the_master_key_manages_and_a_key_sees_only_itself,
    c5_a_key_that_was_asked_for_too_early_works_once_it_exists,
    a_store_that_fails_is_503_and_never_401,
];

async fn a_generated_key_is_shown_once_and_works_at_once() {
    let gateway = Gateway::start().await;
    let wanted = json!({
        "key_alias": "first", "max_budget": 5.5, "duration": "1h", "models": ["demo"],
        "metadata": {"a": {"b": [1]}}, "key_type": "llm_api", "user_id": "u", "team_id": "t",
        "soft_budget": 3, "tags": [], "guardrails": ["g"], "prompts": ["p"],
    });
    let made = gateway.post("/key/generate", &wanted).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.ignored, "guardrails,prompts");
    let (key, hash) = (text(&made, "key"), text(&made, "token"));
    assert!(key.starts_with("sk-llp_"));
    assert_eq!(made.body["token_id"], made.body["token"]);
    assert_eq!(made.body["expires"], "2027-03-01T13:00:00.000000Z");
    assert_eq!(made.body["duration"], Value::Null);
    let info = gateway.try_key(&key).await;
    assert_eq!(info.status, 200);
    assert_eq!(info.body["key"], hash.as_str());
    let row = &info.body["info"];
    for (field, expected) in [
        ("key_alias", json!("first")),
        ("max_budget", json!(5.5)),
        ("spend", json!(0.0)),
        ("models", json!(["demo"])),
        ("metadata", json!({"a": {"b": [1]}})),
        ("allowed_routes", json!(["llm_api_routes"])),
        ("expires", json!("2027-03-01T13:00:00.000000+00:00")),
        ("status", json!("active")),
        ("user_id", json!("u")),
        ("team_id", json!("t")),
    ] {
        assert_eq!(row[field], expected, "{field}");
    }
    assert!(!info.body.to_string().contains(&key));
}

async fn what_cannot_be_generated_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    assert_eq!(
        gateway
            .post("/key/generate", &json!({"key_alias": "taken"}))
            .await
            .status,
        200
    );
    for (body, status) in [
        (r#"{"key_alias":"taken"}"#, 400),
        (r#"{"key_alias":"a\nb"}"#, 400),
        (r#"{"user_id":"a\u0000b"}"#, 400),
        (r#"{"max_budget":-1}"#, 400),
        (r#"{"max_budget":-0.0000000001}"#, 400),
        (r#"{"max_budget":NaN}"#, 400),
        (r#"{"max_budget":"NaN"}"#, 400),
        (r#"{"max_budget":"inf"}"#, 400),
        (r#"{"max_budget":1e308}"#, 400),
        (r#"{"max_budget":1e999}"#, 400),
        (r#"{"max_budget":"abc"}"#, 422),
        (r#"{"max_budget":[]}"#, 422),
        (r#"{"duration":"10"}"#, 400),
        (r#"{"duration":"soon"}"#, 400),
        (r#"{"duration":10}"#, 422),
        (r#"{"duration":"999999999w"}"#, 400),
        (r#"{"models":"demo"}"#, 422),
        (r#"{"models":[1]}"#, 422),
        (r#"{"metadata":"x"}"#, 422),
        (r#"{"key_type":"root"}"#, 422),
        (r#"{"blocked":"yes"}"#, 422),
        (r#"{"key":"sk-abc"}"#, 400),
        (r#"{"key":"sk-chosen-1234567890"}"#, 400),
        (r#"{"key":"foo-QJ7ZAaPj16abR07BqixA7A"}"#, 400),
        (
            r#"{"key":"sk-llp_QJ7ZAaPj16abR07BqixA7AQJ7ZAaPj16abR07"}"#,
            400,
        ),
        (r#"{"no_such_field":1}"#, 422),
        (r#"{"allowed_cidrs":["10.0.0.0/33"]}"#, 400),
        (r#"{"allowed_cidrs":"10.0.0.0/8"}"#, 422),
        (r#"{"shared_budgets":{}}"#, 422),
        ("{", 400),
        ("[]", 400),
    ] {
        let answer = gateway.post_text("/key/generate", body.to_owned()).await;
        assert_eq!(answer.status, status, "{body} => {}", answer.body);
        assert!(answer.body.get("error").is_some() || answer.body.get("detail").is_some());
    }
    let list = gateway.admin_get(MASTER, "/key/list").await;
    assert_eq!(list.body["total_count"], 1);
}

async fn budgets_may_be_numbers_texts_booleans_zero_or_none() {
    let gateway = Gateway::start().await;
    for (budget, stored) in [
        (json!(0), json!(0.0)),
        (json!("1.5"), json!(1.5)),
        (json!(true), json!(1.0)),
        (json!(1e-9), json!(1e-9)),
        (json!(null), json!(null)),
    ] {
        let made = gateway
            .post("/key/generate", &json!({"max_budget": budget}))
            .await;
        assert_eq!(made.body["max_budget"], stored, "{budget}");
    }
}

async fn only_the_master_key_manages_and_a_key_sees_only_itself() {
    let gateway = Gateway::start().await;
    let own = gateway.post("/key/generate", &json!({})).await;
    let other = gateway.post("/key/generate", &json!({})).await;
    let (key, hash) = (text(&own, "key"), text(&own, "token"));
    for path in ["generate", "update", "delete", "block", "unblock"] {
        let path = format!("/key/{path}");
        let body = json!({"key": hash, "keys": [hash]});
        assert_eq!(
            gateway.post_as(&key, &path, &body).await.status,
            401,
            "{path}"
        );
        assert_eq!(
            gateway.post_as(&hash, &path, &body).await.status,
            401,
            "{path}"
        );
    }
    assert_eq!(gateway.admin_get(&key, "/key/list").await.status, 403);
    assert_eq!(gateway.admin_get(&key, "/key/info").await.status, 200);
    let about = |hash: String| format!("/key/info?key={hash}");
    assert_eq!(
        gateway.admin_get(&key, &about(hash.clone())).await.status,
        200
    );
    assert_eq!(
        gateway
            .admin_get(&key, &about(text(&other, "token")))
            .await
            .status,
        403
    );
    assert_eq!(
        gateway
            .admin_get(MASTER, &about(text(&other, "key")))
            .await
            .status,
        200
    );
    assert_eq!(
        gateway
            .admin_get(MASTER, &about(ABSENT.to_owned()))
            .await
            .status,
        404
    );
    assert_eq!(gateway.admin_get(MASTER, "/key/info").await.status, 404);
    assert_eq!(gateway.try_key(MASTER).await.status, 404);
}

async fn c5_a_key_that_was_asked_for_too_early_works_once_it_exists() {
    let gateway = Gateway::start().await;
    let chosen = "sk-QJ7ZAaPj16abR07BqixA7A";
    assert_eq!(gateway.try_key(chosen).await.status, 401);
    assert_eq!(
        gateway
            .post("/key/generate", &json!({"key": chosen}))
            .await
            .status,
        200
    );
    assert_eq!(gateway.try_key(chosen).await.status, 200);
    assert_eq!(
        gateway
            .post("/key/generate", &json!({"key": chosen}))
            .await
            .status,
        400
    );
}

async fn a_store_that_fails_is_503_and_never_401() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    gateway.state.store.close().await;
    let refused = gateway.try_key(&text(&made, "key")).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let mistyped = format!("sk-llp_{}", "0".repeat(36));
    assert_eq!(gateway.try_key(&mistyped).await.status, 401);
}
