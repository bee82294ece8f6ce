//! Goal: in no order of three calls of two keys, a crash, a sweep and the end of a
//! window does an account go over its limit, lose a cost, or refuse a call that
//! fits. Method: every order, each state once. A claim is queued, decided and
//! answered in steps of their own, in batches of any size, as the writer does.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::ledger::account::IDLE;

const FREE: i64 = 30;
/// A call's retries, as in the ledger.
const TRIES_MAX: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Asked {
    key: usize,
    need: i64,
    tries: usize,
}

#[derive(Debug, Clone)]
struct Waiting {
    asked: Asked,
    claim: Claim,
    short: Box<Short>,
    decided: Option<Decided>,
}

#[derive(Debug, Clone)]
enum Decided {
    Granted(Vec<Grant>),
    Refused {
        at: usize,
        standing: Standing,
        /// By what has been admitted: what else is held may go again.
        fits: bool,
    },
}

#[derive(Debug, Clone)]
struct State {
    world: World,
    keys: [Arc<[AccountId]>; 2],
    clock: DateTime<Utc>,
    to_come: Vec<Asked>,
    waiting: Vec<Waiting>,
    crashes: usize,
    sweeps: usize,
    resets: usize,
    overtakings: usize,
}

impl State {
    /// Two keys that share a budget, the first with little of its own. Of the
    /// shared one this process has something free already.
    fn new(limit: Option<i64>, free: i64, needs: [(usize, i64); 3]) -> Self {
        let role = SharedAccount::parse("role", "r").expect("scope");
        let keys = ["sk-poor", "sk-rich"].map(|key| accounts(KeyHash::of(key), [role.clone()]));
        let clock = "2026-11-21T09:59:59Z".parse().expect("a time");
        let mut world = World::default();
        let row = |limit, period| Row {
            limit,
            period,
            ..Row::default()
        };
        for (id, row) in [
            (keys[0][0].clone(), row(Some(10), None)),
            (keys[1][0].clone(), row(None, None)),
            (keys[0][1].clone(), row(limit, Period::parse("1h"))),
        ] {
            world.store.insert(id, row);
        }
        let to_come = needs.map(|(key, need)| Asked {
            key,
            need,
            tries: 0,
        });
        let mut state = Self {
            world,
            keys,
            clock,
            to_come: to_come.to_vec(),
            waiting: Vec::new(),
            crashes: 0,
            sweeps: 0,
            resets: 0,
            overtakings: 1,
        };
        let shared = state.current(0)[1].clone();
        let row = state.world.store.get_mut(&shared).expect("opened");
        row.allotted = free;
        let standing = row.standing();
        let account = Account::new(standing, Duration::ZERO);
        state.world.books.insert(shared.clone(), account);
        let claim = Claim {
            process: uuid::Uuid::nil(),
            accounts: [shared].into(),
            least: NOTHING,
            ahead: NOTHING,
        };
        let granted = Grant {
            at: 0,
            amount: NanoUsd::from_nanos(free),
            standing,
        };
        state.world.books.granted(&claim, &[granted]);
        state
    }

    /// The accounts of now, those of windows opened.
    fn current(&mut self, key: usize) -> Arc<[AccountId]> {
        let given = Arc::clone(&self.keys[key]);
        loop {
            match self.world.books.current(&given, self.clock) {
                Ok(current) => {
                    for (of, id) in given.iter().zip(current.iter()) {
                        let limit = self.world.store[of].limit;
                        let opened = self.world.store.entry(id.clone());
                        opened.or_insert_with(|| Row {
                            limit,
                            ..Row::default()
                        });
                    }
                    return current;
                }
                Err(unknown) => self.load(&given[unknown]),
            }
        }
    }

    fn load(&mut self, id: &AccountId) {
        let account = Account::new(self.world.store[id].standing(), self.world.now);
        self.world.books.insert(id.clone(), account);
    }

