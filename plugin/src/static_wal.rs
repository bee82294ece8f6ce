//! The write-ahead entries of static keys: each tells of a key that must end
//! unless its role's entry names it. So both a successor that was never saved
//! and the keys of a role that was deleted find their end.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vault_plugin_sdk::wal::{self as sdk_wal, WalId};
use vault_plugin_sdk::{Error, Request, WalOutcome};

use crate::backend::State;
use crate::client::Client;
use crate::client::wire::GenerateRequest;
use crate::paths::static_roles;
use crate::wal::{self, Pending, WalEntry};

pub(crate) const KIND: &str = "static-key";

#[derive(Debug, Serialize, Deserialize)]
struct StaticWal {
    role: String,
    /// The key exists for certain: nobody is making it at this moment.
    #[serde(default)]
    exists: bool,
    #[serde(flatten)]
    key: WalEntry,
}

/// Remembers that a successor is about to be made.
pub(crate) async fn begin(
    state: &Arc<State>,
    req: &Request,
    role: &str,
    wanted: &GenerateRequest,
    client: &Client,
) -> Result<Pending, Error> {
    let entry = StaticWal {
        role: role.to_owned(),
        exists: false,
        key: WalEntry::of(wanted, client),
    };
    Pending::put(state, req, KIND, &wanted.key_alias, &entry).await
}

/// Remembers that a key is to be ended.
pub(crate) async fn end(req: &Request, role: &str, key: WalEntry) -> Result<WalId, Error> {
    let entry = StaticWal {
        role: role.to_owned(),
        exists: true,
        key,
    };
    sdk_wal::put(req.storage.as_ref(), KIND, &entry).await
}

/// Ends the key that an entry tells of, unless its role has it.
pub(crate) async fn rollback(
    state: Arc<State>,
    req: Request,
    data: Value,
    created_at: DateTime<Utc>,
) -> Result<WalOutcome, Error> {
    let entry: StaticWal = serde_json::from_value(data)
        .map_err(|_| Error::internal("a write-ahead entry that does not decode"))?;
    if state.issuing().contains(&entry.key.key_alias) {
        return Ok(WalOutcome::Keep);
    }
    // Whoever changes the role now may be about to save this very key.
    let _working = state.statics.lock(&entry.role).await;
    let role = static_roles::load(&req, &entry.role).await?;
    if role.is_some_and(|role| role.has(&entry.key.key_alias)) {
        return Ok(WalOutcome::Done);
    }
    wal::undo(&state, &req, &entry.key, created_at, entry.exists).await
}
