//! The life of static keys against a gateway in memory, cut at every storage
//! call and at every gateway call: the key that is handed out works, and no key
//! works that nobody holds.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use vault_plugin_sdk::testing::Fault;
use vault_plugin_sdk::{Error, Operation};

mod changes;
mod cuts;
mod world;

use world::{World, hash_of, hourly};

use crate::paths::static_roles::StaticRole;

#[tokio::test]
async fn a_new_role_has_its_key_at_once() {
    let world = World::start().await;
    let key = world.working_key().await;
    let answer = world.read("static-creds/app").await;
    assert_eq!(answer["key_hash"], hash_of(&key));
    assert_eq!(answer["models"], json!(["m"]));
    assert_eq!(answer["max_budget"], 1.0);
    assert_eq!(answer["rotation_period"], 3600);
    assert_eq!(answer["base_url"], "https://llm.example.com");
    let ttl = answer["ttl"].as_i64().unwrap();
    assert!((3590..=3600).contains(&ttl), "{ttl}");

    let asked = &world.calls("/key/generate")[0];
    assert_eq!(
        asked["metadata"],
        json!({"vault_mount": "litellm/", "vault_role": "app", "vault_static": true})
    );
    assert_eq!(asked["key_alias"], answer["key_alias"]);
    assert_eq!(asked["key_type"], "llm_api");
    // Due in an hour, dead an hour and a minute later.
    let duration = asked["duration"].as_str().unwrap();
    assert!(["7259s", "7260s"].contains(&duration), "{duration}");

    let read = world.read("static-roles/app").await;
    assert!(!format!("{read:?}").contains("canary"), "{read:?}");
    assert_eq!(read["rotation_period"], 3600);
    let entry = world.entry("app").await.unwrap();
    assert!(!format!("{entry:?}").contains("canary"), "{entry:?}");
    assert_eq!(world.wal_entries().await, 0);
}

#[tokio::test]
async fn a_due_rotation_replaces_the_key_and_ends_the_former() {
    let world = World::start().await;
    let former = world.working_key().await;
    world.tick().await.unwrap();
    assert_eq!(world.working_key().await, former, "nothing is due");
    world.make_due().await;
    world.tick().await.unwrap();
    let key = world.working_key().await;
    assert_ne!(key, former);
    assert_eq!(world.alive(), [key]);
    assert_eq!(world.entry("app").await.unwrap().predecessors.len(), 0);
}

#[tokio::test]
async fn a_key_that_is_overdue_or_expired_is_handed_out_with_a_warning() {
    let world = World::start().await;
    for (overdue, life, expected) in [
        (1, 9, None),
        (3, 9, Some("is overdue")),
        (3, -1, Some("has expired")),
    ] {
        world
            .let_pass(|role| {
                role.next_rotation = Utc::now() - TimeDelta::minutes(overdue);
                let key = role.current.as_mut().unwrap();
                key.expires_at = Utc::now() + TimeDelta::minutes(life);
            })
            .await;
        let answer = world
            .handle(Operation::Read, "static-creds/app", json!({}))
            .await;
        let warnings = answer.unwrap().unwrap().warnings;
        assert_eq!(warnings.len(), usize::from(expected.is_some()));
        if let (Some(expected), Some(told)) = (expected, warnings.first()) {
            assert!(told.contains(expected), "{told}");
        }
    }
}

#[tokio::test]
async fn a_restart_rotates_what_became_due_meanwhile() {
    let world = World::start().await;
    let former = world.working_key().await;
    world.make_due().await;
    let world = world.restarted();
    world.tick().await.unwrap();
    assert_ne!(world.working_key().await, former);
}

#[tokio::test]
async fn a_former_key_works_for_its_grace_and_no_longer() {
    let world = World::empty().await;
    world
        .write("static-roles/app", hourly(&json!({"grace_period": "10m"})))
        .await
        .unwrap();
    let former = world.working_key().await;
    world.write("rotate-role/app", json!({})).await.unwrap();
    let key = world.working_key().await;
    assert!(world.alive().contains(&former));
    let shortened = &world.calls("/key/update")[0];
    assert_eq!(shortened["key"], hash_of(&former));
    assert_eq!(shortened["duration"], "599s");

    world.tick().await.unwrap();
    assert!(world.alive().contains(&former), "its grace is not over");
    world
        .let_pass(|role| role.predecessors[0].ends_at = Utc::now())
        .await;
    world.tick().await.unwrap();
    assert_eq!(world.alive(), [key]);
    assert_eq!(world.entry("app").await.unwrap().predecessors.len(), 0);
}

