//! What a client learns of a gateway, and what it refuses to believe.

use serde_json::json;

use super::*;
use crate::client::Client;
use crate::paths::config::ConfigEntry;
use crate::testing::Gateway;

fn client(gateway: &Gateway) -> Client {
    let entry: ConfigEntry =
        serde_json::from_value(json!({"base_url": gateway.url, "master_key": "sk-canary"}))
            .unwrap();
    Client::new(&entry).unwrap()
}

#[tokio::test]
async fn our_gateway_names_its_features_and_litellm_none() {
    let gateway = Gateway::start().await;
    let client = client(&gateway);
    gateway.script.then(
        200,
        &json!({"status": "healthy", "gateway": "llm-proxy", "version": "1.2.3", "features": ["scopes"], "ignored": ["tags"]}),
    );
    let info = client.gateway().await.unwrap();
    assert_eq!(info.to_string(), "llm-proxy 1.2.3");
    assert!(info.ignored.contains("tags"));
    assert!(info.is_llm_proxy && !info.lacks("scopes") && info.lacks("allowed_cidrs"));

    // A feature is ours to name: nothing else that says the word has it.
    gateway.script.then(
        200,
        &json!({"status": "healthy", "db": "connected", "version": "9", "features": ["scopes"], "ignored": ["tags"]}),
    );
    let info = client.gateway().await.unwrap();
    assert_eq!(info.to_string(), "LiteLLM");
    assert!(!info.is_llm_proxy && info.lacks("scopes") && info.ignored.is_empty());

    gateway.script.then(
        200,
        &json!({"status": "healthy", "litellm_version": "1.40.0"}),
    );
    assert_eq!(
        client.gateway().await.unwrap().to_string(),
        "LiteLLM 1.40.0"
    );
    assert_eq!(gateway.script.asked()[0].0, "/health/readiness");
}

#[tokio::test]
async fn a_clock_that_differs_is_told_by_sign_and_seconds() {
    let gateway = Gateway::start().await;
    let client = client(&gateway);
    for ahead in [-3600, 0, 3600] {
        let date = (Utc::now() + TimeDelta::seconds(ahead)).to_rfc2822();
        gateway
            .script
            .then_with(200, &json!({"status": "healthy"}), &[("date", &date)]);
        let told = client.gateway().await.unwrap().clock_difference.unwrap();
        assert!((told.num_seconds() - ahead).abs() <= 1, "{ahead}: {told}");
    }
}

#[tokio::test]
async fn what_is_no_readiness_is_an_error() {
    let gateway = Gateway::start().await;
    let client = client(&gateway);
    for (status, body) in [
        (200, "{}"),
        (200, "[]"),
        (200, "<html>"),
        (404, "{}"),
        (503, r#"{"status":"unhealthy","gateway":"llm-proxy"}"#),
    ] {
        gateway.script.then(status, body);
        assert!(client.gateway().await.is_err(), "{status} {body}");
    }
}
