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
    /// A transaction met another one that changed the same: begin it again.
    #[error("the transaction met another change of the same entries")]
    Conflict,
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

    /// One page of [`Storage::list`], sorted: at most `limit` children (0: all)
    /// that come after `after` (empty: from the first).
    ///
    /// OpenBao reads no more than the page; where the server has no pages, all
    /// children are listed and the page is cut out.
    async fn list_page(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StorageError> {
        Ok(page(self.list(prefix).await?, after, limit))
    }

    /// Begins a transaction, or gives `None` where the server has none: Vault,
    /// and OpenBao on storage that cannot. Without one, write so that each entry
    /// alone leaves a sound state, or keep a write-ahead entry.
    ///
    /// A transaction that is neither committed nor rolled back is rolled back
    /// when it is dropped.
    async fn begin(
        &self,
        _mode: TransactionMode,
    ) -> Result<Option<Box<dyn Transaction>>, StorageError> {
        Ok(None)
    }
}

pub(crate) fn page(mut keys: Vec<String>, after: &str, limit: usize) -> Vec<String> {
    keys.sort_unstable();
    keys.retain(|key| key.as_str() > after);
    if limit > 0 {
        keys.truncate(limit);
    }
    keys
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionMode {
    /// Read one consistent state.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Storage as of the begin of a transaction, with its own writes. All of them
/// come into effect by [`Transaction::commit`], or none does.
#[async_trait]
pub trait Transaction: Storage {
    /// Makes the writes seen.
    ///
    /// [`StorageError::Conflict`] where somebody else has changed what the
    /// transaction read or wrote: nothing is written then.
    async fn commit(self: Box<Self>) -> Result<(), StorageError>;

    /// Gives the writes up.
    async fn rollback(self: Box<Self>) -> Result<(), StorageError>;
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
