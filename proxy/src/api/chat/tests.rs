//! Goal: whatever becomes of calls, no slot of their key stays taken; and no call
//! of a key with a cap goes to a model without a price. Method: the whole data
//! plane, with calls that end in every way at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::app::testing::{Answer, Gateway, MASTER};
use crate::config::{Config, Deployment, Provider};
use crate::store::testing::on_both;

/// Those with failpoints run apart from the usual ones, and may take longer.
const CALLS: usize = if cfg!(feature = "failpoints") {
    10_000
} else {
    500
};
const SLOTS: u64 = 20;
const WAYS: usize = 8;

/// A model without a price, and one whose provider does not answer.
fn models(config: &mut Config) {
    let demo = Deployment::clone(&config.models[0]);
    let mut unpriced = demo.clone();
    unpriced.public_name = "unpriced".into();
    unpriced.price = None;
    unpriced.free = false;
    let mut broken = demo;
    broken.public_name = "broken".into();
    broken.provider = Provider::OpenAiCompatible;
    broken.api_base = "http://127.0.0.1:1/v1".parse().unwrap();
    config.models.extend([unpriced, broken].map(Arc::new));
}

async fn start() -> Gateway {
    Gateway::start_with(models).await
}

async fn generate(gateway: &Gateway, fields: &Value) -> String {
    let made = gateway.post("/key/generate", fields).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.body["key"].as_str().unwrap().to_owned()
}

fn asked(model: &str, more: &Value) -> Value {
    let message = json!({"role": "user", "content": "many words, one after the other"});
    let mut body = json!({"model": model, "messages": [message]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn call(gateway: &Gateway, key: &str, body: &Value) -> Answer {
    gateway.data_post(key, "/v1/chat/completions", body).await
}

/// One call in one way to end; 429 is one more.
async fn end(gateway: &Gateway, key: &str, way: usize, at: usize) {
    let stream = asked("demo", &json!({"stream": true}));
    match way {
        0 => drop(call(gateway, key, &asked("demo", &json!({}))).await),
        1 => drop(call(gateway, key, &asked("broken", &json!({}))).await),
        2 => drop(call(gateway, key, &asked("absent", &json!({}))).await),
        // Refused by its budget, after it had its slot; 503 once the gateway stops.
        3 => {
            let dear = json!({"max_tokens": 9_000_000, "n": 128});
            let refused = call(gateway, key, &asked("broken", &dear)).await;
            assert!([422, 429, 503].contains(&refused.status.as_u16()));
        }
        4 => {
            let path = "/v1/chat/completions";
            let response = gateway.data_stream(key, path, &stream).await;
            let _read = response.into_body().collect().await;
        }
        // The caller goes after the first piece.
        5 => {
            let path = "/v1/chat/completions";
            let response = gateway.data_stream(key, path, &stream).await;
            let _piece = response.into_body().frame().await;
        }
        // The caller goes at any moment before.
        _ => {
            let patience = Duration::from_micros(u64::try_from(at % 50).unwrap() * 100);
            let body = if way == 6 {
                stream
            } else {
                asked("demo", &json!({}))
            };
            let path = "/v1/chat/completions";
            let response = gateway.data_stream(key, path, &body);
            let _cut = tokio::time::timeout(patience, response).await;
        }
    }
}

on_both![b8_no_slot_stays_taken_however_calls_end,];

async fn b8_no_slot_stays_taken_however_calls_end() {
    let gateway = Arc::new(start().await);
    let fields = json!({"max_parallel_requests": SLOTS, "max_budget": 1_000});
    let key = Arc::<str>::from(generate(&gateway, &fields).await);
    let mut calls = JoinSet::new();
    for at in 0..CALLS {
        if calls.len() >= 40 {
            calls.join_next().await.unwrap().unwrap();
        }
        let (caller, key) = (Arc::clone(&gateway), Arc::clone(&key));
        calls.spawn(async move { end(&caller, &key, at % WAYS, at).await });
        assert!(gateway.state.ledger.slots() <= SLOTS);
        if at + 20 == CALLS {
            // The rest is let go on, or is refused.
            gateway.state.tasks.stop();
        }
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    assert!(gateway.state.tasks.drain(Duration::from_secs(10)).await);
    assert_eq!(gateway.state.ledger.slots(), 0);
    gateway.state.ledger.drain().await;
    let path = format!("/key/info?key={key}");
    let info = gateway.admin_get(MASTER, &path).await;
    let spend = info.body["info"]["spend"].as_f64();
    assert!(spend.unwrap() > 0.0, "no call was made");
}

#[tokio::test]
async fn b6_a_model_without_a_price_is_refused_to_every_key_with_a_cap() {
    let gateway = start().await;
    let body = asked("unpriced", &json!({}));
    for fields in [
        json!({"max_budget": 5}),
        json!({"max_budget": 5, "budget_duration": "1d"}),
        json!({"budget_limits": [{"budget_duration": "1d", "max_budget": 5}]}),
        json!({"model_max_budget": {"unpriced": {"budget_limit": 5}}}),
        json!({"shared_budgets": [{"scope": "team", "id": "t", "max_budget": 5}]}),
    ] {
        let key = generate(&gateway, &fields).await;
        let refused = call(&gateway, &key, &body).await;
        assert_eq!(refused.status, 403, "{fields}");
        assert_eq!(refused.body["error"]["type"], "model_not_priced");
    }
    let key = generate(&gateway, &json!({})).await;
    assert_eq!(call(&gateway, &key, &body).await.status, 200, "no cap");
}

#[tokio::test]
async fn what_a_waiting_call_keeps_in_memory_is_small() {
    let gateway = start().await;
    let request = Request::new(Body::empty());
    // It is moved more than once before it waits.
    let call = super::answered(&gateway.state, request);
    assert!(size_of_val(&call) <= 8 * 1024, "{}", size_of_val(&call));
}
