//! Storage in memory.
//!
//! Owns a sorted map. Lists as the servers do: direct children, folders with a
//! trailing slash.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Mutex,
};

use async_trait::async_trait;

use crate::{Storage, StorageEntry, StorageError};

/// Storage in memory.
#[derive(Default)]
pub struct MemoryStorage {
    entries: Mutex<BTreeMap<String, StorageEntry>>,
}

impl MemoryStorage {
    /// Empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.locked().keys().cloned().collect()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, StorageEntry>> {
        self.entries
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage")
            .field("keys", &self.keys())
            .finish()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let entries = self.locked();
        let children: BTreeSet<_> = entries
            .keys()
            .filter_map(|key| key.strip_prefix(prefix))
            .map(|rest| {
                rest.find('/')
                    .map_or(rest, |slash| &rest[..=slash])
                    .to_owned()
            })
            .collect();
        Ok(children.into_iter().collect())
    }

    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError> {
        Ok(self.locked().get(key).cloned())
    }

    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError> {
        self.locked().insert(entry.key.clone(), entry);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.locked().remove(key);
        Ok(())
    }
}
