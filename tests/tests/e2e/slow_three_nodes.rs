//! A cluster of three whose leader dies in the middle of something, and whose
//! standbys are asked for what only the leader may do. They take turns, so the
//! name puts them behind what is long and idle.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::chaos::Fault;
use e2e::vault::Server;
use e2e::world::{Lease, MOUNT};
use e2e::{Cluster, Kind, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

on_both!(
    a_leader_killed_while_issuing_leaves_no_key_without_a_lease,
    a_leader_killed_while_renewing_or_revoking_loses_neither,
    a_leader_killed_under_load_leaves_leases_and_keys_in_step,
    a_standby_has_the_leader_do_what_it_may_not,
    a3_a_standby_rolls_nothing_back,
);

/// A rollback comes every minute, and takes entries of five seconds and more.
const TWO_ROLLBACKS: Duration = Duration::from_secs(135);

fn app() -> Value {
    json!({"models": "demo", "max_budget": 1, "ttl": "2h", "max_ttl": "8h"})
}

/// Asks for `path` at a node and does not wait for the answer.
fn in_background(node: &Server, method: Method, path: &str, body: Value, tasks: &mut JoinSet<()>) {
    let call = node.detached_call(method, path, body);
    tasks.spawn(async move {
        call.await;
    });
}

async fn is_hit(node: &Server, point: &str, before: usize) {
    eventually(point, Duration::from_secs(30), async || {
        node.failpoint_hits(point) > before
    })
    .await;
}

async fn a_leader_killed_while_issuing_leaves_no_key_without_a_lease(kind: Kind) {
    let cluster = Cluster::start(kind).await;
    cluster.role("app", app()).await;
    // Past the write-ahead entry only the key's own expiry is left to end it.
    let brief = json!({"models": "demo", "max_budget": 1, "ttl": "5s"});
    cluster.role("brief", brief).await;
    let held = cluster.issue_at(cluster.leader().await, "app").await;
    let before = cluster.chaos.issued_keys().len();

    let mut tasks = JoinSet::new();
    for (point, role) in [
        ("creds.after_wal", "app"),
        ("creds.response_read", "app"),
        ("creds.before_wal_delete", "app"),
        ("creds.before_reply", "brief"),
    ] {
        let leader = cluster.leader().await;
        let hits = leader.failpoint_hits(point);
        leader.arm(&format!("{point}=sleep(60000)"));
        let path = format!("{MOUNT}/creds/{role}");
        in_background(leader, Method::GET, &path, Value::Null, &mut tasks);
        is_hit(leader, point, hits).await;
        leader.arm("");
        cluster.kill(leader).await;
        cluster.heal().await;
    }
    let abandoned = cluster.chaos.issued_keys().split_off(before);
    assert_eq!(
        abandoned.len(),
        3,
        "each but the first point has made a key"
    );
    for key in &abandoned {
        cluster.canaries.add(key);
    }
    eventually("no abandoned key works", TWO_ROLLBACKS, async || {
        for key in &abandoned {
            if cluster.gateway.try_key(key).await != 401 {
                return false;
            }
        }
        true
    })
    .await;
    let storage = cluster.leader().await.storage_of(MOUNT).await;
    eventually("no write-ahead entry is left", TWO_ROLLBACKS, async || {
        let path = format!("sys/raw/{storage}wal");
        cluster.leader().await.list(&path).await.is_empty()
    })
    .await;
    works_on(&cluster, &held).await;
    cluster.expect_no_leaks();
}

/// A lease that somebody holds is as good as before: it is renewed, and its key
/// dies with it.
async fn works_on(cluster: &Cluster, lease: &Lease) {
    let leader = cluster.leader().await;
    assert_eq!(cluster.gateway.try_key(&lease.key).await, 200);
    let increment = Duration::from_secs(3 * 3600);
    leader.renew(&lease.id, increment).await.expect_ok();
    let ttl = leader.lease_ttl(&lease.id).await.expect("the lease");
    assert!(ttl > Duration::from_secs(2 * 3600), "{ttl:?}");
    let fresh = cluster.issue_at(leader, "app").await;
    for lease in [lease, &fresh] {
        leader.revoke(&lease.id).await.expect_ok();
        assert_eq!(cluster.gateway.try_key(&lease.key).await, 401);
        assert!(leader.lease_ttl(&lease.id).await.is_none());
    }
}

async fn a_leader_killed_while_renewing_or_revoking_loses_neither(kind: Kind) {
    let cluster = Cluster::start(kind).await;
    cluster.role("app", app()).await;
    let leader = cluster.leader().await;
    let renewed = cluster.issue_at(leader, "app").await;
    let revoked = cluster.issue_at(leader, "app").await;
    let queued = cluster.issue_at(leader, "app").await;
    let mut tasks = JoinSet::new();

    // The gateway has extended the key, and the leader dies before it knows.
    let late = Fault::AnswerLate(Duration::from_secs(8));
    cluster.chaos.break_calls("/key/update", late.clone());
    let calls = cluster.chaos.calls("/key/update");
    let body = json!({"lease_id": renewed.id, "increment": 4 * 3600});
    in_background(leader, Method::POST, "sys/leases/renew", body, &mut tasks);
    eventually("the key is extended", Duration::from_secs(8), async || {
        cluster.chaos.calls("/key/update") > calls
    })
    .await;
    cluster.kill(leader).await;
    cluster.chaos.heal();
    cluster.heal().await;
    let leader = cluster.leader().await;
    let ttl = leader.lease_ttl(&renewed.id).await.expect("the lease");
    assert!(ttl <= Duration::from_secs(2 * 3600), "{ttl:?}");
    assert_eq!(cluster.gateway.try_key(&renewed.key).await, 200);

    // The gateway has deleted one key, another is still to come.
    cluster.chaos.break_calls("/key/delete", late);
    let calls = cluster.chaos.calls("/key/delete");
    for (lease, sync) in [(&revoked, true), (&queued, false)] {
        let body = json!({"lease_id": lease.id, "sync": sync});
        in_background(leader, Method::POST, "sys/leases/revoke", body, &mut tasks);
    }
    eventually("both have begun", Duration::from_secs(8), async || {
        cluster.chaos.calls("/key/delete") >= calls + 2
    })
    .await;
    cluster.kill(leader).await;
    cluster.chaos.heal();
    cluster.heal().await;

    // What was queued is done by the new leader, what was waited for on asking
    // again; that the keys are gone already is no failure.
    let leader = cluster.leader().await;
    leader.revoke(&revoked.id).await.expect_ok();
    eventually(
        "the queued revocation is done",
        Duration::from_secs(60),
        async || cluster.leader().await.lease_ttl(&queued.id).await.is_none(),
    )
    .await;
    for lease in [&revoked, &queued] {
        assert_eq!(cluster.gateway.try_key(&lease.key).await, 401);
        assert!(leader.lease_ttl(&lease.id).await.is_none());
    }
    works_on(&cluster, &renewed).await;
    assert_eq!(cluster.leader().await.irrevocable_leases().await, 0);
    cluster.expect_no_leaks();
}

/// Every node is asked for keys all the time while the leader dies, and again
/// while another is told to step down. A lease without a key is never seen; a
/// key whose lease was never stored ends by itself.
async fn a_leader_killed_under_load_leaves_leases_and_keys_in_step(kind: Kind) {
    let cluster = Cluster::start(kind).await;
    let brief = json!({"models": "demo", "max_budget": 1, "ttl": "40s"});
    cluster.role("brief", brief).await;
    cluster.role("app", app()).await;
    let mut leases = Vec::new();
    let mut refused = 0_u32;
    for round in 0..3 {
        let mut load = JoinSet::new();
        for _ in 0..4 {
            for node in &cluster.nodes {
                let path = format!("{MOUNT}/creds/brief");
                load.spawn(node.detached_call(Method::GET, &path, Value::Null));
            }
        }
        let leader = cluster.leader().await;
        match round {
            0 => {}
            1 => cluster.kill(leader).await,
            _ => {
                leader.step_down().await;
                cluster.whole().await;
            }
        }
        while let Some(answer) = load.join_next().await {
            let answer = answer.expect("an answer");
            if answer.is_ok() {
                let lease = Lease::of(&answer.body);
                cluster.canaries.add(&lease.key);
                leases.push(lease);
            } else {
                refused += 1;
            }
        }
        cluster.heal().await;
    }
    assert!(
        leases.len() >= 12,
        "{} leases, {refused} refused",
        leases.len()
    );
    let leader = cluster.leader().await;
    for lease in &leases {
        // Asked in this order, so that a lease that ends in between is no fault.
        let works = cluster.gateway.try_key(&lease.key).await == 200;
        let is_held = leader.lease_ttl(&lease.id).await.is_some();
        assert!(works || !is_held, "a lease without a key: {}", lease.id);
    }
    // 40 s of lease, 60 s of slack.
    eventually("every key is gone", Duration::from_secs(150), async || {
        let path = format!("{MOUNT}/creds/brief");
        let keys = working(&cluster).await;
        keys.is_empty() && cluster.leader().await.leases(&path).await.is_empty()
    })
    .await;
    let lease = cluster.issue_at(cluster.leader().await, "app").await;
    works_on(&cluster, &lease).await;
    cluster.expect_no_leaks();
}

/// Which of all the keys ever issued still work.
async fn working(cluster: &Cluster) -> BTreeSet<String> {
    let mut working = BTreeSet::new();
    for key in cluster.chaos.issued_keys() {
        if cluster.gateway.try_key(&key).await == 200 {
            working.insert(key);
        }
    }
    working
}

async fn a_standby_has_the_leader_do_what_it_may_not(kind: Kind) {
    let cluster = Cluster::start(kind).await;
    let leader = cluster.leader().await;
    let standbys = cluster.standbys().await;
    // OpenBao's standbys run the engine; Vault's forward without asking it.
    for standby in &standbys {
        let runs = !standby.engine_pids().is_empty();
        assert_eq!(runs, kind == Kind::OpenBao, "an engine on a standby");
        // None of these may issue a key: whichever tried would fail.
        standby.arm("creds.before_wal=panic");
    }
    for (number, standby) in standbys.iter().enumerate() {
        let role = format!("{MOUNT}/roles/from-{number}");
        standby.write(&role, &app()).await.expect_ok();
        let config = json!({"request_timeout": 10 + number});
        let path = format!("{MOUNT}/config");
        standby.write(&path, &config).await.expect_ok();
        let read = leader.read(&path).await.expect_ok();
        assert_eq!(read["data"]["request_timeout"], 10 + number);
        leader.read(&role).await.expect_ok();
        let lease = cluster.issue_at(standby, &format!("from-{number}")).await;
        assert_eq!(cluster.gateway.try_key(&lease.key).await, 200);
        let increment = Duration::from_secs(3 * 3600);
        standby.renew(&lease.id, increment).await.expect_ok();
        standby.revoke(&lease.id).await.expect_ok();
        assert_eq!(cluster.gateway.try_key(&lease.key).await, 401);
        standby
            .write(&format!("{MOUNT}/tidy"), &json!({}))
            .await
            .expect_ok();
        standby.delete(&role).await.expect_ok();
        leader.read(&role).await.expect_refused(404);
    }

    // What the leader has just been told is used through a standby at once.
    for round in 0..50 {
        let role = format!("fresh-{round}");
        let path = format!("{MOUNT}/roles/{role}");
        leader.write(&path, &app()).await.expect_ok();
        let creds = format!("{MOUNT}/creds/{role}");
        standbys[round % 2].read(&creds).await.expect_ok();
    }
    // And what it has been told to forget is not.
    let path = format!("{MOUNT}/roles/fresh-0");
    leader.delete(&path).await.expect_ok();
    let refused = standbys[0].read(&format!("{MOUNT}/creds/fresh-0")).await;
    assert!(refused.expect_refused(400).contains("unknown role"));
    cluster.expect_no_leaks();
}

/// A key is being issued for longer than the minimum age of its write-ahead
/// entry, and than two rollbacks are apart. The standbys see that entry, and do
/// not know that somebody waits for the key.
async fn a3_a_standby_rolls_nothing_back(kind: Kind) {
    let cluster = Cluster::start(kind).await;
    cluster.role("app", app()).await;
    let leader = cluster.leader().await;
    let rollbacks = rollbacks_of_standbys(&cluster).await;
    let point = "creds.before_wal_delete";
    leader.arm(&format!("{point}=sleep(75000)"));
    let lease = cluster.issue_at(leader, "app").await;
    leader.arm("");
    if kind == Kind::OpenBao {
        let more = rollbacks_of_standbys(&cluster).await;
        assert!(more > rollbacks, "no rollback came to a standby meanwhile");
    }
    assert_eq!(cluster.gateway.try_key(&lease.key).await, 200);
    works_on(&cluster, &lease).await;
    cluster.expect_no_leaks();
}

async fn rollbacks_of_standbys(cluster: &Cluster) -> usize {
    let standbys = cluster.standbys().await;
    let counts = standbys.iter().map(|node| node.rollbacks_at_the_engine());
    counts.sum()
}
