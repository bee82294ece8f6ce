//! A mount's storage.
//!
//! Owns the trait, its error and the JSON conveniences. Implemented by the
//! client of the server's storage and by the testing ones. Keys are relative to
//! the mount; the server encrypts what is stored.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

/// One stored value.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageEntry {
    /// Key within the mount.
    pub key: String,
    /// The bytes.
    pub value: Vec<u8>,
    /// Asks the server to seal-wrap the value.
    pub seal_wrap: bool,
}

impl StorageEntry {
    /// An entry that is not seal-wrapped by its own wish.
    pub fn new(key: impl Into<String>, value: Vec<u8>) -> Self {
        Self {
            key: key.into(),
            value,
            seal_wrap: false,
        }
    }
}

impl Debug for StorageEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StorageEntry")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Why storage failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// This node cannot write.
    #[error("cannot write to readonly storage")]
    ReadOnly,
    /// The mount's connection to the server is closed or broken.
    #[error("cannot reach the server: {0}")]
    Unavailable(String),
    /// The server refused.
    #[error("{0}")]
    Refused(String),
}

/// A mount's storage.
#[async_trait]
pub trait Storage: Send + Sync + Debug {
    /// Direct children of `prefix`, relative to it; folders end with a slash.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError>;
    /// The entry, or `None` where there is none.
    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError>;
    /// Stores the entry.
    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError>;
    /// Removes the entry; a missing one is no error.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;
}

/// Reads a JSON value.
///
/// # Errors
/// Storage errors, and [`Error::Internal`] where the stored bytes do not decode.
pub async fn get_json<T: DeserializeOwned>(
    storage: &dyn Storage,
    key: &str,
) -> Result<Option<T>, Error> {
    let Some(entry) = storage.get(key).await? else {
        return Ok(None);
    };
    // The decoder's message can quote the value, which may be a secret.
    serde_json::from_slice(&entry.value)
        .map(Some)
        .map_err(|error| {
            Error::internal(format!(
                "cannot decode the stored entry {key:?} (line {}, column {}): write it again",
                error.line(),
                error.column()
            ))
        })
}

/// Stores a JSON value.
///
/// # Errors
/// Storage errors, and [`Error::Internal`] where the value does not encode.
pub async fn put_json<T: Serialize + Sync>(
    storage: &dyn Storage,
    key: &str,
    value: &T,
) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value)
        .map_err(|_| Error::internal(format!("cannot encode the entry {key:?}")))?;
    Ok(storage.put(StorageEntry::new(key, bytes)).await?)
}
