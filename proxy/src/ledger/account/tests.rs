//! Goal: no order of events makes an account spend more than its limit or lose
//! a cost. Method: random sequences of operations, crashes included, against a
//! naive map; then every interleaving of three requests.

use std::collections::HashMap;

use super::*;

/// The store as simple as it can be: totals and rows.
#[derive(Debug, Clone, Default)]
struct Bank {
    limit: Option<i64>,
    posted: i64,
    allotted: i64,
    rows: HashMap<u32, i64>,
}

impl Bank {
    fn standing(&self) -> Standing {
        Standing {
            limit: self.limit.map(NanoUsd::from_nanos),
            posted: NanoUsd::from_nanos(self.posted),
            allotted: NanoUsd::from_nanos(self.allotted),
            period: None,
        }
    }

    fn claim(&mut self, least: NanoUsd, ahead: NanoUsd) -> Option<NanoUsd> {
        [least.saturating_add(ahead), least]
            .into_iter()
            .find(|amount| {
                let total = self.posted + self.allotted + amount.nanos();
                self.limit.is_none_or(|limit| total <= limit)
            })
            .inspect(|amount| self.allotted += amount.nanos())
    }

    /// A batch that is written twice counts once.
    fn post(&mut self, request: u32, cost: i64, release: NanoUsd) {
        if self.rows.insert(request, cost).is_none() {
            self.posted += cost;
            self.allotted -= release.nanos();
        }
    }

    fn recover(&mut self, request: u32) {
        let amount = self.allotted;
        if amount > 0 {
            self.post(request, amount, NanoUsd::from_nanos(amount));
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Open {
    request: u32,
    held: i64,
}

/// One process on one account, driven step by step.
#[derive(Debug, Clone)]
struct World {
    bank: Bank,
    account: Account,
    open: Vec<Open>,
    now: Duration,
    next_request: u32,
    overshoot: i64,
    /// What providers really counted.
    counted: i64,
}

impl World {
    fn new(limit: Option<i64>) -> Self {
        let bank = Bank {
            limit,
            ..Bank::default()
        };
        Self {
            account: Account::new(bank.standing(), Duration::ZERO),
            bank,
            open: Vec::new(),
            now: Duration::ZERO,
            next_request: 0,
            overshoot: 0,
            counted: 0,
        }
    }

    fn hold(&mut self, need: i64) -> bool {
        let need_nanos = NanoUsd::from_nanos(need);
        let changes = self.account.changes();
        let admitted = match self.account.take(need_nanos, self.now) {
            Take::Held => true,
            Take::Refused => false,
            Take::Short {
                partial,
                missing,
                ahead,
            } => match self.bank.claim(missing, ahead) {
                Some(amount) => {
                    let standing = self.bank.standing();
                    self.account.granted(amount, missing, standing);
                    true
                }
                None => {
                    let standing = self.bank.standing();
                    self.account.release(partial);
                    self.account.refused(missing, changes, standing, self.now);
                    false
                }
            },
        };
        if admitted {
            self.next_request += 1;
            self.open.push(Open {
                request: self.next_request,
                held: need,
            });
        }
        admitted
    }

    fn settle(&mut self, index: usize, cost: i64) {
        let open = self.open.swap_remove(index);
        let held = NanoUsd::from_nanos(open.held);
        let release = self
            .account
            .settle(held, NanoUsd::from_nanos(cost), self.now);
        self.bank.post(open.request, cost, release);
        self.bank.post(open.request, cost, release);
        self.overshoot += (cost - open.held).max(0);
        self.counted += cost;
    }

    fn release(&mut self, index: usize) {
        let open = self.open.swap_remove(index);
        self.account.release(NanoUsd::from_nanos(open.held));
        let surplus = self.account.give_back(self.now);
        self.bank.allotted -= surplus.nanos();
    }

    fn sweep(&mut self) {
        self.bank.allotted -= self.account.sweep(self.now).nanos();
    }

    /// The process dies; every open request had cost its whole hold.
    fn crash(&mut self) {
        self.counted += self.open.iter().map(|open| open.held).sum::<i64>();
        self.open.clear();
        self.next_request += 1;
        self.bank.recover(self.next_request);
        self.account = Account::new(self.bank.standing(), self.now);
    }

    fn check(&self) {
        let held = self.open.iter().map(|open| open.held).sum::<i64>();
        assert_eq!(self.account.held().nanos(), held, "{self:?}");
        assert!(self.account.held() <= self.account.allotted(), "{self:?}");
        assert_eq!(self.account.allotted().nanos(), self.bank.allotted);
        assert_eq!(self.account.posted().nanos(), self.bank.posted);
        assert_eq!(self.bank.rows.values().sum::<i64>(), self.bank.posted);
        assert!(self.bank.posted >= self.counted, "spend was lost: {self:?}");
        if let Some(limit) = self.bank.limit {
            let total = self.bank.posted + self.bank.allotted;
            assert!(total <= limit + self.overshoot, "{self:?}");
        }
    }
}

/// Xorshift: enough for choosing operations, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn amount(&mut self, bound: u64) -> i64 {
        i64::try_from(self.below(bound)).expect("small")
    }
}

#[test]
fn ten_thousand_random_lives_of_an_account() {
    for seed in 1..=10_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let limit = match random.below(4) {
            0 => None,
            _ => Some(random.amount(2_000)),
        };
        let mut world = World::new(limit);
        for _ in 0..60 {
            let open = u64::try_from(world.open.len()).expect("few");
            match random.below(20) {
                0..=8 => {
                    let need = random.amount(200);
                    world.hold(need);
                }
                9..=15 if open > 0 => {
                    let index = usize::try_from(random.below(open)).expect("few");
                    let held = world.open[index].held;
                    let cost = match random.below(8) {
                        0 => held + random.amount(100),
                        1 => held,
                        _ => held / 3,
                    };
                    world.settle(index, cost);
                }
                16 if open > 0 => world.release(0),
                17 => world.sweep(),
                18 => world.crash(),
                _ => world.now += Duration::from_millis(random.below(3_000)),
            }
            world.check();
        }
    }
}

