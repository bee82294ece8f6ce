//! Goal: no order of events makes one account of a call spend more than its
//! limit, or leaves a hold in one that another has refused. Method: random lives
//! of five accounts that keys share, against naive maps.

mod interleavings;
mod windows;

use std::collections::HashMap as Map;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::*;
use crate::key::{KeyHash, Period, SharedAccount, accounts};

const SEEDS: u64 = 3_000;

/// One account of the store, as simple as it can be.
#[derive(Debug, Clone, Default)]
struct Row {
    limit: Option<i64>,
    posted: i64,
    allotted: i64,
    period: Option<Period>,
}

#[derive(Debug, Clone)]
struct Open {
    accounts: Arc<[AccountId]>,
    held: i64,
}

#[derive(Debug, Clone, Default)]
struct World {
    store: Map<AccountId, Row>,
    books: Books,
    open: Vec<Open>,
    now: Duration,
    overshoot: Map<AccountId, i64>,
    counted: Map<AccountId, i64>,
}

impl Row {
    fn standing(&self) -> Standing {
        Standing {
            limit: self.limit.map(NanoUsd::from_nanos),
            posted: NanoUsd::from_nanos(self.posted),
            allotted: NanoUsd::from_nanos(self.allotted),
            period: self.period,
        }
    }

    fn fits(&self, amount: i64) -> bool {
        let total = self.posted + self.allotted + amount;
        self.limit.is_none_or(|limit| total <= limit)
    }
}

impl World {
    /// All or nothing, as the store does it.
    fn claim(&mut self, claim: &Claim) -> Result<Vec<Grant>, (usize, Standing)> {
        let refusing = claim
            .asked()
            .find(|(at, id)| !self.store[*id].fits(claim.least[*at].nanos()));
        if let Some((at, id)) = refusing {
            return Err((at, self.store[id].standing()));
        }
        let mut grants = Vec::new();
        for (at, id) in claim.asked() {
            let row = self.store.get_mut(id).expect("row");
            let both = claim.least[at].saturating_add(claim.ahead[at]);
            let amount = match row.fits(both.nanos()) {
                true => both,
                false => claim.least[at],
            };
            row.allotted += amount.nanos();
            grants.push(Grant {
                at,
                amount,
                standing: row.standing(),
            });
        }
        Ok(grants)
    }

    fn hold(&mut self, accounts: &Arc<[AccountId]>, need: i64) -> bool {
        let amount = NanoUsd::from_nanos(need);
        let before = self.books.clone();
        let admitted = match self.books.take(accounts, amount, self.now) {
            TakeAll::Held => true,
            TakeAll::Refused(at) => {
                self.expect_no_room(&accounts[at], need);
                self.expect_unchanged(&before);
                false
            }
            TakeAll::Unknown(at) => {
                let id = accounts[at].clone();
                let account = Account::new(self.store[&id].standing(), self.now);
                self.books.insert(id, account);
                return self.hold(accounts, need);
            }
            TakeAll::Short(short) => {
                let claim = Claim {
                    process: uuid::Uuid::nil(),
                    accounts: Arc::clone(accounts),
                    least: short.missing,
                    ahead: short.ahead,
                };
                match self.claim(&claim) {
                    Ok(grants) => {
                        self.books.claim_ended(accounts, &short.held);
                        self.books.granted(&claim, &grants);
                        true
                    }
                    Err((at, standing)) => {
                        self.books.claim_ended(accounts, &short.held);
                        let surplus = self.books.release(accounts, &short.held, self.now);
                        self.books
                            .refused(&claim, at, short.changes[at], standing, self.now);
                        self.give_back(accounts, &surplus);
                        self.expect_no_room(&accounts[at], need);
                        false
                    }
                }
            }
        };
        if admitted {
            self.open.push(Open {
                accounts: Arc::clone(accounts),
                held: need,
            });
        }
        admitted
    }

    /// A refusal is right where posted and held leave no room, or where an
    /// earlier one of as little is remembered and nothing has changed since.
    fn expect_no_room(&self, id: &AccountId, need: i64) {
        let row = &self.store[id];
        let held = self.held(id);
        let limit = row
            .limit
            .expect("an account without a limit refuses nothing");
        assert!(
            row.posted + held + need > limit || row.posted >= limit,
            "{id} {need} {self:?}"
        );
    }

