//! `config` through the backend's public surface, with storage in memory.

use serde_json::json;

use crate::testing::{GOOD_CONFIG, Mount};

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

#[tokio::test]
async fn bad_input_says_what_to_do_and_saves_nothing() {
    let mount = Mount::new();
    for (data, expected) in [
        (json!({}), "both required"),
        (json!({"base_url": "http://a"}), "both required"),
        (
            json!({"base_url": "gateway:4001", "master_key": "k"}),
            "http://",
        ),
        (json!({"base_url": "ftp://a", "master_key": "k"}), "http://"),
        (
            json!({"base_url": "not a url", "master_key": "k"}),
            "whole URL",
        ),
        (
            json!({"base_url": "http://u:p@a", "master_key": "k"}),
            "user name",
        ),
        (
            json!({"base_url": "http://a?x=1", "master_key": "k"}),
            "query",
        ),
        (
            json!({"base_url": "http://a", "master_key": "a b"}),
            "printable",
        ),
        (
            json!({"base_url": "http://a", "url": "http://b", "master_key": "k"}),
            "only one",
        ),
        (
            json!({"base_url": "http://a", "master_key": "k", "request_timeout": "0s"}),
            "at least 1s",
        ),
        (
            json!({"base_url": "http://a", "master_key": "k", "request_timeout": "2m"}),
            "at most 60s",
        ),
        (
            json!({"base_url": "https://a", "master_key": "k", "ca_cert": "junk"}),
            "ca_cert",
        ),
        (
            json!({"base_url": "https://a", "master_key": "k", "tls_server_name": "x"}),
            "not yet supported",
        ),
    ] {
        let text = mount.refused("config", data.clone()).await;
        assert!(text.contains(expected), "{data}: {text}");
        assert!(mount.read("config").await.unwrap().is_none(), "{data}");
    }
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
