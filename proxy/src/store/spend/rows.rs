//! The calls themselves, newest first.

use sqlx::{Any, Row as _, any::AnyRow, query::Query};

use crate::store::usage::of_key::of_key;
use crate::store::{Page, Store, StoreError};

/// Which calls to list; what is none does not restrict.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// The key's account.
    pub(crate) key_hash: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) team_id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) from_us: Option<i64>,
    pub(crate) until_us: Option<i64>,
}

/// One call, as it was settled, and to whom its key belongs now.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request_id: String,
    pub(crate) key_hash: Option<String>,
    pub(crate) model: String,
    pub(crate) deployment_id: String,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cached_tokens: i64,
    pub(crate) cost_nanousd: i64,
    pub(crate) estimated: bool,
    pub(crate) streamed: bool,
    pub(crate) status: i64,
    pub(crate) started_at_us: i64,
    pub(crate) finished_at_us: i64,
    pub(crate) user_id: Option<String>,
    pub(crate) team_id: Option<String>,
}

/// What belongs to a call's key: of the live key under its account, else of the
/// last one that was deleted.
macro_rules! owner {
    ($column:literal) => {
        concat!(
            "COALESCE(\
             (SELECT k.",
            $column,
            " FROM keys k WHERE k.account_hash = u.key_hash), \
             (SELECT k.",
            $column,
            " FROM keys k \
              WHERE k.hash = u.key_hash AND k.account_hash IS NULL), \
             (SELECT d.",
            $column,
            " FROM deleted_keys d \
              WHERE d.account_hash = u.key_hash OR d.hash = u.key_hash \
              ORDER BY d.id DESC LIMIT 1))"
        )
    };
}
pub(super) use owner;

/// `$timed` has the calls' times: what tells them before the call itself is looked up
/// is asked first.
macro_rules! filters {
    ($timed:literal) => {
        concat!(
            " AND ($1 IS NULL OR u.key_hash = $1) AND ($2 IS NULL OR u.request_id = $2)",
            " AND ($3 IS NULL OR u.model = $3)",
            " AND ($4 IS NULL OR ",
            $timed,
            ".started_at_us >= $4) AND ($5 IS NULL OR ",
            $timed,
            ".started_at_us < $5)",
            " AND ($6 IS NULL OR $6 = ",
            owner!("user_id"),
            ")",
            " AND ($7 IS NULL OR $7 = ",
            owner!("team_id"),
            ")"
        )
    };
}

/// `$lead` is what an index finds the calls by, from where they are.
macro_rules! count {
    ($lead:expr) => {
        count!($lead, "u")
    };
    ($lead:expr, $timed:literal) => {
        concat!("SELECT COUNT(*) AS total FROM ", $lead, filters!($timed))
    };
}

macro_rules! rows {
    ($from:expr, $limit:literal) => {
        concat!(
            "SELECT u.*, ",
            owner!("user_id"),
            " AS user_id, ",
            owner!("team_id"),
            " AS team_id FROM ",
            $from,
            " ORDER BY u.started_at_us DESC, u.request_id DESC",
            $limit
        )
    };
}

macro_rules! page {
    ($lead:expr) => {
        rows!(concat!($lead, filters!("u")), " LIMIT $8 OFFSET $9")
    };
}

/// SQLite: calls of a key, the last part first. A page of the newest is found there,
/// and of those before it only the times are looked at.
macro_rules! page_of_key {
    () => {
        rows!(
            concat!(
                "(SELECT k.request_id
                  FROM (SELECT part FROM usage_part ORDER BY part DESC LIMIT -1) p
                  CROSS JOIN usage_of_key k ON k.part = p.part AND k.key_hash = $1
                  WHERE EXISTS (SELECT 1 FROM usage u WHERE u.request_id = k.request_id",
                filters!("k"),
                ") ORDER BY k.started_at_us DESC, k.request_id DESC LIMIT $8 OFFSET $9) found
                 CROSS JOIN usage u ON u.request_id = found.request_id"
            ),
            ""
        )
    };
}

impl Store {
    /// One page of calls.
    pub(crate) async fn calls(&self, filter: &Filter, page: Page) -> Result<Vec<Call>, StoreError> {
        let failed = || StoreError::while_doing("listing calls");
        let statement = match (&filter.request_id, &filter.key_hash) {
            (Some(_), _) => page!("usage u WHERE u.request_id = $2"),
            (None, Some(_)) if self.is_shared() => page!("usage u WHERE u.key_hash = $1"),
            (None, Some(_)) => page_of_key!(),
            (None, None) => page!("usage u WHERE 0 = 0"),
        };
        let rows = filter
            .bound(statement)
            .bind(i64::from(page.size))
            .bind(page.skipped())
            .fetch_all(self.settled().await?)
            .await
            .map_err(failed())?;
        let calls = rows.iter().map(Call::read).collect::<Result<_, _>>();
        calls.map_err(failed())
    }

    /// How many calls there are on all pages.
    pub(crate) async fn calls_count(&self, filter: &Filter) -> Result<i64, StoreError> {
        let statement = match (&filter.request_id, &filter.key_hash) {
            (Some(_), _) => count!("usage u WHERE u.request_id = $2"),
            (None, Some(_)) if self.is_shared() => count!("usage u WHERE u.key_hash = $1"),
            (None, Some(_)) => count!(concat!(of_key!(), " WHERE 0 = 0"), "k"),
            (None, None) => count!("usage u WHERE 0 = 0"),
        };
        filter
            .bound(statement)
            .fetch_one(self.settled().await?)
            .await
            .and_then(|row| row.try_get("total"))
            .map_err(StoreError::while_doing("counting calls"))
    }
}

impl Filter {
    fn bound<'a>(
        &'a self,
        statement: &'static str,
    ) -> Query<'a, Any, <Any as sqlx::Database>::Arguments> {
        sqlx::query(statement)
            .bind(&self.key_hash)
            .bind(&self.request_id)
            .bind(&self.model)
            .bind(self.from_us)
            .bind(self.until_us)
            .bind(&self.user_id)
            .bind(&self.team_id)
    }
}

impl Call {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            request_id: row.try_get("request_id")?,
            key_hash: row.try_get("key_hash")?,
            model: row.try_get("model")?,
            deployment_id: row.try_get("deployment_id")?,
            prompt_tokens: row.try_get("prompt_tokens")?,
            completion_tokens: row.try_get("completion_tokens")?,
            cached_tokens: row.try_get("cached_tokens")?,
            cost_nanousd: row.try_get("cost_nanousd")?,
            estimated: row.try_get::<i64, _>("estimated")? != 0,
            streamed: row.try_get::<i64, _>("streamed")? != 0,
            status: row.try_get("status")?,
            started_at_us: row.try_get("started_at_us")?,
            finished_at_us: row.try_get("finished_at_us")?,
            user_id: row.try_get("user_id")?,
            team_id: row.try_get("team_id")?,
        })
    }
}
