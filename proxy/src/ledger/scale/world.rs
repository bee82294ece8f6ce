//! The events of a simulation and their order: calls that arrive and end, batches
//! on their way to the store and back, sweeps, deaths.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::replica::{Attempt, Call, Replica};
use super::store::{Applied, Row, Store, Write};
use super::{Report, Scenario};
use crate::key::{AccountId, KeyHash, SharedAccount, SharedScope, accounts};
use crate::ledger::entry::Outcome;
use crate::store::ledger::process::LAPSE;

pub(super) const SECOND: u64 = 1_000_000;
const SWEEP: u64 = SECOND / 2;
/// Before an account knows what it burns; not counted.
pub(super) const WARM_UP: u64 = 3 * SECOND;
const NEED: i64 = 3_000;
/// One statement on the wire and in the store, while its rows are locked.
const STATEMENT: u64 = 150;

#[derive(Debug)]
enum Event {
    Arrive,
    Hold(usize, u64, Call),
    Loaded(usize, u64, Call, AccountId),
    Finish(usize, u64, Call),
    Send(usize, u64),
    Store(usize, u64, Vec<Write>),
    Answer(usize, u64, Vec<Outcome>),
    Sweep(usize),
    Bury(usize),
}

pub(super) struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    number: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    bodies: HashMap<u64, Event>,
    /// Each with the number of its life: what a dead one had under way is void.
    replicas: Vec<(u64, Replica)>,
    store: Store,
    random: u64,
    zipf: Vec<f64>,
    keys: HashMap<usize, Arc<[AccountId]>>,
    /// What the calls that were let in cost, whatever became of their replica.
    spent: HashMap<AccountId, i64>,
    waits: Vec<u64>,
    report: Report,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let mut total = 0.0;
        let zipf = (1..=scenario.keys).map(|rank| {
            total += 1.0 / rank as f64;
            total
        });
        let mut world = Self {
            zipf: zipf.collect(),
            scenario,
            now: 0,
            number: 0,
            events: BinaryHeap::new(),
            bodies: HashMap::new(),
            replicas: Vec::new(),
            store: Store::default(),
            random: 0x9E37_79B9_7F4A_7C15,
            keys: HashMap::new(),
            spent: HashMap::new(),
            waits: Vec::new(),
            report: Report::default(),
        };
        for replica in 0..scenario.replicas {
            let started = Duration::from_micros(world.below(1_000 * SECOND));
            world.replicas.push((0, Replica::new(started)));
            let first = world.below(SWEEP);
            world.at(first, Event::Sweep(replica));
        }
        world.at(0, Event::Arrive);
        world
    }

    /// Runs it to its end, when all is settled and nothing is allotted any more.
    pub(super) fn run(mut self) -> Report {
        while let Some(Reverse((at, number))) = self.events.pop() {
            self.now = at;
            let event = self.bodies.remove(&number).expect("an event");
            self.step(event);
        }
        for replica in 0..self.replicas.len() {
            self.replicas[replica].1.give_back_all();
            while self.replicas[replica].1.due(u64::MAX / 2).is_some() {
                let batch = self.replicas[replica].1.send(self.now);
                let applied = self.store.apply(replica, &batch);
                self.replicas[replica]
                    .1
                    .answered(&applied.outcomes, self.now);
            }
        }
        for (account, row) in &self.store.rows {
            let spent = self.spent.get(account).copied().unwrap_or_default();
            assert_eq!(row.allotted, 0, "{account:?}");
            // Never less than was spent, and exactly that where nothing died.
            assert!(row.posted >= spent, "{account:?}: {row:?} for {spent}");
            assert!(self.report.deaths > 0 || row.posted == spent, "{account:?}");
            self.report.posted_too_much += row.posted - spent;
            self.report.spent += spent;
        }
        self.waits.sort_unstable();
        let at = self.waits.len() * 99 / 100;
        self.report.claim_p99_us = self.waits.get(at).copied().unwrap_or_default();
        self.report.claims = self.waits.len();
        self.report
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Hold(replica, life, call) if self.lives(replica, life) => {
                let attempt = self.replicas[replica].1.hold(call, self.now);
                self.go_on(replica, attempt);
            }
            Event::Loaded(replica, life, call, account) if self.lives(replica, life) => {
                let standing = self.store.rows[&account].standing();
                self.store.statements += 1;
                let now = self.now;
                self.replicas[replica].1.loaded(account, standing, now);
                let attempt = self.replicas[replica].1.hold(call, now);
                self.go_on(replica, attempt);
            }
            Event::Finish(replica, life, call) if self.lives(replica, life) => {
                self.replicas[replica].1.settle(call, self.now);
                self.send_later(replica);
            }
            Event::Send(replica, life)
                if self.lives(replica, life)
                    && self.replicas[replica].1.due(self.now) == Some(self.now) =>
            {
                let batch = self.replicas[replica].1.send(self.now);
                let way = self.way();
                self.at(way, Event::Store(replica, life, batch));
            }
            // What a replica has sent arrives although it dies, unless it was buried.
            Event::Store(replica, life, batch) => self.write(replica, life, &batch),
            Event::Answer(replica, life, outcomes) if self.lives(replica, life) => {
                let attempts = self.replicas[replica].1.answered(&outcomes, self.now);
                for attempt in attempts {
                    if let Attempt::Held(call) = &attempt
                        && self.now >= WARM_UP
                    {
                        self.waits.push(self.now - call.claimed_at);
                    }
                    self.go_on(replica, attempt);
                }
                self.send_later(replica);
            }
            Event::Sweep(replica) => {
                self.sweep(replica);
                if self.now < self.scenario.seconds * SECOND + 3 * SECOND {
                    self.at(SWEEP, Event::Sweep(replica));
                }
            }
            Event::Bury(replica) => self.store.bury(replica),
            _ => {}
        }
    }

    fn sweep(&mut self, replica: usize) {
        self.replicas[replica].1.sweep(self.now);
        self.send_later(replica);
        // Each fourth sweep of one without work.
        if self.replicas[replica].1.is_silent(self.now) && self.below(4) == 0 {
            self.store.statements += 3;
        }
    }

    fn arrive(&mut self) {
        if self.now < WARM_UP {
            self.report.statements_before = self.store.statements;
            self.report.batches_before = self.store.batches;
        }
        self.report.statements = self.store.statements - self.report.statements_before;
        self.report.batches = self.store.batches - self.report.batches_before;
        if self.now >= self.scenario.seconds * SECOND {
            return;
        }
        let between = 2 * SECOND / self.scenario.requests_a_second;
        let next = self.below(between + 1);
        self.at(next, Event::Arrive);
        self.report.requests += 1;
        let replica = self.below(self.replicas.len() as u64) as usize;
        let key = self.key();
        let replica = if self.scenario.sticky {
            key % self.replicas.len()
        } else {
            replica
        };
        let cost = NEED / 3 + i64::try_from(self.below(NEED as u64 * 2 / 3)).expect("a cost");
        let call = Call::new(self.accounts_of(key), NEED, cost, self.now);
        let life = self.replicas[replica].0;
        self.at(0, Event::Hold(replica, life, call));
        if self.scenario.deaths > 0 && self.report.requests.is_multiple_of(self.scenario.deaths) {
            self.die(replica);
        }
    }

    /// Another takes its place at once; its allotments are posted when it lapses.
    /// Both have names of their own in the store.
    fn die(&mut self, replica: usize) {
        let started = Duration::from_micros(self.below(1_000 * SECOND));
        let name = self.name(replica);
        let (life, books) = &mut self.replicas[replica];
        *life += 1;
        *books = Replica::new(started);
        self.report.deaths += 1;
        let lapse = u64::try_from(LAPSE.as_micros()).expect("a short time");
        self.at(lapse, Event::Bury(name));
    }

    /// By which the store knows the life that a replica leads now.
    fn name(&self, replica: usize) -> usize {
        replica + self.replicas.len() * self.replicas[replica].0 as usize
    }

    fn write(&mut self, replica: usize, life: u64, batch: &[Write]) {
        let name = replica + self.replicas.len() * life as usize;
        let Applied {
            outcomes,
            before,
            locking,
            touched,
        } = self.store.apply(name, batch);
        let row = |id: &AccountId| self.store.rows[id].locked_until;
        let begun = self.now + before * STATEMENT;
        let locked = touched.iter().map(row).fold(begun, u64::max);
        let ended = locked + locking * STATEMENT;
        for id in &touched {
            self.store.rows.get_mut(id).expect("a row").locked_until = ended;
        }
        let way = self.way();
        self.at(
            ended - self.now + way,
            Event::Answer(replica, life, outcomes),
        );
    }

    fn go_on(&mut self, replica: usize, attempt: Attempt) {
        let life = self.replicas[replica].0;
        match attempt {
            Attempt::Held(call) => {
                self.report.admitted += 1;
                for account in call.accounts.iter() {
                    *self.spent.entry(account.clone()).or_default() += call.cost.nanos();
                }
                // The provider's time.
                let span = 5_000 + self.below(2 * SECOND);
                self.at(span, Event::Finish(replica, life, call));
            }
            Attempt::Refused => self.report.refused += 1,
            Attempt::Unavailable => self.report.unavailable += 1,
            Attempt::Claimed => self.send_later(replica),
            Attempt::Load(call, account) => {
                let way = 2 * self.way();
                self.at(way, Event::Loaded(replica, life, call, account));
            }
        }
    }

    fn send_later(&mut self, replica: usize) {
        let (life, books) = &self.replicas[replica];
        if let Some(due) = books.due(self.now) {
            let life = *life;
            self.at(due - self.now, Event::Send(replica, life));
        }
    }

    fn lives(&self, replica: usize, life: u64) -> bool {
        self.replicas[replica].0 == life
    }

    /// A hot key, or one by Zipf's law.
    fn key(&mut self) -> usize {
        let hot = self.scenario.hot_keys as u64;
        if self.below(100) < self.scenario.hot_percent {
            return self.below(hot) as usize;
        }
        let total = self.zipf[self.zipf.len() - 1];
        let drawn = self.below(1 << 40) as f64 / (1_u64 << 40) as f64 * total;
        self.scenario.hot_keys + self.zipf.partition_point(|sum| *sum < drawn)
    }

    /// Its own, which is small for each fifth key, and that of its team, of which
    /// there are a thousand.
    fn accounts_of(&mut self, key: usize) -> Arc<[AccountId]> {
        let (keys, rows) = (&mut self.keys, &mut self.store.rows);
        let of = keys.entry(key).or_insert_with(|| {
            let team = SharedAccount {
                scope: SharedScope::Team,
                id: Arc::from(format!("team-{}", key % 1_000)),
                window: None,
            };
            accounts(KeyHash::of(&format!("sk-{key}")), [team])
        });
        let limits = [(key % 5 == 4).then_some(100 * NEED), Some(1_000_000 * NEED)];
        for (account, limit) in of.iter().zip(limits) {
            rows.entry(account.clone()).or_insert_with(|| Row {
                limit,
                ..Row::default()
            });
        }
        Arc::clone(of)
    }

    fn at(&mut self, after: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((self.now + after, self.number)));
        self.bodies.insert(self.number, event);
    }

    /// From a replica to the store: mostly a fifth of a millisecond, now and then
    /// fifty.
    fn way(&mut self) -> u64 {
        match self.below(1_000) {
            0 => 50_000,
            _ => 100 + self.below(200),
        }
    }

    /// xorshift: the same each time.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }
}
