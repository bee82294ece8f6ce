//! Goal: what the state machine promises holds on both real stores, under
//! real concurrency, across a process that dies, and while the store refuses.
//! Method: the public ledger on a temporary database; a death is a ledger that
//! is forgotten with its store reopened.
#![expect(
    clippy::cognitive_complexity,
    reason = "it counts each assertion as a branch"
)]

mod any_order;
mod backlog;
mod batches;
mod cost;
mod eight_writers;
mod give_back;
mod keeping;
mod places;
mod processes;
mod rates;
mod shared;
mod waiting;
mod windows;

use std::sync::Arc;

use chrono::Utc;
use tokio::sync::Barrier;

use super::*;
use crate::key::{KeyHash, accounts};
use crate::price::{Price, Usage};
use crate::store::ledger::verify::verify;
use crate::store::testing::{Database, KIND, Kind, on_both};

struct Bench {
    database: Database,
    store: Store,
    ledger: Ledger,
}

impl Bench {
    async fn new() -> Self {
        let database = Database::new().await;
        let (store, ledger) = open(&database).await;
        Self {
            database,
            store,
            ledger,
        }
    }

    async fn key(&self, name: &str, limit: Option<i64>) -> KeyHash {
        let key = KeyHash::of(name);
        self.limit(&AccountId::Key(key), limit).await;
        key
    }

    /// As `admin` changes a limit, without telling the ledger.
    async fn limit(&self, account: &AccountId, limit: Option<i64>) {
        let mut write = self.store.begin_write().await.expect("begin");
        store::ledger::set_limit(&mut write, account, limit.map(NanoUsd::from_nanos))
            .await
            .expect("account");
        write.commit().await.expect("commit");
    }

    /// The process dies: nothing of it runs on, and its lock is free.
    async fn crash(self) -> Self {
        self.crash_holding(()).await
    }

