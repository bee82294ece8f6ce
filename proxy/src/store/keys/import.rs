//! Keys that come from another gateway's table. Called by `llm-proxy keys
//! import`, inside its transactions, which hold some thousand keys each.

use sqlx::{AnyConnection, Row as _, any::AnyRow};

use crate::{
    key::{AccountId, Key, KeyHash},
    money::NanoUsd,
    store::{
        StoreError,
        row::{KeyRow, deleted_key_columns},
    },
};

/// What the store knows of a key that is about to be taken over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) is_live: bool,
    /// It is a value that another key had before it was regenerated.
    pub(crate) is_earlier: bool,
    /// A key that was deleted has or had this value.
    pub(crate) was_deleted: bool,
    pub(crate) alias_is_taken: bool,
}

pub(crate) async fn known(
    write: &mut AnyConnection,
    hash: KeyHash,
    alias: Option<&str>,
) -> Result<Known, StoreError> {
    let failed = || StoreError::while_doing("looking for a key to import");
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM keys WHERE hash = $1) AS live,
             (SELECT COUNT(*) FROM earlier_keys WHERE hash = $1) AS earlier,
             (SELECT COUNT(*) FROM deleted_keys WHERE hash = $1 OR account_hash = $1)
                 + (SELECT COUNT(*) FROM ended_values WHERE hash = $1) AS deleted,
             (SELECT COUNT(*) FROM keys WHERE alias = $2 AND hash <> $1) AS alias",
    )
    .bind(hash.to_string())
    .bind(alias)
    .fetch_one(write)
    .await
    .map_err(failed())?;
    read(&row).map_err(failed())
}

fn read(row: &AnyRow) -> Result<Known, sqlx::Error> {
    let any = |column| row.try_get::<i64, _>(column).map(|count| count > 0);
    Ok(Known {
        is_live: any("live")?,
        is_earlier: any("earlier")?,
        was_deleted: any("deleted")?,
        alias_is_taken: any("alias")?,
    })
}

/// The latest deleted key that has or had this value.
pub(crate) async fn deleted(
    write: &mut AnyConnection,
    hash: KeyHash,
) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        deleted_key_columns!(),
        " FROM deleted_keys WHERE hash = $1 OR account_hash = $1 \
         OR account_hash = (SELECT account_hash FROM ended_values WHERE hash = $1) \
         ORDER BY id DESC LIMIT 1",
    ))
    .bind(hash.to_string())
    .fetch_optional(write)
    .await
    .map_err(StoreError::while_doing("reading a deleted key"))?;
    row.as_ref().map(KeyRow::read).transpose()
}

/// Opens an account on which `spent` was spent elsewhere; on one that is there
/// already the higher of the two counts. Verification knows of it: it is no row
/// of usage.
pub(crate) async fn open_account(
    write: &mut AnyConnection,
    account: &AccountId,
    limit: Option<NanoUsd>,
    spent: NanoUsd,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO account (scope, subject, limit_nanousd, posted_nanousd, corrected_nanousd)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (scope, subject) DO UPDATE SET limit_nanousd = excluded.limit_nanousd,
             corrected_nanousd = account.corrected_nanousd
                 + CASE WHEN excluded.posted_nanousd > account.posted_nanousd
                     THEN excluded.posted_nanousd - account.posted_nanousd ELSE 0 END,
             posted_nanousd = CASE WHEN excluded.posted_nanousd > account.posted_nanousd
                 THEN excluded.posted_nanousd ELSE account.posted_nanousd END",
    )
    .bind(account.scope())
    .bind(account.subject())
    .bind(limit.map(NanoUsd::nanos))
    .bind(spent.nanos())
    .execute(write)
    .await
    .map(drop)
    .map_err(StoreError::while_doing("opening an imported key's account"))
}
