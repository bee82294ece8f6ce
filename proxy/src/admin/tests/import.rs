//! Keys that come from LiteLLM's table.

use chrono::Duration;
use serde_json::{Map, Value, json};

use super::{Gateway, MASTER, on_both, text};
use crate::{
    admin::import::{self, Outcome},
    key::KeyHash,
    store,
};

on_both![
    an_imported_key_keeps_working_with_its_limits_and_spend,
    what_would_free_a_key_is_refused_and_what_has_no_effect_is_told,
    importing_again_changes_nothing_unless_it_is_asked_for,
    a_deleted_key_comes_back_only_when_it_is_asked_for,
    an_earlier_value_of_a_deleted_key_stays_dead,
    each_value_that_a_deleted_key_ever_had_stays_dead,
    a_deleted_key_comes_back_with_the_rules_that_only_exist_here,
    a_key_that_only_its_team_bounds_is_told_of,
    the_spend_of_a_window_counts_while_it_lasts,
];

const KEY: &str = "sk-1234567890abcdefghij-imported";

fn row(more: Value) -> Map<String, Value> {
    let mut row = json!({
        "token": KeyHash::of(KEY).to_string(),
        "key_name": "sk-...rted",
        "key_alias": "from-litellm",
        "spend": 0.25,
        "expires": null,
        "models": [],
        "aliases": {},
        "config": {},
        "permissions": {},
        "metadata": {},
        "blocked": null,
        "rotation_count": 0,
        "auto_rotate": false,
        "created_at": "2026-01-02T03:04:05.678",
        "created_by": "default_user_id",
    });
    let columns = row.as_object_mut().unwrap();
    if let Value::Object(more) = more {
        columns.extend(more);
    }
    columns.clone()
}

async fn take(
    gateway: &Gateway,
    row: &Map<String, Value>,
    replace: bool,
) -> (Outcome, Vec<String>) {
    let mut read = import::read(row, gateway.clock.now()).unwrap();
    let mut write = gateway.state.store.begin_write().await.unwrap();
    let mut trail = Vec::new();
    let outcome = import::write(&mut write, &mut read, replace, &gateway.clock, &mut trail)
        .await
        .unwrap();
    import::write_trail(&mut write, &trail).await.unwrap();
    write.commit().await.unwrap();
    (outcome, read.left_out)
}

async fn info(gateway: &Gateway) -> Value {
    let hash = KeyHash::of(KEY);
    let path = format!("/key/info?key={hash}");
    let mut answer = gateway.admin_get(MASTER, &path).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["info"].take()
}

async fn an_imported_key_keeps_working_with_its_limits_and_spend() {
    let gateway = Gateway::start().await;
    let columns = row(json!({
        "models": ["demo"],
        "aliases": {"gpt": "demo"},
        "max_budget": 0.25,
        "rpm_limit": 7,
        "metadata": {"team": "red", "model_rpm_limit": {"demo": 3}},
        "user_id": "u-1",
        "team_id": "t-1",
        "expires": "2027-03-01T13:00:00",
        "allowed_routes": ["llm_api_routes"],
        "budget_limits": r#"[{"budget_duration": "1d", "max_budget": 9}]"#,
    }));
    let taken = take(&gateway, &columns, false).await;
    assert_eq!(taken, (Outcome::Added, Vec::new()));
    assert_eq!(gateway.try_key(KEY).await.status, 200);
    let shown = info(&gateway).await;
    for (field, expected) in [
        ("key_name", json!("sk-...rted")),
        ("key_alias", json!("from-litellm")),
        ("spend", json!(0.25)),
        ("max_budget", json!(0.25)),
        ("models", json!(["demo"])),
        ("aliases", json!({"gpt": "demo"})),
        ("rpm_limit", json!(7)),
        ("user_id", json!("u-1")),
        ("team_id", json!("t-1")),
        ("blocked", json!(false)),
    ] {
        assert_eq!(shown[field], expected, "{field}");
    }
    assert_eq!(shown["metadata"]["team"], "red");
    assert_eq!(shown["metadata"]["model_rpm_limit"]["demo"], 3);
    assert_eq!(shown["budget_limits"][0]["max_budget"], 9.0);
    assert_eq!(
        text_of(&shown, "created_at"),
        "2026-01-02T03:04:05.678000+00:00"
    );
    let chat = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
    let over = gateway.data_post(KEY, "/chat/completions", &chat).await;
    assert_eq!(over.status, 422, "its budget is spent: {}", over.body);
    let found = store::ledger::verify::verify(&gateway.state.store)
        .await
        .unwrap();
    assert_eq!(found.differences.len(), 0);
    gateway.clock.advance(Duration::hours(1));
    assert_eq!(gateway.try_key(KEY).await.status, 401);
    let trail = gateway.admin_get(MASTER, "/audit").await;
    let entry = &trail.body["data"][0];
    assert_eq!(entry["action"], "key.import", "{}", trail.body);
    assert_eq!(entry["actor"], "command");
}

