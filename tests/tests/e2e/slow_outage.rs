//! The gateway is away for longer than a minute, or the server is while it
//! should have kept a lease: what the server tries again, when it gives up, and
//! that the keys are dead all the same.

use std::time::{Duration, Instant};

use e2e::vault::Storage;
use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both!(
    a5_an_outage_of_four_minutes_loses_no_revocation,
    a6_an_outage_past_all_retries_leaves_dead_keys_and_a_way_out,
    a1_a_lease_lost_with_its_server_leaves_a_key_that_ends_by_itself,
    a_forced_revocation_forgets_the_lease_and_the_key_ends_by_itself,
);

/// Six attempts, 20, 40, 80, 160 and 320 s apart, each up to a half more.
const ALL_ATTEMPTS: Duration = Duration::from_secs(16 * 60);
/// A key ends by itself this long after its lease.
const SLACK: Duration = Duration::from_secs(60);
const BRIEF: Duration = Duration::from_secs(5);

async fn roles(world: &World) {
    let long = json!({"models": "demo", "max_budget": 1, "ttl": "2h"});
    world.role("app", long).await;
    let brief = json!({"models": "demo", "max_budget": 1, "ttl": "5s"});
    world.role("brief", brief).await;
}

async fn issue(world: &World, role: &str, count: usize) -> Vec<Lease> {
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.push(world.issue(role).await);
    }
    leases
}

async fn leases(world: &World) -> usize {
    let brief = world.server.leases(&format!("{MOUNT}/creds/brief")).await;
    let app = world.server.leases(&format!("{MOUNT}/creds/app")).await;
    brief.len() + app.len()
}

async fn a5_an_outage_of_four_minutes_loses_no_revocation(kind: Kind) {
    let mut world = World::start(kind).await;
    roles(&world).await;
    // Half end meanwhile, half are revoked and have hours to live otherwise.
    let ended = issue(&world, "brief", 5).await;
    let revoked = issue(&world, "app", 5).await;
    world.gateway.kill_hard();
    let away = Instant::now();
    for lease in &revoked {
        world.server.revoke_later(&lease.id).await;
    }
    let outage = Duration::from_secs(240);
    eventually("four minutes", 2 * outage, async || away.elapsed() > outage).await;
    assert_eq!(leases(&world).await, 10, "nothing could be revoked");
    assert_eq!(world.server.irrevocable_leases().await, 0);
    world.gateway.start_again().await;
    for lease in &ended {
        assert_eq!(world.gateway.try_key(&lease.key).await, 401, "past its end");
    }

    eventually("every lease is gone", ALL_ATTEMPTS, async || {
        leases(&world).await == 0
    })
    .await;
    for lease in ended.iter().chain(&revoked) {
        assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    }
    assert_eq!(world.server.irrevocable_leases().await, 0);
    world.expect_no_leaks();
}

async fn a6_an_outage_past_all_retries_leaves_dead_keys_and_a_way_out(kind: Kind) {
    let mut world = World::start(kind).await;
    roles(&world).await;
    let ended = issue(&world, "brief", 2).await;
    let revoked = issue(&world, "app", 1).await.remove(0);
    world.gateway.kill_hard();
    world.server.revoke_later(&revoked.id).await;
    eventually("the server gives up", ALL_ATTEMPTS, async || {
        world.server.irrevocable_leases().await == 3
    })
    .await;

    // Nobody will try again, and still no key outlives its lease.
    world.gateway.start_again().await;
    for lease in &ended {
        assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    }
    // What was revoked long before its end is still to be ended by an operator.
    assert_eq!(world.gateway.try_key(&revoked.key).await, 200);
    world.server.revoke(&revoked.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&revoked.key).await, 401);
    // Where even that fails, force is the way out.
    world.gateway.kill_hard();
    let prefix = format!("{MOUNT}/creds/brief");
    world.server.revoke_force(&prefix).await.expect_ok();
    assert_eq!(leases(&world).await, 0);
    assert_eq!(world.server.irrevocable_leases().await, 0);
    world.expect_no_leaks();
}

/// The engine has answered, and the server dies before it has stored the lease:
/// nobody remembers the key any more.
async fn a1_a_lease_lost_with_its_server_leaves_a_key_that_ends_by_itself(kind: Kind) {
    let world = World::start_on(kind, Storage::Raft).await;
    roles(&world).await;
    let point = "creds.before_reply";
    world.server.arm(&format!("{point}=sleep(1500)"));
    let path = format!("{MOUNT}/creds/brief");
    let answer = world.server.detached_call(Method::GET, &path, Value::Null);
    let asked = async {
        eventually("the key is made", Duration::from_secs(10), async || {
            world.server.failpoint_hits(point) > 0
        })
        .await;
        world.server.freeze();
        // Now the engine answers to a server that hears no more.
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.server.kill_hard();
    };
    let (answer, ()) = tokio::join!(answer, asked);
    assert!(!answer.is_ok(), "the server answered: {}", answer.body);
    world.server.arm("");
    let issued = Instant::now();
    world.server.start_again().await;
    world.server.active().await;

    let key = world.chaos.issued_keys().remove(0);
    world.canaries.add(&key);
    assert_eq!(leases(&world).await, 0, "no lease was stored");
    let storage = world.server.storage_of(MOUNT).await;
    let entries = world.server.list(&format!("sys/raw/{storage}wal")).await;
    assert!(entries.is_empty(), "{entries:?}");
    eventually("the key ends", BRIEF + SLACK, async || {
        world.gateway.try_key(&key).await == 401
    })
    .await;
    assert!(issued.elapsed() < BRIEF + SLACK, "{:?}", issued.elapsed());
    world.expect_no_leaks();
}

async fn a_forced_revocation_forgets_the_lease_and_the_key_ends_by_itself(kind: Kind) {
    let mut world = World::start(kind).await;
    roles(&world).await;
    let lease = world.issue("brief").await;
    let issued = Instant::now();
    world.gateway.kill_hard();
    let refused = world.server.revoke(&lease.id).await;
    assert!(!refused.is_ok(), "revoked at a gateway that is away");
    let prefix = format!("{MOUNT}/creds/brief");
    world.server.revoke_force(&prefix).await.expect_ok();
    assert!(world.server.lease_ttl(&lease.id).await.is_none());
    world.gateway.start_again().await;
    assert_eq!(
        world.gateway.try_key(&lease.key).await,
        200,
        "force tells nobody"
    );
    eventually("the key ends", BRIEF + SLACK, async || {
        world.gateway.try_key(&lease.key).await == 401
    })
    .await;
    assert!(issued.elapsed() < BRIEF + SLACK + Duration::from_secs(3));
    world.expect_no_leaks();
}