    fn begin(&mut self, asked: Asked) {
        assert!(asked.tries < TRIES_MAX, "it never ends: {self:?}");
        let accounts = self.current(asked.key);
        let need = NanoUsd::from_nanos(asked.need);
        loop {
            match self.world.books.take(&accounts, need, self.world.now) {
                TakeAll::Unknown(at) => self.load(&accounts[at]),
                TakeAll::Held => return self.admit(accounts, asked.need),
                TakeAll::Refused(at) => {
                    assert!(!self.fits(&accounts[at], asked.need), "{self:?}");
                    return;
                }
                TakeAll::Short(short) => {
                    let claim = Claim {
                        process: Uuid::nil(),
                        accounts,
                        least: short.missing,
                        ahead: short.ahead,
                    };
                    return self.waiting.push(Waiting {
                        asked,
                        claim,
                        short,
                        decided: None,
                    });
                }
            }
        }
    }

    fn admit(&mut self, accounts: Arc<[AccountId]>, held: i64) {
        self.world.open.push(Open { accounts, held });
    }

    /// Whether there is room besides what was posted and admitted.
    fn fits(&self, id: &AccountId, need: i64) -> bool {
        let granted = self.waiting.iter().filter(|one| {
            matches!(one.decided, Some(Decided::Granted(_))) && one.claim.accounts.contains(id)
        });
        let granted = granted.map(|one| one.asked.need).sum::<i64>();
        let row = &self.world.store[id];
        let used = row.posted + self.world.held(id) + granted;
        row.limit
            .is_none_or(|limit| used + need <= limit && row.posted < limit)
    }

    /// The store decides the first claims of the queue.
    fn decide(&mut self, count: usize) {
        for index in 0..count {
            let Waiting { asked, claim, .. } = self.waiting[index].clone();
            let decided = match self.world.claim(&claim) {
                Ok(grants) => Decided::Granted(grants),
                Err((at, standing)) => Decided::Refused {
                    at,
                    standing,
                    fits: self.fits(&claim.accounts[at], asked.need),
                },
            };
            self.waiting[index].decided = Some(decided);
        }
    }

    /// As the ledger answers a batch.
    fn answer(&mut self) {
        let answered = self.waiting.iter().take_while(|one| one.decided.is_some());
        let answered = answered.count();
        let batch = self.waiting.drain(..answered).collect::<Vec<_>>();
        let books = &self.world.books;
        let doubts = batch.iter().map(|one| match &one.decided {
            Some(Decided::Refused { at, standing, .. }) => {
                books.is_in_doubt(&one.claim, *at, one.short.held[*at], *standing)
            }
            _ => false,
        });
        let doubts = doubts.collect::<Vec<_>>();
        for one in &batch {
            let accounts = &one.claim.accounts;
            self.world.books.claim_ended(accounts, &one.short.held);
            match one.decided.clone().expect("decided") {
                Decided::Granted(grants) => {
                    self.world.books.granted(&one.claim, &grants);
                    self.admit(Arc::clone(accounts), one.asked.need);
                }
                Decided::Refused { at, standing, .. } => {
                    let now = self.world.now;
                    let surplus = self.world.books.release(accounts, &one.short.held, now);
                    self.world.give_back(accounts, &surplus);
                    let changes = one.short.changes[at];
                    let books = &mut self.world.books;
                    books.refused(&one.claim, at, changes, standing, now);
                }
            }
        }
        for (one, in_doubt) in batch.into_iter().zip(doubts) {
            if let Some(Decided::Refused { at, fits, .. }) = one.decided {
                let id = &one.claim.accounts[at];
                let has_changed = self.world.books.changes(id) != one.short.changes[at];
                if in_doubt || has_changed {
                    let tries = one.asked.tries + 1;
                    self.begin(Asked { tries, ..one.asked });
                } else {
                    assert!(!fits, "refused for what went again: {self:?}");
                }
            }
        }
    }

    fn crash(&mut self) {
        self.waiting.clear();
        self.world.crash();
    }

