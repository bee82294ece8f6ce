//! Issuing, renewing and revoking against a scripted gateway: whatever it
//! answers, there is never a lease without a key, nor a key without a lease or
//! a write-ahead entry.

use std::time::Duration;

use serde_json::{Value, json};
use vault_plugin_sdk::{Error, Operation, Response, Secret};

use crate::testing::{Gateway, Mount, generated};

mod hostile;
mod lifetimes;
mod rollback;

async fn issued(gateway: &Gateway, mount: &Mount) -> (Response, Secret) {
    gateway.script.then(200, &generated(3660));
    let response = mount.read("creds/app").await.unwrap().unwrap();
    let secret = response.secret.clone().unwrap();
    (response, secret)
}

#[tokio::test]
async fn a_key_is_leased_with_its_own_expiry_and_no_secret_in_the_lease() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let (response, secret) = issued(&gateway, &mount).await;
    let data = response.data.unwrap();
    assert_eq!(data["key"], "sk-canarykey0123456789");
    assert!(!data.contains_key("base_url"), "{data:?}");
    assert_eq!(
        (secret.lease.ttl, secret.lease.max_ttl),
        (Duration::from_secs(3600), Duration::from_secs(7200))
    );

    let asked = gateway.script.asked();
    let (path, body) = &asked[0];
    assert_eq!(
        (path.as_str(), &body["duration"], &body["key_type"]),
        ("/key/generate", &json!("3660s"), &json!("llm_api"))
    );
    assert_eq!(body["key_alias"], data["key_alias"]);
    assert_eq!(body["metadata"]["vault_role"], "app");

    let internal = serde_json::to_string(&secret.internal_data).unwrap();
    assert!(!internal.contains("canary"), "{internal}");
    assert_eq!(secret.internal_data["key_hash"], data["key_hash"]);
    assert_eq!(mount.wal_entries().await, 0);
}

#[tokio::test]
async fn a_hostile_gateway_gets_no_lease_and_the_entry_stays() {
    for (status, body, expected) in [
        (500, "boom".to_owned(), "status 500"),
        (
            200,
            "<html>hello</html>".into(),
            "none of a LiteLLM key API",
        ),
        (200, "{}".into(), "none of a LiteLLM key API"),
        (200, json!({"key": "token"}).to_string(), "sk-"),
        (
            200,
            json!({"key": "sk-canarykey", "expires": null}).to_string(),
            "no expiry",
        ),
        (
            200,
            json!({"key": "sk-canarykey", "max_budget": null}).to_string(),
            "did not cap",
        ),
        (
            200,
            json!({"key": "sk-canarykey", "max_budget": 2}).to_string(),
            "larger budget",
        ),
        (
            200,
            json!({"key": "sk-canarykey", "models": []}).to_string(),
            "does not name",
        ),
        (200, generated(9_999_999).to_string(), "not handed out"),
        (200, generated(30).to_string(), "upper bound"),
        (200, "x".repeat(2 << 20), "over 1 MiB"),
        (302, String::new(), "status 302"),
        (
            400,
            json!({"error": {"message": "Key with alias 'a' already exists. sk-canarykey"}})
                .to_string(),
            "already exists",
        ),
    ] {
        let gateway = Gateway::start().await;
        let mount = Mount::at(&gateway).await;
        gateway.script.then(status, &body);
        let error = mount.read("creds/app").await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(expected) && !text.contains("canary"),
            "{status}: {text}"
        );
        assert_eq!(mount.wal_entries().await, 1, "{text}");
    }
}

#[tokio::test]
async fn a_call_that_certainly_issued_nothing_leaves_no_entry() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway
        .script
        .then(401, &json!({"error": {"message": "bad key"}}));
    let text = mount.read("creds/app").await.unwrap_err().to_string();
    assert!(text.contains("write a good master_key"), "{text}");
    assert_eq!(mount.wal_entries().await, 0);
}

