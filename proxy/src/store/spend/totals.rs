//! What one key has used, and what an account has cost lately.

use chrono::{DateTime, Utc};
use sqlx::{Row as _, any::AnyRow};

use crate::key::{AccountId, KeyHash};
use crate::money::NanoUsd;
use crate::store::usage::of_key::of_key;
use crate::store::{Store, StoreError};

/// Calls and what they used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) calls: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cost: NanoUsd,
}

macro_rules! since {
    ($from:expr) => {
        concat!(
            "SELECT \
             CAST(COALESCE(SUM(CASE WHEN model = '' THEN 0 ELSE 1 END), 0) AS BIGINT) AS calls, \
             CAST(COALESCE(SUM(prompt_tokens), 0) AS BIGINT) AS prompt_tokens, \
             CAST(COALESCE(SUM(completion_tokens), 0) AS BIGINT) AS completion_tokens, \
             CAST(COALESCE(SUM(cost_nanousd), 0) AS BIGINT) AS cost_nanousd \
             FROM ",
            $from
        )
    };
}

/// Of rows that are gone.
const CARRIED: &str = "SELECT calls, prompt_tokens, completion_tokens, cost_nanousd \
    FROM usage_carried WHERE scope = 'key' AND subject = $1";

const OF_SHARED: &str = "SELECT CAST(COALESCE(SUM(u.cost_nanousd), 0) AS BIGINT) AS cost_nanousd \
    FROM usage_account a JOIN usage u ON u.request_id = a.request_id \
    WHERE a.scope = $1 AND a.subject = $2 AND u.started_at_us >= $3";

impl Store {
    /// What the calls of this account's key used that began at `since` or later.
    pub(crate) async fn totals_since(
        &self,
        account: KeyHash,
        since: DateTime<Utc>,
    ) -> Result<Totals, StoreError> {
        let failed = || StoreError::while_doing("adding up a key's calls");
        let statement = match self.is_shared() {
            true => since!("usage u WHERE u.key_hash = $1 AND u.started_at_us >= $2"),
            false => since!(concat!(of_key!(), " WHERE k.started_at_us >= $2")),
        };
        let row = sqlx::query(statement)
            .bind(account.to_string())
            .bind(since.timestamp_micros())
            .fetch_one(self.settled().await?)
            .await
            .map_err(failed())?;
        Totals::read(&row).map_err(failed())
    }

    /// What all calls of this account's key used, also where their rows are gone.
    pub(crate) async fn totals(&self, account: KeyHash) -> Result<Totals, StoreError> {
        let failed = || StoreError::while_doing("adding up a key's calls");
        let kept = self.totals_since(account, DateTime::UNIX_EPOCH).await?;
        let carried = sqlx::query(CARRIED)
            .bind(account.to_string())
            .fetch_optional(self.settled().await?)
            .await
            .map_err(failed())?;
        let carried = carried.as_ref().map(Totals::read).transpose();
        Ok(kept.plus(carried.map_err(failed())?.unwrap_or_default()))
    }

    /// What was charged to the account by calls that began at `since` or later.
    pub(crate) async fn cost_since(
        &self,
        account: &AccountId,
        since: DateTime<Utc>,
    ) -> Result<NanoUsd, StoreError> {
        let shared = match account {
            AccountId::Key(key) => return Ok(self.totals_since(*key, since).await?.cost),
            AccountId::Shared(shared) => shared,
        };
        sqlx::query(OF_SHARED)
            .bind(shared.scope.as_str())
            .bind(shared.subject())
            .bind(since.timestamp_micros())
            .fetch_one(self.settled().await?)
            .await
            .and_then(|row| row.try_get("cost_nanousd"))
            .map(NanoUsd::from_nanos)
            .map_err(StoreError::while_doing("adding up an account's calls"))
    }
}

impl Totals {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            calls: row.try_get("calls")?,
            prompt_tokens: row.try_get("prompt_tokens")?,
            completion_tokens: row.try_get("completion_tokens")?,
            cost: NanoUsd::from_nanos(row.try_get("cost_nanousd")?),
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self
                .completion_tokens
                .saturating_add(other.completion_tokens),
            cost: self.cost.saturating_add(other.cost),
        }
    }
}
