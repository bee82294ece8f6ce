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
use crate::client::wire::GenerateRequest;
use crate::client::{Client, Deleted};
use crate::{root_wal, static_wal};

const KIND: &str = "key";

/// No request is in flight longer than two of the gateway's timeouts and this
/// margin, so an older entry belongs to none.
const MARGIN: Duration = Duration::from_secs(10);
const MIN_AGE: Duration = Duration::from_secs(60);

/// After a day, or the key's own life where that is longer, an entry is given up: Vault would call for its rollback forever
/// at a gateway that is gone for good.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::hours(24);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WalEntry {
    pub(crate) key_alias: String,
    pub(crate) base_url: String,
    /// How long the key lives by itself, once it exists.
    #[serde(default)]
    pub(crate) life_seconds: u32,
}

impl WalEntry {
    pub(crate) fn of(wanted: &GenerateRequest, client: &Client) -> Self {
        Self {
            key_alias: wanted.key_alias.clone(),
            base_url: client.base_url().to_owned(),
            life_seconds: u32::try_from(wanted.duration.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

/// A key that is being issued. While this lives, no rollback touches the key.
#[derive(Debug)]
pub(crate) struct Pending {
    state: Arc<State>,
    key_alias: String,
    id: WalId,
}

impl Pending {
    /// Remembers that the key is about to be issued at the client's gateway.
    pub(crate) async fn begin(
        state: &Arc<State>,
        req: &Request,
        wanted: &GenerateRequest,
        client: &Client,
    ) -> Result<Self, Error> {
        let entry = WalEntry::of(wanted, client);
        Self::put(state, req, KIND, &wanted.key_alias, &entry).await
    }

    /// Puts an entry of any kind that tells of the key with this alias.
    pub(crate) async fn put(
        state: &Arc<State>,
        req: &Request,
        kind: &str,
        key_alias: &str,
        entry: &(impl Serialize + Sync),
    ) -> Result<Self, Error> {
        // Before the entry exists, so that a rollback never sees it unguarded.
        state.issuing().insert(key_alias.to_owned());
        let put = wal::put(req.storage.as_ref(), kind, entry).await;
        if put.is_err() {
            state.issuing().remove(key_alias);
        }
        Ok(Self {
            state: Arc::clone(state),
            key_alias: key_alias.to_owned(),
            id: put?,
        })
    }

    /// Forgets the entry: the key is handed out, or certainly never was.
    pub(crate) async fn done(&self, req: &Request) -> Result<(), Error> {
        wal::delete(req.storage.as_ref(), &self.id).await
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.state.issuing().remove(&self.key_alias);
    }
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
    if matches!(
        kind.as_str(),
        root_wal::SUCCESSOR_KIND | root_wal::PREDECESSOR_KIND
    ) {
        return root_wal::rollback(state, req, &kind, data, created_at).await;
    }
    if kind == static_wal::KIND {
        return static_wal::rollback(state, req, data, created_at).await;
    }
    if kind != KIND {
        return Err(Error::internal(
            "a write-ahead entry of an unknown kind: it was written by a newer version",
        ));
    }
    let entry: WalEntry = serde_json::from_value(data)
        .map_err(|_| Error::internal("a write-ahead entry that does not decode"))?;
    if state.issuing().contains(&entry.key_alias) {
        return Ok(WalOutcome::Keep);
    }
    undo(&state, &req, &entry, created_at, false).await
}

/// Deletes the key that an entry tells of. One that may still be in the making
/// has to be old first; one that `exists` goes at once.
pub(crate) async fn undo(
    state: &State,
    req: &Request,
    entry: &WalEntry,
    created_at: DateTime<Utc>,
    exists: bool,
) -> Result<WalOutcome, Error> {
    let age = Utc::now() - created_at;
    let is_given_up = age > GIVEN_UP_AFTER.max(TimeDelta::seconds(entry.life_seconds.into()));
    // Tried once more even then: the server may have been down all the time.
    match deleted(state, req, entry, age, exists).await {
        Err(error) if is_given_up => {
            tracing::error!(
                key.alias = entry.key_alias,
                gateway = entry.base_url,
                %error,
                "giving up on a key whose issuing was cut short: its own expiry has ended it"
            );
            Ok(WalOutcome::Done)
        }
        outcome => outcome,
    }
}

async fn deleted(
    state: &State,
    req: &Request,
    entry: &WalEntry,
    age: TimeDelta,
    exists: bool,
) -> Result<WalOutcome, Error> {
    let client = state.client(req).await?;
    if !exists && age < min_age(client.request_timeout()) && !is_last_call(req).await? {
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

/// Whether there is no later: the mount goes, or an operator asks for it now.
pub(crate) async fn is_last_call(req: &Request) -> Result<bool, Error> {
    let immediate = req.data.get("immediate").and_then(Value::as_bool);
    Ok(immediate.unwrap_or(false) || req.system.tainted().await?)
}

pub(crate) fn min_age(request_timeout: Duration) -> TimeDelta {
    #[cfg(feature = "failpoints")]
    if let Some(seconds) = std::env::var("LITELLM_WAL_MIN_AGE_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
    {
        return TimeDelta::seconds(seconds);
    }
    let age = MIN_AGE.max(2 * request_timeout + MARGIN);
    TimeDelta::from_std(age).unwrap_or(GIVEN_UP_AFTER)
}

#[cfg(all(test, not(feature = "failpoints")))]
mod tests {
    use serde_json::json;
    use vault_plugin_sdk::Operation;

    use super::*;
    use crate::testing::{Gateway, Mount};

    #[tokio::test]
    async fn a_key_is_given_up_only_after_its_deletion_was_tried() {
        for (status, answer) in [(200, json!({"deleted_keys": ["x"]})), (500, json!({}))] {
            let gateway = Gateway::start().await;
            let mount = Mount::at(&gateway).await;
            gateway.script.then(status, &answer);
            let entry = WalEntry {
                key_alias: "vault-app-x".into(),
                base_url: gateway.url.clone(),
                life_seconds: 60,
            };
            let req = mount.request(Operation::Rollback, "").build();
            let long_ago = Utc::now() - TimeDelta::hours(25);
            let outcome = undo(&State::default(), &req, &entry, long_ago, false).await;
            assert_eq!(outcome.unwrap(), WalOutcome::Done);
            assert_eq!(gateway.script.asked()[0].0, "/key/delete");
        }
    }

    #[test]
    fn min_age_is_twice_the_timeout_and_a_margin_and_at_least_a_minute() {
        assert_eq!(min_age(Duration::from_secs(10)), TimeDelta::seconds(60));
        assert_eq!(min_age(Duration::from_secs(60)), TimeDelta::seconds(130));
    }
}
