//! A team on the real gateway: its budget binds all its keys exactly, its block
//! stops them, and neither is lost in a crash.

use std::sync::Arc;

use e2e::proxy::{Gateway, Settings, prompt};
use e2e::upstream::{Script, Upstream};
use e2e::world::{TestFolder, gateway_config, random_key};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const CALLERS: usize = 60;
/// The price of one output token of the model `exact`, whose input is free.
const TOKEN_USD: f64 = 0.001;

/// What came of that many calls at once, by the two keys in turn.
async fn rush(gateway: &Arc<Gateway>, keys: &[String; 2]) -> Vec<(u16, String)> {
    let barrier = Arc::new(Barrier::new(CALLERS));
    let mut calls = JoinSet::new();
    for key in keys.iter().cycle().take(CALLERS) {
        let (gateway, barrier, key) = (Arc::clone(gateway), Arc::clone(&barrier), key.clone());
        calls.spawn(async move {
            let mut body = prompt("exact");
            body["max_tokens"] = json!(10);
            barrier.wait().await;
            let answer = gateway.send(&key, &body).await.expect("an answer");
            let status = answer.status().as_u16();
            (status, answer.text().await.expect("a whole answer"))
        });
    }
    calls.join_all().await
}

async fn change(gateway: &Gateway, path: &str, body: Value) {
    let (status, answer) = gateway.admin(Method::POST, path, &body).await;
    assert_eq!(status, 200, "{path}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_teams_budget_binds_its_two_keys_exactly_and_its_block_stops_them() {
    let folder = TestFolder::new("teams");
    let upstream = Upstream::start().await;
    let script = Script {
        completion_tokens: 10,
        ..Script::default()
    };
    upstream.script("upstream-exact", script);
    let mut gateway = Gateway::start(Settings {
        folder: folder.sub("gateway"),
        master_key: random_key("master"),
        config: gateway_config(&upstream, &random_key("provider")),
    })
    .await;
    let team = json!({"team_id": "t", "max_budget": 100.0 * TOKEN_USD});
    change(&gateway, "/team/new", team).await;
    let keys = [
        gateway.generate(json!({"team_id": "t"})).await,
        gateway
            .generate(json!({"team_id": "t", "max_budget": 1000}))
            .await,
    ];
    let mut shared = Arc::new(gateway);
    for (budget, admitted) in [(100.0, 10), (120.0, 2)] {
        let body = json!({"team_id": "t", "max_budget": budget * TOKEN_USD});
        change(&shared, "/team/update", body).await;
        let answers = rush(&shared, &keys).await;
        let good = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(good, admitted, "of {budget} tokens");
        for (status, text) in answers.iter().filter(|(status, _)| *status != 200) {
            assert_eq!(*status, 422, "{text}");
            assert!(text.contains("Team=t "), "{text}");
        }
    }
    change(&shared, "/team/block", json!({"team_id": "t"})).await;
    let gateway_again = Arc::get_mut(&mut shared).expect("no call runs");
    gateway_again.kill_hard();
    gateway_again.start_again().await;
    for key in &keys {
        assert_eq!(shared.try_key(key).await, 401, "blocked through a crash");
    }
    change(&shared, "/team/unblock", json!({"team_id": "t"})).await;
    for (status, text) in rush(&shared, &keys).await {
        assert_eq!(status, 422, "spent through a crash: {text}");
    }
    assert_eq!(upstream.seen().len(), 12);
    gateway = Arc::into_inner(shared).expect("no call runs");
    gateway.stop().await;
    gateway.verify_ledger();
}
