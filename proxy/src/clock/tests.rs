//! Goal: a clock that is set, forwards or back, ends no call early, and is the
//! one clock that expiry and windows follow. Method: a gateway whose clock the test
//! moves by an hour; the clock of a gateway on a real PostgreSQL.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::Clock;
use crate::app::testing::{Gateway, MASTER};
use crate::app::time::synchronise;
use crate::store::ledger::verify::verify;
use crate::store::testing::{Database, Kind, on_both};

on_both![
    f5_a_call_outlives_every_jump_of_the_clock,
    f5_a_window_is_counted_from_zero_once_however_the_clock_jumps,
    f5_a_key_expires_by_the_clock_in_both_directions,
    f5_gateways_on_one_database_follow_its_clock,
];

async fn key(gateway: &Gateway, fields: Value) -> String {
    let made = gateway.post("/key/generate", &fields).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.body["key"].as_str().unwrap().to_owned()
}

/// The status of the smallest call.
async fn call(gateway: &Gateway, key: &str) -> u16 {
    let messages = json!([{"role": "user", "content": "x"}]);
    let body = json!({"model": "demo", "max_tokens": 10, "messages": messages});
    let answer = gateway.data_post(key, "/v1/chat/completions", &body).await;
    answer.status.as_u16()
}

/// The row of the only call; it settles just after its last byte.
async fn settled(gateway: &Gateway) -> Value {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        gateway.state.ledger.drain().await;
        let rows = gateway.admin_get(MASTER, "/spend/logs").await.body;
        if let Some(row) = rows.get(0) {
            return row.clone();
        }
        assert!(Instant::now() < deadline, "the call is not settled");
    }
}

async fn f5_a_call_outlives_every_jump_of_the_clock() {
    let gateway = Gateway::start().await;
    let key = key(&gateway, json!({"max_budget": 5.0})).await;
    let prompt = "word ".repeat(2_000);
    let body = json!({
        "model": "demo", "stream": true, "messages": [{"role": "user", "content": prompt}],
    });
    let path = "/v1/chat/completions";
    let mut answer = gateway.data_response(&key, path, &body).await.into_body();
    for hours in [1, -2, 1] {
        answer.frame().await.unwrap().unwrap();
        gateway.clock.advance(TimeDelta::hours(hours));
    }
    let rest = answer.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    let row = settled(&gateway).await;
    assert_eq!(row["estimated"], false, "{row}");
    // Waiting for the store is measured by another clock too.
    gateway.clock.advance(TimeDelta::hours(-1));
    assert_eq!(call(&gateway, &key).await, 200);
}

async fn f5_a_window_is_counted_from_zero_once_however_the_clock_jumps() {
    let gateway = Gateway::start().await;
    // It is noon; a call of the model costs some millionths, a hold a little more.
    let fields = json!({"max_budget": 0.000_2, "budget_duration": "1h"});
    let key = key(&gateway, fields).await;
    let spend_all = async || {
        let mut calls = 0;
        while call(&gateway, &key).await == 200 {
            calls += 1;
            assert!(calls < 100, "the budget has no end");
        }
        gateway.state.ledger.drain().await;
        calls
    };
    let of_noon = spend_all().await;
    assert!(of_noon > 0);
    for (hours, calls) in [(1, of_noon), (-1, 0), (1, 0), (-1, 0), (2, of_noon)] {
        gateway.clock.advance(TimeDelta::hours(hours));
        assert_eq!(spend_all().await, calls, "{hours} hours");
    }
    let verified = verify(&gateway.state.store).await.unwrap();
    assert_eq!(verified.differences, vec![]);
}

async fn f5_a_key_expires_by_the_clock_in_both_directions() {
    let gateway = Gateway::start().await;
    let key = key(&gateway, json!({"duration": "30m"})).await;
    for (minutes, status) in [(29, 200), (2, 401), (-60, 200), (60, 401)] {
        gateway.clock.advance(TimeDelta::minutes(minutes));
        assert_eq!(gateway.try_key(&key).await.status, status, "{minutes}");
    }
}

async fn f5_gateways_on_one_database_follow_its_clock() {
    let database = Database::new().await;
    let store = database.open().await;
    let hour = TimeDelta::hours(1);
    for wrong in [hour, -hour] {
        let clock = Clock::of_database();
        clock.set(Utc::now() + wrong);
        synchronise(&store, &clock).await.unwrap();
        let asked = store.now().await.unwrap();
        assert_eq!(asked.is_some(), database.kind == Kind::Postgres);
        let off = match asked {
            Some(told) => clock.now() - told,
            // SQLite has no clock of its own.
            None => clock.now() - (Utc::now() + wrong),
        };
        assert!(off.abs() < TimeDelta::seconds(2), "{off}");
    }
}
