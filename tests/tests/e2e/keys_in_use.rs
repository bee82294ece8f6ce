//! Goal: what a key may do counts from the answer to its change on, whatever calls of
//! it are under way, and an older state of it never comes back.
//! Method: callers that make the gateway look the key up while it is changed again
//! and again, and a stream that is open meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::proxy::{Gateway, prompt};
use e2e::upstream::Script;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::durability::Scene;

const ROUNDS: usize = 20;
const CALLERS: usize = 4;

/// Calls that ask for the key until they are told that it is over.
fn hammer(gateway: &Gateway, key: &str, is_over: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (url, key) = (format!("{}/v1/models", gateway.data), key.to_owned());
        let is_over = Arc::clone(is_over);
        callers.spawn(async move {
            let http = e2e::world::http();
            while !is_over.load(Ordering::SeqCst) {
                let answer = http.get(&url).bearer_auth(&key).send().await;
                assert_eq!(answer.expect("an answer").status(), 200);
            }
        });
    }
    callers
}

async fn expect_models(gateway: &Gateway, key: &str, allowed: &str, denied: &str) {
    for (model, expected) in [(allowed, 200), (denied, 403)] {
        let (status, answer) = gateway.chat(key, model).await;
        assert_eq!(status, expected, "{model}: {answer}");
    }
}

async fn changes_count_at_once(scene: Scene) {
    let gateway = &scene.gateway;
    let slow = Script {
        completion_tokens: 60,
        interval: Duration::from_millis(50),
        ..Script::default()
    };
    scene.upstream.script("upstream-exact", slow);
    let key = gateway.generate(json!({"models": ["exact"]})).await;
    let mut body = prompt("exact");
    body["stream"] = json!(true);
    body["max_tokens"] = json!(100);
    let mut stream = gateway.send(&key, &body).await.expect("an answer");
    assert_eq!(stream.status(), 200);
    stream.chunk().await.expect("a first event");

    let is_over = Arc::new(AtomicBool::new(false));
    let callers = hammer(gateway, &key, &is_over);
    let mut models = ["demo", "scripted"];
    for _ in 0..ROUNDS {
        models.reverse();
        let change = json!({"key": key, "models": [models[0]]});
        let (status, answer) = gateway.admin(Method::POST, "/key/update", &change).await;
        assert_eq!(status, 200, "{answer}");
        expect_models(gateway, &key, models[0], models[1]).await;
    }
    is_over.store(true, Ordering::SeqCst);
    callers.join_all().await;
    while let Ok(Some(_)) = stream.chunk().await {}
    expect_models(gateway, &key, models[0], models[1]).await;
    expect_models(gateway, &key, models[0], "exact").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_a_change_counts_at_once_whatever_is_under_way_on_sqlite() {
    changes_count_at_once(Scene::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_a_change_counts_at_once_whatever_is_under_way_on_postgres() {
    changes_count_at_once(Scene::on_postgres().await).await;
}
