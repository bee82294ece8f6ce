//! Goal: a running stream ends with its key and is settled. On a real store,
//! with a caller that has stopped reading in the middle, so that the built-in
//! model cannot be done first.

use std::time::Duration;

use chrono::TimeDelta;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::app::testing::{Gateway, MASTER};
use crate::store::testing::on_both;

on_both![c4_the_running_stream_of_a_key_that_ended_is_cut_and_settled,];

/// What the rest of a stream said, after its key was ended in the middle.
async fn cut(end: impl AsyncFnOnce(&Gateway, &str)) -> String {
    let gateway = Gateway::start().await;
    let made = json!({"max_budget": 5.0, "duration": "1h"});
    let made = gateway.post("/key/generate", &made).await;
    let key = made.body["key"].as_str().unwrap();
    let prompt = "word ".repeat(5_000);
    let body = json!({
        "model": "demo", "stream": true, "messages": [{"role": "user", "content": prompt}],
    });
    let path = "/v1/chat/completions";
    let answer = gateway.data_response(key, path, &body).await;
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    end(&gateway, key).await;
    // Nothing is read while the stream is cut.
    assert!(gateway.state.tasks.drain(Duration::from_secs(5)).await);
    let rest = body.collect().await.unwrap().to_bytes();
    gateway.state.ledger.drain().await;
    let rows = gateway.admin_get(MASTER, "/spend/logs").await.body;
    assert_eq!(rows[0]["estimated"], true, "{rows}");
    assert!(rows[0]["spend"].as_f64().unwrap() > 0.0, "{rows}");
    String::from_utf8(rest.to_vec()).unwrap()
}

async fn post(gateway: &Gateway, path: &str, body: Value) {
    assert_eq!(gateway.post(path, &body).await.status, 200, "{path}");
}

async fn c4_the_running_stream_of_a_key_that_ended_is_cut_and_settled() {
    let (deleted, blocked, expired) = tokio::join!(
        cut(async |gateway, key| post(gateway, "/key/delete", json!({"keys": [key]})).await),
        cut(async |gateway, key| post(gateway, "/key/block", json!({"key": key})).await),
        cut(async |gateway, _key| gateway.clock.advance(TimeDelta::hours(2))),
    );
    for rest in [deleted, blocked, expired] {
        assert!(!rest.contains("[DONE]"));
        assert!(rest.len() < 500_000, "{}", rest.len());
    }
}
