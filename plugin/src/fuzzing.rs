//! Entry points of the fuzz targets in `plugin/fuzz`: stored entries of any
//! content, as an older, a newer or a broken version could have left them.
//!
//! Owns the properties: nothing panics, and what is said beside each function
//! holds. Not part of any interface. No entry names a gateway, so nothing here
//! leaves the process.

use std::sync::Arc;

use serde_json::Value;
use vault_plugin_sdk::testing::{MemoryStorage, Mount};
use vault_plugin_sdk::{Response, Storage, StorageEntry};

use crate::backend::{self, State};

#[cfg(test)]
mod tests;

/// Runs `work` on a mount whose storage holds one entry.
fn with_entry(key: &str, value: &[u8], work: impl AsyncFnOnce(&Mount<State>, &Arc<MemoryStorage>)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let storage = Arc::new(MemoryStorage::new());
    let mount = Mount::new(backend::backend()).storage(storage.clone());
    runtime.block_on(async {
        let entry = StorageEntry::new(key, value.to_vec());
        if storage.put(entry).await.is_ok() {
            work(&mount, &storage).await;
        }
    });
}

fn data(answer: Option<Response>) -> Value {
    answer.and_then(|answer| answer.data).into()
}

/// A role of any content is read or refused. Where it can be written again
/// without a change, it still reads the same.
pub fn role_entry(input: &[u8]) {
    with_entry("roles/app", input, async |mount, _| {
        let Ok(before) = mount.read("roles/app").await else {
            return;
        };
        // Refused: a bound that an older version did not know yet.
        if mount.write("roles/app", Value::Null).await.is_ok() {
            let after = mount.read("roles/app").await;
            let after = after.map(data).unwrap_or_default();
            assert_eq!(data(before), after, "an update without fields");
        }
        // Not configured, so it is refused after the role is taken in.
        assert!(mount.read("creds/app").await.is_err(), "no gateway");
    });
}

/// A write-ahead entry of any content is undone, given up or kept as it was.
pub fn wal_entry(input: &[u8]) {
    with_entry("wal/entry", input, async |mount, storage| {
        // The answer, an error among them, is the server's to log.
        mount.roll_back().await.ok();
        let left = storage.get("wal/entry").await.ok().flatten();
        if let Some(left) = left {
            assert_eq!(left.value, input, "a rollback changed an entry");
        }
        assert!(storage.keys().len() <= 1, "a rollback wrote something");
    });
}
