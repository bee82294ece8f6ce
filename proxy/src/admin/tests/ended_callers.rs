//! Goal: who was ended while a change of theirs waited for the writer changes
//! nothing any more. Method: the change in the store that no memory has seen
//! yet, which is what a waiting request finds; and both requests at once.

use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};
use crate::{
    key::{Key, KeyHash, Scope, Scopes},
    store,
};

const ADMIN: [&str; 2] = ["keys.read", "keys.write"];

async fn thief(gateway: &Gateway) -> (String, String) {
    let made = gateway
        .post("/key/generate", &json!({ "scopes": ADMIN }))
        .await;
    let key = text(&made, "key");
    // From here on the gateway has it in memory.
    assert_eq!(gateway.admin_get(&key, "/key/list").await.status, 200);
    (key, text(&made, "token"))
}

/// Ends the key in the store, as the change before it in the queue does.
async fn end(gateway: &Gateway, hash: &str, how: impl FnOnce(&mut Key)) {
    let mut write = gateway.state.store.begin_write().await.unwrap();
    let hash = KeyHash::from_key_or_hash(hash).unwrap();
    let mut key = store::keys::find(&mut write, hash).await.unwrap().unwrap();
    how(&mut key);
    store::keys::put(&mut write, &key).await.unwrap();
    write.commit().await.unwrap();
}

fn changes(own: &str, other: &str) -> [(&'static str, Value); 6] {
    [
        ("/key/unblock", json!({"key": own})),
        ("/key/block", json!({"key": other})),
        (
            "/key/generate",
            json!({"scopes": ADMIN, "key_alias": "new"}),
        ),
        ("/key/update", json!({"key": own, "duration": "1h"})),
        (
            "/key/update",
            json!({"key": own, "blocked": false, "scopes": ADMIN}),
        ),
        ("/key/delete", json!({"keys": [other]})),
    ]
}

on_both![a_caller_that_ended_while_its_change_waited_changes_nothing,];

async fn a_caller_that_ended_while_its_change_waited_changes_nothing() {
    let gateway = Gateway::start().await;
    let other = text(&gateway.post("/key/generate", &json!({})).await, "token");
    let now = gateway.state.clock.now();
    type End = fn(&mut Key, chrono::DateTime<chrono::Utc>);
    let ends: [(u16, End); 4] = [
        (401, |key, _| key.blocked = true),
        (401, |key, now| key.expires_at = Some(now)),
        (403, |key, _| {
            key.scopes = Scopes::from_iter([Scope::KeysRead])
        }),
        (403, |key, _| {
            key.allowed_routes = vec!["/key/list".to_owned()]
        }),
    ];
    for (status, how) in ends {
        let (key, own) = thief(&gateway).await;
        for (path, body) in changes(&own, &other) {
            end(&gateway, &own, |key| how(key, now)).await;
            let refused = gateway.post_as(&key, path, &body).await;
            assert_eq!(refused.status, status, "{path} {body}: {}", refused.body);
        }
    }
    let list = gateway.admin_get(MASTER, "/key/list").await;
    assert_eq!(list.body["total_count"], 5, "nothing made, nothing deleted");
    let about = format!("/key/info?key={other}");
    let other = gateway.admin_get(MASTER, &about).await;
    assert_eq!(other.body["info"]["status"], "active");
}

// PostgreSQL keeps no order between two that begin to wait at one moment.
#[tokio::test]
async fn an_end_that_waits_for_the_writer_is_not_undone_from_behind_it() {
    for (path, field, undo) in [
        ("/key/block", "key", "/key/unblock"),
        ("/key/delete", "keys", "/key/generate"),
    ] {
        let gateway = Gateway::start().await;
        let (key, own) = thief(&gateway).await;
        let named = if field == "keys" {
            json!([own])
        } else {
            json!(own)
        };
        let ending = json!({ field: named });
        let undoing = match undo {
            "/key/unblock" => json!({"key": own}),
            _ => json!({ "scopes": ADMIN }),
        };
        let writer = gateway.state.store.begin_write().await.unwrap();
        let (ended, undone, ()) = tokio::join!(
            gateway.post(path, &ending),
            gateway.post_as(&key, undo, &undoing),
            async { drop(writer) },
        );
        assert_eq!(ended.status, 200, "{path}");
        assert_eq!(undone.status, 401, "{undo}: {}", undone.body);
        let list = gateway.admin_get(&key, "/key/list").await;
        assert_eq!(list.status, 401, "{path}");
    }
}
