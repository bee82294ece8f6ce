//! Goal: a database outlives the binary that wrote it. Older ones are brought up
//! to date, also where that was interrupted; newer ones, and what is none, are
//! refused and left as they are.
//! Method: the first schema as SQL text; something in the way of each object that
//! a migration makes.

mod killed;

use std::collections::BTreeSet;
use std::path::PathBuf;

use sqlx::AssertSqlSafe;

use super::{POSTGRES, SQLITE};
use crate::app::testing::Gateway;
use crate::store::ledger::{recover::recover, verify::verify};
use crate::store::testing::{Database, KIND, Kind, on_both};
use crate::store::{OpenError, Store};

on_both![
    f4_a_database_of_the_first_schema_is_brought_up_to_date,
    f4_a_migration_that_was_interrupted_is_resumed,
    f4_a_newer_schema_is_refused_and_left_alone,
];

const KEY_OF_THE_FIRST: &str = "sk-of-the-first-schema-0123456789abcdef";

/// Every column there is; the same for databases of one schema.
async fn columns(store: &Store, kind: Kind) -> Vec<String> {
    let query = match kind {
        Kind::Sqlite => {
            "SELECT m.name || '.' || p.name FROM sqlite_master m, pragma_table_info(m.name) p
             WHERE m.type IN ('table', 'index') ORDER BY 1"
        }
        Kind::Postgres => {
            "SELECT CAST(table_name || '.' || column_name AS TEXT) FROM information_schema.columns
             WHERE table_schema = 'public' UNION ALL
             SELECT CAST(indexname AS TEXT) FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
        }
    };
    let found = sqlx::query_scalar(query).fetch_all(store.reader()).await;
    found.unwrap()
}

/// What the database of a new installation looks like.
async fn columns_of_a_fresh_one() -> Vec<String> {
    let database = Database::new().await;
    columns(&database.open().await, database.kind).await
}

/// Runs statements outside of the store, which has not opened the database.
async fn run(database: &Database, statements: &'static str) {
    sqlx::any::install_default_drivers();
    let url = match database.kind {
        Kind::Sqlite => format!("{}?mode=rwc", database.url),
        Kind::Postgres => database.url.clone(),
    };
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    sqlx::raw_sql(statements).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn f4_a_database_of_the_first_schema_is_brought_up_to_date() {
    let database = Database::new().await;
    let (kind, first) = match database.kind {
        Kind::Sqlite => (Kind::Sqlite, include_str!("first_sqlite.sql")),
        Kind::Postgres => (Kind::Postgres, include_str!("first_postgres.sql")),
    };
    run(&database, first).await;
    let gateway = Gateway::start_on(database).await;
    let store = gateway.state.store.clone();
    assert_eq!(columns(&store, kind).await, columns_of_a_fresh_one().await);
    // On PostgreSQL it is done beside the calls, after some seconds.
    let now = gateway.state.clock.now();
    recover(&store, now).await.unwrap();
    let told = gateway.data_get(KEY_OF_THE_FIRST, "/key/info").await;
    // 30,000 nano-dollars were posted, and 5,000 allotted when the process died.
    let info = &told.body["info"];
    assert_eq!(info["spend"], 0.000_035, "{}", told.body);
    assert_eq!(info["max_budget"], 1.0, "{}", told.body);
    let call = serde_json::json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
    let answer = gateway
        .data_post(KEY_OF_THE_FIRST, "/v1/chat/completions", &call)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    gateway.state.ledger.drain().await;
    assert_eq!(verify(&store).await.unwrap().differences, vec![]);
}

/// The tables and indexes that the migrations make.
fn objects(kind: Kind) -> BTreeSet<&'static str> {
    let migrations = match kind {
        Kind::Sqlite => SQLITE.iter(),
        Kind::Postgres => POSTGRES.iter(),
    };
    let lines = migrations.flat_map(|one| one.sql.as_str().lines());
    let made = lines.filter_map(|line| {
        ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "]
            .iter()
            .find_map(|begin| line.strip_prefix(begin)?.split([' ', '(']).next())
    });
    made.collect()
}

async fn f4_a_migration_that_was_interrupted_is_resumed() {
    let kind = KIND.try_with(|kind| *kind).unwrap();
    let fresh = columns_of_a_fresh_one().await;
    let objects = objects(kind);
    assert!(objects.len() > 10, "{objects:?}");
    for object in objects {
        let database = Database::new().await;
        run(&database, leak(format!("CREATE TABLE {object} (x TEXT)"))).await;
        let error = Store::open(&database.url).await.unwrap_err();
        assert!(error.to_string().contains("migrating"), "{object}: {error}");
        run(&database, leak(format!("DROP TABLE {object}"))).await;
        let store = database.open().await;
        assert_eq!(columns(&store, kind).await, fresh, "{object}");
        store.ping().await.unwrap();
    }
}

/// Statements of a test live as long as it.
fn leak(statement: String) -> &'static str {
    Box::leak(statement.into_boxed_str())
}

async fn f4_a_newer_schema_is_refused_and_left_alone() {
    let database = Database::new().await;
    let store = database.open().await;
    let (checksum, success) = match database.kind {
        Kind::Sqlite => ("x'00'", "1"),
        Kind::Postgres => ("decode('00', 'hex')", "TRUE"),
    };
    let later = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9000, 'later', {success}, {checksum}, 1)"
    );
    let mut write = store.begin_write().await.unwrap();
    sqlx::query(AssertSqlSafe(later))
        .execute(&mut *write)
        .await
        .unwrap();
    write.commit().await.unwrap();
    let before = columns(&store, database.kind).await;
    store.close().await;
    drop(store);
    let refused = Store::open(&database.url).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Newer { found: 9000, .. }),
        "{refused}"
    );
    let text = refused.to_string();
    assert!(
        text.contains("newer llm-proxy") && text.contains("upgrade"),
        "{text}"
    );
    run(
        &database,
        "DELETE FROM _sqlx_migrations WHERE version = 9000",
    )
    .await;
    let store = database.open().await;
    assert_eq!(columns(&store, database.kind).await, before);
}

/// Refused with these words, its bytes as they were.
async fn refused(path: PathBuf, words: &str) {
    let before = std::fs::read(&path).unwrap();
    let url = format!("sqlite://{}", path.display());
    let text = Store::open(&url).await.unwrap_err().to_string();
    assert!(text.contains(words), "{text}");
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a database\n".repeat(500)).unwrap();
    refused(path, "file is not a database").await;
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let url = format!("sqlite://{}", folder.path().join("folder").display());
    Store::open(&url).await.unwrap_err();
}

/// By the file's own mark, which also binds who may do anything (root).
#[tokio::test]
async fn a_read_only_database_is_refused_and_left_alone() {
    const WRITE_VERSION_AT: usize = 18;
    let database = Database::new().await;
    database.open().await.close().await;
    let path = database.folder.path().join("test.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[WRITE_VERSION_AT] = 3;
    std::fs::write(&path, bytes).unwrap();
    refused(path, "must be writable").await;
}
