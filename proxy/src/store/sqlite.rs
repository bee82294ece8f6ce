//! Owns how an SQLite file is opened: the lock against a second process, the
//! pragmas that make a commit durable, the two pools. Called at start only.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AnyConnection, AnyPool, Connection as _, Executor as _,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use url::Url;

use super::journal::Journal;
use super::{Database, OpenError, Store, migrate};

/// What only a database in a file has.
#[derive(Debug)]
pub(super) struct Local {
    /// Held for the life of the process: it keeps a second one out.
    _lock: File,
    pub(super) journal: Journal,
}

/// An acknowledged commit survives a power cut. A statement waits 5 s for another
/// connection's lock. What a statement of many rows would need to take itself back
/// stays in memory, and so do, up to 32 MiB, the pages that a fold of many keys
/// comes back to. The log is copied into the file when it is some 64 MB long,
/// because a busy gateway writes the same pages again and again.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; \
    PRAGMA temp_store = MEMORY; \
    PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 16000";
/// How long a caller waits for a pooled connection before it is told 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Reads are short; more readers than this only contend for two cores.
const READERS_MAX: u32 = 4;

pub(super) fn require_file(url: &str) -> Result<(), OpenError> {
    let path = path_of(url)?;
    if path.is_file() {
        return Ok(());
    }
    Err(OpenError::Missing {
        path: path.display().to_string(),
    })
}

/// Opens, locks and migrates the database at `sqlite://<path>`.
pub(super) async fn open(url: &str) -> Result<Store, OpenError> {
    let path = path_of(url)?;
    let (file, lock) = lock(&path)?;
    let unusable = |error: sqlx::Error| OpenError::Unusable {
        place: path.display().to_string(),
        reason: error.to_string(),
    };
    try_out(&options(&file, "rwc").map_err(unusable)?)
        .await
        .map_err(unusable)?;
    let writer = pool(1)
        .before_acquire(|connection, _| {
            let usable = is_between_transactions(connection);
            Box::pin(std::future::ready(Ok(usable)))
        })
        .after_connect(|connection, _| {
            Box::pin(async { connection.execute(PRAGMAS).await.map(drop) })
        })
        .connect_with(options(&file, "rwc").map_err(unusable)?)
        .await
        .map_err(unusable)?;
    let place = path.display().to_string();
    migrate::run(&migrate::SQLITE, &writer, &place).await?;
    // A schema that is up to date was only read so far.
    probe_write(&writer)
        .await
        .map_err(|error| OpenError::Unusable {
            place,
            reason: format!("it must be writable, its folder too: {error}"),
        })?;
    let journal = Journal::open(&file, &writer)
        .await
        .map_err(|error| OpenError::Unusable {
            place: path.display().to_string(),
            reason: error.to_string(),
        })?;
    let reader = pool(READERS_MAX)
        .connect_with(options(&file, "ro").map_err(unusable)?)
        .await
        .map_err(unusable)?;
    Ok(Store {
        reader,
        writer,
        database: Database::Sqlite(Arc::new(Local {
            _lock: lock,
            journal,
        })),
        probed: Arc::default(),
        breaker: Arc::default(),
    })
}

/// The pool would try a file that is no database again and again, and then only
/// say that it took too long.
async fn try_out(options: &AnyConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    connection.execute(PRAGMAS).await?;
    connection.close().await
}

/// `file` is absolute.
fn options(file: &Path, mode: &str) -> Result<AnyConnectOptions, sqlx::Error> {
    let no_address = || sqlx::Error::Configuration("its path has no address".into());
    let address = Url::from_file_path(file).map_err(|()| no_address())?;
    format!("sqlite://{}?mode={mode}", address.path()).parse()
}

/// Writes and commits one page that means nothing: a statement that leaves
/// the file as it is would not notice a full disk.
pub(super) async fn probe_write(writer: &AnyPool) -> Result<(), sqlx::Error> {
    // Nothing reads this number; SQLite writes it even when it stays the same.
    sqlx::query("PRAGMA user_version = 0")
        .execute(writer)
        .await
        .map(drop)
}

/// What SQLite itself finds wrong with its file; nothing where it is whole.
pub(super) async fn damage(reader: &AnyPool) -> Result<Option<String>, sqlx::Error> {
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(reader)
        .await?;
    Ok((found != "ok").then_some(found))
}

