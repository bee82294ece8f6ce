//! Owns how an SQLite file is opened: the lock against a second process, the
//! pragmas that make a commit durable, the two pools. Called at start only.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{OpenError, Store, migrate};

/// How long a statement waits for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a pooled connection before it is told 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Reads are short; more readers than this only contend for two cores.
const READERS_MAX: u32 = 4;

impl Store {
    /// Opens, locks and migrates the database at `sqlite://<path>`.
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        let path = path_of(url)?;
        let lock = Arc::new(lock(&path)?);
        let unusable = |error: sqlx::Error| OpenError::Unusable {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged commit survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(unusable)?;
        migrate::run(&writer, &path).await?;
        let reader = pool(READERS_MAX)
            .connect_with(options.read_only(true))
            .await
            .map_err(unusable)?;
        Ok(Self {
            reader,
            writer,
            _lock: lock,
        })
    }
}

fn pool(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // An idle connection to a local file costs nothing; reopening does.
        .idle_timeout(None)
        .max_lifetime(None)
}

fn path_of(url: &str) -> Result<PathBuf, OpenError> {
    let path = url.strip_prefix("sqlite:").ok_or(OpenError::Address)?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or_default();
    if path.is_empty() || path.contains(":memory:") {
        return Err(OpenError::Address);
    }
    Ok(PathBuf::from(path))
}

/// Recovery posts what a dead process left allotted, so two live processes on
/// one file would post each other's money. The operating system drops the lock
/// when the process dies, however it dies.
fn lock(database: &Path) -> Result<File, OpenError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let unusable = |error: std::io::Error| OpenError::Unusable {
        path: database.display().to_string(),
        reason: error.to_string(),
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(name)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: database.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// A fresh database file for a test, gone with the folder.
#[cfg(test)]
pub(crate) async fn temporary() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    (Store::open(&url).await.unwrap(), folder)
}

#[cfg(test)]
mod tests {
    use super::{OpenError, Store, path_of, temporary};

    #[test]
    fn only_sqlite_files_are_addresses() {
        for (url, path) in [
            ("sqlite://llm-proxy.db", Some("llm-proxy.db")),
            ("sqlite:///var/lib/a.db", Some("/var/lib/a.db")),
            ("sqlite:a.db?mode=rwc", Some("a.db")),
            ("sqlite://", None),
            ("sqlite::memory:", None),
            ("postgres://host/db", None),
        ] {
            assert_eq!(
                path_of(url).ok().as_deref(),
                path.map(std::path::Path::new),
                "{url}"
            );
        }
    }

    #[tokio::test]
    async fn a_second_opening_of_the_same_file_is_refused_while_the_first_lives() {
        let (store, folder) = temporary().await;
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        assert!(matches!(
            Store::open(&url).await,
            Err(OpenError::InUse { .. })
        ));
        store.close().await;
        drop(store);
        Store::open(&url).await.unwrap().ping().await.unwrap();
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused_and_left_alone() {
        let (store, folder) = temporary().await;
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let mut write = store.begin_write().await.unwrap();
        sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9000, 'later', 1, x'00', 1)")
            .execute(&mut *write)
            .await
            .unwrap();
        write.commit().await.unwrap();
        store.close().await;
        drop(store);
        let refused = Store::open(&url).await.unwrap_err();
        assert!(
            matches!(refused, OpenError::Newer { found: 9000, .. }),
            "{refused}"
        );
    }
}
