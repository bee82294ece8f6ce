//! A PostgreSQL that is away, comes back, is not there yet, or is slow. Never the
//! caller's fault: who cannot be served is told 503, and when to come again.

use std::time::{Duration, Instant};

use e2e::eventually::throughout;
use e2e::proxy::{Gateway, prompt};
use e2e::world::random_key;
use e2e::{Fleet, eventually};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What a call of the model `exact` costs: four output tokens.
const CALL_USD: f64 = 0.004;
/// How long the store can be away before it is noticed without a call.
const MAX_UNNOTICED: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(5);

fn call() -> Value {
    let mut body = prompt("exact");
    body["max_tokens"] = json!(4);
    body
}

/// OpenAI's shape of an error, 503, and when to come again.
async fn expect_unavailable(answer: Response) {
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let body: Value = answer.json().await.expect("JSON");
    assert!(body["error"]["message"].is_string(), "{body}");
    assert_eq!(body["error"]["code"], "503", "{body}");
}

async fn models(gateway: &Gateway, key: &str) -> Response {
    let answer = gateway.get("/v1/models", key).await;
    answer.expect("an answer of the gateway")
}

async fn readiness(gateway: &Gateway) -> u16 {
    let answer = gateway.get("/health/readiness", "").await;
    answer.expect("an answer of the gateway").status().as_u16()
}

/// Calls until one is not admitted: how many were.
async fn spend_all(gateway: &Gateway, key: &str) -> usize {
    let mut admitted = 0;
    loop {
        let answer = gateway.send(key, &call()).await.expect("an answer");
        if answer.status() != 200 {
            expect_unavailable(answer).await;
            return admitted;
        }
        answer.bytes().await.expect("a whole answer");
        admitted += 1;
    }
}

