//! What a busy key costs a PostgreSQL: statements are counted as the driver
//! logs them, on the test's own thread.

use std::sync::atomic::AtomicUsize;

use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use crate::key::SharedAccount;

#[derive(Clone, Default)]
struct Statements {
    all: Arc<AtomicUsize>,
    batches: Arc<AtomicUsize>,
}

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        let mut is_batch = false;
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                is_batch |=
                    field.name() == "summary" && format!("{value:?}").contains("UPDATE process");
            },
        );
        self.batches
            .fetch_add(usize::from(is_batch), Ordering::Relaxed);
    }
}

impl Statements {
    fn so_far(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.all), count(&self.batches))
    }
}

/// Calls one after the other until the time is up; answers how many.
async fn caller(ledger: Ledger, accounts: Arc<[AccountId]>, until: Instant) -> usize {
    let mut calls = 0;
    while Instant::now() < until {
        let held = ledger.hold(call_of(&accounts), NanoUsd::from_nanos(300));
        let hold = held.await.expect("fits");
        tokio::time::sleep(Duration::from_millis(10)).await;
        hold.settle(cost(100));
        calls += 1;
    }
    calls
}

async fn calls(ledger: &Ledger, accounts: &Arc<[AccountId]>, callers: usize) -> usize {
    let until = Instant::now() + Duration::from_millis(2_200);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(caller(ledger.clone(), Arc::clone(accounts), until));
    }
    tasks.join_all().await.into_iter().sum()
}

#[tokio::test]
async fn a_busy_key_costs_the_store_some_batches_however_many_its_calls() {
    let bench = KIND.scope(Kind::Postgres, Bench::new()).await;
    let key = bench.key("sk-busy", Some(1_000_000_000)).await;
    let team = SharedAccount::parse("team", "busy").expect("scope");
    let budget = AccountId::Shared(team.clone());
    bench.limit(&budget, Some(1_000_000_000)).await;
    let accounts = accounts(key, [team]);
    // The second before tells how much to claim ahead.
    calls(&bench.ledger, &accounts, 20).await;

    let statements = Statements::default();
    let subscriber = tracing_subscriber::registry().with(statements.clone());
    let _counting = tracing::subscriber::set_default(subscriber);
    let done = calls(&bench.ledger, &accounts, 50).await;
    bench.ledger.drain().await;
    let (all, batches) = statements.so_far();
    // Ten a second, and as many again for what is claimed and flushed at once.
    assert!(batches <= 50, "{batches} batches for {done} calls");
    let most = batches * 40 + done / 32;
    assert!(
        all <= most,
        "{all} statements in {batches} batches for {done} calls"
    );
    bench.check().await;
}
