//! Owns how a PostgreSQL database is opened: the pool, and the bounds that keep
//! a slow server from holding callers up. Several processes share it. Called at
//! start, and for what only PostgreSQL does differently.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Any, AnyPool, Executor as _, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use tokio::{sync::Mutex, time::timeout};
use url::Url;
use uuid::Uuid;

use super::{Database, OpenError, Store, migrate};
use crate::secret::Secret;

/// How long a caller waits for a pooled connection before it is told 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECTIONS_MAX: u32 = 10;
/// A statement that takes longer fails, and with it its transaction: nobody
/// waits for a lock that is never released.
pub(super) const BOUNDS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '2s'; \
    SET idle_in_transaction_session_timeout = '10s'; \
    SET default_transaction_isolation = 'read committed'";
/// A migration takes as long as its tables are large. Only until others have left
/// them it waits no longer than this, because their calls queue up behind it.
const BOUNDS_OF_MIGRATIONS: &str = "SET lock_timeout = '2s'";
/// One number for the lock that lets changes of keys run one at a time; no other
/// program uses the database.
const ALONE: &str = "SELECT 1 FROM pg_advisory_xact_lock(7310582)";

/// Marks the changes of this process, as the database writes them down.
const ORIGIN: &str = "SELECT set_config('llm_proxy.origin', $1, false)";

/// What a process needs to know to change keys beside others, and to learn of
/// their changes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) url: Secret,
    pub(super) origin: String,
    /// One at a time waits for [`ALONE`] with a connection of the pool; without
    /// this, those behind it would wait with all the others.
    next: Mutex<()>,
}

pub(super) fn is_address(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Opens and migrates the database. Processes that start at the same time wait
/// for the one that migrates.
pub(super) async fn open(url: &str) -> Result<Store, OpenError> {
    let place = place(url)?;
    let unusable = |error: sqlx::Error| {
        let (place, reason) = (place.clone(), error.to_string());
        match is_outage(&error) {
            true => OpenError::Unreachable { place, reason },
            false => OpenError::Unusable { place, reason },
        }
    };
    let options: AnyConnectOptions = url.parse().map_err(unusable)?;
    let shared = Arc::new(Shared {
        url: Secret::new(url.to_owned()),
        origin: Uuid::new_v4().to_string(),
        next: Mutex::default(),
    });
    let marked = Arc::clone(&shared);
    let pool = AnyPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            let marked = Arc::clone(&marked);
            Box::pin(async move {
                connection.execute(BOUNDS).await?;
                let origin = sqlx::query(ORIGIN).bind(&marked.origin);
                origin.execute(connection).await.map(drop)
            })
        })
        .connect_with(options.clone())
        .await
        .map_err(unusable)?;
    let migrating = AnyPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async { connection.execute(BOUNDS_OF_MIGRATIONS).await.map(drop) })
        })
        .connect_with(options)
        .await
        .map_err(unusable)?;
    let migrated = migrate::run(&migrate::POSTGRES, &migrating, &place).await;
    migrating.close().await;
    migrated?;
    probe_write(&pool).await.map_err(unusable)?;
    Ok(Store {
        reader: pool.clone(),
        writer: pool,
        database: Database::Postgres(shared),
        probed: Arc::default(),
        breaker: Arc::default(),
    })
}

/// Whether the server is away, or on its way up or down.
pub(super) fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        // A connection that is closed before it begins is read as a wrong answer.
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_) => true,
        // PostgreSQL: operator intervention, as `cannot_connect_now`.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

/// The address without what is secret in it.
fn place(url: &str) -> Result<String, OpenError> {
    let url = Url::parse(url).map_err(|_| OpenError::Address)?;
    let host = url.host_str().ok_or(OpenError::Address)?;
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    Ok(format!("postgres://{host}{port}{}", url.path()))
}

/// Waits for every such transaction of any process to end.
pub(super) async fn begin_alone(
    shared: &Shared,
    pool: &AnyPool,
) -> Result<Transaction<'static, Any>, sqlx::Error> {
    let is_next = timeout(ACQUIRE_TIMEOUT, shared.next.lock()).await;
    let is_next = is_next.map_err(|_elapsed| sqlx::Error::PoolTimedOut)?;
    let mut transaction = pool.begin().await?;
    transaction.execute(ALONE).await?;
    drop(is_next);
    Ok(transaction)
}

/// The server's own time, in microseconds since 1970.
pub(super) async fn now(pool: &AnyPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)")
        .fetch_one(pool)
        .await
}

/// Fails on a standby and on a server that has been set to read only.
pub(super) async fn probe_write(pool: &AnyPool) -> Result<(), sqlx::Error> {
    let read_only: String = sqlx::query_scalar("SHOW transaction_read_only")
        .fetch_one(pool)
        .await?;
    if read_only == "off" {
        return Ok(());
    }
    Err(sqlx::Error::Configuration(
        "it takes no writes: give the address of the primary".into(),
    ))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::{sync::Barrier, task::JoinSet, time::timeout};

    use super::CONNECTIONS_MAX;
    use crate::key::GroupKind;
    use crate::store::testing::{Database, KIND, Kind};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn d4_writers_that_wait_for_their_turn_leave_connections_to_others() {
        let database = KIND.scope(Kind::Postgres, Database::new()).await;
        let store = database.open().await;
        let first = store.begin_write().await.expect("begun");
        let count = 3 * CONNECTIONS_MAX as usize;
        let (mut writers, ready) = (JoinSet::new(), Arc::new(Barrier::new(count + 1)));
        for _ in 0..count {
            let (store, ready) = (store.clone(), Arc::clone(&ready));
            writers.spawn(async move {
                ready.wait().await;
                let write = store.begin_write().await.expect("its turn");
                write.commit().await.expect("committed");
            });
        }
        ready.wait().await;
        for _ in 0..50 {
            let read = timeout(Duration::from_secs(1), store.group(GroupKind::Team, "t"));
            let read = read.await.expect("a connection is left");
            assert!(read.expect("an answer").is_none());
        }
        first.commit().await.expect("committed");
        writers.join_all().await;
    }
}