#[test]
fn every_interleaving_of_three_requests() {
    /// What is left to do: requests not begun, and whether a crash may come.
    fn explore(world: &World, waiting: usize, crashes: usize, states: &mut u32) {
        *states += 1;
        world.check();
        if waiting > 0 {
            let mut next = world.clone();
            next.hold(4);
            explore(&next, waiting - 1, crashes, states);
        }
        for index in 0..world.open.len() {
            for cost in [1, 4] {
                let mut next = world.clone();
                next.settle(index, cost);
                explore(&next, waiting, crashes, states);
            }
            let mut next = world.clone();
            next.release(index);
            explore(&next, waiting, crashes, states);
        }
        if crashes > 0 {
            let mut next = world.clone();
            next.crash();
            explore(&next, waiting, crashes - 1, states);
            let mut next = world.clone();
            next.now += IDLE;
            next.sweep();
            explore(&next, waiting, crashes - 1, states);
        }
    }
    for limit in [Some(0), Some(4), Some(9), Some(12), None] {
        let mut states = 0;
        explore(&World::new(limit), 3, 2, &mut states);
        assert!(states > 10, "{states}");
    }
}

#[test]
fn a_budget_of_exactly_ten_calls_admits_ten() {
    let mut world = World::new(Some(1_000));
    let admitted = (0..200).filter(|_| world.hold(100)).count();
    assert_eq!(admitted, 10);
    for _ in 0..10 {
        world.settle(0, 100);
        world.check();
    }
    assert!(!world.hold(1), "it is spent");
}

