//! Budgets that many keys draw on together, on the real gateway: exact under
//! concurrency, never below what was spent after a crash, and not reset by
//! issuing again.

use std::sync::Arc;
use std::time::Duration;

use e2e::proxy::{Gateway, Settings, prompt};
use e2e::upstream::{Script, Upstream};
use e2e::world::{TestFolder, gateway_config, random_key};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const ROUNDS: usize = 20;
const CALLERS: usize = 200;
const KEYS: usize = 10;
/// The price of one output token of the model `exact`, whose input is free.
const TOKEN_USD: f64 = 0.001;

struct Scene {
    gateway: Arc<Gateway>,
    upstream: Upstream,
    _folder: TestFolder,
}

impl Scene {
    async fn new(script: Script) -> Self {
        let folder = TestFolder::new("shared");
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
            _folder: folder,
        }
    }

    fn gateway_mut(&mut self) -> &mut Gateway {
        Arc::get_mut(&mut self.gateway).expect("no call runs")
    }

    async fn keys(&self, count: usize, budgets: &Value) -> Vec<String> {
        let mut keys = Vec::new();
        for _ in 0..count {
            let fields = json!({"shared_budgets": budgets});
            keys.push(self.gateway.generate(fields).await);
        }
        keys
    }

    /// What the gateway says was spent of each shared budget of a key, in USD.
    async fn spend(&self, key: &str) -> Vec<f64> {
        let path = format!("/key/info?key={key}");
        let (status, answer) = self.gateway.admin(Method::GET, &path, &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        let budgets = answer["info"]["shared_budgets"].as_array().expect("a list");
        let spend = budgets.iter().map(|one| one["spend"].as_f64());
        spend.map(|spend| spend.expect("a number")).collect()
    }
}

