//! Owns the paged listing of keys, live and deleted. Filters are bound values
//! that may be null; no part of a request reaches the SQL text.

use chrono::{DateTime, Utc};
use sqlx::{Row as _, any::AnyRow};

use crate::{
    key::{Key, KeyHash},
    store::{
        Store, StoreError,
        row::{KeyRow, deleted_at, deleted_key_columns, key_columns},
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

/// LiteLLM: the columns that a listing may be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SortBy {
    #[default]
    CreatedAt,
    UpdatedAt,
    Alias,
    Hash,
    MaxBudget,
    Spend,
}

impl SortBy {
    pub(crate) const ALL: [Self; 6] = [
        Self::Spend,
        Self::MaxBudget,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::Hash,
        Self::Alias,
    ];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Alias => "key_alias",
            Self::Hash => "token",
            Self::MaxBudget => "max_budget",
            Self::Spend => "spend",
        }
    }
}

/// What a text must be, or a pattern that a part of it must fit, of [`like`].
#[derive(Clone, Debug)]
pub(crate) enum Match {
    Whole(String),
    Part(String),
}

impl Match {
    pub(crate) fn part(text: &str) -> Self {
        Self::Part(like(text))
    }

    fn whole(of: Option<&Self>) -> Option<&str> {
        of.and_then(|of| match of {
            Self::Whole(text) => Some(text.as_str()),
            Self::Part(_) => None,
        })
    }

    fn pattern(of: Option<&Self>) -> Option<&str> {
        of.and_then(|of| match of {
            Self::Whole(_) => None,
            Self::Part(pattern) => Some(pattern.as_str()),
        })
    }
}

/// A pattern of `LIKE` for what holds this text anywhere. The store makes small
/// letters of both sides, because SQLite knows those of ASCII alone.
pub(crate) fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Which keys to list; what is none does not restrict.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) status: Option<Status>,
    pub(crate) hash: Option<KeyHash>,
    pub(crate) alias: Option<Match>,
    pub(crate) user_id: Option<Match>,
    pub(crate) team_id: Option<String>,
    /// A pattern that the alias, the masked form or the hash fits.
    pub(crate) search: Option<String>,
    pub(crate) sort_by: SortBy,
    pub(crate) is_ascending: bool,
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

/// What both listings have in common. An alias that is none sorts as the empty
/// text, no cap as the highest.
macro_rules! shared_text {
    ($table:literal) => {
        concat!(
            "LEFT JOIN account ON account.scope = 'key' AND account.subject = \
                 COALESCE(",
            $table,
            ".account_hash, ",
            $table,
            ".hash) \
             WHERE ($1 IS NULL OR hash = $1) \
             AND ($2 IS NULL OR alias = $2) \
             AND ($3 IS NULL OR lower(alias) LIKE lower($3) ESCAPE '!') \
             AND ($4 IS NULL OR user_id = $4) \
             AND ($5 IS NULL OR lower(user_id) LIKE lower($5) ESCAPE '!') \
             AND ($6 IS NULL OR team_id = $6) \
             AND ($7 IS NULL OR lower(alias) LIKE lower($7) ESCAPE '!' \
                 OR lower(key_name) LIKE lower($7) ESCAPE '!' OR hash LIKE lower($7) ESCAPE '!') \
             AND ($8 IS NULL OR blocked = $8) \
             AND ($9 IS NULL OR $9 = CASE WHEN expires_at_us <= $10 THEN 1 ELSE 0 END) \
             ORDER BY \
             CASE WHEN $12 = 1 AND $11 = 'key_alias' THEN COALESCE(alias, '') \
                 WHEN $12 = 1 AND $11 = 'token' THEN hash ELSE '' END, \
             CASE WHEN $12 = -1 AND $11 = 'key_alias' THEN COALESCE(alias, '') \
                 WHEN $12 = -1 AND $11 = 'token' THEN hash ELSE '' END DESC, \
             $12 * CASE $11 WHEN 'updated_at' THEN updated_at_us \
                 WHEN 'max_budget' THEN COALESCE(max_budget_nanousd, 9223372036854775807) \
                 WHEN 'spend' THEN COALESCE(posted_nanousd, 0) \
                 ELSE created_at_us END, \
             hash LIMIT $13 OFFSET $14"
        )
    };
}

