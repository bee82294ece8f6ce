//! Budgets under concurrency and after a crash. Vault has no part in it, so the
//! keys come from the admin API.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use e2e::proxy::{Gateway, Settings, prompt};
use e2e::upstream::{Script, Upstream};
use e2e::world::{TestFolder, gateway_config, random_key};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const ROUNDS: usize = 20;
const CALLERS: usize = 200;
/// The price of one output token of the model `exact`, whose input is free.
const TOKEN_USD: f64 = 0.001;

struct Scene {
    gateway: Arc<Gateway>,
    upstream: Upstream,
    folder: TestFolder,
}

impl Scene {
    async fn new(script: Script) -> Self {
        let folder = TestFolder::new("gateway");
        let upstream = Upstream::start().await;
        upstream.script("upstream-exact", script);
        let gateway = Gateway::start(Settings {
            folder: folder.sub("gateway"),
            master_key: random_key("master"),
            config: gateway_config(&upstream, &random_key("provider")),
        })
        .await;
        Self {
            gateway: Arc::new(gateway),
            upstream,
            folder,
        }
    }

    fn gateway_mut(&mut self) -> &mut Gateway {
        Arc::get_mut(&mut self.gateway).expect("no call runs")
    }

    /// The statuses of `CALLERS` calls that begin at once.
    async fn stampede(&self, key: &str, body: &Value) -> Vec<u16> {
        let barrier = Arc::new(Barrier::new(CALLERS));
        let mut calls = JoinSet::new();
        for _ in 0..CALLERS {
            let (gateway, barrier) = (Arc::clone(&self.gateway), Arc::clone(&barrier));
            let (key, body) = (key.to_owned(), body.clone());
            calls.spawn(async move {
                barrier.wait().await;
                let answer = gateway.send(&key, &body).await.expect("an answer");
                let status = answer.status().as_u16();
                answer.bytes().await.expect("a whole answer");
                status
            });
        }
        calls.join_all().await
    }
}

fn call_of(max_tokens: u64) -> Value {
    let mut body = prompt("exact");
    body["max_tokens"] = json!(max_tokens);
    body
}

fn admitted(statuses: &[u16]) -> usize {
    assert!(
        statuses.iter().all(|status| [200, 422].contains(status)),
        "{statuses:?}"
    );
    statuses.iter().filter(|status| **status == 200).count()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_budget_of_ten_calls_admits_exactly_ten_of_two_hundred_at_once() {
    let mut scene = Scene::new(Script {
        completion_tokens: 10,
        ..Script::default()
    })
    .await;
    for round in 0..ROUNDS {
        let key = scene
            .gateway
            .generate(json!({"max_budget": 10.0 * 10.0 * TOKEN_USD}))
            .await;
        let statuses = scene.stampede(&key, &call_of(10)).await;
        assert_eq!(admitted(&statuses), 10, "round {round}");
        let spend = scene.gateway.spend(&key).await;
        assert!(close(spend, 100.0 * TOKEN_USD), "round {round}: {spend}");
    }
    assert_eq!(
        scene.upstream.seen().len(),
        10 * ROUNDS,
        "what is refused is not sent"
    );
    scene.gateway_mut().stop().await;
    scene.gateway.verify_ledger();
}

/// What a call really costs is a third of what is held for it, so that more fit
/// in than can be held at once; but never more than the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_real_cost_of_a_third_of_the_hold_never_overspends() {
    let script = Script {
        completion_tokens: 3,
        delay: Duration::from_millis(5),
        ..Script::default()
    };
    let mut scene = Scene::new(script).await;
    let budget = 30.0 * TOKEN_USD;
    for round in 0..ROUNDS {
        let key = scene.gateway.generate(json!({"max_budget": budget})).await;
        let admitted = admitted(&scene.stampede(&key, &call_of(9)).await);
        // Three holds of nine fit at once; ten calls of three spend it all.
        assert!((3..=10).contains(&admitted), "round {round}: {admitted}");
        let spend = scene.gateway.spend(&key).await;
        assert!(
            close(spend, admitted as f64 * 3.0 * TOKEN_USD),
            "round {round}: {spend} for {admitted}"
        );
        assert!(spend <= budget + 1e-9, "round {round}: {spend}");
    }
    scene.gateway_mut().stop().await;
    scene.gateway.verify_ledger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_spend_survives_a_hard_kill_in_the_middle_of_streams() {
    kill_rounds(5).await;
}

pub(super) async fn kill_rounds(rounds: u64) {
    let script = Script {
        completion_tokens: 40,
        interval: Duration::from_millis(25),
        ..Script::default()
    };
    let mut scene = Scene::new(script).await;
    let key = scene.gateway.generate(json!({"max_budget": 1000})).await;
    let mut body = call_of(60);
    body["stream"] = json!(true);
    let hold = 60.0 * TOKEN_USD;
    let open = 6;
    for round in 0..rounds {
        let so_far = scene.upstream.counted_tokens();
        let mut streams = JoinSet::new();
        for _ in 0..open {
            let answer = scene.gateway.send(&key, &body).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            // Ends with an error when the gateway dies.
            streams.spawn(async move { answer.bytes().await.map(|bytes| bytes.len()) });
        }
        // Another moment each time; the last kill comes when some have settled.
        e2e::eventually(
            "the streams have come some way",
            Duration::from_secs(20),
            async || scene.upstream.counted_tokens() >= so_far + 1 + round * 58 % 240,
        )
        .await;
        let settled = scene.gateway.spend(&key).await;
        scene.gateway_mut().kill_hard();
        while streams.join_next().await.is_some() {}
        scene.gateway_mut().start_again().await;

        let recorded = scene.gateway.spend(&key).await;
        let counted = scene.upstream.counted_tokens() as f64 * TOKEN_USD;
        assert!(
            recorded + 1e-9 >= counted,
            "round {round}: recorded {recorded}, counted {counted}"
        );
        let most = settled + f64::from(open) * hold;
        assert!(
            recorded <= most + 1e-9,
            "round {round}: recorded {recorded}, at most {most}"
        );
    }
    scene.gateway_mut().stop().await;
    scene.gateway.verify_ledger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_process_on_the_same_store_is_refused() {
    let scene = Scene::new(Script::default()).await;
    let key = scene.gateway.generate(json!({})).await;
    let mut second: Command = scene.gateway.subcommand(&["serve"]);
    let output = second
        .env(
            "LLM_PROXY_LISTEN",
            format!("127.0.0.1:{}", e2e::ports::free()),
        )
        .env(
            "LLM_PROXY_ADMIN_LISTEN",
            format!("127.0.0.1:{}", e2e::ports::free()),
        )
        .output()
        .expect("running a second gateway");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("llm-proxy.db"), "it names the file: {text}");
    assert_eq!(
        scene.gateway.try_key(&key).await,
        200,
        "the first serves on"
    );
    assert!(scene.folder.path.exists());
}
