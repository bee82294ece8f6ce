//! Owns the rows of `key_group`: named budgets, teams and users. Writes take the
//! caller's transaction, so that a group and what follows from it change
//! together. Called by the admin API; the keys of a group are read with its terms.

use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, FromRow, any::AnyRow};

use super::{
    Page, Store, StoreError,
    row::{from_json, instant, to_json},
};
use crate::key::{Group, GroupKind, KeyHash};

/// The columns as they are stored.
#[derive(Debug, FromRow)]
struct GroupRow {
    id: String,
    alias: Option<String>,
    email: Option<String>,
    metadata: String,
    terms: String,
    created_at_us: i64,
    updated_at_us: i64,
}

impl GroupRow {
    fn read(kind: GroupKind, row: &AnyRow) -> Result<Group, StoreError> {
        let row = Self::from_row(row).map_err(StoreError::while_doing("reading a group"))?;
        row.into_group(kind)
    }

    fn into_group(self, kind: GroupKind) -> Result<Group, StoreError> {
        let damaged = |what| StoreError::DamagedGroup {
            kind: kind.as_str(),
            what,
        };
        let at = |micros: i64| -> Result<DateTime<Utc>, StoreError> {
            instant(micros).ok_or_else(|| damaged("time"))
        };
        Ok(Group {
            kind,
            metadata: from_json(&self.metadata).ok_or_else(|| damaged("metadata"))?,
            terms: from_json(&self.terms).ok_or_else(|| damaged("terms"))?,
            created_at: at(self.created_at_us)?,
            updated_at: at(self.updated_at_us)?,
            id: self.id,
            alias: self.alias,
            email: self.email,
        })
    }
}

/// Groups of one kind.
#[derive(Debug)]
pub(crate) struct ListedGroups {
    pub(crate) groups: Vec<Group>,
    pub(crate) total: i64,
}

impl Store {
    pub(crate) async fn group(
        &self,
        kind: GroupKind,
        id: &str,
    ) -> Result<Option<Group>, StoreError> {
        let connection = self.reader().acquire().await;
        let mut connection = connection.map_err(StoreError::while_doing("reading a group"))?;
        find(&mut connection, kind, id).await
    }

    /// The newest first.
    pub(crate) async fn list_groups(
        &self,
        kind: GroupKind,
        page: Page,
    ) -> Result<ListedGroups, StoreError> {
        let failed = || StoreError::while_doing("listing groups");
        let total = sqlx::query_scalar("SELECT count(*) FROM key_group WHERE kind = $1")
            .bind(kind.as_str())
            .fetch_one(self.reader())
            .await
            .map_err(failed())?;
        let rows = sqlx::query(
            "SELECT * FROM key_group WHERE kind = $1
             ORDER BY created_at_us DESC, id LIMIT $2 OFFSET $3",
        )
        .bind(kind.as_str())
        .bind(i64::from(page.size))
        .bind(page.skipped())
        .fetch_all(self.reader())
        .await
        .map_err(failed())?;
        let groups = rows.iter().map(|row| GroupRow::read(kind, row));
        Ok(ListedGroups {
            groups: groups.collect::<Result<_, _>>()?,
            total,
        })
    }
}

/// The group as this transaction sees it.
pub(crate) async fn find(
    connection: &mut AnyConnection,
    kind: GroupKind,
    id: &str,
) -> Result<Option<Group>, StoreError> {
    // No group has such an id, and PostgreSQL takes no such text.
    if id.contains('\0') {
        return Ok(None);
    }
    let row = sqlx::query("SELECT * FROM key_group WHERE kind = $1 AND id = $2")
        .bind(kind.as_str())
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::while_doing("reading a group"))?;
    row.map(|row| GroupRow::read(kind, &row)).transpose()
}

/// Adds a group, or rewrites all its columns.
pub(crate) async fn put(write: &mut AnyConnection, group: &Group) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO key_group (kind, id, alias, email, metadata, terms, created_at_us, \
         updated_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (kind, id) DO UPDATE SET alias = excluded.alias, email = excluded.email, \
         metadata = excluded.metadata, terms = excluded.terms, \
         updated_at_us = excluded.updated_at_us",
    )
    .bind(group.kind.as_str())
    .bind(&group.id)
    .bind(&group.alias)
    .bind(&group.email)
    .bind(to_json(&group.metadata))
    .bind(to_json(&group.terms))
    .bind(group.created_at.timestamp_micros())
    .bind(group.updated_at.timestamp_micros())
    .execute(write)
    .await
    .map(drop)
    .map_err(StoreError::while_doing("writing a group"))
}

pub(crate) async fn delete(
    write: &mut AnyConnection,
    kind: GroupKind,
    id: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM key_group WHERE kind = $1 AND id = $2")
        .bind(kind.as_str())
        .bind(id)
        .execute(write)
        .await
        .map(drop)
        .map_err(StoreError::while_doing("deleting a group"))
}

/// The live keys that name the group, at most so many.
pub(crate) async fn keys_of(
    write: &mut AnyConnection,
    kind: GroupKind,
    id: &str,
    most: usize,
) -> Result<Vec<KeyHash>, StoreError> {
    let statement = match kind {
        GroupKind::Budget => "SELECT hash FROM keys WHERE budget_id = $1 LIMIT $2",
        GroupKind::Team => "SELECT hash FROM keys WHERE team_id = $1 LIMIT $2",
        GroupKind::User => "SELECT hash FROM keys WHERE user_id = $1 LIMIT $2",
    };
    let found: Vec<String> = sqlx::query_scalar(statement)
        .bind(id)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(write)
        .await
        .map_err(StoreError::while_doing("looking for the keys of a group"))?;
    let hashes = found.iter().filter_map(|hash| KeyHash::from_hex(hash));
    Ok(hashes.collect())
}
