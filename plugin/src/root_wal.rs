//! The write-ahead log of `rotate-root`: whichever step is the last, the stored
//! admin key works, and no other one that the engine made or replaced is left.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vault_plugin_sdk::wal::{self, WalId};
use vault_plugin_sdk::{Error, Request, WalOutcome};

use crate::backend::State;
use crate::client::{Client, Deleted};
use crate::error::GatewayError;
use crate::paths::config::{self, ConfigEntry};
use crate::wal::{is_last_call, min_age};

pub(crate) const SUCCESSOR_KIND: &str = "root-successor";
pub(crate) const PREDECESSOR_KIND: &str = "root-predecessor";

/// Where config names another gateway by now, nothing can be looked for any
/// more; the log then names the key for a person to delete.
const GIVEN_UP_ELSEWHERE_AFTER: TimeDelta = TimeDelta::hours(24);

/// A key that is about to be made. Deleted by its alias, unless it was saved.
#[derive(Debug, Serialize, Deserialize)]
struct Successor {
    key_alias: String,
    base_url: String,
}

/// A key that is about to be replaced. Deleted by its hash, once it was.
#[derive(Debug, Serialize, Deserialize)]
struct Predecessor {
    key_hash: String,
    base_url: String,
}

pub(crate) async fn put_successor(
    req: &Request,
    client: &Client,
    key_alias: &str,
) -> Result<WalId, Error> {
    let entry = Successor {
        key_alias: key_alias.to_owned(),
        base_url: client.base_url().to_owned(),
    };
    wal::put(req.storage.as_ref(), SUCCESSOR_KIND, &entry).await
}

pub(crate) async fn put_predecessor(req: &Request, client: &Client) -> Result<WalId, Error> {
    let entry = Predecessor {
        key_hash: client.own_key_hash(),
        base_url: client.base_url().to_owned(),
    };
    wal::put(req.storage.as_ref(), PREDECESSOR_KIND, &entry).await
}

/// Ends the admin key that an entry tells of, unless config uses it.
pub(crate) async fn rollback(
    state: Arc<State>,
    req: Request,
    kind: &str,
    data: Value,
    created_at: DateTime<Utc>,
) -> Result<WalOutcome, Error> {
    let undecodable = |_| Error::internal("a write-ahead entry that does not decode");
    // Whoever holds this may be rotating or writing config at this moment.
    let Ok(_writing) = state.writing.try_lock() else {
        return Ok(WalOutcome::Keep);
    };
    // Read from storage, not from the client that requests share: what is
    // decided here is decided on what the next start of the engine will find.
    let config = config::load(&req).await?;
    if kind == SUCCESSOR_KIND {
        let entry: Successor = serde_json::from_value(data).map_err(undecodable)?;
        if config
            .as_ref()
            .is_some_and(|config| config.master_key_alias == entry.key_alias)
        {
            return Ok(WalOutcome::Done);
        }
        let key = Unwanted::Alias(&entry.key_alias);
        return end(&req, config, key, &entry.base_url, created_at).await;
    }
    let entry: Predecessor = serde_json::from_value(data).map_err(undecodable)?;
    if config
        .as_ref()
        .is_some_and(|config| config.master_key.hash() == entry.key_hash)
    {
        return Ok(WalOutcome::Done);
    }
    let key = Unwanted::Hash(&entry.key_hash);
    end(&req, config, key, &entry.base_url, created_at).await
}

#[derive(Debug, Clone, Copy)]
enum Unwanted<'a> {
    Alias(&'a str),
    Hash(&'a str),
}

impl Unwanted<'_> {
    async fn delete(self, client: &Client) -> Result<Deleted, GatewayError> {
        match self {
            Self::Alias(alias) => client.delete_alias(alias).await,
            Self::Hash(hash) => client.delete_hash(hash).await,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Alias(alias) => format!("alias {alias}"),
            Self::Hash(hash) => format!("hash {hash}"),
        }
    }
}

async fn end(
    req: &Request,
    config: Option<ConfigEntry>,
    key: Unwanted<'_>,
    base_url: &str,
    created_at: DateTime<Utc>,
) -> Result<WalOutcome, Error> {
    let age = Utc::now() - created_at;
    let client = config.as_ref().map(Client::new).transpose()?;
    if let Some(client) = &client
        && age < min_age(client.request_timeout())
        && !is_last_call(req).await?
    {
        return Ok(WalOutcome::Keep);
    }
    let is_elsewhere = client
        .as_ref()
        .is_none_or(|client| client.base_url() != base_url);
    let deleted = match &client {
        Some(client) => key.delete(client).await.map_err(Error::from),
        None => Err(Error::user("the engine is not configured")),
    };
    match deleted {
        Ok(Deleted::Now) => Ok(WalOutcome::Done),
        Ok(Deleted::Absent) if !is_elsewhere => Ok(WalOutcome::Done),
        _ if is_elsewhere && age > GIVEN_UP_ELSEWHERE_AFTER => {
            tracing::error!(
                key = key.name(),
                gateway = base_url,
                "giving up on an admin key that a rotation left at another gateway: delete it there"
            );
            Ok(WalOutcome::Done)
        }
        Ok(Deleted::Absent) => Err(Error::user(format!(
            "an admin key left by a rotation at {base_url} can't be looked for at another gateway"
        ))),
        Err(error) => Err(error),
    }
}
