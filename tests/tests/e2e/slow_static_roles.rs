//! Static roles through restarts, crashes and outages, each of which waits for
//! more than one of the server's minutes.

use std::time::Duration;

use e2e::chaos::Fault;
use e2e::vault::Storage;
use e2e::world::MOUNT;
use e2e::{Kind, World, eventually};
use serde_json::{Value, json};

use crate::static_roles::{creds, expect_ended, key_of, rotate, written};

on_both!(
    a_restart_keeps_the_schedule,
    a_gateway_that_is_down_delays_a_rotation_and_loses_no_key,
    a_crash_during_a_rotation_loses_no_key_and_leaves_none,
    a_role_deleted_while_the_gateway_is_down_leaves_no_key,
);

fn every(period: &str) -> Value {
    json!({"models": "demo", "max_budget": 1, "rotation_period": period})
}

/// Longer than two of the server's minutes, with time to work.
const MINUTES: Duration = Duration::from_secs(160);

async fn a_restart_keeps_the_schedule(kind: Kind) {
    let world = World::start_on(kind, Storage::Raft).await;
    let slow = written(&world, "slow", every("1h")).await;
    let due = creds(&world, "slow").await["ttl"].clone();
    let fast = written(&world, "fast", every("5s")).await;
    world.server.restart().await;
    assert_eq!(key_of(&world, "slow").await, slow);
    assert!(creds(&world, "slow").await["ttl"].as_u64() <= due.as_u64());
    eventually("what became due is rotated", MINUTES, async || {
        key_of(&world, "fast").await != fast
    })
    .await;
    expect_ended(&world, &fast).await;
    assert_eq!(key_of(&world, "slow").await, slow);
    assert_eq!(world.gateway.try_key(&slow).await, 200);
    world.expect_no_leaks();
}

async fn a_gateway_that_is_down_delays_a_rotation_and_loses_no_key(kind: Kind) {
    let world = World::start(kind).await;
    let first = written(&world, "app", every("5s")).await;
    world.chaos.break_calls("/key/generate", Fault::Lost);
    let storage = world.server.storage_of(MOUNT).await;
    // An attempt leaves a write-ahead entry, because nobody knows its outcome.
    eventually("an attempt", MINUTES, async || {
        let entries = world.server.list(&format!("sys/raw/{storage}wal")).await;
        !entries.is_empty()
    })
    .await;
    assert_eq!(key_of(&world, "app").await, first);
    assert_eq!(world.gateway.try_key(&first).await, 200);
    assert_eq!(creds(&world, "app").await["ttl"], 0);
    world.chaos.heal();
    eventually("another attempt", MINUTES, async || {
        let key = key_of(&world, "app").await;
        assert_eq!(world.gateway.try_key(&key).await, 200);
        key != first
    })
    .await;
    expect_ended(&world, &first).await;
    world.expect_no_leaks();
}

async fn a_crash_during_a_rotation_loses_no_key_and_leaves_none(kind: Kind) {
    let world = World::start(kind).await;
    let points = [
        "static.before_wal",
        "static.after_wal",
        "static.after_generate",
        "static.after_save",
    ];
    for (number, point) in points.into_iter().enumerate() {
        let role = format!("app{number}");
        let former = written(&world, &role, every("1h")).await;
        world.server.arm(&format!("{point}=abort"));
        assert!(!rotate(&world, &role).await.is_ok(), "{point}");
        world.server.arm("");
        eventually("the engine is back", Duration::from_secs(30), async || {
            let path = format!("{MOUNT}/static-roles/{role}");
            world.server.read(&path).await.is_ok()
        })
        .await;
        let key = key_of(&world, &role).await;
        assert_eq!(world.gateway.try_key(&key).await, 200, "{point}");
        assert_eq!(key == former, point != "static.after_save", "{point}");
    }
    eventually("no key is left over", MINUTES, async || {
        let mut held = Vec::new();
        for number in 0..points.len() {
            held.push(key_of(&world, &format!("app{number}")).await);
        }
        for key in world.chaos.issued_keys() {
            world.canaries.add(&key);
            let is_held = held.contains(&key);
            let works = world.gateway.try_key(&key).await == 200;
            assert!(works || !is_held, "a key that is handed out does not work");
            if works != is_held {
                return false;
            }
        }
        true
    })
    .await;
    world.expect_no_leaks();
}

async fn a_role_deleted_while_the_gateway_is_down_leaves_no_key(kind: Kind) {
    let world = World::start(kind).await;
    let key = written(&world, "app", every("1h")).await;
    world.chaos.break_calls("/key/delete", Fault::Lost);
    let path = format!("{MOUNT}/static-roles/app");
    let answer = world.server.delete(&path).await.expect_ok();
    assert!(
        answer["warnings"][0]
            .as_str()
            .is_some_and(|text| text.contains("again")),
        "{answer}"
    );
    assert_eq!(world.gateway.try_key(&key).await, 200);
    world.chaos.heal();
    eventually("the rollback has ended it", MINUTES, async || {
        world.gateway.try_key(&key).await == 401
    })
    .await;
    world.expect_no_leaks();
}
