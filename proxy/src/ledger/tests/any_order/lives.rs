//! Goal: whatever happens to calls, limits and processes, in whatever order, each
//! account comes to what a naive model says, after each step.
//! Method: random lives of a key with a budget of its own, one that it shares and one
//! that counts from zero each hour, on the whole ledger with a real store. A failure
//! names its seed.

mod crash;

use std::collections::BTreeMap;

use super::*;
use crate::key::Period;

/// Those with failpoints run apart from the usual ones, and may take longer.
const LIVES: u64 = 120 * if cfg!(feature = "failpoints") { 5 } else { 1 };
const STEPS: u64 = 25;
/// So few settlements in one life that nothing is claimed ahead of the calls: that is
/// a step of its own, or the model would have to know the time.
const SETTLED_MAX: usize = 9;

on_both![b4_whatever_happens_each_account_is_what_a_naive_model_says,];

/// An account as the model knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Naive {
    limit: Option<i64>,
    posted: i64,
    held: i64,
}

type Model = BTreeMap<AccountId, Naive>;

/// A call under way.
struct Open {
    hold: Hold,
    /// Its process was taken for dead: what it holds counts as posted.
    is_late: bool,
}

struct Life {
    bench: Bench,
    clock: Clock,
    random: Random,
    seed: u64,
    key: Arc<[AccountId]>,
    /// Counts from zero each hour.
    budget: SharedAccount,
    budget_limit: Option<i64>,
    model: Model,
    open: Vec<Open>,
    /// Rows that are in the store.
    settled: Vec<UsageRow>,
}

fn hour() -> Period {
    Period::parse("1h").expect("duration")
}

async fn b4_whatever_happens_each_account_is_what_a_naive_model_says() {
    // Most of the time is the disk's.
    let quarter = |first| Box::pin(quarter(first));
    tokio::join!(quarter(0), quarter(1), quarter(2), quarter(3));
}

/// Each fourth life. Few of them share a database, whose books are verified as a
/// whole after each.
async fn quarter(first: u64) {
    let seeds = (first..LIVES).step_by(4).collect::<Vec<_>>();
    for seeds in seeds.chunks(60) {
        let mut bench = Bench::new().await;
        let clock = Clock::manual(Utc::now());
        bench.ledger = reopened(&bench, &clock).await;
        for seed in seeds {
            bench = Box::pin(one_life(bench, clock.clone(), *seed)).await;
        }
    }
}

async fn reopened(bench: &Bench, clock: &Clock) -> Ledger {
    let ledger = Ledger::open(&bench.store, clock.clone(), &Tasks::new()).await;
    ledger.expect("ledger")
}

async fn one_life(bench: Bench, clock: Clock, seed: u64) -> Bench {
    let mut life = Life::begin(bench, clock, seed).await;
    for _ in 0..STEPS {
        life = life.step().await;
        life.compare().await;
    }
    life.bench.check().await;
    life.open.clear();
    life.bench.ledger.drain().await;
    life.bench
}

impl Life {
    async fn begin(bench: Bench, clock: Clock, seed: u64) -> Self {
        let team = SharedAccount::parse("team", &format!("life {seed}")).expect("scope");
        let budget = SharedAccount::parse("role", &format!("life {seed}")).expect("scope");
        let hash = KeyHash::of(&format!("sk-life-{seed}"));
        let mut life = Self {
            key: accounts(hash, [team, budget.clone()]),
            bench,
            clock,
            seed,
            budget,
            budget_limit: None,
            model: Model::new(),
            open: Vec::new(),
            settled: Vec::new(),
            random: Random(seed),
        };
        for which in 0..3 {
            life.limit(which).await;
        }
        life
    }

