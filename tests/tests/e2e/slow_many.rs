//! Many leases at once.

use std::io::Write;
use std::time::{Duration, Instant};

use e2e::vault::Answer;
use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

on_both!(
    a10_two_thousand_leases_are_revoked_by_prefix,
    a_reload_under_load_leaves_no_key_without_a_lease,
);

const LEASES: usize = 2000;
const AT_ONCE: usize = 16;

async fn a10_two_thousand_leases_are_revoked_by_prefix(kind: Kind) {
    let world = World::start(kind).await;
    let role = json!({"models": "demo", "max_budget": 1, "ttl": "2h"});
    world.role("app", role).await;
    let path = format!("{MOUNT}/creds/app");
    let started = Instant::now();
    let mut issuing: JoinSet<Answer> = JoinSet::new();
    for begun in 0..LEASES {
        if begun >= AT_ONCE {
            let answer = issuing.join_next().await.expect("one is under way");
            answer.expect("an answer").expect_ok();
        }
        issuing.spawn(world.server.detached_call(Method::GET, &path, Value::Null));
    }
    while let Some(answer) = issuing.join_next().await {
        answer.expect("an answer").expect_ok();
    }
    let issuing = started.elapsed();
    assert_eq!(world.server.leases(&path).await.len(), LEASES);

    let started = Instant::now();
    world.server.revoke_prefix(&path).await.expect_ok();
    let revoking = started.elapsed();
    let rate = LEASES as f64 / revoking.as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "{}: {LEASES} leases issued in {issuing:.1?}, revoked in {revoking:.1?} ({rate:.0}/s)",
        kind.name(),
    );
    assert!(revoking < Duration::from_secs(60), "{revoking:?}");
    assert!(world.server.leases(&path).await.is_empty());
    assert_eq!(world.server.irrevocable_leases().await, 0);
    let list = world.gateway.admin(Method::GET, "/key/list", &Value::Null);
    assert_eq!(list.await.1["total_count"], 0, "keys are left");
}

/// The engine is replaced while it works. Whoever was told of a key has it with
/// its lease; of whatever else was made there is an entry, and a rollback.
async fn a_reload_under_load_leaves_no_key_without_a_lease(kind: Kind) {
    let world = World::start(kind).await;
    let role = json!({"models": "demo", "max_budget": 1, "ttl": "2h"});
    world.role("app", role).await;
    let path = format!("{MOUNT}/creds/app");
    let mut load: JoinSet<Answer> = JoinSet::new();
    for _ in 0..8 {
        for _ in 0..8 {
            load.spawn(world.server.detached_call(Method::GET, &path, Value::Null));
        }
        world.server.reload_engine().await;
    }
    let mut leases = Vec::new();
    while let Some(answer) = load.join_next().await {
        let answer = answer.expect("an answer");
        if answer.is_ok() {
            leases.push(Lease::of(&answer.body));
        }
    }
    assert!(!leases.is_empty());
    for key in world.chaos.issued_keys() {
        world.canaries.add(&key);
    }
    // A rollback comes every minute, and takes entries of five seconds and more.
    eventually(
        "no key works without a lease",
        Duration::from_secs(135),
        async || {
            let mut working = 0;
            for key in world.chaos.issued_keys() {
                working += usize::from(world.gateway.try_key(&key).await == 200);
            }
            working == leases.len()
        },
    )
    .await;
    for lease in &leases {
        assert_eq!(world.gateway.try_key(&lease.key).await, 200);
        assert!(world.server.lease_ttl(&lease.id).await.is_some());
    }
    world.server.revoke_prefix(&path).await.expect_ok();
    for lease in &leases {
        assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    }
    world.expect_no_leaks();
}
