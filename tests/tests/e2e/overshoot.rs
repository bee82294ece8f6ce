//! Goal: where calls cost more than was held for them, a budget is gone over by that
//! surplus of the calls under way and no more, all of it is posted, and the next
//! call is refused.
//! Method: a provider that counts three times the tokens that it was allowed to
//! write, and takes its time, so that all calls are decided before one has ended.

use std::time::Duration;

use e2e::eventually;
use e2e::proxy::{Gateway, prompt};
use e2e::upstream::Script;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::durability::Scene;

const CALLERS: usize = 40;
/// Of each call, at a thousandth of a dollar a token.
const HELD_TOKENS: u64 = 10;
const COUNTED_TOKENS: u64 = 3 * HELD_TOKENS;
/// Room for the holds of ten calls.
const BUDGET_TOKENS: u64 = 10 * HELD_TOKENS;

fn call(streamed: bool) -> Value {
    let mut body = prompt("exact");
    body["max_tokens"] = json!(HELD_TOKENS);
    body["stream"] = json!(streamed);
    body
}

/// How many of so many calls that begin at once are admitted; the others are
/// refused for lack of budget.
async fn admitted(gateway: &Gateway, key: &str, body: &Value, calls: usize) -> u64 {
    let http = e2e::world::http();
    let url = format!("{}/v1/chat/completions", gateway.data);
    let mut all = JoinSet::new();
    for _ in 0..calls {
        let request = http.post(&url).bearer_auth(key).json(body);
        all.spawn(async move {
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("a whole answer");
            assert!([200, 422].contains(&status), "{status}: {text}");
            u64::from(status == 200)
        });
    }
    all.join_all().await.into_iter().sum()
}

async fn expect_spend(gateway: &Gateway, key: &str, tokens: u64) {
    let what = format!("{tokens} tokens are posted");
    eventually(&what, Duration::from_secs(10), async || {
        (gateway.spend(key).await * 1_000.0 - tokens as f64).abs() < 1e-6
    })
    .await;
}

async fn overshoot(mut scene: Scene) {
    let gateway = &mut scene.gateway;
    let budget = json!({"max_budget": BUDGET_TOKENS as f64 / 1_000.0});
    let mut keys = Vec::new();
    for streamed in [false, true] {
        let mut script = Script {
            completion_tokens: COUNTED_TOKENS,
            delay: Duration::from_secs(3),
            ..Script::default()
        };
        scene.upstream.script("upstream-exact", script.clone());
        let (key, body) = (gateway.generate(budget.clone()).await, call(streamed));
        let at_once = admitted(gateway, &key, &body, CALLERS).await;
        assert_eq!(at_once, 10, "as many as were held for fit");
        // All ten were under way: the bound is reached, and not passed.
        let surplus = at_once * (COUNTED_TOKENS - HELD_TOKENS);
        expect_spend(gateway, &key, BUDGET_TOKENS + surplus).await;
        assert_eq!(admitted(gateway, &key, &body, 1).await, 0, "the next call");
        keys.push((key, BUDGET_TOKENS + surplus));

        // One call at a time: the surplus of one.
        script.delay = Duration::ZERO;
        scene.upstream.script("upstream-exact", script);
        let key = gateway.generate(budget.clone()).await;
        let mut calls = 0;
        while admitted(gateway, &key, &body, 1).await == 1 {
            calls += 1;
        }
        assert_eq!(calls, 4, "0, 30, 60 and 90 of 100 leave room for ten");
        expect_spend(gateway, &key, calls * COUNTED_TOKENS).await;
        keys.push((key, calls * COUNTED_TOKENS));
    }
    gateway.stop().await;
    gateway.verify_ledger();
    gateway.start_again().await;
    for (key, spent) in keys {
        assert_eq!(admitted(gateway, &key, &call(false), 1).await, 0);
        expect_spend(gateway, &key, spent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_a_provider_that_counts_more_than_was_held_overshoots_once_on_sqlite() {
    overshoot(Scene::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_a_provider_that_counts_more_than_was_held_overshoots_once_on_postgres() {
    overshoot(Scene::on_postgres().await).await;
}