    async fn step(mut self) -> Self {
        let ahead = match self.random.below(4) {
            0 => self.claim_ahead().await,
            _ => None,
        };
        match self.random.below(20) {
            0..=7 => self.hold().await,
            8..=13 => self.close().await,
            14 => self.repeat(),
            15 => self.clock.advance(chrono::TimeDelta::hours(1)),
            16 | 17 => {
                let which = self.random.below(3);
                self.limit(which).await;
            }
            18 => self.sweep().await,
            _ => return self.crash(ahead).await,
        }
        self
    }

    fn naive(&mut self, id: &AccountId) -> &mut Naive {
        let limit = self.budget_limit;
        let new = Naive {
            limit,
            ..Naive::default()
        };
        self.model.entry(id.clone()).or_insert(new)
    }

    fn fits(&mut self, accounts: &[AccountId], need: i64) -> bool {
        let mut fits = true;
        for id in accounts {
            let row = *self.naive(id);
            let used = row.posted + row.held + need;
            fits &= row.limit.is_none_or(|limit| used <= limit);
        }
        fits
    }

    async fn current(&self) -> Arc<[AccountId]> {
        let current = self.bench.ledger.current(&self.key).await;
        current.expect("accounts")
    }

    async fn hold(&mut self) {
        let need = 1 + self.random.amount(100);
        let accounts = self.current().await;
        let fits = self.fits(&accounts, need);
        // What is freed behind the ledger's back it may notice a second later.
        let deadline = Instant::now() + Duration::from_secs(10);
        let hold = loop {
            let call = call_of(&self.key);
            let held = self
                .bench
                .ledger
                .hold(call, NanoUsd::from_nanos(need))
                .await;
            match held {
                Ok(hold) => break hold,
                Err(HoldError::Exceeded { .. }) if !fits => return,
                // Or the machine is too slow for the store to answer in time.
                Err(error) => {
                    let seed = self.seed;
                    assert!(Instant::now() < deadline, "{error} in seed {seed}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        assert!(fits, "seed {}: {need} went over", self.seed);
        for id in accounts.iter() {
            self.naive(id).held += need;
        }
        self.open.push(Open {
            hold,
            is_late: false,
        });
    }

    /// A call ends: settled, never sent, or sent and not heard of again.
    async fn close(&mut self) {
        if self.open.is_empty() || self.settled.len() >= SETTLED_MAX {
            return;
        }
        let Open { mut hold, is_late } = self.take_open();
        let (call, need) = (hold.call().clone(), hold.upper().nanos());
        let actual = match self.random.below(4) {
            0 => {
                drop(hold);
                0
            }
            1 => {
                hold.mark_sent().await.unwrap();
                drop(hold);
                need
            }
            _ => {
                let actual = self.random.amount(150);
                hold.settle(cost(actual));
                let accounts = Arc::clone(&call.accounts);
                self.settled.push(UsageRow {
                    request_id: call.request_id,
                    ..UsageRow::of_test(accounts, NanoUsd::from_nanos(actual))
                });
                actual
            }
        };
        for id in call.accounts.iter() {
            let row = self.naive(id);
            row.posted += actual;
            match is_late {
                true => row.posted -= need,
                false => row.held -= need,
            }
        }
    }

    fn take_open(&mut self) -> Open {
        let at = self.random.below(self.open.len() as u64);
        self.open.swap_remove(usize::try_from(at).expect("small"))
    }

    /// A posting that is in the store comes again, as if of this process or of one
    /// that was taken for dead.
    fn repeat(&mut self) {
        let Some(row) = self.settled.last().cloned() else {
            return;
        };
        let process = match self.random.below(2) {
            0 => Uuid::new_v4(),
            _ => self.bench.ledger.0.books().process(),
        };
        let posting = Box::new(Posting {
            row,
            process,
            releases: NOTHING,
        });
        self.bench
            .ledger
            .0
            .send(Command::Write(Entry::Post(posting)));
    }

    /// Allots to this process what no call holds, as for a busy key.
    async fn claim_ahead(&mut self) -> Option<(Arc<[AccountId]>, i64)> {
        let amount = 1 + self.random.amount(50);
        let accounts = self.current().await;
        let fits = self.fits(&accounts, amount);
        let ledger = self.bench.ledger.clone();
        let mut least = NOTHING;
        for (least, id) in least.iter_mut().zip(accounts.iter()) {
            ledger.load(id).await.expect("loaded");
            *least = NanoUsd::from_nanos(amount);
        }
        let claim = Claim {
            process: ledger.0.books().process(),
            accounts: Arc::clone(&accounts),
            least,
            ahead: NOTHING,
        };
        ledger.0.send(Command::Write(Entry::Claim(Box::new(claim))));
        // Twice, because the first may find that this process was taken for dead.
        ledger.flush().await;
        ledger.flush().await;
        for id in accounts.iter() {
            let standing = self.bench.standing_of(id).await;
            let free = standing.allotted.nanos() - self.naive(id).held;
            let expected = if fits { amount } else { 0 };
            assert_eq!(free, expected, "{id} of seed {}", self.seed);
            let mut books = ledger.0.books();
            if fits && let Some(known) = books.get_mut(id) {
                // It stays for two seconds.
                known.take(NanoUsd::ZERO, ledger.0.now());
                known.granted(NanoUsd::from_nanos(free), NanoUsd::ZERO, standing);
                // As of an account in which others may have spent too.
                if ledger.0.store.is_shared() {
                    known.stands(standing);
                }
            }
        }
        fits.then_some((accounts, amount))
    }

    /// As an operator changes the budget of the key, the team or the role.
    async fn limit(&mut self, which: u64) {
        let limit = (self.random.below(4) > 0).then(|| self.random.amount(1_500));
        let account = match which {
            0 | 1 => self.key[usize::try_from(which).expect("small")].clone(),
            _ => return self.define(limit).await,
        };
        self.bench.limit(&account, limit).await;
        self.naive(&account).limit = limit;
        let changed = self.bench.ledger.refresh_on_drop(vec![account]);
        changed.done().await;
    }

    async fn define(&mut self, limit: Option<i64>) {
        let (nanos, now) = (limit.map(NanoUsd::from_nanos), self.clock.now());
        let window = hour().window(now).expect("window");
        let mut write = self.bench.store.begin_write().await.expect("begin");
        let changed =
            store::ledger::window::define(&mut write, &self.budget, nanos, Some(hour()), now).await;
        let changed = changed.expect("defined");
        let changed = self.bench.ledger.refresh_on_drop(changed);
        write.commit().await.expect("commit");
        changed.done().await;
        let current = AccountId::Shared(self.budget.during(window));
        self.budget_limit = limit;
        self.naive(&current).limit = limit;
    }

    /// Another process takes this one for dead, which does not know it yet.
    async fn sweep(&mut self) {
        silence_all(&self.bench.store).await;
        recover(&self.bench.store, self.clock.now())
            .await
            .expect("recovered");
        for row in self.model.values_mut() {
            row.posted += std::mem::take(&mut row.held);
        }
        for open in &mut self.open {
            open.is_late = true;
        }
    }

    /// Each account is what the model says, once what no call holds has gone back.
    async fn compare(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            // Twice, because the first may find that this process was taken for dead.
            self.bench.ledger.drain().await;
            self.bench.ledger.flush().await;
            let Some(different) = self.difference().await else {
                return;
            };
            let seed = self.seed;
            assert!(Instant::now() < deadline, "{different} of seed {seed}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn difference(&self) -> Option<String> {
        for (id, row) in &self.model {
            let found = store::ledger::standing(&self.bench.store, id).await;
            let found = found.expect("standing").unwrap_or_default();
            let (posted, allotted) = (found.posted.nanos(), found.allotted.nanos());
            if (posted, allotted) != (row.posted, row.held) {
                return Some(format!("{id}: {posted} and {allotted}, not {row:?},"));
            }
        }
        None
    }
}
