//! What was acknowledged is there after a hard kill, and a full disk is a
//! refusal and no damage.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::eventually;
use e2e::postgres::Postgres;
use e2e::proxy::{Gateway, Settings, prompt};
use e2e::upstream::Upstream;
use e2e::world::{TestFolder, gateway_config, random_key};
use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const WRITERS: usize = 4;

/// A gateway on one of the two stores, with what must outlive it.
pub(super) struct Scene {
    // Ends before its database.
    pub(super) gateway: Gateway,
    _database: Option<Postgres>,
    pub(super) upstream: Upstream,
    _folder: TestFolder,
}

impl Scene {
    pub(super) async fn on_sqlite() -> Self {
        Self::start(TestFolder::new("sqlite"), None).await
    }

    pub(super) async fn on_postgres() -> Self {
        let folder = TestFolder::new("postgres");
        let database = Postgres::empty(&folder.path.join("postgres.log")).await;
        Self::start(folder, Some(database)).await
    }

    async fn start(folder: TestFolder, database: Option<Postgres>) -> Self {
        let upstream = Upstream::start().await;
        let mut config = gateway_config(&upstream, &random_key("provider"));
        if let Some(database) = &database {
            config["general_settings"] = json!({"database_url": database.url()});
        }
        let gateway = Gateway::start(Settings {
            folder: folder.sub("gateway"),
            master_key: random_key("master"),
            config,
        })
        .await;
        Self {
            gateway,
            _database: database,
            upstream,
            _folder: folder,
        }
    }
}

/// What the gateway has said yes to.
#[derive(Debug, Default)]
struct Acknowledged {
    made: Vec<String>,
    deleted: Vec<String>,
}

/// Makes keys, and deletes each third again, until nobody answers.
async fn write(
    admin: String,
    master_key: String,
    label: String,
    acknowledged: Arc<Mutex<Acknowledged>>,
) {
    let http = e2e::world::http();
    let post = async |path: &str, body: Value| {
        let url = format!("{admin}{path}");
        let request = http.post(url).bearer_auth(&master_key).json(&body);
        request.send().await.map(|answer| answer.status().as_u16())
    };
    for number in 0.. {
        let alias = format!("{label}-{number}");
        match post("/key/generate", json!({"key_alias": alias})).await {
            Ok(status) => assert_eq!(status, 200, "{alias}"),
            Err(_) => return,
        }
        if number % 3 != 2 {
            acknowledged.lock().expect("the list").made.push(alias);
            continue;
        }
        match post("/key/delete", json!({"key_aliases": [alias]})).await {
            Ok(status) => assert_eq!(status, 200, "{alias}"),
            Err(_) => return,
        }
        acknowledged.lock().expect("the list").deleted.push(alias);
    }
}

/// Kills the gateway while keys are made and deleted, and starts it again.
pub(super) async fn kill_rounds(scene: &mut Scene, rounds: usize) {
    let gateway = &mut scene.gateway;
    for round in 0..rounds {
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(
                gateway.admin.clone(),
                gateway.settings.master_key.clone(),
                format!("r{round}-w{writer}"),
                Arc::clone(&acknowledged),
            ));
        }
        // Another moment each time.
        let enough = 1 + round * 17 % 60;
        eventually("keys are made", Duration::from_secs(20), async || {
            acknowledged.lock().expect("the list").made.len() >= enough
        })
        .await;
        gateway.kill_hard();
        writers.join_all().await;
        gateway.start_again().await;
        let acknowledged = std::mem::take(&mut *acknowledged.lock().expect("the list"));
        for (aliases, expected) in [(&acknowledged.made, 1), (&acknowledged.deleted, 0)] {
            for alias in aliases {
                let path = format!("/key/list?key_alias={alias}");
                let (status, list) = gateway.admin(Method::GET, &path, &Value::Null).await;
                assert_eq!(
                    (status, &list["total_count"]),
                    (200, &json!(expected)),
                    "round {round}: {alias}"
                );
            }
        }
    }
    gateway.stop().await;
    gateway.verify_ledger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_nothing_acknowledged_is_missing_after_twenty_hard_kills() {
    kill_rounds(&mut Scene::on_sqlite().await, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_nothing_acknowledged_is_missing_after_hard_kills_on_postgres() {
    kill_rounds(&mut Scene::on_postgres().await, 20).await;
}

/// SIGXFSZ would end the process, where a full disk is an error of the write.
const IGNORE_SIGXFSZ: &str = "trap '' XFSZ; exec \"$@\"";

/// No file of the process may grow beyond this many bytes.
fn limit_files(gateway: &Gateway, bytes: Option<u64>) {
    let pid = i32::try_from(gateway.pid()).expect("a pid");
    let limit = Rlimit {
        current: bytes,
        maximum: getrlimit(Resource::Fsize).maximum,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, limit).expect("limiting the gateway's files");
}

/// The log is on the same full disk: its lines are lost, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_a_full_disk_refuses_and_recovers() {
    let mut scene = Scene::on_sqlite().await;
    let gateway = &mut scene.gateway;
    gateway.stop().await;
    gateway.script = Some(IGNORE_SIGXFSZ);
    gateway.start_again().await;
    let key = gateway.generate(json!({"max_budget": 100})).await;
    assert_eq!(gateway.chat(&key, "demo").await.0, 200);
    let before = gateway.spend(&key).await;

    limit_files(gateway, Some(0));
    for _ in 0..3 {
        let make = json!({"key_alias": "no-room"});
        let (status, answer) = gateway.admin(Method::POST, "/key/generate", &make).await;
        assert_eq!(status, 503, "{answer}");
        let (status, answer) = gateway.chat(&key, "demo").await;
        assert_eq!(status, 503, "{answer}");
        assert_eq!(answer["error"]["code"], "503", "{answer}");
    }
    assert_eq!(gateway.try_key(&key).await, 200, "reading goes on");
    eventually("it is not ready", Duration::from_secs(5), async || {
        let ready = gateway.get("/health/readiness", "").await;
        ready.expect("an answer").status() == 503
    })
    .await;

    limit_files(gateway, None);
    eventually("calls go on", Duration::from_secs(5), async || {
        let answer = gateway.send(&key, &prompt("demo")).await;
        answer.expect("an answer").status() == 200
    })
    .await;
    assert!(gateway.spend(&key).await > before);
    gateway.generate(json!({"key_alias": "no-room"})).await;
    gateway.stop().await;
    gateway.verify_ledger();
    assert!(
        !std::fs::read_to_string(gateway.log())
            .expect("the log")
            .contains("panicked")
    );
}
