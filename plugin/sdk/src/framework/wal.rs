//! The write-ahead log: what to undo if the plugin dies half-way.
//!
//! Owns the stored form. An engine puts an entry before it touches the world
//! outside and deletes it when everything is in place; `rollback` hands what is
//! left, once old enough, to the engine. Vault: entries live under `wal/`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Error, Storage, Value, get_json, put_json};

/// Vault: a convention that server-side tools know.
pub const PREFIX: &str = "wal/";

/// The id of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WalId(String);

impl WalId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One entry.
#[derive(Clone)]
pub struct WalEntry {
    /// What the entry is about; chosen by the engine.
    pub kind: String,
    /// What it takes to undo it. Never a secret.
    pub data: Value,
    /// When it was put.
    pub created_at: DateTime<Utc>,
}

impl std::fmt::Debug for WalEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalEntry")
            .field("kind", &self.kind)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
    created_at: i64,
}

/// Puts an entry.
///
/// # Errors
/// [`Error::ReadOnly`] on a node that cannot write: nothing has happened yet,
/// and the server forwards the request.
pub async fn put(
    storage: &dyn Storage,
    kind: &str,
    data: &(impl Serialize + Sync),
) -> Result<WalId, Error> {
    let data = serde_json::to_value(data)
        .map_err(|_| Error::internal("cannot encode the write-ahead entry"))?;
    let id = WalId(uuid::Uuid::new_v4().to_string());
    let stored = Stored {
        kind: kind.to_owned(),
        data,
        created_at: Utc::now().timestamp(),
    };
    put_json(storage, &key(&id), &stored).await?;
    Ok(id)
}

/// Deletes an entry: what it was to undo is complete. A missing one is no error.
///
/// # Errors
/// Storage errors.
pub async fn delete(storage: &dyn Storage, id: &WalId) -> Result<(), Error> {
    Ok(storage.delete(&key(id)).await?)
}

/// The ids of all entries.
///
/// # Errors
/// Storage errors.
pub async fn list(storage: &dyn Storage) -> Result<Vec<WalId>, Error> {
    Ok(storage.list(PREFIX).await?.into_iter().map(WalId).collect())
}

/// One entry, or `None` where there is none.
///
/// # Errors
/// Storage errors, and an entry that does not decode.
pub async fn get(storage: &dyn Storage, id: &WalId) -> Result<Option<WalEntry>, Error> {
    let Some(stored) = get_json::<Stored>(storage, &key(id)).await? else {
        return Ok(None);
    };
    let created_at = DateTime::from_timestamp(stored.created_at, 0)
        .ok_or_else(|| Error::internal("a write-ahead entry has an impossible time"))?;
    Ok(Some(WalEntry {
        kind: stored.kind,
        data: stored.data,
        created_at,
    }))
}

fn key(id: &WalId) -> String {
    format!("{PREFIX}{}", id.0)
}
