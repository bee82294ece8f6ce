//! The link between the simulation and the real stores: a batch costs as many
//! statements as is counted here, and that long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};
use uuid::Uuid;

use super::store::{Row, Store as Simulated, Write};
use super::{LARGE, say};
use crate::key::{AccountId, KeyHash, SharedAccount, SharedScope, accounts};
use crate::ledger::entry::{Claim, Entry, NOTHING, Posting};
use crate::money::NanoUsd;
use crate::store::ledger::process::register;
use crate::store::ledger::{apply, set_limit};
use crate::store::testing::{Database, KIND, Kind, on_both};
use crate::store::usage::UsageRow;
use crate::store::{Store, ledger::standing};

fn amount() -> NanoUsd {
    NanoUsd::from_nanos(1_000)
}

/// Counts the statements that the driver tells of: all but the one that begins a
/// transaction.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicU64>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Bench {
    store: Store,
    process: Uuid,
    batch: i64,
    _database: Database,
}

impl Bench {
    async fn new() -> Self {
        let database = Database::new().await;
        let store = database.open().await;
        let process = Uuid::new_v4();
        register(&store, process).await.unwrap();
        Self {
            store,
            process,
            batch: 0,
            _database: database,
        }
    }

    async fn open(&self, account: &AccountId) {
        let mut write = self.store.begin_write().await.unwrap();
        set_limit(&mut write, account, None).await.unwrap();
        write.commit().await.unwrap();
    }

    /// Until no connection is on its way back to the pool, which would open another
    /// one, and that costs statements of its own.
    async fn rest(&self) {
        let pool = self.store.reader();
        while pool.num_idle() < pool.size() as usize {
            tokio::task::yield_now().await;
        }
    }

    async fn apply(&mut self, entries: &[Entry]) {
        self.batch += 1;
        let applied = apply(&self.store, self.process, self.batch, entries).await;
        applied.unwrap();
    }

    fn claim(&self, of: &Arc<[AccountId]>) -> Entry {
        let mut least = NOTHING;
        for (least, _) in least.iter_mut().zip(of.iter()) {
            *least = amount();
        }
        Entry::Claim(Box::new(Claim {
            process: self.process,
            accounts: Arc::clone(of),
            least,
            ahead: NOTHING,
        }))
    }

    fn post(&self, of: &Arc<[AccountId]>) -> Entry {
        let mut releases = NOTHING;
        for (release, _) in releases.iter_mut().zip(of.iter()) {
            *release = amount();
        }
        Entry::Post(Box::new(Posting {
            row: UsageRow::of_test(Arc::clone(of), amount()),
            process: self.process,
            releases,
        }))
    }
}

/// A key and the team that it shares with all others.
fn key(number: usize) -> Arc<[AccountId]> {
    let team = SharedAccount {
        scope: SharedScope::Team,
        id: Arc::from("team"),
        window: None,
    };
    accounts(KeyHash::of(&format!("sk-{number}")), [team])
}

/// The same for the simulated store.
fn simulated(entries: &[Entry]) -> Vec<Write> {
    let write = |entry: &Entry| match entry {
        Entry::Claim(claim) => Write::Claim(Claim::clone(claim)),
        Entry::Post(posting) => Write::Post {
            accounts: Arc::clone(&posting.row.accounts),
            cost: posting.row.cost,
            releases: posting.releases,
        },
        Entry::Return(it) => Write::Return(it.account.clone(), it.amount),
    };
    entries.iter().map(write).collect()
}

/// One thread, so that what the driver says is heard here.
#[tokio::test]
async fn a_real_batch_costs_as_many_statements_as_the_simulation_counts() {
    Box::pin(KIND.scope(Kind::Postgres, compare())).await;
}

async fn compare() {
    let mut bench = Bench::new().await;
    let mut world = Simulated::default();
    for account in (0..5).flat_map(|number| key(number).to_vec()) {
        bench.open(&account).await;
        world.rows.insert(account, Row::default());
    }
    let claims = |many| (0..many).map(|number| key(number % 5));
    let batches = [
        claims(5).map(|of| bench.claim(&of)).collect::<Vec<_>>(),
        claims(70).map(|of| bench.claim(&of)).collect(),
        claims(73).map(|of| bench.post(&of)).collect(),
        vec![bench.post(&key(4)), bench.claim(&key(1))],
        vec![],
    ];
    for (number, batch) in batches.iter().enumerate() {
        let counted = world.statements;
        world.apply(0, &simulated(batch));
        let counted = world.statements - counted;
        bench.rest().await;
        let heard = Statements::default();
        let _guard = tracing::subscriber::set_default(Registry::default().with(heard.clone()));
        bench.apply(batch).await;
        let to_begin = 1;
        let heard = heard.0.load(Ordering::Relaxed);
        assert_eq!(heard + to_begin, counted, "batch {number}");
    }
    let found = standing(&bench.store, &key(0)[0]).await.unwrap().unwrap();
    assert_eq!(found, world.rows[&key(0)[0]].standing());
}

on_both![how_long_batches_take,];

async fn how_long_batches_take() {
    if std::env::var_os(LARGE).is_none() {
        return;
    }
    const KEYS: usize = 100;
    let mut bench = Bench::new().await;
    for account in (0..KEYS).flat_map(|number| key(number).to_vec()) {
        bench.open(&account).await;
    }
    for (name, claims, posts, keys, rounds) in [
        ("a claim", 1, 0, 1, 300),
        ("a posting", 0, 1, 1, 300),
        ("100 postings of one key", 0, 100, 1, 50),
        ("100 postings of 100 keys", 0, 100, KEYS, 50),
    ] {
        let (mut spent, mut world) = (std::time::Duration::ZERO, Simulated::default());
        for account in (0..KEYS).flat_map(|number| key(number).to_vec()) {
            world.rows.insert(account, Row::default());
        }
        for _ in 0..rounds {
            let mut batch = Vec::new();
            batch.extend((0..claims).map(|number| bench.claim(&key(number % keys))));
            batch.extend((0..posts).map(|number| bench.post(&key(number % keys))));
            let rest = (0..posts).map(|number| bench.claim(&key(number % keys)));
            let rest = rest.collect::<Vec<_>>();
            bench.apply(&rest).await;
            world.apply(0, &simulated(&rest));
            world.statements = 0;
            let begun = Instant::now();
            bench.apply(&batch).await;
            spent += begun.elapsed();
            world.apply(0, &simulated(&batch));
        }
        let each = spent.as_micros() / rounds;
        let statements = world.statements;
        let kind = bench._database.kind;
        say(&format!(
            "| {kind:?} | {name} | {statements} | {each} | {} |",
            each / u128::from(statements)
        ));
    }
}
