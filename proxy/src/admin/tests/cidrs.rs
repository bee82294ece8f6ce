//! Where a key may be used from, on both planes.

use serde_json::json;

use super::{Gateway, MASTER, on_both, text};

on_both![
    a_key_is_refused_from_outside_its_blocks_and_says_where_it_may_be_used,
    blocks_change_at_once_and_an_empty_list_frees_the_key,
];

async fn a_key_is_refused_from_outside_its_blocks_and_says_where_it_may_be_used() {
    let mut gateway = Gateway::start().await;
    let blocks = json!(["10.1.2.3/8", "2001:DB8::/32", "127.0.0.1"]);
    let body = json!({"allowed_cidrs": blocks, "scopes": ["keys.read"]});
    let admin = gateway.post("/key/generate", &body).await;
    let body = json!({"allowed_cidrs": blocks});
    let made = gateway.post("/key/generate", &body).await;
    let normal = json!(["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"]);
    assert_eq!(made.body["allowed_cidrs"], normal);
    let (admin, key) = (text(&admin, "key"), text(&made, "key"));
    for (peer, status) in [
        (Some("127.0.0.1"), 200),
        (Some("10.255.0.1"), 200),
        (Some("::ffff:10.0.0.1"), 200),
        (Some("2001:db8::7"), 200),
        (Some("127.0.0.2"), 403),
        (Some("11.0.0.1"), 403),
        (Some("2001:db9::7"), 403),
        (Some("::1"), 403),
        (None, 403),
    ] {
        gateway.peer = peer.map(|address| address.parse().unwrap());
        let own = gateway.try_key(&key).await;
        assert_eq!(own.status, status, "{peer:?} {}", own.body);
        assert_eq!(gateway.data_get(&key, "/v1/models").await.status, status);
        let chat = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
        let chat = gateway.data_post(&key, "/v1/chat/completions", &chat).await;
        assert_eq!(chat.status, status, "{peer:?}");
        assert_eq!(gateway.admin_get(&admin, "/key/list").await.status, status);
        // Only keys are bound to a place.
        assert_eq!(gateway.admin_get(MASTER, "/key/list").await.status, 200);
    }
}

async fn blocks_change_at_once_and_an_empty_list_frees_the_key() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    let (key, hash) = (text(&made, "key"), text(&made, "token"));
    for (blocks, stored, status) in [
        (json!(["10.0.0.0/8"]), json!(["10.0.0.0/8"]), 403),
        (json!(null), json!(["10.0.0.0/8"]), 403),
        (json!(["127.0.0.0/8"]), json!(["127.0.0.0/8"]), 200),
        (json!([]), json!([]), 200),
    ] {
        let body = json!({"key": hash, "allowed_cidrs": blocks});
        let updated = gateway.post("/key/update", &body).await;
        assert_eq!(updated.body["allowed_cidrs"], stored, "{blocks}");
        assert_eq!(gateway.try_key(&key).await.status, status, "{blocks}");
    }
    let named = json!({"allowed_cidrs": ["10.0.0.0/8", "10.0.0.0/40<"]});
    let refused = gateway.post("/key/generate", &named).await;
    assert_eq!(refused.status, 400);
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("number 2 is no block"), "{message}");
    assert!(!message.contains("/40"), "it may be a key: {message}");
    let many = json!({"allowed_cidrs": vec!["10.0.0.0/8"; 65]});
    assert_eq!(gateway.post("/key/generate", &many).await.status, 400);
}
