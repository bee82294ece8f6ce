//! Goal: an I/O error of the store, whichever it is, is a clean refusal: 503 and
//! nothing else, no spend lost or counted twice, nothing allotted for ever.
//! Method: the life of a key, again and again, each time with the next error. On
//! PostgreSQL the connection breaks at the n-th thing that is sent, before it
//! arrives or before its answer does; on SQLite the n-th new page has no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::testing::{Database, KIND, Kind, on_both};
use crate::app::testing::{Gateway, MASTER};
use crate::store::ledger::verify::verify;

on_both![f3_any_io_error_is_a_clean_refusal,];

/// Gateways that are tried at once.
const WIRES: usize = 12;

/// Between a gateway and its PostgreSQL.
#[derive(Clone, Default)]
struct Wire(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// So many messages pass; then one connection breaks. Below nothing: none.
    passing: AtomicI64,
    /// The server still hears the last one.
    answer_is_lost: AtomicBool,
}

impl Wire {
    fn cut_after(&self, passing: i64, answer_is_lost: bool) {
        self.0
            .answer_is_lost
            .store(answer_is_lost, Ordering::SeqCst);
        self.0.passing.store(passing, Ordering::SeqCst);
    }

    /// Whether it has cut since; it cuts no more.
    fn heal(&self) -> bool {
        self.0.passing.swap(-1, Ordering::SeqCst) < 0
    }

    fn is_cut_now(&self) -> bool {
        let one_less = |passing| (passing >= 0).then_some(passing - 1);
        let all = Ordering::SeqCst;
        self.0.passing.fetch_update(all, all, one_less) == Ok(0)
    }

    /// The same database, by way of this.
    #[expect(clippy::disallowed_methods, reason = "it ends with its test")]
    async fn before(&self, mut database: Database) -> Database {
        self.heal();
        let mut url = url::Url::parse(&database.url).unwrap();
        let server = ("127.0.0.1", url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port()))
            .unwrap();
        database.url = url.to_string();
        let wire = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                let wire = wire.clone();
                tokio::spawn(async move { wire.pass(client, server).await });
            }
        });
        database
    }

    /// Until one of them hangs up, or it is cut.
    async fn pass(&self, mut client: TcpStream, mut server: TcpStream) {
        let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                Ok(count @ 1..) = client.read(&mut asked) => {
                    let is_cut = self.is_cut_now();
                    if is_cut && !self.0.answer_is_lost.load(Ordering::SeqCst) {
                        return;
                    }
                    if server.write_all(&asked[..count]).await.is_err() {
                        return;
                    }
                    if is_cut {
                        let _answer = server.read(&mut answered).await;
                        return;
                    }
                }
                Ok(count @ 1..) = server.read(&mut answered) => {
                    if client.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                }
                else => return,
            }
        }
    }
}

struct Scene {
    gateway: Gateway,
    wire: Wire,
    /// A key that no fault is meant for.
    steady: String,
    calls: i64,
}

impl Scene {
    async fn new() -> Self {
        let wire = Wire::default();
        let mut database = Database::new().await;
        if database.kind == Kind::Postgres {
            database = wire.before(database).await;
        }
        let gateway = Gateway::start_on(database).await;
        let made = gateway
            .post("/key/generate", &json!({"max_budget": 100}))
            .await;
        let steady = made.body["key"].as_str().unwrap().to_owned();
        Self {
            gateway,
            wire,
            steady,
            calls: 0,
        }
    }

    /// True where it was done, false where it was refused as it must be.
    async fn post(&self, path: &str, body: Value) -> Option<Value> {
        self.expect_clean(self.gateway.post(path, &body).await, path)
    }

    fn expect_clean(&self, answer: crate::app::testing::Answer, what: &str) -> Option<Value> {
        let status = answer.status.as_u16();
        assert!(
            [200, 503].contains(&status),
            "{what}: {status} {}",
            answer.body
        );
        (status == 200).then_some(answer.body)
    }

    async fn call(&mut self, key: &str) -> bool {
        let body = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
        let answer = self
            .gateway
            .data_post(key, "/v1/chat/completions", &body)
            .await;
        let done = self.expect_clean(answer, "a call").is_some();
        self.calls += i64::from(done);
        done
    }

