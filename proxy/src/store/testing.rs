//! A fresh database for each test, on the store that the test was started on:
//! [`on_both!`] makes two tests of each function, one on an SQLite file and one
//! on a real PostgreSQL. One server serves all tests of a process and ends with
//! it, however it ends.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::Store;

/// Which store a test runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

tokio::task_local! {
    /// SQLite outside of any scope.
    pub(crate) static KIND: Kind;
}

/// Makes two tests of each function, which takes nothing and is named alone.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        on_both!(sqlite Sqlite $($name)+);
        on_both!(postgres Postgres $($name)+);
    };
    ($module:ident $kind:ident $($name:ident)+) => {
        mod $module {
            use crate::store::testing::{KIND, Kind};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                Box::pin(KIND.scope(Kind::$kind, super::$name())).await;
            })+
        }
    };
}
pub(crate) use on_both;

/// An empty database of one test. SQLite's is gone with this.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) folder: tempfile::TempDir,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let kind = KIND.try_with(|kind| *kind).unwrap_or(Kind::Sqlite);
        let folder = tempfile::tempdir().unwrap();
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}", folder.path().join("test.db").display()),
            Kind::Postgres => new_postgres().await,
        };
        Self { kind, url, folder }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }
}

async fn new_postgres() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = tokio::task::spawn_blocking(|| Server::of_this_process().port);
    let server = format!("postgres://postgres@127.0.0.1:{}", server.await.unwrap());
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&format!("{server}/postgres"))
        .await
        .unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    admin.execute(create).await.unwrap();
    admin.close().await.unwrap();
    format!("{server}/{name}")
}

/// The one PostgreSQL of this process.
struct Server {
    port: u16,
    /// Its standard input tells the script below that this process has ended.
    _script: Child,
}

/// Serves an empty cluster until its standard input ends, and leaves nothing.
/// PostgreSQL refuses to run as root.
const SCRIPT: &str = r#"
set -eu
folder=$(mktemp -d -t llm-proxy-test.XXXXXX)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
as=
if [ "$(id -u)" = 0 ]; then
  chown postgres "$folder"
  as='setpriv --reuid=postgres --regid=postgres --clear-groups'
fi
$as "$1/initdb" --pgdata=data --username=postgres --auth=trust --no-sync >&2
$as "$1/postgres" -D data -p "$2" -h 127.0.0.1 -k "$folder" -c fsync=off -c max_connections=300 >log 2>&1 &
server=$!
until grep -q 'ready to accept connections' log; do
  kill -0 $server || { cat log >&2; exit 1; }
  sleep 0.05
done
echo ready
cat >/dev/null
kill -QUIT $server
wait $server || true
"#;

impl Server {
    /// Asked for once: where it does not start, every test says so at once.
    fn of_this_process() -> &'static Self {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        match SERVER.get_or_init(|| Self::start(&binaries()?)) {
            Ok(server) => server,
            Err(error) => panic!(
                "this test needs PostgreSQL: install it, or set E2E_POSTGRES to the folder that holds a working initdb and postgres\n{error}"
            ),
        }
    }

    fn start(binaries: &Path) -> Result<Self, String> {
        let port = free_port();
        let errors = tempfile::NamedTempFile::new().unwrap();
        let mut script = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(binaries)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut answer = String::new();
        let mut output = BufReader::new(script.stdout.take().unwrap());
        output.read_line(&mut answer).unwrap();
        if answer != "ready\n" {
            script.wait().unwrap();
            return Err(std::fs::read_to_string(errors.path()).unwrap());
        }
        Ok(Self {
            port,
            _script: script,
        })
    }
}

/// Free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The folder that holds initdb and postgres.
fn binaries() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("E2E_POSTGRES") {
        return Ok(PathBuf::from(given));
    }
    let obtain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/servers.sh");
    let found = Command::new(obtain).arg("postgres").output().unwrap();
    if !found.status.success() {
        return Err(String::from_utf8_lossy(&found.stderr).into_owned());
    }
    let path = String::from_utf8(found.stdout).unwrap();
    Ok(PathBuf::from(path.trim()))
}
