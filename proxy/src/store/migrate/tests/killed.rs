//! Goal: a process that is killed in the middle of its migrations leaves a database
//! that the next start brings up to date, like one that nobody has disturbed; and one
//! that takes long over them is waited for.
//! Method: this test's own executable, as a process that opens the database and ends
//! at another place each time. On PostgreSQL at each statement, at which the database
//! lets it wait for its SIGKILL; on SQLite, where only pages reach the disk, at each
//! page: the system kills who would write beyond a file's bound.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use sqlx::{Connection as _, PgConnection};

use super::run;
use crate::store::testing::{Database, KIND, Kind};
use crate::store::{OpenError, Store};

/// Those with failpoints run apart from the usual ones, and may take longer: every
/// place, and not each fifth.
const STRIDE: i64 = if cfg!(feature = "failpoints") { 1 } else { 5 };

/// Set for the process that is killed.
const URL: &str = "LLM_PROXY_TEST_OPENS";
const FILE_BYTES_MAX: &str = "LLM_PROXY_TEST_FILE_BYTES_MAX";

/// What that process runs; in any other there is nothing to open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_opens_a_database() {
    let Ok(url) = env::var(URL) else {
        return;
    };
    if let Ok(bytes) = env::var(FILE_BYTES_MAX) {
        let limit = |bytes| Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        setrlimit(Resource::Core, limit(0)).unwrap();
        setrlimit(Resource::Fsize, limit(bytes.parse().unwrap())).unwrap();
    }
    Store::open(&url).await.unwrap();
}

