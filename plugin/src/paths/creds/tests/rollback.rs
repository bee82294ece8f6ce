//! What a rollback may end, and what it must leave alone.

use std::time::Duration;

use serde_json::{Map, json};
use vault_plugin_sdk::{Error, Operation, Response};

use super::hostile::Slow;
use crate::testing::{Gateway, Mount, generated};

async fn rollback(mount: &Mount, immediate: bool) -> Result<Option<Response>, Error> {
    let data = Map::from_iter([("immediate".to_owned(), json!(immediate))]);
    let request = mount.request(Operation::Rollback, "").data(data);
    mount.backend.handle(request.build()).await
}

#[tokio::test]
async fn a3_a_key_that_is_being_issued_is_left_alone() {
    let gateway = Slow::start(Duration::from_millis(400), generated(3660)).await;
    let mount = super::hostile::mount_at(&gateway.url).await;
    let rollbacks = async {
        while gateway.under_way() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..5 {
            // Even one that asks for no age: somebody waits for this key.
            rollback(&mount, true).await.unwrap();
            assert_eq!(mount.wal_entries().await, 1);
        }
    };
    let (answer, ()) = tokio::join!(mount.read("creds/app"), rollbacks);
    assert!(answer.unwrap().unwrap().secret.is_some());
    assert_eq!(gateway.paths(), ["/key/generate"]);
    assert_eq!(mount.wal_entries().await, 0);
}

#[tokio::test]
async fn a3_an_entry_younger_than_two_timeouts_is_left_alone() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(500, "");
    assert!(mount.read("creds/app").await.is_err());
    let calls = gateway.script.asked().len();
    rollback(&mount, false).await.unwrap();
    assert_eq!(
        gateway.script.asked().len(),
        calls,
        "too young to be undone"
    );
    assert_eq!(mount.wal_entries().await, 1);
}

#[tokio::test]
async fn a2_what_nobody_waits_for_is_ended_by_its_alias() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(500, "");
    assert!(mount.read("creds/app").await.is_err());
    let alias = gateway.script.asked()[0].1["key_alias"].clone();

    // A gateway that fails, or is none, proves nothing: the entry stays.
    for (status, body) in [
        (500, "{}"),
        (404, "<html>"),
        (200, r#"{"deleted_keys":[]}"#),
    ] {
        gateway.script.then(status, body);
        rollback(&mount, true).await.unwrap();
        assert_eq!(mount.wal_entries().await, 1, "{status} {body}");
    }
    // The key was never made: that is an end too.
    gateway.script.then(404, &json!({"error": "No keys found"}));
    rollback(&mount, true).await.unwrap();
    assert_eq!(mount.wal_entries().await, 0);
    for (path, body) in gateway.script.asked().split_off(2) {
        assert_eq!(
            (path.as_str(), &body["key_aliases"][0]),
            ("/key/delete", &alias)
        );
    }
}