    fn check(&self) {
        for (id, row) in &self.world.store {
            let counted = self.world.counted.get(id).copied().unwrap_or_default();
            assert!(row.posted >= counted, "{id}: spend was lost: {self:?}");
            let total = row.posted + row.allotted;
            assert!(row.limit.is_none_or(|limit| total <= limit), "{self:?}");
            let Some(account) = self.world.books.get(id) else {
                continue;
            };
            let (mut pending, mut granted) = (0, 0);
            for one in &self.waiting {
                let found = one.claim.accounts.iter().position(|other| other == id);
                pending += found.map_or(0, |at| one.short.held[at].nanos());
                if let Some(Decided::Granted(grants)) = &one.decided {
                    let of = grants.iter().filter(|grant| Some(grant.at) == found);
                    granted += of.map(|grant| grant.amount.nanos()).sum::<i64>();
                }
            }
            let held = self.world.held(id) + pending;
            assert_eq!(account.held().nanos(), held, "{id} {self:?}");
            assert_eq!(account.pending().nanos(), pending, "{id} {self:?}");
            assert!(account.held() <= account.allotted(), "{id} {self:?}");
            assert_eq!(account.allotted().nanos() + granted, row.allotted, "{id}");
            assert_eq!(account.posted().nanos(), row.posted, "{id} {self:?}");
        }
    }

    fn steps(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let mut with = |step: &dyn Fn(&mut Self)| {
            let mut state = self.clone();
            step(&mut state);
            next.push(state);
        };
        for index in 0..self.to_come.len() {
            with(&|state| {
                let asked = state.to_come.remove(index);
                state.begin(asked);
            });
        }
        if self.waiting.iter().any(|one| one.decided.is_some()) {
            with(&Self::answer);
        } else {
            for count in 1..=self.waiting.len() {
                with(&|state| state.decide(count));
            }
            // Who took first need not be the first in the queue.
            for index in 1..self.waiting.len().min(1 + self.overtakings) {
                with(&|state| {
                    state.overtakings -= 1;
                    state.waiting.swap(index - 1, index);
                });
            }
        }
        for index in 0..self.world.open.len() {
            let held = self.world.open[index].held;
            for cost in [held, held / 3] {
                with(&|state| state.world.settle(index, cost));
            }
            with(&|state| state.world.release(index));
        }
        if self.crashes > 0 {
            with(&|state| {
                state.crashes -= 1;
                state.crash();
            });
        }
        if self.sweeps > 0 {
            with(&|state| {
                state.sweeps -= 1;
                state.world.now += IDLE;
                state.world.sweep();
            });
        }
        if self.resets > 0 {
            with(&|state| {
                state.resets -= 1;
                state.clock += chrono::TimeDelta::hours(1);
            });
        }
        next
    }

    /// The same for states that only differ in how they came about.
    fn name(&self) -> String {
        let World {
            store, books, now, ..
        } = &self.world;
        let store = store.iter().map(|(id, row)| (id, (row, books.get(id))));
        let left = (self.crashes, self.sweeps, self.resets, self.overtakings);
        let mut open = self.world.open.iter().collect::<Vec<_>>();
        open.sort_by_key(|open| (open.accounts.clone(), open.held));
        format!(
            "{:?} {open:?} {:?} {left:?} {:?} {now:?}",
            store.collect::<BTreeMap<_, _>>(),
            self.waiting,
            self.to_come,
        )
    }
}

#[test]
fn b1_every_interleaving_of_three_calls_on_shared_accounts() {
    let (poor, rich) = (0, 1);
    let mut states = 0;
    for (limit, free, needs, troubles) in [
        (
            Some(80),
            FREE,
            [(poor, 60), (rich, 60), (rich, 20)],
            [0, 1, 0],
        ),
        (
            Some(80),
            FREE,
            [(poor, 60), (rich, 60), (rich, 20)],
            [1, 0, 1],
        ),
        (
            Some(80),
            FREE,
            [(rich, 60), (rich, 60), (poor, 5)],
            [1, 0, 0],
        ),
        (Some(60), 0, [(poor, 60), (rich, 60), (rich, 0)], [1, 1, 0]),
        (Some(0), 0, [(rich, 0), (rich, 1), (poor, 1)], [1, 1, 1]),
        (None, FREE, [(poor, 60), (rich, 60), (rich, 20)], [1, 0, 0]),
    ] {
        let mut start = State::new(limit, free, needs);
        [start.crashes, start.sweeps, start.resets] = troubles;
        let mut seen = HashSet::new();
        let mut open = vec![start];
        while let Some(state) = open.pop() {
            state.check();
            for next in state.steps() {
                if seen.insert(next.name()) {
                    open.push(next);
                }
            }
        }
        states += seen.len();
    }
    assert!(states > 5_000, "{states}");
}
