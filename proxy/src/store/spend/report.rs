//! Sums of calls by group, within a span of time.

use sqlx::{Row as _, any::AnyRow};

use super::rows::owner;
use crate::money::NanoUsd;
use crate::store::{Page, Store, StoreError};

/// What calls are summed by. The names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Day,
    Key,
    Role,
    Entity,
    Team,
    User,
    Model,
}

/// One group's sums. None is the name of calls that belong to no such group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    /// Of a day, its number since 1970.
    pub(crate) name: Option<String>,
    pub(crate) calls: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cost: NanoUsd,
}

macro_rules! summed {
    ($name:expr, $from:literal, $also:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $name,
            " AS name, \
             CAST(SUM(CASE WHEN u.model = '' THEN 0 ELSE 1 END) AS BIGINT) AS calls, \
             CAST(SUM(u.prompt_tokens) AS BIGINT) AS prompt_tokens, \
             CAST(SUM(u.completion_tokens) AS BIGINT) AS completion_tokens, \
             CAST(SUM(u.cost_nanousd) AS BIGINT) AS cost_nanousd FROM usage u ",
            $from,
            " WHERE ($1 IS NULL OR u.started_at_us >= $1) \
             AND ($2 IS NULL OR u.started_at_us < $2) AND ",
            $also,
            " GROUP BY 1 ORDER BY ",
            $order,
            " LIMIT $3 OFFSET $4"
        )
    };
}

/// By what a call's own row tells: what recovery posted against shared accounts
/// is no call of its own.
macro_rules! of_calls {
    ($name:expr, $order:literal) => {
        summed!(
            $name,
            "",
            "NOT (u.key_hash IS NULL AND u.model = '')",
            $order
        )
    };
}

/// By a shared account. Its windows are one budget: an id holds no tab, and
/// after it stands the window, which is made of these characters alone.
macro_rules! of_accounts {
    ($scope:literal) => {
        summed!(
            "CASE WHEN a.subject LIKE '%\t%' \
             THEN rtrim(rtrim(a.subject, '0123456789-:/TZ'), '\t') ELSE a.subject END",
            "JOIN usage_account a ON a.request_id = u.request_id",
            $scope,
            "SUM(u.cost_nanousd) DESC, 1"
        )
    };
}

impl Group {
    pub(crate) const ALL: [Self; 7] = [
        Self::Day,
        Self::Key,
        Self::Role,
        Self::Entity,
        Self::Team,
        Self::User,
        Self::Model,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Key => "key",
            Self::Role => "role",
            Self::Entity => "entity",
            Self::Team => "team",
            Self::User => "user",
            Self::Model => "model",
        }
    }

    /// Days newest first, everything else dearest first.
    const fn statement(self) -> &'static str {
        match self {
            Self::Day => of_calls!(
                "CAST(u.started_at_us / 86400000000 AS TEXT)",
                "MIN(u.started_at_us) DESC"
            ),
            Self::Key => of_calls!("u.key_hash", "SUM(u.cost_nanousd) DESC, 1"),
            Self::Model => of_calls!("NULLIF(u.model, '')", "SUM(u.cost_nanousd) DESC, 1"),
            Self::Team => of_calls!(owner!("team_id"), "SUM(u.cost_nanousd) DESC, 1"),
            Self::User => of_calls!(owner!("user_id"), "SUM(u.cost_nanousd) DESC, 1"),
            Self::Role => of_accounts!("a.scope = 'role'"),
            Self::Entity => of_accounts!("a.scope = 'entity'"),
        }
    }
}

impl Store {
    /// Sums of the calls that began from the first microsecond until before the
    /// last; none is open.
    pub(crate) async fn spend_report(
        &self,
        group: Group,
        (from_us, until_us): (Option<i64>, Option<i64>),
        page: Page,
    ) -> Result<Vec<Groups>, StoreError> {
        let failed = || StoreError::while_doing("summing calls");
        let rows = sqlx::query(group.statement())
            .bind(from_us)
            .bind(until_us)
            .bind(i64::from(page.size))
            .bind(page.skipped())
            .fetch_all(self.settled().await?)
            .await
            .map_err(failed())?;
        let groups = rows.iter().map(Groups::read).collect::<Result<_, _>>();
        groups.map_err(failed())
    }
}

impl Groups {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            calls: row.try_get("calls")?,
            prompt_tokens: row.try_get("prompt_tokens")?,
            completion_tokens: row.try_get("completion_tokens")?,
            cost: NanoUsd::from_nanos(row.try_get("cost_nanousd")?),
        })
    }
}
