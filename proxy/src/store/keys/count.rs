//! Owns how many keys there are, by status.

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use crate::store::{Store, StoreError};

/// As a key's `status` says, so each key counts once.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) active: i64,
    pub(crate) expired: i64,
    pub(crate) blocked: i64,
    pub(crate) deleted: i64,
}

impl Store {
    pub(crate) async fn count_keys(&self, now: DateTime<Utc>) -> Result<Counts, StoreError> {
        let read = async {
            let row = sqlx::query(
                "SELECT count(*) AS keys,
                     count(CASE WHEN blocked = 1 THEN 1 END) AS blocked,
                     count(CASE WHEN blocked = 0 AND expires_at_us <= $1 THEN 1 END) AS expired,
                     (SELECT count(*) FROM deleted_keys) AS deleted
                 FROM keys",
            )
            .bind(now.timestamp_micros())
            .fetch_one(self.reader())
            .await?;
            let (blocked, expired): (i64, i64) = (row.try_get("blocked")?, row.try_get("expired")?);
            Ok(Counts {
                active: row.try_get::<i64, _>("keys")? - blocked - expired,
                expired,
                blocked,
                deleted: row.try_get("deleted")?,
            })
        };
        read.await.map_err(StoreError::while_doing("counting keys"))
    }
}
