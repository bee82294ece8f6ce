//! A gateway that is confused or hostile, under the real servers.

use std::time::Duration;

use axum::http::StatusCode;
use e2e::chaos::Fault;
use e2e::vault::Server;
use e2e::world::MOUNT;
use e2e::{Kind, World, eventually};
use serde_json::{Value, json};

on_both!(a11_a_hostile_gateway_gets_neither_lease_nor_key_past_the_engine);

fn answer(status: u16, content_type: &'static str, body: impl Into<String>) -> Fault {
    let status = StatusCode::from_u16(status).expect("a status");
    Fault::Answer(status, content_type, body.into())
}

const JSON: &str = "application/json";

/// Answers that come in place of the gateway's, which makes no key.
fn invented() -> Vec<Fault> {
    let duplicate = r#"{"error":{"message":"Key with alias 'x' already exists."}}"#;
    vec![
        answer(500, JSON, "{}"),
        answer(503, "text/html", "<html>busy</html>"),
        answer(200, "text/html", "<html>welcome</html>"),
        answer(200, JSON, "{}"),
        answer(200, JSON, "[]"),
        answer(200, JSON, r#"{"key":"token"}"#),
        answer(200, JSON, " ".repeat(10 << 20)),
        answer(302, "text/html", ""),
        answer(400, JSON, duplicate),
        Fault::Lost,
    ]
}

/// Answers of a gateway that has made the key and does not tell the truth.
fn twisted() -> Vec<Fault> {
    vec![
        Fault::AnswerLost,
        Fault::Changed(|answer| answer["expires"] = Value::Null),
        Fault::Changed(|answer| answer["expires"] = json!("2999-01-01T00:00:00Z")),
        Fault::Changed(|answer| answer["max_budget"] = Value::Null),
        Fault::Changed(|answer| answer["max_budget"] = json!(1e300)),
        Fault::Changed(|answer| answer["models"] = json!(["demo", "other"])),
        Fault::Changed(|answer| answer["token_id"] = json!("0".repeat(64))),
        Fault::Changed(|answer| answer["key"] = Value::Null),
    ]
}

async fn a11_a_hostile_gateway_gets_neither_lease_nor_key_past_the_engine(kind: Kind) {
    let world = World::start(kind).await;
    let role = json!({"models": "demo", "max_budget": 1, "ttl": "2h"});
    world.role("app", role).await;
    let path = format!("{MOUNT}/creds/app");
    let (invented, twisted) = (invented(), twisted());
    let count = invented.len() + twisted.len();
    for fault in invented.into_iter().chain(twisted) {
        let told = format!("{fault:.60?}");
        world.chaos.break_calls("/key/generate", fault);
        let refused = world.server.read(&path).await;
        assert!([400, 502].contains(&refused.status), "{told}: {refused:?}");
        assert!(world.server.leases(&path).await.is_empty(), "{told}");
    }
    // Each is remembered until the gateway has said that its key is gone.
    let entries = wal_entries(&world.server).await;
    assert_eq!(entries, count);
    for key in world.chaos.issued_keys() {
        world.canaries.add(&key);
    }

    // The last rollback of a mount that goes waits for no age.
    world.chaos.heal();
    let lease = world.issue("app").await;
    world.server.unmount(MOUNT).await;
    eventually("no key works", Duration::from_secs(10), async || {
        let mut working = 0;
        for key in world.chaos.issued_keys() {
            working += usize::from(world.gateway.try_key(&key).await == 200);
        }
        working == 0
    })
    .await;
    assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    world.expect_no_leaks();
}

async fn wal_entries(server: &Server) -> usize {
    let storage = server.storage_of(MOUNT).await;
    server.list(&format!("sys/raw/{storage}wal")).await.len()
}
