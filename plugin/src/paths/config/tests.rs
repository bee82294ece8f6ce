//! `config` through the backend's public surface, with storage in memory.

use serde_json::{Value, json};
use vault_plugin_sdk::put_json;

use crate::testing::{GOOD_CONFIG, Gateway, Mount};

#[tokio::test]
async fn read_never_answers_the_admin_key() {
    let mount = Mount::new();
    mount.write("config", GOOD_CONFIG()).await.unwrap();
    let answer = mount.read("config").await.unwrap().unwrap().data.unwrap();
    assert!(!answer.contains_key("master_key") && !answer.contains_key("admin_key"));
    assert!(!serde_json::to_string(&answer).unwrap().contains("canary"));
    assert_eq!(answer["base_url"], "http://127.0.0.1:4001");
    assert_eq!(answer["request_timeout"], 10);
}

#[tokio::test]
async fn a_field_left_out_of_an_update_stays() {
    let mount = Mount::new();
    mount.write("config", GOOD_CONFIG()).await.unwrap();
    mount
        .write(
            "config",
            json!({"public_url": "https://llm.example.com/", "verify_connection": false}),
        )
        .await
        .unwrap();
    let answer = mount.read("config").await.unwrap().unwrap().data.unwrap();
    assert_eq!(answer["public_url"], "https://llm.example.com");
    assert_eq!(answer["base_url"], "http://127.0.0.1:4001");
}

#[tokio::test]
async fn a_new_address_needs_the_admin_key_again() {
    let mount = Mount::new();
    mount.write("config", GOOD_CONFIG()).await.unwrap();
    let text = mount
        .refused(
            "config",
            json!({"base_url": "http://127.0.0.1:9", "verify_connection": false}),
        )
        .await;
    assert!(text.contains("master_key must be given"), "{text}");
}

#[tokio::test]
async fn both_dialects_name_the_same_fields() {
    let mount = Mount::new();
    let other = json!({"url": "http://127.0.0.1:4001/", "admin_key": "sk-canary", "verify_connection": false});
    mount.write("config", other).await.unwrap();
    let answer = mount.read("config").await.unwrap().unwrap().data.unwrap();
    assert_eq!(answer["base_url"], "http://127.0.0.1:4001");
}

async fn check_refused(data: Value, expected: &str) {
    let mount = Mount::new();
    for verify in [true, false] {
        let mut data = data.clone();
        data["verify_connection"] = json!(verify);
        let text = mount.refused("config", data.clone()).await;
        assert!(text.contains(expected), "{data}: {text}");
        assert!(mount.read("config").await.unwrap().is_none(), "{data}");
    }
}

#[tokio::test]
async fn a_bad_address_says_what_to_do_and_saves_nothing() {
    for (base_url, expected) in [
        ("gateway:4001", "http://"),
        ("ftp://a", "http://"),
        ("not a url", "whole URL"),
        ("http://u:p@a", "user name"),
        ("http://a?x=1", "query"),
        ("http://a#x", "fragment"),
        ("http://a\n.example", "control"),
        (
            &format!("http://a/{}", "x".repeat(3000)),
            "longer than 2048",
        ),
        ("http://169.254.169.254/latest", "link-local"),
        ("http://2852039166", "link-local"),
        ("https://[::ffff:169.254.169.254]:443", "link-local"),
    ] {
        check_refused(json!({"base_url": base_url, "master_key": "k"}), expected).await;
    }
}

