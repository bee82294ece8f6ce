//! What becomes of leases and keys when the mount or its server changes: the
//! engine upgraded, the mount moved or disabled, the server sealed, an answer
//! wrapped, a lease that the server fails to keep.

use std::time::Duration;

use e2e::chaos::Fault;
use e2e::vault::{Server, Storage};
use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both!(
    leases_live_through_an_upgrade_of_the_engine,
    a_mount_that_is_moved_or_disabled_leaves_no_key,
    a_wrapped_key_works_once_unwrapped,
    leases_live_through_a_seal,
    a_lease_that_the_server_fails_to_keep_leaves_no_key,
    a_renewal_needs_no_role,
);

fn app() -> Value {
    json!({"models": "demo", "max_budget": 1, "ttl": "1h", "max_ttl": "4h"})
}

async fn leases_live_through_an_upgrade_of_the_engine(kind: Kind) {
    let world = World::start(kind).await;
    let server = &world.server;
    for version in ["v0.2.0", "v0.3.0"] {
        server.register_engine_as(version).await;
    }
    server.pin_version(MOUNT, "v0.2.0").await;
    server.reload_engine().await;
    assert_eq!(server.running_version(MOUNT).await, "v0.2.0");
    world.role("app", app()).await;
    let renewed = world.issue("app").await;
    let revoked = world.issue("app").await;

    // A pinned version serves from the next start on, not before.
    server.pin_version(MOUNT, "v0.3.0").await;
    let between = world.issue("app").await;
    assert_eq!(server.running_version(MOUNT).await, "v0.2.0");
    server.reload_engine().await;
    assert_eq!(server.running_version(MOUNT).await, "v0.3.0");

    let after = world.issue("app").await;
    for lease in [&renewed, &revoked, &between, &after] {
        assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    }
    let increment = Duration::from_secs(7200);
    server.renew(&renewed.id, increment).await.expect_ok();
    for lease in [renewed, revoked, between, after] {
        server.revoke(&lease.id).await.expect_ok();
        assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    }
    world.expect_no_leaks();
}

async fn a_mount_that_is_moved_or_disabled_leaves_no_key(kind: Kind) {
    let world = World::start(kind).await;
    let server = &world.server;
    world.role("app", app()).await;

    // The server revokes what was issued under the old name.
    let before = world.issue("app").await;
    server.move_mount(MOUNT, "moved").await;
    eventually("the key is dead", Duration::from_secs(10), async || {
        world.gateway.try_key(&before.key).await == 401
    })
    .await;
    // Configuration and roles have moved with it.
    let after = issue_at(&world, "moved").await;
    assert_eq!(world.gateway.try_key(&after.key).await, 200);
    assert_eq!(vault_mount_of(&world, &after.hash).await, "moved/");

    // Disabled: every key is dead when the answer comes.
    let more = issue_at(&world, "moved").await;
    server.unmount("moved").await;
    for lease in [after, more] {
        assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    }

    // Enabled again it begins from nothing.
    server.mount_engine("moved").await;
    server.read("moved/config").await.expect_refused(404);
    assert!(server.list("moved/roles").await.is_empty());
    world.configure("moved").await;
    server.write("moved/roles/app", &app()).await.expect_ok();
    let again = issue_at(&world, "moved").await;
    assert_eq!(world.gateway.try_key(&again.key).await, 200);
    world.expect_no_leaks();
}

async fn issue_at(world: &World, mount: &str) -> Lease {
    let answer = world.server.read(&format!("{mount}/creds/app")).await;
    let lease = Lease::of(&answer.expect_ok());
    world.canaries.add(&lease.key);
    lease
}

/// What the key's metadata at the gateway says of its mount.
async fn vault_mount_of(world: &World, hash: &str) -> String {
    let path = format!("/key/info?key={hash}");
    let (status, info) = world.gateway.admin(Method::GET, &path, &Value::Null).await;
    assert_eq!(status, 200, "{info}");
    let mount = &info["info"]["metadata"]["vault_mount"];
    mount.as_str().expect("vault_mount").to_owned()
}

async fn a_wrapped_key_works_once_unwrapped(kind: Kind) {
    let world = World::start(kind).await;
    world.role("app", app()).await;
    let path = format!("{MOUNT}/creds/app");
    let token = world.server.read_wrapped(&path, "60s").await;
    let lease = Lease::of(&world.server.unwrap(&token).await.expect_ok());
    world.canaries.add(&lease.key);
    assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    let again = world.server.unwrap(&token).await;
    assert!(!again.is_ok(), "a second unwrapping: {}", again.body);
    world.server.revoke(&lease.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&lease.key).await, 401);

    // A wrapping that nobody opened is revoked as any other lease.
    let issued = world.chaos.issued_keys().len();
    world.server.read_wrapped(&path, "60s").await;
    let unseen = world.chaos.issued_keys().split_off(issued);
    assert_eq!(world.gateway.try_key(&unseen[0]).await, 200);
    world.canaries.add(&unseen[0]);
    let prefix = format!("{MOUNT}/creds/app");
    world.server.revoke_prefix(&prefix).await.expect_ok();
    assert_eq!(world.gateway.try_key(&unseen[0]).await, 401);
    world.expect_no_leaks();
}

