//! Goal: rows go, and nothing that is told of balances and totals changes.
//! Method: calls of a real gateway on both stores, some long ago.

use chrono::{DateTime, Duration};
use serde_json::{Value, json};

use super::{BATCH_ROWS, remove_calls, remove_windows};
use crate::app::testing::{Gateway, MASTER};
use crate::store::ledger::verify::verify;
use crate::store::testing::on_both;

on_both![
    b7_balances_and_totals_outlive_the_rows,
    rows_go_in_batches_and_newer_ones_stay,
];

async fn call(gateway: &Gateway, key: &str) {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    let answer = gateway.data_post(key, "/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// What must not change when rows go.
async fn told(gateway: &Gateway, key: &str) -> Value {
    let usage = gateway.data_get(key, "/v1/usage").await.body;
    let info = gateway.data_get(key, "/key/info").await.body;
    json!([usage, info["info"]["spend"], info["info"]["shared_budgets"]])
}

async fn count(gateway: &Gateway, statement: &'static str) -> i64 {
    let counted = sqlx::query_scalar(statement).fetch_one(gateway.state.store.reader());
    counted.await.unwrap()
}

/// Calls of two days long ago and of today, by a key with a window a day and
/// by the master key, whose calls are charged to nothing.
async fn calls_of_old_and_today(gateway: &Gateway) -> String {
    let shared = json!([
        {"scope": "team", "id": "t", "max_budget": 5.0, "budget_duration": "1d"},
        {"scope": "role", "id": "r", "max_budget": 5.0},
    ]);
    let made = json!({"max_budget": 5.0, "shared_budgets": shared});
    let made = gateway.post("/key/generate", &made).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        call(gateway, &key).await;
        call(gateway, MASTER).await;
        gateway.clock.advance(Duration::days(1));
    }
    gateway.clock.advance(Duration::days(40));
    call(gateway, &key).await;
    gateway.state.ledger.drain().await;
    key
}

async fn b7_balances_and_totals_outlive_the_rows() {
    let gateway = Gateway::start().await;
    let key = calls_of_old_and_today(&gateway).await;
    let store = &gateway.state.store;
    let before = told(&gateway, &key).await;
    assert_eq!(before[0]["lifetime"]["calls"], 3, "{before}");
    let now = gateway.state.clock.now();
    // Twice, so that a carried sum is added to and not replaced.
    for (days, expected) in [(41, 2), (31, 2), (31, 0)] {
        let removed = remove_calls(store, now - Duration::days(days)).await;
        assert_eq!(removed.unwrap(), expected);
    }
    let left = "SELECT (SELECT COUNT(*) FROM usage) * 10 + (SELECT COUNT(*) FROM usage_account)";
    assert_eq!(count(&gateway, left).await, 12, "only today's call");
    // The windows of the first two days go; that of today stays.
    let cutoff = now - Duration::days(31);
    for (accounts, removed) in [(6, 2), (4, 0)] {
        assert_eq!(told(&gateway, &key).await, before);
        let verified = verify(store).await.unwrap();
        assert_eq!(
            (verified.accounts, verified.differences),
            (accounts, vec![])
        );
        assert_eq!(remove_windows(store, cutoff).await.unwrap(), removed);
    }
}

async fn rows_go_in_batches_and_newer_ones_stay() {
    let gateway = Gateway::start().await;
    let store = &gateway.state.store;
    let mut write = store.begin_write().await.unwrap();
    for number in 0..1_502_i64 {
        sqlx::query(
            "INSERT INTO usage (request_id, model, deployment_id, prompt_tokens,
                 completion_tokens, cached_tokens, cost_nanousd, estimated, streamed, status,
                 started_at_us, finished_at_us)
             VALUES ($1, 'm', 'd', 1, 1, 0, 1, 0, 0, 200, $2, $2)",
        )
        .bind(format!("{number:04}"))
        // Many in one moment, also where a batch ends.
        .bind(number / 1_500)
        .execute(&mut *write)
        .await
        .unwrap();
    }
    write.commit().await.unwrap();
    let cutoff = DateTime::from_timestamp_micros(1).unwrap();
    for expected in [BATCH_ROWS, 500, 0] {
        assert_eq!(remove_calls(store, cutoff).await.unwrap(), expected);
    }
    assert_eq!(count(&gateway, "SELECT COUNT(*) FROM usage").await, 2);
}