    fn expect_unchanged(&self, before: &Books) {
        for id in before.ids() {
            let held = |books: &Books| books.get(&id).map(Account::held);
            assert_eq!(held(&self.books), held(before), "{id}");
            assert_eq!(self.books.changes(&id), before.changes(&id), "{id}");
        }
    }

    fn give_back(&mut self, accounts: &[AccountId], amounts: &Amounts) {
        for (id, amount) in accounts.iter().zip(amounts) {
            self.store.get_mut(id).expect("row").allotted -= amount.nanos();
        }
    }

    fn settle(&mut self, index: usize, cost: i64) {
        let Open { accounts, held } = self.open.swap_remove(index);
        let releases = {
            let held = whole(&accounts, held);
            let cost = NanoUsd::from_nanos(cost);
            self.books.settle(&accounts, &held, cost, self.now)
        };
        self.give_back(&accounts, &releases);
        for id in accounts.iter() {
            self.store.get_mut(id).expect("row").posted += cost;
            *self.overshoot.entry(id.clone()).or_default() += (cost - held).max(0);
            *self.counted.entry(id.clone()).or_default() += cost;
        }
    }

    fn release(&mut self, index: usize) {
        let Open { accounts, held } = self.open.swap_remove(index);
        let held = whole(&accounts, held);
        let surplus = self.books.release(&accounts, &held, self.now);
        self.give_back(&accounts, &surplus);
    }

    fn sweep(&mut self) {
        for (id, amount) in self.books.sweep(self.now) {
            self.store.get_mut(&id).expect("row").allotted -= amount.nanos();
        }
        // As if every account had been looked at.
        for id in self.books.ids() {
            let account = self.books.get_mut(&id).expect("account");
            assert_eq!(account.sweep(self.now), NanoUsd::ZERO, "{id} {self:?}");
        }
    }

    /// The process dies; every open request had cost its whole hold.
    fn crash(&mut self) {
        for open in std::mem::take(&mut self.open) {
            for id in open.accounts.iter() {
                *self.counted.entry(id.clone()).or_default() += open.held;
            }
        }
        for row in self.store.values_mut() {
            row.posted += std::mem::take(&mut row.allotted);
        }
        self.books = Books::default();
    }

    fn held(&self, id: &AccountId) -> i64 {
        let open = self.open.iter().filter(|open| open.accounts.contains(id));
        open.map(|open| open.held).sum()
    }

    fn check(&self) {
        for (id, row) in &self.store {
            if let Some(account) = self.books.get(id) {
                assert_eq!(account.held().nanos(), self.held(id), "{id} {self:?}");
                assert!(account.held() <= account.allotted(), "{id} {self:?}");
                assert_eq!(account.allotted().nanos(), row.allotted, "{id} {self:?}");
                assert_eq!(account.posted().nanos(), row.posted, "{id} {self:?}");
            }
            let counted = self.counted.get(id).copied().unwrap_or_default();
            assert!(row.posted >= counted, "{id}: spend was lost: {self:?}");
            let overshoot = self.overshoot.get(id).copied().unwrap_or_default();
            let total = row.posted + row.allotted;
            assert!(
                row.limit.is_none_or(|limit| total <= limit + overshoot),
                "{id} {self:?}"
            );
        }
    }
}

fn whole(accounts: &[AccountId], amount: i64) -> Amounts {
    let mut amounts = NOTHING;
    amounts[..accounts.len()].fill(NanoUsd::from_nanos(amount));
    amounts
}

/// Xorshift: the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).expect("positive");
        i64::try_from(self.0 % bound).expect("small")
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(i64::try_from(length).expect("few"))).expect("few")
    }
}

/// Three keys, of which two share one account and all of them another.
fn keys() -> [Arc<[AccountId]>; 3] {
    let shared = |scope, id| SharedAccount::parse(scope, id).expect("scope");
    let (role, entity) = (shared("role", "r"), shared("entity", "e"));
    [
        accounts(KeyHash::of("sk-a"), [role.clone(), entity.clone()]),
        accounts(KeyHash::of("sk-b"), [entity.clone(), role]),
        accounts(KeyHash::of("sk-c"), [entity]),
    ]
}

