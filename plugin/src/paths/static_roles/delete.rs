//! The end of a static role: none of its keys may stay usable with nobody to
//! hold it. Each gets a write-ahead entry before the role goes, so that a
//! gateway that is down is asked again until it has ended them.

use std::sync::Arc;

use chrono::Utc;
use vault_plugin_sdk::{Error, Request, Response, wal};

use super::{StaticRole, load, storage_key};
use crate::backend::State;
use crate::client::Deleted;
use crate::wal::WalEntry;
use crate::{failpoint, static_wal};

pub(super) async fn delete(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    let _working = state.statics.lock(&name).await;
    let Some(role) = load(&req, &name).await? else {
        return Ok(None);
    };
    let mut ending = Vec::new();
    for (hash, key) in keys(&role) {
        ending.push((hash, static_wal::end(&req, &name, key).await?));
    }
    failpoint::hit("static.before_delete").await;
    req.storage.delete(&storage_key(&name)).await?;
    state.statics.queue().remove(&name);

    let mut failure = None;
    for (hash, id) in ending {
        match end(&state, &req, &hash).await {
            Ok(Deleted::Now) => wal::delete(req.storage.as_ref(), &id).await?,
            // The rollback knows where absence proves something.
            Ok(Deleted::Absent) => {}
            Err(error) => failure = Some(error),
        }
    }
    Ok(failure.map(|error| {
        Response::default().warn(format!(
            "a key of the role could not be ended at the gateway yet ({error}): this is tried again each minute"
        ))
    }))
}

async fn end(state: &State, req: &Request, hash: &str) -> Result<Deleted, Error> {
    Ok(state.client(req).await?.delete_hash(hash).await?)
}

/// Every key of the role with its hash.
fn keys(role: &StaticRole) -> Vec<(String, WalEntry)> {
    let now = Utc::now();
    let mut role = role.clone();
    role.retire_all(now);
    role.predecessors
        .into_iter()
        .map(|key| {
            let life = (key.expires_at - now).num_seconds();
            let entry = WalEntry {
                key_alias: key.key_alias,
                base_url: key.base_url,
                life_seconds: u32::try_from(life.max(0)).unwrap_or(u32::MAX),
            };
            (key.key_hash, entry)
        })
        .collect()
}