fn text_of(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

async fn what_would_free_a_key_is_refused_and_what_has_no_effect_is_told() {
    let gateway = Gateway::start().await;
    let now = gateway.clock.now();
    for (more, said) in [
        (json!({"token": null}), "token"),
        (json!({"token": "abc"}), "token"),
        (json!({"expires": "soon"}), "expires"),
        (json!({"expires": 5}), "expires"),
        (json!({"max_budget": -1}), "max_budget"),
        (json!({"max_budget": "NaN"}), "number"),
        (json!({"spend": -1}), "spend"),
        (json!({"spend": "1e308"}), "spend"),
        (json!({"rpm_limit": -5}), "rpm_limit"),
        (json!({"budget_duration": "always"}), "budget_duration"),
        (json!({"models": "demo"}), "list"),
        (json!({"allowed_routes": {"a": 1}}), "list"),
        (json!({"blocked": "yes"}), "boolean"),
        (json!({"user_id": "a\u{0}b"}), "user_id"),
    ] {
        let reason = import::read(&row(more.clone()), now).unwrap_err();
        assert!(reason.contains(said), "{more}: {reason}");
    }
    let columns = row(json!({
        "permissions": "{\"a\": true}",
        "organization_id": "o",
        "budget_id": "b",
        "a column of tomorrow": 1,
        "key_alias": "two\nlines",
        "key_name": KEY,
        "metadata": {"guardrails": ["g"], "tags": []},
    }));
    let (outcome, mut left_out) = take(&gateway, &columns, false).await;
    left_out.sort_unstable();
    assert_eq!(outcome, Outcome::Added);
    assert_eq!(
        left_out,
        [
            "acolumnoftomorrow",
            "budget_id",
            "key_alias",
            "metadata.guardrails",
            "organization_id",
            "permissions"
        ]
    );
    let shown = info(&gateway).await;
    assert_eq!(shown["key_alias"], Value::Null);
    assert!(!shown.to_string().contains(KEY));
}

async fn importing_again_changes_nothing_unless_it_is_asked_for() {
    let gateway = Gateway::start().await;
    let named = json!({"key_alias": "from-litellm"});
    let other = text(&gateway.post("/key/generate", &named).await, "token");
    let (outcome, left_out) = take(&gateway, &row(json!({})), false).await;
    assert_eq!(outcome, Outcome::Added);
    assert_eq!(left_out, ["key_alias, which another key has"]);
    let update = json!({"key": other, "key_alias": "mine"});
    assert_eq!(gateway.post("/key/update", &update).await.status, 200);
    let hash = KeyHash::of(KEY).to_string();
    let update = json!({"key": hash, "allowed_cidrs": ["127.0.0.1"], "max_budget": 5});
    assert_eq!(gateway.post("/key/update", &update).await.status, 200);
    let before = info(&gateway).await;
    let later = row(json!({"spend": 0.125, "max_budget": 1, "models": ["demo"]}));
    assert_eq!(take(&gateway, &later, false).await.0, Outcome::Exists);
    assert_eq!(info(&gateway).await, before);
    assert_eq!(take(&gateway, &later, true).await.0, Outcome::Replaced);
    let after = info(&gateway).await;
    assert_eq!(after["key_alias"], "from-litellm");
    assert_eq!(after["max_budget"], 1.0);
    assert_eq!(after["models"], json!(["demo"]));
    assert_eq!(after["spend"], 0.25, "never less than was spent");
    assert_eq!(after["allowed_cidrs"], before["allowed_cidrs"]);
    let more = row(json!({"spend": 0.75}));
    assert_eq!(take(&gateway, &more, true).await.0, Outcome::Replaced);
    assert_eq!(info(&gateway).await["spend"], 0.75);
}

async fn a_deleted_key_comes_back_only_when_it_is_asked_for() {
    let gateway = Gateway::start().await;
    let columns = row(json!({}));
    take(&gateway, &columns, false).await;
    let body = json!({"keys": [KEY]});
    assert_eq!(gateway.post("/key/delete", &body).await.status, 200);
    assert_eq!(take(&gateway, &columns, false).await.0, Outcome::Deleted);
    assert_eq!(gateway.try_key(KEY).await.status, 401);
    assert_eq!(take(&gateway, &columns, true).await.0, Outcome::Added);
    gateway.state.keys.invalidate(KeyHash::of(KEY));
    assert_eq!(gateway.try_key(KEY).await.status, 200);
    let body = json!({"key": KEY, "grace_period": "1h"});
    let new = gateway.post("/key/regenerate", &body).await;
    assert_eq!(new.status, 200, "{}", new.body);
    assert_eq!(take(&gateway, &columns, true).await.0, Outcome::Exists);
}

async fn an_earlier_value_of_a_deleted_key_stays_dead() {
    let gateway = Gateway::start().await;
    let columns = row(json!({}));
    take(&gateway, &columns, false).await;
    let new = gateway.post("/key/regenerate", &json!({"key": KEY})).await;
    let body = json!({"keys": [new.body["key"]]});
    assert_eq!(gateway.post("/key/delete", &body).await.status, 200);
    assert_eq!(take(&gateway, &columns, false).await.0, Outcome::Deleted);
    assert_eq!(gateway.try_key(KEY).await.status, 401);
}

async fn each_value_that_a_deleted_key_ever_had_stays_dead() {
    let gateway = Gateway::start().await;
    take(&gateway, &row(json!({})), false).await;
    let mut values = vec![KEY.to_owned()];
    for _ in 0..3 {
        let body = json!({"key": values.last(), "grace_period": "1h"});
        let new = gateway.post("/key/regenerate", &body).await;
        values.push(text(&new, "key"));
    }
    let body = json!({"keys": [values.last()]});
    assert_eq!(gateway.post("/key/delete", &body).await.status, 200);
    for value in &values {
        let token = KeyHash::of(value).to_string();
        let columns = row(json!({"token": token, "key_alias": null}));
        assert_eq!(take(&gateway, &columns, false).await.0, Outcome::Deleted);
        assert_eq!(gateway.try_key(value).await.status, 401);
    }
}

async fn a_deleted_key_comes_back_with_the_rules_that_only_exist_here() {
    let gateway = Gateway::start().await;
    take(&gateway, &row(json!({})), false).await;
    let rules = json!({
        "key": KEY,
        "allowed_cidrs": ["10.0.0.0/8"],
        "scopes": ["keys.read"],
        "shared_budgets": [{"scope": "role", "id": "r", "max_budget": 5.0}],
    });
    assert_eq!(gateway.post("/key/update", &rules).await.status, 200);
    let before = info(&gateway).await;
    let new = gateway.post("/key/regenerate", &json!({"key": KEY})).await;
    let body = json!({"keys": [new.body["key"]]});
    assert_eq!(gateway.post("/key/delete", &body).await.status, 200);
    let taken = take(&gateway, &row(json!({})), true).await;
    assert_eq!(taken.0, Outcome::Added);
    let after = info(&gateway).await;
    for field in ["allowed_cidrs", "scopes", "shared_budgets"] {
        assert_ne!(before[field], json!(null), "{field}");
        assert_eq!(after[field], before[field], "{field}");
    }
}

async fn a_key_that_only_its_team_bounds_is_told_of() {
    let gateway = Gateway::start().await;
    let left_out = async |more| take(&gateway, &row(more), true).await.1;
    let bounded = ["the models of its team"];
    assert_eq!(left_out(json!({"team_id": "t"})).await, bounded);
    let all = json!({"team_id": "t", "models": ["all-team-models"]});
    assert_eq!(left_out(all).await, bounded);
    let own = json!({"team_id": "t", "models": ["demo"]});
    assert!(left_out(own).await.is_empty());
}

async fn the_spend_of_a_window_counts_while_it_lasts() {
    for (reset_at, spend) in [
        ("2027-03-02T00:00:00", 0.25),
        ("2027-03-01 11:59:59.999", 0.0),
    ] {
        let gateway = Gateway::start().await;
        let columns = row(json!({
            "max_budget": 0.25,
            "budget_duration": "1d",
            "budget_reset_at": reset_at,
        }));
        assert_eq!(take(&gateway, &columns, false).await.0, Outcome::Added);
        assert_eq!(info(&gateway).await["spend"], spend, "{reset_at}");
        let chat = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
        let called = gateway.data_post(KEY, "/chat/completions", &chat).await;
        let expected = if spend > 0.0 { 422 } else { 200 };
        assert_eq!(called.status, expected, "{}", called.body);
        gateway.clock.advance(Duration::days(1));
        let called = gateway.data_post(KEY, "/chat/completions", &chat).await;
        assert_eq!(called.status, 200, "{}", called.body);
    }
}
