//! The write-ahead log: remembers each key that is being issued, so that a
//! crash in the middle leaves none behind that nobody holds.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vault_plugin_sdk::wal::{self, WalId};
use vault_plugin_sdk::{Error, Request, WalOutcome};

use crate::backend::State;
use crate::client::{Client, Deleted};

const KIND: &str = "key";

/// No request is in flight longer than two of the gateway's timeouts and this
/// margin, so an older entry belongs to none.
const MARGIN: Duration = Duration::from_secs(10);
const MIN_AGE: Duration = Duration::from_secs(60);

/// After a day an entry is given up: Vault would call for its rollback forever
/// at a gateway that is gone for good.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::hours(24);

#[derive(Debug, Serialize, Deserialize)]
struct WalEntry {
    key_alias: String,
    base_url: String,
}

/// Remembers that a key of this alias is about to be issued at the gateway.
pub(crate) async fn put(req: &Request, key_alias: &str, client: &Client) -> Result<WalId, Error> {
    let entry = WalEntry {
        key_alias: key_alias.to_owned(),
        base_url: client.base_url().to_owned(),
    };
    wal::put(req.storage.as_ref(), KIND, &entry).await
}

pub(crate) async fn delete(req: &Request, id: &WalId) -> Result<(), Error> {
    wal::delete(req.storage.as_ref(), id).await
}

/// Ends the key that an entry tells of, if it ever came to be. Called by the
/// SDK for each entry, about once a minute.
pub(crate) async fn rollback(
    state: Arc<State>,
    req: Request,
    kind: String,
    data: Value,
    created_at: DateTime<Utc>,
) -> Result<WalOutcome, Error> {
    if kind != KIND {
        return Err(Error::internal(
            "a write-ahead entry of an unknown kind: it was written by a newer version",
        ));
    }
    let entry: WalEntry = serde_json::from_value(data)
        .map_err(|_| Error::internal("a write-ahead entry that does not decode"))?;
    let age = Utc::now() - created_at;
    if age > GIVEN_UP_AFTER {
        tracing::error!(
            key.alias = entry.key_alias,
            gateway = entry.base_url,
            "giving up on a key whose issuing was cut short a day ago; its own expiry has ended it if its role's ttl is under a day"
        );
        return Ok(WalOutcome::Done);
    }
    let client = state.client(&req).await?;
    if age < TimeDelta::from_std(min_age(client.request_timeout())).unwrap_or(GIVEN_UP_AFTER) {
        return Ok(WalOutcome::Keep);
    }
    if client.delete_alias(&entry.key_alias).await? == Deleted::Absent
        && entry.base_url != client.base_url()
    {
        return Err(Error::user(format!(
            "a key that was being issued at {} can't be looked for at {}",
            entry.base_url,
            client.base_url()
        )));
    }
    Ok(WalOutcome::Done)
}

fn min_age(request_timeout: Duration) -> Duration {
    #[cfg(feature = "failpoints")]
    if let Some(seconds) = std::env::var("LITELLM_WAL_MIN_AGE_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
    {
        return Duration::from_secs(seconds);
    }
    MIN_AGE.max(2 * request_timeout + MARGIN)
}

#[cfg(all(test, not(feature = "failpoints")))]
mod tests {
    use super::*;

    #[test]
    fn min_age_is_twice_the_timeout_and_a_margin_and_at_least_a_minute() {
        assert_eq!(min_age(Duration::from_secs(10)), Duration::from_secs(60));
        assert_eq!(min_age(Duration::from_secs(60)), Duration::from_secs(130));
    }
}