    /// Its requests' holds die with it: what their guards do comes too late.
    async fn crash_holding(self, open: impl Send) -> Self {
        let Self {
            database,
            store,
            ledger,
        } = self;
        store.abandon().await;
        drop(open);
        drop(ledger);
        drop(store);
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match Store::open(&database.url).await {
                Ok(store) => {
                    if store.is_shared() {
                        silence_all(&store).await;
                        recover_dead(&store, &Clock::system())
                            .await
                            .expect("recovered");
                    }
                    let ledger = Ledger::open(&store, Clock::system(), &Tasks::new())
                        .await
                        .expect("ledger");
                    return Self {
                        database,
                        store,
                        ledger,
                    };
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// No batch is written until this is dropped; reading goes on.
    async fn block(&self) -> store::Write {
        let mut blocking = self.store.begin_write().await.expect("begin");
        if self.database.kind == Kind::Postgres {
            let lock = sqlx::query("LOCK TABLE account IN EXCLUSIVE MODE");
            lock.execute(&mut *blocking).await.expect("lock");
        }
        blocking
    }

    async fn standing(&self, key: &KeyHash) -> account::Standing {
        self.standing_of(&AccountId::Key(*key)).await
    }

    async fn standing_of(&self, account: &AccountId) -> account::Standing {
        store::ledger::standing(&self.store, account)
            .await
            .expect("standing")
            .expect("account")
    }

    async fn check(&self) {
        let found = verify(&self.store).await.expect("verify");
        assert_eq!(found.differences, []);
    }
}

async fn open(database: &Database) -> (Store, Ledger) {
    let store = database.open().await;
    let ledger = Ledger::open(&store, Clock::system(), &Tasks::new())
        .await
        .expect("ledger");
    (store, ledger)
}

/// As if no process had said for long that it lives.
async fn silence_all(store: &Store) {
    let mut write = store.begin_batch().await.expect("begin");
    let silence = sqlx::query("UPDATE process SET seen_us = 0");
    silence.execute(&mut *write).await.expect("silence");
    write.commit().await.expect("commit");
}

fn call(key: KeyHash) -> Call {
    call_of(&accounts(key, []))
}

fn call_of(accounts: &Arc<[AccountId]>) -> Call {
    Call {
        request_id: Uuid::new_v4(),
        accounts: Arc::clone(accounts),
        model: "demo".into(),
        deployment_id: "test".into(),
        price: Some(Price::default()),
        streamed: false,
        started_at: Utc::now(),
    }
}

fn cost(nanos: i64) -> Settlement {
    Settlement {
        cost: NanoUsd::from_nanos(nanos),
        usage: Usage::default(),
        estimated: false,
        status: 200,
    }
}

/// 200 calls at once; those admitted hold until all have been answered.
async fn rush(ledger: &Ledger, key: KeyHash, need: i64, actual: i64) -> usize {
    rush_of(ledger, &[accounts(key, [])], need, actual).await
}

/// The same, by keys that call in turn.
async fn rush_of(ledger: &Ledger, keys: &[Arc<[AccountId]>], need: i64, actual: i64) -> usize {
    const CALLS: usize = 200;
    let (start, end) = (Arc::new(Barrier::new(CALLS)), Arc::new(Barrier::new(CALLS)));
    let mut tasks = tokio::task::JoinSet::new();
    for key in keys.iter().cycle().take(CALLS) {
        let call = call_of(key);
        let (ledger, start, end) = (ledger.clone(), Arc::clone(&start), Arc::clone(&end));
        tasks.spawn(async move {
            start.wait().await;
            let held = ledger.hold(call, NanoUsd::from_nanos(need)).await;
            end.wait().await;
            match held {
                Ok(hold) => {
                    hold.settle(cost(actual));
                    true
                }
                Err(HoldError::Exceeded { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let admitted = tasks.join_all().await;
    admitted.into_iter().filter(|admitted| *admitted).count()
}

on_both![
    b1_two_hundred_calls_on_a_budget_of_ten_admit_ten_every_time,
    b1_a_real_cost_of_a_third_never_goes_over,
    b2_an_overshoot_is_posted_whole_and_the_next_call_refused,
    b2_an_overshoot_counts_before_it_is_written,
    b3_what_a_dead_process_held_is_posted_and_no_more,
    b3_a_call_that_is_sent_outlives_its_process,
    b4_a_request_that_settles_twice_counts_once,
    a_hold_that_is_dropped_costs_its_bound_only_once_it_was_sent,
    a_request_that_goes_away_while_it_waits_holds_nothing,
    a_raised_limit_counts_for_the_next_call,
    an_unreachable_store_refuses_calls_and_loses_no_posting,
];

async fn b1_two_hundred_calls_on_a_budget_of_ten_admit_ten_every_time() {
    let bench = Bench::new().await;
    for round in 0..20 {
        let key = bench.key(&format!("sk-round-{round}"), Some(1_000)).await;
        assert_eq!(
            rush(&bench.ledger, key, 100, 100).await,
            10,
            "round {round}"
        );
        bench.ledger.drain().await;
        let standing = bench.standing(&key).await;
        assert_eq!(standing.posted.nanos(), 1_000, "round {round}");
        assert_eq!(standing.allotted, NanoUsd::ZERO, "round {round}");
    }
    bench.check().await;
}

async fn b1_a_real_cost_of_a_third_never_goes_over() {
    let bench = Bench::new().await;
    let key = bench.key("sk-third", Some(1_000)).await;
    let mut admitted = 0;
    for _ in 0..20 {
        admitted += rush(&bench.ledger, key, 99, 33).await;
        bench.ledger.drain().await;
        let standing = bench.standing(&key).await;
        assert!(standing.posted.nanos() <= 1_000, "{standing:?}");
    }
    assert_eq!(admitted, 28, "calls went on until their bound did not fit");
    bench.check().await;
}

async fn b2_an_overshoot_is_posted_whole_and_the_next_call_refused() {
    let bench = Bench::new().await;
    let key = bench.key("sk-over", Some(100)).await;
    let amount = NanoUsd::from_nanos(100);
    let hold = bench.ledger.hold(call(key), amount).await.expect("fits");
    hold.settle(cost(300));
    let refused = bench.ledger.hold(call(key), NanoUsd::from_nanos(1)).await;
    assert!(matches!(refused, Err(HoldError::Exceeded { .. })));
    bench.ledger.drain().await;
    assert_eq!(bench.standing(&key).await.posted.nanos(), 300);
    bench.check().await;
}

async fn b2_an_overshoot_counts_before_it_is_written() {
    let bench = Bench::new().await;
    let key = bench.key("sk-over-and-over", Some(100)).await;
    let amount = NanoUsd::from_nanos(10);
    // 0, 30, 60 and 90 of 100 leave room for ten.
    for call_number in 0..4 {
        let hold = bench.ledger.hold(call(key), amount).await;
        hold.unwrap_or_else(|error| panic!("call {call_number}: {error}"))
            .settle(cost(30));
    }
    let refused = bench.ledger.hold(call(key), amount).await;
    assert!(matches!(refused, Err(HoldError::Exceeded { .. })));
    bench.ledger.drain().await;
    assert_eq!(bench.standing(&key).await.posted.nanos(), 120);
    bench.check().await;
}

async fn b3_what_a_dead_process_held_is_posted_and_no_more() {
    let bench = Bench::new().await;
    let key = bench.key("sk-crash", Some(1_000)).await;
    let settled = bench.ledger.hold(call(key), NanoUsd::from_nanos(300)).await;
    settled.expect("fits").settle(cost(100));
    let open = bench.ledger.hold(call(key), NanoUsd::from_nanos(200)).await;
    let open = open.expect("fits");
    bench.ledger.flush().await;
    assert_eq!(bench.standing(&key).await.allotted.nanos(), 200);
    let bench = bench.crash_holding(open).await;
    let standing = bench.standing(&key).await;
    assert_eq!(standing.posted.nanos(), 300, "100 settled, 200 estimated");
    assert_eq!(standing.allotted, NanoUsd::ZERO);
    bench.check().await;
    let bench = bench.crash().await;
    assert_eq!(bench.standing(&key).await.posted.nanos(), 300, "once");
}

/// The second call claims at once where one process has the store.
async fn b3_a_call_that_is_sent_outlives_its_process() {
    let bench = Bench::new().await;
    let key = bench.key("sk-sent", Some(1_000)).await;
    let first = bench.ledger.hold(call(key), NanoUsd::from_nanos(100)).await;
    first.expect("fits").settle(cost(100));
    bench.ledger.flush().await;
    let mut sent = bench.ledger.hold(call(key), NanoUsd::from_nanos(200)).await;
    sent.as_mut().expect("fits").mark_sent().await.unwrap();
    let bench = bench.crash_holding(sent).await;
    assert_eq!(bench.standing(&key).await.posted.nanos(), 300);
    bench.check().await;
}

async fn b4_a_request_that_settles_twice_counts_once() {
    let bench = Bench::new().await;
    let key = bench.key("sk-twice", Some(1_000)).await;
    let first = call(key);
    for _ in 0..2 {
        let amount = NanoUsd::from_nanos(10);
        let hold = bench
            .ledger
            .hold(first.clone(), amount)
            .await
            .expect("fits");
        hold.settle(cost(10));
        bench.ledger.flush().await;
    }
    assert_eq!(bench.standing(&key).await.posted.nanos(), 10);
    bench.check().await;
}

async fn a_hold_that_is_dropped_costs_its_bound_only_once_it_was_sent() {
    let bench = Bench::new().await;
    let key = bench.key("sk-drop", Some(100)).await;
    let amount = NanoUsd::from_nanos(100);
    for (sent, posted) in [(false, 0), (false, 0), (true, 100)] {
        let mut hold = bench.ledger.hold(call(key), amount).await.expect("fits");
        if sent {
            hold.mark_sent().await.unwrap();
        }
        drop(hold);
        bench.ledger.flush().await;
        let standing = bench.standing(&key).await;
        assert_eq!(standing.posted.nanos(), posted, "sent {sent}");
        assert_eq!(standing.allotted, NanoUsd::ZERO, "sent {sent}");
    }
    bench.check().await;
}

async fn a_request_that_goes_away_while_it_waits_holds_nothing() {
    let bench = Bench::new().await;
    let key = bench.key("sk-gone", Some(100)).await;
    let amount = NanoUsd::from_nanos(100);
    for _ in 0..20 {
        let mut waiting = Box::pin(bench.ledger.hold(call(key), amount));
        let started = tokio::time::timeout(Duration::from_micros(300), &mut waiting).await;
        drop(started);
        drop(waiting);
    }
    bench.ledger.drain().await;
    assert_eq!(bench.standing(&key).await.allotted, NanoUsd::ZERO);
    let hold = bench.ledger.hold(call(key), amount).await;
    assert!(hold.is_ok(), "the whole budget is free again");
}

async fn a_raised_limit_counts_for_the_next_call() {
    let bench = Bench::new().await;
    let key = bench.key("sk-limit", Some(10)).await;
    let amount = NanoUsd::from_nanos(50);
    assert!(bench.ledger.hold(call(key), amount).await.is_err());
    bench.key("sk-limit", Some(50)).await;
    let changed = vec![AccountId::Key(key)];
    bench.ledger.refresh_on_drop(changed).done().await;
    assert!(bench.ledger.hold(call(key), amount).await.is_ok());
}

async fn an_unreachable_store_refuses_calls_and_loses_no_posting() {
    let bench = Bench::new().await;
    let key = bench.key("sk-down", Some(1_000)).await;
    let amount = NanoUsd::from_nanos(100);
    let hold = bench.ledger.hold(call(key), amount).await.expect("fits");
    let blocking = bench.block().await;
    hold.settle(cost(40));
    let refused = bench.ledger.hold(call(key), NanoUsd::from_nanos(900)).await;
    assert!(matches!(refused, Err(HoldError::StoreUnavailable)));
    drop(blocking);
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench.standing(&key).await.posted.nanos() != 40 {
        assert!(Instant::now() < deadline, "the posting was lost");
        bench.ledger.flush().await;
    }
    assert_eq!(
        bench
            .ledger
            .known_spend(&AccountId::Key(key))
            .map(NanoUsd::nanos),
        Some(40)
    );
    bench.check().await;
}
