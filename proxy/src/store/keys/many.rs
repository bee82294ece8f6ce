//! Owns the reading of many keys by their hashes with one statement. SQLite and
//! PostgreSQL have no list of parameters in common: the hashes go in as one text
//! without separators, which the database takes apart.

use std::collections::HashMap;

use crate::{
    key::{Key, KeyHash},
    store::{
        Store, StoreError,
        row::{KeyRow, key_columns},
    },
};

impl Store {
    /// Those of them that are live.
    pub(crate) async fn keys_of(
        &self,
        hashes: &[KeyHash],
    ) -> Result<HashMap<KeyHash, Key>, StoreError> {
        let text: String = hashes.iter().map(KeyHash::to_string).collect();
        let rows = sqlx::query(concat!(
            "WITH RECURSIVE place (at) AS ( \
                 SELECT CAST(1 AS BIGINT) \
                 UNION ALL SELECT at + 64 FROM place WHERE at + 64 <= length($1) \
             ) SELECT ",
            key_columns!(),
            " FROM place JOIN keys ON keys.hash = substr($1, CAST(at AS INTEGER), 64)",
        ))
        .bind(text)
        .fetch_all(self.reader())
        .await
        .map_err(StoreError::while_doing("reading keys"))?;
        let read = |row| KeyRow::read(row).map(|key| (key.hash, key));
        rows.iter().map(read).collect()
    }
}
