//! Writes to a static role that exists, a mount that goes, and standbys.

use std::sync::{Arc, Mutex};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use vault_plugin_sdk::{Error, Operation, ReplicationState};

use super::world::{World, hash_of, hourly};

#[tokio::test]
async fn what_the_key_may_do_changes_with_a_new_key_and_times_with_the_old() {
    let world = World::start().await;
    let first = world.working_key().await;
    world
        .write("static-roles/app", json!({"max_budget": 2}))
        .await
        .unwrap();
    let second = world.working_key().await;
    assert_ne!(second, first);
    assert_eq!(world.read("static-creds/app").await["max_budget"], 2.0);
    assert_eq!(world.alive().as_slice(), std::slice::from_ref(&second));

    world
        .write(
            "static-roles/app",
            json!({"max_budget": 2, "grace_period": 5}),
        )
        .await
        .unwrap();
    world
        .write(
            "static-roles/app",
            json!({"rotation_period": "24h", "models": "m"}),
        )
        .await
        .unwrap();
    assert_eq!(world.working_key().await, second);
    let ttl = world.read("static-creds/app").await["ttl"]
        .as_i64()
        .unwrap();
    assert!((86_300..=86_400).contains(&ttl), "{ttl}");
    let lengthened = world.calls("/key/update").pop().unwrap();
    assert_eq!(lengthened["key"], hash_of(&second));
    let life = world.entry("app").await.unwrap().current.unwrap();
    assert!(life.expires_at > Utc::now() + TimeDelta::hours(47));

    for change in [
        json!({"user_id": "u1"}),
        json!({"team_id": "t1"}),
        json!({"metadata": {"a": "b"}}),
    ] {
        let before = world.working_key().await;
        world.write("static-roles/app", change).await.unwrap();
        assert_ne!(world.working_key().await, before);
    }
    let asked = world.calls("/key/generate").pop().unwrap();
    assert_eq!(
        (&asked["user_id"], &asked["team_id"]),
        (&json!("u1"), &json!("t1"))
    );
}

#[tokio::test]
async fn a_change_that_fails_changes_nothing() {
    let world = World::start().await;
    let key = world.working_key().await;
    world.break_gateway();
    assert!(
        world
            .write("static-roles/app", json!({"max_budget": 2}))
            .await
            .is_err()
    );
    assert_eq!(world.working_key().await, key);
    assert_eq!(world.read("static-roles/app").await["max_budget"], 1.0);
}

#[tokio::test]
async fn a_mount_that_goes_ends_its_keys_and_one_that_stays_gets_new_ones() {
    let world = World::start().await;
    world.system.set_tainted(true);
    world.break_gateway();
    assert!(world.tick().await.is_err(), "a key would be left behind");
    world.heal();
    world.tick().await.unwrap();
    assert!(world.alive().is_empty());
    let answer = world
        .handle(Operation::Read, "static-creds/app", json!({}))
        .await;
    assert!(
        matches!(&answer, Err(Error::User(text)) if text.contains("within a minute")),
        "{answer:?}"
    );

    world.system.set_tainted(false);
    world.tick().await.unwrap();
    world.working_key().await;
}

