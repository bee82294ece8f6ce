//! Owns the paged listing of keys, live and deleted. Filters are bound values
//! that may be null; no part of a request reaches the SQL text.

use chrono::{DateTime, Utc};
use sqlx::{Row as _, any::AnyRow};

use crate::{
    key::{Key, KeyHash},
    store::{
        Store, StoreError,
        row::{KeyRow, deleted_at},
    },
};

/// LiteLLM: what a key's `status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Active,
    Expired,
    /// LiteLLM's word for a blocked key.
    Revoked,
    Deleted,
}

/// LiteLLM: `sort_order`; always by creation, newest first unless asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// Which keys to list; what is none does not restrict.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) status: Option<Status>,
    pub(crate) hash: Option<KeyHash>,
    pub(crate) alias: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) team_id: Option<String>,
    pub(crate) sort: Sort,
}

/// One page of a listing, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) number: u32,
    pub(crate) size: u32,
}

impl Page {
    /// How many rows come before it.
    pub(in crate::store) fn skipped(self) -> i64 {
        i64::from(self.number.saturating_sub(1)) * i64::from(self.size)
    }
}

/// What a listing found.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) keys: Vec<(Key, Option<DateTime<Utc>>)>,
    pub(crate) total: i64,
}

const LIVE: &str = "SELECT *, count(*) OVER () AS total FROM keys WHERE \
    ($1 IS NULL OR hash = $1) AND ($2 IS NULL OR alias = $2) AND \
    ($3 IS NULL OR user_id = $3) AND ($4 IS NULL OR team_id = $4) AND \
    ($5 IS NULL OR blocked = $5) AND \
    ($6 IS NULL OR $6 = CASE WHEN expires_at_us <= $7 THEN 1 ELSE 0 END) \
    ORDER BY $8 * created_at_us, hash LIMIT $9 OFFSET $10";

const DELETED: &str = "SELECT *, count(*) OVER () AS total FROM deleted_keys WHERE \
    ($1 IS NULL OR hash = $1) AND ($2 IS NULL OR alias = $2) AND \
    ($3 IS NULL OR user_id = $3) AND ($4 IS NULL OR team_id = $4) AND \
    $5 IS NULL AND $6 IS NULL AND $7 IS NOT NULL \
    ORDER BY $8 * created_at_us, hash LIMIT $9 OFFSET $10";

impl Store {
    pub(crate) async fn list_keys(
        &self,
        filter: &Filter,
        page: Page,
        now: DateTime<Utc>,
    ) -> Result<Listed, StoreError> {
        let (mut blocked, mut expired) = (None, None);
        let statement = match filter.status {
            Some(Status::Deleted) => DELETED,
            Some(Status::Active) => {
                (blocked, expired) = (Some(false), Some(false));
                LIVE
            }
            Some(Status::Expired) => {
                (blocked, expired) = (Some(false), Some(true));
                LIVE
            }
            Some(Status::Revoked) => {
                blocked = Some(true);
                LIVE
            }
            None => LIVE,
        };
        let skip = page.skipped();
        let rows = self
            .select(
                statement,
                filter,
                (blocked, expired),
                (now, page.size, skip),
            )
            .await?;
        let total = match rows.first() {
            Some(row) => total_of(row)?,
            // Past the last page nothing carries the total: ask for one row of the first.
            None if skip > 0 => {
                let first = self
                    .select(statement, filter, (blocked, expired), (now, 1, 0))
                    .await?;
                first.first().map_or(Ok(0), total_of)?
            }
            None => 0,
        };
        let keys = rows
            .iter()
            .map(|row| Ok((KeyRow::read(row)?, deleted_at(row))))
            .collect::<Result<_, StoreError>>()?;
        Ok(Listed { keys, total })
    }

    async fn select(
        &self,
        statement: &'static str,
        filter: &Filter,
        (blocked, expired): (Option<bool>, Option<bool>),
        (now, limit, skip): (DateTime<Utc>, u32, i64),
    ) -> Result<Vec<AnyRow>, StoreError> {
        let direction: i64 = match filter.sort {
            Sort::NewestFirst => -1,
            Sort::OldestFirst => 1,
        };
        sqlx::query(statement)
            .bind(filter.hash.map(|hash| hash.to_string()))
            .bind(&filter.alias)
            .bind(&filter.user_id)
            .bind(&filter.team_id)
            .bind(blocked.map(i64::from))
            .bind(expired.map(i64::from))
            .bind(now.timestamp_micros())
            .bind(direction)
            .bind(i64::from(limit))
            .bind(skip)
            .fetch_all(self.reader())
            .await
            .map_err(StoreError::while_doing("listing keys"))
    }
}

fn total_of(row: &AnyRow) -> Result<i64, StoreError> {
    row.try_get("total")
        .map_err(StoreError::while_doing("counting keys"))
}
