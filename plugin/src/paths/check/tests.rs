//! What `check` says of gateways in every state, never as an error.

use chrono::Utc;
use serde_json::{Value, json};

use super::*;
use crate::testing::admin::{Cut, FakeAdmin, STATIC_KEY, Style};
use crate::testing::{Gateway, Mount, generated};

async fn check(mount: &Mount) -> (Map<String, Value>, Vec<String>) {
    let response = mount.read("check").await.unwrap().unwrap();
    (response.data.unwrap(), response.warnings)
}

async fn configured(gateway: &FakeAdmin) -> Mount {
    let mount = Mount::new();
    let config = json!({"base_url": gateway.url, "master_key": STATIC_KEY, "verify_connection": false, "request_timeout": "2s"});
    mount.write("config", config).await.unwrap();
    mount
}

#[tokio::test]
async fn a_good_gateway_is_named_with_its_key() {
    for (style, name) in [(Style::LlmProxy, "llm-proxy"), (Style::LiteLlm, "LiteLLM")] {
        let gateway = FakeAdmin::start(style).await;
        let mount = configured(&gateway).await;
        let (told, warnings) = check(&mount).await;
        assert_eq!(
            (
                &told["reachable"],
                &told["admin_key_works"],
                &told["gateway"]
            ),
            (&json!(true), &json!(true), &json!(name))
        );
        assert_eq!(told["admin_key_kind"], "master key");
        assert!(
            warnings.iter().any(|text| text.contains("rotate-root")),
            "{warnings:?}"
        );

        let rotate = mount.request(Operation::Update, "rotate-root");
        mount.backend.handle(rotate.build()).await.unwrap();
        let (told, warnings) = check(&mount).await;
        assert_eq!(told["admin_key_kind"], "admin key");
        let alias = told["admin_key_alias"].as_str().unwrap();
        assert!(alias.starts_with("vault-root-"), "{alias}");
        let has_scopes = told.contains_key("admin_key_scopes");
        assert_eq!(has_scopes, style == Style::LlmProxy);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[tokio::test]
async fn what_fails_is_told_item_by_item() {
    let gateway = FakeAdmin::start(Style::LiteLlm).await;
    let mount = configured(&gateway).await;
    gateway.inner().keys.clear();
    let config = json!({"master_key": "sk-canary-wrong", "verify_connection": false});
    mount.write("config", config).await.unwrap();
    let (told, _) = check(&mount).await;
    assert_eq!(
        (&told["reachable"], &told["admin_key_works"]),
        (&json!(true), &json!(false))
    );
    let text = serde_json::to_string(&told).unwrap();
    assert!(
        told["admin_key_error"].as_str().unwrap().contains("401") && !text.contains("canary"),
        "{text}"
    );

    let down = json!({"base_url": "http://127.0.0.1:1", "master_key": "sk-canary", "verify_connection": false});
    mount.write("config", down).await.unwrap();
    let (told, _) = check(&mount).await;
    assert_eq!(
        (&told["reachable"], &told["admin_key_works"]),
        (&json!(false), &json!(false))
    );
    assert!(
        told["gateway_error"]
            .as_str()
            .unwrap()
            .contains("no connection")
    );
    assert!(!told.contains_key("gateway") && !told.contains_key("admin_key_kind"));

    for call in 1..=4 {
        let mount = configured(&gateway).await;
        gateway.cut(call, Cut::Garbled);
        check(&mount).await;
        gateway.works_again();
    }
}

#[tokio::test]
async fn warnings_tell_of_clocks_and_of_keys_that_expire() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let date = (Utc::now() + TimeDelta::hours(1)).to_rfc2822();
    let info = json!({"info": {"key_alias": "a", "expires": "2030-01-01T00:00:00Z"}});
    let ready =
        json!({"status": "healthy", "keys": [], "info": info["info"], "gateway": "llm-proxy"});
    // All three questions are asked at once, so each gets the same answer.
    for _ in 0..3 {
        gateway.script.then_with(200, &ready, &[("date", &date)]);
    }
    let (told, warnings) = check(&mount).await;
    assert!(
        told["clock_difference"].as_i64().unwrap() > 3500,
        "{told:?}"
    );
    assert!(warnings[0].contains("clock differs"), "{warnings:?}");
    assert!(warnings[1].contains("expires at 2030"), "{warnings:?}");
}

#[tokio::test]
async fn what_a_gateway_does_not_enforce_is_told_by_role() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then_with(
        200,
        &generated(3660),
        &[("x-llm-proxy-ignored", "tags,rpm_limit")],
    );
    mount.read("creds/app").await.unwrap();
    // Written while another gateway was there, or by an older version.
    let role = json!({"models": ["m"], "allowed_cidrs": ["10.0.0.0/8"], "model_max_budget": {"m": {"budget_limit": 1, "time_period": "1d"}}, "tpm_limit": 5});
    vault_plugin_sdk::put_json(mount.storage.as_ref(), "roles/old", &role)
        .await
        .unwrap();
    let ready = json!({"status": "healthy", "keys": [], "info": {}, "gateway": "llm-proxy", "features": [], "ignored": ["tpm_limit", "rpm_limit", "model_max_budget"]});
    for _ in 0..3 {
        gateway.script.then(200, &ready);
    }
    let (told, _) = check(&mount).await;
    let unenforced = &told["unenforced"];
    let app = unenforced["roles/app"].to_string();
    assert!(
        app.contains("tags: ") && app.contains("rpm_limit: "),
        "{app}"
    );
    let old = unenforced["roles/old"].to_string();
    assert!(
        old.contains("allowed_cidrs: needs") && old.contains("model_max_budget: needs"),
        "{old}"
    );
    assert!(old.contains("tpm_limit: has no effect"), "{old}");
    assert_eq!(old.matches("model_max_budget").count(), 2, "{old}");
}

#[tokio::test]
async fn without_configuration_it_says_what_to_write() {
    let error = Mount::new().read("check").await.unwrap_err();
    assert!(
        matches!(&error, Error::User(text) if text.contains("not configured")),
        "{error}"
    );
}