#[tokio::test]
async fn a_key_that_is_not_handed_out_is_deleted_at_once() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway
        .script
        .then(200, &generated(9_999_999))
        .then(200, &json!({"deleted_keys": ["x"]}));
    assert!(mount.read("creds/app").await.is_err());
    let (path, body) = gateway.script.asked().pop().unwrap();
    assert_eq!(path, "/key/delete");
    assert_eq!(body["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_clamped_life_shortens_the_lease_and_says_so() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(200, &generated(600));
    let response = mount.read("creds/app").await.unwrap().unwrap();
    assert_eq!(response.secret.unwrap().lease.ttl, Duration::from_secs(540));
    assert!(
        response
            .warnings
            .iter()
            .any(|text| text.contains("540s instead of 3600s")),
        "{:?}",
        response.warnings
    );
}

#[tokio::test]
async fn an_unknown_role_or_no_config_is_a_clear_400() {
    let mount = Mount::new();
    let Err(Error::User(text)) = mount.read("creds/app").await else {
        panic!("not refused")
    };
    assert!(
        text.contains("write base_url and master_key to config first"),
        "{text}"
    );
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let Err(Error::User(text)) = mount.read("creds/none").await else {
        panic!("not refused")
    };
    assert!(text.contains("unknown role"), "{text}");
    assert!(gateway.script.asked().is_empty());
}

#[tokio::test]
async fn a_renew_extends_the_key_first_and_answers_no_data() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let (_, mut secret) = issued(&gateway, &mount).await;
    secret.lease.issue_time = Some(chrono::Utc::now());
    secret.lease.increment = Duration::from_secs(5400);

    gateway.script.then(500, "down");
    assert!(
        mount
            .on_lease(Operation::Renew, secret.clone())
            .await
            .is_err()
    );

    gateway.script.then(200, "{}");
    let response = mount
        .on_lease(Operation::Renew, secret.clone())
        .await
        .unwrap()
        .unwrap();
    assert!(response.data.is_none());
    assert_eq!(
        response.secret.unwrap().lease.ttl,
        Duration::from_secs(5400)
    );
    let (path, body) = gateway.script.asked().pop().unwrap();
    assert_eq!(
        (path.as_str(), &body["duration"]),
        ("/key/update", &json!("5460s"))
    );
    assert_eq!(body["key"], secret.internal_data["key_hash"]);
}

#[tokio::test]
async fn a_renew_of_a_key_that_is_gone_says_to_read_again() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let (_, mut secret) = issued(&gateway, &mount).await;
    secret.lease.issue_time = Some(chrono::Utc::now());
    for (body, is_gone) in [
        (
            json!({"error": {"message": "Key not found in database"}}),
            true,
        ),
        (
            json!({"detail": {"error": "Key not found. Passed key=x"}}),
            true,
        ),
        (json!({"detail": "Not Found"}), false),
        (json!("<html>"), false),
    ] {
        gateway.script.then(404, &body);
        let renewed = mount.on_lease(Operation::Renew, secret.clone()).await;
        let text = renewed.unwrap_err().to_string();
        assert_eq!(text.contains("read creds again"), is_gone, "{body}: {text}");
    }
}

#[tokio::test]
async fn a_short_renew_does_not_shorten_later_ones() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let (_, mut secret) = issued(&gateway, &mount).await;
    mount.delete("roles/app").await.unwrap();
    secret.lease.issue_time = Some(chrono::Utc::now());
    // What the server keeps of a renewal for a minute, and sends from then on.
    secret.lease.ttl = Duration::from_secs(60);
    let renewed = async |secret: &Secret| {
        gateway.script.then(200, "{}");
        let answer = mount.on_lease(Operation::Renew, secret.clone()).await;
        answer.unwrap().unwrap().secret.unwrap()
    };
    let again = renewed(&secret).await;
    assert_eq!(again.lease.ttl, Duration::from_secs(3600));
    assert_eq!(again.internal_data, secret.internal_data);

    // A lease of a version that did not remember renews as it did then.
    secret.internal_data.remove("ttl_seconds");
    assert_eq!(renewed(&secret).await.lease.ttl, Duration::from_secs(60));
}

#[tokio::test]
async fn a_revoke_deletes_by_hash_then_alias_and_absent_is_done() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let (_, secret) = issued(&gateway, &mount).await;
    mount.delete("roles/app").await.unwrap();
    let absent = json!({"error": {"message": "{'error': 'No keys found'}", "code": "404"}});

    gateway.script.then(200, &json!({"deleted_keys": ["x"]}));
    assert!(
        mount
            .on_lease(Operation::Revoke, secret.clone())
            .await
            .is_ok()
    );
    gateway.script.then(404, &absent).then(404, &absent);
    assert!(
        mount
            .on_lease(Operation::Revoke, secret.clone())
            .await
            .is_ok()
    );
    assert_eq!(
        gateway.script.asked().pop().unwrap().1["key_aliases"][0],
        secret.internal_data["key_alias"]
    );
}

#[tokio::test]
async fn a_revoke_that_proves_nothing_fails_so_that_vault_tries_again() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let (_, mut secret) = issued(&gateway, &mount).await;
    for (status, body) in [
        (500, ""),
        (404, "<html>"),
        (404, r#"{"detail":"Not Found"}"#),
        (200, "<html>"),
        (401, "{}"),
    ] {
        gateway.script.then(status, body);
        assert!(
            mount
                .on_lease(Operation::Revoke, secret.clone())
                .await
                .is_err(),
            "{status} {body}"
        );
    }
    secret
        .internal_data
        .insert("base_url".into(), Value::from("http://elsewhere"));
    let absent = json!({"error": "No keys found"});
    gateway.script.then(404, &absent).then(404, &absent);
    let text = mount
        .on_lease(Operation::Revoke, secret)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("http://elsewhere") && text.contains(&gateway.url),
        "{text}"
    );
}
