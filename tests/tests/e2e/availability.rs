//! The gateway while its surroundings fail, and while it is asked to stop.

use std::time::Duration;

use e2e::proxy::prompt;
use e2e::upstream::Script;
use e2e::vault::Storage;
use e2e::{Kind, World};
use serde_json::json;
use tokio::task::JoinSet;

on_both!(
    d6_gateway_serves_while_vault_is_sealed_or_gone,
    d7_graceful_stop_loses_no_charge
);

async fn d6_gateway_serves_while_vault_is_sealed_or_gone(kind: Kind) {
    let world = World::start_on(kind, Storage::Raft).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let lease = world.issue("app").await;
    let serves = async || {
        for _ in 0..20 {
            let (status, body) = world.gateway.chat(&lease.key, "demo").await;
            assert_eq!(status, 200, "{body}");
        }
    };
    serves().await;
    world.server.seal().await;
    serves().await;
    world.server.kill_hard();
    serves().await;
    world.expect_no_leaks();
}

async fn d7_graceful_stop_loses_no_charge(kind: Kind) {
    let mut world = World::start(kind).await;
    let tokens = 20;
    let script = Script {
        completion_tokens: tokens,
        interval: Duration::from_millis(100),
        ..Script::default()
    };
    world.upstream.script("upstream-exact", script);
    world
        .role(
            "app",
            json!({"models": "exact", "max_budget": 10, "ttl": "1h"}),
        )
        .await;
    let lease = world.issue("app").await;

    let mut body = prompt("exact");
    body["stream"] = json!(true);
    body["max_tokens"] = json!(50);
    let mut streams = JoinSet::new();
    for _ in 0..5 {
        let answer = world
            .gateway
            .send(&lease.key, &body)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        streams.spawn(async move { answer.text().await.expect("a whole stream") });
    }
    world.gateway.ask_to_stop();
    e2e::eventually(
        "no new work is accepted",
        Duration::from_secs(5),
        async || {
            let answer = world.gateway.send(&lease.key, &body).await;
            answer.map_or(true, |answer| answer.status() == 503)
        },
    )
    .await;
    // Streams that run are finished, to their last word.
    while let Some(text) = streams.join_next().await {
        let text = text.expect("a stream");
        assert!(
            text.contains("word19 ") && text.trim_end().ends_with("[DONE]"),
            "{text}"
        );
    }
    world.gateway.stop().await;
    world.gateway.start_again().await;
    let spend = world.gateway.spend(&lease.key).await;
    let counted = world.upstream.counted_tokens() as f64 * 0.001;
    assert!(
        (spend - counted).abs() < 1e-9,
        "recorded {spend}, the provider counted {counted}"
    );
    world.expect_no_leaks();
}
