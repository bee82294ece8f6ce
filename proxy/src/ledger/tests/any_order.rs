//! A settlement counts once whatever becomes of it on its way: written twice,
//! after one that came later, or after its process was taken for dead.
//! Method: random orders of claims, settlements, their repetitions and a sweep on
//! a real store, against the sum of what the requests cost. A failure names its
//! seed.

mod lives;

use super::*;
use crate::key::SharedAccount;
use crate::ledger::entry::{Claim, Entry, NOTHING, Outcome, Posting};
use crate::store::ledger::apply;
use crate::store::usage::UsageRow;

const CASES: u64 = 40;
const REQUESTS: u64 = 8;

on_both![b4_each_request_counts_once_in_any_order,];

/// Small and repeatable (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn amount(&mut self, most: u64) -> i64 {
        i64::try_from(self.below(most)).expect("small")
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            let other = self.below(at as u64 + 1);
            all.swap(at, usize::try_from(other).expect("small"));
        }
    }
}

struct Case {
    bench: Bench,
    accounts: Arc<[AccountId]>,
    /// Who claims and settles; another one writes for it once it is swept.
    process: Uuid,
    writer: Uuid,
    batch: i64,
}

impl Case {
    async fn write(&mut self, entries: &[Entry]) -> Vec<Outcome> {
        self.batch += 1;
        apply(&self.bench.store, self.writer, self.batch, entries)
            .await
            .expect("applied")
    }

    async fn claim(&mut self, held: i64) {
        let mut least = NOTHING;
        for amount in least.iter_mut().take(self.accounts.len()) {
            *amount = NanoUsd::from_nanos(held);
        }
        let claim = Claim {
            process: self.process,
            accounts: Arc::clone(&self.accounts),
            least,
            ahead: NOTHING,
        };
        let outcomes = self.write(&[Entry::Claim(Box::new(claim))]).await;
        assert!(matches!(outcomes[..], [Outcome::Granted(_)]));
    }

    fn settlement(&self, held: i64, cost: i64) -> Entry {
        let mut releases = NOTHING;
        for amount in releases.iter_mut().take(self.accounts.len()) {
            *amount = NanoUsd::from_nanos(held);
        }
        let row = UsageRow::of_test(Arc::clone(&self.accounts), NanoUsd::from_nanos(cost));
        let process = self.process;
        Entry::Post(Box::new(Posting {
            row,
            process,
            releases,
        }))
    }

    /// Another process notices that this one is silent.
    async fn sweep(&mut self) {
        silence_all(&self.bench.store).await;
        store::ledger::recover::recover(&self.bench.store, Utc::now())
            .await
            .expect("recovered");
        self.writer = Uuid::new_v4();
        self.batch = 0;
        register(&self.bench.store, self.writer)
            .await
            .expect("registered");
    }

    async fn expect(&self, posted: i64, allotted: i64, seed: u64) {
        for account in self.accounts.iter() {
            let standing = self.bench.standing_of(account).await;
            let found = (standing.posted.nanos(), standing.allotted.nanos());
            assert_eq!(found, (posted, allotted), "{account} of seed {seed}");
        }
        self.bench.check().await;
    }
}

async fn b4_each_request_counts_once_in_any_order() {
    let mut bench = Bench::new().await;
    for seed in 0..CASES {
        bench = one_case(bench, seed).await;
    }
}

async fn one_case(bench: Bench, seed: u64) -> Bench {
    let mut random = Random(seed);
    let key = bench.key(&format!("sk-{seed}"), Some(1_000_000)).await;
    let team = SharedAccount::parse("team", &seed.to_string()).expect("scope");
    bench.limit(&AccountId::Shared(team.clone()), None).await;
    let process = Uuid::new_v4();
    register(&bench.store, process).await.expect("registered");
    let mut case = Case {
        bench,
        accounts: accounts(key, [team]),
        process,
        writer: process,
        batch: 0,
    };
    let (mut held_in_all, mut cost_in_all) = (0, 0);
    let mut settlements = Vec::new();
    let mut left_open = 0;
    for request in 0..REQUESTS {
        // The cost may be more than what is held.
        let (held, cost) = (1 + random.amount(100), random.amount(150));
        case.claim(held).await;
        held_in_all += held;
        if request == 0 {
            left_open = held;
            continue;
        }
        cost_in_all += cost;
        let settlement = case.settlement(held, cost);
        for _ in 0..=random.below(3) {
            settlements.push(settlement.clone());
        }
    }
    case.expect(0, held_in_all, seed).await;
    random.shuffle(&mut settlements);
    let sweep_at = usize::try_from(random.below(settlements.len() as u64 + 1)).expect("small");
    let (before, after) = settlements.split_at(sweep_at);
    for some in before.chunks(1 + usize::try_from(random.below(4)).expect("small")) {
        case.write(some).await;
    }
    case.sweep().await;
    for some in after.chunks(1 + usize::try_from(random.below(4)).expect("small")) {
        case.write(some).await;
    }
    // The one that never settled stays as an estimate, and nothing else does.
    case.expect(cost_in_all + left_open, 0, seed).await;
    case.bench
}
