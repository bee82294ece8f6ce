//! Reads the trail by page, newest first. What is none does not restrict; no
//! part of a request reaches the SQL text.

use sqlx::Row as _;

use super::AuditRow;
use crate::store::{Page, Store, StoreError};

/// Which rows to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) subject: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) actor: Option<String>,
    /// Microseconds since 1970, the first within.
    pub(crate) from_us: Option<i64>,
    /// Microseconds since 1970, the first beyond.
    pub(crate) until_us: Option<i64>,
}

/// One page, and how many rows there are in all.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) rows: Vec<AuditRow>,
    pub(crate) total: i64,
}

const MATCHING: &str = "SELECT count(*) AS total FROM audit WHERE \
    ($1 IS NULL OR subject = $1) AND ($2 IS NULL OR action = $2) AND \
    ($3 IS NULL OR actor = $3) AND ($4 IS NULL OR at_us >= $4) AND ($5 IS NULL OR at_us < $5)";

const PAGE: &str = "SELECT * FROM audit WHERE \
    ($1 IS NULL OR subject = $1) AND ($2 IS NULL OR action = $2) AND \
    ($3 IS NULL OR actor = $3) AND ($4 IS NULL OR at_us >= $4) AND ($5 IS NULL OR at_us < $5) \
    ORDER BY id DESC LIMIT $6 OFFSET $7";

impl Store {
    pub(crate) async fn audit(&self, filter: &Filter, page: Page) -> Result<Listed, StoreError> {
        let failed = || StoreError::while_doing("listing the audit trail");
        let matching = |statement| {
            sqlx::query(statement)
                .bind(&filter.subject)
                .bind(&filter.action)
                .bind(&filter.actor)
                .bind(filter.from_us)
                .bind(filter.until_us)
        };
        let total = matching(MATCHING)
            .fetch_one(self.reader())
            .await
            .and_then(|row| row.try_get("total"))
            .map_err(failed())?;
        let rows = matching(PAGE)
            .bind(i64::from(page.size))
            .bind(page.skipped())
            .fetch_all(self.reader())
            .await
            .map_err(failed())?;
        let rows = rows.iter().map(AuditRow::read).collect::<Result<_, _>>();
        Ok(Listed {
            rows: rows.map_err(failed())?,
            total,
        })
    }
}
