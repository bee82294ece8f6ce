//! Three gateways on one PostgreSQL: what is changed at one is changed at all.

use std::time::{Duration, Instant};

use e2e::proxy::{Gateway, prompt};
use e2e::upstream::Script;
use e2e::world::random_key;
use e2e::{Fleet, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const ROUNDS: usize = 10;
/// Every gateway is asked so often while a key changes.
const PAUSE: Duration = Duration::from_millis(5);
/// With notifications.
const P99: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(1);
/// Without.
const DEAF_MAX: Duration = Duration::from_secs(5);

/// Asks until the key is refused, and then some: when that began.
async fn refused(gateway: &Gateway, key: &str) -> Instant {
    let mut since = None;
    let mut seen = 0;
    while seen < 5 {
        match gateway.try_key(key).await {
            200 => assert_eq!(since, None, "accepted after it was refused"),
            401 | 403 => {
                since.get_or_insert_with(Instant::now);
                seen += 1;
            }
            other => panic!("a key that is being ended was answered {other}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    since.expect("the first refusal")
}

/// How long after the answer to the change each other gateway still took the key.
async fn ended_after(fleet: &Fleet, path: &str, change: &Value) -> Vec<Duration> {
    let [first, second, third] = &fleet.gateways[..] else {
        panic!("not three gateways");
    };
    let key = first.generate(json!({"max_budget": 1.0})).await;
    for gateway in &fleet.gateways {
        assert_eq!(gateway.try_key(&key).await, 200);
    }
    let change = change.to_string().replace("KEY", &key);
    let change = serde_json::from_str(&change).expect("JSON");
    let end = async {
        let (status, answer) = first.admin(Method::POST, path, &change).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let at = Instant::now();
        assert_ne!(
            first.try_key(&key).await,
            200,
            "{path}: where it was changed"
        );
        at
    };
    let (second, third, at) = tokio::join!(refused(second, &key), refused(third, &key), end);
    [second, third]
        .map(|refused| refused.saturating_duration_since(at))
        .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_a_key_that_ends_is_refused_by_every_gateway() {
    let fleet = Fleet::start(3, json!({})).await;
    let mut spans = Vec::new();
    for _ in 0..ROUNDS {
        for (path, change) in [
            ("/key/delete", json!({"keys": ["KEY"]})),
            ("/key/block", json!({"key": "KEY"})),
            (
                "/key/update",
                json!({"key": "KEY", "allowed_cidrs": ["10.9.8.7"]}),
            ),
            ("/key/regenerate", json!({"key": "KEY"})),
        ] {
            spans.extend(ended_after(&fleet, path, &change).await);
        }
    }
    spans.sort();
    let p99 = spans[(spans.len() - 1) * 99 / 100];
    let max = spans[spans.len() - 1];
    assert!(p99 <= P99 && max <= MAX, "p99 {p99:?}, max {max:?}");

    let short = fleet.gateways[0].generate(json!({"duration": "1s"})).await;
    for gateway in &fleet.gateways {
        let expired = async || gateway.try_key(&short).await == 401;
        eventually("its expiry", Duration::from_secs(2), expired).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_without_notifications_it_is_refused_within_five_seconds() {
    let fleet = Fleet::start(3, json!({})).await;
    for wire in &fleet.wires[1..] {
        wire.cut_listeners();
    }
    for gateway in &fleet.gateways {
        let asks_again = async || gateway.try_key(&random_key("unknown")).await == 401;
        eventually("other connections", DEAF_MAX, asks_again).await;
    }
    let delete = json!({"keys": ["KEY"]});
    for _ in 0..ROUNDS {
        for span in ended_after(&fleet, "/key/delete", &delete).await {
            assert!(span <= DEAF_MAX, "{span:?}");
        }
    }
    for wire in &fleet.wires {
        wire.restore();
    }
    let hears_again = async || {
        let spans = ended_after(&fleet, "/key/delete", &delete).await;
        spans.iter().all(|span| *span <= P99)
    };
    eventually("notifications", Duration::from_secs(20), hears_again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c4_a_running_stream_ends_with_its_key_at_another_gateway() {
    let fleet = Fleet::start(2, json!({})).await;
    let [first, second] = &fleet.gateways[..] else {
        panic!("not two gateways");
    };
    // The provider of the second one says nothing more: no event wakes the stream.
    for (calls, interval) in [
        (1, Duration::from_millis(20)),
        (2, Duration::from_secs(600)),
    ] {
        let script = Script {
            completion_tokens: 2_000,
            interval,
            ..Script::default()
        };
        fleet.upstream.script("upstream-exact", script);
        cut_at_another(first, second).await;
        let settled = async || {
            let (_, rows) = first.admin(Method::GET, "/spend/logs", &Value::Null).await;
            let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
            let cost = |row: &Value| row["spend"].as_f64().unwrap_or_default();
            rows.len() == calls && rows.iter().all(|row| cost(row) > 0.0)
        };
        eventually("its settlement", Duration::from_secs(5), settled).await;
    }
}

/// Deletes a key at one gateway while the other streams to it.
async fn cut_at_another(first: &Gateway, second: &Gateway) {
    let key = first.generate(json!({"max_budget": 10.0})).await;
    let mut body = prompt("exact");
    body["stream"] = json!(true);
    body["max_tokens"] = json!(2_000);
    let mut answer = second.send(&key, &body).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.chunk().await.expect("a first event");
    let delete = json!({"keys": [key]});
    let (status, _) = first.admin(Method::POST, "/key/delete", &delete).await;
    assert_eq!(status, 200);
    let since = Instant::now();
    let mut rest = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        rest.extend(chunk);
    }
    assert!(
        since.elapsed() <= Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert!(!String::from_utf8_lossy(&rest).contains("[DONE]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c5_a_new_key_works_at_once_at_every_gateway() {
    let fleet = Fleet::start(3, json!({})).await;
    for number in 0..ROUNDS {
        let key = format!("sk-asked-for-before-it-is-there-{number:010}");
        for gateway in &fleet.gateways {
            assert_eq!(gateway.try_key(&key).await, 401);
        }
        fleet.gateways[0].generate(json!({"key": key})).await;
        for gateway in &fleet.gateways {
            assert_eq!(gateway.try_key(&key).await, 200);
        }
    }
}
