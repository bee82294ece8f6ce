//! Static roles against the real gateway: one key a role, replaced, ended with
//! its role and with its mount.

use std::time::Duration;

use e2e::chaos::Fault;
use e2e::world::MOUNT;
use e2e::{Kind, World, eventually};
use serde_json::{Value, json};

on_both!(
    a_static_key_works_until_it_is_replaced,
    a_former_static_key_works_for_its_grace,
    a_due_static_key_is_replaced_by_itself,
    a_static_key_ends_with_its_role_and_with_its_mount,
);

/// Writes the static role and answers its key.
pub(super) async fn written(world: &World, name: &str, fields: Value) -> String {
    world
        .server
        .write(&format!("{MOUNT}/static-roles/{name}"), &fields)
        .await
        .expect_ok();
    key_of(world, name).await
}

/// What static-creds answers; the key is a secret like any other.
pub(super) async fn creds(world: &World, name: &str) -> Value {
    let path = format!("{MOUNT}/static-creds/{name}");
    let answer = world.server.read(&path).await.expect_ok();
    let key = answer["data"]["key"].as_str().expect("a key");
    world.canaries.add(key);
    answer["data"].clone()
}

pub(super) async fn key_of(world: &World, name: &str) -> String {
    let creds = creds(world, name).await;
    creds["key"].as_str().expect("a key").to_owned()
}

pub(super) async fn rotate(world: &World, name: &str) -> e2e::vault::Answer {
    let path = format!("{MOUNT}/rotate-role/{name}");
    world.server.write(&path, &json!({})).await
}

/// The successor is there a moment before its predecessor ends.
pub(super) async fn expect_ended(world: &World, key: &str) {
    eventually("the former key ends", Duration::from_secs(20), async || {
        world.gateway.try_key(key).await == 401
    })
    .await;
}

async fn a_static_key_works_until_it_is_replaced(kind: Kind) {
    let world = World::start(kind).await;
    let fields = json!({"models": "demo", "max_budget": 1, "rotation_schedule": "0 3 * * SAT", "rotation_window": "2h"});
    let first = written(&world, "app", fields).await;
    assert_eq!(world.gateway.chat(&first, "demo").await.0, 200);
    assert_eq!(world.gateway.chat(&first, "other").await.0, 403);
    let answer = creds(&world, "app").await;
    assert_eq!(answer["key"], first.as_str(), "the same for everyone");
    assert_eq!(answer["rotation_schedule"], "0 3 * * SAT");
    assert_eq!(answer["rotation_window"], 7200);
    assert_eq!(answer["base_url"], world.gateway.data.as_str());
    assert!(answer["ttl"].as_u64().expect("a ttl") <= 7 * 86_400);
    let path = format!("{MOUNT}/static-roles/app");
    let read = world.server.read(&path).await.expect_ok();
    assert!(!read.to_string().contains(&first), "a read shows the key");
    let listed = world.server.list(&format!("{MOUNT}/static-roles")).await;
    assert_eq!(listed, ["app"]);

    rotate(&world, "app").await.expect_ok();
    let second = key_of(&world, "app").await;
    assert_ne!(second, first);
    assert_eq!(world.gateway.try_key(&first).await, 401);
    assert_eq!(world.gateway.chat(&second, "demo").await.0, 200);

    // What the key may do changes with a new key, at once.
    let path = format!("{MOUNT}/static-roles/app");
    let fields = json!({"models": "other"});
    world.server.write(&path, &fields).await.expect_ok();
    let third = key_of(&world, "app").await;
    assert_eq!(world.gateway.try_key(&second).await, 401);
    assert_eq!(world.gateway.chat(&third, "demo").await.0, 403);

    // A gateway that is down takes nothing away.
    world.chaos.break_calls("/key/generate", Fault::Lost);
    let text = rotate(&world, "app").await.expect_refused(502);
    assert!(!text.contains("sk-"), "{text}");
    assert_eq!(key_of(&world, "app").await, third);
    assert_eq!(world.gateway.try_key(&third).await, 200);
    world.expect_no_leaks();
}

async fn a_former_static_key_works_for_its_grace(kind: Kind) {
    let world = World::start(kind).await;
    let fields =
        json!({"models": "demo", "max_budget": 1, "rotation_period": "1h", "grace_period": "5s"});
    let first = written(&world, "app", fields).await;
    rotate(&world, "app").await.expect_ok();
    let second = key_of(&world, "app").await;
    assert_eq!(world.gateway.try_key(&first).await, 200);
    // The gateway itself ends it, without waiting for the server's minute.
    expect_ended(&world, &first).await;
    assert_eq!(world.gateway.try_key(&second).await, 200);
    world.expect_no_leaks();
}

async fn a_due_static_key_is_replaced_by_itself(kind: Kind) {
    let world = World::start(kind).await;
    let fields = json!({"models": "demo", "max_budget": 1, "rotation_period": 5});
    let first = written(&world, "app", fields).await;
    eventually("the next minute", Duration::from_secs(100), async || {
        key_of(&world, "app").await != first
    })
    .await;
    expect_ended(&world, &first).await;
    let second = key_of(&world, "app").await;
    assert_eq!(world.gateway.try_key(&second).await, 200);
    world.expect_no_leaks();
}

async fn a_static_key_ends_with_its_role_and_with_its_mount(kind: Kind) {
    let world = World::start(kind).await;
    let fields =
        json!({"models": "demo", "max_budget": 1, "rotation_period": "1h", "grace_period": "30m"});
    let first = written(&world, "app", fields.clone()).await;
    rotate(&world, "app").await.expect_ok();
    let second = key_of(&world, "app").await;
    let path = format!("{MOUNT}/static-roles/app");
    world.server.delete(&path).await.expect_ok();
    assert_eq!(world.gateway.try_key(&first).await, 401);
    assert_eq!(world.gateway.try_key(&second).await, 401);
    let path = format!("{MOUNT}/static-creds/app");
    assert!(!world.server.read(&path).await.is_ok());

    let first = written(&world, "app", fields).await;
    rotate(&world, "app").await.expect_ok();
    let second = key_of(&world, "app").await;
    world.server.unmount(MOUNT).await;
    assert_eq!(world.gateway.try_key(&first).await, 401);
    assert_eq!(world.gateway.try_key(&second).await, 401);
    world.expect_no_leaks();
}