#[tokio::test]
async fn each_key_that_a_mount_leaves_behind_is_named_with_its_end() {
    for has_config in [true, false] {
        let (log, world) = (Log::default(), World::start().await);
        let answer = world.read("static-creds/app").await;
        if !has_config {
            world.delete("config").await.unwrap();
        }
        world.break_gateway();
        world.system.set_tainted(true);
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::ERROR)
            .with_writer(move || writer.clone())
            .finish();
        // Of this thread, which runs all of the test's tasks.
        let logging = tracing::subscriber::set_default(subscriber);
        let told = world.tick().await.unwrap_err();
        drop(logging);
        assert!(told.to_string().contains("all the same"), "{told}");
        let text = log.text();
        let expires = answer["expires_at"].as_str().unwrap();
        let minute = expires[..16].replace('T', " ");
        for part in ["key_alias", "key_hash"] {
            assert!(text.contains(answer[part].as_str().unwrap()), "{text}");
        }
        assert!(text.contains(&minute) && text.contains("ERROR"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_standby_forwards_and_does_nothing() {
    let world = World::start().await;
    world.make_due().await;
    world.system.set_replication_bits(ReplicationState::STANDBY);
    let made = world.calls_made();
    for (operation, path) in [
        (Operation::Read, "static-creds/app"),
        (Operation::Update, "rotate-role/app"),
        (Operation::Update, "static-roles/app"),
        (Operation::Delete, "static-roles/app"),
    ] {
        let answer = world.handle(operation, path, json!({})).await;
        assert!(matches!(answer, Err(Error::ReadOnly)), "{path}: {answer:?}");
    }
    world.tick().await.unwrap();
    assert_eq!(world.calls_made(), made);
}

#[tokio::test]
async fn a_performance_secondary_leaves_writes_and_rotations_to_the_primary() {
    let world = World::start().await;
    world.make_due().await;
    world
        .system
        .set_replication_bits(ReplicationState::PERFORMANCE_SECONDARY);
    let made = world.calls_made();
    for (operation, path) in [
        (Operation::Update, "config"),
        (Operation::Delete, "config"),
        (Operation::Update, "config/rotate-root"),
        (Operation::Update, "rotate-root"),
        (Operation::Update, "rotate-role/app"),
        (Operation::Update, "static-roles/app"),
        (Operation::Delete, "static-roles/app"),
    ] {
        let answer = world.handle(operation, path, json!({})).await;
        assert!(matches!(answer, Err(Error::ReadOnly)), "{path}: {answer:?}");
    }
    for is_tainted in [false, true] {
        world.system.set_tainted(is_tainted);
        world.tick().await.unwrap();
    }
    assert_eq!(world.calls_made(), made);
    world.working_key().await;
}

#[tokio::test]
async fn times_that_are_left_out_stay_and_a_new_kind_replaces_the_old() {
    let world = World::start().await;
    for (write, expected) in [
        (
            json!({"rotation_schedule": "0 3 * * *", "rotation_window": "2h"}),
            json!([null, "0 3 * * *", 7200]),
        ),
        (
            json!({"rotation_schedule": "0 4 * * SUN"}),
            json!([null, "0 4 * * SUN", 7200]),
        ),
        (
            json!({"rotation_window": 3600}),
            json!([null, "0 4 * * SUN", 3600]),
        ),
        (
            json!({"grace_period": 60}),
            json!([null, "0 4 * * SUN", 3600]),
        ),
        (
            json!({"rotation_window": 0}),
            json!([null, "0 4 * * SUN", null]),
        ),
        (json!({"rotation_period": 60}), json!([60, null, null])),
        (json!({"rotation_schedule": ""}), json!([60, null, null])),
    ] {
        world
            .write("static-roles/app", write.clone())
            .await
            .unwrap();
        let read = world.read("static-roles/app").await;
        let told = ["rotation_period", "rotation_schedule", "rotation_window"]
            .map(|name| read.get(name).cloned().unwrap_or_default());
        assert_eq!(json!(told), expected, "{write}");
        world.working_key().await;
    }
    let window = json!({"rotation_window": 3600});
    let refused = world.write("static-roles/app", window).await;
    assert!(
        matches!(&refused, Err(Error::User(text)) if text.contains("needs rotation_schedule")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_limit_that_the_gateway_would_not_enforce_is_refused() {
    let world = World::empty().await;
    let fields = hourly(&json!({"allowed_cidrs": "10.0.0.0/8"}));
    let refused = world.write("static-roles/app", fields.clone()).await;
    assert!(
        matches!(&refused, Err(Error::User(text)) if text.contains("allowed_cidrs")),
        "{refused:?}"
    );
    world.break_gateway();
    let refused = world.write("static-roles/app", fields).await;
    assert!(
        matches!(&refused, Err(Error::Coded { status: 502, .. })),
        "{refused:?}"
    );
    assert!(world.entry("app").await.is_none());
    assert!(world.alive().is_empty());
}