#[tokio::test]
async fn a_gateway_that_is_down_is_asked_again_later_and_not_at_once() {
    let world = World::start().await;
    let former = world.working_key().await;
    world.make_due().await;
    world.break_gateway();
    for _ in 0..3 {
        world.tick().await.unwrap();
    }
    assert_eq!(world.calls("/key/generate").len(), 2, "one attempt");
    assert_eq!(world.working_key().await, former);
    world.heal();
    // The pause is over.
    let world = world.restarted();
    world.late_tick().await;
    let key = world.working_key().await;
    assert_ne!(key, former);
    assert_eq!(world.alive(), [key]);
}

#[tokio::test]
async fn a_late_rotation_lengthens_the_life_of_the_key_in_use() {
    let world = World::start().await;
    world
        .let_pass(|role| {
            role.next_rotation = Utc::now() - TimeDelta::minutes(59);
            role.current.as_mut().unwrap().expires_at = Utc::now() + TimeDelta::minutes(2);
        })
        .await;
    world.break_call(1, world::Wrong::Refused);
    world.tick().await.unwrap();
    let lengthened = world.calls("/key/update");
    assert_eq!(lengthened.len(), 1, "{lengthened:?}");
    let entry = world.entry("app").await.unwrap();
    let life = entry.current.unwrap().expires_at - Utc::now();
    assert!(life > TimeDelta::minutes(60), "{life}");
}

