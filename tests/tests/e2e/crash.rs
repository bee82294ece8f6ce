//! The engine or its server dies, at any moment, and nothing is left behind.

use std::time::Duration;

use e2e::vault::Storage;
use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World, eventually};
use serde_json::json;

on_both!(
    a2_crash_at_any_point_of_issuing_leaves_no_usable_key,
    a9_killed_engine_heals_by_itself,
    reloaded_engine_serves_on,
    leases_outlive_a_restart_of_the_server,
);

/// Each point of issuing, and whether the gateway has made the key by then.
const POINTS: [(&str, bool); 6] = [
    ("creds.before_wal", false),
    ("creds.after_wal", false),
    ("creds.request_sent", true),
    ("creds.response_read", true),
    ("creds.before_wal_delete", true),
    ("creds.before_reply", true),
];

/// A rollback comes every minute, and takes entries of five seconds and more.
const TWO_ROLLBACKS: Duration = Duration::from_secs(135);

async fn a2_crash_at_any_point_of_issuing_leaves_no_usable_key(kind: Kind) {
    let world = World::start(kind).await;
    // Keys that only a rollback ends in time, and for the point past the
    // write-ahead entry one that ends by itself.
    world
        .role(
            "long",
            json!({"models": "demo", "max_budget": 1, "ttl": "2h"}),
        )
        .await;
    world
        .role(
            "short",
            json!({"models": "demo", "max_budget": 1, "ttl": "5s"}),
        )
        .await;

    let mut abandoned = Vec::new();
    let mut held = Vec::new();
    for (point, key_is_made) in POINTS {
        let role = if point == "creds.before_reply" {
            "short"
        } else {
            "long"
        };
        let before = world.chaos.issued_keys().len();
        world.server.arm(&format!("{point}=abort"));
        let answer = world.server.read(&format!("{MOUNT}/creds/{role}")).await;
        world.server.arm("");
        assert!(!answer.is_ok(), "{point}: {}", answer.body);
        let made = world.chaos.issued_keys().split_off(before);
        assert_eq!(!made.is_empty(), key_is_made, "{point}");
        for key in &made {
            assert_eq!(
                world.gateway.try_key(key).await,
                200,
                "{point}: the key that nobody holds works for now"
            );
            world.canaries.add(key);
        }
        abandoned.extend(made);
        held.push(heal(&world, "long").await);
    }
    assert!(abandoned.len() >= 4, "{}", abandoned.len());

    eventually("no abandoned key works", TWO_ROLLBACKS, async || {
        for key in &abandoned {
            if world.gateway.try_key(key).await != 401 {
                return false;
            }
        }
        true
    })
    .await;
    let storage = world.server.storage_of(MOUNT).await;
    eventually("no write-ahead entry is left", TWO_ROLLBACKS, async || {
        world
            .server
            .list(&format!("sys/raw/{storage}wal"))
            .await
            .is_empty()
    })
    .await;
    // What somebody holds is none of a rollback's business.
    for lease in &held {
        assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    }
    world.expect_no_leaks();
}

/// Reads a key of the role until the engine is back; it may be told of its own
/// end by the first read.
async fn heal(world: &World, role: &str) -> Lease {
    let mut lease = None;
    eventually("the engine is back", Duration::from_secs(2), async || {
        let answer = world.server.read(&format!("{MOUNT}/creds/{role}")).await;
        if answer.is_ok() {
            lease = Some(Lease::of(&answer.body));
        }
        lease.is_some()
    })
    .await;
    let lease = lease.expect("a lease");
    world.canaries.add(&lease.key);
    lease
}

async fn a9_killed_engine_heals_by_itself(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let before = world.issue("app").await;
    for _ in 0..3 {
        let killed = world.server.engine_pids();
        world.server.kill_engine();
        let after = heal(&world, "app").await;
        assert_eq!(world.gateway.try_key(&after.key).await, 200);
        assert_ne!(world.server.engine_pids(), killed, "another process serves");
    }
    // Leases of the dead process are as good as any.
    world
        .server
        .renew(&before.id, Duration::from_secs(7200))
        .await
        .expect_ok();
    world.server.kill_engine();
    eventually("a revocation is done", Duration::from_secs(2), async || {
        world.server.revoke(&before.id).await.is_ok()
    })
    .await;
    assert_eq!(world.gateway.try_key(&before.key).await, 401);
    world.expect_no_leaks();
}

async fn reloaded_engine_serves_on(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let lease = world.issue("app").await;
    let before = world.server.engine_pids();
    world.server.reload_engine().await;
    // The very first read after it works: nothing has to be noticed first.
    let again = world.issue("app").await;
    assert_ne!(world.server.engine_pids(), before, "another process serves");
    world
        .server
        .renew(&lease.id, Duration::from_secs(7200))
        .await
        .expect_ok();
    for lease in [lease, again] {
        world.server.revoke(&lease.id).await.expect_ok();
        assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    }
    // An engine that was asked to go has gone: none is left over.
    eventually("one engine runs", Duration::from_secs(5), async || {
        world.server.engine_pids().len() == 1
    })
    .await;
    world.expect_no_leaks();
}

async fn leases_outlive_a_restart_of_the_server(kind: Kind) {
    let world = World::start_on(kind, Storage::Raft).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h", "max_ttl": "4h"}),
        )
        .await;
    world
        .role(
            "brief",
            json!({"models": "demo", "max_budget": 1, "ttl": "3s"}),
        )
        .await;
    let renewed = world.issue("app").await;
    let revoked = world.issue("app").await;
    let expired = world.issue("brief").await;
    world.server.restart().await;

    for lease in [&renewed, &revoked] {
        assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    }
    world
        .server
        .renew(&renewed.id, Duration::from_secs(7200))
        .await
        .expect_ok();
    let ttl = world
        .server
        .lease_ttl(&renewed.id)
        .await
        .expect("the lease");
    assert!(ttl > Duration::from_secs(7100), "{ttl:?}");
    world.server.revoke(&revoked.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&revoked.key).await, 401);
    eventually(
        "the lease that ended meanwhile is revoked",
        Duration::from_secs(30),
        async || world.gateway.try_key(&expired.key).await == 401,
    )
    .await;
    let after = world.issue("app").await;
    assert_eq!(world.gateway.try_key(&after.key).await, 200);
    assert_eq!(
        world.server.list(&format!("{MOUNT}/roles")).await,
        ["app", "brief"]
    );
    world.expect_no_leaks();
}
