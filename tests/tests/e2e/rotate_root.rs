//! The admin key is replaced by one that only the server knows, under load and
//! with a crash at every step, and what it replaces is gone.

use std::time::Duration;

use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both!(
    the_admin_key_is_replaced_while_keys_are_issued,
    a_crash_at_any_step_of_a_rotation_leaves_a_working_key,
    tidy_deletes_what_has_expired,
);

/// Each step of a rotation, in its order.
const POINTS: [&str; 7] = [
    "rotate.before_wal",
    "rotate.after_wal",
    "rotate.key_made",
    "rotate.verified",
    "rotate.before_save",
    "rotate.saved",
    "rotate.old_deleted",
];

async fn rotate(world: &World) -> Value {
    let answer = world
        .server
        .write(&format!("{MOUNT}/config/rotate-root"), &json!({}))
        .await;
    for key in world.chaos.issued_keys() {
        world.canaries.add(&key);
    }
    answer.expect_ok()
}

/// The aliases of the admin keys that the gateway knows.
async fn admin_keys(world: &World) -> Vec<String> {
    let path = "/key/list?size=100&return_full_object=true";
    let (status, listed) = world.gateway.admin(Method::GET, path, &Value::Null).await;
    assert_eq!(status, 200, "{listed}");
    let rows = listed["keys"].as_array().cloned().unwrap_or_default();
    let aliases = rows.iter().filter_map(|row| row["key_alias"].as_str());
    aliases
        .filter(|alias| alias.starts_with("vault-root-"))
        .map(str::to_owned)
        .collect()
}

/// The alias of the admin key that the engine uses; empty for one that an
/// operator wrote.
async fn used(world: &World) -> String {
    let config = world.server.read(&format!("{MOUNT}/config")).await;
    let config = config.expect_ok();
    config["data"]["master_key_alias"]
        .as_str()
        .expect("an alias")
        .to_owned()
}

async fn app(world: &World) {
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
}

async fn the_admin_key_is_replaced_while_keys_are_issued(kind: Kind) {
    let world = World::start(kind).await;
    app(&world).await;
    let before = world.issue("app").await;

    let first = rotate(&world).await;
    assert!(first.to_string().contains("still works"), "{first}");
    assert_eq!(admin_keys(&world).await, [used(&world).await]);

    // From now on the old key ends, and nobody who uses it meanwhile notices.
    let rotations = async {
        for _ in 0..5 {
            let again = rotate(&world).await;
            assert!(again["warnings"].is_null(), "{again}");
        }
    };
    let issuing = async {
        for _ in 0..40 {
            let lease = world.issue("app").await;
            world.server.revoke(&lease.id).await.expect_ok();
        }
    };
    tokio::join!(rotations, issuing);
    assert_eq!(admin_keys(&world).await, [used(&world).await]);

    // The new key may manage keys, and call no model.
    let mut made = world.chaos.issued_keys();
    made.retain(|key| *key != before.key);
    for key in &made {
        let (status, _) = world.gateway.chat(key, "demo").await;
        assert!([401, 403].contains(&status), "{status}");
    }
    world.server.reload_engine().await;
    world.server.revoke(&before.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&before.key).await, 401);
    let check = world.server.read(&format!("{MOUNT}/check")).await;
    assert_eq!(check.expect_ok()["data"]["admin_key_works"], true);
    world.expect_no_leaks();
}

async fn a_crash_at_any_step_of_a_rotation_leaves_a_working_key(kind: Kind) {
    let world = World::start(kind).await;
    app(&world).await;
    rotate(&world).await;
    for point in POINTS {
        world.server.arm(&format!("{point}=abort"));
        let answer = world
            .server
            .write(&format!("{MOUNT}/rotate-root"), &json!({}))
            .await;
        world.server.arm("");
        assert!(!answer.is_ok(), "{point}: {}", answer.body);
        for key in world.chaos.issued_keys() {
            world.canaries.add(&key);
        }
        eventually("the engine issues", Duration::from_secs(5), async || {
            let answer = world.server.read(&format!("{MOUNT}/creds/app")).await;
            answer.is_ok() && !Lease::of(&answer.body).key.is_empty()
        })
        .await;
    }
    for key in world.chaos.issued_keys() {
        world.canaries.add(&key);
    }
    // Entries become old enough, and then nothing is left but the key in use.
    eventually("all is rolled back", Duration::from_secs(30), async || {
        let path = format!("{MOUNT}/tidy");
        let tidied = world.server.write(&path, &json!({})).await.expect_ok();
        tidied["data"]["wal_entries"] == 0
    })
    .await;
    assert_eq!(admin_keys(&world).await, [used(&world).await]);
    rotate(&world).await;
    assert_eq!(admin_keys(&world).await, [used(&world).await]);
    world.expect_no_leaks();
}

async fn tidy_deletes_what_has_expired(kind: Kind) {
    let world = World::start(kind).await;
    app(&world).await;
    let alive = world.issue("app").await;
    // What an engine that is gone has left: it carries the mount's name, and
    // has ended by itself.
    let left = json!({
        "key_alias": "vault-app-00000000000000000000",
        "duration": "1s",
        "metadata": {"vault_mount": format!("{MOUNT}/"), "vault_role": "app"},
    });
    let foreign = json!({"key_alias": "app-00000000000000000000", "duration": "1s"});
    for fields in [left, foreign] {
        let key = world.gateway.generate(fields).await;
        world.canaries.add(&key);
    }
    let path = format!("{MOUNT}/tidy");
    eventually("the key has expired", Duration::from_secs(10), async || {
        let dry = world.server.write(&path, &json!({"dry_run": true})).await;
        dry.expect_ok()["data"]["expired_keys"] == 1
    })
    .await;
    let tidied = world.server.write(&path, &json!({})).await.expect_ok();
    let data = &tidied["data"];
    assert_eq!(data["deleted_keys"], 1, "{data}");
    assert_eq!(
        data["key_aliases"],
        json!(["vault-app-00000000000000000000"])
    );
    assert_eq!(data["complete"], true);
    assert_eq!(world.gateway.try_key(&alive.key).await, 200);
    let again = world.server.write(&path, &json!({})).await.expect_ok();
    assert_eq!(again["data"]["expired_keys"], 0, "{again}");
    world.expect_no_leaks();
}
