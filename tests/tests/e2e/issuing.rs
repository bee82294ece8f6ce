//! A key's life while it is being issued, and when everybody who knew of it is
//! gone.

use std::time::{Duration, Instant};

use e2e::chaos::Fault;
use e2e::world::MOUNT;
use e2e::{Kind, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both!(
    a1_no_key_outlives_its_ttl_though_vault_and_engine_are_gone,
    a2_a_caller_who_hangs_up_leaves_no_key,
    a3_rollback_spares_a_key_that_is_still_being_issued,
);

async fn a1_no_key_outlives_its_ttl_though_vault_and_engine_are_gone(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "5s", "max_ttl": "1h"}),
        )
        .await;
    let issued = world.issue("app").await;
    let renewed = world.issue("app").await;
    world
        .server
        .renew(&renewed.id, Duration::from_secs(15))
        .await
        .expect_ok();
    let granted = Instant::now();
    world.server.kill_hard();

    // The lease's 5 s and the 60 s that a key may outlive it by.
    eventually(
        "the issued key ends by itself",
        Duration::from_secs(67),
        async || world.gateway.try_key(&issued.key).await == 401,
    )
    .await;
    assert!(
        granted.elapsed() > Duration::from_secs(5),
        "a key ends no earlier than its lease"
    );
    // The renewed one was granted 15 s.
    eventually(
        "the renewed key ends by itself",
        Duration::from_secs(20),
        async || world.gateway.try_key(&renewed.key).await == 401,
    )
    .await;
    assert!(
        granted.elapsed() < Duration::from_secs(15 + 60 + 3),
        "{:?}",
        granted.elapsed()
    );
    world.expect_no_leaks();
}

/// The request goes on at the engine when its caller has gone, and nobody gets
/// the lease: the key it made must end without one.
async fn a2_a_caller_who_hangs_up_leaves_no_key(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let delay = Duration::from_secs(2);
    world
        .chaos
        .break_calls("/key/generate", Fault::AnswerLate(delay));
    let path = format!("{MOUNT}/creds/app");
    let hung_up = tokio::time::timeout(delay / 2, world.server.read(&path)).await;
    assert!(hung_up.is_err(), "the answer came before the caller left");

    let keys = async || {
        let (_, list) = world
            .gateway
            .admin(Method::GET, "/key/list", &Value::Null)
            .await;
        list["total_count"].as_u64().expect("a count")
    };
    assert_eq!(keys().await, 1, "the gateway has made the key");
    eventually("the key ends", Duration::from_secs(30), async || {
        keys().await == 0
    })
    .await;
    world.expect_no_leaks();
}

/// The gateway makes the key at once and answers just before the engine would
/// give up. The server starts a rollback every minute, so that of two such
/// requests, half a minute apart, at least one meets it with its write-ahead
/// entry written and its key made.
async fn a3_rollback_spares_a_key_that_is_still_being_issued(kind: Kind) {
    let world = World::start_with_real_wal_age(kind).await;
    let config = json!({"request_timeout": "60s", "verify_connection": false});
    let path = format!("{MOUNT}/config");
    world.server.write(&path, &config).await.expect_ok();
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let delay = Duration::from_secs(57);
    world
        .chaos
        .break_calls("/key/generate", Fault::AnswerLate(delay));

    let started = Instant::now();
    let rollbacks = world.server.rollbacks().await;
    let later = async {
        eventually("half a minute", Duration::from_secs(31), async || {
            started.elapsed() > delay / 2
        })
        .await;
        world.issue("app").await
    };
    let (first, second) = tokio::join!(world.issue("app"), later);
    assert!(
        world.server.rollbacks().await > rollbacks,
        "no rollback came while the keys were being issued"
    );
    for lease in [first, second] {
        assert_eq!(world.gateway.try_key(&lease.key).await, 200);
        assert!(world.server.lease_ttl(&lease.id).await.is_some());
    }
    // And none that is still to come has anything to do with them.
    let storage = world.server.storage_of(MOUNT).await;
    assert!(
        world
            .server
            .list(&format!("sys/raw/{storage}wal"))
            .await
            .is_empty()
    );
    world.expect_no_leaks();
}