#[test]
fn thousands_of_random_lives_of_accounts_that_keys_share() {
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let keys = keys();
        let mut world = World::default();
        for id in keys.iter().flat_map(|accounts| accounts.iter()) {
            let limit = (random.below(3) > 0).then(|| random.below(2_000));
            let row = Row {
                limit,
                ..Row::default()
            };
            world.store.entry(id.clone()).or_insert(row);
        }
        for _ in 0..80 {
            let open = world.open.len();
            match random.below(20) {
                0..=8 => {
                    let key = &keys[random.index(keys.len())];
                    world.hold(key, random.below(200));
                }
                9..=15 if open > 0 => {
                    let index = random.index(open);
                    let held = world.open[index].held;
                    let cost = match random.below(8) {
                        0 => held + random.below(100),
                        1 => held,
                        _ => held / 3,
                    };
                    world.settle(index, cost);
                }
                16 if open > 0 => world.release(random.index(open)),
                17 => world.sweep(),
                18 if random.below(4) == 0 => world.crash(),
                _ => {
                    let step = u64::try_from(random.below(1_500)).expect("positive");
                    world.now += Duration::from_millis(step);
                }
            }
            world.check();
        }
    }
}

#[test]
fn what_a_released_call_leaves_to_a_busy_account_goes_back_later() {
    let mut world = World::default();
    let key = accounts(KeyHash::of("sk-busy"), []);
    world.store.insert(key[0].clone(), Row::default());
    for _ in 0..12 {
        assert!(world.hold(&key, 10));
        world.settle(0, 10);
    }
    world.now = Duration::from_millis(1_100);
    assert!(world.hold(&key, 10));
    world.settle(0, 10);
    // This one claims ahead, and the next one holds all of that.
    assert!(world.hold(&key, 10) && world.hold(&key, 120));
    assert_eq!(world.store[&key[0]].allotted, 130);
    world.sweep();
    world.release(1);
    assert_eq!(world.store[&key[0]].allotted, 130, "the account is busy");
    world.now += Duration::from_secs(3);
    world.sweep();
    assert_eq!(world.store[&key[0]].allotted, 10);
}

#[test]
fn what_nothing_has_used_for_long_is_forgotten_unless_a_call_holds_some_of_it() {
    let mut world = World::default();
    let keys = keys();
    for id in keys.iter().flat_map(|accounts| accounts.iter()) {
        world.store.insert(id.clone(), Row::default());
    }
    let (idle, now) = (Duration::from_secs(600), Duration::from_secs(600));
    assert!(world.hold(&keys[0], 10) && world.hold(&keys[1], 10));
    world.settle(1, 10);
    world.now = Duration::from_millis(1);
    assert!(world.hold(&keys[2], 10));
    world.settle(1, 10);
    world.books.forget(idle, now);
    let known = |world: &World, accounts: &[AccountId]| {
        let known = accounts.iter().filter(|id| world.books.get(id).is_some());
        known.count()
    };
    assert_eq!(known(&world, &keys[0]), 3, "held");
    assert_eq!(known(&world, &keys[1][..1]), 0, "not used since");
    assert_eq!(known(&world, &keys[2]), 2, "used since");
    world.settle(0, 10);
    world.books.forget(idle, now + now);
    assert_eq!(known(&world, &keys.concat()), 0);
}

#[test]
fn a_refusal_in_one_account_leaves_no_trace_in_the_others() {
    let [key, ..] = keys();
    for refusing in 0..key.len() {
        let mut world = World::default();
        for (at, id) in key.iter().enumerate() {
            let limit = Some(if at == refusing { 50 } else { 1_000 });
            let row = Row {
                limit,
                ..Row::default()
            };
            world.store.insert(id.clone(), row);
        }
        assert!(!world.hold(&key, 60), "{refusing}");
        world.check();
        assert!(
            world.store.values().all(|row| row.allotted == 0),
            "{world:?}"
        );
        // Now it is remembered: nobody asks the store, and no account changes.
        let before = world.books.clone();
        let again = world.books.take(&key, NanoUsd::from_nanos(60), world.now);
        assert!(
            matches!(again, TakeAll::Refused(at) if at == refusing),
            "{again:?}"
        );
        world.expect_unchanged(&before);
        assert!(world.hold(&key, 50), "less fits");
        world.check();
    }
}
