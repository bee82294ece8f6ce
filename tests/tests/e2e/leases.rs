//! What becomes of a key when its lease is renewed, revoked or runs out.

use std::time::Duration;

use axum::http::StatusCode;
use e2e::chaos::Fault;
use e2e::world::MOUNT;
use e2e::{Kind, World, eventually};
use reqwest::Method;
use serde_json::json;

on_both!(
    a4_revoke_is_idempotent_and_needs_neither_role_nor_plaintext,
    a7_renew_extends_the_key_before_vault_is_told,
    renewal_lengthens_a_key_and_stops_at_max_ttl,
    lease_expires_on_its_own,
    queued_revocation_survives_an_outage_of_the_gateway,
);

async fn a4_revoke_is_idempotent_and_needs_neither_role_nor_plaintext(kind: Kind) {
    let world = World::start(kind).await;
    let role = json!({"models": "demo", "max_budget": 1, "ttl": "10m"});

    // The role is gone.
    world.role("app", role.clone()).await;
    let lease = world.issue("app").await;
    world
        .server
        .delete(&format!("{MOUNT}/roles/app"))
        .await
        .expect_ok();
    assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    world.server.revoke(&lease.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    // A second time, while nothing is there to be revoked.
    world.server.revoke(&lease.id).await.expect_ok();

    // An operator was faster.
    world.role("app", role).await;
    let lease = world.issue("app").await;
    let (status, _) = world
        .gateway
        .admin(Method::POST, "/key/delete", &json!({"keys": [lease.hash]}))
        .await;
    assert_eq!(status, 200);
    world.server.revoke(&lease.id).await.expect_ok();
    assert!(world.server.lease_ttl(&lease.id).await.is_none());

    // The gateway did it and its answer was lost: the second attempt finds nothing.
    let lease = world.issue("app").await;
    world.chaos.break_calls("/key/delete", Fault::AnswerLost);
    let refused = world.server.revoke(&lease.id).await;
    assert!(
        !refused.is_ok(),
        "a revocation that nobody confirmed is no success"
    );
    assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    world.chaos.heal();
    world.server.revoke(&lease.id).await.expect_ok();
    assert!(world.server.lease_ttl(&lease.id).await.is_none());

    // A gateway that fails is no gateway without the key.
    let lease = world.issue("app").await;
    for answer in [
        Fault::Answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            "application/json",
            "{}".into(),
        ),
        Fault::Answer(
            StatusCode::NOT_FOUND,
            "text/html",
            "<html>not here</html>".into(),
        ),
    ] {
        world.chaos.break_calls("/key/delete", answer);
        assert!(!world.server.revoke(&lease.id).await.is_ok());
        assert!(
            world.server.lease_ttl(&lease.id).await.is_some(),
            "the lease stays"
        );
        assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    }
    world.chaos.heal();
    world.server.revoke(&lease.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&lease.key).await, 401);
    world.expect_no_leaks();
}

async fn a7_renew_extends_the_key_before_vault_is_told(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "60s", "max_ttl": "1h"}),
        )
        .await;
    let lease = world.issue("app").await;
    let renew = async || {
        world
            .server
            .renew(&lease.id, Duration::from_secs(600))
            .await
    };

    // Each failure leaves a lease that ends no later than its key.
    for fault in [
        Fault::Lost,
        Fault::AnswerLost,
        Fault::Answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            "application/json",
            "{}".into(),
        ),
        Fault::Answer(StatusCode::OK, "text/html", "<html>welcome</html>".into()),
        Fault::Answer(
            StatusCode::NOT_FOUND,
            "application/json",
            r#"{"error":{"message":"Key not found."}}"#.into(),
        ),
    ] {
        world.chaos.break_calls("/key/update", fault.clone());
        let answer = renew().await;
        assert!(
            !answer.is_ok(),
            "renewed although the gateway had not: {fault:?}: {}",
            answer.body
        );
        let ttl = world
            .server
            .lease_ttl(&lease.id)
            .await
            .expect("the lease is still there");
        assert!(
            ttl <= Duration::from_secs(60),
            "{fault:?} moved the lease to {ttl:?}"
        );
        assert!(key_life(&world, &lease.hash).await >= ttl, "{fault:?}");
    }
    world.chaos.heal();

    renew().await.expect_ok();
    let ttl = world.server.lease_ttl(&lease.id).await.expect("the lease");
    assert!(ttl > Duration::from_secs(590), "{ttl:?}");
    assert!(key_life(&world, &lease.hash).await >= ttl);
    world.expect_no_leaks();
}