#[tokio::test]
async fn a_bad_field_says_what_to_do_and_saves_nothing() {
    check_refused(json!({}), "both required").await;
    check_refused(json!({"base_url": "http://a"}), "both required").await;
    for (fields, expected) in [
        (json!({"master_key": "a b"}), "printable"),
        (json!({"master_key": "k".repeat(2000)}), "longer than 1024"),
        (json!({"master_key": ""}), "empty"),
        (json!({"master_key": ["k"]}), "validation failed"),
        (json!({"admin_key": "other"}), "only one"),
        (json!({"url": "http://b"}), "only one"),
        (json!({"request_timeout": "0s"}), "at least 1s"),
        (json!({"request_timeout": "2m"}), "at most 60s"),
        (json!({"request_timeout": -1}), "validation failed"),
        (json!({"public_url": "ftp://a"}), "public_url must begin"),
        (json!({"ca_cert": "junk"}), "ca_cert"),
        (json!({"ca_cert": "x".repeat(70_000)}), "ca_cert is longer"),
        (json!({"tls_server_name": "10.0.0.1"}), "DNS name"),
        (json!({"tls_server_name": "a:443"}), "DNS name"),
        (
            json!({"base_url": "http://a", "tls_server_name": "x"}),
            "needs an https",
        ),
    ] {
        let mut data = json!({"base_url": "https://a", "master_key": "k"});
        data.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        check_refused(data, expected).await;
    }
}

#[tokio::test]
async fn a_stored_link_local_address_is_not_called() {
    let mount = Mount::new();
    let stored = json!({"base_url": "http://169.254.169.254", "master_key": "sk-canary"});
    put_json(mount.storage.as_ref(), "config", &stored)
        .await
        .unwrap();
    let error = mount.read("check").await.unwrap_err().to_string();
    assert!(
        error.contains("link-local") && !error.contains("canary"),
        "{error}"
    );
}

#[tokio::test]
async fn an_entry_of_the_first_version_keeps_loading() {
    let mount = Mount::new();
    let stored = json!({"base_url": "http://127.0.0.1:4001", "master_key": "sk-canary"});
    put_json(mount.storage.as_ref(), "config", &stored)
        .await
        .unwrap();
    let answer = mount.read("config").await.unwrap().unwrap().data.unwrap();
    assert_eq!(answer["request_timeout"], 10);
    assert_eq!(answer["verify_connection"], true);
    assert_eq!(answer["tls_server_name"], "");
}

#[tokio::test]
async fn an_unreachable_gateway_is_502_and_is_not_saved() {
    let mount = Mount::new();
    let (status, text) = mount
        .coded(
            "config",
            json!({"base_url": "http://127.0.0.1:1", "master_key": "sk-canary"}),
        )
        .await;
    assert_eq!(status, 502);
    assert!(
        text.contains("http://127.0.0.1:1") && !text.contains("canary"),
        "{text}"
    );
    assert!(mount.read("config").await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_that_may_not_read_or_write_is_refused_with_the_scope_it_lacks() {
    let forbidden = json!({"error": {"message": "the key lacks a scope"}});
    let keys = json!({"keys": [], "total_count": 0, "current_page": 1, "total_pages": 0});
    for (reads, status, scope) in [
        (false, 403, "keys.read"),
        (true, 403, "keys.write"),
        (true, 401, "keys.write"),
    ] {
        let (gateway, mount) = (Gateway::start().await, Mount::new());
        if reads {
            gateway.script.then(200, &keys);
        }
        gateway.script.then(status, &forbidden);
        let config = json!({"base_url": gateway.url, "master_key": "sk-canary"});
        let text = mount.refused("config", config).await;
        assert!(text.contains(scope) && !text.contains("canary"), "{text}");
        assert!(mount.read("config").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_deletion_tells_of_the_admin_key_that_is_lost_with_it() {
    for (alias, warnings) in [("", 1), ("vault-root-x", 2)] {
        let mount = Mount::new();
        let stored = json!({"base_url": "http://127.0.0.1:4001", "master_key": "sk-canary", "master_key_alias": alias});
        put_json(mount.storage.as_ref(), "config", &stored)
            .await
            .unwrap();
        let told = mount.delete("config").await.unwrap().unwrap().warnings;
        assert_eq!(told.len(), warnings, "{told:?}");
        assert!(told.last().unwrap().contains(alias), "{told:?}");
    }
}
