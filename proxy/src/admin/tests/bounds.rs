//! Goal: what binds an admin key binds each admin key that it writes, itself
//! included. Method: every bound left out or widened, on each operation.

use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};

const SCOPES: [&str; 2] = ["keys.read", "keys.write"];

/// The bounds of the caller, with `changed` instead of some.
fn bounded(changed: &Value) -> Value {
    let mut body = json!({
        "scopes": SCOPES, "duration": "1h", "key_type": "management",
        "allowed_cidrs": ["127.0.0.0/8"],
    });
    for (field, value) in changed.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

on_both![
    an_admin_key_cannot_shed_its_bounds_by_itself_or_by_a_twin,
    a_key_without_bounds_makes_a_successor_as_the_engine_does,
];

async fn an_admin_key_cannot_shed_its_bounds_by_itself_or_by_a_twin() {
    let gateway = Gateway::start().await;
    let own = gateway.post("/key/generate", &bounded(&json!({}))).await;
    let (key, own) = (text(&own, "key"), text(&own, "token"));
    let unbound = json!({"scopes": SCOPES});
    let free = text(&gateway.post("/key/generate", &unbound).await, "token");
    let wider = [
        ("duration", json!({"duration": null})),
        ("duration", json!({"duration": "3601s"})),
        ("allowed_cidrs", json!({"allowed_cidrs": []})),
        ("allowed_cidrs", json!({"allowed_cidrs": ["0.0.0.0/0"]})),
        ("allowed_routes", json!({"key_type": "default"})),
        ("allowed_routes", json!({"allowed_routes": ["/key/*"]})),
    ];
    for (field, changed) in &wider {
        let mut update = changed.clone();
        update["key"] = json!(own);
        for (path, body) in [("/key/update", update), ("/key/generate", bounded(changed))] {
            let refused = gateway.post_as(&key, path, &body).await;
            assert_eq!(refused.status, 403, "{path} {body}: {}", refused.body);
            assert_eq!(refused.body["error"]["param"], *field, "{path} {body}");
        }
    }
    for (path, body) in [
        ("/key/unblock", json!({"key": free})),
        ("/key/update", json!({"key": free, "metadata": {"a": 1}})),
    ] {
        let refused = gateway.post_as(&key, path, &body).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
    }
    for (path, body) in [
        ("/key/generate", bounded(&json!({}))),
        ("/key/generate", bounded(&json!({"duration": "59m"}))),
        ("/key/generate", json!({"key_alias": "ordinary"})),
        ("/key/update", json!({"key": own, "metadata": {"a": 1}})),
        ("/key/update", json!({"key": own, "duration": "30m"})),
    ] {
        let done = gateway.post_as(&key, path, &body).await;
        assert_eq!(done.status, 200, "{path} {body}: {}", done.body);
    }
    let list = gateway.admin_get(MASTER, "/key/list").await;
    assert_eq!(list.body["total_count"], 5, "no twin was made");
}

async fn a_key_without_bounds_makes_a_successor_as_the_engine_does() {
    let gateway = Gateway::start().await;
    let successor = json!({"key_alias": "a", "key_type": "management", "scopes": SCOPES});
    let unbound = json!({"scopes": SCOPES});
    let mut key = text(&gateway.post("/key/generate", &unbound).await, "key");
    for alias in ["a", "b", "c"] {
        let mut body = successor.clone();
        body["key_alias"] = json!(alias);
        let made = gateway.post_as(&key, "/key/generate", &body).await;
        assert_eq!(made.status, 200, "{}", made.body);
        key = text(&made, "key");
    }
}