/// How long the gateway lets a key live on.
async fn key_life(world: &World, hash: &str) -> Duration {
    let (status, info) = world
        .gateway
        .admin(Method::GET, &format!("/key/info?key={hash}"), &json!(null))
        .await;
    assert_eq!(status, 200, "{info}");
    let expires = info["info"]["expires"].as_str().expect("an expiry");
    let output = std::process::Command::new("date")
        .args(["-d", expires, "+%s"])
        .output()
        .expect("date");
    let expires: u64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("seconds");
    let now = std::process::Command::new("date")
        .arg("+%s")
        .output()
        .expect("date");
    let now: u64 = String::from_utf8_lossy(&now.stdout)
        .trim()
        .parse()
        .expect("seconds");
    Duration::from_secs(expires.saturating_sub(now))
}

async fn renewal_lengthens_a_key_and_stops_at_max_ttl(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "5s", "max_ttl": "8s"}),
        )
        .await;
    let lease = world.issue("app").await;
    let before = key_life(&world, &lease.hash).await;
    assert!(before <= Duration::from_secs(65), "{before:?}");

    // More than the rest is cut to the rest, by the key as by the lease.
    let renewed = world
        .server
        .renew(&lease.id, Duration::from_secs(3600))
        .await
        .expect_ok();
    let granted = Duration::from_secs(renewed["lease_duration"].as_u64().expect("a duration"));
    assert!(
        granted > Duration::from_secs(5) && granted <= Duration::from_secs(8),
        "{granted:?}"
    );
    let after = key_life(&world, &lease.hash).await;
    assert!(
        after >= granted && after <= Duration::from_secs(68),
        "{after:?}"
    );
    assert_eq!(world.gateway.try_key(&lease.key).await, 200);

    // At the end of max_ttl the lease is over, and renewing it is refused.
    eventually(
        "a renewal past max_ttl is refused",
        Duration::from_secs(15),
        async || {
            !world
                .server
                .renew(&lease.id, Duration::from_secs(3600))
                .await
                .is_ok()
        },
    )
    .await;
    eventually("the key is dead", Duration::from_secs(15), async || {
        world.gateway.try_key(&lease.key).await == 401
    })
    .await;
    world.expect_no_leaks();
}

async fn lease_expires_on_its_own(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "3s"}),
        )
        .await;
    let lease = world.issue("app").await;
    assert_eq!(world.gateway.try_key(&lease.key).await, 200);
    // Well before the key's own expiry, which comes 60 s after the lease's.
    eventually(
        "Vault revokes the expired lease",
        Duration::from_secs(15),
        async || world.gateway.try_key(&lease.key).await == 401,
    )
    .await;
    // The server forgets it after the engine's answer.
    eventually("the lease is gone", Duration::from_secs(5), async || {
        world.server.lease_ttl(&lease.id).await.is_none()
    })
    .await;
    world.expect_no_leaks();
}

async fn queued_revocation_survives_an_outage_of_the_gateway(kind: Kind) {
    let mut world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let lease = world.issue("app").await;
    world.gateway.kill_hard();
    world.server.revoke_later(&lease.id).await;
    eventually(
        "the first attempt has failed",
        Duration::from_secs(10),
        async || {
            let log = std::fs::read_to_string(world.server.settings.folder.join("server.log"))
                .unwrap_or_default();
            log.contains("failed to revoke lease")
        },
    )
    .await;
    world.gateway.start_again().await;
    assert_eq!(
        world.gateway.try_key(&lease.key).await,
        200,
        "nothing has revoked it yet"
    );
    // The server tries again 20 s ± 50 % after the first attempt, then 40 s ± 50 %.
    eventually(
        "a later attempt succeeds",
        Duration::from_secs(100),
        async || world.gateway.try_key(&lease.key).await == 401,
    )
    .await;
    world.expect_no_leaks();
}