const LIVE: &str = concat!(
    "SELECT ",
    key_columns!(),
    ", count(*) OVER () AS total FROM keys ",
    shared_text!("keys"),
);

const DELETED: &str = concat!(
    "SELECT ",
    deleted_key_columns!(),
    ", count(*) OVER () AS total FROM deleted_keys ",
    shared_text!("deleted_keys"),
);

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

    /// Live keys that expired before this, at most so many.
    pub(crate) async fn expired_keys(
        &self,
        before: DateTime<Utc>,
        most: usize,
    ) -> Result<Vec<KeyHash>, StoreError> {
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT hash FROM keys WHERE expires_at_us <= $1 ORDER BY expires_at_us LIMIT $2",
        )
        .bind(before.timestamp_micros())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(self.reader())
        .await
        .map_err(StoreError::while_doing("looking for expired keys"))?;
        Ok(found
            .iter()
            .filter_map(|hash| KeyHash::from_hex(hash))
            .collect())
    }

    /// The aliases of live keys in their order, and how many there are.
    pub(crate) async fn list_aliases(
        &self,
        search: Option<&str>,
        team_id: Option<&str>,
        page: Page,
    ) -> Result<(Vec<String>, i64), StoreError> {
        let failed = || StoreError::while_doing("listing aliases");
        let pattern = search.map(like);
        let total: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM keys WHERE alias IS NOT NULL \
             AND ($1 IS NULL OR lower(alias) LIKE lower($1) ESCAPE '!') \
             AND ($2 IS NULL OR team_id = $2)",
        )
        .bind(pattern.as_deref())
        .bind(team_id)
        .fetch_one(self.reader())
        .await
        .map_err(failed())?;
        let aliases = sqlx::query_scalar(
            "SELECT alias FROM keys WHERE alias IS NOT NULL \
             AND ($1 IS NULL OR lower(alias) LIKE lower($1) ESCAPE '!') \
             AND ($2 IS NULL OR team_id = $2) \
             ORDER BY alias LIMIT $3 OFFSET $4",
        )
        .bind(pattern.as_deref())
        .bind(team_id)
        .bind(i64::from(page.size))
        .bind(page.skipped())
        .fetch_all(self.reader())
        .await
        .map_err(failed())?;
        Ok((aliases, total))
    }

    async fn select(
        &self,
        statement: &'static str,
        filter: &Filter,
        (blocked, expired): (Option<bool>, Option<bool>),
        (now, limit, skip): (DateTime<Utc>, u32, i64),
    ) -> Result<Vec<AnyRow>, StoreError> {
        let direction: i64 = if filter.is_ascending { 1 } else { -1 };
        let reader = match filter.sort_by {
            SortBy::Spend => self.settled().await?,
            _ => self.reader(),
        };
        sqlx::query(statement)
            .bind(filter.hash.map(|hash| hash.to_string()))
            .bind(Match::whole(filter.alias.as_ref()))
            .bind(Match::pattern(filter.alias.as_ref()))
            .bind(Match::whole(filter.user_id.as_ref()))
            .bind(Match::pattern(filter.user_id.as_ref()))
            .bind(filter.team_id.as_deref())
            .bind(filter.search.as_deref())
            .bind(blocked.map(i64::from))
            .bind(expired.map(i64::from))
            .bind(now.timestamp_micros())
            .bind(filter.sort_by.as_str())
            .bind(direction)
            .bind(i64::from(limit))
            .bind(skip)
            .fetch_all(reader)
            .await
            .map_err(StoreError::while_doing("listing keys"))
    }
}

fn total_of(row: &AnyRow) -> Result<i64, StoreError> {
    row.try_get("total")
        .map_err(StoreError::while_doing("counting keys"))
}