/// After a failed commit SQLite may have rolled back by itself. The driver
/// then still counts a transaction, and would begin no other one for ever:
/// the pool replaces such a connection.
fn is_between_transactions(connection: &AnyConnection) -> bool {
    let usable = !connection.is_in_transaction();
    if !usable {
        tracing::warn!("replacing the store's writer after a commit that failed");
    }
    usable
}

fn pool(connections_max: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
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

/// The file that `path` leads to, whether it exists yet or not: one database
/// has one name, however many links lead to it.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match path.read_link() {
        // A link to a file that SQLite is about to create.
        Ok(target) => canonical(&folder.join(target)),
        Err(_) => Ok(folder
            .canonicalize()?
            .join(path.file_name().unwrap_or_default())),
    }
}

/// Recovery posts what a dead process left allotted, so two live processes on
/// one file would post each other's money. The operating system drops the lock
/// when the process dies, however it dies. Answers the database's own path.
fn lock(database: &Path) -> Result<(PathBuf, File), OpenError> {
    let unusable = |error: io::Error| OpenError::Unusable {
        place: database.display().to_string(),
        reason: error.to_string(),
    };
    let path = canonical(database).map_err(unusable)?;
    let mut name = path.clone().into_os_string();
    name.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(name)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok((path, file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: database.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{OpenError, Store, path_of};
    use crate::store::testing::Database;

    /// A fresh database file, gone with the folder.
    async fn temporary() -> (Store, tempfile::TempDir) {
        let database = Database::new().await;
        (database.open().await, database.folder)
    }

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

    /// What only a power cut would show: each commit waits for the disk.
    #[tokio::test]
    async fn f1_a_commit_is_on_the_disk_when_it_is_acknowledged() {
        let (store, _folder) = temporary().await;
        for (pragma, expected) in [("synchronous", "2"), ("journal_mode", "wal")] {
            let asked = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
            let found: String = sqlx::query_scalar(sqlx::AssertSqlSafe(asked))
                .fetch_one(&store.writer)
                .await
                .unwrap();
            assert_eq!(found, expected, "{pragma}");
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
    async fn a_link_to_a_locked_database_is_refused_too() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.db"), folder.path().join("link.db"));
        std::os::unix::fs::symlink("real.db", &link).unwrap();
        let [file, link] = [file, link].map(|path| format!("sqlite://{}", path.display()));
        // Whether the file is there before its link is opened or not.
        for (first, second) in [(&link, &file), (&file, &link)] {
            let store = Store::open(first).await.unwrap();
            assert!(
                matches!(Store::open(second).await, Err(OpenError::InUse { .. })),
                "{first} then {second}"
            );
            store.close().await;
        }
    }

    #[tokio::test]
    async fn closing_leaves_everything_in_the_one_file() {
        let (store, folder) = temporary().await;
        store.ping().await.unwrap();
        let log = folder.path().join("test.db-wal");
        assert!(log.exists());
        store.close().await;
        assert!(!log.exists());
    }

    #[tokio::test]
    async fn a_missing_database_is_reported_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent.db");
        let refused = Store::require_existing(&format!("sqlite://{}", path.display())).unwrap_err();
        assert!(refused.to_string().contains("does not exist"), "{refused}");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn f2_the_writer_is_replaced_after_a_commit_that_sqlite_undid_by_itself() {
        let (store, _folder) = temporary().await;
        let mut write = store.begin_write().await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *write).await.unwrap();
        write.commit().await.unwrap_err();
        store.begin_write().await.unwrap().commit().await.unwrap();
        store.ping().await.unwrap();
    }

    #[tokio::test]
    async fn readiness_commits_a_write() {
        let (store, _folder) = temporary().await;
        let mut watcher = store.reader().acquire().await.unwrap();
        let version = "PRAGMA data_version";
        let before: i64 = sqlx::query_scalar(version)
            .fetch_one(&mut *watcher)
            .await
            .unwrap();
        store.ping().await.unwrap();
        let after: i64 = sqlx::query_scalar(version)
            .fetch_one(&mut *watcher)
            .await
            .unwrap();
        assert_ne!(before, after);
    }
}
