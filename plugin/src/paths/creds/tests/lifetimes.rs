//! The lives of lease and key against each other, whatever the clocks say.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vault_plugin_sdk::{Operation, Secret};

use super::hostile::{Slow, config};
use crate::testing::{Gateway, Mount};

/// An hour ahead, in step, an hour behind.
const SKEWS: [i64; 3] = [3600, 0, -3600];

/// What a gateway whose clock is `skew` seconds off answers to a call that
/// asked for `life` seconds.
fn told(field: &str, life: i64, skew: i64) -> Value {
    let now = Utc::now() + TimeDelta::seconds(skew);
    let mut answer = json!({
        "key": "sk-canarykey0123456789", "models": ["m"], "max_budget": 1.0,
        "expires": now + TimeDelta::seconds(life),
    });
    answer[field] = json!(now);
    answer
}

async fn issued(gateway: &Gateway, mount: &Mount, skew: i64) -> Secret {
    gateway.script.then(200, &told("created_at", 3660, skew));
    let response = mount.read("creds/app").await.unwrap().unwrap();
    assert!(response.warnings.is_empty(), "{:?}", response.warnings);
    response.secret.unwrap()
}

#[tokio::test]
async fn a8_the_gateways_clock_does_not_matter() {
    for skew in SKEWS {
        let gateway = Gateway::start().await;
        let mount = Mount::at(&gateway).await;
        let mut secret = issued(&gateway, &mount, skew).await;
        assert_eq!(secret.lease.ttl, Duration::from_secs(3600), "{skew}");

        secret.lease.issue_time = Some(Utc::now());
        secret.lease.increment = Duration::from_secs(1800);
        gateway.script.then(200, &told("updated_at", 1860, skew));
        let renewed = mount.on_lease(Operation::Renew, secret).await;
        let renewed = renewed.unwrap().unwrap().secret.unwrap();
        assert_eq!(renewed.lease.ttl, Duration::from_secs(1800), "{skew}");

        // Lengths on the wire, never a moment by one of the clocks.
        for (path, body) in gateway.script.asked() {
            let duration = body["duration"].as_str().unwrap();
            assert!(["3660s", "1860s"].contains(&duration), "{path}: {duration}");
            assert!(body.get("expires").is_none(), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn a8_a_renewal_never_passes_max_ttl() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let mut secret = issued(&gateway, &mount, 0).await;
    secret.lease.increment = Duration::from_secs(3600);

    // Ten minutes of the role's two hours are left.
    secret.lease.issue_time = Some(Utc::now() - TimeDelta::minutes(110));
    gateway.script.then(200, "{}");
    let renewed = mount.on_lease(Operation::Renew, secret.clone()).await;
    let renewed = renewed.unwrap().unwrap().secret.unwrap();
    let rest = renewed.lease.ttl.as_secs();
    assert!((598..=600).contains(&rest), "{rest}");
    let (_, body) = gateway.script.asked().pop().unwrap();
    assert_eq!(body["duration"], format!("{}s", rest + 60));

    // None is left: the gateway is not even asked.
    let calls = gateway.script.asked().len();
    secret.lease.issue_time = Some(Utc::now() - TimeDelta::minutes(121));
    assert!(mount.on_lease(Operation::Renew, secret).await.is_err());
    assert_eq!(gateway.script.asked().len(), calls);
}

/// The key is never shorter than the lease, whatever life the gateway grants.
#[tokio::test]
async fn a7_a_key_outlives_its_lease_by_what_was_asked() {
    for (life, lease) in [
        (3660, Some(3600)),
        (1860, Some(1800)),
        (61, Some(1)),
        (60, None),
        (5, None),
    ] {
        let gateway = Gateway::start().await;
        let mount = Mount::at(&gateway).await;
        gateway.script.then(200, &told("created_at", life, 0));
        let answer = mount.read("creds/app").await;
        let granted = answer
            .ok()
            .map(|answer| answer.unwrap().secret.unwrap().lease.ttl);
        assert_eq!(granted, lease.map(Duration::from_secs), "{life}");
    }
}

/// LiteLLM: an alias can be given to another key; a hash cannot.
#[tokio::test]
async fn a4_a_key_is_ended_by_its_hash_first() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let secret = issued(&gateway, &mount, 0).await;
    gateway.script.then(200, &json!({"deleted_keys": ["x"]}));
    let hash = secret.internal_data["key_hash"].clone();
    mount.on_lease(Operation::Revoke, secret).await.unwrap();
    let (path, body) = gateway.script.asked().pop().unwrap();
    assert_eq!(
        (path.as_str(), body),
        ("/key/delete", json!({"keys": [hash]}))
    );
}

/// The server has 200 workers for revocations; the engine must not queue them.
#[tokio::test]
async fn a10_revocations_run_side_by_side() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let secret = issued(&gateway, &mount, 0).await;
    let slow = Slow::start(Duration::from_millis(300), json!({"deleted_keys": ["x"]})).await;
    mount.write("config", config(&slow.url)).await.unwrap();
    let mount = Arc::new(mount);
    let mut revocations = JoinSet::new();
    for _ in 0..64 {
        let (mount, secret) = (Arc::clone(&mount), secret.clone());
        revocations.spawn(async move { mount.on_lease(Operation::Revoke, secret).await });
    }
    while let Some(revoked) = revocations.join_next().await {
        revoked.unwrap().unwrap();
    }
    assert!(slow.most() >= 32, "{} at once", slow.most());
}