async fn leases_live_through_a_seal(kind: Kind) {
    let world = World::start_on(kind, Storage::Raft).await;
    world.role("app", app()).await;
    let brief = json!({"models": "demo", "max_budget": 1, "ttl": "3s"});
    world.role("brief", brief).await;
    let renewed = world.issue("app").await;
    let revoked = world.issue("app").await;
    let expired = world.issue("brief").await;
    world.server.seal().await;
    eventually("no engine runs", Duration::from_secs(10), async || {
        world.server.engine_pids().is_empty()
    })
    .await;
    assert_eq!(world.gateway.try_key(&renewed.key).await, 200);
    world.server.unseal_again().await;

    let increment = Duration::from_secs(7200);
    world.server.renew(&renewed.id, increment).await.expect_ok();
    world.server.revoke(&revoked.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&revoked.key).await, 401);
    eventually(
        "the lease that ended meanwhile is revoked",
        Duration::from_secs(30),
        async || world.gateway.try_key(&expired.key).await == 401,
    )
    .await;
    let after = world.issue("app").await;
    for lease in [renewed, after] {
        assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    }
    world.expect_no_leaks();
}

/// The engine has answered and forgotten its write-ahead entry; then the server
/// cannot store the lease, because it is larger than an entry may be. The server
/// has the engine revoke what it made.
async fn a_lease_that_the_server_fails_to_keep_leaves_no_key(kind: Kind) {
    let world = World::start_on(kind, Storage::Raft).await;
    // Any model, so that the gateway may name as many as it likes.
    world
        .role("app", json!({"max_budget": 1, "ttl": "1h"}))
        .await;
    world
        .chaos
        .break_calls("/key/generate", Fault::Changed(with_a_huge_model));
    let refused = world.server.read(&format!("{MOUNT}/creds/app")).await;
    assert!(!refused.is_ok(), "a lease that cannot be stored");
    let made = world.chaos.issued_keys();
    assert_eq!(made.len(), 1, "the gateway has made the key");
    world.canaries.add(&made[0]);
    eventually("the key is dead", Duration::from_secs(10), async || {
        world.gateway.try_key(&made[0]).await == 401
    })
    .await;
    assert!(no_lease(&world.server).await);
    world.chaos.heal();
    let lease = world.issue("app").await;
    assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    world.expect_no_leaks();
}

/// The servers write each of these characters as six, and refuse an entry of
/// more than 1 MiB.
fn with_a_huge_model(answer: &mut Value) {
    answer["models"] = json!(["<".repeat(300_000)]);
}

async fn no_lease(server: &Server) -> bool {
    server
        .leases(&format!("{MOUNT}/creds/app"))
        .await
        .is_empty()
}

async fn a_renewal_needs_no_role(kind: Kind) {
    let world = World::start(kind).await;
    world.role("app", app()).await;
    let lease = world.issue("app").await;
    let role = format!("{MOUNT}/roles/app");
    world.server.delete(&role).await.expect_ok();
    let increment = Duration::from_secs(7200);
    world.server.renew(&lease.id, increment).await.expect_ok();
    let ttl = world.server.lease_ttl(&lease.id).await.expect("the lease");
    assert!(ttl > Duration::from_secs(7100), "{ttl:?}");
    // Not past the end that the role had set when it was still there.
    let increment = Duration::from_secs(5 * 3600);
    let renewed = world.server.renew(&lease.id, increment).await.expect_ok();
    let granted = renewed["lease_duration"].as_u64().expect("a duration");
    assert!(granted <= 4 * 3600, "{granted}");
    assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    world.expect_no_leaks();
}

/// OpenBao: a namespace is a server in the server, with mounts of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_of_openbao_do_not_see_each_other() {
    let world = World::start(Kind::OpenBao).await;
    let server = &world.server;
    let mut leases = Vec::new();
    for namespace in ["team1", "team2"] {
        let path = format!("sys/namespaces/{namespace}");
        server.write(&path, &json!({})).await.expect_ok();
        server.mount_engine_in(namespace, MOUNT).await;
        let mount = format!("{namespace}/{MOUNT}");
        server
            .read(&format!("{mount}/config"))
            .await
            .expect_refused(404);
        world.configure(&mount).await;
        server
            .write(&format!("{mount}/roles/app"), &app())
            .await
            .expect_ok();
        let lease = issue_at(&world, &mount).await;
        assert_eq!(
            vault_mount_of(&world, &lease.hash).await,
            format!("{mount}/")
        );
        leases.push(lease);
    }
    let [first, second] = leases.as_slice() else {
        panic!("two leases")
    };
    server.revoke(&first.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&first.key).await, 401);
    assert_eq!(world.gateway.try_key(&second.key).await, 200);
    // A namespace that goes takes its keys with it.
    server.unmount_in("team2", MOUNT).await;
    assert_eq!(world.gateway.try_key(&second.key).await, 401);
    world.expect_no_leaks();
}

/// One file serves both products.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_the_same_binary_serves_vault_and_openbao() {
    let mut hashes = Vec::new();
    for kind in [Kind::Vault, Kind::OpenBao] {
        let world = World::start(kind).await;
        world.role("app", app()).await;
        let lease = world.issue("app").await;
        let (status, body) = world.gateway.chat(&lease.key, "demo").await;
        assert_eq!(status, 200, "{body}");
        let increment = Duration::from_secs(7200);
        world.server.renew(&lease.id, increment).await.expect_ok();
        world.server.revoke(&lease.id).await.expect_ok();
        assert_eq!(world.gateway.try_key(&lease.key).await, 401);
        hashes.push(world.server.running_sha256(MOUNT).await);
        world.expect_no_leaks();
    }
    assert_eq!(hashes[0], hashes[1]);
}
