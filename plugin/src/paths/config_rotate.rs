//! `config/rotate-root`, also `rotate-root`: replaces the admin key by one that
//! only this mount knows.
//!
//! The successor comes first, is proved and saved; the old key goes last. So
//! there is no moment at which the stored key does not work, and the
//! write-ahead log ends whichever key a crash leaves over.
//!
//! Vault: needs no `sudo`, as in HashiCorp's engines; a policy on the path decides.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use vault_plugin_sdk::wal::{self, WalId};
use vault_plugin_sdk::{Error, Operation, Path, Request, Response, put_json};

use crate::backend::State;
use crate::client::{AdminGrant, Client, Deleted};
use crate::error::GatewayError;
use crate::paths::config::{self, ConfigEntry};
use crate::{alias, failpoint, root_wal};

const SYNOPSIS: &str = "Replaces the admin key by one that only Vault knows.";
const DESCRIPTION: &str = "Makes a new admin key at the gateway, proves it, saves it in config, and \
deletes the old one. At an llm-proxy the new key may manage keys and nothing else; at LiteLLM it \
belongs to a proxy_admin user, which is made where there is none. A static master key of the gateway \
cannot be deleted by anyone: the answer warns when the old key still works.";

/// How often to look whether the calls with the old key are over.
const DRAIN_POLL: Duration = Duration::from_millis(20);

pub(crate) fn path() -> Path<State> {
    Path::new("config/rotate-root")
        .operation_on_primary(Operation::Update, rotate)
        .help(SYNOPSIS, DESCRIPTION)
}

pub(crate) fn short_path() -> Path<State> {
    Path::new("rotate-root")
        .operation_on_primary(Operation::Update, rotate)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn rotate(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let _writing = state.writing.lock().await;
    // The one that requests share, so that it can be seen when they are done.
    let old = state.client(&req).await?;
    let entry = config::load(&req).await?.ok_or_else(config::missing)?;
    let grant = old.admin_grant(&user_id(&req)).await?;

    let key_alias = alias::new("vault", "root");
    failpoint::hit("rotate.before_wal").await;
    let successor = root_wal::put_successor(&req, &old, &key_alias).await?;
    failpoint::hit("rotate.after_wal").await;
    let next = match generated(&old, &grant, entry, key_alias).await {
        Ok(next) => next,
        Err(error) => {
            if error.changed_nothing() {
                wal::delete(req.storage.as_ref(), &successor).await?;
            }
            return Err(error.into());
        }
    };
    let new = proved(&req, &old, &next, &successor).await?;
    let predecessor = root_wal::put_predecessor(&req, &old).await?;
    failpoint::hit("rotate.before_save").await;
    let saved = state
        .change_config(put_json(req.storage.as_ref(), config::STORAGE_KEY, &next))
        .await;
    if let Err(error) = saved {
        spare_predecessor(&req, &old, &predecessor).await;
        return Err(error);
    }
    failpoint::hit("rotate.saved").await;
    forget(&req, &successor).await;

    let warning = end_predecessor(&req, old, &new, &predecessor).await;
    let data = Map::from_iter([("master_key_alias".to_owned(), json!(next.master_key_alias))]);
    let mut response = Response::data(data);
    response.warnings.extend(warning);
    Ok(Some(response))
}

/// A failure to save tells nothing of what storage holds. Where it holds the
/// old key, nothing was replaced: a rollback that finds a third key, written by
/// an operator meanwhile, must not take the old one for replaced.
async fn spare_predecessor(req: &Request, old: &Client, predecessor: &WalId) {
    match config::load(req).await {
        Ok(Some(entry)) if entry.master_key.hash() == old.own_key_hash() => {
            forget(req, predecessor).await;
        }
        Ok(_) | Err(_) => {}
    }
}

/// The configuration with a new admin key in place of the old one.
async fn generated(
    old: &Client,
    grant: &AdminGrant,
    entry: ConfigEntry,
    key_alias: String,
) -> Result<ConfigEntry, GatewayError> {
    let master_key = old.generate_admin_key(grant, &key_alias).await?;
    failpoint::hit("rotate.key_made").await;
    Ok(ConfigEntry {
        master_key,
        master_key_alias: key_alias,
        ..entry
    })
}

/// A client with the new key, once the gateway has accepted it.
async fn proved(
    req: &Request,
    old: &Client,
    next: &ConfigEntry,
    successor: &WalId,
) -> Result<Client, Error> {
    let new = Client::new(next)?;
    if let Err(error) = new.prove_admin().await {
        take_back(req, old, next, successor).await;
        return Err(Error::coded(
            502,
            format!("the new admin key does not work, so the old one stays: {error}"),
        ));
    }
    failpoint::hit("rotate.verified").await;
    Ok(new)
}

/// LiteLLM: the user that the successor belongs to where the present key has
/// none, one a mount.
fn user_id(req: &Request) -> String {
    let mount = if req.mount_accessor.is_empty() {
        &req.mount_point
    } else {
        &req.mount_accessor
    };
    let name = mount
        .trim_matches('/')
        .replace(|char: char| !char.is_ascii_alphanumeric(), "_");
    format!("vault-{name}")
}

/// Deletes a successor that was not saved; where that fails, the rollback does.
async fn take_back(req: &Request, old: &Client, next: &ConfigEntry, successor: &WalId) {
    match old.delete_alias(&next.master_key_alias).await {
        Ok(_) => forget(req, successor).await,
        Err(error) => {
            tracing::warn!(key.alias = next.master_key_alias, %error, "an admin key that is not used could not be deleted yet");
        }
    }
}

/// The rollback finds nothing to do for an entry that outlives its purpose.
async fn forget(req: &Request, entry: &WalId) {
    if let Err(error) = wal::delete(req.storage.as_ref(), entry).await {
        tracing::warn!(wal.id = entry.as_str(), %error, "a write-ahead entry is left to the rollback");
    }
}

/// Deletes the replaced key, and answers what is to be said where that does not end it.
async fn end_predecessor(
    req: &Request,
    old: Arc<Client>,
    new: &Client,
    predecessor: &WalId,
) -> Option<String> {
    let old = drained(old).await;
    let deleted = new.delete_hash(&old.own_key_hash()).await;
    failpoint::hit("rotate.old_deleted").await;
    let warning = match deleted {
        Ok(Deleted::Now) => None,
        Ok(Deleted::Absent) => still_works(&old).await,
        Err(error) => {
            return Some(format!(
                "the old admin key could not be deleted yet, the engine tries again each minute: {error}"
            ));
        }
    };
    forget(req, predecessor).await;
    warning
}

/// Waits for the requests that still call with the old key, so that its end
/// does not fail them. None takes longer than one call's time for each of its two calls.
async fn drained(old: Arc<Client>) -> Arc<Client> {
    let idle = async {
        while Arc::strong_count(&old) > 1 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    };
    if tokio::time::timeout(2 * old.request_timeout(), idle)
        .await
        .is_err()
    {
        tracing::warn!("the old admin key is deleted while a request may still use it");
    }
    old
}

/// A key that the gateway knows and does not have in its table is its static
/// master key, which no call can end.
async fn still_works(old: &Client) -> Option<String> {
    match old.verify().await {
        Ok(()) => Some(
            "the old admin key still works: it is the gateway's static master key, which only a change of the gateway's own configuration and a restart end"
                .into(),
        ),
        Err(GatewayError::AdminKeyRefused { .. }) => None,
        Err(error) => Some(format!(
            "the gateway has no such key as the old admin key, and whether it still works could not be seen: {error}"
        )),
    }
}

#[cfg(test)]
mod tests;
