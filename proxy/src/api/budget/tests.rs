//! Goal: what a key is told of its budgets and its usage is what was charged,
//! and the warning names the fullest account.

use chrono::{Duration, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{NanoUsd, Window, a_day};
use crate::app::testing::Gateway;
use crate::store::testing::on_both;

on_both![
    a_key_is_told_where_each_of_its_accounts_stands,
    a_key_is_told_what_it_used_today_this_month_and_ever,
    only_a_good_virtual_key_is_told,
    an_answer_warns_of_the_fullest_account_from_four_fifths_on,
];

async fn key(gateway: &Gateway, fields: Value) -> String {
    let made = gateway.post("/key/generate", &fields).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.body["key"].as_str().unwrap().to_owned()
}

/// Answers what it cost.
async fn call(gateway: &Gateway, key: &str) -> f64 {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    let answer = gateway.data_post(key, "/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let usage = &answer.body["usage"];
    let price = |field: &str, price| usage[field].as_f64().unwrap() * price;
    price("prompt_tokens", 1e-6) + price("completion_tokens", 2e-6)
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!(
        (found - expected).abs() < 1e-12,
        "{found} is not {expected}"
    );
}

async fn a_key_is_told_where_each_of_its_accounts_stands() {
    let gateway = Gateway::start().await;
    let shared = json!([
        {"scope": "team", "id": "t", "max_budget": 0.5, "budget_duration": "1d"},
        {"scope": "role", "id": "r", "max_budget": 9.0},
    ]);
    let fields = json!({"max_budget": 1.0, "key_type": "llm_api", "shared_budgets": shared,
        "model_max_budget": {"demo": {"max_budget": 2.0}}});
    let key = key(&gateway, fields).await;
    let cost = call(&gateway, &key).await;
    gateway.state.ledger.drain().await;
    for path in ["/v1/budget", "/budget"] {
        let answer = gateway.data_get(&key, path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let accounts = answer.body["data"].as_array().unwrap();
        let scopes: Vec<_> = accounts
            .iter()
            .map(|one| one["scope"].as_str().unwrap())
            .collect();
        assert_eq!(scopes, ["key", "team", "role", "key_model"]);
        for (account, limit) in accounts.iter().zip([1.0, 0.5, 9.0, 2.0]) {
            near(&account["limit"], limit);
            near(&account["posted"], cost);
            near(&account["held"], 0.0);
            near(&account["remaining"], limit - cost);
        }
        assert_eq!(accounts[0]["resets_at"], Value::Null);
        assert_eq!(accounts[1]["resets_at"], "2027-03-02T00:00:00Z");
        assert_eq!(accounts[1]["id"], "t");
        // The day is half over.
        near(&accounts[0]["burn_per_day"], cost);
        near(&accounts[1]["burn_per_day"], cost * 2.0);
        near(&accounts[2]["burn_per_day"], cost);
    }
}

async fn a_key_is_told_what_it_used_today_this_month_and_ever() {
    let gateway = Gateway::start().await;
    let (mine, other) = (
        key(&gateway, json!({})).await,
        key(&gateway, json!({})).await,
    );
    let mut cost = call(&gateway, &mine).await;
    call(&gateway, &other).await;
    gateway.clock.advance(Duration::days(1));
    cost += call(&gateway, &mine).await;
    gateway.state.ledger.drain().await;
    let answer = gateway.data_get(&mine, "/v1/usage").await.body;
    for (span, calls) in [("today", 1), ("this_month", 2), ("lifetime", 2)] {
        assert_eq!(answer[span]["calls"], calls, "{answer}");
    }
    near(&answer["lifetime"]["cost"], cost);
    gateway.clock.advance(Duration::days(31));
    let answer = gateway.data_get(&mine, "/usage").await.body;
    for (span, calls) in [("today", 0), ("this_month", 0), ("lifetime", 2)] {
        assert_eq!(answer[span]["calls"], calls, "{answer}");
    }
}

async fn only_a_good_virtual_key_is_told() {
    let gateway = Gateway::start().await;
    let admin = key(&gateway, json!({"scopes": ["usage.read"]})).await;
    for (key, status) in [
        (crate::app::testing::MASTER, 404),
        (admin.as_str(), 403),
        ("sk-unknown-key-of-the-test", 401),
    ] {
        for path in ["/v1/usage", "/v1/budget"] {
            assert_eq!(gateway.data_get(key, path).await.status, status, "{path}");
        }
    }
}

async fn an_answer_warns_of_the_fullest_account_from_four_fifths_on() {
    let gateway = Gateway::start().await;
    let free = key(&gateway, json!({})).await;
    let cost = call(&gateway, &free).await;
    let shared = json!([{"scope": "role", "id": "r", "max_budget": cost * 250.0}]);
    let key = key(
        &gateway,
        json!({"max_budget": 5.0, "shared_budgets": shared}),
    )
    .await;
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    for count in 1..250 {
        let answer = gateway
            .data_response(&key, "/v1/chat/completions", &body)
            .await;
        if let Some(warning) = answer.headers().get("x-llm-proxy-budget-warning") {
            assert!((200..=201).contains(&count), "after {count} of 250 calls");
            assert_eq!(warning.to_str().unwrap(), "scope=role, percent=80");
            return;
        }
    }
    panic!("no warning");
}

#[test]
fn a_young_window_is_no_measure_of_a_day() {
    let start = Utc::now();
    let window = Window {
        start,
        end: start + TimeDelta::days(1),
    };
    let posted = NanoUsd::from_nanos(1_000);
    for (elapsed_s, expected) in [
        (0, 1_440_000),
        (60, 1_440_000),
        (43_200, 2_000),
        (86_400, 1_000),
    ] {
        let now = start + TimeDelta::seconds(elapsed_s);
        assert_eq!(a_day(posted, window, now).nanos(), expected, "{elapsed_s}");
    }
}
