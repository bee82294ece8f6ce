//! The cache beside storage that answers late.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Notify;
use vault_plugin_sdk::testing::MemoryStorage;
use vault_plugin_sdk::{Operation, Storage, StorageEntry, StorageError};

use super::RoleCache;
use crate::testing::{Gateway, Mount};

/// Reads what is stored at once and answers when it is told to.
#[derive(Debug)]
struct Late {
    inner: Arc<MemoryStorage>,
    has_read: Notify,
    may_answer: Notify,
}

#[async_trait]
impl Storage for Late {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError> {
        let entry = self.inner.get(key).await;
        self.has_read.notify_one();
        self.may_answer.notified().await;
        entry
    }

    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError> {
        self.inner.put(entry).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }
}

#[tokio::test]
async fn what_was_read_before_a_change_is_not_kept_after_it() {
    let mount = Mount::new();
    mount
        .write("roles/a", json!({"models": "old"}))
        .await
        .unwrap();
    let late = Arc::new(Late {
        inner: mount.storage.clone(),
        has_read: Notify::new(),
        may_answer: Notify::new(),
    });
    let cache = RoleCache::default();
    let slow = mount
        .request(Operation::Read, "creds/a")
        .storage(late.clone())
        .build();
    let change = async {
        late.has_read.notified().await;
        mount
            .write("roles/a", json!({"models": "new"}))
            .await
            .unwrap();
        cache.forget("a");
        late.may_answer.notify_one();
    };
    let (old, ()) = tokio::join!(cache.load(&slow, "a"), change);
    assert_eq!(old.unwrap().unwrap().grant.models, ["old"]);

    let req = mount.request(Operation::Read, "creds/a").build();
    let found = cache.load(&req, "a").await.unwrap().unwrap();
    assert_eq!(found.grant.models, ["new"]);
}

#[tokio::test]
async fn an_entry_stays_until_its_role_changes_here_or_elsewhere() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let asked = async || {
        gateway.script.then(500, "down");
        let refused = mount.read("creds/app").await;
        assert!(refused.is_err());
        gateway.script.asked().pop().unwrap().1["models"].clone()
    };
    assert_eq!(asked().await, json!(["m"]));
    // Another node writes: this one is told by its server.
    let entry = StorageEntry::new("roles/app", br#"{"models":["two"]}"#.to_vec());
    mount.storage.put(entry).await.unwrap();
    assert_eq!(asked().await, json!(["m"]), "from memory");
    mount.backend.invalidated("roles/app".into()).await;
    assert_eq!(asked().await, json!(["two"]));

    mount
        .write("roles/app", json!({"models": "three"}))
        .await
        .unwrap();
    assert_eq!(asked().await, json!(["three"]));
    mount.delete("roles/app").await.unwrap();
    let text = mount.read("creds/app").await.unwrap_err().to_string();
    assert!(text.contains("unknown role"), "{text}");
}
