//! Several gateways on one PostgreSQL: together they spend what a budget allows
//! and no more, and what one of them had spent when it was killed is not lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::eventually;
use e2e::postgres::Postgres;
use e2e::proxy::{Gateway, Settings, prompt};
use e2e::upstream::{Script, Upstream};
use e2e::world::{TestFolder, gateway_config, random_key};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

const CALLERS: usize = 200;
/// The price of one output token of the model `exact`, whose input is free.
const TOKEN_USD: f64 = 0.001;
const TOKEN_NANOUSD: u64 = 1_000_000;

pub(super) struct Fleet {
    // End before their database.
    gateways: Vec<Arc<Gateway>>,
    _database: Postgres,
    upstream: Upstream,
    _folder: TestFolder,
}

/// What `ledger verify` says of all accounts together.
#[derive(Debug)]
struct Books {
    posted_nanousd: u64,
    allotted_nanousd: u64,
}

impl Fleet {
    pub(super) async fn start(count: usize, script: Script) -> Self {
        let folder = TestFolder::new("fleet");
        let database = Postgres::empty(&folder.path.join("postgres.log")).await;
        let upstream = Upstream::start().await;
        upstream.script("upstream-exact", script);
        let mut config = gateway_config(&upstream, &random_key("provider"));
        config["general_settings"] = json!({"database_url": database.url()});
        let master_key = random_key("master");
        let mut gateways = Vec::new();
        for number in 0..count {
            let gateway = Gateway::start(Settings {
                folder: folder.sub(&format!("gateway-{number}")),
                master_key: master_key.clone(),
                config: config.clone(),
            })
            .await;
            gateways.push(Arc::new(gateway));
        }
        Self {
            gateways,
            _database: database,
            upstream,
            _folder: folder,
        }
    }

    /// How many of `CALLERS` calls that begin at once, by all gateways in turn, are
    /// admitted; the others are refused for lack of budget.
    async fn stampede(&self, key: &str, body: &Value) -> usize {
        let barrier = Arc::new(Barrier::new(CALLERS));
        let mut calls = JoinSet::new();
        for gateway in self.gateways.iter().cycle().take(CALLERS) {
            let (gateway, barrier) = (Arc::clone(gateway), Arc::clone(&barrier));
            let (key, body) = (key.to_owned(), body.clone());
            calls.spawn(async move {
                barrier.wait().await;
                is_admitted(&gateway, &key, &body).await
            });
        }
        let admitted = calls.join_all().await;
        admitted.into_iter().filter(|admitted| *admitted).count()
    }

    fn books(&self) -> Books {
        let output = self.gateways[0]
            .subcommand(&["ledger", "verify"])
            .output()
            .expect("running the gateway");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        let after = |name: &str| {
            let words = text.split_whitespace().skip_while(|word| *word != name);
            let number = words.skip(1).map(str::parse).next();
            number.expect("in the answer").expect("a number")
        };
        Books {
            posted_nanousd: after("posted_nanousd"),
            allotted_nanousd: after("allotted_nanousd"),
        }
    }
}

async fn is_admitted(gateway: &Gateway, key: &str, body: &Value) -> bool {
    let answer = gateway.send(key, body).await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a whole answer");
    assert!([200, 422].contains(&status), "{status}: {text}");
    status == 200
}

fn call_of(max_tokens: u64) -> Value {
    let mut body = prompt("exact");
    body["max_tokens"] = json!(max_tokens);
    body
}

/// A budget of ten calls and 200 of them at once: ten, once every gateway has
/// answered, and no more at any moment.
pub(super) async fn ten_of_two_hundred(rounds: usize) {
    let script = Script {
        completion_tokens: 10,
        ..Script::default()
    };
    let fleet = Fleet::start(3, script).await;
    for round in 0..rounds {
        let fields = json!({"max_budget": 100.0 * TOKEN_USD});
        let key = fleet.gateways[0].generate(fields).await;
        let mut admitted = fleet.stampede(&key, &call_of(10)).await;
        assert!(admitted <= 10, "round {round}: {admitted}");
        let answered = Instant::now();
        while admitted < 10 {
            for gateway in &fleet.gateways {
                let more = is_admitted(gateway, &key, &call_of(10)).await;
                admitted += usize::from(more);
            }
            let waited = answered.elapsed();
            assert!(waited < Duration::from_secs(1), "round {round}: {admitted}");
        }
        let more = fleet.stampede(&key, &call_of(10)).await;
        assert_eq!((admitted, more), (10, 0), "round {round}");
    }
    assert_eq!(fleet.upstream.seen().len(), 10 * rounds, "none besides");
    settled(&fleet, 100 * TOKEN_NANOUSD * rounds as u64).await;
}

