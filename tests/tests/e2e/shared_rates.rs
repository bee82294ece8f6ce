//! Three gateways on one PostgreSQL: `rpm_limit` and `max_parallel_requests` are
//! those of all together, also of a team over its keys, and what a killed gateway
//! had comes free.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use e2e::eventually;
use e2e::fleet::Fleet;
use e2e::proxy::{Gateway, prompt};
use e2e::upstream::Script;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// 200 or 429. On a busy machine the store may be too slow for a hundred calls at
/// once, and who is told so tries again.
async fn status(gateway: &Gateway, key: &str, model: &str) -> u16 {
    let mut tries = 0;
    let answer = loop {
        let answer = gateway.send(key, &prompt(model)).await.expect("an answer");
        tries += 1;
        if answer.status() != 503 || tries == 20 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let text = answer.text().await.expect("a whole answer");
    assert!([200, 429].contains(&status), "{status}: {text}");
    assert_eq!(headers.contains_key("retry-after"), status == 429, "{text}");
    status
}

type Gateways = Vec<Arc<Gateway>>;

/// The fleet ends after its gateways.
async fn three() -> (Fleet, Gateways) {
    let mut fleet = Fleet::start(3, json!({})).await;
    let gateways = fleet.gateways.drain(..).map(Arc::new).collect();
    (fleet, gateways)
}

/// How many of so many calls that begin at once, by all gateways and keys in turn,
/// are admitted.
async fn stampede(gateways: &Gateways, keys: &[String], calls: usize) -> usize {
    let barrier = Arc::new(Barrier::new(calls));
    let mut all = JoinSet::new();
    let each = gateways.iter().cycle().zip(keys.iter().cycle());
    for (gateway, key) in each.take(calls) {
        let (gateway, barrier) = (Arc::clone(gateway), Arc::clone(&barrier));
        let key = key.clone();
        all.spawn(async move {
            barrier.wait().await;
            status(&gateway, &key, "scripted").await
        });
    }
    let all = all.join_all().await;
    all.into_iter().filter(|status| *status == 200).count()
}

/// Minutes, and seconds of the one under way.
#[expect(
    clippy::disallowed_methods,
    reason = "the minutes of real gateways are the machine's"
)]
fn clock() -> (u64, u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.expect("after 1970").as_secs();
    (seconds / 60, seconds % 60)
}

/// Sixty requests a minute, and many more that ask; None where the minute ended
/// before all had been answered.
async fn sixty_in_a_minute(gateways: &Gateways, keys: &[String]) -> Option<(usize, usize)> {
    let what = "enough of a minute is left";
    eventually(what, Duration::from_secs(60), async || clock().1 < 30).await;
    let minute = clock().0;
    let mut admitted = stampede(gateways, keys, 180).await;
    while admitted < 60 && clock().0 == minute {
        admitted += stampede(gateways, keys, 6).await;
    }
    let more = stampede(gateways, keys, 60).await;
    (clock().0 == minute).then_some((admitted, more))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_three_gateways_admit_sixty_of_sixty_requests_a_minute() {
    let (_fleet, gateways) = three().await;
    let mut found = None;
    for _ in 0..3 {
        let key = gateways[0].generate(json!({"rpm_limit": 60})).await;
        found = found.or(sixty_in_a_minute(&gateways, &[key]).await);
        if found.is_some() {
            break;
        }
    }
    assert_eq!(found, Some((60, 0)), "none: the machine is too slow");
    // One of them alone has all of another key's.
    let key = gateways[0].generate(json!({"rpm_limit": 12})).await;
    for call in 0..12 {
        let status = status(&gateways[1], &key, "scripted").await;
        assert_eq!(status, 200, "call {call}");
    }
}

async fn change(gateway: &Gateway, path: &str, body: Value) {
    let (status, answer) = gateway.admin(Method::POST, path, &body).await;
    assert_eq!(status, 200, "{path}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_three_gateways_admit_sixty_of_a_teams_sixty_requests_by_two_keys() {
    let (_fleet, gateways) = three().await;
    let mut found = None;
    for round in 0..3 {
        let id = format!("t-{round}");
        let team = json!({"team_id": id, "rpm_limit": 60});
        change(&gateways[0], "/team/new", team).await;
        let member = json!({"team_id": id});
        let wide = json!({"team_id": id, "rpm_limit": 1_000});
        let keys = [
            gateways[0].generate(member).await,
            gateways[1].generate(wide).await,
        ];
        found = found.or(sixty_in_a_minute(&gateways, &keys).await);
        if found.is_some() {
            break;
        }
    }
    assert_eq!(found, Some((60, 0)), "none: the machine is too slow");
    // A key that is in memory everywhere obeys a limit that comes later.
    let key = gateways[0].generate(json!({"team_id": "late"})).await;
    for gateway in &gateways {
        assert_eq!(status(gateway, &key, "scripted").await, 200);
    }
    let team = json!({"team_id": "late", "rpm_limit": 0});
    change(&gateways[0], "/team/new", team).await;
    assert_eq!(status(&gateways[0], &key, "scripted").await, 429);
    for gateway in &gateways[1..] {
        eventually("it has heard", Duration::from_secs(5), async || {
            status(gateway, &key, "scripted").await == 429
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_five_calls_at_once_over_three_gateways_and_a_killed_ones_come_free() {
    let (fleet, mut gateways) = three().await;
    let slow = Script {
        delay: Duration::from_secs(2),
        ..Script::default()
    };
    fleet.upstream.script("upstream-scripted", slow);
    let key = gateways[0]
        .generate(json!({"max_parallel_requests": 5}))
        .await;
    let admitted = stampede(&gateways, std::slice::from_ref(&key), 15).await;
    assert!((1..=5).contains(&admitted), "{admitted}");
    assert_eq!(fleet.upstream.seen().len(), admitted);
    // The first one has all five, for ever.
    let endless = Script {
        delay: Duration::from_secs(600),
        ..Script::default()
    };
    fleet.upstream.script("upstream-other", endless);
    let mut victim = gateways.remove(0);
    let mut calls = JoinSet::new();
    let before = fleet.upstream.seen().len();
    eventually("it has all five", Duration::from_secs(20), async || {
        let running = fleet.upstream.seen().len() - before;
        assert!(running <= 5, "{running}");
        if running < 5 {
            let (victim, key) = (Arc::clone(&victim), key.clone());
            calls.spawn(async move { victim.send(&key, &prompt("other")).await });
        }
        running == 5
    })
    .await;
    assert_eq!(status(&gateways[0], &key, "exact").await, 429);
    calls.shutdown().await;
    let only = Arc::get_mut(&mut victim);
    only.expect("no call runs").kill_hard();
    eventually("they are free again", Duration::from_secs(40), async || {
        status(&gateways[0], &key, "exact").await == 200
    })
    .await;
}