/// A key that is in use, for whose next second something is set aside.
async fn busy_key(gateway: &Gateway) -> String {
    let key = gateway.generate(json!({"max_budget": 1000.0})).await;
    let busy = Instant::now();
    while busy.elapsed() < Duration::from_secs(3) {
        assert_eq!(gateway.chat(&key, "exact").await.0, 200);
    }
    key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_while_the_store_is_away_known_keys_live_on_what_is_set_aside() {
    let fleet = Fleet::start(1, json!({"stale_window_s": 8})).await;
    let gateway = &fleet.gateways[0];
    let key = busy_key(gateway).await;
    fleet.wires[0].cut();
    let since = Instant::now();
    assert!(spend_all(gateway, &key).await > 0, "nothing was set aside");
    let not_ready = async || readiness(gateway).await == 503;
    eventually("readiness", Duration::from_secs(5), not_ready).await;
    let alive = gateway.get("/health/liveliness", "").await;
    assert_eq!(alive.expect("an answer").status(), 200);
    expect_unavailable(models(gateway, &random_key("unknown")).await).await;
    // What it would cost would be in no store if this process died now.
    let master_waits = async || {
        let master = gateway.settings.master_key.as_str();
        let answer = gateway.send(master, &call()).await.expect("an answer");
        answer.status() == 503
    };
    eventually("the master key waits", MAX_UNNOTICED, master_waits).await;
    let (status, _) = gateway
        .admin(Method::POST, "/key/generate", &json!({}))
        .await;
    assert_eq!(status, 503);

    let rest = Duration::from_secs(7).saturating_sub(since.elapsed());
    throughout("a known key is served", rest, async || {
        models(gateway, &key).await.status() == 200
    })
    .await;
    let window_ends = async || models(gateway, &key).await.status() != 200;
    eventually("the window's end", Duration::from_secs(4), window_ends).await;
    expect_unavailable(models(gateway, &key).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_a_store_that_is_back_gets_what_it_has_missed_once() {
    let mut fleet = Fleet::start(1, json!({})).await;
    let gateway = &fleet.gateways[0];
    let key = busy_key(gateway).await;
    fleet.wires[0].cut();
    assert!(spend_all(gateway, &key).await > 0, "nothing was set aside");
    let not_ready = async || readiness(gateway).await == 503;
    eventually("readiness", Duration::from_secs(5), not_ready).await;

    fleet.wires[0].restore();
    let is_back = async || {
        readiness(gateway).await == 200
            && models(gateway, &key).await.status() == 200
            && models(gateway, &random_key("unknown")).await.status() == 401
            && gateway.chat(&key, "exact").await.0 == 200
    };
    eventually("recovery", RECOVERY, is_back).await;
    let calls = fleet.upstream.seen().len();
    fleet.gateways[0].stop().await;
    fleet.gateways[0].verify_ledger();
    fleet.gateways[0].start_again().await;
    let posted = fleet.gateways[0].spend(&key).await;
    let spent = calls as f64 * CALL_USD;
    assert!((posted - spent).abs() < 1e-9, "{posted} for {calls} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_without_a_stale_window_the_gateway_fails_closed() {
    let fleet = Fleet::start(1, json!({"stale_window_s": 0})).await;
    let gateway = &fleet.gateways[0];
    let key = gateway.generate(json!({})).await;
    assert_eq!(gateway.try_key(&key).await, 200);
    fleet.wires[0].cut();
    let closes = async || models(gateway, &key).await.status() != 200;
    eventually("the end of trust", Duration::from_secs(7), closes).await;
    expect_unavailable(models(gateway, &key).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_gateway_that_starts_without_its_store_waits_for_it() {
    let mut fleet = Fleet::start(1, json!({})).await;
    let key = fleet.gateways[0].generate(json!({})).await;
    fleet.gateways[0].stop().await;
    fleet.wires[0].cut();
    fleet.gateways[0].launch();
    let gateway = &fleet.gateways[0];
    let is_alive = async || {
        let answer = gateway.get("/health/liveliness", "").await;
        answer.is_some_and(|answer| answer.status() == 200)
    };
    eventually("it lives", Duration::from_secs(10), is_alive).await;
    assert_eq!(readiness(gateway).await, 503);
    expect_unavailable(models(gateway, &key).await).await;
    expect_unavailable(gateway.send(&key, &call()).await.expect("an answer")).await;
    let (status, _) = gateway
        .admin(Method::POST, "/key/generate", &json!({}))
        .await;
    assert_eq!(status, 503);

    let askers = ask_until_ready(gateway);
    fleet.wires[0].restore();
    let recovered = tokio::time::timeout(RECOVERY, askers.join_all()).await;
    recovered.expect("recovery");
    assert_eq!(gateway.try_key(&key).await, 200);
    fleet.gateways[0].stop().await;
}

/// Many clients that keep their connections and ask without a pause: not one
/// question stays without an answer when the gateway becomes ready.
fn ask_until_ready(gateway: &Gateway) -> JoinSet<()> {
    let mut askers = JoinSet::new();
    for _ in 0..CALLERS {
        let url = format!("{}/health/readiness", gateway.data);
        let http = e2e::world::http();
        askers.spawn(async move {
            loop {
                let answer = http.get(&url).send().await.expect("an answer");
                match answer.status().as_u16() {
                    503 => {}
                    status => return assert_eq!(status, 200),
                }
            }
        });
    }
    askers
}

const RATE: u32 = 500;
const CALLERS: u32 = 20;
const HAMMERED: Duration = Duration::from_secs(6);

/// How long each of 500 calls a second of a known key took; all are answered 200.
async fn hammered(gateway: &Gateway, key: &str) -> Vec<Duration> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (url, key) = (format!("{}/v1/models", gateway.data), key.to_owned());
        callers.spawn(async move {
            let http = e2e::world::http();
            let mut tick = tokio::time::interval(Duration::from_secs(1) * CALLERS / RATE);
            let (since, mut spans) = (Instant::now(), Vec::new());
            while since.elapsed() < HAMMERED {
                tick.tick().await;
                let sent = Instant::now();
                let answer = http
                    .get(&url)
                    .bearer_auth(&key)
                    .send()
                    .await
                    .expect("an answer");
                assert_eq!(answer.status(), 200);
                answer.bytes().await.expect("a whole answer");
                spans.push(sent.elapsed());
            }
            spans
        });
    }
    let mut spans = callers.join_all().await.concat();
    spans.sort();
    spans
}

/// How long each refusal of an unknown key took, once the gateway has noticed.
async fn refusals(gateway: &Gateway) -> Vec<Duration> {
    let since = Instant::now();
    let mut spans = Vec::new();
    while since.elapsed() < HAMMERED {
        let sent = Instant::now();
        expect_unavailable(models(gateway, &random_key("unknown")).await).await;
        if since.elapsed() > Duration::from_secs(2) {
            spans.push(sent.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    spans.sort();
    spans
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_a_slow_store_is_no_outage_for_known_keys() {
    let fleet = Fleet::start(1, json!({})).await;
    let gateway = &fleet.gateways[0];
    let key = gateway.generate(json!({})).await;
    assert_eq!(gateway.try_key(&key).await, 200);
    fleet.wires[0].delay(Duration::from_secs(2));
    let (known, unknown) = tokio::join!(hammered(gateway, &key), refusals(gateway));
    let p99 = |spans: &[Duration]| spans[(spans.len() - 1) * 99 / 100];
    assert!(known.len() > 1_500, "{}", known.len());
    assert!(
        p99(&known) <= Duration::from_millis(250),
        "{:?}",
        p99(&known)
    );
    assert!(
        p99(&unknown) <= Duration::from_millis(250),
        "{:?}",
        p99(&unknown)
    );
    fleet.wires[0].restore();
    let is_back = async || models(gateway, &random_key("unknown")).await.status() == 401;
    eventually("recovery", RECOVERY, is_back).await;
}
