//! When keys last called a model: the rows of usage say it, so that no call
//! writes anything for it. A key whose rows are gone has no last call.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use crate::{
    key::KeyHash,
    store::{Store, StoreError},
};

/// `$last` of a key `wanted.hash`; what finds its rows ends with the time.
macro_rules! last {
    ($last:literal) => {
        concat!(
            "WITH RECURSIVE place (at) AS (
                 SELECT CAST(1 AS BIGINT) WHERE length($1) > 0
                 UNION ALL SELECT at + 64 FROM place WHERE at + 64 <= length($1)
             ), wanted AS (
                 SELECT substr($1, CAST(at AS INTEGER), 64) AS hash FROM place
             )
             SELECT hash, (",
            $last,
            ") AS last_us FROM wanted"
        )
    };
}

impl Store {
    /// By the accounts of keys: when the last call began that has settled.
    pub(crate) async fn last_calls(
        &self,
        accounts: &[KeyHash],
    ) -> Result<HashMap<KeyHash, DateTime<Utc>>, StoreError> {
        let failed = || StoreError::while_doing("reading when keys were last used");
        let text: String = accounts.iter().map(KeyHash::to_string).collect();
        // As in `keys_of`: the hashes go in as one text.
        let statement = match self.is_shared() {
            true => last!(
                "SELECT MAX(u.started_at_us) FROM usage u
                 WHERE u.key_hash = wanted.hash AND u.model <> ''"
            ),
            // One look into each part, however many calls the key has there.
            false => last!(
                "SELECT MAX((SELECT k.started_at_us FROM usage_of_key k
                     CROSS JOIN usage u ON u.request_id = k.request_id
                     WHERE k.part = p.part AND k.key_hash = wanted.hash AND u.model <> ''
                     ORDER BY k.started_at_us DESC LIMIT 1)) FROM usage_part p"
            ),
        };
        let rows = sqlx::query(statement)
            .bind(text)
            .fetch_all(self.settled().await?)
            .await
            .map_err(failed())?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let hash: String = row.try_get("hash").map_err(failed())?;
            let last: Option<i64> = row.try_get("last_us").map_err(failed())?;
            let last = last.and_then(DateTime::from_timestamp_micros);
            found.extend(KeyHash::from_hex(&hash).zip(last));
        }
        Ok(found)
    }
}