fn open_elsewhere(url: &str, file_bytes_max: Option<u64>) -> Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("{module}::who_is_killed_opens_a_database"),
    ]);
    command.env(URL, url);
    if let Some(bytes) = file_bytes_max {
        command.env(FILE_BYTES_MAX, bytes.to_string());
    }
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// As a gateway does: until nothing of another process is in the way.
async fn opened(database: &Database) -> Store {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(&database.url).await {
            Ok(store) => return store,
            // It tries again by itself.
            Err(OpenError::Unreachable { reason, .. }) => {
                assert!(Instant::now() < deadline, "{reason}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// All that the schema consists of, and which migrations it is made by.
async fn schema(store: &Store, kind: Kind) -> Vec<String> {
    let query = match kind {
        Kind::Sqlite => {
            "SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master
             UNION ALL SELECT 'applied ' || version || ' ' || success FROM _sqlx_migrations
             ORDER BY 1"
        }
        Kind::Postgres => {
            "SELECT CAST(concat_ws(' ', table_name, column_name, data_type, is_nullable,
                 column_default) AS TEXT)
             FROM information_schema.columns WHERE table_schema = 'public'
             UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
             UNION ALL SELECT concat_ws(' ', CAST(conrelid AS REGCLASS), conname,
                 pg_get_constraintdef(oid))
             FROM pg_constraint WHERE connamespace = CAST('public' AS REGNAMESPACE)
             UNION ALL SELECT pg_get_functiondef(oid)
             FROM pg_proc WHERE pronamespace = CAST('public' AS REGNAMESPACE)
             UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
             UNION ALL SELECT concat_ws(' ', 'applied', version, success) FROM _sqlx_migrations
             ORDER BY 1"
        }
    };
    let found = sqlx::query_scalar(query).fetch_all(store.reader()).await;
    found.unwrap()
}

// === SQLite ===

/// Killed as soon as a file of it would become longer than this.
fn killed_at_size(database: &Database, bytes: u64) -> ExitStatus {
    open_elsewhere(&database.url, Some(bytes)).wait().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_start_that_is_killed_at_any_page_is_resumed_by_the_next() {
    /// A page and its header in the write-ahead log.
    const FRAME: u64 = 4_096 + 24;
    /// What the log's index takes at once.
    const INDEX: u64 = 32 * 1024;
    let fresh = schema(&Database::new().await.open().await, Kind::Sqlite).await;
    let stride = usize::try_from(FRAME * STRIDE.unsigned_abs()).unwrap();
    let first = (0..INDEX).step_by(8 * 1024);
    let mut kills = 0;
    for bytes in first.chain((INDEX..).step_by(stride)) {
        let database = Database::new().await;
        let status = killed_at_size(&database, bytes);
        let store = opened(&database).await;
        assert_eq!(schema(&store, Kind::Sqlite).await, fresh, "{bytes}");
        store.ping().await.unwrap();
        if status.success() {
            break;
        }
        let signal = Some(Signal::XFSZ.as_raw());
        assert_eq!(status.signal(), signal, "{bytes}: {status}");
        kills += 1;
    }
    assert!(kills > 15, "{kills}");
}

// === PostgreSQL ===

/// Counts each statement that changes the schema and each migration that is written
/// down, also where the transaction comes to nothing, and waits at one of them.
const WAITING: &str = "
CREATE SCHEMA waiting;
CREATE SEQUENCE waiting.passed;
CREATE TABLE waiting.place (number BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL);
CREATE FUNCTION waiting.pass() RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('waiting.passed') = (SELECT number FROM waiting.place) THEN
        PERFORM pg_sleep(seconds) FROM waiting.place;
    END IF;
END $$;
CREATE FUNCTION waiting.statement() RETURNS EVENT_TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM waiting.pass();
END $$;
CREATE FUNCTION waiting.migration() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM waiting.pass();
    RETURN NULL;
END $$;
CREATE TABLE _sqlx_migrations (
    version        BIGINT PRIMARY KEY,
    description    TEXT NOT NULL,
    installed_on   TIMESTAMPTZ NOT NULL DEFAULT now(),
    success        BOOLEAN NOT NULL,
    checksum       BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
);
CREATE TRIGGER waiting AFTER INSERT OR UPDATE ON _sqlx_migrations
    FOR EACH ROW EXECUTE FUNCTION waiting.migration();
CREATE EVENT TRIGGER waiting ON ddl_command_start EXECUTE FUNCTION waiting.statement();
";

async fn passed(watcher: &mut PgConnection) -> i64 {
    let query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM waiting.passed";
    sqlx::query_scalar(query).fetch_one(watcher).await.unwrap()
}

/// An empty database where whoever migrates waits at this place for so long, and a
/// connection to it.
async fn waiting_at(place: i64, seconds: f64) -> (Database, PgConnection) {
    let database = KIND.scope(Kind::Postgres, Database::new()).await;
    run(&database, WAITING).await;
    let mut watcher = PgConnection::connect(&database.url).await.unwrap();
    let say = sqlx::query("INSERT INTO waiting.place (number, seconds) VALUES ($1, $2)");
    let said = say.bind(place).bind(seconds).execute(&mut watcher).await;
    said.unwrap();
    (database, watcher)
}

/// Another process that migrates, as it waits at this place.
async fn at(place: i64, (database, watcher): (&Database, &mut PgConnection)) -> Child {
    let mut process = open_elsewhere(&database.url, None);
    while passed(watcher).await < place {
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "at {place}: {ended:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    process
}

async fn killed_at(place: i64, fresh: &[String]) {
    let (database, mut watcher) = waiting_at(place, 0.5).await;
    let mut process = at(place, (&database, &mut watcher)).await;
    process.kill().unwrap();
    process.wait().unwrap();
    // The server does not know it yet: the dead one's statements go on.
    let store = opened(&database).await;
    assert_eq!(schema(&store, Kind::Postgres).await, fresh, "at {place}");
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_start_that_is_killed_at_any_statement_is_resumed_by_the_next() {
    let (database, mut watcher) = waiting_at(0, 0.0).await;
    let fresh = schema(&database.open().await, Kind::Postgres).await;
    let places = passed(&mut watcher).await;
    assert!(places > 50, "{places}");
    // Most of the time is waiting.
    let quarter = async |first: i64| {
        for number in (first..).step_by(4) {
            match 1 + number * STRIDE {
                place if place <= places => Box::pin(killed_at(place, &fresh)).await,
                _ => return,
            }
        }
    };
    tokio::join!(quarter(0), quarter(1), quarter(2), quarter(3));
}

/// Longer than any statement of a call may take.
#[tokio::test]
async fn f4_a_migration_takes_as_long_as_its_tables_are_large() {
    let (database, _) = waiting_at(30, 5.5).await;
    database.open().await.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_who_starts_while_another_migrates_waits_for_it() {
    let (database, mut watcher) = waiting_at(30, 3.0).await;
    let mut process = at(30, (&database, &mut watcher)).await;
    opened(&database).await.ping().await.unwrap();
    assert!(process.wait().unwrap().success());
}