fn call_of(max_tokens: u64) -> Value {
    let mut body = prompt("exact");
    body["max_tokens"] = json!(max_tokens);
    body
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_ten_keys_that_share_a_budget_of_ten_calls_admit_exactly_ten() {
    let mut scene = Scene::new(Script {
        completion_tokens: 10,
        ..Script::default()
    })
    .await;
    for round in 0..ROUNDS {
        let budgets = json!([
            {"scope": "role", "id": format!("m/{round}"), "max_budget": 100.0 * TOKEN_USD},
            {"scope": "entity", "id": format!("m/e{round}"), "max_budget": 1000},
        ]);
        let keys = scene.keys(KEYS, &budgets).await;
        let barrier = Arc::new(Barrier::new(CALLERS));
        let mut calls = JoinSet::new();
        for key in keys.iter().cycle().take(CALLERS) {
            let (gateway, barrier) = (Arc::clone(&scene.gateway), Arc::clone(&barrier));
            let key = key.clone();
            calls.spawn(async move {
                barrier.wait().await;
                let answer = gateway.send(&key, &call_of(10)).await.expect("an answer");
                (
                    answer.status().as_u16(),
                    answer.text().await.expect("a whole answer"),
                )
            });
        }
        let answers = calls.join_all().await;
        let admitted = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(admitted, 10, "round {round}");
        for (status, text) in answers.iter().filter(|(status, _)| *status != 200) {
            assert_eq!(*status, 422, "round {round}: {text}");
            assert!(text.contains(&format!("Role=m/{round} ")), "{text}");
        }
        for spend in scene.spend(&keys[0]).await {
            assert!(close(spend, 100.0 * TOKEN_USD), "round {round}: {spend}");
        }
    }
    assert_eq!(scene.upstream.seen().len(), 10 * ROUNDS);
    scene.gateway_mut().stop().await;
    scene.gateway.verify_ledger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_each_account_keeps_what_was_spent_through_a_hard_kill() {
    let mut scene = Scene::new(Script {
        completion_tokens: 40,
        interval: Duration::from_millis(25),
        ..Script::default()
    })
    .await;
    let budgets = json!([
        {"scope": "role", "id": "m/app", "max_budget": 1000},
        {"scope": "entity", "id": "m/e", "max_budget": 1000},
    ]);
    let keys = scene.keys(3, &budgets).await;
    let mut body = call_of(60);
    body["stream"] = json!(true);
    for round in 0..4_u64 {
        let so_far = scene.upstream.counted_tokens();
        let mut streams = JoinSet::new();
        for key in keys.iter().cycle().take(6) {
            let answer = scene.gateway.send(key, &body).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            // Ends with an error when the gateway dies.
            streams.spawn(async move { answer.bytes().await.map(|bytes| bytes.len()) });
        }
        e2e::eventually(
            "the streams have come some way",
            Duration::from_secs(20),
            async || scene.upstream.counted_tokens() >= so_far + 1 + round * 75,
        )
        .await;
        let settled = scene.spend(&keys[0]).await;
        scene.gateway_mut().kill_hard();
        while streams.join_next().await.is_some() {}
        scene.gateway_mut().start_again().await;

        let counted = scene.upstream.counted_tokens() as f64 * TOKEN_USD;
        let mut own = 0.0;
        for key in &keys {
            own += scene.gateway.spend(key).await;
        }
        let shared = scene.spend(&keys[0]).await;
        assert_eq!(shared.len(), 2);
        for (recorded, settled) in [own, shared[0], shared[1]].iter().zip([settled[0]; 3]) {
            assert!(
                recorded + 1e-9 >= counted,
                "round {round}: recorded {recorded}, counted {counted}"
            );
            let most = settled + 6.0 * 60.0 * TOKEN_USD;
            assert!(
                *recorded <= most + 1e-9,
                "round {round}: {recorded} of {most}"
            );
        }
    }
    scene.gateway_mut().stop().await;
    scene.gateway.verify_ledger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuing_again_and_restarting_reset_nothing() {
    let mut scene = Scene::new(Script {
        completion_tokens: 10,
        ..Script::default()
    })
    .await;
    let budgets = json!([{"scope": "role", "id": "m/app", "max_budget": 30.0 * TOKEN_USD}]);
    let mut statuses = Vec::new();
    for at in 0..5 {
        let key = scene.keys(1, &budgets).await.remove(0);
        let answer = scene
            .gateway
            .send(&key, &call_of(10))
            .await
            .expect("an answer");
        statuses.push(answer.status().as_u16());
        answer.bytes().await.expect("a whole answer");
        let delete = json!({"keys": [key]});
        let (deleted, _) = scene
            .gateway
            .admin(Method::POST, "/key/delete", &delete)
            .await;
        assert_eq!(deleted, 200);
        if at == 1 {
            scene.gateway_mut().stop().await;
            scene.gateway_mut().start_again().await;
        }
    }
    assert_eq!(statuses, [200, 200, 200, 422, 422]);
    scene.gateway_mut().stop().await;
    scene.gateway.verify_ledger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_window_refuses_until_it_ends_and_the_next_one_admits() {
    let mut scene = Scene::new(Script {
        completion_tokens: 10,
        ..Script::default()
    })
    .await;
    let budgets = json!([{
        "scope": "role", "id": "m/app", "max_budget": 10.0 * TOKEN_USD, "budget_duration": "5s",
    }]);
    let keys = scene.keys(2, &budgets).await;
    for round in 0..2 {
        // A window that ends between two calls admits both: then another one.
        let mut refused = String::new();
        e2e::eventually(
            "a window is exhausted",
            Duration::from_secs(20),
            async || {
                let answer = scene.gateway.send(&keys[0], &call_of(10)).await;
                let answer = answer.expect("an answer");
                let status = answer.status().as_u16();
                refused = answer.text().await.expect("a whole answer");
                assert!([200, 422].contains(&status), "round {round}: {refused}");
                status == 422
            },
        )
        .await;
        assert!(refused.contains("Role=m/app "), "{refused}");
        assert!(
            refused.contains("; the budget counts from zero again at 20"),
            "{refused}"
        );
        e2e::eventually(
            "the next window admits",
            Duration::from_secs(20),
            async || {
                let answer = scene.gateway.send(&keys[1], &call_of(10)).await;
                let answer = answer.expect("an answer");
                let is_admitted = answer.status() == 200;
                answer.bytes().await.expect("a whole answer");
                is_admitted
            },
        )
        .await;
    }
    let calls = scene.upstream.seen().len() as f64;
    let mut own = 0.0;
    for key in &keys {
        own += scene.gateway.spend(key).await;
    }
    assert!(close(own, calls * 10.0 * TOKEN_USD), "{own} of {calls}");
    let of_the_window = scene.spend(&keys[0]).await[0];
    assert!(of_the_window <= 10.0 * TOKEN_USD + 1e-9, "{of_the_window}");
    scene.gateway_mut().stop().await;
    scene.gateway.verify_ledger();
}
