//! Which calendar the budgets of a shared store follow: that of the processes
//! which live, whoever was the first. An SQLite file has one process, which may
//! begin with another at any start.

use super::process::LAPSE;
use crate::store::{Store, StoreError};

/// The time zone of the processes that use the store, where it is another one than
/// `zone`; else `zone` is theirs from now on.
pub(crate) async fn differing(store: &Store, zone: &str) -> Result<Option<String>, StoreError> {
    if !store.is_shared() {
        return Ok(None);
    }
    let failed = || StoreError::while_doing("comparing time zones");
    // No two of them at the same time.
    let mut write = store.begin_write().await?;
    let other = sqlx::query_scalar(
        "WITH lately (us) AS (
             SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - $2)
         SELECT name FROM time_zone, lately WHERE name <> $1
             AND (since_us > us OR EXISTS (SELECT 1 FROM process WHERE seen_us > us))",
    )
    .bind(zone)
    .bind(i64::try_from(LAPSE.as_micros()).unwrap_or(i64::MAX))
    .fetch_optional(&mut *write)
    .await
    .map_err(failed())?;
    if other.is_some() {
        return Ok(other);
    }
    sqlx::query(
        "INSERT INTO time_zone (number, name, since_us)
         VALUES (0, $1, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))
         ON CONFLICT (number) DO UPDATE SET name = excluded.name, since_us = excluded.since_us",
    )
    .bind(zone)
    .execute(&mut *write)
    .await
    .map_err(failed())?;
    write.commit().await.map_err(failed())?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::ledger::process::{leave, register};
    use crate::store::testing::{Database, KIND, Kind};

    async fn age(store: &Store, table: &'static str) {
        let (of_row, of_process) = (
            "UPDATE time_zone SET since_us = 0",
            "UPDATE process SET seen_us = 0",
        );
        let mut write = store.begin_write().await.unwrap();
        let statement = if table == "process" {
            of_process
        } else {
            of_row
        };
        sqlx::query(statement).execute(&mut *write).await.unwrap();
        write.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_lives_decides_and_a_dead_one_does_not() {
        let database = KIND.scope(Kind::Postgres, Database::new()).await;
        let store = database.open().await;
        let other = async |zone| differing(&store, zone).await.unwrap();
        assert_eq!(other("UTC").await, None, "the first");
        // It is about to register.
        assert_eq!(other("Europe/Berlin").await.as_deref(), Some("UTC"));
        let process = Uuid::new_v4();
        register(&store, process).await.unwrap();
        age(&store, "time_zone").await;
        assert_eq!(other("Europe/Berlin").await.as_deref(), Some("UTC"));
        assert_eq!(other("UTC").await, None);
        age(&store, "time_zone").await;
        age(&store, "process").await;
        assert_eq!(other("Europe/Berlin").await, None, "it died");
        assert_eq!(other("UTC").await.as_deref(), Some("Europe/Berlin"));
        age(&store, "time_zone").await;
        leave(&store, process).await.unwrap();
        assert_eq!(other("UTC").await, None, "nobody is left");
    }

    #[tokio::test]
    async fn an_sqlite_file_may_change_its_calendar() {
        let database = Database::new().await;
        let store = database.open().await;
        for zone in ["UTC", "Europe/Berlin"] {
            assert_eq!(differing(&store, zone).await.unwrap(), None);
        }
    }
}