#[test]
fn a_third_of_the_hold_leaves_room_for_more_calls() {
    let mut world = World::new(Some(1_000));
    let mut admitted = 0;
    while world.hold(99) {
        admitted += 1;
        world.settle(0, 33);
        world.check();
    }
    // The last calls are refused because their bound does not fit any more.
    assert_eq!(admitted, 28);
}

#[test]
fn a_quiet_account_claims_no_more_than_its_holds() {
    let mut world = World::new(None);
    for _ in 0..5 {
        world.now += Duration::from_millis(300);
        world.hold(50);
        assert_eq!(world.bank.allotted, 50);
        world.settle(0, 20);
        assert_eq!(world.bank.allotted, 0, "a crash now would post nothing");
    }
}

#[test]
fn a_busy_account_claims_ahead_and_an_idle_one_gives_back() {
    let mut world = World::new(Some(1_000_000));
    for _ in 0..100 {
        world.now += Duration::from_millis(50);
        assert!(world.hold(50));
        world.settle(0, 20);
        world.check();
    }
    let a_second_of_burn = 20 * 20;
    assert!(world.bank.allotted > 0, "nothing was claimed ahead");
    assert!(world.bank.allotted <= a_second_of_burn + 50);
    world.now += IDLE;
    world.sweep();
    assert_eq!(world.bank.allotted, 0);
}

#[test]
fn a_refusal_is_remembered_for_a_second_unless_something_changes() {
    let mut world = World::new(Some(100));
    assert!(world.hold(80));
    assert!(!world.hold(30));
    let need = NanoUsd::from_nanos(30);
    assert_eq!(world.account.take(need, world.now), Take::Refused);
    let smaller = world.account.take(NanoUsd::from_nanos(20), world.now);
    assert!(matches!(smaller, Take::Short { .. }), "less may fit");
    world.settle(0, 10);
    assert!(world.hold(30), "the settlement made room");
}

#[test]
fn a_spent_account_refuses_calls_that_cost_nothing_too() {
    assert!(!World::new(Some(0)).hold(0));
    assert!(World::new(Some(1)).hold(0));
    assert!(World::new(None).hold(0));
}

#[test]
fn a_lowered_limit_binds_what_is_left_over() {
    let mut busy = World::new(Some(1_000_000));
    for _ in 0..100 {
        busy.now += Duration::from_millis(50);
        assert!(busy.hold(50));
        busy.settle(0, 20);
    }
    let spent = busy.account.posted();
    assert!(busy.account.free() >= NanoUsd::from_nanos(11), "leftover");
    let limit = spent.saturating_add(NanoUsd::from_nanos(10));
    busy.account.limit_changed(Some(limit));
    let mut take = |need| busy.account.take(NanoUsd::from_nanos(need), busy.now);
    assert_eq!(take(11), Take::Refused);
    assert_eq!(take(10), Take::Held, "as much as the limit leaves");
    assert_eq!(take(1), Take::Refused);
    busy.account.release(NanoUsd::from_nanos(10));
    busy.account.give_back(busy.now);
    assert_eq!(busy.account.allotted(), NanoUsd::ZERO);
}

#[test]
fn after_a_limit_of_nothing_no_call_is_admitted() {
    for seed in 1..=2_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new(Some(100_000));
        for _ in 0..60 {
            world.now += Duration::from_millis(random.below(60));
            world.hold(random.amount(200));
            if random.below(4) > 0 && !world.open.is_empty() {
                world.settle(0, random.amount(50));
            }
        }
        world.bank.limit = Some(0);
        world.account.limit_changed(Some(NanoUsd::ZERO));
        while !world.open.is_empty() {
            assert!(!world.hold(random.amount(200)), "{world:?}");
            match random.below(3) {
                0 => world.release(0),
                _ => world.settle(0, random.amount(50)),
            }
            assert_eq!(world.account.free(), NanoUsd::ZERO, "{world:?}");
        }
        assert!(!world.hold(0) && !world.hold(1), "{world:?}");
    }
}