/// All that was spent is posted, and nothing is set aside any more.
async fn settled(fleet: &Fleet, posted: u64) {
    eventually("it is posted", Duration::from_secs(10), async || {
        let books = fleet.books();
        assert!(books.posted_nanousd <= posted, "{books:?}, not {posted}");
        (books.posted_nanousd, books.allotted_nanousd) == (posted, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_three_gateways_admit_ten_calls_of_a_budget_of_ten() {
    ten_of_two_hundred(20).await;
}

/// What a call really costs is a third of what is held for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_three_gateways_never_go_over_at_a_third_of_the_hold() {
    let script = Script {
        completion_tokens: 3,
        delay: Duration::from_millis(5),
        ..Script::default()
    };
    let fleet = Fleet::start(3, script).await;
    let mut admitted_in_all = 0;
    for round in 0..20 {
        let fields = json!({"max_budget": 30.0 * TOKEN_USD});
        let key = fleet.gateways[0].generate(fields).await;
        let admitted = fleet.stampede(&key, &call_of(9)).await;
        assert!((3..=10).contains(&admitted), "round {round}: {admitted}");
        admitted_in_all += admitted as u64;
    }
    settled(&fleet, admitted_in_all * 3 * TOKEN_NANOUSD).await;
}

/// A call as its caller saw it.
struct Called {
    sent: Instant,
    answered: Instant,
    is_admitted: bool,
}

/// Calls one after another, until one is refused.
async fn until_refused(
    gateway: Arc<Gateway>,
    (key, body): (String, Value),
    refused: Arc<Notify>,
) -> Vec<Called> {
    let mut calls = Vec::new();
    loop {
        let sent = Instant::now();
        let is_admitted = is_admitted(&gateway, &key, &body).await;
        calls.push(Called {
            sent,
            answered: Instant::now(),
            is_admitted,
        });
        if !is_admitted {
            refused.notify_one();
            return calls;
        }
    }
}

/// Callers at full speed until each of them is refused. What had been spent or was
/// held by calls under way at the first refusal is known to within one call a
/// caller, which is why these are so few that it is less than a thousandth.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_a_thousand_dollars_at_full_speed_are_used_before_the_first_refusal() {
    const DOLLAR: u64 = 1_000 * TOKEN_NANOUSD;
    const HOLD: u64 = 100;
    const COST: u64 = 99;
    const AT_ONCE: usize = 9;
    let script = Script {
        completion_tokens: COST,
        ..Script::default()
    };
    let fleet = Fleet::start(3, script).await;
    let key = fleet.gateways[0]
        .generate(json!({"max_budget": 1_000}))
        .await;
    let refused = Arc::new(Notify::new());
    let mut callers = JoinSet::new();
    for gateway in fleet.gateways.iter().cycle().take(AT_ONCE) {
        let call = (key.clone(), call_of(HOLD));
        callers.spawn(until_refused(
            Arc::clone(gateway),
            call,
            Arc::clone(&refused),
        ));
    }
    refused.notified().await;
    // Answered calls, and what is set aside for those under way.
    let stood = fleet.books();
    let stood = stood.posted_nanousd + stood.allotted_nanousd;
    assert!(
        (999 * DOLLAR..=1_000 * DOLLAR).contains(&stood),
        "{stood} in the store"
    );
    let calls = callers.join_all().await;
    let calls = calls.into_iter().flatten().collect::<Vec<_>>();
    let (admitted, refused): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.is_admitted);
    let first = refused.iter().map(|call| call.answered).min();
    let first = first.expect("a refusal");
    let used = admitted.iter().filter(|call| call.sent < first);
    let used = used.map(|call| if call.answered < first { COST } else { HOLD });
    let used = used.sum::<u64>() * TOKEN_NANOUSD;
    assert!(used >= 999 * DOLLAR, "{used} at the first refusal");
    let spent = admitted.len() as u64 * COST * TOKEN_NANOUSD;
    assert!(spent <= 1_000 * DOLLAR, "{spent}");
    settled(&fleet, spent).await;
}

/// All gateways but the first are killed while they stream, each at another
/// moment; the first posts what they had set aside.
pub(super) async fn kills(victims: usize, seed: u64) {
    const STREAMS: usize = 3;
    const HOLD: u64 = 60;
    let script = Script {
        completion_tokens: 40,
        interval: Duration::from_millis(25),
        ..Script::default()
    };
    let mut fleet = Fleet::start(1 + victims, script).await;
    let key = fleet.gateways[0]
        .generate(json!({"max_budget": 1000}))
        .await;
    let mut body = call_of(HOLD);
    body["stream"] = json!(true);
    let mut streams = JoinSet::new();
    for gateway in fleet.gateways[1..].iter().cycle().take(victims * STREAMS) {
        let answer = gateway.send(&key, &body).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        // Ends with an error when the gateway dies.
        streams.spawn(async move { answer.bytes().await.map(|bytes| bytes.len()) });
    }
    for (number, mut victim) in (0..).zip(fleet.gateways.drain(1..)) {
        // Spread over the life of a stream.
        let pause = (seed + number * 577) % 1_100 / victims as u64;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        Arc::get_mut(&mut victim).expect("no call runs").kill_hard();
    }
    while streams.join_next().await.is_some() {}
    eventually(
        "nothing is set aside",
        Duration::from_secs(30),
        async || fleet.books().allotted_nanousd == 0,
    )
    .await;
    let posted = fleet.books().posted_nanousd;
    let counted = fleet.upstream.counted_tokens() * TOKEN_NANOUSD;
    assert!(
        posted >= counted,
        "seed {seed}: {posted}, counted {counted}"
    );
    let most = (victims * STREAMS) as u64 * HOLD * TOKEN_NANOUSD;
    assert!(posted <= most, "seed {seed}: {posted}, at most {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_what_killed_gateways_had_spent_is_posted_by_another() {
    kills(5, 100).await;
}