#[tokio::test]
async fn a_manual_rotation_that_fails_is_tried_again_by_itself() {
    let world = World::start().await;
    let former = world.working_key().await;
    world.break_gateway();
    match world.write("rotate-role/app", json!({})).await {
        Err(Error::Coded { status: 502, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(world.working_key().await, former);
    world.heal();
    let world = world.restarted();
    world.late_tick().await;
    assert_ne!(world.working_key().await, former);
}

#[tokio::test]
async fn rotations_at_once_are_one() {
    let world = World::start().await;
    let former = world.working_key().await;
    world.make_due().await;
    let (tick, first, second, third) = tokio::join!(
        world.tick(),
        world.write("rotate-role/app", json!({})),
        world.write("rotate-role/app", json!({})),
        world.write("rotate-role/app", json!({})),
    );
    for outcome in [tick, first, second, third] {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    assert_eq!(world.calls("/key/generate").len(), 2);
    let key = world.working_key().await;
    assert_ne!(key, former);
    assert_eq!(world.alive(), [key]);
}

#[tokio::test]
async fn one_role_that_fails_keeps_no_other_waiting() {
    let world = World::start().await;
    for name in ["b", "c"] {
        world
            .write(&format!("static-roles/{name}"), hourly(&json!({})))
            .await
            .unwrap();
    }
    world.make_due().await;
    for name in ["b", "c"] {
        let mut role = world.entry(name).await.unwrap();
        role.next_rotation = Utc::now();
        let key = format!("static-role/{name}");
        vault_plugin_sdk::put_json(world.memory.as_ref(), &key, &role)
            .await
            .unwrap();
    }
    // The first due fails, wholly.
    world.break_call(1, world::Wrong::Refused);
    world.tick().await.unwrap();
    assert_eq!(world.calls("/key/generate").len(), 3 + 3);
}

#[tokio::test]
async fn a_missed_window_waits_for_the_next_and_the_key_lives_on() {
    let world = World::empty().await;
    let fields = json!({"models": "m", "max_budget": 1, "rotation_schedule": "0 3 * * *", "rotation_window": "1h"});
    world.write("static-roles/app", fields).await.unwrap();
    let key = world.working_key().await;
    world
        .let_pass(|role| {
            role.next_rotation = Utc::now() - TimeDelta::minutes(61);
            role.current.as_mut().unwrap().expires_at = Utc::now() + TimeDelta::minutes(5);
        })
        .await;
    world.tick().await.unwrap();
    assert_eq!(world.working_key().await, key);
    let role = world.entry("app").await.unwrap();
    assert!(role.next_rotation > Utc::now());
    let expires_at = role.current.as_ref().unwrap().expires_at;
    assert!(
        expires_at > role.next_rotation + TimeDelta::hours(23),
        "it would be dead when its rotation comes"
    );

    // Within the window it is done, however late.
    world
        .let_pass(|role| role.next_rotation = Utc::now() - TimeDelta::minutes(59))
        .await;
    world.tick().await.unwrap();
    assert_ne!(world.working_key().await, key);

    // By hand it is done at any time.
    let key = world.working_key().await;
    world.write("rotate-role/app", json!({})).await.unwrap();
    assert_ne!(world.working_key().await, key);
}

#[tokio::test]
async fn a_gateway_that_grants_too_short_a_life_is_refused() {
    let world = World::empty().await;
    world.gateway.lock().unwrap().longest = Some(3500);
    let answer = world.write("static-roles/app", hourly(&json!({}))).await;
    assert!(
        matches!(&answer, Err(Error::Coded { message, .. }) if message.contains("3500s")),
        "{answer:?}"
    );
    assert!(world.alive().is_empty());
    assert!(world.entry("app").await.is_none());

    world.gateway.lock().unwrap().longest = Some(4000);
    let answer = world.write("static-roles/app", hourly(&json!({}))).await;
    let warnings = answer.unwrap().unwrap().warnings;
    assert!(warnings[0].contains("4000s"), "{warnings:?}");
}

#[tokio::test]
async fn a_lengthened_life_that_was_not_asked_for_is_not_believed() {
    for told in [Value::Null, json!(Utc::now() + TimeDelta::days(9))] {
        let world = World::start().await;
        let before = world.entry("app").await.unwrap();
        world.gateway.lock().unwrap().updated_expiry = Some(told.clone());
        let period = json!({"rotation_period": "2h"});
        let answer = world.write("static-roles/app", period).await;
        let warnings = answer.unwrap().unwrap().warnings;
        assert!(warnings[0].contains("the gateway gave"), "{warnings:?}");
        let after = world.entry("app").await.unwrap();
        let expires_at = |role: StaticRole| role.current.unwrap().expires_at;
        assert_eq!(expires_at(after), expires_at(before), "{told}");
    }
}

#[tokio::test]
async fn many_rotations_within_the_grace_keep_few_keys_alive() {
    let world = World::empty().await;
    world
        .write("static-roles/app", hourly(&json!({"grace_period": "1h"})))
        .await
        .unwrap();
    for _ in 0..20 {
        world.write("rotate-role/app", json!({})).await.unwrap();
    }
    assert_eq!(world.alive().len(), 17);
}

#[tokio::test]
async fn an_entry_of_an_older_version_loads() {
    let world = World::start().await;
    let stored: Value = json!({
        "models": ["m"],
        "schedule": {"period": {"seconds": 3600}},
        "next_rotation": "2026-11-21T07:30:00Z",
    });
    vault_plugin_sdk::put_json(world.memory.as_ref(), "static-role/app", &stored)
        .await
        .unwrap();
    world.backend.invalidated("static-role/app".into()).await;
    world.tick().await.unwrap();
    world.working_key().await;
}

#[tokio::test]
async fn a_role_that_cannot_be_read_keeps_no_other_from_rotating() {
    let world = World::start().await;
    let former = world.working_key().await;
    world.make_due().await;
    vault_plugin_sdk::put_json(world.memory.as_ref(), "static-role/aaa", &json!("broken"))
        .await
        .unwrap();
    world.tick().await.unwrap();
    assert_ne!(world.working_key().await, former);
}

#[tokio::test]
async fn a_list_that_fails_is_read_again() {
    let world = World::start().await;
    let former = world.working_key().await;
    world.make_due().await;
    world.storage.set(Some(Fault::At(1)));
    let _ = world.tick().await;
    world.heal();
    world.tick().await.unwrap();
    assert_ne!(world.working_key().await, former);
}