    /// The life of a key, as far as it gets.
    async fn life(&mut self) -> Option<()> {
        let team =
            json!([{"scope": "team", "id": "t", "max_budget": 500, "budget_duration": "1d"}]);
        let fields = json!({"max_budget": 5, "shared_budgets": team});
        let made = self.post("/key/generate", fields).await?;
        let key = made["key"].as_str().unwrap().to_owned();
        self.call(&key).await;
        self.post("/key/update", json!({"key": key, "max_budget": 6}))
            .await?;
        self.call(&key).await;
        let found = self.gateway.data_get(&key, "/v1/budget").await;
        self.expect_clean(found, "/v1/budget");
        self.post("/key/block", json!({"key": key})).await?;
        let found = self.gateway.admin_get(MASTER, "/spend/logs").await;
        self.expect_clean(found, "/spend/logs");
        self.post("/key/delete", json!({"keys": [key]})).await?;
        Some(())
    }

    /// The error has passed: calls are served again, and soon.
    async fn recover(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let steady = self.steady.clone();
        while !self.call(&steady).await {
            assert!(Instant::now() < deadline, "it does not recover");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn expect_exact_books(&self) {
        let store = &self.gateway.state.store;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.gateway.state.ledger.drain().await;
            let count = "SELECT COUNT(*) FROM usage";
            let rows: i64 = sqlx::query_scalar(count)
                .fetch_one(store.reader())
                .await
                .unwrap();
            let found = verify(store).await.unwrap();
            assert_eq!(found.differences, vec![]);
            if (rows, found.allotted_nanousd) == (self.calls, 0) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{rows} rows of {} calls, {found:?}",
                self.calls
            );
        }
    }
}

async fn f3_any_io_error_is_a_clean_refusal() {
    match KIND.get() {
        Kind::Sqlite => {
            let mut scene = Scene::new().await;
            fill_the_file(&mut scene).await;
            scene.expect_exact_books().await;
        }
        Kind::Postgres => {
            // At the same time, because most of it is waiting.
            let mut wires = JoinSet::new();
            for first in 0..WIRES {
                wires.spawn(KIND.scope(Kind::Postgres, break_the_wire(first)));
            }
            let errors = wires.join_all().await.into_iter().sum::<usize>();
            assert!(errors > 60, "only {errors} errors");
        }
    }
}

/// All of them together break it at each place.
async fn break_the_wire(first: usize) -> usize {
    let first = i64::try_from(first).unwrap();
    let mut scene = Box::pin(Scene::new()).await;
    let mut errors = 0;
    for passing in (first..).step_by(WIRES) {
        let mut was_cut = false;
        for answer_is_lost in [false, true] {
            scene.wire.cut_after(passing, answer_is_lost);
            let _refused = scene.life().await;
            let is_cut = scene.wire.heal();
            errors += usize::from(is_cut);
            was_cut |= is_cut;
            scene.recover().await;
        }
        if !was_cut {
            break;
        }
    }
    scene.expect_exact_books().await;
    errors
}

async fn fill_the_file(scene: &mut Scene) {
    let writer = scene.gateway.state.store.writer.clone();
    let mut errors = 0;
    for room in 0..40 {
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&writer)
            .await
            .unwrap();
        for most in [pages + room % 8, 1 << 30] {
            let limit = format!("PRAGMA max_page_count = {most}");
            sqlx::query(sqlx::AssertSqlSafe(limit))
                .execute(&writer)
                .await
                .unwrap();
            if most < 1 << 30 {
                errors += usize::from(scene.life().await.is_none());
            }
        }
        scene.recover().await;
    }
    assert!(errors > 3, "only {errors} errors");
}

/// What a server says to every statement that writes to these, once its disk is full.
const NO_ROOM: &str = "
CREATE FUNCTION no_room() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full';
END $$";
const FULL_TABLES: [&str; 3] = ["account", "keys", "usage"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f2_a_server_whose_disk_is_full_refuses_and_recovers() {
    let mut scene = Box::pin(KIND.scope(Kind::Postgres, Scene::new())).await;
    let writer = scene.gateway.state.store.writer.clone();
    let steady = scene.steady.clone();
    assert!(scene.call(&steady).await);
    let execute = async |statement| {
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        statement.execute(&writer).await.unwrap();
    };
    // One by one: a table is locked for it, and the gateway may lock them in
    // another order.
    execute(NO_ROOM.to_owned()).await;
    for table in FULL_TABLES {
        execute(format!(
            "CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION no_room()"
        ))
        .await;
    }
    for _ in 0..3 {
        assert_eq!(scene.post("/key/generate", json!({})).await, None);
        assert!(!scene.call(&steady).await);
    }
    let read = scene.gateway.try_key(&steady).await;
    assert_eq!(read.status, 200, "reading goes on");
    for table in FULL_TABLES {
        execute(format!("DROP TRIGGER no_room ON {table}")).await;
    }
    scene.recover().await;
    scene.expect_exact_books().await;
}
